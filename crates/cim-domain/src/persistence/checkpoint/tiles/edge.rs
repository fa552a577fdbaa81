//! The right edge of a tree: everything that is not in a full tile, so all that is needed to go on.

use bytes::Bytes;
use cim_store::{EventCid, Position};

use super::{PLACES_WIDTH, TILE_HEIGHT, TILE_WIDTH, Tile};
use crate::persistence::checkpoint::tree::{TreeHash, TreeHasher, leaf_data, root_of_peaks};

/// A tile that is full, so that it never changes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullTile {
    /// Which one.
    pub tile: Tile,
    /// What is stored under its path.
    pub bytes: Bytes,
}

/// A tree, as far as it is not in full tiles: at most 255 events, 255 hashes per level and 4 095
/// positions.
///
/// ```
/// use cim_domain::persistence::checkpoint::tiles::Edge;
/// use cim_domain::store::{EventCid, Position};
///
/// let mut tree = Edge::default();
/// let mut full = Vec::new();
/// for position in 1..=255 {
///     tree.push(Position::new(position), EventCid::from_digest([7; 32]), &mut full);
/// }
/// assert!(full.is_empty());
///
/// // The last event of the first tile.
/// let last = (Position::new(256), EventCid::from_digest([8; 32]));
/// tree.push(last.0, last.1, &mut full);
/// assert_eq!((tree.size(), tree.last()), (256, Some(last)));
/// assert_eq!((full[0].tile.to_string(), full[0].tile.end()), ("tile/entries/000".into(), 256));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    pub(super) size: u64,
    pub(super) last: Option<(Position, EventCid)>,
    pub(super) entries: Vec<EventCid>,
    /// Level 1 first.
    pub(super) levels: Vec<Vec<TreeHash>>,
    pub(super) places: Vec<Position>,
}

impl Edge {
    /// Adds an event; gives the tiles that are full by it.
    pub fn push(&mut self, position: Position, cid: EventCid, full: &mut Vec<FullTile>) {
        self.size += 1;
        self.last = Some((position, cid));
        self.places.push(position);
        if self.places.len() == PLACES_WIDTH {
            full.push(FullTile {
                tile: Tile::Places {
                    index: self.size / PLACES_WIDTH as u64 - 1,
                },
                bytes: encode_places(&self.places).into(),
            });
            self.places.clear();
        }
        self.entries.push(cid);
        if self.entries.len() == TILE_WIDTH {
            full.push(FullTile {
                tile: Tile::Entries {
                    index: self.size / TILE_WIDTH as u64 - 1,
                },
                bytes: encode_bundle(&self.entries).into(),
            });
            let hashes = self.entries.iter().map(TreeHash::of_event);
            let above = root_of_tile(hashes);
            self.entries.clear();
            self.carry(above, full);
        }
    }

    /// Adds the hash of a full tile at level 0 to the levels above.
    fn carry(&mut self, mut hash: TreeHash, full: &mut Vec<FullTile>) {
        for level in 1.. {
            if self.levels.len() < level {
                self.levels.push(Vec::new());
            }
            let Some(tile) = self.levels.get_mut(level - 1) else {
                return;
            };
            tile.push(hash);
            if tile.len() < TILE_WIDTH {
                return;
            }
            let level = level as u32;
            full.push(FullTile {
                tile: Tile::Hashes {
                    level,
                    index: (self.size >> (TILE_HEIGHT * (level + 1))) - 1,
                },
                bytes: encode_hashes(tile).into(),
            });
            hash = root_of_tile(tile.drain(..));
        }
    }

    /// How many events the tree has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The last event of the tree: its position and CID; `None` where there is none.
    #[must_use]
    pub fn last(&self) -> Option<(Position, EventCid)> {
        self.last
    }

    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> TreeHash {
        let mut peaks = Vec::new();
        for tile in self.levels.iter().rev() {
            peaks.extend_from_slice(hasher(tile.iter().copied()).peaks());
        }
        let leaves = self.entries.iter().map(TreeHash::of_event);
        peaks.extend_from_slice(hasher(leaves).peaks());
        root_of_peaks(peaks.into_iter()).unwrap_or_else(TreeHash::of_nothing)
    }

    /// The hashes of the tile that is not full at a level; empty where there is none.
    pub(super) fn hashes(&self, level: u32) -> Vec<TreeHash> {
        match level.checked_sub(1) {
            None => self.entries.iter().map(TreeHash::of_event).collect(),
            Some(above) => self.levels.get(above as usize).cloned().unwrap_or_default(),
        }
    }
}

fn hasher(hashes: impl Iterator<Item = TreeHash>) -> TreeHasher {
    let mut tree = TreeHasher::new();
    hashes.for_each(|hash| tree.push_hash(hash));
    tree
}

/// The hash of a full tile.
pub(super) fn root_of_tile(hashes: impl Iterator<Item = TreeHash>) -> TreeHash {
    hasher(hashes).root()
}

/// A bundle: each entry after its length, a big-endian number of two bytes.
pub(super) fn encode_bundle(cids: &[EventCid]) -> Vec<u8> {
    let entry = |cid| {
        let leaf = leaf_data(cid);
        (leaf.len() as u16).to_be_bytes().into_iter().chain(leaf)
    };
    cids.iter().flat_map(entry).collect()
}

/// The hashes one after the other.
pub(super) fn encode_hashes(hashes: &[TreeHash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// Each position as the difference to the one before, the first to 0, in LEB128: seven bits a byte,
/// the lowest first, and the eighth where more follow.
pub(super) fn encode_places(places: &[Position]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(places.len() + 8);
    let mut before = 0;
    for place in places {
        let mut difference = place.get().saturating_sub(before);
        before = place.get();
        while difference >= 0x80 {
            bytes.push((difference & 0x7f) as u8 | 0x80);
            difference >>= 7;
        }
        bytes.push(difference as u8);
    }
    bytes
}

/// So many positions, and what follows them; `None` where the bytes are none, or don't increase.
pub(super) fn decode_places(bytes: &[u8], count: usize) -> Option<(Vec<Position>, &[u8])> {
    let mut places = Vec::with_capacity(count);
    let mut rest = bytes;
    let mut before = 0_u64;
    for _ in 0..count {
        let mut difference = 0_u64;
        let mut shift = 0;
        loop {
            let (byte, after) = rest.split_first()?;
            rest = after;
            let bits = u64::from(byte & 0x7f);
            if shift > 63 || (bits << shift) >> shift != bits {
                return None;
            }
            difference |= bits << shift;
            if byte & 0x80 == 0 {
                // One number has one encoding.
                if *byte == 0 && shift > 0 {
                    return None;
                }
                break;
            }
            shift += 7;
        }
        if difference == 0 {
            return None;
        }
        before = before.checked_add(difference)?;
        places.push(Position::new(before));
    }
    Some((places, rest))
}

/// The CIDs of a whole bundle or of the beginning of one; `None` where the bytes are none.
pub(super) fn decode_bundle(bytes: &[u8]) -> Option<Vec<EventCid>> {
    use crate::persistence::checkpoint::tree::{LEAF_BYTES, cid_of_leaf};
    let (entries, rest) = bytes.as_chunks::<{ 2 + LEAF_BYTES }>();
    let decode = |entry: &[u8; 2 + LEAF_BYTES]| {
        let leaf = entry.strip_prefix(&(LEAF_BYTES as u16).to_be_bytes())?;
        cid_of_leaf(leaf)
    };
    rest.is_empty()
        .then(|| entries.iter().map(decode).collect())?
}

/// The hashes of a tile; `None` where the bytes are none.
pub(super) fn decode_hashes(bytes: &[u8]) -> Option<Vec<TreeHash>> {
    let (hashes, rest) = bytes.as_chunks::<{ TreeHash::BYTES }>();
    let decode = |hash: &[u8; TreeHash::BYTES]| TreeHash::from_bytes(*hash);
    rest.is_empty().then(|| hashes.iter().map(decode).collect())
}
