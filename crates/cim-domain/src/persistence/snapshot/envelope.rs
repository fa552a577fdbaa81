//! How a snapshot stands in its bucket: docs/format/snapshot.md says every byte.
//!
//! ```text
//! "cimsnap" 01 | sha2-256 of everything else, 32 bytes | DAG-CBOR
//! ```
//! The digest is over the eight bytes before it and the block after it, so no byte of a value can be
//! another one unnoticed.

use bytes::Bytes;
use cim_ipld::{Cid, EventCid, dag_cbor};
use cim_store::{ContentType, Head, Position, StreamId, Timestamp, Version};
use serde::de::{Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::IgnoredSnapshot;

/// What every version of the format begins with.
const MAGIC: &[u8; 7] = b"cimsnap";
/// The version of the format that is written here.
const FORMAT: u8 = 1;
/// How many bytes stand before the digest.
const PREFIX: usize = MAGIC.len() + 1;
/// How many bytes stand before the block.
const HEADER: usize = PREFIX + 32;

/// What is in an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Envelope {
    /// The event that the state stands on.
    pub(super) head: Head,
    /// When the store took that event.
    pub(super) stored_at: Timestamp,
    pub(super) taken_at: Timestamp,
    pub(super) schema_version: u32,
    /// The event types that the program knew, each with its schema version.
    pub(super) events: Vec<(String, u32)>,
    pub(super) content_type: ContentType,
    pub(super) state: Bytes,
}

/// The block.
#[derive(Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    stream: String,
    version: u64,
    position: u64,
    cid: Cid,
    /// Microseconds since 1970, as `taken`.
    stored: i64,
    taken: i64,
    schema: u32,
    events: Vec<(String, u32)>,
    #[serde(rename = "type")]
    content_type: String,
    state: Octets,
}

/// Bytes as CBOR's byte string. (serde takes a sequence of numbers for a `Vec<u8>`.)
struct Octets(Bytes);

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Taken;

        impl Visitor<'_> for Taken {
            type Value = Octets;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Octets, E> {
                Ok(Octets(Bytes::copy_from_slice(bytes)))
            }

            fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> Result<Octets, E> {
                Ok(Octets(bytes.into()))
            }
        }

        deserializer.deserialize_bytes(Taken)
    }
}

impl Envelope {
    /// Its bytes.
    pub(super) fn encode(&self) -> Result<Vec<u8>, dag_cbor::CodecError> {
        let body = Body {
            stream: self.head.stream.to_string(),
            version: self.head.version.get(),
            position: self.head.position.get(),
            cid: self.head.cid.to_cid(),
            stored: self.stored_at.as_micros(),
            taken: self.taken_at.as_micros(),
            schema: self.schema_version,
            events: self.events.clone(),
            content_type: self.content_type.to_string(),
            state: Octets(self.state.clone()),
        };
        let block = dag_cbor::to_vec(&body)?;
        let mut bytes = Vec::with_capacity(HEADER + block.len());
        bytes.extend_from_slice(MAGIC);
        bytes.push(FORMAT);
        bytes.extend_from_slice(&digest(&bytes, &block));
        bytes.extend_from_slice(&block);
        Ok(bytes)
    }

    /// Reads what stands in a bucket; says why not where it is nothing that was written here.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, IgnoredSnapshot> {
        let Some((prefix, rest)) = bytes.split_at_checked(PREFIX) else {
            return Err(IgnoredSnapshot::Damaged);
        };
        if !prefix.starts_with(MAGIC) {
            return Err(IgnoredSnapshot::Damaged);
        }
        if prefix[MAGIC.len()] != FORMAT {
            return Err(IgnoredSnapshot::OtherFormat);
        }
        let Some((told, block)) = rest.split_at_checked(HEADER - PREFIX) else {
            return Err(IgnoredSnapshot::Damaged);
        };
        if told != digest(prefix, block) {
            return Err(IgnoredSnapshot::Damaged);
        }
        // Whole, but perhaps written by somebody who took other liberties.
        let body: Body = dag_cbor::from_slice(block).map_err(|_| IgnoredSnapshot::OtherFormat)?;
        body.read().map_err(|_| IgnoredSnapshot::OtherFormat)
    }
}

impl Body {
    fn read(self) -> Result<Envelope, dag_cbor::CodecError> {
        let shape = |source: Box<dyn std::error::Error + Send + Sync>| {
            dag_cbor::CodecError::Shape { source }
        };
        let head = Head {
            stream: StreamId::parse(self.stream).map_err(|error| shape(error.into()))?,
            version: Version::new(self.version),
            position: Position::new(self.position),
            cid: EventCid::try_from(&self.cid).map_err(|error| shape(error.into()))?,
        };
        if head.version == Version::NONE {
            return Err(shape("a snapshot stands on an event".into()));
        }
        Ok(Envelope {
            head,
            stored_at: Timestamp::from_micros(self.stored),
            taken_at: Timestamp::from_micros(self.taken),
            schema_version: self.schema,
            events: self.events,
            content_type: ContentType::new(self.content_type)
                .map_err(|error| shape(error.into()))?,
            state: self.state.0,
        })
    }
}

fn digest(prefix: &[u8], block: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(prefix)
        .chain_update(block)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn envelope(state: Vec<u8>) -> Envelope {
        Envelope {
            head: Head {
                stream: StreamId::new("bank", "account", "anna").unwrap(),
                version: Version::new(7),
                position: Position::new(40),
                cid: EventCid::of(b"an event"),
            },
            stored_at: Timestamp::from_seconds(1),
            taken_at: Timestamp::from_seconds(2),
            schema_version: 3,
            events: vec![("deposited".into(), 1)],
            content_type: ContentType::JSON,
            state: state.into(),
        }
    }

    proptest! {
        #[test]
        fn what_was_written_comes_back(state: Vec<u8>) {
            let envelope = envelope(state);
            prop_assert_eq!(Envelope::decode(&envelope.encode().unwrap()), Ok(envelope));
        }

        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes: Vec<u8>) {
            prop_assert!(Envelope::decode(&bytes).is_err());
        }
    }

    #[test]
    fn a_change_of_any_bit_and_a_cut_at_any_place_is_noticed() {
        let bytes = envelope(br#"{"balance":7}"#.to_vec()).encode().unwrap();
        for at in 0..bytes.len() {
            assert!(Envelope::decode(&bytes[..at]).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut altered = bytes.clone();
                altered[at] ^= 1 << bit;
                assert!(
                    Envelope::decode(&altered).is_err(),
                    "bit {bit} of byte {at}"
                );
            }
        }
    }

    #[test]
    fn a_block_that_is_whole_but_says_something_else_is_another_format() {
        let block = dag_cbor::to_vec(&("a", 1)).unwrap();
        let mut bytes = MAGIC.to_vec();
        bytes.push(FORMAT);
        bytes.extend_from_slice(&digest(&bytes, &block));
        bytes.extend_from_slice(&block);
        assert_eq!(Envelope::decode(&bytes), Err(IgnoredSnapshot::OtherFormat));
    }
}
