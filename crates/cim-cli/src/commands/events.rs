//! `cim events`: one stream, forwards or backwards.

use cim_store::{Context, StreamId, StreamRange, Version};
use clap::Args;
use futures_util::TryStreamExt;

use crate::commands::parse_stream;
use crate::error::Failure;
use crate::exit_code::ExitCode;
use crate::render::{EventLine, StreamRow};
use crate::session::{Session, StoreMode};

/// Read one stream
///
/// Shows the events of a stream in order, one a line. Versions are inclusive at both ends. With
/// `--json` each event is written with all its fields.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cim events sales.order.7
  cim events sales.order.7 --backwards --limit 3
  cim events sales.order.7 --from 2 --to 5 --json | jq .payload")]
pub struct EventsArgs {
    /// The stream: context.aggregate.id
    #[arg(value_parser = parse_stream)]
    stream: StreamId,
    /// The lowest version, inclusive
    #[arg(long, value_name = "VERSION")]
    from: Option<u64>,
    /// The highest version, inclusive
    #[arg(long, value_name = "VERSION")]
    to: Option<u64>,
    /// From newer to older
    #[arg(long)]
    backwards: bool,
    /// At most so many events
    #[arg(long, value_name = "EVENTS")]
    limit: Option<u64>,
}

/// The stream has no events.
#[derive(Debug, thiserror::Error)]
#[error("stream {0} has no events")]
struct NoSuchStream(StreamId);

impl EventsArgs {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<(), Failure> {
        let range = StreamRange {
            to: self.to.map(Version::new),
            limit: self.limit,
            ..StreamRange::from(Version::new(self.from.unwrap_or(0)))
        };
        let range = if self.backwards {
            range.backwards()
        } else {
            range
        };
        let log = session.open(StoreMode::MustExist).await?.log();
        let ctx = Context::new();
        if log.head(&ctx, &self.stream).await?.is_none() {
            return Err(Failure::new(ExitCode::NotFound, NoSuchStream(self.stream))
                .with_hint("`cim streams` lists the streams of the store"));
        }
        let mut events = log.read_stream(&ctx, &self.stream, range).await?;
        let ui = &mut *session.ui;
        if !ui.is_json() {
            ui.line(StreamRow::title(ui))?;
        }
        while let Some(event) = events.try_next().await? {
            if ui.is_json() {
                ui.json(&EventLine::of(&event))?;
            } else {
                ui.line(StreamRow::of(ui, &event))?;
            }
        }
        Ok(())
    }
}
