//! One segment file: its header, its records, and the footer that seals it.
//!
//! ```text
//! 0         128                                  end                     end of file
//! | header  | record | record | record | …       | table | footer 128 B  |   sealed
//! | header  | record | record | …      | zeros, reserved                 |   active
//! ```
//!
//! `docs/format/segments.md` has the table of bytes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use sha2::{Digest, Sha256};

use crate::disk::DiskFile;
use crate::error::EngineError;
use crate::journal::record::{
    HEADER_BYTES, Header, Mismatch, Place, Salt, read_header, read_record, u32_at, u64_at,
};
use crate::mapping::Mapping;

/// Where the first record of a segment begins.
pub(crate) const FIRST_OFFSET: u64 = 128;
const FOOTER_BYTES: usize = 128;
const HEADER_MAGIC: [u8; 8] = *b"CIMSEG\0\x01";
const FOOTER_MAGIC: [u8; 8] = *b"CIMEND\0\x01";
const TABLE_ENTRY_BYTES: usize = 24;
/// Bytes that a processor loads at once, and how many times as many a record usually has.
const LINE_BYTES: usize = 64;
const FETCHED_LINES: usize = 10;
/// Bytes that are read first of a record; most records fit.
const FIRST_READ_BYTES: usize = 1 << 10;
/// A waypoint is kept for every so many bytes of records.
pub(crate) const WAYPOINT_BYTES: u64 = 64 << 10;

/// What a segment's file begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Which family of segments it belongs to.
    pub(crate) family: u32,
    pub(crate) number: u32,
    /// The sequence number that its first record has at least.
    pub(crate) first_sequence: u64,
    /// The number of its first flush.
    pub(crate) first_group: u64,
    /// Where the records of the segment before it end; 0 for the first one.
    pub(crate) previous_end: u64,
    /// No record in it is older.
    pub(crate) stored_at: i64,
}

impl SegmentHeader {
    pub(crate) fn encode(&self, store: &[u8; 16], salt: Salt) -> [u8; FIRST_OFFSET as usize] {
        let mut bytes = [0; FIRST_OFFSET as usize];
        bytes[0..8].copy_from_slice(&HEADER_MAGIC);
        bytes[8..12].copy_from_slice(&self.family.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..32].copy_from_slice(store);
        bytes[32..40].copy_from_slice(&self.first_sequence.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.first_group.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.previous_end.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.stored_at.to_le_bytes());
        let crc = salt.crc(&bytes[..124]);
        bytes[124..128].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; FIRST_OFFSET as usize], salt: Salt) -> Option<Self> {
        if bytes[0..8] != HEADER_MAGIC || u32_at(bytes, 124) != salt.crc(&bytes[..124]) {
            return None;
        }
        Some(Self {
            family: u32_at(bytes, 8),
            number: u32_at(bytes, 12),
            first_sequence: u64_at(bytes, 32),
            first_group: u64_at(bytes, 40),
            previous_end: u64_at(bytes, 48),
            stored_at: u64_at(bytes, 56) as i64,
        })
    }
}

/// What a sealed segment ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    /// Where its records end and its table begins.
    pub(crate) end: u64,
    pub(crate) waypoints: u32,
    pub(crate) records: u64,
    pub(crate) last_sequence: u64,
    pub(crate) last_group: u64,
    pub(crate) last_stored_at: i64,
    /// SHA-256 of everything before `end`.
    pub(crate) digest: [u8; 32],
    table_crc: u32,
}

impl Footer {
    fn encode(&self, number: u32, salt: Salt) -> [u8; FOOTER_BYTES] {
        let mut bytes = [0; FOOTER_BYTES];
        bytes[0..8].copy_from_slice(&FOOTER_MAGIC);
        bytes[8..12].copy_from_slice(&number.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.waypoints.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.end.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.records.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.last_sequence.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.last_group.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.last_stored_at.to_le_bytes());
        bytes[56..88].copy_from_slice(&self.digest);
        bytes[88..92].copy_from_slice(&self.table_crc.to_le_bytes());
        let crc = salt.crc(&bytes[..124]);
        bytes[124..128].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; FOOTER_BYTES], number: u32, salt: Salt) -> Option<Self> {
        if bytes[0..8] != FOOTER_MAGIC
            || u32_at(bytes, 124) != salt.crc(&bytes[..124])
            || u32_at(bytes, 8) != number
        {
            return None;
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(&bytes[56..88]);
        Some(Self {
            waypoints: u32_at(bytes, 12),
            end: u64_at(bytes, 16),
            records: u64_at(bytes, 24),
            last_sequence: u64_at(bytes, 32),
            last_group: u64_at(bytes, 40),
            last_stored_at: u64_at(bytes, 48) as i64,
            digest,
            table_crc: u32_at(bytes, 88),
        })
    }
}

/// Where a flush group begins, for seeking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waypoint {
    /// The sequence number that the first record from there on has at least.
    pub(crate) sequence: u64,
    pub(crate) stored_at: i64,
    pub(crate) offset: u64,
}

/// An open segment.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) header: SegmentHeader,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn DiskFile>,
    salt: Salt,
    /// Records before this offset are flushed and can be read.
    end: AtomicU64,
    footer: OnceLock<Footer>,
    map: RwLock<Option<Arc<Mapping>>>,
    /// Waypoints, as long as they don't stand in the file.
    waypoints: Mutex<Vec<Waypoint>>,
    /// Those that stand in the file, since they were read.
    table: RwLock<Option<Arc<[Waypoint]>>>,
    /// What readers found in flush groups that are long, in order.
    found: RwLock<Vec<Waypoint>>,
}

impl Segment {
    /// A segment whose records end at `end`.
    pub(crate) fn new(
        header: SegmentHeader,
        path: PathBuf,
        file: Arc<dyn DiskFile>,
        salt: Salt,
        end: u64,
    ) -> Self {
        Self {
            header,
            path,
            file,
            salt,
            end: AtomicU64::new(end),
            footer: OnceLock::new(),
            map: RwLock::new(None),
            waypoints: Mutex::new(Vec::new()),
            table: RwLock::new(None),
            found: RwLock::new(Vec::new()),
        }
    }

    /// Reads a segment's header.
    pub(crate) fn open(
        path: &Path,
        file: Arc<dyn DiskFile>,
        family: u32,
        number: u32,
        salt: Salt,
    ) -> Result<Self, EngineError> {
        let mut bytes = [0; FIRST_OFFSET as usize];
        let count = file
            .read_at(&mut bytes, 0)
            .map_err(EngineError::io("read", path))?;
        let header = (count == bytes.len())
            .then(|| SegmentHeader::decode(&bytes, salt))
            .flatten();
        let Some(header) = header else {
            let what = "a segment's header does not match its checksum";
            return Err(EngineError::damage(what, path, 0));
        };
        if header.family != family || header.number != number {
            return Err(EngineError::damage(
                "the header of another segment stands",
                path,
                0,
            ));
        }
        Ok(Self::new(header, path.to_owned(), file, salt, FIRST_OFFSET))
    }

    /// Takes over what the footer says; returns whether there is one.
    pub(crate) fn take_footer(&self) -> Result<bool, EngineError> {
        let Some(footer) = self.read_footer()? else {
            return Ok(false);
        };
        self.set_end(footer.end);
        let _ = self.footer.set(footer);
        Ok(true)
    }

    /// The footer that the file ends with, if it does.
    pub(crate) fn read_footer(&self) -> Result<Option<Footer>, EngineError> {
        let len = self
            .file
            .len()
            .map_err(EngineError::io("read", &self.path))?;
        let Some(at) = len
            .checked_sub(FOOTER_BYTES as u64)
            .filter(|at| *at >= FIRST_OFFSET)
        else {
            return Ok(None);
        };
        let mut bytes = [0; FOOTER_BYTES];
        self.file
            .read_at(&mut bytes, at)
            .map_err(EngineError::io("read", &self.path))?;
        let footer = Footer::decode(&bytes, self.header.number, self.salt);
        // The footer's own place must agree with what it says.
        Ok(footer.filter(|footer| {
            let table = u64::from(footer.waypoints) * TABLE_ENTRY_BYTES as u64;
            footer.end.checked_add(table) == Some(at)
        }))
    }

    pub(crate) fn number(&self) -> u32 {
        self.header.number
    }

    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    pub(crate) fn set_end(&self, end: u64) {
        self.end.store(end, Ordering::Release);
    }

    pub(crate) fn footer(&self) -> Option<&Footer> {
        self.footer.get()
    }

    pub(crate) fn salt(&self) -> Salt {
        self.salt
    }

    pub(crate) fn place(&self, offset: u64) -> Place {
        Place::new(self.number(), offset as u32)
    }

    pub(crate) fn damage(&self, what: impl Into<String>, offset: u64) -> EngineError {
        EngineError::damage(what, &self.path, offset)
    }

    /// A mapping that covers everything before the end.
    fn mapping(&self, offset: u64) -> Result<Arc<Mapping>, EngineError> {
        let end = self.end();
        if let Some(map) = &*self.map.read().unwrap_or_else(PoisonError::into_inner)
            && map.len() as u64 >= end
        {
            return Ok(Arc::clone(map));
        }
        let io = |error| EngineError::io("map", &self.path)(error);
        let len = self.file.len().map_err(io)?;
        if len < end {
            return Err(self.damage("the file is shorter than its records", offset.min(len)));
        }
        // The file of the active segment reaches past its records, so this lasts for a while.
        let map = Arc::new(
            self.file
                .map(usize::try_from(len).unwrap_or(usize::MAX))
                .map_err(io)?,
        );
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&map));
        Ok(map)
    }

    /// Appends the body of the record at an offset before the end to `arena`, checked there, and
    /// returns its header. Reads the file, so nothing of it stays in the process's memory.
    pub(crate) fn read_into(
        &self,
        offset: u64,
        arena: &mut Vec<u8>,
    ) -> Result<Header, EngineError> {
        let fault = |mismatch: Mismatch| self.damage(mismatch.to_string(), offset);
        let place = self.place(offset);
        let mut first = [0; FIRST_READ_BYTES];
        let left = self.end().saturating_sub(offset);
        let want = FIRST_READ_BYTES.min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = self.read_file(&mut first[..want], offset)?;
        let header = read_header(&first[..count], place, self.salt).map_err(fault)?;
        let len = HEADER_BYTES + header.body_len as usize;
        if len as u64 > left {
            return Err(fault(Mismatch::Short));
        }
        let start = arena.len();
        arena.resize(start + header.body_len as usize, 0);
        let body = &mut arena[start..];
        let got = len.min(count) - HEADER_BYTES;
        body[..got].copy_from_slice(&first[HEADER_BYTES..HEADER_BYTES + got]);
        let rest = &mut body[got..];
        if self.read_file(rest, offset + (HEADER_BYTES + got) as u64)? < rest.len() {
            return Err(fault(Mismatch::Short));
        }
        if crc32c::crc32c(body) != header.body_crc {
            return Err(fault(Mismatch::Body));
        }
        Ok(header)
    }

    fn read_file(&self, buffer: &mut [u8], offset: u64) -> Result<usize, EngineError> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.file
            .read_at(buffer, offset)
            .map_err(EngineError::io("read", &self.path))
    }

    /// Lets go of the file until it is read again, if nothing will be written to it.
    pub(crate) fn rest(&self) {
        if self.footer().is_some() {
            self.file.rest(&self.path);
        }
    }

    /// Gives the mapping and the waypoints back; the next reads make them anew.
    pub(crate) fn unmap(&self) {
        *self.found.write().unwrap_or_else(PoisonError::into_inner) = Vec::new();
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = None;
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Notes that a flush group begins here, unless another one that was noted is near.
    pub(crate) fn note_waypoint(&self, waypoint: Waypoint) {
        let mut waypoints = self
            .waypoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let far = waypoints
            .last()
            .is_none_or(|last| waypoint.offset - last.offset >= WAYPOINT_BYTES);
        if far {
            waypoints.push(waypoint);
        }
    }

    /// Looks at the waypoints, which are in order.
    pub(crate) fn with_waypoints<T>(
        &self,
        look: impl FnOnce(&[Waypoint]) -> T,
    ) -> Result<T, EngineError> {
        let Some(footer) = self.footer() else {
            let waypoints = self.waypoints.lock();
            return Ok(look(&waypoints.unwrap_or_else(PoisonError::into_inner)));
        };
        if let Some(table) = &*self.table.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(look(table));
        }
        let table = self.read_table(footer)?;
        let seen = look(&table);
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Some(table);
        Ok(seen)
    }

    fn read_table(&self, footer: &Footer) -> Result<Arc<[Waypoint]>, EngineError> {
        let mut table = vec![0; footer.waypoints as usize * TABLE_ENTRY_BYTES];
        self.file
            .read_at(&mut table, footer.end)
            .map_err(EngineError::io("read", &self.path))?;
        if crc32c::crc32c(&table) != footer.table_crc {
            return Err(self.damage("a segment's table does not match its checksum", footer.end));
        }
        let entries = table.chunks_exact(TABLE_ENTRY_BYTES).map(|entry| Waypoint {
            sequence: u64_at(entry, 0),
            stored_at: u64_at(entry, 8) as i64,
            offset: u64_at(entry, 16),
        });
        Ok(entries.collect())
    }

    /// Where to begin: the offset of the last record that is known not to be behind what is looked
    /// for, and the sequence number before it. Sequence numbers and times of waypoints increase, so
    /// what is behind one is behind all later ones.
    pub(crate) fn nearest(
        &self,
        is_not_behind: impl Fn(&Waypoint) -> bool,
    ) -> Result<(u64, u64), EngineError> {
        let last = |waypoints: &[Waypoint]| {
            let passed = waypoints.partition_point(&is_not_behind);
            passed.checked_sub(1).map(|at| waypoints[at])
        };
        let noted = self.with_waypoints(last)?;
        let found = last(&self.found.read().unwrap_or_else(PoisonError::into_inner));
        let nearest = noted.into_iter().chain(found).max_by_key(|one| one.offset);
        Ok(match nearest {
            Some(waypoint) => (waypoint.sequence - 1, waypoint.offset),
            None => (self.header.first_sequence - 1, FIRST_OFFSET),
        })
    }

    /// Remembers where a reader found records far from any waypoint. They don't come into the file.
    #[cold]
    pub(crate) fn remember(&self, waypoints: &[Waypoint]) {
        let mut found = self.found.write().unwrap_or_else(PoisonError::into_inner);
        for waypoint in waypoints {
            if let Err(at) = found.binary_search_by_key(&waypoint.sequence, |one| one.sequence) {
                found.insert(at, *waypoint);
            }
        }
    }

    /// Writes table and footer behind the records, durably. Nothing changes in it after that.
    pub(crate) fn seal(&self, last: LastRecord) -> Result<(), EngineError> {
        if self.footer().is_some() {
            return Ok(());
        }
        let end = self.end();
        let waypoints = self.with_waypoints(<[Waypoint]>::to_vec)?;
        let mut table = Vec::with_capacity(waypoints.len() * TABLE_ENTRY_BYTES);
        for waypoint in &waypoints {
            table.extend_from_slice(&waypoint.sequence.to_le_bytes());
            table.extend_from_slice(&waypoint.stored_at.to_le_bytes());
            table.extend_from_slice(&waypoint.offset.to_le_bytes());
        }
        let footer = Footer {
            end,
            waypoints: waypoints.len() as u32,
            records: last.records,
            last_sequence: last.sequence,
            last_group: last.group,
            last_stored_at: last.stored_at,
            digest: self.digest(end)?,
            table_crc: crc32c::crc32c(&table),
        };
        table.extend_from_slice(&footer.encode(self.number(), self.salt));
        let write = || {
            self.file.set_len(end)?;
            self.file.write_at(&table, end)?;
            self.file.sync()
        };
        write().map_err(EngineError::io("seal", &self.path))?;
        let _ = self.footer.set(footer);
        self.waypoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        Ok(())
    }

    /// SHA-256 of the file's first `end` bytes.
    pub(crate) fn digest(&self, end: u64) -> Result<[u8; 32], EngineError> {
        let mut digest = Sha256::new();
        let mut buffer = vec![0; 256 << 10];
        let mut offset = 0;
        while offset < end {
            let want = usize::try_from(end - offset)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            let count = self
                .file
                .read_at(&mut buffer[..want], offset)
                .map_err(EngineError::io("read", &self.path))?;
            if count == 0 {
                return Err(self.damage("the file is shorter than its records", offset));
            }
            digest.update(&buffer[..count]);
            offset += count as u64;
        }
        Ok(digest.finalize().into())
    }

    /// Checks the record at `offset` in bytes that were read from there.
    pub(crate) fn check<'a>(
        &self,
        bytes: &'a [u8],
        offset: u64,
    ) -> Result<(Header, &'a [u8]), Mismatch> {
        read_record(bytes, self.place(offset), self.salt)
    }
}

/// A segment's records as memory, for reads that follow each other.
#[derive(Debug)]
pub(crate) struct View {
    segment: Arc<Segment>,
    map: Arc<Mapping>,
    /// Records before this offset can be read through it.
    end: u64,
}

impl View {
    /// A view that covers the record at `place`.
    pub(crate) fn of(segment: Arc<Segment>, place: Place) -> Result<Self, EngineError> {
        let offset = u64::from(place.offset());
        let end = segment.end();
        let map = segment.mapping(offset)?;
        if offset >= end {
            return Err(segment.damage("a record is missed past the end", offset));
        }
        Ok(Self { segment, map, end })
    }

    /// Whether a record at `place` can be read through it.
    pub(crate) fn covers(&self, place: Place) -> bool {
        place.segment() == self.segment.number() && u64::from(place.offset()) < self.end
    }

    /// The checked header of the record at `place`.
    pub(crate) fn header(&self, place: Place) -> Result<Header, EngineError> {
        read_header(self.bytes(place), place, self.segment.salt)
            .map_err(|mismatch| self.damage(mismatch, place))
    }

    /// Appends the body of the record with this header to `arena` and checks it there, so that
    /// what was checked is what is used.
    pub(crate) fn body_into(
        &self,
        header: &Header,
        arena: &mut Vec<u8>,
    ) -> Result<(), EngineError> {
        let len = HEADER_BYTES + header.body_len as usize;
        let record = self.bytes(header.place).get(..len);
        let record = record.ok_or_else(|| self.damage(Mismatch::Short, header.place))?;
        let start = arena.len();
        arena.extend_from_slice(&record[HEADER_BYTES..]);
        if crc32c::crc32c(&arena[start..]) == header.body_crc {
            return Ok(());
        }
        arena.truncate(start);
        Err(self.damage(Mismatch::Body, header.place))
    }

    /// Begins to bring the record at `place` near, without waiting for it.
    pub(crate) fn fetch(&self, place: Place) {
        if self.covers(place) {
            // Nothing depends on what is loaded, so the processor goes on meanwhile.
            let lines = self
                .bytes(place)
                .iter()
                .step_by(LINE_BYTES)
                .take(FETCHED_LINES);
            std::hint::black_box(lines.fold(0, |all, byte| all | byte));
        }
    }

    /// As [`Segment::remember`], of the segment that it shows.
    pub(crate) fn remember(&self, waypoints: &[Waypoint]) {
        self.segment.remember(waypoints);
    }

    fn bytes(&self, place: Place) -> &[u8] {
        let end = usize::try_from(self.end).unwrap_or(usize::MAX);
        let range = place.offset() as usize..end.min(self.map.len());
        self.map.get(range).unwrap_or_default()
    }

    fn damage(&self, mismatch: Mismatch, place: Place) -> EngineError {
        self.segment
            .damage(mismatch.to_string(), u64::from(place.offset()))
    }
}

/// What a segment's footer says of its records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LastRecord {
    pub(crate) records: u64,
    pub(crate) sequence: u64,
    pub(crate) group: u64,
    pub(crate) stored_at: i64,
}
