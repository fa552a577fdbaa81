//! `cim schema check`: the file by itself, against its past, and against a store.

use std::path::PathBuf;

use cim_domain::schema::{LockFile, Persisted, Rewrite, StoredShapes, StoredVersion};
use cim_store::{Context, EventLog, LogQuery, Position};
use clap::Args;
use futures_util::TryStreamExt;
use serde::Serialize;

use super::past::{self, Past};
use super::{file, show};
use crate::error::Failure;
use crate::exit_code::ExitCode;
use crate::output::{Style, Ui};
use crate::session::{Session, StoreMode};

/// Check the file by itself, against its past, and against a store
///
/// What is locked stays: the file may grow, and a version of a type keeps its shapes. So the file
/// is compared with what it was at a git revision; without `--since` with HEAD, where it is in a git
/// work tree. In a pull request compare with the branch that it goes to, so that a change that
/// rewrites a locked shape is seen although the application's own test passes.
///
/// With `--stored` the whole log of the store (`--store`) is read: every event type and schema
/// version in it must be in the file, and every payload that is JSON must have a locked shape. Of each
/// version the first event that has not is named.
///
/// Ends with code 5 when a locked shape was rewritten, and with code 6 when the store holds something
/// else than the file says.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cim schema check
  cim schema check crates/sales/cim-schemas.lock --since origin/main
  cim --store nats://localhost:4222 schema check --stored --json")]
pub(super) struct CheckArgs {
    /// The file
    #[arg(default_value = file::DEFAULT)]
    file: PathBuf,
    /// Compare with what the file was at this git revision
    #[arg(long, value_name = "GIT_REVISION")]
    since: Option<String>,
    /// Don't compare with what the file was
    #[arg(long, conflicts_with = "since")]
    no_since: bool,
    /// Compare with what the store holds
    #[arg(long)]
    stored: bool,
}

/// The result, as JSON.
#[derive(Serialize)]
struct CheckReport {
    file: String,
    entries: usize,
    versions: usize,
    /// What the file was compared with.
    since: Option<String>,
    rewrites: Vec<RewriteReport>,
    stored: Option<Vec<StoredReport>>,
}

/// A shape that is not locked any more, as JSON.
#[derive(Serialize)]
struct RewriteReport {
    #[serde(flatten)]
    what: show::Name,
    version: u32,
    was: String,
    is: Option<String>,
}

/// What the store holds of a version, as JSON.
#[derive(Serialize)]
struct StoredReport {
    #[serde(flatten)]
    what: show::Name,
    version: u32,
    events: u64,
    locked: bool,
    not_compared: u64,
    misfits: u64,
    first: Option<FirstReport>,
}

#[derive(Serialize)]
struct FirstReport {
    stream: String,
    version: u64,
    message: String,
}

impl CheckArgs {
    pub(super) async fn run(self, session: &mut Session<'_>) -> Result<(), Failure> {
        let (text, locked) = file::read(&self.file)?;
        file::check_spelling(&self.file, &text, &locked)?;
        let (since, rewrites) = self.rewrites(session.ui, &locked)?;
        let stored = match self.stored {
            true => {
                let log = session.open(StoreMode::MustExist).await?.log();
                Some(read_all(session.ui, &*log, &locked).await?)
            }
            false => None,
        };
        let report = CheckReport {
            file: self.file.display().to_string(),
            entries: locked.entries().count(),
            versions: locked.entries().map(|(_, versions)| versions.len()).sum(),
            since,
            rewrites: rewrites.iter().map(RewriteReport::of).collect(),
            stored: stored
                .as_ref()
                .map(|stored| stored.iter().map(StoredReport::of).collect()),
        };
        let ui = &mut *session.ui;
        match ui.is_json() {
            true => ui.json(&report)?,
            false => show(ui, &report, &rewrites, stored.as_deref())?,
        }
        let misfit = stored.iter().flatten().any(|version| !version.fits());
        if !rewrites.is_empty() {
            ui.notice(
                "what is locked stays: take the change back, and give the type its next version \
                 and an upcast; only what was never released may go",
            );
            return Err(Failure::reported(ExitCode::Invalid));
        }
        match misfit {
            true => Err(Failure::reported(ExitCode::Integrity)),
            false => Ok(()),
        }
    }

    /// The revision that the file is compared with, and what was rewritten since.
    fn rewrites(
        &self,
        ui: &mut Ui,
        locked: &LockFile,
    ) -> Result<(Option<String>, Vec<Rewrite>), Failure> {
        if self.no_since {
            return Ok((None, Vec::new()));
        }
        match past::of(&self.file, self.since.as_deref())? {
            Past::Nothing(why) => {
                ui.notice(format_args!("not compared with its past: {why}"));
                Ok((None, Vec::new()))
            }
            Past::Text { revision, text } => {
                let place = format!("{} at {revision}", self.file.display());
                let before = file::parse(&text, place)?;
                Ok((Some(revision), locked.rewrites_since(&before)))
            }
        }
    }
}

/// Reads the log as it is now.
async fn read_all(
    ui: &mut Ui,
    log: &dyn EventLog,
    locked: &LockFile,
) -> Result<Vec<StoredVersion>, Failure> {
    let ctx = Context::new();
    let stats = log.stats(&ctx).await?;
    let after = stats.truncated_through;
    if after > Position::NONE {
        ui.notice(format_args!(
            "events up to position {after} were truncated, and are not compared"
        ));
    }
    let mut progress = ui.progress("compared up to position", stats.last.get());
    let mut events = log.read_log(&ctx, LogQuery::all().after(after)).await?;
    let mut found = StoredShapes::new(locked);
    while let Some(event) = events.try_next().await? {
        found.add(&event);
        progress.set(ui, event.position.get());
    }
    Ok(found.versions())
}

fn show(
    ui: &mut Ui,
    report: &CheckReport,
    rewrites: &[Rewrite],
    stored: Option<&[StoredVersion]>,
) -> Result<(), Failure> {
    let CheckReport {
        file,
        entries,
        versions,
        since,
        ..
    } = report;
    for rewrite in rewrites {
        ui.line(format_args!("{rewrite}\n"))?;
    }
    if let Some(stored) = stored {
        show_stored(ui, stored)?;
    }
    ui.line(format_args!("file      {file}"))?;
    ui.line(format_args!(
        "entries   {entries}, with {versions} versions"
    ))?;
    if let Some(since) = since {
        ui.line(format_args!("since     {since}"))?;
        let count = count_of(ui, rewrites.len());
        ui.line(format_args!("rewritten {count}"))?;
    }
    if let Some(stored) = stored {
        let events: u64 = stored.iter().map(|version| version.events).sum();
        ui.line(format_args!("events    {events}"))?;
        let misfits: u64 = stored.iter().map(|version| version.misfits).sum();
        let count = count_of(ui, usize::try_from(misfits).unwrap_or(usize::MAX));
        ui.line(format_args!("misfits   {count}"))?;
    }
    Ok(())
}

fn count_of(ui: &Ui, count: usize) -> String {
    let style = match count {
        0 => Style::Good,
        _ => Style::Bad,
    };
    ui.paint(style, count)
}

fn show_stored(ui: &mut Ui, stored: &[StoredVersion]) -> Result<(), Failure> {
    if stored.is_empty() {
        return Ok(());
    }
    let names = stored.iter().map(|version| name_of(&version.what));
    let width = names.map(|name| name.chars().count()).max().unwrap_or(0);
    let title = format!("{:>10}  {:width$}  version  verdict", "events", "type");
    ui.line(ui.paint(Style::Bold, title.trim_end()))?;
    for version in stored {
        let name = name_of(&version.what);
        let padding = " ".repeat(width.saturating_sub(name.chars().count()));
        let verdict = match (version.is_locked, version.misfits) {
            (false, _) => ui.paint(Style::Bad, "not in the file"),
            (true, 0) => ui.paint(Style::Good, "fits"),
            (true, misfits) => ui.paint(Style::Bad, format_args!("{misfits} do not fit")),
        };
        let not_compared = match version.not_compared {
            0 => String::new(),
            others => format!(", {others} are no JSON and were not compared"),
        };
        ui.line(format_args!(
            "{:>10}  {name}{padding}  {:>7}  {verdict}{not_compared}",
            version.events, version.schema_version
        ))?;
        if let Some(first) = &version.first_misfit {
            let message = escaped(&first.message);
            ui.line(format_args!(
                "{:>12}first {}@{}: {message}",
                "", first.stream, first.version
            ))?;
        }
    }
    ui.line("")
}

/// Without what could steer a terminal: names and values come from the store.
fn escaped(text: &str) -> String {
    let steers = |letter: char| letter.is_control();
    text.chars()
        .flat_map(|letter| match steers(letter) {
            true => letter.escape_default().collect::<Vec<_>>(),
            false => vec![letter],
        })
        .collect()
}

fn name_of(what: &Persisted) -> String {
    let name = what.to_string();
    escaped(name.strip_prefix("event ").unwrap_or(&name))
}

impl RewriteReport {
    fn of(rewrite: &Rewrite) -> Self {
        Self {
            what: show::Name::of(&rewrite.what),
            version: rewrite.version,
            was: rewrite.was.to_string(),
            is: rewrite.is.as_ref().map(ToString::to_string),
        }
    }
}

impl StoredReport {
    fn of(version: &StoredVersion) -> Self {
        Self {
            what: show::Name::of(&version.what),
            version: version.schema_version,
            events: version.events,
            locked: version.is_locked,
            not_compared: version.not_compared,
            misfits: version.misfits,
            first: version.first_misfit.as_ref().map(|first| FirstReport {
                stream: first.stream.to_string(),
                version: first.version.get(),
                message: first.message.clone(),
            }),
        }
    }
}
