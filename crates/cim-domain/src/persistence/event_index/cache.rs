//! Blocks that were read lately, in bounded memory.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::block::Block;

/// What a block takes beside its bytes, about.
const OVERHEAD: usize = 200;

type BlockId = (Uuid, u32);

/// Keeps blocks up to a number of bytes, and gives up those that were not asked for the longest.
#[derive(Debug)]
pub(super) struct BlockCache {
    room: usize,
    bytes: usize,
    blocks: HashMap<BlockId, (Block, u64)>,
    by_use: BTreeMap<u64, BlockId>,
    uses: u64,
}

impl BlockCache {
    pub(super) fn new(room: usize) -> Self {
        Self {
            room,
            bytes: 0,
            blocks: HashMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
        }
    }

    pub(super) fn get(&mut self, run: Uuid, number: u32) -> Option<Block> {
        let (block, used) = self.blocks.get_mut(&(run, number))?;
        self.uses += 1;
        self.by_use.remove(used);
        self.by_use.insert(self.uses, (run, number));
        *used = self.uses;
        Some(block.clone())
    }

    pub(super) fn insert(&mut self, run: Uuid, number: u32, block: Block) {
        let id = (run, number);
        self.uses += 1;
        self.bytes += block.len() + OVERHEAD;
        self.by_use.insert(self.uses, id);
        if let Some((old, used)) = self.blocks.insert(id, (block, self.uses)) {
            self.bytes -= old.len() + OVERHEAD;
            self.by_use.remove(&used);
        }
        while self.bytes > self.room {
            let Some((_, id)) = self.by_use.pop_first() else {
                break;
            };
            self.take(id);
        }
    }

    /// Gives up the blocks of all runs but these.
    pub(super) fn keep_only(&mut self, is_kept: impl Fn(Uuid) -> bool) {
        let gone: Vec<BlockId> = self.blocks.keys().copied().collect();
        for id in gone.into_iter().filter(|(run, _)| !is_kept(*run)) {
            if let Some(used) = self.take(id) {
                self.by_use.remove(&used);
            }
        }
    }

    fn take(&mut self, id: BlockId) -> Option<u64> {
        let (block, used) = self.blocks.remove(&id)?;
        self.bytes -= block.len() + OVERHEAD;
        Some(used)
    }

    /// How many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::block::BlockBuilder;
    use super::*;
    use bytes::Bytes;

    fn block(bytes: usize) -> Block {
        let mut content = BlockBuilder::leaf(0).finish().to_vec();
        let end = content.split_off(1);
        content.resize(bytes - end.len(), 0);
        content.extend_from_slice(&end);
        Block::parse(Bytes::from(content)).unwrap()
    }

    #[test]
    fn what_was_not_asked_for_the_longest_goes_first() {
        let run = Uuid::from_u128(1);
        let mut cache = BlockCache::new(3 * (800 + OVERHEAD));
        for number in 0..3 {
            cache.insert(run, number, block(800));
        }
        assert!(cache.get(run, 0).is_some());
        cache.insert(run, 3, block(800));
        let kept: Vec<_> = (0..4).filter(|n| cache.get(run, *n).is_some()).collect();
        assert_eq!(kept, [0, 2, 3]);
        assert_eq!(cache.bytes(), 3_000);
    }

    #[test]
    fn it_never_takes_more_than_its_room_and_counts_what_it_gives_up() {
        let mut cache = BlockCache::new(10_000);
        for number in 0..1_000 {
            cache.insert(Uuid::from_u128(number % 7), number as u32 % 11, block(900));
            assert!(cache.bytes() <= 10_000);
        }
        cache.keep_only(|run| run.as_u128() > 7);
        assert_eq!((cache.bytes(), cache.by_use.len()), (0, 0));
        cache.insert(Uuid::nil(), 0, block(20_000));
        assert!(cache.get(Uuid::nil(), 0).is_none());
    }
}
