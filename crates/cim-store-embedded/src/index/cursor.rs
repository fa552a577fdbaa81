//! Going over all heads in the index, each once.

use std::sync::Arc;

use crate::error::EngineError;
use crate::index::key::IndexKey;
use crate::index::run::{Run, RunEntry};
use crate::index::{Condemned, HEAD, Index, Slot};

/// Goes over the heads in the order of their keys, as they were when it was made.
#[derive(Debug)]
pub(crate) struct HeadCursor {
    /// Those in memory, sorted, the next one last.
    fresh: Vec<(IndexKey, Slot)>,
    /// Oldest first.
    runs: Vec<RunCursor>,
    condemned: Arc<Condemned>,
}

#[derive(Debug)]
struct RunCursor {
    run: Arc<Run>,
    block: u64,
    /// The entries of the block at hand, the next one last.
    entries: Vec<RunEntry>,
}

impl RunCursor {
    /// The next head, which stays the next.
    fn peek(&mut self) -> Result<Option<RunEntry>, EngineError> {
        loop {
            match self.entries.last() {
                Some(entry) if entry.kind == HEAD => return Ok(Some(*entry)),
                Some(_) => {
                    self.entries.pop();
                }
                None if self.block == self.run.block_count() => return Ok(None),
                None => {
                    self.entries = self.run.block_entries(self.block)?;
                    self.entries.reverse();
                    self.block += 1;
                }
            }
        }
    }
}

impl Index {
    /// A cursor over all heads.
    pub(crate) fn head_cursor(&self) -> HeadCursor {
        let (mut fresh, runs) = self.read_inner(|inner| {
            let frozen = inner.frozen.iter().flat_map(|frozen| &frozen.entries);
            let old = frozen.filter(|(key, _)| !inner.fresh.contains_key(key));
            let heads = old
                .chain(&inner.fresh)
                .filter(|(_, slot)| slot.kind == HEAD);
            let fresh: Vec<_> = heads.map(|(key, slot)| (*key, *slot)).collect();
            (fresh, Arc::clone(&inner.runs))
        });
        fresh.sort_unstable_by_key(|(key, _)| std::cmp::Reverse(*key));
        let runs = runs
            .iter()
            .map(|run| RunCursor {
                run: Arc::clone(run),
                block: 0,
                entries: Vec::new(),
            })
            .collect();
        HeadCursor {
            fresh,
            runs,
            condemned: Arc::clone(&self.condemned),
        }
    }
}

impl HeadCursor {
    /// The next head.
    pub(crate) fn next(&mut self) -> Result<Option<(IndexKey, Slot)>, EngineError> {
        self.advance().map_err(|error| self.condemned.note(error))
    }

    fn advance(&mut self) -> Result<Option<(IndexKey, Slot)>, EngineError> {
        let mut least: Option<(IndexKey, Slot)> = self.fresh.last().copied();
        for run in self.runs.iter_mut().rev() {
            if let Some(entry) = run.peek()?
                && least.is_none_or(|(key, _)| entry.key < key)
            {
                least = Some((entry.key, entry.into()));
            }
        }
        let Some((key, _)) = least else {
            return Ok(None);
        };
        if self.fresh.last().is_some_and(|(other, _)| *other == key) {
            self.fresh.pop();
        }
        for run in &mut self.runs {
            if run.peek()?.is_some_and(|entry| entry.key == key) {
                run.entries.pop();
            }
        }
        Ok(least)
    }
}
