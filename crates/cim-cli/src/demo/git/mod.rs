//! `cim demo git`: a git repository's history as events, and the proof that they are equal to it.
//!
//! ```text
//! program   the `git` program as reader         reader    what it writes, as commits and changes
//! object    object ids and modes                text      bytes that are usually UTF-8
//! events    streams, ids, payloads              plan      which events are stored together
//! history   what the store holds already        import    appends what is new
//! tree      the tree rebuilt from events        answers   questions, compared with git's answers
//! report    what is printed
//! ```
//!
//! A store holds the history of one repository in its context `git`.

mod answers;
mod events;
mod history;
mod import;
mod object;
mod plan;
mod program;
mod reader;
mod report;
mod text;
mod tree;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use self::answers::Asker;
use self::program::Repository;
use self::report::{ImportReport, Report};
use crate::error::Failure;
use crate::exit_code::ExitCode;
use crate::session::{Session, StoreMode};

/// Import a git repository's history and prove it equal to git's
///
/// Reads the first-parent history of HEAD with the `git` program. Each path is a stream
/// (`git.file.{UUID of the path}`) with the events `file_added`, `file_modified` and
/// `file_deleted`; each git commit is a stream (`git.commit.{hash}`) with the event
/// `commit_recorded`. What belongs to one git commit is stored together or not at all.
///
/// A second run imports only what is new. Ctrl-C leaves a store that the next run completes. A
/// store holds one history: a rewritten one, or another repository's, is refused.
///
/// Then it answers questions from the events and compares the answers with git's own: the tree at
/// HEAD, the trees at 20 earlier commits, how often the most changed files changed, and whether
/// every chain verifies. Ends with code 6 at a difference.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cim demo git
  cim demo git --repo ~/src/linux --store embedded:./linux-data
  cim log git.commit --limit 3
  cim streams git.file")]
pub struct GitArgs {
    /// The repository, or a directory in it; without it the one of the current directory
    #[arg(long, value_name = "PATH")]
    repo: Option<PathBuf>,
}

/// A repository without commits, as JSON.
#[derive(Serialize)]
struct EmptyReport {
    repository: String,
    head: Option<String>,
    commits: u64,
}

impl GitArgs {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<(), Failure> {
        let repository = Repository::find(self.repo.as_deref())?;
        let head = repository.head()?;
        let history = match &head {
            Some(head) => repository.first_parents(head)?,
            None => Vec::new(),
        };
        let (Some(head), Some(first)) = (head, history.first().copied()) else {
            return say_empty(session, &repository);
        };
        let boundary = repository.is_boundary(&first)?.then_some(first);
        if boundary.is_some() {
            session.ui.notice(format_args!(
                "this is a shallow clone: its history begins with the whole tree at {first}"
            ));
        }
        let clock = Arc::clone(&session.environment.clock);
        let interrupt = &session.environment.interrupt;
        let log = session.open(StoreMode::Create).await?.log();
        let ui = &mut *session.ui;
        let imported = history::imported(&log, &history, boundary.is_some()).await?;

        let started = clock.monotonic();
        let new = (history.len() - imported) as u64;
        let mut progress = ui.progress("imported git commits", new);
        let outcome = import::import(
            Arc::clone(&log),
            &repository,
            &history,
            imported,
            interrupt,
            |commits| progress.set(ui, commits),
        );
        let outcome = outcome.await;
        drop(progress);
        let outcome = outcome?;
        if outcome.is_interrupted {
            ui.notice(format_args!(
                "stopped after {} of {new} new git commits; the next run continues there",
                outcome.commits
            ));
            return Err(Failure::reported(ExitCode::Interrupted));
        }
        let import = ImportReport {
            boundary,
            history: history.len(),
            outcome,
            elapsed: clock.monotonic().saturating_duration_since(started),
        };
        let asker = Asker {
            log,
            repository: &repository,
            history: &history,
            clock,
            interrupt,
        };
        let answers = asker.ask(head).await?;
        let report = Report::new(repository.git_dir(), head, &import, answers);
        report.print(ui)?;
        if report.all_equal() {
            Ok(())
        } else {
            Err(Failure::reported(ExitCode::Integrity))
        }
    }
}

fn say_empty(session: &mut Session<'_>, repository: &Repository) -> Result<(), Failure> {
    let git_dir = repository.git_dir().display().to_string();
    if session.ui.is_json() {
        return session.ui.json(&EmptyReport {
            repository: git_dir,
            head: None,
            commits: 0,
        });
    }
    session.ui.line(format_args!(
        "{git_dir} has no commits yet: nothing to import"
    ))
}
