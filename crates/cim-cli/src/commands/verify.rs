//! `cim verify`: chains, order, and what was verified before.

use std::path::PathBuf;

use cim_domain::persistence::verification::{
    Verification, VerificationFault, VerificationProgress, VerificationUnit, VerifiedHeads,
    Verifier,
};
use cim_store::{Context, EventLog, StreamPattern};
use clap::Args;
use serde::Serialize;
use std::sync::Arc;

use crate::commands::parse_stream_pattern;
use crate::error::Failure;
use crate::exit_code::ExitCode;
use crate::kept_heads::KeptHeads;
use crate::output::{Progress, Style, Ui};
use crate::session::{Session, StoreMode};

/// Faults that are printed as text at most; one cause can have very many effects.
const MOST_FAULTS: usize = 100;

/// Verify that history is what was stored
///
/// Hashes every event and checks that it has its CID and follows the one before it in its stream;
/// that positions and times of the log are in order, every commit is whole, and every stream ends
/// where its head says. Of each stream the first fault is named, by version and kind.
///
/// What was verified is kept in a file of yours, outside the store (--heads). The next time only
/// what is new is read, and a history that was cut or replaced meanwhile shows. What somebody
/// altered behind the verified heads shows with --full, which reads everything again. Where the
/// store itself was made anew on purpose, --anew forgets what was verified of the old one.
///
/// With a PATTERN only those streams are read, each by the store's index.
///
/// Ends with code 6 when something is wrong, and with code 4 when no stream matches the PATTERN.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cim verify
  cim verify --full --streams
  cim verify --heads /media/auditor/orders.heads
  cim verify 'sales.order.*' --json | jq -c .faults[]")]
pub struct VerifyArgs {
    /// Which streams; as for `cim streams`
    #[arg(value_parser = parse_stream_pattern)]
    pattern: Option<StreamPattern>,
    /// Read everything again, also what was verified before, and compare it with that
    #[arg(long)]
    full: bool,
    /// Forget what was verified before: the store was made anew, or the file that keeps it is lost
    #[arg(long, conflicts_with = "full")]
    anew: bool,
    /// Also read every stream by the store's index, as applications do
    #[arg(long, conflicts_with = "pattern")]
    streams: bool,
    /// The file that keeps what was verified; without it one for each store among this user's files
    #[arg(long, value_name = "FILE")]
    heads: Option<PathBuf>,
}

/// The result, as JSON.
#[derive(Serialize)]
struct VerifyReport<'a> {
    streams: u64,
    events: u64,
    events_before: u64,
    other_log: bool,
    faults: Vec<FaultReport<'a>>,
    heads: Option<String>,
}

/// What is wrong, as JSON.
#[derive(Serialize)]
struct FaultReport<'a> {
    stream: Option<&'a str>,
    version: Option<u64>,
    position: Option<u64>,
    kind: &'static str,
    message: &'a str,
}

impl<'a> From<&'a VerificationFault> for FaultReport<'a> {
    fn from(fault: &'a VerificationFault) -> Self {
        Self {
            stream: fault.stream.as_ref().map(|stream| stream.as_str()),
            version: fault.version.map(|version| version.get()),
            position: fault.position.map(|position| position.get()),
            kind: fault.kind.as_str(),
            message: &fault.message,
        }
    }
}

impl VerifyArgs {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<(), Failure> {
        let (log, refused) = match session.open(StoreMode::MustExist).await {
            Ok(store) => (store.log(), None),
            // It can't be opened: which events are hit?
            Err(failure) if failure.code() == ExitCode::Integrity => {
                match session.open(StoreMode::Inspect).await {
                    Ok(store) => (store.log(), Some(failure)),
                    Err(_) => return Err(failure),
                }
            }
            Err(failure) => return Err(failure),
        };
        let kept = self.kept(session);
        let known = match &kept {
            Some(kept) if self.anew => {
                kept.check_replaceable()?;
                None
            }
            Some(kept) => kept.read()?,
            None => None,
        };
        let begins = known.is_none();
        let ui = &mut *session.ui;
        let done = self
            .verify(ui, log, known.unwrap_or_default(), refused.is_some())
            .await?;
        if let Some(failure) = refused {
            if done.is_sound() {
                // The log is, so it must be something else of the store.
                show(ui, &done, None)?;
                return Err(failure);
            }
            ui.failure(&failure);
        }
        if done.streams == 0
            && done.is_sound()
            && let Some(pattern) = &self.pattern
        {
            // Else a misspelled pattern would look like streams without a fault.
            let error = format!("no stream matches `{}`", pattern.as_pattern());
            return Err(Failure::new(ExitCode::NotFound, error)
                .with_hint("`cim streams` lists the streams of the store"));
        }
        let shown = show(ui, &done, kept.as_ref());
        if done.other_log {
            ui.notice("if the store was made anew on purpose: `cim verify --anew`");
        }
        shown?;
        // What was found is said before anything can go wrong with keeping it.
        if let Some(kept) = &kept {
            kept.write(&done.heads)?;
            if begins {
                let path = kept.path().display();
                ui.notice(format_args!("what was verified is kept in {path}"));
            }
        }
        Ok(())
    }

    /// Where what was verified is kept.
    fn kept(&self, session: &Session<'_>) -> Option<KeptHeads> {
        match &self.heads {
            Some(path) => Some(KeptHeads::named(path.clone())),
            None => {
                let directory = session.environment.state_directory.as_deref()?;
                KeptHeads::of_store(directory, &session.address)
            }
        }
    }

    async fn verify(
        &self,
        ui: &mut Ui,
        log: Arc<dyn EventLog>,
        known: VerifiedHeads,
        inspected: bool,
    ) -> Result<Verification, Failure> {
        let ctx = Context::new();
        let mut verifier = Verifier::new(log).since(known).expecting_the_same_log();
        if self.streams && !inspected {
            verifier = verifier.reading_streams();
        }
        // Where a store can't be opened, what was verified before may be what is damaged.
        if self.full || inspected {
            verifier = verifier.reading_all();
        }
        let mut bar: Option<(VerificationUnit, Progress)> = None;
        let progress = |now: VerificationProgress| {
            let current = bar.take().filter(|(what, _)| *what == now.what);
            let (what, mut shown) = current.unwrap_or_else(|| {
                let name = match now.what {
                    VerificationUnit::Streams => "verified streams",
                    _ => "verified positions",
                };
                (now.what, ui.progress(name, now.total))
            });
            shown.set(ui, now.done);
            bar = Some((what, shown));
        };
        Ok(match &self.pattern {
            Some(pattern) => verifier.verify_streams(&ctx, pattern, progress).await?,
            None => verifier.verify(&ctx, progress).await?,
        })
    }
}

fn show(ui: &mut Ui, done: &Verification, kept: Option<&KeptHeads>) -> Result<(), Failure> {
    if ui.is_json() {
        ui.json(&VerifyReport {
            streams: done.streams,
            events: done.events,
            events_before: done.events_before,
            other_log: done.other_log,
            faults: done.faults.iter().map(FaultReport::from).collect(),
            heads: kept.map(|kept| kept.path().display().to_string()),
        })?;
    } else {
        for fault in done.faults.iter().take(MOST_FAULTS) {
            let kind = ui.paint(Style::Bad, fault.kind);
            ui.line(format_args!("{kind}  {fault}"))?;
        }
        if let Some(more) = done.faults.len().checked_sub(MOST_FAULTS + 1) {
            ui.line(format_args!("… and {} more; --json lists all", more + 1))?;
        }
        ui.line(format_args!("streams  {}", done.streams))?;
        ui.line(format_args!("events   {}", done.events))?;
        if done.events_before > 0 {
            let before = done.events_before;
            ui.line(format_args!(
                "before   {before} (verified earlier, not read again)"
            ))?;
        }
        let style = if done.is_sound() {
            Style::Good
        } else {
            Style::Bad
        };
        let faults = ui.paint(style, done.faults.len());
        ui.line(format_args!("faults   {faults}"))?;
    }
    if done.is_sound() {
        Ok(())
    } else {
        Err(Failure::reported(ExitCode::Integrity))
    }
}
