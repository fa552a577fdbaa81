//! From an event to its headers.

use async_nats::HeaderMap;
use async_nats::header::HeaderName;
use cim_store::staging::{self, Placement};
use cim_store::{Context, EventCid, NewEvent, Timestamp};

use super::{header, percent};

/// Makes the headers of an event that was completed. `block` is scratch room. Gives its CID.
pub(crate) fn encode_event(
    event: &NewEvent,
    place: &Placement<'_>,
    ctx: &Context,
    block: &mut Vec<u8>,
) -> (HeaderMap, EventCid) {
    block.clear();
    let cid = staging::encode_event(event, place, ctx, block);
    let mut headers = HeaderMap::new();
    let mut put = |name: &'static str, value: &str| {
        // Encoded values have no line breaks, which is all that a header refuses.
        headers.insert(HeaderName::from_static(name), value);
    };
    let text = |number: u64| number.to_string();
    put(header::SPEC_VERSION, "1.0");
    if let Some(id) = event.id {
        put(header::ID, &id.to_string());
    }
    let stream = place.stream;
    let source = format!("/{}/{}", stream.context(), stream.aggregate());
    put(header::SOURCE, &source);
    put(header::SUBJECT, stream.id());
    put(header::TYPE, &percent::encode(event.event_type.as_str()));
    let (name, time) = time_of(event.time.unwrap_or_default());
    put(name, &time);
    let content_type = event.content_type.as_str();
    put(header::CONTENT_TYPE, &percent::encode(content_type));
    put(header::STREAM_VERSION, &text(place.version.get()));
    put(header::SCHEMA_VERSION, &text(event.schema_version.get().into()));
    put(header::COMMIT, &place.commit_id.to_string());
    put(header::COMMIT_INDEX, &text(place.index.into()));
    put(header::COMMIT_COUNT, &text(place.count.into()));
    if let Some(id) = event.correlation_id {
        put(header::CORRELATION, &id.to_string());
    }
    if let Some(id) = event.causation_id {
        put(header::CAUSATION, &id.to_string());
    }
    if let Some(principal) = ctx.principal() {
        put(header::PRINCIPAL, &percent::encode(principal.as_str()));
    }
    if let Some(trace) = ctx.trace() {
        put(header::TRACE, &percent::encode(trace.as_str()));
    }
    put(header::CID, &cid.to_string());
    if let Some(previous) = place.previous {
        put(header::PREVIOUS, &previous.to_string());
    }
    if !event.metadata.is_empty() {
        let pairs: serde_json::Map<String, serde_json::Value> = event
            .metadata
            .iter()
            .map(|(name, text)| (name.to_owned(), text.into()))
            .collect();
        let pairs = serde_json::Value::Object(pairs).to_string();
        put(header::METADATA, &percent::encode(&pairs));
    }
    (headers, cid)
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
        headers.insert(HeaderName::from_static(header::BATCH_SEQUENCE), number.as_str());
        if self.last {
            headers.insert(HeaderName::from_static(header::BATCH_COMMIT), "1");
        }
    }
}
