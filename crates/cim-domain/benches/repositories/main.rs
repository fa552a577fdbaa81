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
#[path = "../../../../benches/cpu.rs"]
mod cpu;
#[path = "../../../../benches/data.rs"]
mod data;
mod loads;
#[path = "../../../../benches/measure.rs"]
mod measure;
mod notes;
mod options;
#[path = "../../../../benches/program.rs"]
mod program;
mod report;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use cim_domain::store::Store;

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
