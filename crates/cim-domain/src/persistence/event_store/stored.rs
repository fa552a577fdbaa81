//! A typed event together with what the store knows about it.

use cim_store::{
    CausationId, Cause, CommitId, CorrelationId, EventCid, EventId, EventType, Metadata, Position,
    Principal, RecordedEvent, SchemaVersion, StreamId, Timestamp, Version,
};
use uuid::Uuid;

use crate::DomainEvent;
use crate::persistence::Recorded;
use crate::persistence::decoding::Reader;
use crate::persistence::error::ReadFault;

/// An event, and what the store knows about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredEvent<E> {
    /// The event, lifted to its schema version of today.
    pub event: E,
    /// What is known about it.
    pub metadata: EventMetadata,
}

/// What is known about a stored event, its payload aside.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventMetadata {
    /// Its id.
    pub event_id: EventId,
    /// The stream of its aggregate.
    pub stream: StreamId,
    /// Its place among its aggregate's events, from 1.
    pub version: Version,
    /// Its place in the whole log.
    pub position: Position,
    /// What kind of fact it is.
    pub event_type: EventType,
    /// The schema version it was stored with.
    pub schema_version: SchemaVersion,
    /// When it happened, as the application said.
    pub time: Timestamp,
    /// When the store took it.
    pub stored_at: Timestamp,
    /// The commit it was stored with.
    pub commit_id: CommitId,
    /// The conversation it belongs to.
    pub correlation_id: Option<CorrelationId>,
    /// What caused it.
    pub causation_id: Option<CausationId>,
    /// On whose behalf it was stored.
    pub principal: Option<Principal>,
    /// What the application said beside it.
    pub annotations: Metadata,
    /// The address of its block's content.
    pub cid: EventCid,
    /// The address of the event before it in its stream; `None` at version 1.
    pub previous: Option<EventCid>,
}

impl EventMetadata {
    /// The text of its aggregate's id.
    pub fn aggregate_id(&self) -> String {
        self.stream.decoded_id()
    }

    /// Its aggregate's id; `None` where that is no UUID.
    pub fn aggregate_uuid(&self) -> Option<Uuid> {
        Uuid::try_parse(self.stream.id()).ok()
    }
}

/// What was read of a stream whose events are not all known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadEvents<E> {
    /// The events of known types, in order.
    pub events: Vec<StoredEvent<E>>,
    /// How many events were passed over, because their types are unknown.
    pub skipped: u64,
    /// Those events, where they are [kept](crate::persistence::UnknownEvents::KeepRaw).
    pub unknown: Vec<RecordedEvent>,
}

impl<E: DomainEvent> StoredEvent<E> {
    /// Appends to `events` what a stored event is today.
    pub(in crate::persistence) fn read_into(
        events: &mut Vec<Self>,
        recorded: RecordedEvent,
        reader: &mut Reader,
    ) -> Result<(), ReadFault> {
        let decoded = reader.read(&recorded)?;
        let metadata = EventMetadata::from(recorded);
        events.extend(decoded.into_iter().map(|event| Self {
            event,
            metadata: metadata.clone(),
        }));
        Ok(())
    }
}

impl<E> From<Recorded<E>> for StoredEvent<E> {
    fn from(Recorded { event, recorded }: Recorded<E>) -> Self {
        Self {
            event,
            metadata: recorded.into(),
        }
    }
}

impl From<RecordedEvent> for EventMetadata {
    fn from(recorded: RecordedEvent) -> Self {
        Self {
            event_id: recorded.id,
            stream: recorded.stream,
            version: recorded.version,
            position: recorded.position,
            event_type: recorded.event_type,
            schema_version: recorded.schema_version,
            time: recorded.time,
            stored_at: recorded.stored_at,
            commit_id: recorded.commit_id,
            correlation_id: recorded.correlation_id,
            causation_id: recorded.causation_id,
            principal: recorded.principal,
            annotations: recorded.metadata,
            cid: recorded.cid,
            previous: recorded.previous,
        }
    }
}

impl From<&EventMetadata> for Cause {
    fn from(metadata: &EventMetadata) -> Self {
        Self {
            event_id: metadata.event_id,
            correlation_id: metadata.correlation_id,
        }
    }
}

impl<E> From<&StoredEvent<E>> for Cause {
    fn from(event: &StoredEvent<E>) -> Self {
        Self::from(&event.metadata)
    }
}
