//! From an event to its headers and its body.
//!
//! A server takes 64 KiB of headers, and metadata may be as large by itself. Where metadata takes
//! more than half of the room, the body is the event's whole block, which has it; so it is where a
//! header can't say the content type.

use async_nats::HeaderMap;
use async_nats::header::HeaderName;
use bytes::Bytes;
use cim_store::staging::{self, Placement};
use cim_store::{Context, EventCid, NewEvent, Timestamp};

use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::{header, percent};

/// The largest metadata that goes into a header, in bytes of its encoded value.
const METADATA_BYTES: usize = 32 << 10;
/// What a block is encoded as (media type registered with IANA).
pub(super) const BLOCK_TYPE: &str = "application/vnd.ipld.dag-cbor";
/// What says that the body is a block.
pub(super) const BLOCK: &str = "block";

/// An event as a message.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) cid: EventCid,
}

/// Makes the message of an event that was completed. `block` is scratch room.
pub(crate) fn encode_event(
    event: &NewEvent,
    place: &Placement<'_>,
    ctx: &Context,
    block: &mut Vec<u8>,
) -> Encoded {
    block.clear();
    let cid = staging::encode_event(event, place, ctx, block);
    let mut headers = HeaderMap::new();
    // Encoded values have no line breaks, which is all that a header refuses.
    let mut put = |name: &'static str, value: String| {
        headers.insert(HeaderName::from_static(name), value);
    };
    let text = |number: u64| number.to_string();
    put(header::SPEC_VERSION, "1.0".to_owned());
    if let Some(id) = event.id {
        put(header::ID, uuid_text(id.as_uuid()));
    }
    let stream = place.stream;
    let source = ["/", stream.context(), "/", stream.aggregate()].concat();
    put(header::SOURCE, source);
    put(header::SUBJECT, stream.id().to_owned());
    put(header::TYPE, percent_text(event.event_type.as_str()));
    let (name, time) = time_of(event.time.unwrap_or_default());
    put(name, time);
    put(header::STREAM_VERSION, text(place.version.get()));
    put(
        header::SCHEMA_VERSION,
        text(event.schema_version.get().into()),
    );
    put(header::COMMIT, uuid_text(place.commit_id.as_uuid()));
    put(header::COMMIT_INDEX, text(place.index.into()));
    put(header::COMMIT_COUNT, text(place.count.into()));
    if let Some(id) = event.correlation_id {
        put(header::CORRELATION, uuid_text(id.as_uuid()));
    }
    if let Some(id) = event.causation_id {
        put(header::CAUSATION, uuid_text(id.as_uuid()));
    }
    if let Some(principal) = ctx.principal() {
        put(header::PRINCIPAL, percent_text(principal.as_str()));
    }
    if let Some(trace) = ctx.trace() {
        put(header::TRACE, percent_text(trace.as_str()));
    }
    put(header::CID, cid.to_string());
    if let Some(previous) = place.previous {
        put(header::PREVIOUS, previous.to_string());
    }
    let metadata = metadata_of(event);
    let is_large = |metadata: &String| metadata.len() > METADATA_BYTES;
    let content_type = event.content_type.as_str();
    // Spaces around a header's value get lost.
    let fits = content_type.trim() == content_type;
    let body = if metadata.as_ref().is_some_and(is_large) || !fits {
        put(header::BODY, BLOCK.to_owned());
        put(header::CONTENT_TYPE, BLOCK_TYPE.to_owned());
        Bytes::copy_from_slice(block)
    } else {
        if let Some(metadata) = metadata {
            put(header::METADATA, metadata);
        }
        // Printable ASCII, which the HTTP binding does not encode here either.
        put(header::CONTENT_TYPE, content_type.to_owned());
        event.payload.clone()
    };
    Encoded { headers, body, cid }
}

/// A UUID as text, without the detour of formatting.
fn uuid_text(id: &Uuid) -> String {
    let mut text = [0; Hyphenated::LENGTH];
    id.hyphenated().encode_lower(&mut text).to_owned()
}

fn percent_text(text: &str) -> String {
    percent::encode(text).into_owned()
}

/// The metadata as a header's value: a JSON object of texts.
fn metadata_of(event: &NewEvent) -> Option<String> {
    if event.metadata.is_empty() {
        return None;
    }
    let pairs: serde_json::Map<String, serde_json::Value> = event
        .metadata
        .iter()
        .map(|(name, text)| (name.to_owned(), text.into()))
        .collect();
    let pairs = serde_json::Value::Object(pairs).to_string();
    Some(percent::encode(&pairs).into_owned())
}

/// The header that says a time. RFC 3339 has the years 0 to 9999 only.
fn time_of(time: Timestamp) -> (&'static str, String) {
    let text = time.to_string();
    if text.starts_with('@') {
        return (header::TIME_MICROS, time.as_micros().to_string());
    }
    (header::TIME, text)
}

/// Requires that nothing is stored at `filter` when the message is.
pub(crate) fn guard(headers: &mut HeaderMap, filter: &str) {
    headers.insert(HeaderName::from_static(header::EXPECTED_SEQUENCE), "0");
    headers.insert(HeaderName::from_static(header::EXPECTED_SUBJECT), filter);
}

/// The place of a message in an atomic batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchPlace<'a> {
    pub(crate) id: &'a str,
    /// From 1.
    pub(crate) number: usize,
    pub(crate) last: bool,
}

impl BatchPlace<'_> {
    pub(crate) fn mark(&self, headers: &mut HeaderMap) {
        headers.insert(HeaderName::from_static(header::BATCH_ID), self.id);
        let number = self.number.to_string();
        headers.insert(
            HeaderName::from_static(header::BATCH_SEQUENCE),
            number.as_str(),
        );
        if self.last {
            headers.insert(HeaderName::from_static(header::BATCH_COMMIT), "1");
        }
    }
}
