//! The Merkle tree over a log: hashing, a builder that needs a few hashes of memory, and proofs.
//!
//! It is the tree of RFC 6962, section 2.1 (the same as in RFC 9162), with SHA-256. The leaf of an
//! event is the 36 bytes of its binary CID, and its index is its place in the order of the log,
//! from 0: positions may have gaps, indexes have none. Everything here is pure; where hashes are
//! kept is the matter of [`tiles`](super::tiles).

mod proof;
mod subtree;

use std::fmt;

use cim_store::EventCid;
use data_encoding::BASE64;
use sha2::{Digest, Sha256};

pub use proof::{
    ProofError, consistency_path, inclusion_path, verify_consistency, verify_inclusion,
};
pub use subtree::{Node, Subtree};

/// How many bytes a leaf has: those of a binary event CID.
pub const LEAF_BYTES: usize = 36;

/// What every binary event CID begins with: CIDv1, dag-cbor, sha2-256, 32 bytes.
const CID_PREFIX: [u8; 4] = [0x01, 0x71, 0x12, 0x20];

/// The leaf of an event: its binary CID.
///
/// ```
/// use cim_domain::persistence::checkpoint::tree::{TreeHash, cid_of_leaf, leaf_data};
/// use cim_domain::store::EventCid;
///
/// let cid: EventCid = "bafyreigdmqpykrgxyaxtlafqpqhzrb7qy2rh75nldvfd4tucqmqqme5yje".parse()?;
/// let leaf = leaf_data(&cid);
/// assert_eq!(cid_of_leaf(&leaf), Some(cid));
/// assert_eq!(TreeHash::of_leaf(&leaf), TreeHash::of_event(&cid));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn leaf_data(cid: &EventCid) -> [u8; LEAF_BYTES] {
    let mut leaf = [0; LEAF_BYTES];
    let (prefix, digest) = leaf.split_at_mut(CID_PREFIX.len());
    prefix.copy_from_slice(&CID_PREFIX);
    digest.copy_from_slice(cid.digest());
    leaf
}

/// The event CID that a leaf is; `None` for bytes that are none.
#[must_use]
pub fn cid_of_leaf(leaf: &[u8]) -> Option<EventCid> {
    let digest = leaf.strip_prefix(&CID_PREFIX)?;
    Some(EventCid::from_digest(digest.try_into().ok()?))
}

/// The hash of a leaf, of a subtree or of a whole tree. Shown as base64, as checkpoints do.
///
/// ```
/// use cim_domain::persistence::checkpoint::tree::TreeHash;
///
/// let root = TreeHash::of_node(TreeHash::of_leaf(b"one"), TreeHash::of_leaf(b"two"));
/// assert_eq!(TreeHash::from_base64(&root.to_string()), Some(root));
/// assert_eq!(TreeHash::from_bytes(*root.as_bytes()), root);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreeHash([u8; 32]);

impl TreeHash {
    /// How many bytes it has.
    pub const BYTES: usize = 32;

    /// The root of the tree without leaves: SHA-256 of nothing (RFC 6962, section 2.1).
    #[must_use]
    pub fn of_nothing() -> Self {
        Self(Sha256::digest(b"").into())
    }

    /// The hash of a leaf: SHA-256 of 0x00 and the leaf's data.
    #[must_use]
    pub fn of_leaf(data: &[u8]) -> Self {
        Self(
            Sha256::new()
                .chain_update([0])
                .chain_update(data)
                .finalize()
                .into(),
        )
    }

    /// The hash of the leaf of an event.
    #[must_use]
    pub fn of_event(cid: &EventCid) -> Self {
        Self::of_leaf(&leaf_data(cid))
    }

    /// The hash of the node above two others: SHA-256 of 0x01 and both.
    #[must_use]
    pub fn of_node(left: Self, right: Self) -> Self {
        let mut bytes = [1; 1 + 2 * Self::BYTES];
        bytes[1..=Self::BYTES].copy_from_slice(&left.0);
        bytes[1 + Self::BYTES..].copy_from_slice(&right.0);
        Self(Sha256::digest(bytes).into())
    }

    /// A hash that was stored.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The hash that a text in base64 (RFC 4648, section 4) spells; `None` where it is another
    /// text, or one that this hash is not written as.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        // Checked before decoding, so that a long text costs nothing.
        if text.len() != 44 {
            return None;
        }
        let bytes = BASE64.decode(text.as_bytes()).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }
}

impl fmt::Display for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(&self.0))
    }
}

impl fmt::Debug for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TreeHash({self})")
    }
}

/// Computes the root of a tree whose leaves come one after the other. It keeps one hash per set bit
/// of the number of leaves, so at most 64.
///
/// ```
/// use cim_domain::persistence::checkpoint::tree::{TreeHash, TreeHasher};
///
/// let mut tree = TreeHasher::new();
/// assert_eq!(tree.root(), TreeHash::of_nothing());
/// tree.push(b"one");
/// assert_eq!(tree.root(), TreeHash::of_leaf(b"one"));
/// tree.push(b"two");
/// let (one, two) = (TreeHash::of_leaf(b"one"), TreeHash::of_leaf(b"two"));
/// assert_eq!((tree.size(), tree.root()), (2, TreeHash::of_node(one, two)));
/// tree.push_hash(TreeHash::of_leaf(b"three"));
///
/// // All that is needed to go on later: here the hash above the first two leaves, and the third's.
/// let (size, peaks) = (tree.size(), tree.peaks().to_vec());
/// assert_eq!(peaks.len(), 2);
/// let mut later = TreeHasher::from_peaks(size, peaks).ok_or("3 is two and one")?;
/// later.push(b"four");
/// tree.push(b"four");
/// assert_eq!(later.root(), tree.root());
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreeHasher {
    size: u64,
    /// The hashes of the perfect subtrees that the leaves make, from left to right: one for each
    /// set bit of the size, from the highest.
    peaks: Vec<TreeHash>,
}

impl TreeHasher {
    /// A tree without leaves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A tree of this size whose perfect subtrees have these hashes, from left to right: one for
    /// each set bit of the size. `None` for any other number of hashes.
    #[must_use]
    pub fn from_peaks(size: u64, peaks: Vec<TreeHash>) -> Option<Self> {
        let fits = peaks.len() == size.count_ones() as usize;
        fits.then_some(Self { size, peaks })
    }

    /// Adds a leaf.
    pub fn push(&mut self, data: &[u8]) {
        self.push_hash(TreeHash::of_leaf(data));
    }

    /// Adds the leaf of an event.
    pub fn push_event(&mut self, cid: &EventCid) {
        self.push_hash(TreeHash::of_event(cid));
    }

    /// Adds a leaf whose hash is known.
    pub fn push_hash(&mut self, leaf: TreeHash) {
        let mut hash = leaf;
        let mut size = self.size;
        while size & 1 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            hash = TreeHash::of_node(left, hash);
            size >>= 1;
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// How many leaves it has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of its perfect subtrees, from left to right.
    #[must_use]
    pub fn peaks(&self) -> &[TreeHash] {
        &self.peaks
    }

    /// The root of the leaves so far.
    #[must_use]
    pub fn root(&self) -> TreeHash {
        root_of_peaks(self.peaks.iter().copied()).unwrap_or_else(TreeHash::of_nothing)
    }
}

/// The root over perfect subtrees that stand next to each other, each smaller than the one before.
/// `None` where there are none.
pub(super) fn root_of_peaks(peaks: impl DoubleEndedIterator<Item = TreeHash>) -> Option<TreeHash> {
    peaks
        .rev()
        .reduce(|right, left| TreeHash::of_node(left, right))
}

#[cfg(test)]
mod tests;
