//! Blocks: what is written and read at once. `docs/format/event-index.md` has their bytes.
//!
//! A leaf has entries in their order, each without what it shares with the one before. A node above
//! has, for each block below it, that one's first entry, its number and its digest. So the digest of
//! a run's root covers the whole run, and a block that is another's, altered or out of place is
//! found when it is read. Every sixteenth entry stands whole, and the block's end says where.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::entry::{Entry, KEY_BYTES};

const LEAF: u8 = 1;
const NODE: u8 = 2;
/// Every so many entries one stands whole.
const WHOLE_EVERY: usize = 16;
/// Bytes of a place in the list at the end, and of the list's length.
const PLACE_BYTES: usize = 4;

/// Which block, and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Child {
    /// Its number in the run.
    pub(super) number: u32,
    /// Its SHA-256.
    pub(super) digest: [u8; 32],
}

/// The digest of a block.
pub(super) fn digest(block: &[u8]) -> [u8; 32] {
    Sha256::digest(block).into()
}

/// Writes one block.
#[derive(Debug)]
pub(super) struct BlockBuilder {
    bytes: Vec<u8>,
    wholes: Vec<u32>,
    entries: usize,
    last: [u8; KEY_BYTES],
    first: Option<Entry>,
}

impl BlockBuilder {
    pub(super) fn leaf(capacity: usize) -> Self {
        Self::new(LEAF, capacity)
    }

    pub(super) fn node(capacity: usize) -> Self {
        Self::new(NODE, capacity)
    }

    fn new(kind: u8, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity + 128);
        bytes.push(kind);
        Self {
            bytes,
            wholes: Vec::new(),
            entries: 0,
            last: [0; KEY_BYTES],
            first: None,
        }
    }

    /// How many bytes it has so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() + (self.wholes.len() + 1) * PLACE_BYTES
    }

    pub(super) fn first(&self) -> Option<Entry> {
        self.first
    }

    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    /// Adds the next entry, which is larger than the one before; in a node with its child.
    pub(super) fn push(&mut self, entry: &Entry, child: Option<&Child>) {
        let key = entry.key_bytes();
        let shared = if self.entries.is_multiple_of(WHOLE_EVERY) {
            self.wholes.push(self.bytes.len() as u32);
            0
        } else {
            let pairs = key.iter().zip(&self.last);
            pairs.take_while(|(own, last)| own == last).count()
        };
        let rest = key.get(shared..).unwrap_or_default();
        let zeros = rest.iter().rev().take_while(|byte| **byte == 0).count();
        let rest = rest.get(..rest.len() - zeros).unwrap_or_default();
        self.bytes.push(shared as u8);
        self.bytes.push(rest.len() as u8);
        self.bytes.extend_from_slice(rest);
        write_number(&mut self.bytes, entry.position);
        if let Some(child) = child {
            write_number(&mut self.bytes, u64::from(child.number));
            self.bytes.extend_from_slice(&child.digest);
        }
        self.last = key;
        self.entries += 1;
        self.first.get_or_insert(*entry);
    }

    pub(super) fn finish(mut self) -> Bytes {
        for place in &self.wholes {
            self.bytes.extend_from_slice(&place.to_le_bytes());
        }
        let count = self.wholes.len() as u32;
        self.bytes.extend_from_slice(&count.to_le_bytes());
        self.bytes.into()
    }
}

/// Base 128, the lowest seven bits first; all bytes but the last have the highest bit set.
fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7F);
        if shift == 63 && bits > 1 {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// A block that was read. Its digest was checked; whatever else is wrong with it is `None` here,
/// never a panic.
#[derive(Clone, Debug)]
pub(super) struct Block {
    bytes: Bytes,
    /// Where the list of places of whole entries begins.
    places: usize,
}

impl Block {
    pub(super) fn parse(bytes: Bytes) -> Option<Self> {
        let (rest, count) = bytes.split_last_chunk::<PLACE_BYTES>()?;
        let count = u32::from_le_bytes(*count) as usize;
        let places = rest.len().checked_sub(count.checked_mul(PLACE_BYTES)?)?;
        if places == 0 || !matches!(rest.first()?, &(LEAF | NODE)) {
            return None;
        }
        Some(Self { bytes, places })
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_leaf(&self) -> bool {
        self.bytes.first() == Some(&LEAF)
    }

    /// All that it has.
    pub(super) fn scan(&self) -> Scan<'_> {
        self.scan_from(1)
    }

    fn scan_from(&self, place: usize) -> Scan<'_> {
        Scan {
            rest: self.bytes.get(place..self.places).unwrap_or_default(),
            last: [0; KEY_BYTES],
            has_children: !self.is_leaf(),
        }
    }

    /// What it has from the last whole entry on that is not larger than `entry`.
    pub(super) fn scan_near(&self, entry: &Entry) -> Option<Scan<'_>> {
        let list = self
            .bytes
            .get(self.places..self.bytes.len() - PLACE_BYTES)?;
        let (places, _) = list.as_chunks::<PLACE_BYTES>();
        let (mut low, mut high) = (0, places.len());
        // Of those before `low` all are not larger, of those from `high` on all are.
        while low < high {
            let middle = (low + high) / 2;
            let place = u32::from_le_bytes(*places.get(middle)?) as usize;
            let (whole, _) = self.scan_from(place).next_item()??;
            if whole <= *entry {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let place = match low.checked_sub(1) {
            None => 1,
            Some(last) => u32::from_le_bytes(*places.get(last)?) as usize,
        };
        Some(self.scan_from(place))
    }

    /// In a node: the blocks below that may have entries from `first` on, in their order.
    pub(super) fn children_from(&self, first: &Entry) -> Option<Vec<(Entry, Child)>> {
        let mut children = Vec::new();
        let mut scan = self.scan_near(first)?;
        while let Some((entry, child)) = scan.next_item()? {
            if entry <= *first {
                children.clear();
            }
            children.push((entry, child?));
        }
        Some(children)
    }
}

/// Reads a block's entries one after the other.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    rest: &'a [u8],
    last: [u8; KEY_BYTES],
    has_children: bool,
}

impl Scan<'_> {
    /// The next entry, and in a node its child. The outer `None`: the block is malformed.
    #[allow(clippy::type_complexity)] // two ways of being absent
    pub(super) fn next_item(&mut self) -> Option<Option<(Entry, Option<Child>)>> {
        if self.rest.is_empty() {
            return Some(None);
        }
        let ([shared, length], rest) = self.rest.split_first_chunk::<2>()?;
        let (shared, length) = (usize::from(*shared), usize::from(*length));
        let (own, rest) = rest.split_at_checked(length)?;
        let (_, tail) = self.last.split_at_mut_checked(shared)?;
        let (changed, zeros) = tail.split_at_mut_checked(length)?;
        changed.copy_from_slice(own);
        zeros.fill(0);
        self.rest = rest;
        let position = read_number(&mut self.rest)?;
        let entry = Entry::from_key_bytes(&self.last, position)?;
        if !self.has_children {
            return Some(Some((entry, None)));
        }
        let number = u32::try_from(read_number(&mut self.rest)?).ok()?;
        let (digest, rest) = self.rest.split_first_chunk::<32>()?;
        self.rest = rest;
        let child = Child {
            number,
            digest: *digest,
        };
        Some(Some((entry, Some(child))))
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::Table;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn entries() -> impl Strategy<Value = BTreeSet<Entry>> {
        let key = prop_oneof![any::<[u64; 2]>(), (0..4_u64).prop_map(|key| [key << 40, 0])];
        let position = prop_oneof![0..200_u64, any::<u64>()];
        let entry = (1..=3_u8, key, position).prop_map(|(table, key, position)| Entry {
            table: Table::from_byte(table).unwrap(),
            key,
            position,
        });
        prop::collection::btree_set(entry, 1..100)
    }

    proptest! {
        #[test]
        fn a_leaf_has_what_was_written_and_is_entered_near_any_entry(
            entries in entries(),
            sought in entries()
        ) {
            let mut builder = BlockBuilder::leaf(100);
            for entry in &entries {
                builder.push(entry, None);
            }
            let length = builder.len();
            let bytes = builder.finish();
            prop_assert_eq!(bytes.len(), length);
            let block = Block::parse(bytes).unwrap();
            let mut scan = block.scan();
            let mut read = Vec::new();
            while let Some((entry, _)) = scan.next_item().unwrap() {
                read.push(entry);
            }
            prop_assert!(read.iter().eq(&entries));
            for sought in &sought {
                let mut scan = block.scan_near(sought).unwrap();
                let mut found = Vec::new();
                while let Some((entry, _)) = scan.next_item().unwrap() {
                    if entry >= *sought {
                        found.push(entry);
                    }
                }
                prop_assert!(found.iter().eq(entries.range(sought..)));
            }
        }

        #[test]
        fn a_node_leads_to_the_last_block_that_begins_before(
            entries in entries(),
            sought in entries()
        ) {
            let mut builder = BlockBuilder::node(100);
            for (number, entry) in entries.iter().enumerate() {
                let child = Child { number: number as u32, digest: [number as u8; 32] };
                builder.push(entry, Some(&child));
            }
            let block = Block::parse(builder.finish()).unwrap();
            for sought in &sought {
                let before = entries.range(..=sought).count().saturating_sub(1);
                let children = block.children_from(sought).unwrap();
                let numbers: Vec<_> = children.iter().map(|(_, child)| child.number).collect();
                let expected: Vec<_> = (before as u32..entries.len() as u32).collect();
                prop_assert_eq!(numbers, expected);
            }
        }

        #[test]
        fn no_bytes_make_a_block_panic(bytes in prop::collection::vec(0..20_u8, 0..100)) {
            if let Some(block) = Block::parse(bytes.into()) {
                let mut scan = block.scan();
                while let Some(Some(_)) = scan.next_item() {}
                let sought = Entry { table: Table::Time, key: [5, 0], position: 1 };
                let _ = block.children_from(&sought);
            }
        }
    }

    #[test]
    fn numbers_of_all_lengths_are_read_as_they_were_written() {
        for shift in 0..64 {
            for number in [(1_u64 << shift) - 1, 1 << shift, u64::MAX - (1 << shift)] {
                let mut bytes = Vec::new();
                write_number(&mut bytes, number);
                let mut rest = &bytes[..];
                assert_eq!(read_number(&mut rest), Some(number));
                assert!(rest.is_empty());
            }
        }
        assert_eq!(read_number(&mut &[0xFF; 9][..]), None);
        assert_eq!(read_number(&mut &[0xFF; 10][..]), None);
    }
}
