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
#[path = "../../../../benches/data.rs"]
mod data;
#[path = "../../../../benches/latencies.rs"]
mod latencies;
#[path = "../../../../benches/machine.rs"]
mod machine;
#[path = "../../../../benches/measure.rs"]
mod measure;
mod options;
mod peers;
#[path = "../../../../benches/program.rs"]
mod program;
#[path = "../../../../benches/random.rs"]
mod random;
mod raw;
mod reads;
mod report;
mod scale;
mod workload;

use std::process::ExitCode;

use crate::data::Data;
use crate::measure::{Result, Stopwatch};
use crate::options::{Command, Options, Section};
use crate::report::Report;

fn main() -> ExitCode {
    program::exit(match options::parse(std::env::args().skip(1)) {
        Ok(Command::Help) => {
            print!("{}", options::HELP);
            Ok(())
        }
        Ok(Command::Child(task)) => {
            runtime().and_then(|runtime| runtime.block_on(child::run(task)))
        }
        Ok(Command::Run(options)) => run(&options),
        Err(error) => Err(error),
    })
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Ok(builder.enable_all().build()?)
}

fn run(options: &Options) -> Result<()> {
    let whole = Stopwatch::start();
    let bench = program::directory()?;
    let data = Data::make(bench.join("data"))?;
    let mut report = Report::new(machine::describe(data.path()), options);
    println!("{}", report.heading());
    let runtime = runtime()?;
    if options.wants(Section::Appends) {
        runtime.block_on(appends::run(options, data.path(), &mut report))?;
    }
    if options.wants(Section::Reads) {
        runtime.block_on(reads::run(options, data.path(), &mut report))?;
    }
    if options.wants(Section::Bulk) {
        runtime.block_on(bulk::run(options, data.path(), &mut report))?;
    }
    if options.wants(Section::Scale) {
        runtime.block_on(scale::run(options, data.path(), &mut report))?;
    }
    report.seconds = whole.seconds();
    let json = bench.join("engine.json");
    std::fs::write(&json, report.json()?)?;
    println!("\n{}", report.closing(&json));
    Ok(())
}
