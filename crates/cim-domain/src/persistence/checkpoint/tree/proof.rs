//! Proofs that a leaf is in a tree, and that a tree is the beginning of another one: of which parts
//! they are made, and their verification.
//!
//! Making a proof needs hashes of parts of the tree ([`inclusion_path`], [`consistency_path`]),
//! verifying it needs nothing but the proof: RFC 9162, sections 2.1.3 and 2.1.4.

use super::{Subtree, TreeHash};

/// Why a proof does not prove what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// There is no such leaf in a tree of that size.
    #[error("a tree of {size} leaves has none at index {index}")]
    NoSuchLeaf {
        /// The index.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// The tree that should be the beginning is the larger one.
    #[error("a tree of {old} leaves is not the beginning of one of {new}")]
    Shrunk {
        /// The size of what should be the beginning.
        old: u64,
        /// The size of the whole.
        new: u64,
    },
    /// It has more or fewer hashes than a proof about these sizes.
    #[error("the proof has {found} hashes and needs {needed}")]
    Length {
        /// How many it has.
        found: usize,
        /// How many it needs.
        needed: usize,
    },
    /// It leads to another root.
    #[error("the proof leads to the root {found}, not to {expected}")]
    OtherRoot {
        /// Where it leads.
        found: TreeHash,
        /// Where it should lead.
        expected: TreeHash,
    },
}

/// The largest power of two that is smaller than `size`, which is at least 2.
fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// The parts whose hashes prove that the leaf at `index` is in a tree of `size` leaves, from the
/// leaf's sibling up to the root's child (RFC 6962, section 2.1.1).
///
/// ```
/// use cim_domain::persistence::checkpoint::tree::{
///     Subtree, TreeHash, TreeHasher, inclusion_path, verify_inclusion,
/// };
///
/// let leaves = [b"a", b"b", b"c", b"d", b"e"].map(|leaf| TreeHash::of_leaf(leaf));
/// let root_of = |part: Subtree| {
///     let mut tree = TreeHasher::new();
///     for leaf in &leaves[part.start as usize..part.end as usize] {
///         tree.push_hash(*leaf);
///     }
///     tree.root()
/// };
///
/// // The third leaf's sibling is the fourth; then come the first two, and the fifth.
/// let path = inclusion_path(2, 5)?;
/// assert_eq!(path, [Subtree::new(3, 4), Subtree::new(0, 2), Subtree::new(4, 5)]);
///
/// // Whoever checks it needs the leaf, the root and these three hashes.
/// let proof: Vec<TreeHash> = path.into_iter().map(root_of).collect();
/// verify_inclusion(leaves[2], 2, 5, root_of(Subtree::new(0, 5)), &proof)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Where there is no such leaf.
pub fn inclusion_path(index: u64, size: u64) -> Result<Vec<Subtree>, ProofError> {
    if index >= size {
        return Err(ProofError::NoSuchLeaf { index, size });
    }
    let mut path = Vec::new();
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            path.push(Subtree::new(middle, end));
            end = middle;
        } else {
            path.push(Subtree::new(start, middle));
            start = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The parts whose hashes prove that a tree of `old` leaves is the beginning of one of `new`
/// leaves (RFC 6962, section 2.1.2). None where the sizes are equal or the old one is 0.
///
/// ```
/// use cim_domain::persistence::checkpoint::tree::{
///     Subtree, TreeHash, consistency_path, verify_consistency,
/// };
///
/// // The root of two leaves is kept; later there are three.
/// let [a, b, c] = [b"a", b"b", b"c"].map(|leaf| TreeHash::of_leaf(leaf));
/// let old = TreeHash::of_node(a, b);
/// let new = TreeHash::of_node(old, c);
///
/// // What is not known yet is the third alone.
/// assert_eq!(consistency_path(2, 3)?, [Subtree::new(2, 3)]);
/// verify_consistency(2, old, 3, new, &[c])?;
///
/// // Had the first leaf been replaced, no hashes could prove it.
/// let rewritten = TreeHash::of_node(TreeHash::of_node(c, b), c);
/// assert!(verify_consistency(2, old, 3, rewritten, &[c]).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Where the old tree is the larger one.
pub fn consistency_path(old: u64, new: u64) -> Result<Vec<Subtree>, ProofError> {
    if old > new {
        return Err(ProofError::Shrunk { old, new });
    }
    let mut path = Vec::new();
    if old == 0 || old == new {
        return Ok(path);
    }
    let (mut start, mut end) = (0, new);
    while end != old {
        let middle = start + split(end - start);
        if old <= middle {
            path.push(Subtree::new(middle, end));
            end = middle;
        } else {
            path.push(Subtree::new(start, middle));
            start = middle;
        }
    }
    // The old tree is known to whoever verifies, any other part is not.
    if start != 0 {
        path.push(Subtree::new(start, end));
    }
    path.reverse();
    Ok(path)
}

fn check_length(found: usize, needed: usize) -> Result<(), ProofError> {
    if found == needed {
        return Ok(());
    }
    Err(ProofError::Length { found, needed })
}

fn check_root(found: TreeHash, expected: TreeHash) -> Result<(), ProofError> {
    if found == expected {
        return Ok(());
    }
    Err(ProofError::OtherRoot { found, expected })
}

/// Checks that the leaf with this hash stands at `index` in the tree of `size` leaves with this
/// root.
///
/// # Errors
/// Why the proof does not prove it.
pub fn verify_inclusion(
    leaf: TreeHash,
    index: u64,
    size: u64,
    root: TreeHash,
    proof: &[TreeHash],
) -> Result<(), ProofError> {
    let path = inclusion_path(index, size)?;
    check_length(proof.len(), path.len())?;
    // A sibling that begins before the leaf stands to its left.
    let found = path.iter().zip(proof).fold(leaf, |hash, (part, sibling)| {
        if part.start <= index {
            TreeHash::of_node(*sibling, hash)
        } else {
            TreeHash::of_node(hash, *sibling)
        }
    });
    check_root(found, root)
}

/// Checks that the tree of `old` leaves with one root is the beginning of the tree of `new` leaves
/// with the other.
///
/// # Errors
/// Why the proof does not prove it.
pub fn verify_consistency(
    old: u64,
    old_root: TreeHash,
    new: u64,
    new_root: TreeHash,
    proof: &[TreeHash],
) -> Result<(), ProofError> {
    let path = consistency_path(old, new)?;
    check_length(proof.len(), path.len())?;
    if old == 0 {
        // Any tree has the empty one as its beginning.
        check_root(old_root, TreeHash::of_nothing())?;
        return if new == 0 {
            check_root(new_root, TreeHash::of_nothing())
        } else {
            Ok(())
        };
    }
    if old == new {
        return check_root(new_root, old_root);
    }
    // The parts that end within the old tree make its root; all of them make the new one.
    let mut parts = path.iter().zip(proof).peekable();
    let first = match parts.next_if(|(part, _)| part.end == old) {
        Some((_, hash)) => *hash,
        None => old_root,
    };
    let (mut of_old, mut of_new) = (first, first);
    for (part, hash) in parts {
        if part.start < old {
            of_old = TreeHash::of_node(*hash, of_old);
            of_new = TreeHash::of_node(*hash, of_new);
        } else {
            of_new = TreeHash::of_node(of_new, *hash);
        }
    }
    check_root(of_old, old_root)?;
    check_root(of_new, new_root)
}
