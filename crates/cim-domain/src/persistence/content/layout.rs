//! Large content as a tree of blocks: IPLD's Flexible Byte Layout, pure.
//!
//! <https://ipld.io/specs/advanced-data-layouts/fbl/>: content is a block of bytes, or a list whose
//! items are bytes or pairs of a length and a part, where a part is bytes, such a list, or a link to
//! either. What is written here is one shape of it: leaves of equal size in the raw codec, and over
//! them nodes in DAG-CBOR with a fixed number of pairs `[length, link]`, so that the same bytes
//! always give the same root. What is read is every shape.

use bytes::Bytes;
use cim_ipld::dag_cbor::{self, Ipld};
use cim_ipld::{Block, Cid, DAG_CBOR_CODE, HashFunction, RAW_CODE};

use super::error::Shape;

/// How many nodes may stand above one another. A tree of leaves of one byte with two pairs a node
/// has 64 above 2⁶⁴ bytes.
pub(super) const MAX_DEPTH: usize = 64;

/// Bytes that stand under a CID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Linked {
    /// How many.
    pub(super) length: u64,
    /// The CID of a leaf or node.
    pub(super) cid: Cid,
}

/// Builds the tree over leaves that come one after the other. Keeps at most one node's pairs for
/// each level.
#[derive(Debug)]
pub(super) struct TreeBuilder {
    hash: HashFunction,
    fan_out: usize,
    /// What has no node yet, from the leaves upwards.
    levels: Vec<Vec<Linked>>,
}

impl TreeBuilder {
    /// `fan_out`: how many pairs a node has, at least 2.
    pub(super) fn new(hash: HashFunction, fan_out: usize) -> Self {
        Self {
            hash,
            fan_out: fan_out.max(2),
            levels: Vec::new(),
        }
    }

    /// Adds the next leaf; the nodes that are complete by it go to `nodes`.
    pub(super) fn push(&mut self, leaf: Linked, nodes: &mut Vec<Block>) -> Result<(), Shape> {
        self.push_at(0, leaf, nodes)
    }

    fn push_at(
        &mut self,
        lowest: usize,
        mut next: Linked,
        nodes: &mut Vec<Block>,
    ) -> Result<(), Shape> {
        for level in lowest.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let pairs = &mut self.levels[level];
            let full = pairs.len() == self.fan_out;
            let before = full.then(|| std::mem::take(pairs));
            pairs.push(next);
            match before {
                None => break,
                Some(pairs) => next = node(self.hash, &pairs, nodes)?,
            }
        }
        Ok(())
    }

    /// Ends the tree; its last nodes go to `nodes`. `None` where there was no leaf.
    pub(super) fn finish(mut self, nodes: &mut Vec<Block>) -> Result<Option<Linked>, Shape> {
        let mut level = 0;
        // A node that is made here may fill the level above it, or begin it.
        while let Some(pairs) = self.levels.get_mut(level).map(std::mem::take) {
            if let [root] = pairs.as_slice()
                && level + 1 == self.levels.len()
            {
                return Ok(Some(*root));
            }
            let above = node(self.hash, &pairs, nodes)?;
            level += 1;
            self.push_at(level, above, nodes)?;
        }
        Ok(None)
    }
}

/// Makes the node of these pairs.
fn node(hash: HashFunction, pairs: &[Linked], nodes: &mut Vec<Block>) -> Result<Linked, Shape> {
    let mut length = 0_u64;
    let mut items = Vec::with_capacity(pairs.len());
    for pair in pairs {
        length = length.checked_add(pair.length).ok_or(Shape::Length)?;
        items.push(Ipld::List(vec![
            Ipld::Integer(pair.length.into()),
            Ipld::Link(pair.cid),
        ]));
    }
    let bytes = dag_cbor::to_vec(&Ipld::List(items)).map_err(|_| Shape::Length)?;
    let block = Block::new(DAG_CBOR_CODE, hash, bytes);
    let linked = Linked {
        length,
        cid: block.cid,
    };
    nodes.push(block);
    Ok(linked)
}

/// A piece of content, as a block describes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    /// These bytes.
    Inline(Bytes),
    /// What stands under a CID.
    Linked(Linked),
}

impl Piece {
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Linked(linked) => linked.length,
        }
    }
}

/// Reads what a block says about content: the pieces of it in their order. What lists say about the
/// lengths of lists within the same block is compared with these.
pub(super) fn pieces(block: &Block) -> Result<Vec<Piece>, Shape> {
    match block.cid.codec() {
        RAW_CODE => Ok(vec![Piece::Inline(block.bytes.clone())]),
        DAG_CBOR_CODE => {
            let value: Ipld =
                dag_cbor::from_slice(&block.bytes).map_err(|error| Shape::NotCbor(error.into()))?;
            let mut pieces = Vec::new();
            flatten(value, &mut pieces)?;
            Ok(pieces)
        }
        codec => Err(Shape::Codec { codec }),
    }
}

/// How many bytes these pieces are.
pub(super) fn length(pieces: &[Piece]) -> Result<u64, Shape> {
    pieces
        .iter()
        .try_fold(0_u64, |sum, piece| sum.checked_add(piece.length()))
        .ok_or(Shape::Length)
}

/// Goes over a value in a block; the decoder has bounded how deep it is.
fn flatten(value: Ipld, pieces: &mut Vec<Piece>) -> Result<(), Shape> {
    match value {
        Ipld::Bytes(bytes) => pieces.push(Piece::Inline(bytes.into())),
        Ipld::List(items) => {
            for item in items {
                nested(item, pieces)?;
            }
        }
        _ => return Err(Shape::NotContent),
    }
    Ok(())
}

/// An item of a list: bytes, or a pair.
fn nested(item: Ipld, pieces: &mut Vec<Piece>) -> Result<(), Shape> {
    let pair = match item {
        Ipld::Bytes(bytes) => {
            pieces.push(Piece::Inline(bytes.into()));
            return Ok(());
        }
        Ipld::List(pair) => <[Ipld; 2]>::try_from(pair).map_err(|_| Shape::NotContent)?,
        _ => return Err(Shape::NotContent),
    };
    let [Ipld::Integer(declared), part] = pair else {
        return Err(Shape::NotContent);
    };
    let declared = u64::try_from(declared).map_err(|_| Shape::NotContent)?;
    if let Ipld::Link(cid) = part {
        pieces.push(Piece::Linked(Linked {
            length: declared,
            cid,
        }));
        return Ok(());
    }
    let first = pieces.len();
    flatten(part, pieces)?;
    check_length(declared, length(&pieces[first..])?)
}

/// Compares how long a part is said to be with how long it is.
pub(super) fn check_length(declared: u64, actual: u64) -> Result<(), Shape> {
    if declared == actual {
        return Ok(());
    }
    Err(Shape::WrongLength { declared, actual })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// The tree over leaves of one byte each, and its blocks.
    fn tree(content: &[u8], fan_out: usize) -> (Option<Linked>, HashMap<Cid, Block>) {
        let mut builder = TreeBuilder::new(HashFunction::Sha2_256, fan_out);
        let (mut nodes, mut leaves) = (Vec::new(), Vec::new());
        for byte in content {
            let leaf = Block::new(RAW_CODE, HashFunction::Sha2_256, vec![*byte]);
            let linked = Linked {
                length: 1,
                cid: leaf.cid,
            };
            builder.push(linked, &mut nodes).unwrap();
            leaves.push(leaf);
            let kept: usize = builder.levels.iter().map(Vec::len).sum();
            assert!(kept <= fan_out * builder.levels.len());
        }
        let root = builder.finish(&mut nodes).unwrap();
        let blocks = nodes.into_iter().chain(leaves);
        (root, blocks.map(|block| (block.cid, block)).collect())
    }

    fn read(cid: &Cid, blocks: &HashMap<Cid, Block>, content: &mut Vec<u8>) -> usize {
        let mut height = 0;
        for piece in pieces(&blocks[cid]).unwrap() {
            match piece {
                Piece::Inline(bytes) => content.extend_from_slice(&bytes),
                Piece::Linked(linked) => {
                    let before = content.len() as u64;
                    height = height.max(1 + read(&linked.cid, blocks, content));
                    assert_eq!(content.len() as u64 - before, linked.length);
                }
            }
        }
        height
    }

    proptest! {
        #[test]
        fn a_tree_reads_as_its_leaves_and_is_no_higher_than_it_must_be(
            content in prop::collection::vec(any::<u8>(), 1..200),
            fan_out in 2..6_usize,
        ) {
            let (root, blocks) = tree(&content, fan_out);
            let root = root.unwrap();
            let mut told = Vec::new();
            let height = read(&root.cid, &blocks, &mut told);
            prop_assert_eq!(&told, &content);
            prop_assert_eq!(root.length, content.len() as u64);
            let needed = (0..).find(|height| fan_out.pow(*height) >= content.len()).unwrap();
            prop_assert_eq!(height, needed as usize);
            for block in blocks.values() {
                prop_assert!(pieces(block).unwrap().len() <= fan_out);
            }
        }
    }

    #[test]
    fn one_leaf_is_its_own_root_and_none_is_no_tree() {
        let (root, blocks) = tree(b"x", 3);
        assert_eq!((root.unwrap().cid.codec(), blocks.len()), (RAW_CODE, 1));
        assert_eq!(tree(b"", 3).0, None);
    }

    fn cbor(value: &Ipld) -> Block {
        Block::new(
            DAG_CBOR_CODE,
            HashFunction::Sha2_256,
            dag_cbor::to_vec(value).unwrap(),
        )
    }

    fn pair(length: i128, part: Ipld) -> Ipld {
        Ipld::List(vec![Ipld::Integer(length), part])
    }

    #[test]
    fn every_shape_that_the_layout_allows_is_read() {
        let bytes = |text: &str| Ipld::Bytes(text.as_bytes().to_vec());
        let leaf = Block::new(RAW_CODE, HashFunction::Blake3, &b"leaf"[..]);
        assert_eq!(
            pieces(&cbor(&bytes("abc"))).unwrap(),
            [Piece::Inline("abc".into())]
        );
        let list = Ipld::List(vec![
            bytes("a"),
            pair(3, bytes("bcd")),
            pair(
                5,
                Ipld::List(vec![bytes("e"), pair(4, Ipld::Link(leaf.cid))]),
            ),
        ]);
        let linked = Linked {
            length: 4,
            cid: leaf.cid,
        };
        let expected = [
            Piece::Inline("a".into()),
            Piece::Inline("bcd".into()),
            Piece::Inline("e".into()),
            Piece::Linked(linked),
        ];
        let read = pieces(&cbor(&list)).unwrap();
        assert_eq!(read, expected);
        assert_eq!(length(&read).unwrap(), 9);
    }

    #[test]
    fn what_is_no_content_is_told_from_what_is() {
        let bytes = Ipld::Bytes(vec![1, 2]);
        let wrong = cbor(&Ipld::List(vec![pair(3, bytes.clone())]));
        assert!(matches!(
            pieces(&wrong),
            Err(Shape::WrongLength {
                declared: 3,
                actual: 2
            })
        ));
        let triple = Ipld::List(vec![Ipld::Integer(1), bytes.clone(), bytes.clone()]);
        for value in [
            Ipld::Integer(1),
            Ipld::List(vec![Ipld::Null]),
            Ipld::List(vec![triple]),
            Ipld::List(vec![pair(-1, bytes)]),
        ] {
            assert!(matches!(pieces(&cbor(&value)), Err(Shape::NotContent)));
        }
        let json = Block::new(0x0129, HashFunction::Sha2_256, &b"1"[..]);
        assert!(matches!(pieces(&json), Err(Shape::Codec { codec: 0x0129 })));
        let torn = Block::new(DAG_CBOR_CODE, HashFunction::Sha2_256, &b"\x82"[..]);
        assert!(matches!(pieces(&torn), Err(Shape::NotCbor(_))));
    }
}
