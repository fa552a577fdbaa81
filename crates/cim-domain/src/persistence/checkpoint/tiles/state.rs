//! The right edge as bytes: the one value of a tree that changes.

use cim_store::{EventCid, Position};

use super::edge::{decode_bundle, decode_hashes, decode_places};
use super::edge::{encode_bundle, encode_hashes, encode_places};
use super::{Edge, PLACES_WIDTH, TILE_HEIGHT, TILE_WIDTH};
use crate::persistence::checkpoint::tree::{LEAF_BYTES, TreeHash, cid_of_leaf, leaf_data};

/// The key that the edge is kept under.
pub const EDGE_KEY: &str = "edge";
/// What the value begins with: a name, and the version of the format.
const MAGIC: [u8; 8] = *b"cimtree\x01";
/// Bytes of an entry in a bundle: its length and itself.
const ENTRY_BYTES: usize = 2 + LEAF_BYTES;

/// Bytes that are no right edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// They begin with something else.
    #[error("it does not begin as the edge of a tree does")]
    NotATree,
    /// They are of a version of the format that is not known here.
    #[error("it is of version {version} of the format; known is 1")]
    Version {
        /// The version.
        version: u8,
    },
    /// They are of another length than such a tree's edge has, or have parts that can't be.
    #[error("its parts don't fit together")]
    Malformed,
    /// Their root is not the one that they state.
    #[error("its hashes don't have the root that it states")]
    OtherRoot,
}

impl Edge {
    /// Its bytes; `docs/format/checkpoint.md` says what they are. A tree without events has none.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        let (position, cid) = self.last?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&self.size.to_le_bytes());
        bytes.extend_from_slice(self.root().as_bytes());
        bytes.extend_from_slice(&position.get().to_le_bytes());
        bytes.extend_from_slice(&leaf_data(&cid));
        bytes.extend_from_slice(&encode_bundle(&self.entries));
        for tile in &self.levels {
            bytes.extend_from_slice(&encode_hashes(tile));
        }
        bytes.extend_from_slice(&encode_places(&self.places));
        Some(bytes)
    }

    /// Reads an edge, and checks that its hashes have the root that it states.
    ///
    /// # Errors
    /// Where the bytes are no edge.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let (magic, rest) = bytes.split_first_chunk::<8>().ok_or(StateError::NotATree)?;
        let [name @ .., version] = magic;
        let [expected @ .., known] = &MAGIC;
        if name != expected {
            return Err(StateError::NotATree);
        }
        if version != known {
            let version = *version;
            return Err(StateError::Version { version });
        }
        let (edge, root) = decode_parts(rest).ok_or(StateError::Malformed)?;
        if edge.root() != root {
            return Err(StateError::OtherRoot);
        }
        Ok(edge)
    }
}

fn decode_parts(bytes: &[u8]) -> Option<(Edge, TreeHash)> {
    let (size, bytes) = bytes.split_first_chunk::<8>()?;
    let (root, bytes) = bytes.split_first_chunk::<{ TreeHash::BYTES }>()?;
    let (position, bytes) = bytes.split_first_chunk::<8>()?;
    let (cid, bytes) = bytes.split_first_chunk::<LEAF_BYTES>()?;
    let size = u64::from_le_bytes(*size);
    if size == 0 {
        return None;
    }
    let last: (Position, EventCid) = (
        Position::new(u64::from_le_bytes(*position)),
        cid_of_leaf(cid)?,
    );
    let partial = |count: u64| (count % TILE_WIDTH as u64) as usize;

    let (entries, mut bytes) = bytes.split_at_checked(partial(size) * ENTRY_BYTES)?;
    let entries = decode_bundle(entries)?;
    let mut levels = Vec::new();
    let mut count = size >> TILE_HEIGHT;
    while count > 0 {
        let (tile, rest) = bytes.split_at_checked(partial(count) * TreeHash::BYTES)?;
        levels.push(decode_hashes(tile)?);
        bytes = rest;
        count >>= TILE_HEIGHT;
    }
    let (places, rest) = decode_places(bytes, (size % PLACES_WIDTH as u64) as usize)?;
    let ends_with_last = places.last().is_none_or(|place| *place == last.0)
        && entries.last().is_none_or(|entry| *entry == last.1);
    let edge = Edge {
        size,
        last: Some(last),
        entries,
        levels,
        places,
    };
    (rest.is_empty() && ends_with_last).then_some((edge, TreeHash::from_bytes(*root)))
}
