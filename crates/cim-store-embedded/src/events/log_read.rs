//! Reading the log in the order of positions.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use cim_store::{EventFilter, EventLogError, LogQuery, Position, RecordedEvent, TimeBasis};
use futures_core::Stream;

use crate::error::EngineError;
use crate::events::record::{EVENT, decode_in};
use crate::journal::Journal;
use crate::journal::record::Place;
use crate::journal::scan::Scan;
use crate::journal::segment::{FIRST_OFFSET, Segment, Waypoint};

/// Delivers the events of the log that a query means, up to an end.
#[derive(Debug)]
pub(crate) struct LogRead {
    journal: Arc<Journal>,
    scan: Scan,
    filter: Option<EventFilter>,
    /// The last position that was looked at.
    pub(crate) last: u64,
    /// Events up to here are passed over.
    after: u64,
    /// The position that the read ends with.
    until: u64,
    left: u64,
    subject: String,
}

impl LogRead {
    /// A read up to what is flushed now.
    pub(crate) fn new(journal: Arc<Journal>, query: LogQuery) -> Result<Self, EventLogError> {
        let reached = journal.reached();
        let after = query.after.get();
        let segments = journal.segments();
        if let Some(first) = segments.first() {
            // A truncation may have taken files away since it was asked for.
            check_not_given_up(query.after, first.header.first_sequence.saturating_sub(1))?;
        }
        let from = find_start(&segments, &query.filter, after)?;
        let scan = Scan::new(segments, from.place, reached.end);
        Ok(Self {
            scan,
            filter: (!query.filter.is_all()).then_some(query.filter),
            last: from.before,
            after,
            until: reached.sequence,
            left: query.limit.unwrap_or(u64::MAX),
            subject: String::new(),
            journal,
        })
    }

    /// Goes on to what has been flushed meanwhile.
    pub(crate) fn extend(&mut self) {
        let reached = self.journal.reached();
        self.scan = Scan::new(self.journal.segments(), self.scan.place(), reached.end);
        self.until = reached.sequence;
    }

    /// A read never ends before its known end without saying so.
    fn short(&self) -> EngineError {
        let place = self.scan.place();
        let path = self.journal.setting.segment_path(place.segment());
        let what = format!("the event at position {} is missing", self.last + 1);
        EngineError::damage(what, &path, u64::from(place.offset()))
    }
}

impl Iterator for LogRead {
    type Item = Result<RecordedEvent, EventLogError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.left > 0 {
            let (header, body) = match self.scan.next_in_piece() {
                Ok(Some(found)) => found,
                Ok(None) if self.last < self.until => return Some(Err(self.end(self.short()))),
                Ok(None) => return None,
                Err(error) => return Some(Err(self.end(error))),
            };
            if header.kind != EVENT {
                continue;
            }
            if header.sequence != self.last + 1 {
                return Some(Err(self.end(self.short())));
            }
            self.last = header.sequence;
            if header.sequence <= self.after {
                continue;
            }
            let piece = self.scan.piece();
            let body = piece.get(body).unwrap_or_default();
            // Events are large; this way they are built where the caller wants them.
            match decode_in(&self.journal, &header, piece, body) {
                Ok(event) => {
                    if let Some(filter) = &self.filter
                        && !filter.matches(&event, &mut self.subject)
                    {
                        continue;
                    }
                    self.left -= 1;
                    return Some(Ok(event));
                }
                Err(error) => return Some(Err(self.end(error))),
            }
        }
        None
    }
}

impl LogRead {
    /// The error that the read ends with.
    #[cold]
    fn end(&mut self, error: EngineError) -> EventLogError {
        self.left = 0;
        self.explain(error)
    }

    /// A read that a truncation overtakes finds its files gone.
    fn explain(&self, error: EngineError) -> EventLogError {
        let segments = self.journal.segments();
        let first = segments.first().map(|first| first.header.first_sequence);
        let overtaken = self.journal.has_given_up(self.scan.place())
            || first.is_some_and(|first| first > self.last + 1);
        if !overtaken {
            return error.into();
        }
        EventLogError::not_found("a truncation overtook the read")
            .with("position", self.last + 1)
            .with_hint("read after the truncated position, or restore the archive")
    }
}

/// Where a read begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    pub(crate) place: Place,
    /// The position before the first one there.
    pub(crate) before: u64,
}

/// The nearest known place at or before the first event that is wanted.
pub(crate) fn find_start(
    segments: &[Arc<Segment>],
    filter: &EventFilter,
    after: u64,
) -> Result<Start, EngineError> {
    let since = filter
        .time
        .filter(|time| time.basis == TimeBasis::StoredAt)
        .and_then(|time| time.from)
        .map_or(i64::MIN, |from| from.as_micros());
    // Everything in what `skips` says is wanted neither by position nor by time.
    let skips =
        |sequence: u64, stored_at: i64| sequence <= after.saturating_add(1) || stored_at < since;
    let begins =
        |segment: &Arc<Segment>| skips(segment.header.first_sequence, segment.header.stored_at);
    let at = segments.partition_point(begins).max(1) - 1;
    let Some(segment) = segments.get(at) else {
        return Ok(Start {
            place: Place::NONE,
            before: 0,
        });
    };
    let skips = |waypoint: &Waypoint| skips(waypoint.sequence, waypoint.stored_at);
    let (before, offset) = segment.nearest(skips)?;
    Ok(Start {
        place: segment.place(offset),
        before,
    })
}

/// The beginning of the segment with the first event after a position.
pub(crate) fn segment_start(segments: &[Arc<Segment>], after: u64) -> Start {
    let begins = |segment: &Arc<Segment>| segment.header.first_sequence <= after.saturating_add(1);
    let at = segments.partition_point(begins).max(1) - 1;
    segments.get(at).map_or(
        Start {
            place: Place::NONE,
            before: 0,
        },
        |segment| Start {
            place: segment.place(FIRST_OFFSET),
            before: segment.header.first_sequence.saturating_sub(1),
        },
    )
}

/// Refuses a read that begins before what a truncation left.
pub(crate) fn check_not_given_up(after: Position, through: u64) -> Result<(), EventLogError> {
    if after.get() >= through {
        return Ok(());
    }
    Err(
        EventLogError::not_found("the read begins before what a truncation left")
            .with("after", after)
            .with("first position", through + 1)
            .with_hint("read after the truncated position, or restore the archive"),
    )
}

/// An iterator as a stream that gives other tasks their turn from time to time.
#[derive(Debug)]
pub(crate) struct Yielding<I> {
    iterator: I,
    turn: u32,
}

/// Items delivered in one turn.
const TURN: u32 = 512;

impl<I> Yielding<I> {
    pub(crate) fn new(iterator: I) -> Self {
        Self { iterator, turn: 0 }
    }
}

impl<I: Iterator + Unpin> Stream for Yielding<I> {
    type Item = I::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<I::Item>> {
        if self.turn == TURN {
            self.turn = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.turn += 1;
        Poll::Ready(self.iterator.next())
    }
}
