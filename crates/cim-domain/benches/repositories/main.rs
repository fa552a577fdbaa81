//! The benchmark of repositories: one table, and the same figures in
//! `target/bench/repositories.json`.
//!
//! `cargo xtask bench repositories` runs it. Commands are measured against bare appends of the same
//! bytes by as many callers, in turn with them, in the same run and on the same store.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table is what it is for"
)]

mod commands;
#[path = "../../../cim-store-nats/benches/jetstream/cpu.rs"]
mod cpu;
mod loads;
#[path = "../history/measure.rs"]
mod measure;
mod notes;
mod options;
mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use cim_domain::store::Store;

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
    let data = Data::make(bench.join("repositories-data"))?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.enable_all().build()?;
    let mut report = Report::default();
    if options.has("commands") {
        runtime.block_on(commands::run(options, data.path(), &mut report))?;
    }
    if options.has("loads") {
        runtime.block_on(loads::run(options, data.path(), &mut report))?;
    }
    let json = bench.join("repositories.json");
    std::fs::write(&json, report.json()?)?;
    println!("\nas JSON: {}", json.display());
    Ok(())
}

async fn open_in(data: &Path, name: &str) -> Result<Arc<dyn Store>> {
    let url = format!("embedded:{}", data.join(name).display());
    Ok(cim_domain::open(&url).await?)
}

/// The target directory that this program was built in.
fn target_directory() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    // target/release/deps/repositories-…
    let target = program.ancestors().nth(3);
    let target = target.ok_or("the target directory can't be found")?;
    Ok(target.to_owned())
}

/// The directory of all stores of a run; removed at its end.
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
