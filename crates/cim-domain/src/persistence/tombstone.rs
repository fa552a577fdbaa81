//! The event that says that an aggregate was deleted.
//!
//! History is not taken away: the tombstone is one more event of the stream, of a type that no
//! domain event has. Whatever stands after it belongs to an aggregate that was created anew.

use bytestring::ByteString;
use cim_store::event::EventTypeError;
use cim_store::{ContentType, EventType, Metadata, NewEvent, RecordedEvent};

/// The event type of tombstones. No domain event can have it.
pub const TOMBSTONE: &str = "aggregate_deleted";

/// Whether an event says that its aggregate was deleted.
pub(super) fn is_tombstone(event: &RecordedEvent) -> bool {
    event.event_type.as_str() == TOMBSTONE
}

/// An event that says so.
pub(super) fn tombstone(metadata: Metadata) -> Result<NewEvent, EventTypeError> {
    let event_type = EventType::new(ByteString::from_static(TOMBSTONE))?;
    Ok(NewEvent::new(event_type, ContentType::JSON, &b"{}"[..]).with_metadata(metadata))
}
