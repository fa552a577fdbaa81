//! Going over what segments hold without trusting any of it.
//!
//! A [scan](crate::journal::scan) ends at the first record that does not check. A survey says
//! where it is, looks for the next place where a record stands, and goes on there. It checks headers
//! only: whoever wants to know whether a body is what was stored hashes it.
//!
//! A record of the store that stands elsewhere than it says is seen, too. Where bytes were cut out of
//! a file or put into it, everything behind them stands so, also beyond where the records should end.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::DiskFile;
use crate::error::EngineError;
use crate::journal::record::{
    ALIGNMENT, HEADER_BYTES, Header, MAX_BODY_BYTES, Mismatch, Place, Salt, begins, read_header,
    read_header_anywhere, span, u32_at,
};
use crate::journal::segment::{FIRST_OFFSET, Segment};

/// Bytes read at a time, unless a record is larger.
const PIECE_BYTES: usize = 64 << 10;

/// A file whose records are surveyed.
#[derive(Clone, Debug)]
pub(crate) struct SurveyedFile {
    pub(crate) number: u32,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn DiskFile>,
    /// Where its records end, as far as anything says so: they are looked for from byte 128 up to
    /// here. A file that something was cut out of may end before.
    pub(crate) end: u64,
    /// Displaced records are seen up to here, also behind `end`. May be more than the file has;
    /// `end` itself where records are being written.
    pub(crate) limit: u64,
}

impl SurveyedFile {
    /// A segment, up to an end, and displaced records up to a limit.
    pub(crate) fn of(segment: &Segment, end: u64, limit: u64) -> Self {
        Self {
            number: segment.number(),
            path: segment.path.clone(),
            file: Arc::clone(&segment.file),
            end,
            limit,
        }
    }

    /// Up to `most` bytes at an offset, before the end of records.
    fn read(&self, offset: u64, most: usize) -> Result<Vec<u8>, EngineError> {
        self.read_before(self.end, offset, most)
    }

    /// Up to `most` bytes at an offset, before another one.
    fn read_before(&self, end: u64, offset: u64, most: usize) -> Result<Vec<u8>, EngineError> {
        let left = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; most.min(left)];
        let count = self
            .file
            .read_at(&mut bytes, offset)
            .map_err(EngineError::io("read", &self.path))?;
        bytes.truncate(count);
        Ok(bytes)
    }
}

/// Something that was seen.
#[derive(Debug)]
pub(crate) enum Seen {
    /// A record whose header checks, and where its body is in the [piece](Survey::piece).
    Record(Header, Range<usize>),
    /// As [`Record`](Self::Record), but it stands here, and not where it says.
    Displaced(Header, Range<usize>, Place),
    /// Bytes that are no record.
    Hole(Hole),
}

/// Bytes that are no record, where one should be.
#[derive(Debug)]
pub(crate) struct Hole {
    pub(crate) path: PathBuf,
    /// Where it begins.
    pub(crate) place: Place,
    /// Where the next record, or the end of the file, is.
    pub(crate) until: u64,
    pub(crate) mismatch: Mismatch,
    /// The header of a record whose body goes beyond the end.
    pub(crate) cut_off: Option<Header>,
}

/// Goes over the records of files, one after the other.
#[derive(Debug)]
pub(crate) struct Survey {
    files: Vec<SurveyedFile>,
    salt: Salt,
    /// Index of the file at hand.
    at: usize,
    offset: u64,
    /// Up to where the file at hand is looked at; what it says itself is its `end`.
    end: u64,
    /// How many bytes before its place the last record stands, if it is displaced in its own file.
    ahead: u64,
    /// Whether there is a displaced record in the file at hand.
    displaced: bool,
    /// The record before the offset, and where it begins.
    last: Option<(Header, u64)>,
    piece: Bytes,
    piece_offset: u64,
}

impl Survey {
    /// From the record at `from`, or the first file after it, over `files`, oldest first.
    pub(crate) fn new(files: Vec<SurveyedFile>, salt: Salt, from: Place) -> Self {
        let at = files.partition_point(|file| file.number < from.segment());
        let same = files
            .get(at)
            .is_some_and(|file| file.number == from.segment());
        let offset = if same {
            u64::from(from.offset()).max(FIRST_OFFSET)
        } else {
            FIRST_OFFSET
        };
        Self {
            end: files.get(at).map_or(0, |file| file.end),
            files,
            salt,
            at,
            offset,
            ahead: 0,
            displaced: false,
            last: None,
            piece: Bytes::new(),
            piece_offset: 0,
        }
    }

    /// What was read last.
    pub(crate) fn piece(&self) -> &Bytes {
        &self.piece
    }

    /// Where the last file ends, in words.
    pub(crate) fn last_end(&self) -> String {
        match self.files.last() {
            Some(file) => format!("byte {} of {}", self.end, file.path.display()),
            None => "the beginning".into(),
        }
    }

    /// A place, in words.
    pub(crate) fn words(&self, place: Place) -> String {
        match self.file(place.segment()) {
            Some(file) => format!("byte {} of {}", place.offset(), file.path.display()),
            None => format!("byte {} of segment {}", place.offset(), place.segment()),
        }
    }

    /// The number of the file at hand, if there is one.
    pub(crate) fn segment(&self) -> Option<u32> {
        self.files.get(self.at).map(|file| file.number)
    }

    /// Goes on with the first file that has this number or a later one.
    pub(crate) fn skip_to(&mut self, number: u32) {
        self.at = self.files.partition_point(|file| file.number < number);
        self.begin_file();
    }

    fn begin_file(&mut self) {
        self.offset = FIRST_OFFSET;
        self.ahead = 0;
        self.displaced = false;
        self.last = None;
        if let Some(file) = self.files.get(self.at) {
            self.end = file.end;
        }
        self.piece = Bytes::new();
        self.piece_offset = 0;
    }

    /// The next thing, or `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Seen>, EngineError> {
        loop {
            if self.offset + HEADER_BYTES as u64 > self.end {
                self.go_beyond()?;
            }
            self.need(HEADER_BYTES)?;
            let Some(file) = self.files.get(self.at) else {
                return Ok(None);
            };
            if self.offset >= self.end {
                let place = Place::new(file.number, self.offset as u32);
                if self.goes_back()? {
                    continue;
                }
                // Something was put into the file, or taken out of it: more may follow.
                if self.displaced && self.find_last()? {
                    if !self.is_explained(place) {
                        return Ok(Some(self.hole(place, Mismatch::Magic, None)));
                    }
                    continue;
                }
                self.at += 1;
                self.begin_file();
                continue;
            }
            let place = Place::new(file.number, self.offset as u32);
            match read_header_anywhere(self.here(), self.salt) {
                Ok(header) => return self.record(header, place).map(Some),
                Err(mismatch) => {
                    if self.goes_back()? {
                        continue;
                    }
                    self.find_next()?;
                    if !self.is_explained(place) {
                        return Ok(Some(self.hole(place, mismatch, None)));
                    }
                }
            }
        }
    }

    fn record(&mut self, header: Header, place: Place) -> Result<Seen, EngineError> {
        let len = HEADER_BYTES + header.body_len as usize;
        if header.place != place
            && let Some(file) = self.files.get(self.at)
        {
            let end = (self.offset + len as u64).min(file.limit);
            self.end = self.end.max(end);
        }
        self.need(len)?;
        if self.here().len() < len {
            // Its length is right, so nothing that could be read begins before it ends.
            self.offset = self.end;
            self.last = None;
            return Ok(self.hole(place, Mismatch::Short, Some(header)));
        }
        let start = (self.offset - self.piece_offset) as usize;
        let body = start + HEADER_BYTES..start + len;
        if header.place == place {
            self.last = Some((header, self.offset));
            self.offset += header.span() as u64;
            self.ahead = 0;
            return Ok(Seen::Record(header, body));
        }
        // Only the beginning of a record may have been copied: then it hides none that follow.
        let rest = self.here().get(HEADER_BYTES..).unwrap_or_default();
        let sound = rest
            .get(..header.body_len as usize)
            .is_some_and(|body| crc32c::crc32c(body) == header.body_crc);
        if !sound
            && let Some(found) = self.find_in(rest)
            && found < header.body_len as usize
        {
            self.last = None;
            self.offset += (HEADER_BYTES + found) as u64;
            return Ok(self.hole(place, Mismatch::Elsewhere, None));
        }
        self.last = Some((header, self.offset));
        self.offset += header.span() as u64;
        self.displaced = true;
        let same_file = header.place.segment() == place.segment();
        let ahead = header.place.offset().saturating_sub(place.offset());
        self.ahead = if same_file { u64::from(ahead) } else { 0 };
        Ok(Seen::Displaced(header, body, place))
    }

    /// Near the end: sees to it that a displaced record that goes beyond it is seen.
    fn go_beyond(&mut self) -> Result<(), EngineError> {
        if self.look_beyond(self.offset)? {
            return Ok(());
        }
        // The last record need not be padded.
        let end_of =
            |(last, at): &(Header, u64)| at + (HEADER_BYTES as u64) + u64::from(last.body_len);
        let from = self.last.as_ref().map_or(self.offset, end_of);
        for offset in from..self.offset {
            if self.look_beyond(offset)? {
                self.offset = offset;
                break;
            }
        }
        Ok(())
    }

    /// Moves the end behind the displaced record that goes beyond it from an offset on, and is whole.
    /// Returns whether there is one.
    fn look_beyond(&mut self, offset: u64) -> Result<bool, EngineError> {
        let file = self.files.get(self.at);
        let Some(file) = file.filter(|file| file.limit > self.end) else {
            return Ok(false);
        };
        let head = file.read_before(file.limit, offset, HEADER_BYTES)?;
        let Ok(header) = read_header_anywhere(&head, self.salt) else {
            return Ok(false);
        };
        let len = HEADER_BYTES + header.body_len as usize;
        let found = header.place != Place::new(file.number, offset as u32)
            && file.read_before(file.limit, offset, len)?.len() == len;
        if found {
            self.end = self.end.max(offset + len as u64);
        }
        Ok(found)
    }

    /// Goes back to a record that begins before the last one ends: in its padding, or in its body
    /// where that is not what was stored.
    fn goes_back(&mut self) -> Result<bool, EngineError> {
        let Some((last, at)) = self.last.take() else {
            return Ok(false);
        };
        let Some(file) = self.files.get(self.at) else {
            return Ok(false);
        };
        let from = at + HEADER_BYTES as u64;
        let most = (self.offset - from) as usize + HEADER_BYTES;
        let bytes = file.read_before(file.limit, from, most)?;
        let body = bytes.get(..last.body_len as usize);
        let sound = body.is_some_and(|body| crc32c::crc32c(body) == last.body_crc);
        let skip = if sound { last.body_len as usize } else { 0 };
        let found = self.find_in(bytes.get(skip..).unwrap_or_default());
        let found = found.map(|found| from + (skip + found) as u64);
        let before = found.filter(|found| *found < self.offset);
        if let Some(offset) = before {
            self.offset = offset;
        }
        Ok(before.is_some())
    }

    /// Where the first record begins of which these bytes hold the header.
    fn find_in(&self, bytes: &[u8]) -> Option<usize> {
        let mut starts = 0..bytes.len().saturating_sub(HEADER_BYTES - 1);
        starts.find(|start| self.is_record(&bytes[*start..]))
    }

    /// Whether the bytes from a place to the offset, which are no record, are what displaced records
    /// leave: padding that was left over, or what is behind the last record where all that should be
    /// there stand before.
    fn is_explained(&self, place: Place) -> bool {
        let Some(file) = self.files.get(self.at) else {
            return false;
        };
        let from = u64::from(place.offset());
        if self.ahead > 0 && self.offset >= self.end {
            return from + self.ahead >= file.end;
        }
        let bytes = file.read_before(self.offset, from, ALIGNMENT);
        self.offset - from < ALIGNMENT as u64
            && bytes.is_ok_and(|bytes| bytes.iter().all(|byte| *byte == 0))
    }

    fn hole(&self, place: Place, mismatch: Mismatch, cut_off: Option<Header>) -> Seen {
        let file = self.files.get(self.at);
        Seen::Hole(Hole {
            path: file.map(|file| file.path.clone()).unwrap_or_default(),
            place,
            until: self.offset,
            mismatch,
            cut_off,
        })
    }

    /// What was read from the offset on.
    fn here(&self) -> &[u8] {
        // The way to the next record may have led further and back.
        let skip = self.offset.checked_sub(self.piece_offset);
        let here = skip.and_then(|skip| self.piece.get(usize::try_from(skip).ok()?..));
        here.unwrap_or_default()
    }

    /// Sees to it that so many bytes from the offset on are read, or all there are. A file that is
    /// shorter than was thought ends where it does.
    fn need(&mut self, count: usize) -> Result<(), EngineError> {
        let has = self.here().len();
        let Some(file) = self.files.get(self.at) else {
            return Ok(());
        };
        let left = usize::try_from(self.end.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        if has >= count.min(left) {
            return Ok(());
        }
        let want = count.max(PIECE_BYTES).min(left);
        let piece = file.read_before(self.end, self.offset, want)?;
        if piece.len() < want {
            self.end = self.offset + piece.len() as u64;
        }
        // A clone of shared bytes is cheaper to clone than bytes that were not shared yet.
        self.piece = Bytes::from(piece).clone();
        self.piece_offset = self.offset;
        Ok(())
    }

    /// Moves on to the next record whose header checks, or to the end of the file.
    fn find_next(&mut self) -> Result<(), EngineError> {
        let start = self.offset;
        // Where only another part of the header was altered, its length leads there.
        if let Some(bytes) = self.here().first_chunk::<HEADER_BYTES>()
            && u32_at(bytes, 8) as usize <= MAX_BODY_BYTES
        {
            self.offset += span(u32_at(bytes, 8) as usize) as u64;
            self.need(HEADER_BYTES)?;
            if self.is_record(self.here()) || self.look_beyond(self.offset)? {
                return Ok(());
            }
        }
        // Displaced records may stand anywhere, not only at multiples of the alignment.
        self.offset = start + 1;
        loop {
            self.need(HEADER_BYTES)?;
            let bytes = self.here();
            let places = bytes.len().saturating_sub(HEADER_BYTES - 1);
            let found = self.find_in(bytes);
            self.offset += found.unwrap_or(places) as u64;
            if found.is_some() {
                return Ok(());
            }
            if places == 0 {
                // None begins before the end; one that goes beyond it may begin just before.
                self.find_last()?;
                return Ok(());
            }
        }
    }

    /// Moves on, where no record begins before the end, to the displaced one that something put it
    /// behind, or else to the end. Returns whether there is one.
    fn find_last(&mut self) -> Result<bool, EngineError> {
        let (end, mut at) = (self.end, self.offset);
        while let Some(file) = self.files.get(self.at) {
            let bytes = file.read_before(file.limit, at, PIECE_BYTES)?;
            let mut from = 0;
            while let Some(found) = self.find_in(bytes.get(from..).unwrap_or_default()) {
                let offset = at + (from + found) as u64;
                if self.look_beyond(offset)? {
                    self.offset = offset;
                    return Ok(true);
                }
                from += found + 1;
            }
            let places = bytes.len().saturating_sub(HEADER_BYTES - 1);
            if places == 0 {
                break;
            }
            at += places as u64;
        }
        self.offset = end;
        Ok(false)
    }

    /// Whether the header of a record of the store begins here.
    fn is_record(&self, bytes: &[u8]) -> bool {
        begins(bytes) && read_header_anywhere(bytes, self.salt).is_ok()
    }

    /// The file with a number.
    fn file(&self, number: u32) -> Option<&SurveyedFile> {
        let at = self.files.partition_point(|file| file.number < number);
        self.files.get(at).filter(|file| file.number == number)
    }

    /// Whether the record that belongs at a place stands there.
    pub(crate) fn stands(&self, place: Place) -> Result<bool, EngineError> {
        let Some(file) = self.file(place.segment()) else {
            return Ok(false);
        };
        let head = file.read(u64::from(place.offset()), HEADER_BYTES)?;
        Ok(read_header(&head, place, self.salt).is_ok())
    }

    /// The header and body of the record at a place, if its header checks and it is whole.
    pub(crate) fn record_at(&self, place: Place) -> Result<Option<(Header, Vec<u8>)>, EngineError> {
        match self.file(place.segment()) {
            Some(file) => record_in(file, place, self.salt),
            None => Ok(None),
        }
    }

    /// Up to `most` bytes from a place on.
    pub(crate) fn bytes_at(&self, place: Place, most: usize) -> Result<Vec<u8>, EngineError> {
        match self.file(place.segment()) {
            Some(file) => file.read_before(file.limit, u64::from(place.offset()), most),
            None => Ok(Vec::new()),
        }
    }
}

/// The header and body of the record at a place of a file, if its header checks and it is whole.
pub(crate) fn record_in(
    file: &SurveyedFile,
    place: Place,
    salt: Salt,
) -> Result<Option<(Header, Vec<u8>)>, EngineError> {
    let offset = u64::from(place.offset());
    let head = file.read(offset, HEADER_BYTES)?;
    let Ok(header) = read_header(&head, place, salt) else {
        return Ok(None);
    };
    let len = header.body_len as usize;
    let body = file.read(offset + HEADER_BYTES as u64, len)?;
    Ok((body.len() == len).then_some((header, body)))
}
