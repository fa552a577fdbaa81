//! A journal: checksummed, append-only segment files with one writer and any number of readers.
//!
//! Events and buckets each have a journal of their own; what their records mean is their matter.
//! Here is what both share: files, recovery, reading, and the flush that comes before every
//! acknowledgement.

pub(crate) mod mark;
pub(crate) mod record;
pub(crate) mod recovery;
pub(crate) mod scan;
pub(crate) mod segment;
pub(crate) mod survey;
pub(crate) mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::checked_file;
use crate::disk::Disk;
use crate::error::EngineError;
use crate::journal::mark::Reached;
use crate::journal::record::{Header, Place, Salt};
use crate::journal::segment::{Segment, View};

/// What distinguishes one journal of a store from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Family {
    /// The name of its directory.
    pub(crate) name: &'static str,
    /// What stands in its segments' headers.
    pub(crate) code: u32,
}

/// Everything that is the same for a journal as long as it is open.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) directory: PathBuf,
    pub(crate) family: Family,
    pub(crate) store: [u8; 16],
    pub(crate) salt: Salt,
    /// A segment that has grown to this is followed by a new one.
    pub(crate) segment_bytes: u64,
    /// Whether a journal without a mark is taken to end where its records do.
    pub(crate) accept_end: bool,
}

impl Setting {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub(crate) fn segment_path(&self, number: u32) -> PathBuf {
        self.path(&format!("{number:010}.seg"))
    }
}

/// Segments with numbers from here on carry what is still known of what was given up.
pub(crate) const CARRIED: u32 = 1 << 31;

/// What is known of a journal beside its segments: replaced whole when it changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// The oldest segment there is.
    pub(crate) first_segment: u32,
    /// What was at positions up to here has been given up.
    pub(crate) truncated_through: u64,
    /// The file of what is still known of it.
    pub(crate) carried: Option<String>,
}

impl State {
    pub(crate) const FILE: &'static str = "state.json";

    pub(crate) fn read(setting: &Setting) -> Result<Self, EngineError> {
        checked_file::read(&*setting.disk, &setting.path(Self::FILE))
    }

    pub(crate) fn write(&self, setting: &Setting) -> Result<(), EngineError> {
        checked_file::write(&*setting.disk, &setting.path(Self::FILE), self)
    }
}

/// How far readers may read, and whether more will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    pub(crate) reached: Reached,
    pub(crate) closed: bool,
}

/// The segment of what is carried, and the one before it: the index leads to that one until it has
/// read the new one.
#[derive(Debug, Default)]
struct Carried {
    now: Option<Arc<Segment>>,
    before: Option<Arc<Segment>>,
}

/// The reading side of a journal.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(crate) setting: Setting,
    segments: RwLock<Arc<Vec<Arc<Segment>>>>,
    /// What is still known of what was given up.
    carried: RwLock<Carried>,
    tail: watch::Sender<Tail>,
    closed_because: Mutex<Option<String>>,
    /// Views that were taken so far.
    views: AtomicU32,
}

/// How many bytes of files may be mapped and in memory.
const MOST_MAPPED_BYTES: u64 = 1 << 30;
const VIEWS_BETWEEN_LOOKS: u32 = 512;
/// So many of the newest segments are kept open.
const KEPT_OPEN: usize = 256;

/// Bytes of files that are mapped and in the process's memory; 0 where the system does not tell.
fn mapped_bytes() -> u64 {
    let Ok(text) = std::fs::read_to_string("/proc/self/statm") else {
        return 0;
    };
    let pages = text
        .split(' ')
        .nth(2)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

impl Journal {
    pub(crate) fn new(setting: Setting, segments: Vec<Arc<Segment>>, reached: Reached) -> Self {
        let old = segments.len().saturating_sub(KEPT_OPEN);
        segments.iter().take(old).for_each(|segment| segment.rest());
        Self {
            setting,
            segments: RwLock::new(Arc::new(segments)),
            carried: RwLock::default(),
            tail: watch::Sender::new(Tail {
                reached,
                closed: false,
            }),
            closed_because: Mutex::new(None),
            views: AtomicU32::new(0),
        }
    }

    /// The segments as they are now, oldest first.
    pub(crate) fn segments(&self) -> Arc<Vec<Arc<Segment>>> {
        Arc::clone(&self.segments.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The segment with this number.
    pub(crate) fn segment(&self, number: u32) -> Option<Arc<Segment>> {
        if number >= CARRIED {
            let carried = self.carried.read().unwrap_or_else(PoisonError::into_inner);
            let mut both = carried.now.iter().chain(&carried.before);
            return both.find(|segment| segment.number() == number).cloned();
        }
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        let first = segments.first()?.number();
        segments.get(number.checked_sub(first)? as usize).cloned()
    }

    /// The number of the oldest segment.
    pub(crate) fn first_segment(&self) -> u32 {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments.first().map_or(0, |segment| segment.number())
    }

    /// What is still known of what was given up.
    pub(crate) fn carried(&self) -> Option<Arc<Segment>> {
        self.carried
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .now
            .clone()
    }

    pub(crate) fn set_carried(&self, segment: Arc<Segment>) {
        let mut carried = self.carried.write().unwrap_or_else(PoisonError::into_inner);
        carried.before = carried.now.replace(segment);
    }

    /// Whether the record that was at this place has been given up.
    pub(crate) fn has_given_up(&self, place: Place) -> bool {
        place.segment() < self.first_segment() || place.segment() >= CARRIED
    }

    pub(crate) fn add_segment(&self, segment: Arc<Segment>) {
        let mut segments = self
            .segments
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let mut extended = Vec::clone(&segments);
        extended.push(segment);
        if let Some(old) = extended.len().checked_sub(KEPT_OPEN + 1)
            && let Some(old) = extended.get(old)
        {
            old.rest();
        }
        *segments = Arc::new(extended);
    }

    /// Forgets the segments before `first`; readers that are under way keep theirs.
    pub(crate) fn drop_segments_before(&self, first: u32) -> Vec<Arc<Segment>> {
        let mut segments = self
            .segments
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let (gone, kept) = segments
            .iter()
            .cloned()
            .partition(|one| one.number() < first);
        *segments = Arc::new(kept);
        gone
    }

    /// Appends the body of the record at `place` to `arena`, checked, and returns its header.
    pub(crate) fn read_into(
        &self,
        place: Place,
        arena: &mut Vec<u8>,
    ) -> Result<Header, EngineError> {
        self.located(place)?
            .read_into(u64::from(place.offset()), arena)
    }

    /// A view that covers the record at `place`.
    pub(crate) fn view(&self, place: Place) -> Result<View, EngineError> {
        self.bound_mappings();
        View::of(self.located(place)?, place)
    }

    fn located(&self, place: Place) -> Result<Arc<Segment>, EngineError> {
        self.segment(place.segment()).ok_or_else(|| {
            let path = self.setting.segment_path(place.segment());
            EngineError::damage("a record is missed in a file that is not there", &path, 0)
        })
    }

    /// Gives mappings back when they hold too much of the files. The system would take the pages
    /// back if it needed them, but until then they count as the process's memory.
    fn bound_mappings(&self) {
        let views = self.views.fetch_add(1, Ordering::Relaxed);
        if views.is_multiple_of(VIEWS_BETWEEN_LOOKS) && mapped_bytes() > MOST_MAPPED_BYTES {
            for segment in self.segments().iter() {
                segment.unmap();
            }
        }
    }

    /// How far readers may read.
    pub(crate) fn reached(&self) -> Reached {
        self.tail.borrow().reached
    }

    /// Tells when there is more to read.
    pub(crate) fn watch(&self) -> watch::Receiver<Tail> {
        self.tail.subscribe()
    }

    pub(crate) fn publish(&self, reached: Reached) {
        self.tail.send_modify(|tail| tail.reached = reached);
    }

    /// Ends writing for good; the first reason counts.
    pub(crate) fn close(&self, because: Option<String>) {
        let mut reason = self
            .closed_because
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if reason.is_none() {
            *reason = Some(because.unwrap_or_default());
        }
        drop(reason);
        self.tail.send_modify(|tail| tail.closed = true);
    }

    /// The error that says why the journal is closed, if it is.
    pub(crate) fn closed(&self) -> Option<EngineError> {
        let reason = self
            .closed_because
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        reason.as_ref().map(|reason| EngineError::Closed {
            because: if reason.is_empty() {
                String::new()
            } else {
                format!(" because {reason}")
            },
        })
    }

    /// Bytes of the records.
    pub(crate) fn record_bytes(&self) -> u64 {
        self.segments().iter().map(|segment| segment.end()).sum()
    }

    /// Bytes of the files of records.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments()
            .iter()
            .map(|segment| segment.file.len().unwrap_or(0))
            .sum()
    }
}

/// The number in the name of a segment's file.
pub(crate) fn segment_number(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".seg")?;
    if digits.len() == 10 {
        digits.parse().ok()
    } else {
        None
    }
}

/// Removes files that were begun and never put into their place.
pub(crate) fn remove_unfinished(disk: &dyn Disk, directory: &Path) -> Result<(), EngineError> {
    let names = disk
        .list(directory)
        .map_err(EngineError::io("list", directory))?;
    for name in names.iter().filter(|name| name.ends_with(".new")) {
        let path = directory.join(name);
        disk.remove(&path)
            .map_err(EngineError::io("remove", &path))?;
    }
    Ok(())
}
