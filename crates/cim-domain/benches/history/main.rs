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
#[path = "../../../../benches/data.rs"]
mod data;
mod loads;
#[path = "../../../../benches/measure.rs"]
mod measure;
mod options;
#[path = "../../../../benches/program.rs"]
mod program;
mod report;
mod transport;

use std::process::ExitCode;

use crate::data::Data;
use crate::measure::Result;
use crate::options::{Command, Options};
use crate::report::Report;

fn main() -> ExitCode {
    program::exit(match options::parse(std::env::args().skip(1)) {
        Ok(Command::Help) => {
            print!("{}", options::HELP);
            Ok(())
        }
        Ok(Command::Run(options)) => run(&options),
        Err(error) => Err(error),
    })
}

fn run(options: &Options) -> Result<()> {
    let bench = program::directory()?;
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
