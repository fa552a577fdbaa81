//! What goes wrong in a repository, by what its caller does about it.

use cim_ipld::ChainFault;
use cim_store::stream_id::StreamIdError;
use cim_store::{
    CommitId, EventLogError, EventLogErrorKind, ExpectedVersion, RecordedEvent, StreamId,
    Timestamp, Version,
};

use super::TagsError;
use super::event_index::IndexError;
use super::snapshot::SnapshotError;
use super::state_copies::StateCopyError;
use crate::{DecodeError, EncodeError};

/// What goes wrong in a [`Repository`](super::Repository); `E` is the aggregate's own error.
///
/// | variant | what to do |
/// |---|---|
/// | `Rejected` | tell whoever sent the command |
/// | `VersionConflict` | load again and decide again; `execute` did so already, as often as its policy says |
/// | `NotFound`, `VersionNotFound` | there is nothing under this id |
/// | `Deleted` | it is gone; ask for a version before, or create it anew |
/// | `TooManyEvents` | allow more, or have snapshots |
/// | `InvalidId`, `InvalidQuery`, `InvalidTags`, `Encode` | correct what was given |
/// | `Decode` | add what the event type lacks, or run the newer program |
/// | `Integrity` | stop; run `cim verify`; restore the stream |
/// | `Unknown` | append the same commit id again, or ask [`resolve`](cim_store::EventLog::resolve) |
/// | `Index` | ask without it, or see what its bucket says |
/// | `NoSnapshots` | give the repository [snapshots](super::Repository::with_snapshots), or don't ask for one |
/// | `NoStateCopies` | give the repository [some](super::Repository::with_state_copies) |
/// | `Snapshot`, `StateCopy` | see its source; the events are not concerned |
/// | `Store` | see [its kind](EventLogError::kind) |
///
/// ```
/// # use cim_domain::persistence::RepositoryError;
/// # fn report(result: Result<u64, RepositoryError>) -> String {
/// match result {
///     Ok(version) => format!("Saved version {version}"),
///     Err(RepositoryError::VersionConflict { expected, actual }) => {
///         format!("Version conflict: expected {expected}, found {actual}")
///     }
///     Err(e) => format!("Error: {e}"),
/// }
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepositoryError<E = std::convert::Infallible>
where
    E: std::error::Error + 'static,
{
    /// The aggregate refused the command. Nothing was stored.
    #[error("the command was rejected")]
    Rejected(#[source] E),
    /// Somebody else was first. Nothing was stored.
    #[error("the aggregate is at version {actual}, expected was {expected}")]
    VersionConflict {
        /// Where the aggregate had to be.
        expected: ExpectedVersion,
        /// Where it is.
        actual: Version,
    },
    /// The aggregate has no events.
    #[error("there is no {stream}")]
    NotFound {
        /// Its stream.
        stream: StreamId,
    },
    /// The aggregate exists, but never was at this version.
    #[error("{stream} has no version {requested}; its versions are 1 to {actual}")]
    VersionNotFound {
        /// Its stream.
        stream: StreamId,
        /// The version that was asked for.
        requested: Version,
        /// The last version there is.
        actual: Version,
    },
    /// The aggregate was deleted. Nothing was stored.
    ///
    /// Its history can still be read, and loaded at every version before; how it is created anew
    /// says [`Recreation`](super::Recreation).
    #[error("{stream} was deleted at version {version}")]
    Deleted {
        /// Its stream.
        stream: StreamId,
        /// The version of the tombstone.
        version: Version,
        /// When the store took the tombstone.
        at: Timestamp,
    },
    /// To answer would have taken more events than
    /// [`LoadOptions::max_events`](super::LoadOptions::max_events) allows.
    #[error("{stream} has more than {max} events to load")]
    TooManyEvents {
        /// Its stream.
        stream: StreamId,
        /// How many were allowed.
        max: u64,
    },
    /// The id can't be part of a stream's name.
    #[error("`{id}` can't be the id of an aggregate")]
    InvalidId {
        /// The id's text, shortened to 100 characters.
        id: String,
        /// What is wrong with it.
        source: StreamIdError,
    },
    /// The tags can't be written into the events' metadata. Nothing was stored.
    #[error("the tags can't be stored")]
    InvalidTags(#[from] TagsError),
    /// An event can't be written. Nothing was stored.
    #[error("an event `{event_type}` for {stream} can't be stored")]
    Encode {
        /// The stream it was for.
        stream: StreamId,
        /// What it calls itself.
        event_type: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A stored event can't be read. It is whole, but this program does not understand it.
    #[error("the event at version {version} of {stream} can't be read")]
    Decode {
        /// Its stream.
        stream: StreamId,
        /// Its place in the stream.
        version: Version,
        /// What is not understood.
        source: Box<DecodeError>,
    },
    /// What was read is not what was stored, as the [`LoadVerification`](super::LoadVerification) of the
    /// repository found. Nothing of it became state.
    #[error("the history of {stream} breaks at version {version}")]
    Integrity {
        /// The stream.
        stream: StreamId,
        /// The version at which it breaks; what was read before it is sound.
        version: Version,
        /// What is wrong there.
        source: Box<ChainFault>,
    },
    /// The answer was lost and could not be had until the deadline: the commit may or may not have
    /// been stored.
    #[error("whether commit {commit_id} was stored is not known")]
    Unknown {
        /// The commit, as [`resolve`](cim_store::EventLog::resolve) takes it.
        commit_id: CommitId,
        /// What was heard last.
        source: EventLogError,
    },
    /// The query can't be asked: the aggregate's context or type makes no subject.
    #[error("the query can't be asked")]
    InvalidQuery(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The index that a query asked failed.
    #[error("the index could not do it")]
    Index(#[source] IndexError),
    /// A snapshot was demanded where none can be taken: the repository has no snapshots, or its
    /// policy is to take none. Nothing was stored.
    #[error(
        "this repository takes no snapshots; give it a store and a policy by `Repository::with_snapshots`"
    )]
    NoSnapshots,
    /// A snapshot that was asked for could not be written, or their bucket not be opened. Events are
    /// stored without it.
    #[error("the snapshots could not be opened or written")]
    Snapshot(#[source] SnapshotError),
    /// Copies of states were to be looked at where there are none.
    #[error(
        "this repository writes no copies of states; give it some by `Repository::with_state_copies`"
    )]
    NoStateCopies,
    /// A copy of a state could not be read or written, or their bucket not be opened. The events are
    /// not concerned.
    #[error("the copies of states could not be opened, read or written")]
    StateCopy(#[source] StateCopyError),
    /// The event log failed or refused.
    #[error("the event log could not do it")]
    Store(#[source] EventLogError),
}

impl<E: std::error::Error + 'static> From<IndexError> for RepositoryError<E> {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Log(error) => error.into(),
            IndexError::InvalidTag(error) => error.into(),
            error => Self::Index(error),
        }
    }
}

impl<E: std::error::Error + 'static> RepositoryError<E> {
    /// Whether the aggregate refused the command; then why.
    pub fn rejection(&self) -> Option<&E> {
        match self {
            Self::Rejected(error) => Some(error),
            _ => None,
        }
    }

    /// The same error with another reason for refusals: that of a service over several aggregates,
    /// say.
    ///
    /// ```
    /// # use cim_domain::RepositoryError;
    /// # #[derive(Debug, thiserror::Error)] #[error("not enough is left")] struct NotEnough;
    /// #[derive(Debug, thiserror::Error)]
    /// enum BankError {
    ///     #[error("the account refused")]
    ///     Account(#[from] NotEnough),
    /// }
    ///
    /// fn of_the_bank(error: RepositoryError<NotEnough>) -> RepositoryError<BankError> {
    ///     error.map_rejection(BankError::from)
    /// }
    /// # let error = of_the_bank(RepositoryError::Rejected(NotEnough));
    /// # assert!(matches!(error.rejection(), Some(BankError::Account(_))));
    /// ```
    pub fn map_rejection<F: std::error::Error + 'static>(
        self,
        other: impl FnOnce(E) -> F,
    ) -> RepositoryError<F> {
        use RepositoryError as To;
        match self {
            Self::Rejected(error) => To::Rejected(other(error)),
            Self::VersionConflict { expected, actual } => To::VersionConflict { expected, actual },
            Self::NotFound { stream } => To::NotFound { stream },
            Self::VersionNotFound {
                stream,
                requested,
                actual,
            } => To::VersionNotFound {
                stream,
                requested,
                actual,
            },
            Self::Deleted {
                stream,
                version,
                at,
            } => To::Deleted {
                stream,
                version,
                at,
            },
            Self::TooManyEvents { stream, max } => To::TooManyEvents { stream, max },
            Self::InvalidId { id, source } => To::InvalidId { id, source },
            Self::InvalidTags(source) => To::InvalidTags(source),
            Self::Encode {
                stream,
                event_type,
                source,
            } => To::Encode {
                stream,
                event_type,
                source,
            },
            Self::Decode {
                stream,
                version,
                source,
            } => To::Decode {
                stream,
                version,
                source,
            },
            Self::Integrity {
                stream,
                version,
                source,
            } => To::Integrity {
                stream,
                version,
                source,
            },
            Self::Unknown { commit_id, source } => To::Unknown { commit_id, source },
            Self::InvalidQuery(source) => To::InvalidQuery(source),
            Self::Index(source) => To::Index(source),
            Self::NoSnapshots => To::NoSnapshots,
            Self::Snapshot(source) => To::Snapshot(source),
            Self::NoStateCopies => To::NoStateCopies,
            Self::StateCopy(source) => To::StateCopy(source),
            Self::Store(source) => To::Store(source),
        }
    }

    /// Whether somebody else was first.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::VersionConflict { .. })
    }

    /// Whether the aggregate was deleted.
    pub fn is_deleted(&self) -> bool {
        matches!(self, Self::Deleted { .. })
    }

    /// Whether the aggregate never existed.
    ///
    /// ```
    /// use cim_domain::{RepositoryError, store::StreamId};
    ///
    /// /// What a web service answers.
    /// fn status(error: &RepositoryError) -> u16 {
    ///     match error {
    ///         error if error.is_not_found() => 404,
    ///         error if error.is_deleted() => 410,
    ///         error if error.is_conflict() => 409,
    ///         _ => 500,
    ///     }
    /// }
    ///
    /// let stream = StreamId::new("bank", "account", "anna")?;
    /// assert_eq!(status(&RepositoryError::NotFound { stream }), 404);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    pub(super) fn integrity(event: &RecordedEvent, source: ChainFault) -> Self {
        Self::Integrity {
            stream: event.stream.clone(),
            version: event.version,
            source: source.into(),
        }
    }

    pub(super) fn invalid_id(id: &str, source: StreamIdError) -> Self {
        Self::InvalidId {
            id: excerpt(id),
            source,
        }
    }
}

impl<E: std::error::Error + 'static> From<EventLogError> for RepositoryError<E> {
    fn from(error: EventLogError) -> Self {
        match error.kind() {
            EventLogErrorKind::VersionConflict {
                expected, actual, ..
            } => Self::VersionConflict {
                expected: *expected,
                actual: *actual,
            },
            EventLogErrorKind::Unknown { commit_id } => Self::Unknown {
                commit_id: *commit_id,
                source: error,
            },
            _ => Self::Store(error),
        }
    }
}

impl<E: std::error::Error + 'static> From<WriteFault> for RepositoryError<E> {
    fn from(fault: WriteFault) -> Self {
        match fault {
            WriteFault::Encode {
                stream,
                event_type,
                source,
            } => Self::Encode {
                stream,
                event_type,
                source: Box::new(source),
            },
            WriteFault::Unknown { commit_id, source } => Self::Unknown { commit_id, source },
            WriteFault::Log(error) => error.into(),
        }
    }
}

impl<E: std::error::Error + 'static> From<ReadFault> for RepositoryError<E> {
    fn from(fault: ReadFault) -> Self {
        let ReadFault {
            stream,
            version,
            source,
        } = fault;
        Self::Decode {
            stream,
            version,
            source: source.into(),
        }
    }
}

/// Why events were not stored, or may not have been. What stands on the event log makes its own
/// error of it.
#[derive(Debug)]
pub(super) enum WriteFault {
    /// An event can't be written. Nothing was stored.
    Encode {
        stream: StreamId,
        event_type: String,
        source: EncodingFault,
    },
    /// The answer was lost and could not be had.
    Unknown {
        commit_id: CommitId,
        source: EventLogError,
    },
    /// What the log says.
    Log(EventLogError),
}

/// Why an aggregate can't be rebuilt. It knows no rejections, so it becomes the error of whatever
/// wanted the aggregate.
#[derive(Debug)]
pub(super) enum ReplayFault {
    /// What was read is not what was stored.
    Integrity {
        stream: StreamId,
        version: Version,
        source: Box<ChainFault>,
    },
    /// It takes more events than are allowed.
    TooManyEvents { stream: StreamId, max: u64 },
    /// An event is not understood.
    Read(ReadFault),
    /// What the log says.
    Log(EventLogError),
}

impl From<EventLogError> for ReplayFault {
    fn from(error: EventLogError) -> Self {
        Self::Log(error)
    }
}

impl From<ReadFault> for ReplayFault {
    fn from(fault: ReadFault) -> Self {
        Self::Read(fault)
    }
}

impl<E: std::error::Error + 'static> From<ReplayFault> for RepositoryError<E> {
    fn from(fault: ReplayFault) -> Self {
        match fault {
            ReplayFault::Integrity {
                stream,
                version,
                source,
            } => Self::Integrity {
                stream,
                version,
                source,
            },
            ReplayFault::TooManyEvents { stream, max } => Self::TooManyEvents { stream, max },
            ReplayFault::Read(fault) => fault.into(),
            ReplayFault::Log(error) => error.into(),
        }
    }
}

/// A stored event that this program does not understand.
#[derive(Debug)]
pub(super) struct ReadFault {
    pub(super) stream: StreamId,
    pub(super) version: Version,
    pub(super) source: DecodeError,
}

/// The start of an id, for an error that shows it.
pub(super) fn excerpt(id: &str) -> String {
    id.chars().take(100).collect()
}

/// Why an event can't be handed to the store.
#[derive(Debug, thiserror::Error)]
pub(super) enum EncodingFault {
    #[error(transparent)]
    Payload(#[from] EncodeError),
    #[error(transparent)]
    Name(#[from] cim_store::event::EventTypeError),
    #[error(transparent)]
    ContentType(#[from] cim_store::event::ContentTypeError),
    #[error("schema versions are counted from 1, it says 0")]
    SchemaVersion,
    #[error("this event type is kept for the deletion of aggregates")]
    Reserved,
}

/// What an application's own functions return is no larger than clippy's `result_large_err` likes.
const _: () = assert!(size_of::<RepositoryError>() < 128);
