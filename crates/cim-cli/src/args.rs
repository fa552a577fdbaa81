//! The command line: what `clap` parses and the help shows.
//!
//! Doc comments here and on the commands' own arguments are the help's text; a snapshot test
//! keeps `docs/cli.md` equal to it.

use clap::{Parser, Subcommand};

use crate::commands::{
    append::AppendArgs, completions::CompletionsArgs, events::EventsArgs, log::LogArgs,
    stats::StatsArgs, streams::StreamsArgs, verify::VerifyArgs,
};
use crate::demo::DemoArgs;
use crate::exit_code::ExitCode;
use crate::output::ColorChoice;

/// Append, read, follow and verify streams of events
///
/// A store is named by a URL: `embedded:DIRECTORY` is a directory on this machine, `memory:` is
/// forgotten when the program ends. Commands that only read never create a store.
#[derive(Debug, Parser)]
#[command(name = "cim", version, max_term_width = 100, after_long_help = after_help())]
pub struct Cli {
    /// The options of every command.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The options of every command.
#[derive(Clone, Debug, clap::Args)]
pub struct GlobalArgs {
    /// The store, as a URL
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "CIM_STORE",
        hide_env_values = true,
        default_value = "embedded:./cim-data",
        help_heading = "Global options"
    )]
    pub store: String,
    /// Write results as JSON, one value a line
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
    /// When to use colour
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "Global options"
    )]
    pub color: ColorChoice,
    /// Write results and errors only: no notices, no progress
    #[arg(long, short, global = true, help_heading = "Global options")]
    pub quiet: bool,
}

/// What to do. The arguments' own documentation is each command's help.
#[derive(Debug, Subcommand)]
#[allow(missing_docs)] // a comment here would replace the command's help
#[allow(clippy::large_enum_variant)] // there is one per process
pub enum Command {
    Append(AppendArgs),
    Streams(StreamsArgs),
    Events(EventsArgs),
    Log(LogArgs),
    Stats(StatsArgs),
    Verify(VerifyArgs),
    Demo(DemoArgs),
    Completions(CompletionsArgs),
}

fn after_help() -> String {
    format!(
        "Examples:\n  \
         cim append sales.order.7 order_placed '{{\"total\": 12}}'\n  \
         cim events sales.order.7\n  \
         cim log 'sales.>' --follow\n  \
         cim demo git\n\n\
         Exit codes:\n{}",
        ExitCode::table()
    )
}
