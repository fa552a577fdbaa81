//! How a store is opened.

use std::sync::Arc;

use cim_store::{Clock, IdGenerator, SystemClock, SystemIds};

use crate::disk::{Disk, RealDisk};

/// How a store is opened. The defaults suit most.
///
/// ```
/// use cim_store_embedded::EmbeddedSettings;
///
/// let settings = EmbeddedSettings::default().with_segment_bytes(32 << 20).must_exist();
///
/// // On a small machine: less of the index in memory.
/// let settings = settings.with_fresh_entries(16 << 10);
///
/// // The only copy, whose file `mark` is damaged: by decision of its owner.
/// let settings = settings.accept_end_without_mark();
/// ```
///
/// [`disk`](crate::disk) shows a store on a disk of a test's own.
#[derive(Clone, Debug)]
pub struct EmbeddedSettings {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdGenerator>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) must_exist: bool,
    pub(crate) segment_bytes: u64,
    pub(crate) fresh_entries: usize,
    pub(crate) accept_end: bool,
}

impl EmbeddedSettings {
    /// The size that segments have by default: 128 MiB.
    pub const SEGMENT_BYTES: u64 = 128 << 20;
    /// The smallest and the largest size that segments can have.
    pub const SEGMENT_BYTES_RANGE: std::ops::RangeInclusive<u64> = 4 << 10..=2 << 30;
    /// How many entries of the index stay in memory by default.
    pub const FRESH_ENTRIES: usize = 128 << 10;

    /// With another source of time.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// With another source of ids.
    #[must_use]
    pub fn with_ids(mut self, ids: Arc<dyn IdGenerator>) -> Self {
        self.ids = ids;
        self
    }

    /// With files on another disk than the machine's own. For tests of disks that fail.
    #[must_use]
    pub fn with_disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.disk = disk;
        self
    }

    /// Refuses to open a store that does not exist, instead of making it.
    #[must_use]
    pub fn must_exist(mut self) -> Self {
        self.must_exist = true;
        self
    }

    /// Opens a store whose file `mark` is missing or damaged: it is taken to end where its records
    /// do, and the mark is made anew.
    ///
    /// Without the mark nobody can say whether records at the very end are missing that had been
    /// acknowledged. So this is a decision of the owner, who has no better copy, and not a default.
    /// Everything else is checked as always.
    #[must_use]
    pub fn accept_end_without_mark(mut self) -> Self {
        self.accept_end = true;
        self
    }

    /// With segments that are followed by a new one when they have grown to this size, in bytes.
    /// Values outside [`SEGMENT_BYTES_RANGE`](Self::SEGMENT_BYTES_RANGE) become the nearest in it.
    ///
    /// Opening a store reads at most one segment whole, so larger ones open more slowly; smaller
    /// ones make more files. The size may differ from opening to opening.
    #[must_use]
    pub fn with_segment_bytes(mut self, bytes: u64) -> Self {
        let range = Self::SEGMENT_BYTES_RANGE;
        self.segment_bytes = bytes.clamp(*range.start(), *range.end());
        self
    }

    /// With at least this many new entries of the index in memory before they are written to a
    /// file. An entry takes about 150 bytes. While the disk is slow up to eight times as many can be in
    /// memory, and then the writer waits;
    /// where it can't be written at all, the store closes itself for writing.
    #[must_use]
    pub fn with_fresh_entries(mut self, entries: usize) -> Self {
        self.fresh_entries = entries.max(1);
        self
    }
}

impl Default for EmbeddedSettings {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            ids: Arc::new(SystemIds),
            disk: Arc::new(RealDisk),
            must_exist: false,
            segment_bytes: Self::SEGMENT_BYTES,
            fresh_entries: Self::FRESH_ENTRIES,
            accept_end: false,
        }
    }
}
