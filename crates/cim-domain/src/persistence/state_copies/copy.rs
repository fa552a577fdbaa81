//! What stands under a key: docs/format/state-copies.md.

use bytes::Bytes;
use cim_store::{Entry, EventCid, Head, Key, Position, StreamId, Timestamp, Version};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::event::to_lossless_json;

/// The version of the format that is written here.
const FORMAT: u32 = 1;
/// What every key begins with.
const BEFORE: &str = "cim.aggregates.";
/// What stands between the stream and the version.
const BETWEEN: &str = ".state.";

/// The state of an aggregate as another service reads it. `S` is what it is read as; by default any
/// JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateCopy<S = Value> {
    /// The state.
    pub state: S,
    /// The aggregate's stream.
    pub stream: StreamId,
    /// The version of the last event in it.
    pub version: Version,
    /// That event's position in the log.
    pub position: Position,
    /// That event's CID.
    pub cid: EventCid,
    /// When the store took that event.
    pub stored_at: Timestamp,
    /// What counts the shapes of the state: the aggregate's
    /// [`SNAPSHOT_VERSION`](crate::Aggregate::SNAPSHOT_VERSION).
    pub state_version: u32,
    /// When the copy was written.
    pub copied_at: Timestamp,
}

/// A value, as it is written and read.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<S> {
    format: u32,
    stream: StreamId,
    version: Version,
    position: Position,
    cid: EventCid,
    stored_at: Timestamp,
    state_version: u32,
    #[serde(default, skip_serializing_if = "is_false")]
    deleted: bool,
    state: S,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// What a value says.
#[derive(Debug)]
pub(super) enum Told<S> {
    State(StateCopy<S>),
    /// The aggregate was deleted by the event of this version.
    Deleted,
}

/// The value of a state as of an event.
pub(super) fn encode<S: Serialize>(
    state: &S,
    state_version: u32,
    head: &Head,
    stored_at: Timestamp,
) -> serde_json::Result<Bytes> {
    let document = document(state, state_version, head, stored_at, false);
    Ok(to_lossless_json(&document)?.into())
}

/// The value that says that an aggregate was deleted.
pub(super) fn encode_deleted(head: &Head, stored_at: Timestamp) -> serde_json::Result<Bytes> {
    let document = document((), 0, head, stored_at, true);
    Ok(serde_json::to_vec(&document)?.into())
}

fn document<S>(
    state: S,
    state_version: u32,
    head: &Head,
    stored_at: Timestamp,
    deleted: bool,
) -> Document<S> {
    Document {
        format: FORMAT,
        stream: head.stream.clone(),
        version: head.version,
        position: head.position,
        cid: head.cid,
        stored_at,
        state_version,
        deleted,
        state,
    }
}

/// Reads what stands under a key, or says what is wrong with it.
pub(super) fn decode<S: DeserializeOwned>(
    entry: &Entry,
) -> Result<Told<S>, Box<dyn std::error::Error + Send + Sync>> {
    let (stream, version) = parse_key(&entry.key).ok_or("its key is none of a copy")?;
    let document: Document<IgnoredAny> = serde_json::from_slice(&entry.value)?;
    if document.format != FORMAT {
        let format = document.format;
        return Err(format!("its format has version {format}, this program knows {FORMAT}").into());
    }
    if document.stream != stream || document.version != version {
        return Err("it is of another aggregate or version than its key says".into());
    }
    if document.deleted {
        return Ok(Told::Deleted);
    }
    let state: Document<S> = serde_json::from_slice(&entry.value)?;
    Ok(Told::State(StateCopy {
        state: state.state,
        stream,
        version,
        position: document.position,
        cid: document.cid,
        stored_at: document.stored_at,
        state_version: document.state_version,
        copied_at: entry.stored_at,
    }))
}

/// The key of a copy.
pub(super) fn key_text(stream: &str, version: impl std::fmt::Display) -> String {
    format!("{BEFORE}{stream}{BETWEEN}{version}")
}

/// Which copy a key is of; `None` where it is of none.
pub(super) fn parse_key(key: &Key) -> Option<(StreamId, Version)> {
    let (stream, version) = key.as_str().strip_prefix(BEFORE)?.rsplit_once(BETWEEN)?;
    let number: u64 = version.parse().ok()?;
    // One spelling for each version: no sign, no leading zeros.
    let canonical = number > 0 && number.to_string() == version;
    let stream = StreamId::parse(stream.to_owned()).ok()?;
    canonical.then_some((stream, Version::new(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_stream_and_version_in_one_way() {
        let stream = StreamId::new("bank", "account", "a.state.7").unwrap();
        let key = Key::new(key_text(stream.as_str(), Version::new(12))).unwrap();
        assert_eq!(
            key.as_str(),
            "cim.aggregates.bank.account.a=2Estate=2E7.state.12"
        );
        assert_eq!(parse_key(&key), Some((stream, Version::new(12))));
        for text in [
            "cim.aggregates.bank.account.a.state.0",
            "cim.aggregates.bank.account.a.state.01",
            "cim.aggregates.bank.account.a.state.x",
            "cim.aggregates.bank.account.a.1",
            "cim.aggregates.bank.account.state.1",
            "bank.account.a.state.1",
        ] {
            assert_eq!(parse_key(&Key::new(text).unwrap()), None, "{text}");
        }
    }
}
