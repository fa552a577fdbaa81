//! `cim stats`: how much the store holds.

use cim_store::Context;
use clap::Args;
use serde::Serialize;

use crate::error::Failure;
use crate::session::{Session, StoreMode};

/// Show how much the store holds
///
/// Counts events and streams, and says at which durability the store acknowledges.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cim stats
  cim stats --json | jq .events")]
pub struct StatsArgs {}

/// How much the store holds, as JSON.
#[derive(Serialize)]
struct Stats<'a> {
    store: &'a str,
    durability: String,
    events: u64,
    streams: u64,
    first_position: u64,
    last_position: u64,
    truncated_through: u64,
    bytes: u64,
}

impl StatsArgs {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<(), Failure> {
        let log = session.open(StoreMode::MustExist).await?.log();
        let stats = log.stats(&Context::new()).await?;
        let url = session.address.shown();
        let stats = Stats {
            store: &url,
            durability: log.capabilities().durability.to_string(),
            events: stats.events,
            streams: stats.streams,
            first_position: stats.first.get(),
            last_position: stats.last.get(),
            truncated_through: stats.truncated_through.get(),
            bytes: stats.bytes,
        };
        let ui = &mut *session.ui;
        if ui.is_json() {
            return ui.json(&stats);
        }
        ui.line(format_args!("store              {}", stats.store))?;
        ui.line(format_args!("durability         {}", stats.durability))?;
        ui.line(format_args!("events             {}", stats.events))?;
        ui.line(format_args!("streams            {}", stats.streams))?;
        ui.line(format_args!("first position     {}", stats.first_position))?;
        ui.line(format_args!("last position      {}", stats.last_position))?;
        ui.line(format_args!(
            "truncated through  {}",
            stats.truncated_through
        ))?;
        ui.line(format_args!("bytes              {}", stats.bytes))
    }
}
