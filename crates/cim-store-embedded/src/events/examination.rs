//! Handing out what the log holds, sound or not, for somebody who checks it.
//!
//! An event is filed under the stream whose last record its header links to. So an event whose
//! bytes were altered is handed out under the stream and version that it was stored under. Where
//! the record that it links to was not seen, the stream is the one that the block names.
//!
//! Records that stand elsewhere than they were written are events like any other. That they do is
//! said once for all that were moved alike, before the first of them.

use std::collections::VecDeque;
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
use crate::events::gaps::{Gap, Gaps};
use crate::events::known_streams::KnownStreams;
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
    /// The position of the next event: one more than the highest that was seen.
    expected: u64,
    /// Positions before that, which were not seen yet.
    gaps: Gaps,
    /// The last position that there should be.
    until: u64,
    /// The displaced records at hand.
    run: Option<Run>,
    /// The place that the last record says.
    last_place: Place,
    /// Holes since the last event.
    holes: Vec<Damage>,
    /// What is handed out next.
    ready: VecDeque<Examined>,
    over: bool,
    /// What tells that a truncation took files away meanwhile.
    truncation: Option<(Arc<Journal>, Arc<AtomicU64>)>,
}

/// Records that follow each other and stand as far from their places.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// Where the first of them stands.
    from: Place,
    /// The place that it was written for.
    place: Place,
    told: bool,
}

impl Run {
    /// How many bytes behind their places they stand, where both are in one file.
    fn shift(from: Place, place: Place) -> i64 {
        i64::from(from.offset()) - i64::from(place.offset())
    }

    /// Whether a record of this place, which stands at `from`, was moved as they were.
    fn goes_on(&self, from: Place, place: Place) -> bool {
        self.from.segment() == from.segment()
            && self.place.segment() == place.segment()
            && Self::shift(self.from, self.place) == Self::shift(from, place)
    }
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
            gaps: Gaps::default(),
            until: extent.until,
            run: None,
            last_place: Place::NONE,
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
                if segment.number() == end.segment() {
                    // Behind it is what is being written.
                    let end = u64::from(end.offset());
                    return SurveyedFile::of(segment, end, end);
                }
                SurveyedFile::of(segment, segment.end(), u64::MAX)
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
        self.known.streams()
    }

    /// The place that the record of the last event says, which need not be where it stands.
    pub(crate) fn last_place(&self) -> Place {
        self.last_place
    }

    fn step(&mut self) -> Option<Result<Examined, EngineError>> {
        match self.survey.next() {
            Ok(Some(Seen::Record(header, body))) => {
                self.run = None;
                self.record(&header, body, header.place).map(Ok)
            }
            Ok(Some(Seen::Displaced(header, body, at))) => {
                if !self.run.is_some_and(|run| run.goes_on(at, header.place)) {
                    self.run = Some(Run {
                        from: at,
                        place: header.place,
                        told: false,
                    });
                }
                self.record(&header, body, at).map(Ok)
            }
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

    /// What the record that stands at a place is handed out as, unless something comes before it or
    /// it is none.
    fn record(&mut self, header: &Header, body: Range<usize>, at: Place) -> Option<Examined> {
        if header.kind == SEAM {
            return None;
        }
        let found = self.examine(header, body, at);
        if header.sequence <= self.after {
            if self.run.is_some() && !self.passes_over {
                self.tell_run(); // it stands among what is handed out
            } else {
                self.holes.clear();
            }
            return None;
        }
        self.count(header.sequence, at);
        self.tell_run();
        if self.ready.is_empty() {
            return Some(found);
        }
        self.ready.push_back(found);
        None
    }

    /// Says that records are displaced, once.
    fn tell_run(&mut self) {
        let Some(run) = self.run.as_mut().filter(|run| !run.told) else {
            return;
        };
        run.told = true;
        let (from, place) = (run.from, run.place);
        let at = self.survey.words(from);
        let message = if from.segment() == place.segment() {
            let shift = Run::shift(from, place);
            let side = if shift < 0 { "before" } else { "behind" };
            format!(
                "from {at} on, records stand {} bytes {side} the place they were written for",
                shift.unsigned_abs()
            )
        } else {
            let place = self.survey.words(place);
            format!("from {at} on, records stand that were written for {place} on")
        };
        self.ready.push_back(Examined::Damage(Damage {
            position: None,
            stream: None,
            version: None,
            missing: false,
            message,
        }));
    }

    fn examine(&mut self, header: &Header, body: Range<usize>, at: Place) -> Examined {
        self.last_place = header.place;
        let displaced = at != header.place;
        // A copy of a record that stands where it belongs says nothing about the next one.
        let copied = displaced && self.survey.stands(header.place).unwrap_or(true);
        // One clone of the piece is all that an event costs: they are what takes the time here.
        let piece = self.survey.piece();
        let bytes = piece.get(body.clone()).unwrap_or_default();
        let digest = bytes.first_chunk::<DIGEST_BYTES>();
        let Some(digest) = digest.filter(|_| header.kind == EVENT) else {
            return self.no_event(header, at, "a record that is no event stands");
        };
        let cid = EventCid::from_digest(*digest);
        let known = if copied {
            self.known.at(header.previous)
        } else {
            self.known.follow(header.previous, header.place)
        };
        let stream = match known {
            Some(stream) => stream,
            None => match self.learn(header, bytes) {
                // What follows is not filed by a name that may be altered.
                Some((stream, false)) => {
                    self.known.enter_later(&stream, Place::NONE);
                    stream
                }
                Some((stream, true)) => {
                    if !displaced {
                        self.known.enter(&stream, header.place);
                    } else if !copied {
                        self.known.enter_later(&stream, header.place);
                    }
                    stream
                }
                None => return self.no_event(header, at, "an event of an unknown stream stands"),
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

    fn no_event(&self, header: &Header, at: Place, what: &str) -> Examined {
        Examined::Damage(Damage {
            position: Some(Position::new(header.sequence)),
            stream: None,
            version: Some(Version::new(header.number)),
            missing: false,
            message: format!("{what} at {}", self.survey.words(at)),
        })
    }

    /// The stream of a record that links to nothing that was seen, and whether that is certain.
    fn learn(&self, header: &Header, body: &[u8]) -> Option<(StreamId, bool)> {
        let named = stream_of(body);
        if crc32c::crc32c(body) == header.body_crc {
            return Some((named?, true));
        }
        // The bytes are not those that were stored, and neither may the name be.
        match self.stream_before(header.previous) {
            Some(stream) => Some((stream, true)),
            None => Some((named?, false)),
        }
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
            let stream = if hole.place == header.place {
                self.known.follow(header.previous, header.place)
            } else {
                self.known.at(header.previous)
            };
            if header.kind == EVENT && header.sequence > self.after {
                self.count(header.sequence, hole.place);
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

    /// Counts the event at a position, whose record stands at a place.
    fn count(&mut self, sequence: u64, at: Place) {
        if sequence == self.expected && self.holes.is_empty() {
            self.expected += 1; // the usual way
            self.passes_over = false;
            return;
        }
        let given_up = match self.account(sequence) {
            _ if sequence < self.expected => self.gaps.close(sequence),
            (first, last) => self.gaps.open(Gap {
                first,
                last,
                before: at,
            }),
        };
        if let Some(gap) = given_up {
            self.tell_gap(gap);
        }
        self.expected = self.expected.max(sequence.saturating_add(1));
        self.passes_over = false;
    }

    /// Hands out the holes since the last event. Returns the first and the last position before
    /// `next` that were not seen and are not those of a hole.
    fn account(&mut self, next: u64) -> (u64, u64) {
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
        (first, next.saturating_sub(1))
    }

    /// Says what is missing: only here it is certain that it does not come later.
    fn end(&mut self) {
        let (first, last) = self.account(self.until.saturating_add(1));
        for gap in self.gaps.take() {
            self.tell_gap(gap);
        }
        let at = format!("behind {}, where the log ends", self.survey.last_end());
        self.tell_missing(first, last, &at);
    }

    fn tell_gap(&mut self, gap: Gap) {
        let at = format!("before {}", self.survey.words(gap.before));
        self.tell_missing(gap.first, gap.last, &at);
    }

    /// Says that the positions from `first` to `last` are missing, if these are any.
    fn tell_missing(&mut self, first: u64, last: u64, at: &str) {
        if first > last {
            return;
        }
        let message = if first == last {
            format!("the event at position {first} is missing {at}")
        } else {
            format!("the events at positions {first} to {last} are missing {at}")
        };
        self.ready.push_back(Examined::Damage(Damage {
            position: Some(Position::new(first)),
            stream: None,
            version: None,
            missing: true,
            message,
        }));
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
        self.gaps.forget_through(self.after);
        self.run = None;
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
