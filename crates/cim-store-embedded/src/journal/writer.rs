//! The writing side of a journal: records are gathered into a group, and the group is written
//! and flushed as one.

use std::sync::Arc;

use crate::error::EngineError;
use crate::journal::Journal;
use crate::journal::mark::{MarkFile, Reached};
use crate::journal::record::{
    FIRST_OF_COMMIT, HEADER_BYTES, Header, LAST_OF_COMMIT, LAST_OF_GROUP, Place, span, write_header,
};
use crate::journal::recovery::{Recovered, SEAM, create_segment};
use crate::journal::segment::{LastRecord, Segment, SegmentHeader, Waypoint};

/// Space is reserved ahead of the records in steps of at least this: it halves the cost of a
/// flush that has no new length to record (docs/decisions/segment-files.md).
const RESERVE_BYTES: u64 = 1 << 20;

/// What a record says, beside what the writer knows itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewRecord {
    pub(crate) kind: u8,
    /// [`FIRST_OF_COMMIT`], [`LAST_OF_COMMIT`] and [`MOVED`](crate::journal::record::MOVED).
    pub(crate) flags: u8,
    pub(crate) sequence: u64,
    pub(crate) stored_at: i64,
    pub(crate) previous: Place,
    pub(crate) number: u64,
}

/// Why a group was not flushed.
#[derive(Debug)]
pub(crate) enum FlushError {
    /// Nothing of it is stored, and the journal goes on.
    NotStored(EngineError),
    /// It may be stored or not, and the journal is closed for writing.
    Unknown(EngineError),
}

/// The one writer of a journal.
#[derive(Debug)]
pub(crate) struct JournalWriter {
    journal: Arc<Journal>,
    active: Arc<Segment>,
    mark: MarkFile,
    /// What the active segment's footer will say.
    last: LastRecord,
    reached: Reached,
    /// The file reaches to here.
    reserved: u64,
    /// The group that is being gathered: whole records.
    buffer: Vec<u8>,
    /// Where the last record begins in the buffer, and what its header says.
    tail: Option<(usize, Header)>,
    first: Option<Waypoint>,
    /// The highest sequence number and the latest time in the group. Records that are moved keep
    /// theirs, so the last record need not have them.
    highest: Option<(u64, i64)>,
    records: u64,
    /// Sealing is left to whoever takes care of the background.
    sealable: Vec<(Arc<Segment>, LastRecord)>,
}

impl JournalWriter {
    /// Takes over a journal that was opened. Where its last group is not closed, a seam closes
    /// it, so that the next recovery can tell groups apart.
    pub(crate) fn new(recovered: Recovered) -> Result<(Arc<Journal>, Self), EngineError> {
        let Recovered {
            journal,
            mark,
            last,
            group_closed,
            ..
        } = recovered;
        let journal = Arc::new(journal);
        let segments = journal.segments();
        let Some(active) = segments.last().cloned() else {
            return Err(EngineError::closed());
        };
        let reached = journal.reached();
        let mut writer = Self {
            reserved: active.end(),
            journal: Arc::clone(&journal),
            active,
            mark,
            last,
            reached,
            buffer: Vec::new(),
            tail: None,
            first: None,
            highest: None,
            records: 0,
            sealable: Vec::new(),
        };
        if !group_closed {
            writer.push(
                NewRecord {
                    kind: SEAM,
                    flags: FIRST_OF_COMMIT | LAST_OF_COMMIT,
                    sequence: reached.sequence,
                    stored_at: reached.stored_at,
                    previous: Place::NONE,
                    number: 0,
                },
                |_| {},
            );
            let flushed = writer.flush();
            flushed.map_err(|(FlushError::NotStored(error) | FlushError::Unknown(error))| error)?;
        } else {
            writer.mark.write(reached)?;
        }
        writer.mark.sync()?;
        Ok((journal, writer))
    }

    /// How far the journal was flushed.
    pub(crate) fn reached(&self) -> Reached {
        self.reached
    }

    /// The latest time of a record, counting those that are gathered.
    pub(crate) fn latest(&self) -> i64 {
        let gathered = self.highest.map_or(i64::MIN, |(_, stored_at)| stored_at);
        self.reached.stored_at.max(gathered)
    }

    /// Bytes gathered so far.
    pub(crate) fn gathered(&self) -> usize {
        self.buffer.len()
    }

    /// The place where the group begins.
    pub(crate) fn flushed_place(&self) -> Place {
        self.active.place(self.active.end())
    }

    /// The place that the next record gets.
    pub(crate) fn next_place(&self) -> Place {
        self.active
            .place(self.active.end() + self.buffer.len() as u64)
    }

    /// Begins a group: where the active segment is full, a new one follows it.
    pub(crate) fn begin(&mut self) -> Result<(), EngineError> {
        if self.buffer.is_empty() && self.active.end() >= self.journal.setting.segment_bytes {
            self.rotate()?;
        }
        Ok(())
    }

    /// Adds a record whose body `encode` appends to the buffer. Returns its place.
    pub(crate) fn push(&mut self, record: NewRecord, encode: impl FnOnce(&mut Vec<u8>)) -> Place {
        let start = self.buffer.len();
        let place = self.next_place();
        self.buffer.resize(start + HEADER_BYTES, 0);
        encode(&mut self.buffer);
        let body_len = self.buffer.len() - start - HEADER_BYTES;
        let body_crc = crc32c::crc32c(&self.buffer[start + HEADER_BYTES..]);
        self.buffer.resize(start + span(body_len), 0);
        let header = Header {
            kind: record.kind,
            flags: record.flags,
            body_len: body_len as u32,
            body_crc,
            place,
            group: self.reached.group + 1,
            sequence: record.sequence,
            stored_at: record.stored_at,
            previous: record.previous,
            number: record.number,
        };
        write_header(
            &header,
            self.journal.setting.salt,
            &mut self.buffer[start..],
        );
        self.first.get_or_insert(Waypoint {
            sequence: self.reached.sequence + 1,
            stored_at: record.stored_at,
            offset: self.active.end() + start as u64,
        });
        let (sequence, stored_at) = self.highest.unwrap_or((0, i64::MIN));
        self.highest = Some((
            sequence.max(record.sequence),
            stored_at.max(record.stored_at),
        ));
        self.records += 1;
        self.tail = Some((start, header));
        place
    }

    /// Writes and flushes the group. Readers don't see it before [`publish`](Self::publish).
    pub(crate) fn flush(&mut self) -> Result<(), FlushError> {
        let Some((start, mut header)) = self.tail.take() else {
            return Ok(());
        };
        header.flags |= LAST_OF_GROUP;
        write_header(
            &header,
            self.journal.setting.salt,
            &mut self.buffer[start..],
        );
        let stored = match self.journal.closed() {
            // After a flush that failed, what follows it must not be acknowledged.
            Some(closed) => Err(FlushError::NotStored(closed)),
            None => self.store(),
        };
        let (first, records) = (self.first.take(), std::mem::take(&mut self.records));
        let (sequence, stored_at) = self.highest.take().unwrap_or((0, i64::MIN));
        if let Err(error) = stored {
            self.buffer.clear();
            if let FlushError::Unknown(error) = &error {
                self.journal.close(Some(error.to_string()));
            }
            return Err(error);
        }
        let end = self.active.end() + self.buffer.len() as u64;
        self.buffer.clear();
        self.buffer.shrink_to(1 << 20);
        self.reached = Reached {
            end: self.active.place(end),
            group: header.group,
            sequence: sequence.max(self.reached.sequence),
            stored_at: stored_at.max(self.reached.stored_at),
        };
        self.last = LastRecord {
            records: self.last.records + records,
            sequence: self.reached.sequence,
            group: self.reached.group,
            stored_at: self.reached.stored_at,
        };
        if let Some(first) = first {
            self.active.note_waypoint(first);
        }
        // Before the mark: a mark whose writing failed may stand nevertheless, and what it covers
        // must not be cut off when the writer ends.
        self.active.set_end(end);
        if let Err(error) = self.mark.write(self.reached) {
            self.journal.close(Some(error.to_string()));
            return Err(FlushError::Unknown(error));
        }
        Ok(())
    }

    /// Lets readers see what was flushed.
    pub(crate) fn publish(&self) {
        self.journal.publish(self.reached);
    }

    fn store(&mut self) -> Result<(), FlushError> {
        let offset = self.active.end();
        let end = offset + self.buffer.len() as u64;
        let file = &*self.active.file;
        let io = |action| EngineError::io(action, &self.active.path);
        let written = self.reserved_to(end).and_then(|reserved| {
            self.reserved = reserved;
            file.write_at(&self.buffer, offset)
        });
        if let Err(error) = written {
            // Take away what was written of it, so that it can't come back after a crash.
            let undone = file.set_len(offset).and_then(|()| file.sync());
            self.reserved = offset;
            let error = io("write")(error);
            return Err(match undone {
                Ok(()) => FlushError::NotStored(error),
                Err(_) => FlushError::Unknown(error),
            });
        }
        file.sync()
            .map_err(|error| FlushError::Unknown(io("flush")(error)))
    }

    /// Makes the file reach to `end` and, where there is room, further.
    fn reserved_to(&self, end: u64) -> std::io::Result<u64> {
        if end <= self.reserved {
            return Ok(self.reserved);
        }
        let file = &*self.active.file;
        let ahead = (4 * self.buffer.len() as u64).clamp(RESERVE_BYTES, 16 * RESERVE_BYTES);
        // A segment that is full is not written any further.
        let further = (end + ahead)
            .min(self.journal.setting.segment_bytes)
            .max(end);
        match file.reserve(further) {
            Ok(true) => Ok(further),
            Ok(false) => Ok(self.reserved),
            Err(_) => file.reserve(end).map(|_| end),
        }
    }

    fn rotate(&mut self) -> Result<(), EngineError> {
        let full = Arc::clone(&self.active);
        let header = SegmentHeader {
            number: full.number() + 1,
            first_sequence: self.reached.sequence + 1,
            first_group: self.reached.group + 1,
            previous_end: full.end(),
            stored_at: self.reached.stored_at,
            ..full.header
        };
        let fresh = Arc::new(create_segment(&self.journal.setting, header)?);
        self.journal.add_segment(Arc::clone(&fresh));
        self.reserved = fresh.end();
        self.reached.end = fresh.place(fresh.end());
        self.active = fresh;
        self.sealable.push((full, self.last));
        self.last.records = 0;
        Ok(())
    }

    /// Segments that are full and can be sealed by now.
    pub(crate) fn take_sealable(&mut self) -> Vec<(Arc<Segment>, LastRecord)> {
        std::mem::take(&mut self.sealable)
    }

    /// Brings the mark to rest and gives back the space that was reserved.
    pub(crate) fn finish(&mut self) -> Result<(), EngineError> {
        let end = self.active.end();
        if self.reserved > end {
            let cut = self
                .active
                .file
                .set_len(end)
                .and_then(|()| self.active.file.sync());
            cut.map_err(EngineError::io("cut", &self.active.path))?;
            self.reserved = end;
        }
        self.mark.sync()
    }

    /// The reading side.
    pub(crate) fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }
}
