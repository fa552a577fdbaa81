//! What decides how a stored event is read.

use cim_store::RecordedEvent;

/// What of a stored event decides what it is today: the parameters of
/// [`DomainEvent::decode`](super::DomainEvent::decode).
///
/// ```
/// use cim_domain::event::Encoded;
///
/// let stored = Encoded::json("order_placed", 1, br#"{"total":12}"#);
/// assert_eq!(stored.content_type, "application/json");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded<'a> {
    /// The event type as it was stored.
    pub event_type: &'a str,
    /// The schema version it was stored with, from 1.
    pub schema_version: u32,
    /// How the payload is encoded: a media type.
    pub content_type: &'a str,
    /// The event's fields, encoded.
    pub payload: &'a [u8],
}

impl<'a> Encoded<'a> {
    /// A payload of JSON.
    pub fn json(event_type: &'a str, schema_version: u32, payload: &'a [u8]) -> Self {
        Self {
            event_type,
            schema_version,
            content_type: "application/json",
            payload,
        }
    }
}

impl<'a> From<&'a RecordedEvent> for Encoded<'a> {
    fn from(event: &'a RecordedEvent) -> Self {
        Self {
            event_type: event.event_type.as_str(),
            schema_version: event.schema_version.get(),
            content_type: event.content_type.as_str(),
            payload: &event.payload,
        }
    }
}
