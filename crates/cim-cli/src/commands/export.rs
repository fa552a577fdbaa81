//! `cim export`: the history as a CAR file.

use std::path::{Path, PathBuf};

use cim_domain::persistence::car::{ExportError, HistoryFile, export};
use cim_store::{Context, StreamPattern};
use clap::Args;

use crate::commands::history_line::HistoryLine;
use crate::commands::parse_stream_pattern;
use crate::error::Failure;
use crate::exit_code::ExitCode;
use crate::out_file::{OutFile, check_free};
use crate::output::Ui;
use crate::session::{Session, StoreMode};

/// Export the history to a CAR file
///
/// Writes every event's block, in the order of the log, and a root whose CID stands for all of
/// them. Everything is checked as it is read: a damaged store is refused with the place, and FILE
/// does not appear. The same history gives the same bytes, whichever store it is in. `cim import`
/// stores it elsewhere; every tool that reads CAR files reads it (docs/format/car.md).
///
/// With a PATTERN only the streams whose names match are exported. Commits that wrote other streams
/// as well are then split: the file can be read and checked, but not imported.
///
/// FILE is written as FILE.part, flushed to disk, and renamed when it is whole.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cim export --car history.car
  cim export --car orders.car sales.order
  cim --store nats://localhost:4222 export --car history.car --force --json")]
pub struct ExportArgs {
    /// The file to write
    #[arg(long, value_name = "FILE")]
    car: PathBuf,
    /// Overwrite FILE where it exists and is a regular file
    #[arg(long)]
    force: bool,
    /// Which streams, as for `cim streams`; without it the whole log
    #[arg(value_parser = parse_stream_pattern)]
    pattern: Option<StreamPattern>,
}

fn failure(error: ExportError) -> Failure {
    let verify = "`cim verify` names every damaged place";
    let (code, hint) = match &error {
        ExportError::Read(source) => {
            let hint = source.hint().unwrap_or(match source.is_integrity() {
                true => verify,
                false => "run it again",
            });
            (ExitCode::of(source), hint.to_owned())
        }
        ExportError::Truncated { .. } => (
            ExitCode::Invalid,
            "export from a store that holds the whole history, or name streams that it still \
             holds whole with a PATTERN"
                .to_owned(),
        ),
        ExportError::Write(_) | ExportError::Header(_) => (
            ExitCode::Failure,
            "name a file where there is room for it".to_owned(),
        ),
        ExportError::Altered { .. }
        | ExportError::Chain { .. }
        | ExportError::Malformed { .. }
        | ExportError::SplitCommit { .. }
        | ExportError::Order { .. }
        | ExportError::Short { .. } => (ExitCode::Integrity, verify.to_owned()),
        _ => (ExitCode::Failure, "run it again".to_owned()),
    };
    Failure::new(code, error).with_hint(hint)
}

impl ExportArgs {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<(), Failure> {
        check_free(&self.car, self.force)?;
        let log = session.open(StoreMode::MustExist).await?.log();
        let (out, file) = OutFile::create(&self.car, self.force)?;
        let written = file.try_clone().map_err(|source| out.unwritable(source))?;

        let ctx = Context::new();
        let last = log.stats(&ctx).await?.last.get();
        let ui = &mut *session.ui;
        let mut bar = ui.progress("exported up to position", last);
        let exported = export(&*log, &ctx, self.pattern.as_ref(), file, |done| {
            bar.set(ui, done.position.get())
        });
        let (exported, file) = exported.await.map_err(failure)?;
        drop(bar);
        drop(file);
        if let Some(pattern) = &self.pattern
            && exported.events == 0
        {
            // Else a misspelled pattern would look like a history.
            let error = format!("no stream matches `{}`", pattern.as_pattern());
            return Err(Failure::new(ExitCode::NotFound, error)
                .with_hint("`cim streams` lists the streams of the store"));
        }
        let finished = tokio::task::spawn_blocking(move || out.finish(written)).await;
        finished.map_err(|error| Failure::new(ExitCode::Failure, error))??;
        show(ui, &self.car, &exported)
    }
}

fn show(ui: &mut Ui, file: &Path, exported: &HistoryFile) -> Result<(), Failure> {
    let line = HistoryLine::of(file, exported);
    if let Some(split) = exported.first_split {
        ui.notice(format_args!(
            "{} also wrote to streams that are not exported, first {}: the file can be read and \
             checked, but not imported",
            commits(exported.split_commits),
            split.commit
        ));
    }
    if ui.is_json() {
        return ui.json(&line);
    }
    line.show(ui)
}

/// So many commits, in words.
fn commits(number: u64) -> String {
    match number {
        1 => "1 commit".to_owned(),
        number => format!("{number} commits"),
    }
}
