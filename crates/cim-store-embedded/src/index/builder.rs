//! From memory to runs, and from many runs to few.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use crate::error::EngineError;
use crate::index::key::KeyMap;
use crate::index::manifest::RunInfo;
use crate::index::run::{Run, RunEntry, RunWriter};
use crate::index::{Frozen, Index};

/// Entries in memory may become so many times as many as make a run before the writer waits.
const PATIENCE: usize = 4;
/// Entries that one group can add.
const MOST_AT_ONCE: usize = 4_096;
/// So many runs of one level become one of the next.
const FAN_IN: usize = 4;

impl Index {
    /// Sets the new entries apart for a run, unless those set apart before have not become one yet
    /// and there is still room in memory. Then the next group asks again.
    pub(crate) fn freeze_unless_busy(&self) -> bool {
        if self.is_freezing() && self.fresh_entries() < PATIENCE * self.setting.fresh_entries {
            return false;
        }
        self.freeze()
    }

    /// Sets the new entries apart for a run. Waits until those set apart before have become one,
    /// which bounds memory. Returns false where there are none.
    pub(crate) fn freeze(&self) -> bool {
        let mut freezing = self.freezing.lock().unwrap_or_else(PoisonError::into_inner);
        while *freezing {
            freezing = self
                .thawed
                .wait(freezing)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let frozen = self.write_inner(|inner| {
            if inner.fresh.is_empty() {
                return false;
            }
            let next = KeyMap::with_capacity_and_hasher(inner.fresh.len(), Default::default());
            let entries = std::mem::replace(&mut inner.fresh, next);
            let (reached, heads) = (inner.reached, inner.heads);
            let carried = inner.carried.clone();
            inner.frozen = Some(Arc::new(Frozen {
                entries,
                reached,
                heads,
                carried,
            }));
            true
        });
        *freezing = frozen;
        frozen
    }

    /// Why the index can't go on, if it can't. Its owner then closes: a new opening mends it.
    pub(crate) fn failure(&self) -> Option<&'static str> {
        if self.is_broken() {
            Some("its index is damaged; opening it again rebuilds it")
        } else if self.unwritten.load(Ordering::Acquire)
            && self.fresh_entries() > 2 * PATIENCE * self.setting.fresh_entries.max(MOST_AT_ONCE)
        {
            Some("its index can't be written to the disk and memory is bounded")
        } else {
            None
        }
    }

    /// Writes what was set apart to a run and merges runs. In the background.
    pub(crate) fn build(&self) -> Result<(), EngineError> {
        let built = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.build_run()))
            .unwrap_or_else(|_| {
                let what = "writing a run ended early";
                let error = EngineError::index(what, &self.setting.directory);
                Err(self.condemn(error))
            });
        self.unwritten.store(built.is_err(), Ordering::Release);
        if built.is_err() {
            // The entries stay in memory and the manifest behind; nothing is lost by it.
            self.write_inner(|inner| {
                if let Some(frozen) = inner.frozen.take() {
                    let newer = std::mem::take(&mut inner.fresh);
                    inner.fresh = frozen.entries.clone();
                    inner.fresh.extend(newer);
                }
            });
        }
        *self.freezing.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.thawed.notify_all();
        built?;
        // What waits to become a run comes before merging, which only makes lookups quicker.
        while !self.is_freezing() && self.merge_once()? {}
        Ok(())
    }

    fn is_freezing(&self) -> bool {
        *self.freezing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn build_run(&self) -> Result<(), EngineError> {
        let Some(frozen) = self.read_inner(|inner| inner.frozen.clone()) else {
            return Ok(());
        };
        let mut entries: Vec<RunEntry> = frozen
            .entries
            .iter()
            .map(|(key, slot)| RunEntry {
                key: *key,
                place: slot.place,
                kind: slot.kind,
                number: slot.number,
            })
            .collect();
        entries.sort_unstable_by_key(|entry| entry.key);
        let count = entries.len() as u64;
        let (run, info) = self.write_run(0, count, |writer| {
            entries.into_iter().try_for_each(|entry| writer.push(entry))
        })?;
        self.replace_runs(
            run,
            info,
            |_| false,
            |manifest| {
                manifest.set_reached(frozen.reached);
                manifest.heads = frozen.heads;
                manifest.carried = frozen.carried.clone();
            },
        )
    }

    fn write_run(
        &self,
        level: u32,
        most: u64,
        fill: impl FnOnce(&mut RunWriter) -> Result<(), EngineError>,
    ) -> Result<(Arc<Run>, RunInfo), EngineError> {
        let (disk, salt) = (&*self.setting.disk, self.setting.salt);
        let id = self.write_inner(|inner| {
            inner.manifest.next_id += 1;
            inner.manifest.next_id - 1
        });
        let path = self.setting.run_path(id);
        let mut writer = RunWriter::create(disk, &path, id, salt, most)?;
        fill(&mut writer)?;
        let entries = writer.finish()?;
        disk.sync_dir(&self.setting.directory)
            .map_err(EngineError::io("flush", &self.setting.directory))?;
        let run = Run::open(disk, &path, id, salt)?;
        Ok((Arc::new(run), RunInfo { id, level, entries }))
    }

    /// Makes `run` the newest of the runs that stay, durably and then for readers.
    fn replace_runs(
        &self,
        run: Arc<Run>,
        info: RunInfo,
        merged: impl Fn(u64) -> bool,
        change: impl FnOnce(&mut crate::index::manifest::Manifest),
    ) -> Result<(), EngineError> {
        if self.is_broken() {
            return Err(EngineError::index(
                "it was found damaged before",
                &self.setting.directory,
            ));
        }
        let (mut manifest, runs) =
            self.read_inner(|inner| (inner.manifest.clone(), Arc::clone(&inner.runs)));
        let staying: Vec<Arc<Run>> = runs
            .iter()
            .zip(&manifest.runs)
            .filter(|(_, info)| !merged(info.id))
            .map(|(run, _)| Arc::clone(run))
            .chain([run])
            .collect();
        let gone: Vec<u64> = manifest
            .runs
            .iter()
            .map(|info| info.id)
            .filter(|id| merged(*id))
            .collect();
        manifest.runs.retain(|info| !merged(info.id));
        manifest.runs.push(info);
        change(&mut manifest);
        manifest.write(&self.setting)?;
        if self.is_broken() {
            // It was found damaged meanwhile, and its manifest must not come back.
            self.condemned.remove_manifest();
        }
        let thaws = gone.is_empty();
        self.write_inner(|inner| {
            manifest.next_id = inner.manifest.next_id;
            inner.manifest = manifest;
            inner.runs = Arc::new(staying);
            if thaws {
                inner.frozen = None;
                self.generation.fetch_add(1, Ordering::AcqRel);
            }
        });
        for id in gone {
            let path = self.setting.run_path(id);
            self.setting
                .disk
                .remove(&path)
                .map_err(EngineError::io("remove", &path))?;
        }
        Ok(())
    }

    /// Merges the newest runs if enough of them have the same level. The merged ones are always
    /// the newest, so the order of age is kept.
    fn merge_once(&self) -> Result<bool, EngineError> {
        let (infos, runs) =
            self.read_inner(|inner| (inner.manifest.runs.clone(), Arc::clone(&inner.runs)));
        let Some(level) = infos.last().map(|info| info.level) else {
            return Ok(false);
        };
        let equal = infos
            .iter()
            .rev()
            .take_while(|info| info.level == level)
            .count();
        if equal < FAN_IN {
            return Ok(false);
        }
        let from = infos.len() - equal;
        let most = infos[from..].iter().map(|info| info.entries).sum();
        let (run, info) = self
            .write_run(level + 1, most, |writer| merge(&runs[from..], writer))
            .map_err(|error| self.condemn(error))?;
        let merged: Vec<u64> = infos[from..].iter().map(|info| info.id).collect();
        self.replace_runs(run, info, |id| merged.contains(&id), |_| {})?;
        Ok(true)
    }
}

/// Writes the entries of all runs, oldest run first, in the order of their keys. Of equal keys
/// the one in the newest run counts.
fn merge(runs: &[Arc<Run>], writer: &mut RunWriter) -> Result<(), EngineError> {
    let mut sources: Vec<RunReader<'_>> = runs.iter().map(|run| RunReader::new(run)).collect();
    // The smallest key first and, of equal keys, the newest run.
    let mut heap = BinaryHeap::with_capacity(sources.len());
    for (age, source) in sources.iter_mut().enumerate() {
        if let Some(entry) = source.next()? {
            heap.push(Reverse((entry.key, Reverse(age))));
            source.current = Some(entry);
        }
    }
    let mut last = None;
    while let Some(Reverse((key, Reverse(age)))) = heap.pop() {
        let source = &mut sources[age];
        let entry = source.current.take();
        if let Some(next) = source.next()? {
            heap.push(Reverse((next.key, Reverse(age))));
            source.current = Some(next);
        }
        if let Some(entry) = entry
            && last != Some(key)
        {
            writer.push(entry)?;
            last = Some(key);
        }
    }
    Ok(())
}

/// Goes over one run's entries.
pub(super) struct RunReader<'a> {
    run: &'a Run,
    block: u64,
    entries: std::vec::IntoIter<RunEntry>,
    current: Option<RunEntry>,
}

impl<'a> RunReader<'a> {
    pub(super) fn new(run: &'a Run) -> Self {
        Self {
            run,
            block: 0,
            entries: Vec::new().into_iter(),
            current: None,
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<RunEntry>, EngineError> {
        loop {
            if let Some(entry) = self.entries.next() {
                return Ok(Some(entry));
            }
            if self.block == self.run.block_count() {
                return Ok(None);
            }
            self.entries = self.run.block_entries(self.block)?.into_iter();
            self.block += 1;
        }
    }
}
