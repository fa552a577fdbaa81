//! Going over what segments hold without trusting any of it.
//!
//! A [scan](crate::journal::scan) ends at the first record that does not check. A survey says
//! where it is, looks for the next place where a record stands as it should, and goes on there. It
//! checks headers only: whoever wants to know whether a body is what was stored hashes it.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::DiskFile;
use crate::error::EngineError;
use crate::journal::record::{
    ALIGNMENT, HEADER_BYTES, Header, MAX_BODY_BYTES, Mismatch, Place, Salt, begins, read_header,
    span, u32_at,
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
    /// Where records are looked for: from byte 128 up to here.
    pub(crate) end: u64,
}

impl SurveyedFile {
    /// A segment, up to an end.
    pub(crate) fn of(segment: &Segment, end: u64) -> Self {
        Self {
            number: segment.number(),
            path: segment.path.clone(),
            file: Arc::clone(&segment.file),
            end,
        }
    }

    /// Up to `most` bytes at an offset.
    fn read(&self, offset: u64, most: usize) -> Result<Vec<u8>, EngineError> {
        let left = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX);
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
            files,
            salt,
            at,
            offset,
            piece: Bytes::new(),
            piece_offset: 0,
        }
    }

    /// What was read last.
    pub(crate) fn piece(&self) -> &Bytes {
        &self.piece
    }

    /// Where it is, in words.
    pub(crate) fn whereabouts(&self) -> String {
        match self.files.get(self.at).or_else(|| self.files.last()) {
            Some(file) => format!("byte {} of {}", self.offset, file.path.display()),
            None => "the beginning".into(),
        }
    }

    /// The path of a file, in words.
    pub(crate) fn path_of(&self, number: u32) -> String {
        let mut files = self.files.iter();
        let file = files.find(|file| file.number == number);
        file.map_or_else(String::new, |file| file.path.display().to_string())
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
        self.piece = Bytes::new();
        self.piece_offset = 0;
    }

    /// The next thing, or `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Seen>, EngineError> {
        loop {
            self.need(HEADER_BYTES)?;
            let Some(file) = self.files.get(self.at) else {
                return Ok(None);
            };
            if self.offset >= file.end {
                self.at += 1;
                self.begin_file();
                continue;
            }
            let place = Place::new(file.number, self.offset as u32);
            match read_header(self.here(), place, self.salt) {
                Ok(header) => return self.record(header).map(Some),
                Err(mismatch) => {
                    self.find_next()?;
                    return Ok(Some(self.hole(place, mismatch, None)));
                }
            }
        }
    }

    fn record(&mut self, header: Header) -> Result<Seen, EngineError> {
        let len = HEADER_BYTES + header.body_len as usize;
        self.need(len)?;
        if self.here().len() < len {
            // Its length is right, so nothing that could be read begins before it ends.
            self.offset = self.files.get(self.at).map_or(self.offset, |file| file.end);
            return Ok(self.hole(header.place, Mismatch::Short, Some(header)));
        }
        let start = (self.offset - self.piece_offset) as usize;
        self.offset += header.span() as u64;
        Ok(Seen::Record(header, start + HEADER_BYTES..start + len))
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
        let Some(file) = self.files.get_mut(self.at) else {
            return Ok(());
        };
        let left = usize::try_from(file.end.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        if has >= count.min(left) {
            return Ok(());
        }
        let want = count.max(PIECE_BYTES).min(left);
        let piece = file.read(self.offset, want)?;
        if piece.len() < want {
            file.end = self.offset + piece.len() as u64;
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
            if self.find_here(1).is_some() {
                return Ok(());
            }
        }
        self.offset = start + ALIGNMENT as u64;
        loop {
            self.need(HEADER_BYTES)?;
            if let Some(skip) = self.find_here(usize::MAX) {
                self.offset += skip as u64;
                return Ok(());
            }
            let places = self.here().len().saturating_sub(HEADER_BYTES - 1);
            if places == 0 {
                self.offset = self.files.get(self.at).map_or(self.offset, |file| file.end);
                return Ok(());
            }
            self.offset += places.next_multiple_of(ALIGNMENT) as u64;
        }
    }

    /// How far from the offset a record begins, looking at so many places of what was read.
    fn find_here(&self, places: usize) -> Option<usize> {
        let number = self.files.get(self.at)?.number;
        let bytes = self.here();
        let mut starts = (0..bytes.len()).step_by(ALIGNMENT).take(places);
        starts.find(|start| {
            let rest = bytes.get(*start..).unwrap_or_default();
            let place = Place::new(number, (self.offset + *start as u64) as u32);
            begins(rest) && read_header(rest, place, self.salt).is_ok()
        })
    }

    /// The header and body of the record at a place, if its header checks and it is whole.
    pub(crate) fn record_at(&self, place: Place) -> Result<Option<(Header, Vec<u8>)>, EngineError> {
        let number = place.segment();
        let at = self.files.partition_point(|file| file.number < number);
        match self.files.get(at).filter(|file| file.number == number) {
            Some(file) => record_in(file, place, self.salt),
            None => Ok(None),
        }
    }

    /// Up to `most` bytes from a place on.
    pub(crate) fn bytes_at(&self, place: Place, most: usize) -> Result<Vec<u8>, EngineError> {
        let mut files = self.files.iter();
        match files.find(|file| file.number == place.segment()) {
            Some(file) => file.read(u64::from(place.offset()), most),
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
