//! `cim import`: a history from a CAR file.

use std::fs::File;
use std::io::{self, BufReader, Seek};
use std::ops::ControlFlow;
use std::path::PathBuf;

use cim_domain::persistence::car::{
    HistoryFile, HistoryFileError, ImportError, ImportOptions, ImportProgress, check,
    check_beginning, import,
};
use cim_ipld::Cid;
use cim_ipld::car::CarErrorKind;
use cim_store::{Context, EventLogError, Fault};
use clap::Args;
use serde::Serialize;

use crate::commands::history_line::HistoryLine;
use crate::error::Failure;
use crate::exit_code::ExitCode;
use crate::output::Ui;
use crate::session::{Session, StoreMode};

/// Import a history from a CAR file
///
/// Stores every event of a file that `cim export` wrote, with the same CIDs, versions, commits and
/// order, in a store that is empty or holds a beginning of that history. Everything is verified as
/// it is read. Positions and times of storing are the store's own. The store is created where it does
/// not exist.
///
/// An import that was interrupted goes on where it ended when the same command is run again: what
/// the store holds is compared with the file first. Ctrl-C ends it after the commits under way. A
/// store that holds anything else is refused, and nothing is stored.
///
/// The file proves that it is sound in itself; that it is the right history is proven by `--root`,
/// with the CID that `cim export` printed.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cim --store nats://localhost:4222 import --car history.car
  cim import --car history.car --root bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua
  cim import --car orders.car --check")]
pub struct ImportArgs {
    /// The file to read
    #[arg(long, value_name = "FILE")]
    car: PathBuf,
    /// The root that the file must have, from somebody you trust
    #[arg(long, value_name = "CID", value_parser = parse_root)]
    root: Option<Cid>,
    /// Only check the file; open no store
    #[arg(long)]
    check: bool,
}

/// A file that can't be read.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("{} can't be read", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is a directory", .0.display())]
    Directory(PathBuf),
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        let code = match &error {
            FileError::Read { source, .. } => ExitCode::of_file(source),
            FileError::Directory(_) => ExitCode::Invalid,
        };
        Self::new(code, error).with_hint("name a file that can be read")
    }
}

/// A text that is no root.
#[derive(Debug, thiserror::Error)]
#[error(
    "it is no CID; the root of a file is one that begins with bafyrei, and `cim export` prints it"
)]
struct RootError;

fn parse_root(text: &str) -> Result<Cid, RootError> {
    text.parse().map_err(|_| RootError)
}

/// What was imported, as JSON.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    line: HistoryLine<'a>,
    /// Without a store there is nothing of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stored: Option<u64>,
}

impl ImportArgs {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<(), Failure> {
        let (file, bytes) = self.open()?;
        let options = ImportOptions { root: self.root };
        if self.check {
            return self.check(session, file, bytes, options).await;
        }
        let file = self.begin(file, options).await?;
        let log = session.open(StoreMode::Create).await?.log();
        let interrupt = &session.environment.interrupt;
        let ui = &mut *session.ui;
        let mut reached = None;
        let mut bar = ui.progress("imported bytes", bytes);
        let ctx = Context::new();
        let imported = import(&*log, &ctx, file, options, |done| {
            reached = Some(done);
            bar.set(ui, done.bytes);
            match interrupt.is_set() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        let imported = imported.await;
        drop(bar);
        let imported = match imported {
            Ok(imported) => imported,
            Err(ImportError::Stopped { events }) => {
                ui.notice(format_args!(
                    "stopped after event {events}; the same command goes on there"
                ));
                return Err(Failure::reported(ExitCode::Interrupted));
            }
            Err(error) => return Err(failure(error, reached)),
        };
        let counts = Some((imported.found, imported.stored));
        self.show(ui, &imported.file, counts)
    }

    fn unreadable(&self, source: io::Error) -> FileError {
        let path = self.car.clone();
        FileError::Read { path, source }
    }

    /// Opens the file, and says how many bytes it has.
    fn open(&self) -> Result<(File, u64), FileError> {
        let file = File::open(&self.car).map_err(|source| self.unreadable(source))?;
        let found = file.metadata().map_err(|source| self.unreadable(source))?;
        match found.is_dir() {
            true => Err(FileError::Directory(self.car.clone())),
            false => Ok((file, found.len())),
        }
    }

    /// Looks at the file's beginning before a store is made for it.
    async fn begin(&self, file: File, options: ImportOptions) -> Result<File, Failure> {
        let checked = tokio::task::spawn_blocking(move || {
            let checked = check_beginning(BufReader::new(&file), options);
            (checked, file)
        });
        let (checked, mut file) = checked
            .await
            .map_err(|error| Failure::new(ExitCode::Failure, error))?;
        checked.map_err(|error| failure(error.into(), None))?;
        file.rewind().map_err(|source| self.unreadable(source))?;
        Ok(file)
    }

    async fn check(
        &self,
        session: &mut Session<'_>,
        file: File,
        bytes: u64,
        options: ImportOptions,
    ) -> Result<(), Failure> {
        let interrupt = session.environment.interrupt.clone();
        let ui = &mut *session.ui;
        let mut bar = ui.progress("checked bytes", bytes);
        let checked = tokio::select! {
            checked = check(file, options, |read| bar.set(ui, read)) => checked,
            () = interrupt.wait() => return Err(Failure::reported(ExitCode::Interrupted)),
        };
        drop(bar);
        let checked = checked.map_err(|error| failure(error, None))?;
        self.show(ui, &checked, None)
    }

    fn show(
        &self,
        ui: &mut Ui,
        file: &HistoryFile,
        counts: Option<(u64, u64)>,
    ) -> Result<(), Failure> {
        let report = Report {
            line: HistoryLine::of(&self.car, file),
            found: counts.map(|(found, _)| found),
            stored: counts.map(|(_, stored)| stored),
        };
        if let Some(split) = file.first_split {
            ui.notice(format_args!(
                "{} not whole here, first {}: the file is sound, but can't be imported",
                match file.split_commits {
                    1 => "1 commit is".to_owned(),
                    number => format!("{number} commits are"),
                },
                split.commit
            ));
        }
        if ui.is_json() {
            return ui.json(&report);
        }
        report.line.show(ui)?;
        if let Some((found, stored)) = counts {
            ui.line(format_args!("found    {found}"))?;
            ui.line(format_args!("stored   {stored}"))?;
        }
        Ok(())
    }
}

/// `reached` is how far the import came.
fn failure(error: ImportError, reached: Option<ImportProgress>) -> Failure {
    let again = "what was imported so far is stored; the same command goes on after it";
    let other_store =
        "import into an empty store, or into one that holds a beginning of this history";
    let alone = "import into a store that nobody else writes to";
    let mut stored = reached.map_or(0, |reached| reached.events);
    let (code, hint) = match &error {
        ImportError::File(error) => of_file(error),
        ImportError::OtherHistory { .. } | ImportError::MoreThanFile { .. } => {
            (ExitCode::Conflict, other_store.to_owned())
        }
        ImportError::TruncatedTarget { .. } => (ExitCode::Invalid, other_store.to_owned()),
        ImportError::HalfCommit { .. } => (
            ExitCode::Integrity,
            "`cim verify` names every damaged place".to_owned(),
        ),
        ImportError::OtherCid { .. } => (
            ExitCode::Integrity,
            "the store does not keep its contract; don't use what it holds".to_owned(),
        ),
        ImportError::Mixed { .. } => (ExitCode::Conflict, alone.to_owned()),
        ImportError::Store { source, .. } if source.is_conflict() => {
            (ExitCode::Conflict, alone.to_owned())
        }
        ImportError::Store { source, event, .. } => {
            stored = event.saturating_sub(1);
            (ExitCode::of(source), of_store(source, again))
        }
        ImportError::Read(source) => (ExitCode::of(source), of_store(source, again)),
        _ => (ExitCode::Failure, again.to_owned()),
    };
    let hint = match stored {
        0 => hint,
        _ if hint.ends_with(again) => hint,
        1 => format!("{hint}; the store holds the first event of the file"),
        events => format!("{hint}; the store holds the first {events} events of the file"),
    };
    Failure::new(code, error).with_hint(hint)
}

/// What to do where the store did not do what it should. Only what passes by itself is told to be
/// tried again as it is: `again`.
fn of_store(error: &EventLogError, again: &str) -> String {
    let change = match error.fault() {
        None => return again.to_owned(),
        Some(Fault::Unavailable | Fault::Closed) => {
            let first = error.hint().map(|hint| format!("{hint}; "));
            return first.unwrap_or_default() + again;
        }
        Some(Fault::Integrity) => {
            return "`cim verify` names every damaged place".to_owned();
        }
        Some(Fault::TooLarge { .. }) => "import into a store that takes events of that size",
        Some(Fault::Denied) => "get the right to read and to append there",
        Some(_) => "import into a store that takes every event of the file",
    };
    let change = error.hint().unwrap_or(change);
    format!("{change}; before that the same command ends here again")
}

fn of_file(error: &HistoryFileError) -> (ExitCode, String) {
    let (code, hint) = match error {
        HistoryFileError::Car(error) => match error.kind() {
            CarErrorKind::Read(source) => {
                (ExitCode::of_file(source), "name a file that can be read")
            }
            _ => (ExitCode::Integrity, UNDAMAGED),
        },
        HistoryFileError::OtherRoot { .. } => (
            ExitCode::Integrity,
            "this is another history, or the CID is misspelled",
        ),
        HistoryFileError::SplitCommit { .. } => (
            ExitCode::Invalid,
            "export without a PATTERN, or with one that matches all streams of each commit; \
             `--check` only checks the file",
        ),
        HistoryFileError::Version { .. } | HistoryFileError::EventVersion { .. } => (
            ExitCode::Invalid,
            "read it with the release of cim that wrote it, or a newer one",
        ),
        HistoryFileError::RepeatedCommit { .. } => (
            ExitCode::Integrity,
            "no export wrote this file as it is; ask where it comes from",
        ),
        HistoryFileError::Unfinished => (ExitCode::Integrity, "export again"),
        error if error.is_not_importable() => (
            ExitCode::Invalid,
            "import a file that `cim export` of this release or an older one wrote",
        ),
        _ => (ExitCode::Integrity, UNDAMAGED),
    };
    (code, hint.to_owned())
}

const UNDAMAGED: &str = "take an undamaged copy of the file, or export again";
