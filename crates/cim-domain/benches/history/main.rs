//! The benchmark of what is done with whole histories: one table, and the same figures in
//! `target/bench/history.json`.
//!
//! `cargo xtask bench history` runs it. Verification is measured against hashing the same bytes, and
//! what goes through files against what the disk gives for them, in the same run.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table is what it is for"
)]

mod chains;
mod conversations;
mod loads;
mod measure;
mod options;
mod report;
mod transport;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::measure::Result;
use crate::options::{Command, Options};
use crate::report::Report;

fn main() -> ExitCode {
    let done = match options::parse(std::env::args().skip(1)) {
        Ok(Command::Help) => {
            print!("{}", options::HELP);
            Ok(())
        }
        Ok(Command::Run(options)) => run(&options),
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let bench = target_directory()?.join("bench");
    let data = Data::make(bench.join("history-data"))?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.enable_all().build()?;
    let mut report = Report::default();
    if options.has("chains") {
        chains::run(options, data.path(), &runtime, &mut report)?;
    }
    if options.has("conversations") {
        runtime.block_on(conversations::run(options, data.path(), &mut report))?;
    }
    if options.has("loads") {
        runtime.block_on(loads::run(options, data.path(), &mut report))?;
    }
    if options.has("transport") {
        runtime.block_on(transport::run(options, data.path(), &mut report))?;
    }
    let json = bench.join("history.json");
    std::fs::write(&json, report.json()?)?;
    println!("\nas JSON: {}", json.display());
    Ok(())
}

/// The target directory that this program was built in.
fn target_directory() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    // target/release/deps/history-…
    let target = program.ancestors().nth(3);
    let target = target.ok_or("the target directory can't be found")?;
    Ok(target.to_owned())
}

/// The directory of all stores and files of a run; removed at its end.
struct Data(PathBuf);

impl Data {
    fn make(path: PathBuf) -> Result<Self> {
        if path.exists() {
            std::fs::remove_dir_all(&path)?;
        }
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("bench: can't remove {}: {error}", self.0.display());
        }
    }
}
