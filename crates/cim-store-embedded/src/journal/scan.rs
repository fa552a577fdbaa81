//! Reading records one after the other, in large pieces.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::EngineError;
use crate::journal::record::{HEADER_BYTES, Header, MAX_BODY_BYTES, Mismatch, Place};
use crate::journal::segment::{FIRST_OFFSET, Segment};

/// Bytes read at a time.
const PIECE_BYTES: usize = 64 << 10;

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
        let found = self.next_in_piece()?;
        Ok(found.map(|(header, body)| (header, self.piece.slice(body))))
    }

    /// The next record, and where its body is in the [piece](Self::piece); `None` at the end.
    pub(crate) fn next_in_piece(&mut self) -> Result<Option<(Header, Range<usize>)>, EngineError> {
        loop {
            let Some(segment) = self.segments.get(self.at) else {
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
            if self.offset < end {
                return self.record_before(end).map(Some);
            }
            self.at += 1;
            self.offset = FIRST_OFFSET;
            self.piece = Bytes::new();
            self.piece_offset = 0;
        }
    }

    /// The piece of the file that was read last.
    pub(crate) fn piece(&self) -> &Bytes {
        &self.piece
    }

    fn record_before(&mut self, end: u64) -> Result<(Header, Range<usize>), EngineError> {
        let mut wanted = [PIECE_BYTES, HEADER_BYTES + MAX_BODY_BYTES].into_iter();
        loop {
            let Some(segment) = self.segments.get(self.at) else {
                return Err(EngineError::closed()); // the caller has just looked at it
            };
            let skip = (self.offset - self.piece_offset) as usize;
            let bytes = self.piece.get(skip..).unwrap_or_default();
            let mismatch = match segment.check(bytes, self.offset) {
                Ok((header, body)) => {
                    let start = skip + HEADER_BYTES;
                    let range = start..start + body.len();
                    self.offset += header.span() as u64;
                    return Ok((header, range));
                }
                Err(mismatch) => mismatch,
            };
            // The piece may just end too early, unless it reaches to the end already.
            let early = matches!(mismatch, Mismatch::Short | Mismatch::Blank) && !self.reaches(end);
            match wanted.next() {
                Some(want) if early => {
                    let segment = Arc::clone(segment);
                    self.fill(&segment, end, want)?;
                }
                _ => return Err(segment.damage(mismatch.to_string(), self.offset)),
            }
        }
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
        // A clone of shared bytes is cheaper to clone than bytes that were not shared yet.
        self.piece = Bytes::from(piece).clone();
        self.piece_offset = self.offset;
        Ok(())
    }
}
