//! The index: from the name of a stream, a commit or a key to a place in the journal.
//!
//! It can be made anew from the journal at any time, so it is never flushed before an
//! acknowledgement. New entries stay in memory, bounded; a background thread writes them to
//! [runs](run) and merges runs, so that few have to be asked. At opening, what the runs don't
//! reach is read from the journal; where anything of the index does not check, all of it is.

pub(crate) mod builder;
pub(crate) mod cursor;
pub(crate) mod key;
pub(crate) mod manifest;
pub(crate) mod run;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};

use crate::disk::Disk;
use crate::error::EngineError;
use crate::index::key::{IndexKey, KeyMap};
use crate::index::manifest::{IndexSetting, Manifest};
use crate::index::run::{Run, RunEntry};
use crate::journal::mark::Reached;
use crate::journal::record::Place;

/// The last event of a stream, or the last change of a key.
pub(crate) const HEAD: u8 = 1;
/// The first record of a commit.
pub(crate) const COMMIT: u8 = 2;
/// An event of a stream at a version that is a multiple of [`key::STEP`].
pub(crate) const STEP: u8 = 3;

/// What stands under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) kind: u8,
    pub(crate) place: Place,
    /// The version or revision of what stands there.
    pub(crate) number: u64,
    /// What else is known of it, while it is new.
    pub(crate) detail: Option<Detail>,
}

/// What a head says beside its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Detail {
    pub(crate) sequence: u64,
    pub(crate) digest: [u8; 32],
}

impl From<RunEntry> for Slot {
    fn from(entry: RunEntry) -> Self {
        Self {
            kind: entry.kind,
            place: entry.place,
            number: entry.number,
            detail: None,
        }
    }
}

/// The index of one journal.
#[derive(Debug)]
pub(crate) struct Index {
    setting: IndexSetting,
    inner: RwLock<Inner>,
    /// Increases whenever entries leave memory.
    generation: AtomicU64,
    /// Told when the frozen entries have become a run.
    thawed: Condvar,
    freezing: Mutex<bool>,
    /// Whether the last attempt to write a run failed.
    unwritten: AtomicBool,
    condemned: Arc<Condemned>,
}

/// Remembers that an index was found damaged, and takes care that the next opening makes it anew.
#[derive(Debug)]
pub(crate) struct Condemned {
    disk: Arc<dyn Disk>,
    manifest: PathBuf,
    because: Mutex<Option<String>>,
}

impl Condemned {
    /// Passes an error on; where it says that the index is damaged, this is remembered.
    pub(crate) fn note(&self, error: EngineError) -> EngineError {
        if matches!(error, EngineError::IndexDamage { .. }) {
            let mut because = self.because.lock().unwrap_or_else(PoisonError::into_inner);
            if because.is_none() {
                *because = Some(error.to_string());
                self.remove_manifest();
            }
        }
        error
    }

    /// Without its manifest an index can't be taken for whole. Where even that fails, the damage
    /// is found again.
    fn remove_manifest(&self) {
        let _ = self.disk.remove(&self.manifest);
    }

    fn is_set(&self) -> bool {
        let because = self.because.lock().unwrap_or_else(PoisonError::into_inner);
        because.is_some()
    }
}

#[derive(Debug)]
struct Inner {
    /// Entries since the last freeze.
    fresh: KeyMap<Slot>,
    /// Entries that are being written to a run.
    frozen: Option<Arc<Frozen>>,
    manifest: Manifest,
    runs: Arc<Vec<Arc<Run>>>,
    heads: u64,
    reached: Reached,
    carried: Option<String>,
}

/// Entries that become a run, and what the manifest will say then.
#[derive(Debug)]
pub(crate) struct Frozen {
    entries: KeyMap<Slot>,
    reached: Reached,
    heads: u64,
    carried: Option<String>,
}

impl Index {
    /// Opens the index as it was left.
    pub(crate) fn open(setting: IndexSetting) -> Result<Self, EngineError> {
        let index = Self::look_at(setting)?;
        index.remove_strays()?;
        Ok(index)
    }

    /// Opens the index as it was left, and changes nothing of it.
    pub(crate) fn look_at(setting: IndexSetting) -> Result<Self, EngineError> {
        let manifest = Manifest::read(&setting)?;
        let mut runs = Vec::with_capacity(manifest.runs.len());
        for info in &manifest.runs {
            let path = setting.run_path(info.id);
            let run = Run::open(&*setting.disk, &path, info.id, setting.salt)?;
            if run.entries != info.entries {
                return Err(EngineError::index(
                    "a run has another number of entries",
                    &path,
                ));
            }
            runs.push(Arc::new(run));
        }
        Ok(Self::with(setting, manifest, runs))
    }

    /// An empty index in place of whatever is there; it reaches to `start`.
    pub(crate) fn create(setting: IndexSetting, start: Reached) -> Result<Self, EngineError> {
        let directory = &setting.directory;
        let disk = &*setting.disk;
        disk.create_dir(directory)
            .map_err(EngineError::io("make the directory", directory))?;
        let manifest = setting.manifest_path();
        disk.remove(&manifest)
            .map_err(EngineError::io("remove", &manifest))?;
        // Ids are never used twice, so that no manifest from before can take a run for another.
        let names = disk
            .list(directory)
            .map_err(EngineError::io("list", directory))?;
        let used = names.iter().filter_map(|name| run_id(name)).max();
        let manifest = Manifest::empty(start, used.map_or(1, |id| id + 1));
        let index = Self::with(setting, manifest, Vec::new());
        index.remove_strays()?;
        index.read_inner(|inner| inner.manifest.write(&index.setting))?;
        Ok(index)
    }

    fn with(setting: IndexSetting, manifest: Manifest, runs: Vec<Arc<Run>>) -> Self {
        let inner = Inner {
            fresh: KeyMap::default(),
            frozen: None,
            heads: manifest.heads,
            reached: manifest.reached(),
            carried: manifest.carried.clone(),
            runs: Arc::new(runs),
            manifest,
        };
        let condemned = Arc::new(Condemned {
            disk: Arc::clone(&setting.disk),
            manifest: setting.manifest_path(),
            because: Mutex::new(None),
        });
        Self {
            setting,
            inner: RwLock::new(inner),
            generation: AtomicU64::new(0),
            thawed: Condvar::new(),
            freezing: Mutex::new(false),
            unwritten: AtomicBool::new(false),
            condemned,
        }
    }

    /// Removes files of runs that the manifest does not name.
    fn remove_strays(&self) -> Result<(), EngineError> {
        let directory = &self.setting.directory;
        let names = self
            .setting
            .disk
            .list(directory)
            .map_err(EngineError::io("list", directory))?;
        let named: Vec<u64> =
            self.read_inner(|inner| inner.manifest.runs.iter().map(|run| run.id).collect());
        for name in names {
            let stray = match run_id(&name) {
                Some(id) => !named.contains(&id),
                None => name.ends_with(".new"),
            };
            if stray {
                let path = directory.join(name);
                self.setting
                    .disk
                    .remove(&path)
                    .map_err(EngineError::io("remove", &path))?;
            }
        }
        Ok(())
    }

    fn read_inner<T>(&self, read: impl FnOnce(&Inner) -> T) -> T {
        read(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write_inner<T>(&self, write: impl FnOnce(&mut Inner) -> T) -> T {
        write(&mut self.inner.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks a key up.
    pub(crate) fn get(&self, key: IndexKey) -> Result<Option<Slot>, EngineError> {
        let (fresh, runs) = self.read_inner(|inner| {
            let fresh = inner
                .fresh
                .get(&key)
                .or_else(|| inner.frozen.as_ref()?.entries.get(&key));
            (
                fresh.copied(),
                fresh.is_none().then(|| Arc::clone(&inner.runs)),
            )
        });
        let Some(runs) = runs else { return Ok(fresh) };
        for run in runs.iter().rev() {
            match run.get(key) {
                Ok(None) => {}
                Ok(Some(entry)) => return Ok(Some(entry.into())),
                Err(error) => return Err(self.condemn(error)),
            }
        }
        Ok(None)
    }

    /// Looks a key up among what is in memory.
    pub(crate) fn get_fresh(&self, key: IndexKey) -> Option<Slot> {
        self.read_inner(|inner| {
            let fresh = inner
                .fresh
                .get(&key)
                .or_else(|| inner.frozen.as_ref()?.entries.get(&key));
            fresh.copied()
        })
    }

    /// Increases whenever entries leave memory. What a lookup found after this was asked stays
    /// true, together with what is in memory, as long as it gives the same number.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Takes entries over; the journal was flushed up to `reached`, and has `new_heads` more
    /// streams or keys. Returns whether there are enough for a run.
    pub(crate) fn apply(
        &self,
        entries: impl IntoIterator<Item = (IndexKey, Slot)>,
        new_heads: u64,
        reached: Reached,
    ) -> bool {
        self.write_inner(|inner| {
            inner.fresh.extend(entries);
            inner.heads += new_heads;
            inner.reached = reached;
            inner.fresh.len() >= self.setting.fresh_entries
        })
    }

    /// How many entries are in memory and in no run yet.
    pub(crate) fn fresh_entries(&self) -> usize {
        self.read_inner(|inner| inner.fresh.len())
    }

    /// How many streams or keys there are.
    pub(crate) fn heads(&self) -> u64 {
        self.read_inner(|inner| inner.heads)
    }

    /// The file, of those that carry what is known of what was given up, that the index knows.
    pub(crate) fn carried(&self) -> Option<String> {
        self.read_inner(|inner| inner.carried.clone())
    }

    /// Whether the index's files don't say yet what it knows of what is carried: without them, the
    /// next opening makes it anew.
    pub(crate) fn lacks_carried(&self) -> bool {
        self.read_inner(|inner| inner.manifest.carried != inner.carried)
    }

    /// From now on the index knows what this file carries.
    pub(crate) fn set_carried(&self, file: Option<String>) {
        self.write_inner(|inner| inner.carried = file);
    }

    /// How far into the journal the index reaches.
    pub(crate) fn reached(&self) -> Reached {
        self.read_inner(|inner| inner.reached)
    }

    /// Passes an error on; where it says that the index is damaged, the next opening makes it
    /// anew.
    pub(crate) fn condemn(&self, error: EngineError) -> EngineError {
        self.condemned.note(error)
    }

    /// Whether something of the index was found damaged.
    pub(crate) fn is_broken(&self) -> bool {
        self.condemned.is_set()
    }
}

/// The id in the name of a run's file.
fn run_id(name: &str) -> Option<u64> {
    name.strip_suffix(".run")?.parse().ok()
}
