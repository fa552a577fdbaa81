//! What goes wrong in an event store, by what its caller does about it.

use cim_ipld::ChainFault;
use cim_store::{
    CommitId, EventLogError, EventLogErrorKind, ExpectedVersion, RecordedEvent, StreamId, Version,
};

use crate::DecodeError;
use crate::persistence::error::{ReadFault, WriteFault};
use crate::persistence::event_index::IndexError;

/// What the methods of an [`EventStore`](super::EventStore) return.
pub type InfrastructureResult<T> = Result<T, InfrastructureError>;

/// What goes wrong in an [`EventStore`](super::EventStore): another name of [`EventStoreError`].
pub type InfrastructureError = EventStoreError;

/// What goes wrong in an [`EventStore`](super::EventStore).
///
/// | variant | what to do |
/// |---|---|
/// | `ConcurrencyError` | read the aggregate again and decide again |
/// | `InvalidName`, `Encode` | correct what was given |
/// | `Decode` | add what the event type lacks, or run the newer program |
/// | `Integrity` | stop; run `cim verify`; restore the stream |
/// | `Unknown` | ask [`resolve`](cim_store::EventLog::resolve) what became of the commit |
/// | `Store` | see [its kind](EventLogError::kind) |
/// | `Index` | see [what it says](IndexError); the events themselves can be read |
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventStoreError {
    /// Somebody else was first. Nothing was stored.
    #[error("{stream} is at version {actual}, expected was {expected}")]
    ConcurrencyError {
        /// The aggregate's stream.
        stream: StreamId,
        /// Where it had to be.
        expected: ExpectedVersion,
        /// Where it is.
        actual: Version,
    },
    /// Context and aggregate type can't be part of a stream's name: one of them is empty, or both
    /// together are too long.
    #[error("`{context}` and `{aggregate_type}` can't name the streams of aggregates")]
    InvalidName {
        /// The context, shortened to 100 characters.
        context: String,
        /// The aggregate type, shortened to 100 characters.
        aggregate_type: String,
        /// What is wrong with them.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
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
    /// What was read is not what was stored, as the
    /// [`LoadVerification`](crate::persistence::LoadVerification) of the store found.
    #[error("the history of {stream} breaks at version {version}")]
    Integrity {
        /// The stream.
        stream: StreamId,
        /// The version at which it breaks.
        version: Version,
        /// What is wrong there.
        source: Box<ChainFault>,
    },
    /// The answer was lost and could not be had: the commit may or may not have been stored.
    #[error("whether commit {commit_id} was stored is not known")]
    Unknown {
        /// The commit, as [`resolve`](cim_store::EventLog::resolve) takes it.
        commit_id: CommitId,
        /// What was heard last.
        source: EventLogError,
    },
    /// The event log failed or refused.
    #[error("the event log could not do it")]
    Store(#[source] EventLogError),
    /// The index that conversations are found by could not do it.
    #[error("the index of events could not do it")]
    Index(#[source] IndexError),
}

impl EventStoreError {
    /// Whether somebody else was first.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::ConcurrencyError { .. })
    }

    pub(super) fn integrity(event: &RecordedEvent, source: ChainFault) -> Self {
        Self::Integrity {
            stream: event.stream.clone(),
            version: event.version,
            source: source.into(),
        }
    }
}

impl From<EventLogError> for EventStoreError {
    fn from(error: EventLogError) -> Self {
        match error.kind() {
            EventLogErrorKind::VersionConflict {
                stream,
                expected,
                actual,
            } => Self::ConcurrencyError {
                stream: stream.clone(),
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

impl From<IndexError> for EventStoreError {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Log(error) => error.into(),
            error => Self::Index(error),
        }
    }
}

impl From<WriteFault> for EventStoreError {
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

impl From<ReadFault> for EventStoreError {
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
