//! The blocks that stand beside the events in a CAR file: pages, heads and the root.
//!
//! All of them follow from the events and their order, so whoever reads a file makes them again and
//! compares. `docs/format/car.md` says every byte.

use std::fmt;

use cim_ipld::{Cid, EventCid, dag_cbor};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::LayoutError;
use crate::persistence::checkpoint::tree::TreeHash;

/// Version of the layout that this release writes and reads.
pub(crate) const LAYOUT_VERSION: u64 = 1;

/// How many events a page names; the last page may name fewer.
pub(crate) const PAGE_EVENTS: usize = 4_096;

/// How many streams a block of heads names; the last block may name fewer.
pub(crate) const HEADS_STREAMS: usize = 4_096;

/// A block with its address: canonical DAG-CBOR under CIDv1, dag-cbor, sha2-256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LayoutBlock {
    pub(crate) cid: Cid,
    pub(crate) bytes: Vec<u8>,
}

impl LayoutBlock {
    fn of(value: &impl Serialize) -> Result<Self, LayoutError> {
        let bytes = dag_cbor::to_vec(value).map_err(LayoutError)?;
        let cid = EventCid::of(&bytes).to_cid();
        Ok(Self { cid, bytes })
    }
}

/// Names up to [`PAGE_EVENTS`] events in the order of the log.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    /// The page before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prev: Option<Cid>,
    /// The events.
    pub(crate) events: Vec<Cid>,
}

impl Page {
    pub(crate) fn to_block(&self) -> Result<LayoutBlock, LayoutError> {
        LayoutBlock::of(self)
    }
}

/// Names the last events of up to [`HEADS_STREAMS`] streams, by the streams' names.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Heads<'a> {
    /// The block of heads before this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prev: Option<Cid>,
    /// Stream, version and CID of its last event.
    pub(crate) heads: Vec<(&'a str, u64, Cid)>,
}

impl Heads<'_> {
    pub(crate) fn to_block(&self) -> Result<LayoutBlock, LayoutError> {
        LayoutBlock::of(self)
    }
}

/// Describes the history. The fields stand in the order of canonical DAG-CBOR.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Root {
    /// [`LAYOUT_VERSION`].
    pub(crate) v: u64,
    /// The last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) log: Option<Cid>,
    /// The root of the Merkle tree over all events.
    #[serde(with = "tree_bytes")]
    pub(crate) tree: TreeHash,
    /// The last block of heads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) heads: Option<Cid>,
    /// How many events there are.
    pub(crate) events: u64,
    /// Which streams of the log were exported; `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pattern: Option<String>,
    /// How many streams have an event here.
    pub(crate) streams: u64,
}

/// What every version of the root begins with.
#[derive(Deserialize)]
pub(crate) struct RootVersion {
    pub(crate) v: u64,
}

impl Root {
    pub(crate) fn to_block(&self) -> Result<LayoutBlock, LayoutError> {
        LayoutBlock::of(self)
    }
}

/// A tree's root as a byte string of 32.
mod tree_bytes {
    use super::*;

    pub(super) fn serialize<S: Serializer>(tree: &TreeHash, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(tree.as_bytes())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<TreeHash, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = TreeHash;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("32 bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<TreeHash, E> {
                let taken = bytes.try_into().map(TreeHash::from_bytes);
                taken.map_err(|_| E::invalid_length(bytes.len(), &self))
            }
        }

        from.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn link(byte: u8) -> (Cid, String) {
        let digest = [byte; 32];
        let text = format!("d82a5825000171122 0{}", hex(&digest)).replace(' ', "");
        (EventCid::from_digest(digest).to_cid(), text)
    }

    #[test]
    fn a_page_is_its_links_in_order_and_the_page_before() {
        let ((one, one_text), (two, two_text)) = (link(1), link(2));
        let first = Page {
            prev: None,
            events: vec![two, one],
        };
        let expected = format!("a1 66{} 82{two_text}{one_text}", hex(b"events")).replace(' ', "");
        assert_eq!(hex(&first.to_block().unwrap().bytes), expected);
        let next = Page {
            prev: Some(one),
            events: vec![two],
        };
        let expected = format!(
            "a2 64{}{one_text} 66{} 81{two_text}",
            hex(b"prev"),
            hex(b"events")
        );
        assert_eq!(
            hex(&next.to_block().unwrap().bytes),
            expected.replace(' ', "")
        );
    }

    #[test]
    fn heads_are_stream_version_and_link() {
        let (cid, text) = link(3);
        let heads = Heads {
            prev: None,
            heads: vec![("a.b.c", 7, cid)],
        };
        let expected = format!("a1 65{} 81 83 65{} 07{text}", hex(b"heads"), hex(b"a.b.c"));
        assert_eq!(
            hex(&heads.to_block().unwrap().bytes),
            expected.replace(' ', "")
        );
    }

    #[test]
    fn the_root_has_its_fields_in_canonical_order_and_reads_back() {
        let ((log, log_text), (heads, heads_text)) = (link(4), link(5));
        let root = Root {
            v: LAYOUT_VERSION,
            log: Some(log),
            tree: TreeHash::from_bytes([6; 32]),
            heads: Some(heads),
            events: 300,
            pattern: Some("sales.>".to_owned()),
            streams: 2,
        };
        let block = root.to_block().unwrap();
        let expected = format!(
            "a7 61{} 01 63{}{log_text} 64{} 5820{} 65{}{heads_text} 66{} 19012c 67{} 67{} 67{} 02",
            hex(b"v"),
            hex(b"log"),
            hex(b"tree"),
            hex(&[6; 32]),
            hex(b"heads"),
            hex(b"events"),
            hex(b"pattern"),
            hex(b"sales.>"),
            hex(b"streams"),
        );
        assert_eq!(hex(&block.bytes), expected.replace(' ', ""));
        assert_eq!(dag_cbor::from_slice::<Root>(&block.bytes).unwrap(), root);
    }

    #[test]
    fn the_largest_blocks_are_below_the_limit_of_a_block() {
        let (cid, _) = link(9);
        let page = Page {
            prev: Some(cid),
            events: vec![cid; PAGE_EVENTS],
        };
        assert!(page.to_block().unwrap().bytes.len() < 200_000);
        let name = "x".repeat(cim_store::StreamId::MAX_BYTES);
        let heads = Heads {
            prev: Some(cid),
            heads: vec![(name.as_str(), u64::MAX, cid); HEADS_STREAMS],
        };
        assert!(heads.to_block().unwrap().bytes.len() < dag_cbor::MAX_LEN);
    }
}
