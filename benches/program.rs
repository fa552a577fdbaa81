//! What every program that measures begins and ends with.
//!
//! The files of this folder are shared by the benchmarks of the crates, which take them in by their
//! paths: a crate of their own would be built with every test.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::measure::Result;

/// Says what went wrong, with its causes.
pub(crate) fn exit(done: Result<()>) -> ExitCode {
    let Err(error) = done else {
        return ExitCode::SUCCESS;
    };
    eprintln!("bench: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  because {error}");
        cause = error.source();
    }
    ExitCode::FAILURE
}

/// Where figures and stores go: `bench` in the target directory that this program was built in.
pub(crate) fn directory() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    // target/release/deps/name-…
    let target = program.ancestors().nth(3);
    let bench = target
        .ok_or("the target directory can't be found")?
        .join("bench");
    std::fs::create_dir_all(&bench)?;
    Ok(bench)
}
