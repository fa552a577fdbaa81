//! The event that says that an aggregate was deleted.
//!
//! History is not taken away: the tombstone is one more event of the stream, of a type that no
//! domain event has. Whatever stands after it belongs to an aggregate that was created anew.

use bytestring::ByteString;
use cim_store::event::EventTypeError;
use cim_store::{
    ContentType, EventType, Metadata, NewEvent, RecordedEvent, StreamId, Timestamp, Version,
};

use super::RepositoryError;

/// The event type of tombstones. No domain event can have it.
pub const TOMBSTONE: &str = "aggregate_deleted";

/// Where and when an aggregate was deleted.
pub(super) struct Tombstone {
    pub(super) stream: StreamId,
    pub(super) version: Version,
    pub(super) at: Timestamp,
}

impl Tombstone {
    /// The event as one; `None` where it says something else.
    pub(super) fn of(event: &RecordedEvent) -> Option<Self> {
        is_tombstone(&event.event_type).then(|| Self {
            stream: event.stream.clone(),
            version: event.version,
            at: event.stored_at,
        })
    }
}

impl<E: std::error::Error + 'static> From<Tombstone> for RepositoryError<E> {
    fn from(tombstone: Tombstone) -> Self {
        let Tombstone {
            stream,
            version,
            at,
        } = tombstone;
        Self::Deleted {
            stream,
            version,
            at,
        }
    }
}

/// Whether events of this type say that their aggregate was deleted.
pub(super) fn is_tombstone(event_type: &EventType) -> bool {
    event_type.as_str() == TOMBSTONE
}

/// An event that says so.
pub(super) fn tombstone(metadata: Metadata) -> Result<NewEvent, EventTypeError> {
    let event_type = EventType::new(ByteString::from_static(TOMBSTONE))?;
    Ok(NewEvent::new(event_type, ContentType::JSON, &b"{}"[..]).with_metadata(metadata))
}
