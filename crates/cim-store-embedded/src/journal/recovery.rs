//! Opening a journal: finding its end, telling a torn end from damage, and refusing damage.
//!
//! What is cut at opening must never have been acknowledged. The proof has three parts:
//! a record before the [mark](crate::journal::mark) had been flushed; so had one that is followed
//! by a whole record of a later flush; and so had one in a segment that another segment follows.
//! In these cases a record that does not check is damage and the journal does not open. What is
//! left is the last flush, which was under way when the process or the machine stopped.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::EngineError;
use crate::journal::mark::{MarkFile, Reached};
use crate::journal::record::{
    FIRST_OF_COMMIT, Header, LAST_OF_COMMIT, LAST_OF_GROUP, MOVED, Mismatch, Place, find_later,
};
use crate::journal::segment::{FIRST_OFFSET, LastRecord, Segment, SegmentHeader, Waypoint};
use crate::journal::{Journal, Setting, State, remove_unfinished, segment_number};

/// The kind of a record that holds nothing: it closes the group of a torn write.
pub(crate) const SEAM: u8 = 0;

/// The end of a write that was under way when the process or the machine stopped, and that was
/// never acknowledged: it was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TornTail {
    /// The file.
    pub path: PathBuf,
    /// Where the cut was made.
    pub offset: u64,
    /// How many bytes behind it had been written.
    pub bytes: u64,
}

impl fmt::Display for TornTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cut {} bytes of an unfinished, unacknowledged write off {} at byte {}",
            self.bytes,
            self.path.display(),
            self.offset
        )
    }
}

/// A journal that was opened.
pub(crate) struct Recovered {
    pub(crate) journal: Journal,
    pub(crate) state: State,
    pub(crate) mark: MarkFile,
    /// What the footer of the active segment will say.
    pub(crate) last: LastRecord,
    /// Whether the last record closes its group.
    pub(crate) group_closed: bool,
    pub(crate) torn: Option<TornTail>,
}

/// Makes the files of an empty journal, durably. What an unfinished making left is removed; where
/// there are records, which an unfinished making never leaves, it is refused.
pub(crate) fn create(setting: &Setting) -> Result<(), EngineError> {
    let disk = &*setting.disk;
    let directory = &setting.directory;
    disk.create_dir(directory)
        .map_err(EngineError::io("make the directory", directory))?;
    let names = disk
        .list(directory)
        .map_err(EngineError::io("list", directory))?;
    for name in names.iter().filter(|name| name.ends_with(".seg")) {
        let path = directory.join(name);
        let len = disk.open(&path, false).and_then(|file| file.len());
        let len = len.map_err(EngineError::io("read", &path))?;
        if segment_number(name) != Some(1) || len > FIRST_OFFSET {
            let what = "records stand although the store is said to be unfinished";
            return Err(EngineError::damage(what, &path, FIRST_OFFSET));
        }
    }
    for name in names {
        let path = directory.join(name);
        if path.extension().is_some() || path.ends_with("mark") {
            disk.remove(&path)
                .map_err(EngineError::io("remove", &path))?;
        }
    }
    let header = SegmentHeader {
        family: setting.family.code,
        number: 1,
        first_sequence: 1,
        first_group: 1,
        previous_end: 0,
        stored_at: i64::MIN,
    };
    create_segment(setting, header)?;
    let reached = Reached {
        end: Place::new(1, FIRST_OFFSET as u32),
        group: 0,
        sequence: 0,
        stored_at: i64::MIN,
    };
    MarkFile::create(disk, &setting.path("mark"), setting.salt, reached)?;
    State {
        first_segment: 1,
        truncated_through: 0,
        carried: None,
    }
    .write(setting)
}

/// Makes the file of a new segment, durably, with its name.
pub(crate) fn create_segment(
    setting: &Setting,
    header: SegmentHeader,
) -> Result<Segment, EngineError> {
    let disk = &*setting.disk;
    let path = setting.segment_path(header.number);
    let fresh = path.with_extension("seg.new");
    let write = || {
        disk.remove(&fresh)?;
        let file = disk.open(&fresh, true)?;
        file.write_at(&header.encode(&setting.store, setting.salt), 0)?;
        file.sync()?;
        disk.rename(&fresh, &path)?;
        disk.sync_dir(&setting.directory)?;
        Ok(file)
    };
    let file = write().map_err(EngineError::io("make", &path))?;
    Ok(Segment::new(header, path, file, setting.salt, FIRST_OFFSET))
}

/// Opens a journal.
pub(crate) fn open(setting: Setting) -> Result<Recovered, EngineError> {
    let disk = &*setting.disk;
    let state = State::read(&setting)?;
    remove_unfinished(disk, &setting.directory)?;
    let segments = open_segments(&setting, &state)?;
    let mark_path = setting.path("mark");
    let opened = MarkFile::open(disk, &mark_path, setting.salt);
    let (mark, marked) = match opened {
        Ok((mark, marked)) => (Some(mark), marked),
        // Nothing is known to have been flushed; the owner takes what there is.
        Err(_) if setting.accept_end => {
            let nothing = Reached {
                end: Place::NONE,
                group: 0,
                sequence: 0,
                stored_at: i64::MIN,
            };
            (None, nothing)
        }
        Err(error) => return Err(error),
    };
    let Some((active, sealed)) = segments.split_last() else {
        let path = setting.segment_path(state.first_segment);
        return Err(EngineError::damage("a segment is missing", &path, 0));
    };
    for pair in segments.windows(2) {
        let [one, next] = pair else { continue };
        if !one.take_footer()? {
            reseal(one, &next.header)?;
        }
    }
    check_sequence(&setting, &segments)?;
    check_mark(&setting, &segments, marked)?;
    let start = sealed.last().and_then(|segment| segment.footer()).map_or(
        Reached {
            end: active.place(FIRST_OFFSET),
            group: active.header.first_group - 1,
            sequence: active.header.first_sequence - 1,
            stored_at: active.header.stored_at,
        },
        |footer| Reached {
            end: active.place(FIRST_OFFSET),
            group: footer.last_group,
            sequence: footer.last_sequence,
            stored_at: footer.last_stored_at,
        },
    );
    let found = find_end(active, start, marked)?;
    let reached = found.reached;
    let mark = match mark {
        Some(mark) => mark,
        None => {
            disk.remove(&mark_path)
                .map_err(EngineError::io("remove", &mark_path))?;
            MarkFile::create(disk, &mark_path, setting.salt, reached)?
        }
    };
    let last = LastRecord {
        records: found.records,
        sequence: reached.sequence,
        group: reached.group,
        stored_at: reached.stored_at,
    };
    let torn = found.torn;
    let group_closed = found.group_closed;
    Ok(Recovered {
        journal: Journal::new(setting, segments, reached),
        state,
        mark,
        last,
        group_closed,
        torn,
    })
}

fn open_segments(setting: &Setting, state: &State) -> Result<Vec<Arc<Segment>>, EngineError> {
    let disk = &*setting.disk;
    let names = disk
        .list(&setting.directory)
        .map_err(EngineError::io("list", &setting.directory))?;
    let mut numbers: Vec<u32> = names
        .iter()
        .filter_map(|name| segment_number(name))
        .collect();
    numbers.sort_unstable();
    let mut segments = Vec::with_capacity(numbers.len());
    let mut expected = state.first_segment;
    for number in numbers {
        let path = setting.segment_path(number);
        if number < state.first_segment {
            // Given up before, and not yet removed when the process stopped.
            disk.remove(&path)
                .map_err(EngineError::io("remove", &path))?;
            continue;
        }
        if number != expected {
            let missing = setting.segment_path(expected);
            return Err(EngineError::damage("a segment is missing", &missing, 0));
        }
        let file = disk
            .open(&path, false)
            .map_err(EngineError::io("open", &path))?;
        let segment = Segment::open(&path, file, setting.family.code, number, setting.salt)?;
        segments.push(Arc::new(segment));
        expected += 1;
    }
    Ok(segments)
}

/// Seals a segment again, whose footer was not finished or is damaged. All its records are read
/// and must be whole, so nothing depends on what the footer said.
fn reseal(segment: &Segment, next: &SegmentHeader) -> Result<(), EngineError> {
    let len = segment
        .file
        .len()
        .map_err(EngineError::io("read", &segment.path))?;
    if next.previous_end > len || next.previous_end < FIRST_OFFSET {
        return Err(segment.damage("the file is shorter than its records", len));
    }
    let start = Reached {
        end: segment.place(FIRST_OFFSET),
        group: segment.header.first_group - 1,
        sequence: segment.header.first_sequence - 1,
        stored_at: segment.header.stored_at,
    };
    let mut reader = ActiveReader::new(segment, start);
    while reader.offset < next.previous_end {
        if let Err(mismatch) = reader.next(next.previous_end)? {
            return Err(segment.damage(mismatch.to_string(), reader.offset));
        }
    }
    segment.set_end(next.previous_end);
    segment.seal(LastRecord {
        records: reader.records,
        sequence: reader.reached.sequence,
        group: reader.reached.group,
        stored_at: reader.reached.stored_at,
    })
}

/// Checks that every segment goes on where the one before it ends.
fn check_sequence(setting: &Setting, segments: &[Arc<Segment>]) -> Result<(), EngineError> {
    for pair in segments.windows(2) {
        let [one, next] = pair else { continue };
        let Some(footer) = one.footer() else { continue };
        let goes_on = next.header.previous_end == footer.end
            && next.header.first_group == footer.last_group + 1
            && next.header.first_sequence == footer.last_sequence + 1;
        if !goes_on {
            let path = setting.segment_path(next.number());
            return Err(EngineError::damage(
                "a segment does not go on where the one before it ends",
                &path,
                0,
            ));
        }
    }
    Ok(())
}

fn check_mark(
    setting: &Setting,
    segments: &[Arc<Segment>],
    marked: Reached,
) -> Result<(), EngineError> {
    let number = marked.end.segment();
    let last = segments.last().map_or(0, |segment| segment.number());
    if number > last {
        let path = setting.segment_path(number);
        return Err(EngineError::damage("a segment is missing", &path, 0));
    }
    let segment = segments.iter().find(|segment| segment.number() == number);
    if let Some(segment) = segment
        && let Some(footer) = segment.footer()
        && u64::from(marked.end.offset()) > footer.end
    {
        return Err(segment.damage("records that had been flushed are missing", footer.end));
    }
    Ok(())
}

struct FoundEnd {
    reached: Reached,
    records: u64,
    group_closed: bool,
    torn: Option<TornTail>,
}

/// Reads the active segment up to its end. A torn end is cut off.
fn find_end(active: &Segment, start: Reached, marked: Reached) -> Result<FoundEnd, EngineError> {
    let len = active
        .file
        .len()
        .map_err(EngineError::io("read", &active.path))?;
    let flushed = if marked.end.segment() == active.number() {
        u64::from(marked.end.offset())
    } else {
        FIRST_OFFSET
    };
    let mut reader = ActiveReader::new(active, start);
    // The last commit that is whole ends here.
    let mut whole = (reader.offset, reader.reached, reader.records, true);
    let mismatch = loop {
        match reader.next(len)? {
            Ok(header) => {
                if header.has(LAST_OF_COMMIT) {
                    let closed = header.has(LAST_OF_GROUP);
                    whole = (reader.offset, reader.reached, reader.records, closed);
                }
            }
            Err(mismatch) => break mismatch,
        }
    };
    let (end, reached, records, group_closed) = whole;
    if end < flushed {
        // Name the record that does not check, not the commit that it belongs to.
        return Err(active.damage(mismatch.to_string(), reader.offset));
    }
    // A segment is sealed after the one that follows it was made durable. The footer counts only
    // where the records end: content may look like one.
    if active
        .read_footer()?
        .is_some_and(|footer| footer.end == end)
    {
        let name = format!("{:010}.seg", active.number() + 1);
        let path = active.path.with_file_name(name);
        return Err(EngineError::damage("a segment is missing", &path, 0));
    }
    let written = written_behind(active, end, len, reached.group + u64::from(group_closed))?;
    let torn = (written > 0).then(|| TornTail {
        path: active.path.clone(),
        offset: end,
        bytes: written,
    });
    active.set_end(end);
    if len > end {
        let cut = || {
            active.file.set_len(end)?;
            active.file.sync()
        };
        cut().map_err(EngineError::io("cut", &active.path))?;
    }
    write_again(active, flushed, end)?;
    Ok(FoundEnd {
        reached: Reached {
            end: active.place(end),
            ..reached
        },
        records,
        group_closed,
        torn,
    })
}

/// Makes the records behind the mark durable: from now on they count. Their flush may not have begun,
/// or have failed; then the system may take them for written although they are not, and only
/// writing them again makes sure.
fn write_again(active: &Segment, flushed: u64, end: u64) -> Result<(), EngineError> {
    if flushed == end {
        return Ok(());
    }
    let mut piece = vec![0; PIECE_BYTES];
    let mut offset = flushed;
    while offset < end {
        let left = usize::try_from(end - offset).unwrap_or(usize::MAX);
        let piece = &mut piece[..PIECE_BYTES.min(left)];
        let count = active
            .file
            .read_at(piece, offset)
            .map_err(EngineError::io("read", &active.path))?;
        if count < piece.len() {
            return Err(active.damage("the file is shorter than its records", offset));
        }
        active
            .file
            .write_at(piece, offset)
            .map_err(EngineError::io("write", &active.path))?;
        offset += count as u64;
    }
    let synced = active.file.sync();
    synced.map_err(EngineError::io("flush", &active.path))
}

/// How many bytes behind the end had been written; the rest are the zeros of reserved space.
///
/// A whole record of a flush later than `group`, the one that the end belongs to, proves that
/// what does not check had been flushed: then it is damage.
fn written_behind(active: &Segment, end: u64, len: u64, group: u64) -> Result<u64, EngineError> {
    let rest = usize::try_from(len.saturating_sub(end)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; rest];
    let count = active
        .file
        .read_at(&mut bytes, end)
        .map_err(EngineError::io("read", &active.path))?;
    bytes.truncate(count);
    let Some(last) = bytes.iter().rposition(|byte| *byte != 0) else {
        return Ok(0);
    };
    if let Some(later) = find_later(&bytes, active.place(end), group, active.salt()) {
        let what = format!(
            "a record does not check although later ones, from byte {}, do",
            later.offset()
        );
        return Err(active.damage(what, end));
    }
    Ok(last as u64 + 1)
}

/// Reads records one after the other and checks that they follow each other.
struct ActiveReader<'a> {
    segment: &'a Segment,
    offset: u64,
    reached: Reached,
    records: u64,
    in_commit: bool,
    piece: Vec<u8>,
    piece_offset: u64,
}

/// Bytes read at a time; the largest record fits.
const PIECE_BYTES: usize = 4 << 20;

impl<'a> ActiveReader<'a> {
    fn new(segment: &'a Segment, start: Reached) -> Self {
        Self {
            segment,
            offset: FIRST_OFFSET,
            reached: start,
            records: 0,
            in_commit: false,
            piece: Vec::new(),
            piece_offset: 0,
        }
    }

    /// The next record's header, or why there is none.
    fn next(&mut self, limit: u64) -> Result<Result<Header, Mismatch>, EngineError> {
        let mut result = self.check(limit);
        if matches!(
            result,
            Err(Mismatch::Short | Mismatch::Blank | Mismatch::Magic)
        ) && self.piece_offset != self.offset
        {
            self.fill(limit)?;
            result = self.check(limit);
        }
        let header = match result {
            Ok(header) => header,
            Err(mismatch) => return Ok(Err(mismatch)),
        };
        if let Err(what) = self.follows(&header) {
            return Err(self.segment.damage(what, self.offset));
        }
        if self.records == 0 || header.group > self.reached.group {
            self.segment.note_waypoint(Waypoint {
                sequence: self.reached.sequence + 1,
                stored_at: header.stored_at,
                offset: self.offset,
            });
        }
        self.records += 1;
        self.in_commit = !header.has(LAST_OF_COMMIT);
        self.offset += header.span() as u64;
        self.reached = Reached {
            end: self.segment.place(self.offset),
            group: header.group,
            sequence: header.sequence.max(self.reached.sequence),
            stored_at: header.stored_at.max(self.reached.stored_at),
        };
        Ok(Ok(header))
    }

    fn check(&self, limit: u64) -> Result<Header, Mismatch> {
        let skip = usize::try_from(self.offset - self.piece_offset).unwrap_or(usize::MAX);
        let bytes = self.piece.get(skip..).unwrap_or_default();
        let (header, _) = self.segment.check(bytes, self.offset)?;
        if self.offset + header.span() as u64 > limit {
            return Err(Mismatch::Short);
        }
        Ok(header)
    }

    /// A record that checks but does not follow the one before it was never written so.
    fn follows(&self, header: &Header) -> Result<(), &'static str> {
        let moved = header.has(MOVED);
        let seam = header.kind == SEAM;
        if header.has(FIRST_OF_COMMIT) == self.in_commit {
            return Err("a commit begins or ends in the wrong place");
        }
        if header.group < self.reached.group || header.group > self.reached.group + 1 {
            return Err("a record of another flush stands");
        }
        if !moved && !seam && header.sequence != self.reached.sequence + 1 {
            return Err("a record does not go on counting");
        }
        Ok(())
    }

    fn fill(&mut self, limit: u64) -> Result<(), EngineError> {
        let left = usize::try_from(limit.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        self.piece.resize(PIECE_BYTES.min(left), 0);
        let count = self
            .segment
            .file
            .read_at(&mut self.piece, self.offset)
            .map_err(EngineError::io("read", &self.segment.path))?;
        self.piece.truncate(count);
        self.piece_offset = self.offset;
        Ok(())
    }
}
