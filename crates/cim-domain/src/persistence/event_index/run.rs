//! Runs: immutable sorted parts of an index, written once and read by descending from a root.

use std::sync::Arc;

use bytes::Bytes;
use cim_store::{BucketError, Context, Position};
use uuid::Uuid;

use super::block::{Block, BlockBuilder, Child, Scan, digest};
use super::entry::{Entry, Span};
use super::error::Fault;
use super::manifest::RunInfo;
use super::shelf::{MALFORMED, Shelf, WRITES};

/// Writes a run from entries in their order.
#[derive(Debug)]
pub(super) struct RunWriter<'a> {
    shelf: &'a Shelf,
    ctx: &'a Context,
    id: Uuid,
    block_bytes: usize,
    entries: u64,
    last: u64,
    /// The leaf at the front, and behind it the nodes above: level by level, each yet unfinished.
    levels: Vec<BlockBuilder>,
    finished: Vec<(u32, Bytes)>,
    next_number: u32,
}

impl<'a> RunWriter<'a> {
    pub(super) fn new(shelf: &'a Shelf, ctx: &'a Context, id: Uuid, block_bytes: usize) -> Self {
        Self {
            shelf,
            ctx,
            id,
            block_bytes,
            entries: 0,
            last: 0,
            levels: vec![BlockBuilder::leaf(block_bytes)],
            finished: Vec::new(),
            next_number: 0,
        }
    }

    /// Adds the next entry. Where this says so, [`store`](Self::store) has to be called before the
    /// next one.
    pub(super) fn push(&mut self, entry: &Entry) -> bool {
        self.entries += 1;
        self.last = self.last.max(entry.position);
        if let Some(leaf) = self.levels.first_mut() {
            leaf.push(entry, None);
            if leaf.len() >= self.block_bytes {
                self.close(0);
            }
        }
        self.finished.len() >= WRITES
    }

    /// Ends the block of a level, and notes it in the level above.
    fn close(&mut self, level: usize) {
        let Some(open) = self.levels.get_mut(level) else {
            return;
        };
        let fresh = if level == 0 {
            BlockBuilder::leaf(self.block_bytes)
        } else {
            BlockBuilder::node(self.block_bytes)
        };
        let block = std::mem::replace(open, fresh);
        let Some(first) = block.first() else {
            return;
        };
        let child = self.finish_block(block);
        if self.levels.len() == level + 1 {
            self.levels.push(BlockBuilder::node(self.block_bytes));
        }
        if let Some(above) = self.levels.get_mut(level + 1) {
            above.push(&first, Some(&child));
            // A node with one child would not end.
            if above.len() >= self.block_bytes && above.entries() > 1 {
                self.close(level + 1);
            }
        }
    }

    fn finish_block(&mut self, block: BlockBuilder) -> Child {
        let bytes = block.finish();
        let child = Child {
            number: self.next_number,
            digest: digest(&bytes),
        };
        self.finished.push((self.next_number, bytes));
        self.next_number += 1;
        child
    }

    /// Stores the blocks that are finished.
    pub(super) async fn store(&mut self) -> Result<(), BucketError> {
        let blocks = std::mem::take(&mut self.finished);
        self.shelf.put_blocks(self.ctx, self.id, blocks).await
    }

    /// Ends the run; `None` where it has no entries.
    pub(super) async fn finish(mut self) -> Result<Option<RunInfo>, BucketError> {
        let mut level = 0;
        let root = loop {
            let is_top = level + 1 == self.levels.len();
            let Some(open) = self.levels.get_mut(level) else {
                return Ok(None);
            };
            if is_top && open.entries() == 0 {
                return Ok(None);
            }
            if is_top {
                let block = std::mem::replace(open, BlockBuilder::leaf(0));
                break self.finish_block(block);
            }
            self.close(level);
            level += 1;
        };
        self.store().await?;
        Ok(Some(RunInfo {
            id: self.id,
            entries: self.entries,
            last: Position::new(self.last),
            blocks: self.next_number,
            root,
        }))
    }
}

/// Reads a run from an entry on, block by block.
#[derive(Debug)]
pub(super) struct RunReader {
    shelf: Arc<Shelf>,
    run: RunInfo,
    /// Whether blocks that are read are kept in memory.
    keep: bool,
    first: Entry,
    /// Blocks still to come, the next one last.
    ahead: Vec<(Entry, Child)>,
    /// How many blocks were read.
    blocks: u32,
    /// Where the last leaf begins.
    behind: Option<Entry>,
}

impl RunReader {
    pub(super) fn new(shelf: Arc<Shelf>, run: RunInfo, first: Entry, keep: bool) -> Self {
        Self {
            shelf,
            keep,
            ahead: vec![(first, run.root)],
            first,
            run,
            blocks: 0,
            behind: None,
        }
    }

    /// The run, as the manifest has it.
    pub(super) fn run(&self) -> &RunInfo {
        &self.run
    }

    /// How many blocks were read so far.
    pub(super) fn blocks(&self) -> u32 {
        self.blocks
    }

    /// The next leaf, unless it begins behind `last`. Leaves come in their order, each once, however
    /// the blocks name each other: so whoever reads a run comes to its end.
    pub(super) async fn next_leaf(
        &mut self,
        ctx: &Context,
        last: &Entry,
    ) -> Result<Option<Block>, Fault> {
        while let Some((first, child)) = self.ahead.pop() {
            if first > *last {
                self.ahead.clear();
                break;
            }
            let block = self
                .shelf
                .block(ctx, self.run.id, &child, self.keep)
                .await?;
            self.blocks = self.blocks.saturating_add(1);
            if self.blocks > self.run.blocks {
                return Err(Fault::Damaged("a run has more blocks than it should have"));
            }
            if block.is_leaf() {
                if self
                    .behind
                    .replace(first)
                    .is_some_and(|behind| behind >= first)
                {
                    return Err(Fault::Damaged("the blocks of a run are not in their order"));
                }
                return Ok(Some(block));
            }
            let children = block.children_from(&self.first).ok_or(MALFORMED)?;
            if children.is_empty() {
                return Err(MALFORMED);
            }
            self.ahead.extend(children.into_iter().rev());
        }
        Ok(None)
    }
}

/// The smallest positions in a run that are meant, at most `limit`, in order. Where the span has
/// more keys than one the whole of it is looked through.
pub(super) async fn positions(
    shelf: Arc<Shelf>,
    ctx: &Context,
    run: RunInfo,
    span: Span,
    limit: usize,
) -> Result<Vec<u64>, Fault> {
    let mut found = Smallest::new(limit);
    if run.last.get() <= span.after {
        return Ok(found.into_sorted());
    }
    let (first, last) = (span.first(), span.last());
    let mut reader = RunReader::new(shelf, run, first, true);
    while let Some(leaf) = reader.next_leaf(ctx, &last).await? {
        let mut scan: Scan<'_> = leaf.scan_near(&first).ok_or(MALFORMED)?;
        while let Some((entry, _)) = scan.next_item().ok_or(MALFORMED)? {
            if entry > last || (span.is_one_key() && found.is_full()) {
                return Ok(found.into_sorted());
            }
            if entry >= first && span.holds(entry.position) {
                found.push(entry.position);
            }
        }
        tokio::task::coop::consume_budget().await;
    }
    Ok(found.into_sorted())
}

/// Keeps the smallest of many numbers.
#[derive(Debug)]
pub(super) struct Smallest {
    limit: usize,
    heap: std::collections::BinaryHeap<u64>,
}

impl Smallest {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            heap: std::collections::BinaryHeap::new(),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.heap.len() >= self.limit
    }

    pub(super) fn push(&mut self, number: u64) {
        if !self.is_full() {
            self.heap.push(number);
        } else if let Some(mut largest) = self.heap.peek_mut()
            && number < *largest
        {
            *largest = number;
        }
    }

    pub(super) fn into_sorted(self) -> Vec<u64> {
        self.heap.into_sorted_vec()
    }
}
