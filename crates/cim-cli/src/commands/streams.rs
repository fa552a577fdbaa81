//! `cim streams`: names and heads.

use cim_store::{Context, Head, StreamPattern};
use clap::Args;
use futures_util::TryStreamExt;
use serde::Serialize;

use crate::commands::parse_stream_pattern;
use crate::error::Failure;
use crate::output::Style;
use crate::session::{Session, StoreMode};

/// List streams
///
/// Shows each stream's name with the version, position and CID of its last event, sorted by name.
/// PATTERN is over names, `context.aggregate.id`: `*` is one token, `>` the rest, and a pattern
/// with fewer than three tokens means everything below it, so `sales` is `sales.>`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cim streams
  cim streams sales
  cim streams 'sales.order.*' --json | jq -r .stream")]
pub struct StreamsArgs {
    /// Which streams
    #[arg(default_value = ">", value_parser = parse_stream_pattern)]
    pattern: StreamPattern,
}

/// One stream, as JSON.
#[derive(Serialize)]
struct StreamLine<'a> {
    stream: &'a str,
    version: u64,
    position: u64,
    cid: String,
}

impl StreamsArgs {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<(), Failure> {
        let store = session.open(StoreMode::MustExist).await?;
        let heads = store.log().streams(&Context::new(), &self.pattern).await?;
        let mut heads: Vec<Head> = heads.try_collect().await?;
        heads.sort_by(|one, other| one.stream.cmp(&other.stream));
        let ui = &mut *session.ui;
        if ui.is_json() {
            return heads.iter().try_for_each(|head| {
                ui.json(&StreamLine {
                    stream: head.stream.as_str(),
                    version: head.version.get(),
                    position: head.position.get(),
                    cid: head.cid.to_string(),
                })
            });
        }
        let longest = |lengths: &mut dyn Iterator<Item = usize>, title: &str| {
            lengths.fold(title.len(), usize::max)
        };
        let names = longest(
            &mut heads.iter().map(|head| head.stream.as_str().len()),
            "STREAM",
        );
        let digits = |number: u64| number.to_string().len();
        let versions = longest(
            &mut heads.iter().map(|h| digits(h.version.get())),
            "VERSION",
        );
        let positions = longest(
            &mut heads.iter().map(|h| digits(h.position.get())),
            "POSITION",
        );
        let title = format!(
            "{:names$}  {:>versions$}  {:>positions$}  CID",
            "STREAM", "VERSION", "POSITION"
        );
        let title = ui.paint(Style::Bold, title);
        ui.line(title)?;
        for head in &heads {
            let name = ui.paint(Style::Name, format_args!("{:names$}", head.stream));
            ui.line(format_args!(
                "{name}  {:>versions$}  {:>positions$}  {}",
                head.version.get(),
                head.position.get(),
                head.cid
            ))?;
        }
        Ok(())
    }
}
