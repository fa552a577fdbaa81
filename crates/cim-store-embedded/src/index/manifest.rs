//! The manifest: which runs make up the index, and how far into the journal they reach.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::checked_file;
use crate::disk::Disk;
use crate::error::EngineError;
use crate::journal::mark::Reached;
use crate::journal::record::{Place, Salt};

/// Where an index lives.
#[derive(Clone, Debug)]
pub(crate) struct IndexSetting {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) directory: PathBuf,
    pub(crate) salt: Salt,
    /// So many new entries stay in memory before they become a run.
    pub(crate) fresh_entries: usize,
}

impl IndexSetting {
    pub(crate) fn manifest_path(&self) -> PathBuf {
        self.directory.join("manifest.json")
    }

    pub(crate) fn run_path(&self, id: u64) -> PathBuf {
        self.directory.join(format!("{id:010}.run"))
    }
}

/// One run in the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunInfo {
    pub(crate) id: u64,
    /// How often its entries were merged.
    pub(crate) level: u32,
    pub(crate) entries: u64,
}

/// What the manifest says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) next_id: u64,
    /// The place in the journal up to which everything is in the runs.
    pub(crate) end: u64,
    pub(crate) group: u64,
    pub(crate) sequence: u64,
    pub(crate) stored_at: i64,
    /// How many streams or keys there are.
    pub(crate) heads: u64,
    /// The file, of those that carry what is known of what was given up, that is in the runs.
    pub(crate) carried: Option<String>,
    /// Oldest first.
    pub(crate) runs: Vec<RunInfo>,
}

impl Manifest {
    /// An index of nothing.
    pub(crate) fn empty(start: Reached, next_id: u64) -> Self {
        let mut manifest = Self {
            next_id,
            end: 0,
            group: 0,
            sequence: 0,
            stored_at: 0,
            heads: 0,
            carried: None,
            runs: Vec::new(),
        };
        manifest.set_reached(start);
        manifest
    }

    pub(crate) fn reached(&self) -> Reached {
        Reached {
            end: Place::from_bits(self.end),
            group: self.group,
            sequence: self.sequence,
            stored_at: self.stored_at,
        }
    }

    pub(crate) fn set_reached(&mut self, reached: Reached) {
        self.end = reached.end.bits();
        self.group = reached.group;
        self.sequence = reached.sequence;
        self.stored_at = reached.stored_at;
    }

    pub(crate) fn read(setting: &IndexSetting) -> Result<Self, EngineError> {
        checked_file::read(&*setting.disk, &setting.manifest_path())
    }

    pub(crate) fn write(&self, setting: &IndexSetting) -> Result<(), EngineError> {
        checked_file::write(&*setting.disk, &setting.manifest_path(), self)
    }
}
