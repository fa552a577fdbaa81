//! `cim verify`: chains, checksums and order.

use cim_store::StreamPattern;
use clap::Args;
use serde::Serialize;

use crate::commands::parse_stream_pattern;
use crate::error::Failure;
use crate::exit_code::ExitCode;
use crate::output::Style;
use crate::session::{Session, StoreMode};
use crate::verify::{Verification, VerifyFault, heads};

/// Verify chains, checksums and order
///
/// Reads every stream whose name matches and checks its chain: each event's bytes hash to its
/// CID, and it names the event before it, up to the stream's head. Without a PATTERN also reads
/// the whole log once, so that every record's checksum is checked, positions and times are in
/// order, every commit is whole, and the log holds the same events as the streams.
///
/// Ends with code 6 when something is damaged, naming each place, and with code 4 when no stream
/// matches the PATTERN.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cim verify
  cim verify sales
  cim verify 'sales.order.*' --json | jq -c .faults[]")]
pub struct VerifyArgs {
    /// Which streams; as for `cim streams`
    #[arg(value_parser = parse_stream_pattern)]
    pattern: Option<StreamPattern>,
}

/// The result, as JSON.
#[derive(Serialize)]
struct VerifyReport<'a> {
    streams: u64,
    events: u64,
    log_events: Option<u64>,
    faults: &'a [VerifyFault],
}

impl VerifyArgs {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<(), Failure> {
        let log = session.open(StoreMode::MustExist).await?.log();
        let ui = &mut *session.ui;
        let all = self.pattern.is_none();
        let pattern = self.pattern.unwrap_or_else(StreamPattern::all);
        let heads = heads(&log, &pattern).await?;
        if heads.is_empty() && !all {
            // Else a misspelled pattern would look like streams without a fault.
            let error = format!("no stream matches `{}`", pattern.as_pattern());
            return Err(Failure::new(ExitCode::NotFound, error)
                .with_hint("`cim streams` lists the streams of the store"));
        }
        let mut done = Verification::default();
        let mut progress = ui.progress("verified streams", heads.len() as u64);
        for head in &heads {
            done.stream(&log, head).await?;
            progress.advance(ui);
        }
        drop(progress);
        if all {
            let mut progress = ui.progress("verified events of the log", done.events);
            done.log(&log, |events| progress.set(ui, events)).await?;
        }
        let report = VerifyReport {
            streams: done.streams,
            events: done.events,
            log_events: all.then_some(done.log_events),
            faults: &done.faults,
        };
        if ui.is_json() {
            ui.json(&report)?;
        } else {
            for fault in &done.faults {
                let kind = ui.paint(Style::Bad, fault.kind);
                ui.line(format_args!("{kind}  {}{}", place(fault), fault.message))?;
            }
            ui.line(format_args!("streams  {}", report.streams))?;
            ui.line(format_args!("events   {}", report.events))?;
            if let Some(events) = report.log_events {
                ui.line(format_args!("log      {events}"))?;
            }
            let style = if done.faults.is_empty() {
                Style::Good
            } else {
                Style::Bad
            };
            let faults = ui.paint(style, done.faults.len());
            ui.line(format_args!("faults   {faults}"))?;
        }
        if done.faults.is_empty() {
            Ok(())
        } else {
            Err(Failure::reported(ExitCode::Integrity))
        }
    }
}

/// Where a fault is, unless its message says so.
fn place(fault: &VerifyFault) -> String {
    match (&fault.stream, fault.version) {
        (Some(stream), _) if fault.message.contains(stream.as_str()) => String::new(),
        (Some(stream), Some(version)) => format!("stream {stream}, version {version}: "),
        (Some(stream), None) => format!("stream {stream}: "),
        _ => String::new(),
    }
}
