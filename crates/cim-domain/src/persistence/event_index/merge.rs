//! Merges runs, so that few have to be looked into: four of a size become one of the next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cim_store::Context;

use super::entry::{Entry, Table};
use super::error::{Fault, IndexError};
use super::inner::Inner;
use super::manifest::RunInfo;
use super::run::{RunReader, RunWriter};
use super::shelf::{MALFORMED, Shelf};
use super::taking::wait_for;

/// So many runs of a size are merged.
const GROUP: usize = 4;

impl Inner {
    /// Merges as long as there are enough runs of a size.
    pub(super) async fn merge(&self, ctx: &Context) -> Result<(), IndexError> {
        let _merging = wait_for(ctx, &self.merging, "merging runs of the index").await?;
        self.merge_wanted.store(false, Ordering::Relaxed);
        let mut tries = 0;
        loop {
            let (manifest, seen) = {
                let state = self.state();
                (Arc::clone(&state.manifest), state.revision)
            };
            let Some(group) = group(&manifest.runs, self.settings.newest_entries) else {
                return Ok(());
            };
            match self.merge_group(ctx, &group).await {
                Ok(()) => tries = 0,
                Err(fault) => {
                    // Its blocks may be gone because another process merged them.
                    self.recover(ctx, fault, seen, &mut tries).await?;
                }
            }
        }
    }

    async fn merge_group(&self, ctx: &Context, group: &[RunInfo]) -> Result<(), Fault> {
        let id = self.ids.next_uuid();
        let ids: Vec<_> = group.iter().map(|run| run.id).chain([id]).collect();
        self.shelf.mark_loose(ctx, &ids).await?;
        let mut writer = RunWriter::new(&self.shelf, ctx, id, self.settings.block_bytes);
        let mut sources = Vec::new();
        for run in group {
            sources.push(Source::new(&self.shelf, *run));
        }
        while let Some(entry) = next_of(&mut sources, ctx).await? {
            if writer.push(&entry) {
                writer.store().await?;
                tokio::task::coop::consume_budget().await;
            }
        }
        // What is merged is given up by the numbers of its blocks.
        if !sources.iter().all(Source::was_whole) {
            return Err(Fault::Damaged("a run is not what the manifest says"));
        }
        let Some(merged) = writer.finish().await? else {
            return Err(Fault::Damaged("runs that are to be merged are empty"));
        };
        let is_in = |run: &RunInfo| group.iter().any(|own| own.id == run.id);
        let published = self
            .publish(ctx, |manifest| {
                let there = manifest.runs.iter().filter(|run| is_in(run)).count();
                (there == group.len()).then(|| {
                    let mut next = manifest.clone();
                    next.runs.retain(|run| !is_in(run));
                    next.runs.push(merged);
                    next
                })
            })
            .await?;
        if !published {
            self.give_up(ctx, &merged).await?;
            return Ok(());
        }
        self.shelf.unmark(ctx, id).await?;
        for run in group {
            self.give_up(ctx, run).await?;
        }
        Ok(())
    }
}

/// The runs of the smallest size of which there are enough.
fn group(runs: &[RunInfo], newest_entries: usize) -> Option<Vec<RunInfo>> {
    let size = |run: &RunInfo| {
        let steps = (run.entries / newest_entries as u64).max(1);
        steps.ilog(GROUP as u64)
    };
    let largest = runs.iter().map(size).max()?;
    (0..=largest).find_map(|sought| {
        let group: Vec<_> = runs.iter().filter(|run| size(run) == sought).collect();
        (group.len() >= GROUP).then(|| group.into_iter().copied().collect())
    })
}

/// The entries of a run, one after the other.
struct Source {
    reader: RunReader,
    next: VecDeque<Entry>,
    entries: u64,
    last: Option<Entry>,
}

/// The first and the last entry that can be.
const FIRST: Entry = Entry {
    table: Table::Correlation,
    key: [0; 2],
    position: 0,
};
const LAST: Entry = Entry {
    table: Table::Tag,
    key: [u64::MAX; 2],
    position: u64::MAX,
};

impl Source {
    fn new(shelf: &Arc<Shelf>, run: RunInfo) -> Self {
        Self {
            reader: RunReader::new(Arc::clone(shelf), run, FIRST, false),
            next: VecDeque::new(),
            entries: 0,
            last: None,
        }
    }

    /// Whether it had as many blocks and entries as the manifest says, now that all were read.
    fn was_whole(&self) -> bool {
        let run = self.reader.run();
        (self.reader.blocks(), self.entries) == (run.blocks, run.entries)
    }

    async fn fill(&mut self, ctx: &Context) -> Result<(), Fault> {
        while self.next.is_empty() {
            let Some(leaf) = self.reader.next_leaf(ctx, &LAST).await? else {
                return Ok(());
            };
            let mut scan = leaf.scan();
            while let Some((entry, _)) = scan.next_item().ok_or(MALFORMED)? {
                if self.last.replace(entry).is_some_and(|last| last >= entry) {
                    return Err(Fault::Damaged(
                        "the entries of a run are not in their order",
                    ));
                }
                self.entries += 1;
                self.next.push_back(entry);
            }
        }
        Ok(())
    }
}

/// The smallest entry of all sources, taken from each that has it.
async fn next_of(sources: &mut [Source], ctx: &Context) -> Result<Option<Entry>, Fault> {
    for source in &mut *sources {
        if source.next.is_empty() {
            source.fill(ctx).await?;
        }
    }
    let first = |source: &Source| source.next.front().copied();
    let Some(smallest) = sources.iter().filter_map(first).min() else {
        return Ok(None);
    };
    for source in sources {
        if source.next.front() == Some(&smallest) {
            source.next.pop_front();
        }
    }
    Ok(Some(smallest))
}

#[cfg(test)]
mod tests {
    use super::super::block::Child;
    use super::*;
    use cim_store::Position;
    use uuid::Uuid;

    fn run(id: u128, entries: u64) -> RunInfo {
        RunInfo {
            id: Uuid::from_u128(id),
            entries,
            last: Position::NONE,
            blocks: 1,
            root: Child {
                number: 0,
                digest: [0; 32],
            },
        }
    }

    fn merged(sizes: &[u64]) -> Option<Vec<u64>> {
        let runs = (0..).zip(sizes).map(|(id, entries)| run(id, *entries));
        let group = group(&runs.collect::<Vec<_>>(), 100)?;
        Some(group.iter().map(|run| run.entries).collect())
    }

    #[test]
    fn four_of_a_size_are_merged_the_smallest_first() {
        assert_eq!(merged(&[]), None);
        assert_eq!(merged(&[100, 399, 5]), None);
        assert_eq!(
            merged(&[100, 400, 120, 5, 300]),
            Some(vec![100, 120, 5, 300])
        );
        assert_eq!(
            merged(&[400, 1599, 800, 700, 100, 99]),
            Some(vec![400, 1599, 800, 700])
        );
    }
}
