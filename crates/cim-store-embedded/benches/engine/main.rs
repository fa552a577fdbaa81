//! The benchmark of the embedded store: one table, and the same figures in
//! `target/bench/engine.json`.
//!
//! `cargo xtask bench` runs it. Appends are measured against the raw limit of the same run: a file
//! that gets the same bytes with one flush per group. `docs/benchmarks.md` says what every row
//! means.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table is what it is for"
)]

mod appends;
mod bulk;
mod child;
mod machine;
mod measure;
mod options;
mod peers;
mod raw;
mod reads;
mod report;
mod scale;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::measure::{Result, Stopwatch};
use crate::options::{Command, Options, Section};
use crate::report::Report;

fn main() -> ExitCode {
    let done = match options::parse(std::env::args().skip(1)) {
        Ok(Command::Help) => {
            print!("{}", options::HELP);
            Ok(())
        }
        Ok(Command::Child(task)) => {
            runtime().and_then(|runtime| runtime.block_on(child::run(task)))
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

fn runtime() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Ok(builder.enable_all().build()?)
}

fn run(options: &Options) -> Result<()> {
    let whole = Stopwatch::start();
    let target = target_directory()?;
    let bench = target.join("bench");
    let data = Data::make(bench.join("data"))?;
    let mut report = Report::new(machine::describe(&data.0), options);
    println!("{}", report.heading());
    let runtime = runtime()?;
    if options.wants(Section::Appends) {
        runtime.block_on(appends::run(options, &data.0, &mut report))?;
    }
    if options.wants(Section::Reads) {
        runtime.block_on(reads::run(options, &data.0, &mut report))?;
    }
    if options.wants(Section::Bulk) {
        runtime.block_on(bulk::run(options, &data.0, &mut report))?;
    }
    if options.wants(Section::Scale) {
        runtime.block_on(scale::run(options, &data.0, &mut report))?;
    }
    report.seconds = whole.seconds();
    let json = bench.join("engine.json");
    std::fs::write(&json, report.json()?)?;
    println!("\n{}", report.closing(&json));
    Ok(())
}

/// The target directory that this program was built in.
fn target_directory() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    // target/release/deps/engine-…
    let target = program.ancestors().nth(3);
    Ok(target
        .ok_or("the target directory can't be found")?
        .to_owned())
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
}

impl Drop for Data {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("bench: can't remove {}: {error}", self.0.display());
        }
    }
}
