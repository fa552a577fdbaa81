//! The benchmark of the NATS adapter: one table, and the same figures in
//! `target/bench/jetstream.json`.
//!
//! Everything is measured against the same servers as `async-nats` by itself, in turn with it, so
//! what counts are ratios. `docs/benchmarks.md` says what every row means.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table is what it is for"
)]

mod appends;
mod bare;
#[path = "../../../../benches/cpu.rs"]
mod cpu;
#[path = "../../../../benches/latencies.rs"]
mod latencies;
mod loads;
#[path = "../../../../benches/machine.rs"]
mod machine;
#[path = "../../../../benches/measure.rs"]
mod measure;
mod options;
#[path = "../../../../benches/program.rs"]
mod program;
#[path = "../../../../benches/random.rs"]
mod random;
mod report;
mod scan;
mod servers;
mod trips;
mod workload;

use std::process::ExitCode;

use crate::measure::{Result, Stopwatch};
use crate::options::{Command, Options, Section};
use crate::report::Report;
use crate::servers::Servers;

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
    let whole = Stopwatch::start();
    let bench = program::directory()?;
    let mut machine = machine::describe(&bench);
    machine.store = concat!("cim-store-nats ", env!("CARGO_PKG_VERSION")).to_owned();
    let mut report = Report::new(machine, options);
    println!("{}", report.heading());
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.enable_all().build()?;
    for replicas in [1, 3] {
        if !options.wants_replicas(replicas) {
            continue;
        }
        let servers = Servers::start(replicas, &bench, options)?;
        report.begin(&servers.describe(), replicas);
        if options.wants(Section::Trips) {
            runtime.block_on(trips::run(&servers, &mut report))?;
        }
        if options.wants(Section::Singles) {
            runtime.block_on(appends::singles(options, &servers, &mut report))?;
        }
        if options.wants(Section::Batches) {
            runtime.block_on(appends::batches(options, &servers, &mut report))?;
        }
        // What reads cost does not depend on the number of copies.
        if replicas == 1 && (options.wants(Section::Loads) || options.wants(Section::Log)) {
            runtime.block_on(loads::run(options, &servers, &mut report))?;
        }
    }
    report.seconds = whole.seconds();
    let json = bench.join("jetstream.json");
    std::fs::write(&json, report.json()?)?;
    println!("\n{}", report.closing(&json));
    Ok(())
}
