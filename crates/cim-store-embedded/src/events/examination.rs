//! Handing out what the log holds, sound or not, for somebody who checks it.
//!
//! An event is filed under the stream whose last record its header links to. So an event whose
//! bytes were altered is handed out under the stream and version that it was stored under. Where
//! the record that it links to was not seen, the stream is the one that the block names.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cim_ipld::EventBlock;
use cim_store::{
    Damage, EventCid, EventFilter, EventLogError, Examination, Examined, ExaminedEvent, Position,
    StreamId, Timestamp, Version,
};
use futures_util::StreamExt;

use crate::error::EngineError;
use crate::events::log::EmbeddedLog;
use crate::events::log_read::{Yielding, find_start, segment_start};
use crate::events::record::{DIGEST_BYTES, EVENT};
use crate::journal::Journal;
use crate::journal::record::{HEADER_BYTES, Header, MAX_BODY_BYTES, Place, u32_at};
use crate::journal::recovery::SEAM;
use crate::journal::survey::{Hole, Seen, Survey, SurveyedFile};

/// How many links are followed backwards to learn the stream of an altered event.
const STEPS_BACK: usize = 16;

/// Goes over a log. An item is `None` where there is nothing to hand out yet, so that a long way
/// to the next event can be interrupted.
#[derive(Debug)]
pub(crate) struct Examiner {
    survey: Survey,
    known: KnownStreams,
    /// Events up to here are passed over.
    after: u64,
    /// Whether there may be something before the first event that is handed out.
    passes_over: bool,
    /// The position of the next event.
    expected: u64,
    /// The last position that there should be.
    until: u64,
    /// Holes since the last event.
    holes: Vec<Damage>,
    /// What is handed out next.
    ready: VecDeque<Examined>,
    over: bool,
    /// What tells that a truncation took files away meanwhile.
    truncation: Option<(Arc<Journal>, Arc<AtomicU64>)>,
}

/// From where to where a log is examined.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// The position before the first one that is looked at.
    pub(crate) before: u64,
    /// Events up to this position are passed over.
    pub(crate) after: u64,
    /// The last position that there should be.
    pub(crate) until: u64,
}

impl Examiner {
    pub(crate) fn new(survey: Survey, extent: Extent) -> Self {
        Self {
            survey,
            known: KnownStreams::default(),
            after: extent.after,
            passes_over: extent.after > extent.before,
            expected: extent.after.saturating_add(1),
            until: extent.until,
            holes: Vec::new(),
            ready: VecDeque::new(),
            over: false,
            truncation: None,
        }
    }

    /// Of a log that is open, as it is now.
    pub(crate) fn of_log(log: &EmbeddedLog, after: Position) -> Self {
        // In this order: what is given up has been reached before.
        let reached = log.journal.reached();
        let segments = log.journal.segments();
        let after = after.get().max(log.truncated_through());
        let start = find_start(&segments, &EventFilter::all(), after)
            .unwrap_or_else(|_| segment_start(&segments, after));
        let end = reached.end;
        let files = segments
            .iter()
            .filter(|segment| segment.number() <= end.segment())
            .map(|segment| {
                let last = segment.number() == end.segment();
                let end = if last {
                    u64::from(end.offset())
                } else {
                    segment.end()
                };
                SurveyedFile::of(segment, end)
            });
        let survey = Survey::new(files.collect(), log.journal.setting.salt, start.place);
        let extent = Extent {
            before: start.before,
            after,
            until: reached.sequence,
        };
        let mut examiner = Self::new(survey, extent);
        let through = Arc::clone(&log.truncated_through);
        examiner.truncation = Some((Arc::clone(&log.journal), through));
        examiner
    }

    /// Hands out everything up to the end.
    pub(crate) fn into_examination(self) -> Examination {
        examination(self)
    }

    /// The streams whose events were seen, also of those that were passed over.
    pub(crate) fn streams(&self) -> impl Iterator<Item = &StreamId> {
        self.known.streams.iter().map(|(stream, _)| stream)
    }

    fn step(&mut self) -> Option<Result<Examined, EngineError>> {
        match self.survey.next() {
            Ok(Some(Seen::Record(header, body))) => self.record(&header, body).map(Ok),
            Ok(Some(Seen::Hole(hole))) => self.hole(hole).err().map(Err),
            Ok(None) => {
                self.over = true;
                self.end();
                None
            }
            Err(error) => {
                if self.was_overtaken() {
                    return None;
                }
                self.over = true;
                Some(Err(error))
            }
        }
    }

    /// What the record is handed out as, unless something comes before it or it is none.
    fn record(&mut self, header: &Header, body: Range<usize>) -> Option<Examined> {
        if header.kind == SEAM {
            return None;
        }
        let found = self.examine(header, body);
        if header.sequence <= self.after {
            self.holes.clear();
            return None;
        }
        self.count(header.sequence);
        if self.ready.is_empty() {
            return Some(found);
        }
        self.ready.push_back(found);
        None
    }

    fn examine(&mut self, header: &Header, body: Range<usize>) -> Examined {
        // One clone of the piece is all that an event costs: they are what takes the time here.
        let piece = self.survey.piece();
        let bytes = piece.get(body.clone()).unwrap_or_default();
        let digest = bytes.first_chunk::<DIGEST_BYTES>();
        let Some(digest) = digest.filter(|_| header.kind == EVENT) else {
            return self.no_event(header, "a record that is no event stands");
        };
        let cid = EventCid::from_digest(*digest);
        let stream = match self.known.follow(header.previous, header.place) {
            Some(stream) => stream,
            None => match self.learn(header, bytes) {
                Some(stream) => {
                    self.known.enter(&stream, header.place);
                    stream
                }
                None => return self.no_event(header, "an event of an unknown stream stands"),
            },
        };
        Examined::Event(ExaminedEvent {
            position: Position::new(header.sequence),
            stored_at: Timestamp::from_micros(header.stored_at),
            stream,
            version: Version::new(header.number),
            cid,
            block: piece.slice(body.start + DIGEST_BYTES..body.end),
        })
    }

    fn no_event(&self, header: &Header, what: &str) -> Examined {
        let file = self.survey.path_of(header.place.segment());
        Examined::Damage(Damage {
            position: Some(Position::new(header.sequence)),
            stream: None,
            version: Some(Version::new(header.number)),
            missing: false,
            message: format!("{what} at byte {} of {file}", header.place.offset()),
        })
    }

    /// The stream of a record that links to nothing that was seen.
    fn learn(&self, header: &Header, body: &[u8]) -> Option<StreamId> {
        let named = stream_of(body);
        if crc32c::crc32c(body) == header.body_crc {
            return named;
        }
        // The bytes are not those that were stored, and neither may the name be.
        self.stream_before(header.previous).or(named)
    }

    /// The stream of the record at a place, or of one before it.
    fn stream_before(&self, mut place: Place) -> Option<StreamId> {
        for _ in 0..STEPS_BACK {
            // Where it can't be read there is nothing to learn from it.
            let (header, body) = self.survey.record_at(place).ok()??;
            if crc32c::crc32c(&body) == header.body_crc {
                return stream_of(&body);
            }
            place = header.previous;
        }
        None
    }

    /// Notes bytes that are no record; what they are is said when the next event tells how many
    /// positions are missing there.
    fn hole(&mut self, hole: Hole) -> Result<(), EngineError> {
        let from = format!("at byte {} of {}", hole.place.offset(), hole.path.display());
        if let Some(header) = hole.cut_off {
            let stream = self.known.follow(header.previous, header.place);
            if header.kind == EVENT && header.sequence > self.after {
                self.count(header.sequence);
                self.ready.push_back(Examined::Damage(Damage {
                    position: Some(Position::new(header.sequence)),
                    stream,
                    version: Some(Version::new(header.number)),
                    missing: false,
                    message: format!("{} {from}, where the file ends", hole.mismatch),
                }));
            }
            return Ok(());
        }
        let found = self.recognize(&hole)?;
        // No link to this place counts: what stands there may have stood elsewhere before.
        let (stream, version) = found.unzip();
        self.holes.push(Damage {
            position: None,
            stream,
            version,
            missing: false,
            message: format!(
                "{} {from}; what follows is sound from byte {}",
                hole.mismatch, hole.until
            ),
        });
        Ok(())
    }

    /// Stream and version of the event whose header does not check, if its block is still there.
    fn recognize(&self, hole: &Hole) -> Result<Option<(StreamId, Version)>, EngineError> {
        let room = (hole.until - u64::from(hole.place.offset())) as usize;
        let most = room.min(HEADER_BYTES + MAX_BODY_BYTES);
        let bytes = self.survey.bytes_at(hole.place, most)?;
        let Some((head, body)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        // Its length stands in the header; otherwise it goes to the next record, but for padding.
        let lengths = (0..8).filter_map(|padding| body.len().checked_sub(padding));
        let lengths = std::iter::once(u32_at(head, 8) as usize).chain(lengths);
        Ok(lengths
            .filter_map(|len| body.get(DIGEST_BYTES..len))
            .find_map(|block| {
                let block = EventBlock::decode(block).ok()?;
                let stream = StreamId::parse(block.stream.to_owned()).ok()?;
                Some((stream, Version::new(block.version)))
            }))
    }

    /// Says what is missing before the event at a position.
    fn count(&mut self, sequence: u64) {
        if sequence == self.expected && self.holes.is_empty() {
            self.expected += 1; // the usual way
            self.passes_over = false;
            return;
        }
        let before = format!("before {}", self.survey.whereabouts());
        self.account(sequence, &before);
        self.expected = self.expected.max(sequence.saturating_add(1));
        self.passes_over = false;
    }

    /// Hands out the holes since the last event, and says which positions up to `next` are missing
    /// beside them.
    fn account(&mut self, next: u64, at: &str) {
        let missing = next.saturating_sub(self.expected);
        let mut first = self.expected;
        let mut holes = std::mem::take(&mut self.holes);
        if missing == 0 && self.passes_over {
            holes.clear(); // all of them lie before what is handed out
        }
        if missing > 0
            && let Some(hole) = holes.first_mut()
        {
            hole.position = Some(Position::new(first));
            first += 1;
        }
        self.ready.extend(holes.into_iter().map(Examined::Damage));
        if first >= next {
            return;
        }
        let message = if first + 1 == next {
            format!("the event at position {first} is missing {at}")
        } else {
            format!(
                "the events at positions {first} to {} are missing {at}",
                next - 1
            )
        };
        self.ready.push_back(Examined::Damage(Damage {
            position: Some(Position::new(first)),
            stream: None,
            version: None,
            missing: true,
            message,
        }));
    }

    /// Says what is missing at the end.
    fn end(&mut self) {
        let at = format!("behind {}, where the log ends", self.survey.whereabouts());
        self.account(self.until.saturating_add(1), &at);
    }

    /// Whether a truncation took the file at hand away; then the examination goes on behind it.
    fn was_overtaken(&mut self) -> bool {
        let Some((journal, through)) = &self.truncation else {
            return false;
        };
        let first = journal.first_segment();
        if self.survey.segment().is_none_or(|number| number >= first) {
            return false;
        }
        self.after = self.after.max(through.load(Ordering::Acquire));
        self.expected = self.expected.max(self.after + 1);
        self.passes_over = true;
        self.holes.clear();
        self.survey.skip_to(first);
        true
    }
}

impl Iterator for Examiner {
    type Item = Option<Result<Examined, EventLogError>>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(ready) = self.ready.pop_front() {
            return Some(Some(Ok(ready)));
        }
        if self.over {
            return None;
        }
        Some(self.step().map(|found| found.map_err(EventLogError::from)))
    }
}

/// Hands out what an iterator gives, and gives other tasks their turn where it takes long.
pub(crate) fn examination(
    items: impl Iterator<Item = Option<Result<Examined, EventLogError>>> + Send + Unpin + 'static,
) -> Examination {
    Yielding::new(items).filter_map(std::future::ready).boxed()
}

/// The stream that the block in an event's body names.
fn stream_of(body: &[u8]) -> Option<StreamId> {
    let block = EventBlock::decode(body.get(DIGEST_BYTES..)?).ok()?;
    StreamId::parse(block.stream.to_owned()).ok()
}

/// The streams that were seen, each with the place of its last record.
#[derive(Debug, Default)]
struct KnownStreams {
    streams: Vec<(StreamId, Place)>,
    /// The index of the stream whose last record is at a place.
    links: HashMap<u64, u32, BuildHasherDefault<PlaceHasher>>,
    /// The index of a stream, by its name. Only asked where a link leads to nowhere.
    names: HashMap<StreamId, u32>,
}

impl KnownStreams {
    /// The stream whose last record is at `previous`; from now on it is at `place`.
    #[inline]
    fn follow(&mut self, previous: Place, place: Place) -> Option<StreamId> {
        if previous == Place::NONE {
            return None;
        }
        let index = self.links.remove(&previous.bits())?;
        let (stream, last) = self.streams.get_mut(index as usize)?;
        *last = place;
        self.links.insert(place.bits(), index);
        Some(stream.clone())
    }

    /// The last record of a stream is at `place`.
    fn enter(&mut self, stream: &StreamId, place: Place) {
        let index = match self.names.get(stream) {
            Some(index) => {
                if let Some((_, last)) = self.streams.get_mut(*index as usize) {
                    self.links.remove(&last.bits());
                    *last = place;
                }
                *index
            }
            None => {
                let index = self.streams.len() as u32;
                self.streams.push((stream.clone(), place));
                self.names.insert(stream.clone(), index);
                index
            }
        };
        self.links.insert(place.bits(), index);
    }
}

/// Spreads places, which are multiples of eight.
#[derive(Clone, Copy, Debug, Default)]
struct PlaceHasher(u64);

impl Hasher for PlaceHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0.rotate_left(8) ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, place: u64) {
        // Multiplicative hashing by the golden ratio (Knuth, The Art of Computer Programming,
        // volume 3, section 6.4); the upper half is the better spread one.
        let product = place.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ product >> 32;
    }
}
