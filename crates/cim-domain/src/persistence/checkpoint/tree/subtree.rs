//! Parts of a tree: ranges of leaves, and the perfect subtrees that they are made of.

use super::{TreeHash, root_of_peaks};

/// The leaves from `start`, inclusive, to `end`, exclusive, as a part of a tree.
///
/// ```
/// use cim_domain::persistence::checkpoint::tree::{Node, Subtree, TreeHash};
///
/// // Of a proof that names the leaves 0 to 2: the hash above the first two is kept, and the third's.
/// let part = Subtree::new(0, 3);
/// assert_eq!(part.nodes(), [Node { height: 1, index: 0 }, Node { height: 0, index: 2 }]);
///
/// let [a, b, c] = [b"a", b"b", b"c"].map(|leaf| TreeHash::of_leaf(leaf));
/// let two = TreeHash::of_node(a, b);
/// assert_eq!(Subtree::root(&[two, c]), TreeHash::of_node(two, c));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subtree {
    /// The first leaf's index.
    pub start: u64,
    /// The index after the last leaf's.
    pub end: u64,
}

/// A perfect subtree: the leaves from `index * 2^height` on, `2^height` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// How far above the leaves it stands, 0 to 63.
    pub height: u32,
    /// Its place among the nodes of its height, from 0.
    pub index: u64,
}

impl Subtree {
    /// The part from one leaf to another.
    #[must_use]
    pub const fn new(start: u64, end: u64) -> Self {
        Self { start, end }
    }

    /// The perfect subtrees that make it, from left to right.
    ///
    /// Where it is a part that a proof names, each of them is smaller than the one before, and its
    /// hash is the [root](Self::root) of theirs.
    #[must_use]
    pub fn nodes(self) -> Vec<Node> {
        let mut nodes = Vec::new();
        let mut start = self.start;
        while start < self.end {
            // The largest that begins here and does not go beyond the end.
            let aligned = start.trailing_zeros().min(63);
            let fitting = (self.end - start).ilog2();
            let height = aligned.min(fitting);
            nodes.push(Node {
                height,
                index: start >> height,
            });
            start += 1 << height;
        }
        nodes
    }

    /// The hash of the part whose [nodes](Self::nodes) have these hashes.
    #[must_use]
    pub fn root(hashes: &[TreeHash]) -> TreeHash {
        root_of_peaks(hashes.iter().copied()).unwrap_or_else(TreeHash::of_nothing)
    }
}
