//! Questions that the stored events answer, each answer compared with git's own.
//!
//! One pass over the log rebuilds the tree and compares it at HEAD and at commits spread over the
//! history; the paths' changes are counted on the way. Git is asked by other commands than those
//! the import read from, so an error of the import can't confirm itself.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use cim_domain::persistence::verification::Verifier;
use cim_store::{
    Clock, Context, EventFilter, EventLog, EventLogError, LogQuery, RecordedEvent, StreamPattern,
};
use cim_subject::{SubjectError, SubjectPattern};
use futures_util::TryStreamExt;

use super::events::{
    COMMIT, COMMIT_RECORDED, FILE, FILE_ADDED, FILE_DELETED, FILE_MODIFIED, FileChange,
};
use super::object::ObjectId;
use super::program::{GitError, Repository, os_path};
use super::reader::ChangeKind;
use super::text::GitText;
use super::tree::Tree;
use crate::error::Failure;
use crate::exit_code::ExitCode;
use crate::interrupt::Interrupt;

/// Earlier commits at which the tree is compared.
const EARLIER_COMMITS: usize = 20;
/// Paths whose changes are counted by git too.
const MOST_CHANGED: usize = 5;

/// What ends the questions early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerError {
    #[error(transparent)]
    Git(#[from] GitError),
    #[error(transparent)]
    Store(#[from] EventLogError),
    #[error(transparent)]
    Pattern(#[from] SubjectError),
    #[error("the event at position {position} was not written by this import")]
    Foreign {
        position: cim_store::Position,
        source: Option<serde_json::Error>,
    },
    #[error("stopped; everything is imported, the next run answers")]
    Interrupted,
}

impl From<AnswerError> for Failure {
    fn from(error: AnswerError) -> Self {
        match error {
            AnswerError::Git(error) => error.into(),
            AnswerError::Store(error) => error.into(),
            AnswerError::Pattern(_) => Self::new(ExitCode::Failure, error),
            AnswerError::Interrupted => Self::new(ExitCode::Interrupted, error),
            AnswerError::Foreign { .. } => Self::new(ExitCode::Invalid, error).with_hint(
                "the context `git` is the import's own: import into another store with `--store`",
            ),
        }
    }
}

/// One question and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// What was compared.
    pub(crate) question: String,
    /// How many things were compared.
    pub(crate) compared: u64,
    /// What things.
    pub(crate) unit: &'static str,
    /// How long it took.
    pub(crate) elapsed: Duration,
    /// The first difference; `None`: equal.
    pub(crate) difference: Option<String>,
}

/// All answers.
#[derive(Debug)]
pub(crate) struct Answers {
    /// Tree at HEAD, trees at earlier commits, changes, chains.
    pub(crate) answers: [Answer; 4],
    /// The most changed paths.
    pub(crate) most_changed: Vec<(GitText, u64)>,
    /// Events that were read.
    pub(crate) events: u64,
    /// Files at HEAD.
    pub(crate) files: u64,
    /// How long reading the log and rebuilding took, without asking git.
    pub(crate) rebuild: Duration,
}

impl Answers {
    /// Whether every answer equals git's.
    pub(crate) fn all_equal(&self) -> bool {
        self.answers
            .iter()
            .all(|answer| answer.difference.is_none())
    }
}

/// What the questions are asked of.
#[derive(Debug)]
pub(crate) struct Asker<'a> {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) repository: &'a Repository,
    pub(crate) history: &'a [ObjectId],
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) interrupt: &'a Interrupt,
}

impl Asker<'_> {
    /// Asks everything.
    pub(crate) async fn ask(&self, head: ObjectId) -> Result<Answers, AnswerError> {
        let mut at_head = self.answer("tree at HEAD".to_owned(), "files");
        let mut earlier = self.answer(String::new(), "files");
        let mut tree = Tree::default();
        let mut checkpoints = self.checkpoints();
        earlier.question = match checkpoints.len() {
            1 => "tree at 1 earlier commit".to_owned(),
            count => format!("trees at {count} earlier commits"),
        };
        let (mut events_read, mut commits) = (0, 0);
        let started = self.clock.monotonic();
        let query = LogQuery::all()
            .filter(EventFilter::all().matching(SubjectPattern::try_from("cim.events.git.>")?));
        let mut events = self.log.read_log(&Context::new(), query).await?;
        while let Some(event) = events.try_next().await? {
            events_read += 1;
            match take(&event, &mut tree)? {
                Taken::Change => {}
                Taken::Other => {}
                Taken::Commit => {
                    commits += 1;
                    if let Some(commit) = checkpoints.remove(&commits) {
                        self.compare(&tree, &commit, &mut earlier)?;
                    }
                }
            }
            if self.interrupt.is_set() {
                return Err(AnswerError::Interrupted);
            }
        }
        let total = self.clock.monotonic().saturating_duration_since(started);
        let rebuild = total.saturating_sub(earlier.elapsed);
        if let Some((ordinal, commit)) = checkpoints.pop_first() {
            earlier.difference.get_or_insert_with(|| {
                format!(
                    "{commit}: the log ends after {commits} git commits, before number {ordinal}"
                )
            });
        }
        self.compare(&tree, &head, &mut at_head)?;
        let (changes, most_changed) = self.changes(&tree, &head)?;
        let chains = self.chains().await?;
        Ok(Answers {
            answers: [at_head, earlier, changes, chains],
            most_changed,
            events: events_read,
            files: tree.len() as u64,
            rebuild,
        })
    }

    fn answer(&self, question: String, unit: &'static str) -> Answer {
        Answer {
            question,
            compared: 0,
            unit,
            elapsed: Duration::ZERO,
            difference: None,
        }
    }

    /// Commits before HEAD, spread evenly, by their number in the log.
    fn checkpoints(&self) -> BTreeMap<usize, ObjectId> {
        let earlier = &self.history[..self.history.len().saturating_sub(1)];
        let count = earlier.len().min(EARLIER_COMMITS);
        (0..count)
            .map(|number| number * earlier.len() / count)
            .filter_map(|at| Some((at + 1, *earlier.get(at)?)))
            .collect()
    }

    fn compare(
        &self,
        tree: &Tree,
        commit: &ObjectId,
        answer: &mut Answer,
    ) -> Result<(), AnswerError> {
        let started = self.clock.monotonic();
        answer.compared += tree.len() as u64;
        if answer.difference.is_none() {
            let difference = tree.compare_with_git(self.repository, commit)?;
            answer.difference =
                difference.map(|difference| format!("at {}: {difference}", commit.short()));
        }
        answer.elapsed += self.clock.monotonic().saturating_duration_since(started);
        Ok(())
    }

    fn changes(
        &self,
        tree: &Tree,
        head: &ObjectId,
    ) -> Result<(Answer, Vec<(GitText, u64)>), AnswerError> {
        let started = self.clock.monotonic();
        let most = tree.most_changed(MOST_CHANGED);
        let mut answer = self.answer(
            match most.len() {
                1 => "changes of the most changed file".to_owned(),
                count => format!("changes of the {count} most changed files"),
            },
            "changes",
        );
        let git = self.count_changes(&most, head)?;
        answer.compared = most.iter().map(|(_, changes)| changes).sum();
        answer.difference = compare_changes(&most, &git);
        answer.elapsed = self.clock.monotonic().saturating_duration_since(started);
        let most = most
            .into_iter()
            .map(|(path, changes)| (GitText::new(path), changes));
        Ok((answer, most.collect()))
    }

    /// How many first-parent commits change each of these paths, as git says. A path can be a
    /// directory at other times, so only what git names exactly so counts.
    fn count_changes(
        &self,
        paths: &[(Vec<u8>, u64)],
        head: &ObjectId,
    ) -> Result<HashMap<Vec<u8>, u64>, AnswerError> {
        let mut counts: HashMap<Vec<u8>, u64> =
            paths.iter().map(|(path, _)| (path.clone(), 0)).collect();
        if paths.is_empty() {
            return Ok(counts);
        }
        let head = head.to_string();
        let options = [
            "log",
            "--first-parent",
            "--diff-merges=first-parent",
            "--no-renames",
            "--no-relative",
            "--ignore-submodules=none",
            "--name-only",
            "-z",
            "--format=",
            &head,
            "--",
        ];
        let mut args: Vec<OsString> = options.iter().map(OsString::from).collect();
        args.extend(paths.iter().map(|(path, _)| os_path(path)));
        let mut output = self.repository.stream(args)?;
        while let Some(name) = output.token(0)? {
            if let Some(count) = counts.get_mut(&name) {
                *count += 1;
            }
        }
        output.finish()?;
        Ok(counts)
    }

    async fn chains(&self) -> Result<Answer, AnswerError> {
        let started = self.clock.monotonic();
        let mut answer = self.answer("chain of every stream".to_owned(), "streams");
        let pattern = StreamPattern::new(SubjectPattern::try_from("git.>")?);
        let ctx = Context::new();
        let verifier = Verifier::new(Arc::clone(&self.log));
        let verifying = verifier.verify_streams(&ctx, &pattern, |_| ());
        let verification = tokio::select! {
            verified = verifying => verified?,
            () = self.interrupt.wait() => return Err(AnswerError::Interrupted),
        };
        answer.compared = verification.streams;
        answer.difference = verification
            .faults
            .into_iter()
            .next()
            .map(|fault| fault.to_string());
        answer.elapsed = self.clock.monotonic().saturating_duration_since(started);
        Ok(answer)
    }
}

/// The first path whose count differs.
fn compare_changes(rebuilt: &[(Vec<u8>, u64)], git: &HashMap<Vec<u8>, u64>) -> Option<String> {
    rebuilt.iter().find_map(|(path, changes)| {
        let counted = git.get(path).copied().unwrap_or(0);
        (counted != *changes).then(|| {
            let path = GitText::new(path.clone());
            format!("{path}: the events say {changes}, git says {counted}")
        })
    })
}

/// What an event was about.
enum Taken {
    Change,
    Commit,
    Other,
}

fn take(event: &RecordedEvent, tree: &mut Tree) -> Result<Taken, AnswerError> {
    let foreign = |source| AnswerError::Foreign {
        position: event.position,
        source,
    };
    let kind = match (event.stream.aggregate(), event.event_type.as_str()) {
        (COMMIT, COMMIT_RECORDED) => return Ok(Taken::Commit),
        (FILE, FILE_ADDED) => ChangeKind::Added,
        (FILE, FILE_MODIFIED) => ChangeKind::Modified,
        (FILE, FILE_DELETED) => ChangeKind::Deleted,
        (FILE | COMMIT, _) => return Err(foreign(None)),
        _ => return Ok(Taken::Other),
    };
    let change: FileChange = event.json().map_err(|source| foreign(Some(source)))?;
    tree.apply(kind, change);
    Ok(Taken::Change)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_count_is_found_and_named() {
        let rebuilt = [(b"a".to_vec(), 3), (b"b".to_vec(), 2)];
        let git = |b| HashMap::from([(b"a".to_vec(), 3), (b"b".to_vec(), b)]);
        assert_eq!(compare_changes(&rebuilt, &git(2)), None);
        assert_eq!(
            compare_changes(&rebuilt, &git(1)).as_deref(),
            Some("b: the events say 2, git says 1")
        );
        assert_eq!(
            compare_changes(&rebuilt, &HashMap::new()).as_deref(),
            Some("a: the events say 3, git says 0")
        );
    }
}
