//! The command line: what `clap` parses and the help shows.
//!
//! Doc comments here and on the commands' own arguments are the help's text; a snapshot test
//! keeps `docs/cli.md` equal to it.

use std::path::PathBuf;

use cim_domain::NatsOptions;
use clap::{Parser, Subcommand};

use crate::commands::{
    append::AppendArgs, checkpoint::CheckpointArgs, completions::CompletionsArgs,
    doctor::DoctorArgs, events::EventsArgs, export::ExportArgs, health::HealthArgs,
    import::ImportArgs, log::LogArgs, schema::SchemaArgs, stats::StatsArgs, streams::StreamsArgs,
    verify::VerifyArgs,
};
use crate::demo::DemoArgs;
use crate::exit_code::ExitCode;
use crate::output::ColorChoice;

/// Append, read, follow and verify streams of events
///
/// A store is named by a URL: `embedded:DIRECTORY` is a directory on this machine,
/// `nats://HOST:4222` one on NATS JetStream (several servers are separated by commas, `tls://` is
/// encrypted), `memory:` is forgotten when the program ends. Commands that only read never create a
/// store.
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
    /// How a store on NATS is opened.
    #[command(flatten)]
    pub nats: NatsArgs,
}

/// How a store on NATS is opened.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Options for stores on NATS")]
pub struct NatsArgs {
    /// A file of credentials, as `nsc` makes it
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        value_name = "FILE",
        env = "CIM_NATS_CREDS",
        hide_env_values = true
    )]
    pub creds: Option<PathBuf>,
    /// Trust the certificate authorities in this PEM file, beside the system's
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        value_name = "FILE",
        env = "CIM_NATS_TLS_CA",
        hide_env_values = true
    )]
    pub tls_ca: Option<PathBuf>,
    /// Show this certificate to the server, a PEM file; goes with `--tls-key`
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        value_name = "FILE",
        env = "CIM_NATS_TLS_CERT",
        hide_env_values = true
    )]
    pub tls_cert: Option<PathBuf>,
    /// The private key of `--tls-cert`, a PEM file
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        value_name = "FILE",
        env = "CIM_NATS_TLS_KEY",
        hide_env_values = true
    )]
    pub tls_key: Option<PathBuf>,
    /// The name of the log's JetStream stream, where it is not EVENTS
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        value_name = "NAME",
        env = "CIM_NATS_STREAM_NAME",
        hide_env_values = true
    )]
    pub stream_name: Option<String>,
    /// How many servers keep each event: 1, 3 or 5; without it as many as they are, and 1 where the
    /// log is made
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        value_name = "NUMBER",
        env = "CIM_NATS_REPLICAS",
        hide_env_values = true
    )]
    pub replicas: Option<u8>,
    /// The monitoring pages of all servers, separated by commas, such as http://host:8222: they say
    /// whether a server flushes before it acknowledges
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        value_name = "URL",
        env = "CIM_NATS_MONITOR",
        hide_env_values = true
    )]
    pub monitor: Option<String>,
}

impl From<NatsArgs> for NatsOptions {
    fn from(args: NatsArgs) -> Self {
        Self {
            creds: args.creds,
            tls_ca: args.tls_ca,
            tls_cert: args.tls_cert,
            tls_key: args.tls_key,
            stream_name: args.stream_name,
            replicas: args.replicas,
            monitor: args.monitor,
            ..Self::default()
        }
    }
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
    Health(HealthArgs),
    Doctor(DoctorArgs),
    Verify(VerifyArgs),
    Export(ExportArgs),
    Import(ImportArgs),
    Checkpoint(CheckpointArgs),
    Schema(SchemaArgs),
    Demo(DemoArgs),
    Completions(CompletionsArgs),
}

fn after_help() -> String {
    format!(
        "Examples:\n  \
         cim append sales.order.7 order_placed '{{\"total\": 12}}'\n  \
         cim events sales.order.7\n  \
         cim log 'sales.>' --follow\n  \
         cim --store nats://localhost:4222 health\n  \
         cim demo git\n\n\
         Exit codes:\n{}",
        ExitCode::table()
    )
}
