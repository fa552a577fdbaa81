//! What is appended: events with 256 bytes of JSON, to streams whose ids are UUIDs.

use bytes::Bytes;
use cim_store::{Append, ContentType, EventType, NewEvent, StreamId, Version};

use crate::measure::Result;
use crate::random::Random;

/// Bytes of every payload.
pub(crate) const PAYLOAD_BYTES: usize = 256;
/// The type of all events.
pub(crate) const TYPE: &str = "order_placed";

/// The event that is appended again and again. Its payload is not encoded each time, which is not
/// the store's work.
pub(crate) fn event() -> Result<NewEvent> {
    let frame = r#"{"note":""}"#.len();
    let note = "The quick brown fox jumps over the lazy dog. ".repeat(6);
    let note = note
        .get(..PAYLOAD_BYTES - frame)
        .ok_or("the note is too short")?;
    let payload = Bytes::from(format!(r#"{{"note":"{note}"}}"#));
    Ok(NewEvent::new(
        EventType::new(TYPE)?,
        ContentType::JSON,
        payload,
    ))
}

/// A stream of a group.
pub(crate) fn stream(group: &str, number: usize) -> Result<StreamId> {
    let mut random = Random::new(number as u64);
    let bits = u128::from(random.next()) << 64 | u128::from(random.next());
    let id = uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid();
    Ok(StreamId::new("sales", group, &id.to_string())?)
}

/// An append of so many events to a stream that is at `version`.
pub(crate) fn append(stream: &StreamId, version: u64, event: &NewEvent, count: usize) -> Append {
    let events = vec![event.clone(); count];
    Append::new().write(stream.clone(), Version::new(version), events)
}
