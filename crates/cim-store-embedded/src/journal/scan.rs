//! Reading records one after the other, in large pieces.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::EngineError;
use crate::journal::record::{HEADER_BYTES, Header, MAX_BODY_BYTES, Mismatch, Place};
use crate::journal::segment::{FIRST_OFFSET, Segment};

/// Bytes read at a time.
const PIECE_BYTES: usize = 256 << 10;

/// Goes over the records from one place to another. Every record is checked; bodies share the
/// memory of the piece they were read with.
#[derive(Debug)]
pub(crate) struct Scan {
    segments: Arc<Vec<Arc<Segment>>>,
    /// Index of the segment at hand.
    at: usize,
    offset: u64,
    /// Where the scan ends.
    until: Place,
    piece: Bytes,
    piece_offset: u64,
    /// Whether the last record needed a piece of its own to be read.
    pub(crate) refilled: bool,
}

impl Scan {
    /// From the record at `from`, or the first one after it, up to `until`, exclusive.
    pub(crate) fn new(segments: Arc<Vec<Arc<Segment>>>, from: Place, until: Place) -> Self {
        let at = segments.partition_point(|segment| segment.number() < from.segment());
        let same = segments
            .get(at)
            .is_some_and(|segment| segment.number() == from.segment());
        let offset = if same {
            u64::from(from.offset()).max(FIRST_OFFSET)
        } else {
            FIRST_OFFSET
        };
        Self {
            segments,
            at,
            offset,
            until,
            piece: Bytes::new(),
            piece_offset: 0,
            refilled: false,
        }
    }

    /// Where the next record is looked for.
    pub(crate) fn place(&self) -> Place {
        self.segments
            .get(self.at)
            .map_or(self.until, |segment| segment.place(self.offset))
    }

    /// The next record, or `None` at the end.
    pub(crate) fn next_record(&mut self) -> Result<Option<(Header, Bytes)>, EngineError> {
        self.refilled = false;
        loop {
            let Some(segment) = self.segments.get(self.at).cloned() else {
                return Ok(None);
            };
            if segment.place(self.offset) >= self.until {
                return Ok(None);
            }
            let end = if segment.number() == self.until.segment() {
                u64::from(self.until.offset())
            } else {
                segment.end()
            };
            if self.offset >= end {
                self.at += 1;
                self.offset = FIRST_OFFSET;
                self.piece = Bytes::new();
                self.piece_offset = 0;
                continue;
            }
            return self.record_in(&segment, end).map(Some);
        }
    }

    fn record_in(&mut self, segment: &Segment, end: u64) -> Result<(Header, Bytes), EngineError> {
        for want in [PIECE_BYTES, HEADER_BYTES + MAX_BODY_BYTES] {
            let skip = (self.offset - self.piece_offset) as usize;
            let bytes = self.piece.get(skip..).unwrap_or_default();
            match segment.check(bytes, self.offset) {
                Ok((header, body)) => {
                    let body = self.piece.slice_ref(body);
                    self.offset += header.span() as u64;
                    return Ok((header, body));
                }
                // The piece may just end too early, unless it reaches to the end already.
                Err(Mismatch::Short | Mismatch::Blank) if !self.reaches(end) => {}
                Err(mismatch) => return Err(segment.damage(mismatch.to_string(), self.offset)),
            }
            self.fill(segment, end, want)?;
        }
        let skip = (self.offset - self.piece_offset) as usize;
        let bytes = self.piece.get(skip..).unwrap_or_default();
        let (header, body) = segment
            .check(bytes, self.offset)
            .map_err(|mismatch| segment.damage(mismatch.to_string(), self.offset))?;
        let body = self.piece.slice_ref(body);
        self.offset += header.span() as u64;
        Ok((header, body))
    }

    fn reaches(&self, end: u64) -> bool {
        !self.piece.is_empty() && self.piece_offset + self.piece.len() as u64 >= end
    }

    fn fill(&mut self, segment: &Segment, end: u64, want: usize) -> Result<(), EngineError> {
        let left = usize::try_from(end - self.offset).unwrap_or(usize::MAX);
        let mut piece = vec![0; want.min(left)];
        let count = segment
            .file
            .read_at(&mut piece, self.offset)
            .map_err(EngineError::io("read", &segment.path))?;
        if count < piece.len() {
            let at = self.offset + count as u64;
            return Err(segment.damage("the file is shorter than its records", at));
        }
        self.piece = piece.into();
        self.piece_offset = self.offset;
        self.refilled = true;
        Ok(())
    }
}
