//! Which git history the store holds already.
//!
//! An import only ever adds to the end, so what is stored must be the beginning of the present
//! first-parent history. Anything else (a rewritten history, another repository, another branch)
//! is refused before anything is stored: events can't be taken back.

use std::sync::Arc;

use cim_store::{Context, EventFilter, EventLog, EventLogError, LogQuery, Position, RecordedEvent};
use cim_subject::{SubjectError, SubjectPattern};
use futures_util::TryStreamExt;

use super::events::GIT_COMMIT;
use super::object::ObjectId;
use crate::error::Failure;
use crate::exit_code::ExitCode;

/// A store whose history the present one does not continue.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HistoryError {
    /// The histories part.
    #[error(
        "the store holds another history: git commit number {number} is {stored} there and \
         {present} in the repository"
    )]
    Differs {
        number: usize,
        stored: ObjectId,
        present: ObjectId,
    },
    /// HEAD is behind.
    #[error("the store holds git commits after HEAD; the first of them is {stored}")]
    Ahead { stored: ObjectId },
    /// The store's history begins later than the present one.
    #[error(
        "the store's history begins with {stored}, as a shallow clone's does; the repository has \
         {missing} git commits before it"
    )]
    Deepened { stored: ObjectId, missing: usize },
    /// A shallow clone lacks what the store's history begins with.
    #[error(
        "the repository is a shallow clone that lacks {stored}, with which the store's history begins"
    )]
    Shallow { stored: ObjectId },
    /// A git commit that was imported in part is not the one to come.
    #[error(
        "the store holds a part of git commit {stored}, which does not come next in the repository"
    )]
    Unfinished { stored: String },
    /// An event of the context `git` that the import did not write.
    #[error("the event at position {position} was not written by this import")]
    Foreign { position: Position },
    /// The store can't be read.
    #[error(transparent)]
    Store(#[from] EventLogError),
    /// A pattern is wrong.
    #[error(transparent)]
    Pattern(#[from] SubjectError),
}

impl From<HistoryError> for Failure {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::Store(error) => error.into(),
            HistoryError::Pattern(_) => Self::new(ExitCode::Failure, error),
            HistoryError::Ahead { .. } => Self::new(ExitCode::Invalid, error).with_hint(
                "check out a commit that is not behind, or import into another store, such as \
                 `--store embedded:./cim-data-2`; nothing was stored",
            ),
            HistoryError::Shallow { .. } => Self::new(ExitCode::Invalid, error).with_hint(
                "fetch the rest with `git fetch --unshallow`, or import into another store with \
                 `--store`; nothing was stored",
            ),
            _ => Self::new(ExitCode::Invalid, error).with_hint(
                "events can't be taken back: import into another store, such as \
                 `--store embedded:./cim-data-2`; nothing was stored",
            ),
        }
    }
}

/// How many git commits of the present first-parent history, oldest first, the store holds.
/// `is_shallow` says that it begins at a shallow clone's boundary.
pub(crate) async fn imported(
    log: &Arc<dyn EventLog>,
    history: &[ObjectId],
    is_shallow: bool,
) -> Result<usize, HistoryError> {
    let mut imported = 0;
    let mut last = Position::NONE;
    let commits = query("cim.events.git.commit.*.commit_recorded.*")?;
    let mut events = log.read_log(&Context::new(), commits).await?;
    while let Some(event) = events.try_next().await? {
        let foreign = HistoryError::Foreign {
            position: event.position,
        };
        let stored: ObjectId = event.stream.id().parse().map_err(|_| foreign)?;
        if history.get(imported) != Some(&stored) {
            return Err(differs(history, imported, stored, is_shallow));
        }
        imported += 1;
        last = event.position;
    }
    let rest = query("cim.events.git.file.>")?.after(last).limit(1);
    let mut events = log.read_log(&Context::new(), rest).await?;
    if let Some(event) = events.try_next().await? {
        check_unfinished(&event, history.get(imported))?;
    }
    Ok(imported)
}

fn query(pattern: &str) -> Result<LogQuery, SubjectError> {
    let pattern = SubjectPattern::try_from(pattern)?;
    Ok(LogQuery::all().filter(EventFilter::all().matching(pattern)))
}

fn differs(
    history: &[ObjectId],
    imported: usize,
    stored: ObjectId,
    is_shallow: bool,
) -> HistoryError {
    let Some(present) = history.get(imported).copied() else {
        return HistoryError::Ahead { stored };
    };
    match history.iter().position(|commit| *commit == stored) {
        Some(missing) if imported == 0 => HistoryError::Deepened { stored, missing },
        _ if imported == 0 && is_shallow => HistoryError::Shallow { stored },
        _ => HistoryError::Differs {
            number: imported + 1,
            stored,
            present,
        },
    }
}

/// A git commit that was imported in part must be the next one: then its parts are completed.
fn check_unfinished(event: &RecordedEvent, next: Option<&ObjectId>) -> Result<(), HistoryError> {
    match event.metadata.get(GIT_COMMIT) {
        None => Err(HistoryError::Foreign {
            position: event.position,
        }),
        Some(stored) if next.is_some_and(|next| next.to_string() == stored) => Ok(()),
        Some(stored) => Err(HistoryError::Unfinished {
            stored: stored.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::events::{COMMIT_RECORDED, FILE_ADDED, commit_stream, file_stream};
    use super::*;
    use cim_store::memory::MemoryStore;
    use cim_store::{EventLogExt, ExpectedVersion, Metadata, NewEvent, Store};

    fn id(number: u8) -> ObjectId {
        format!("{number:040x}").parse().unwrap()
    }

    fn ids(numbers: &[u8]) -> Vec<ObjectId> {
        numbers.iter().copied().map(id).collect()
    }

    async fn store_with(commits: &[u8], part_of: Option<u8>) -> Arc<dyn EventLog> {
        let log = MemoryStore::new().log();
        let ctx = Context::new();
        for commit in commits {
            let event = NewEvent::json(COMMIT_RECORDED, "").unwrap();
            let stream = commit_stream(&id(*commit)).unwrap();
            log.append_to(&ctx, &stream, ExpectedVersion::NEW, vec![event])
                .await
                .unwrap();
        }
        if let Some(commit) = part_of {
            let metadata = Metadata::from_pairs([(GIT_COMMIT, id(commit).to_string())]).unwrap();
            let event = NewEvent::json(FILE_ADDED, "")
                .unwrap()
                .with_metadata(metadata);
            let stream = file_stream(b"a").unwrap();
            log.append_to(&ctx, &stream, ExpectedVersion::NEW, vec![event])
                .await
                .unwrap();
        }
        log
    }

    #[tokio::test]
    async fn what_is_stored_must_be_the_beginning_of_the_present_history() {
        let log = store_with(&[1, 2], None).await;
        assert_eq!(imported(&log, &ids(&[1, 2]), false).await.unwrap(), 2);
        assert_eq!(imported(&log, &ids(&[1, 2, 3]), false).await.unwrap(), 2);

        let error = imported(&log, &ids(&[1, 9]), false).await.unwrap_err();
        assert!(
            matches!(error, HistoryError::Differs { number: 2, .. }),
            "{error}"
        );
        let error = imported(&log, &ids(&[1]), false).await.unwrap_err();
        assert!(
            matches!(error, HistoryError::Ahead { stored } if stored == id(2)),
            "{error}"
        );
        let error = imported(&log, &ids(&[0, 1, 2]), false).await.unwrap_err();
        assert!(
            matches!(error, HistoryError::Deepened { missing: 1, .. }),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_part_of_a_git_commit_must_be_of_the_next_one() {
        let log = store_with(&[1], Some(2)).await;
        assert_eq!(imported(&log, &ids(&[1, 2]), false).await.unwrap(), 1);
        let error = imported(&log, &ids(&[1, 3]), false).await.unwrap_err();
        assert!(matches!(error, HistoryError::Unfinished { .. }), "{error}");
        let error = imported(&log, &ids(&[1]), false).await.unwrap_err();
        assert!(matches!(error, HistoryError::Unfinished { .. }), "{error}");
    }
}
