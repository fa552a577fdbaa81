//! Reading one stream: from a place that is known, along the links from each event to the one
//! before it.
//!
//! Links lead backwards only. So a read forwards goes page by page: to the end of a page by the
//! index, from there back to its beginning by the links, and then it is delivered in order.

use std::sync::Arc;

use bytes::Bytes;
use cim_store::{
    Direction, EventCid, EventLogError, RecordedEvent, StreamId, StreamRange, Version,
};

use crate::error::EngineError;
use crate::events::record::{KnownHead, decode_in, misled};
use crate::index::Index;
use crate::index::key::{IndexKey, STEP};
use crate::journal::Journal;
use crate::journal::record::{Header, Place};
use crate::journal::segment::View;

/// Versions of the first page; later pages grow as long as they stay small in bytes.
const FIRST_PAGE: u64 = 64;
const LARGEST_PAGE: u64 = 1_024;
const PAGE_BYTES: usize = 1 << 20;
/// Bytes that an event is expected to have before any was seen.
const USUAL_BYTES: usize = 640;

/// Delivers a part of a stream.
#[derive(Debug)]
pub(crate) struct StreamRead {
    journal: Arc<Journal>,
    index: Arc<Index>,
    stream: StreamId,
    direction: Direction,
    /// The versions that are yet to be read, both inclusive; nothing when low is above high.
    low: u64,
    high: u64,
    /// Events at positions up to here have been given up.
    truncated_through: u64,
    /// The nearest place above that is known: a version and where it is.
    anchor: (u64, Place),
    page: std::vec::IntoIter<Item>,
    page_bytes: Bytes,
    page_size: u64,
    /// How many bytes the page before had.
    arena_bytes: usize,
    /// The CID of the event delivered last.
    last: Option<RecordedLink>,
}

/// A record in a page: its header and where its body is.
type Item = (Header, std::ops::Range<usize>);

/// What two events that follow each other must agree on.
#[derive(Clone, Copy, Debug)]
struct RecordedLink {
    cid: EventCid,
    previous: Option<EventCid>,
}

impl StreamRead {
    /// A read of the part of a stream whose head is known. The first page is read here, so that
    /// a range that was given up is refused at once.
    pub(crate) fn new(
        journal: Arc<Journal>,
        index: Arc<Index>,
        stream: StreamId,
        range: StreamRange,
        head: KnownHead,
        truncated_through: u64,
    ) -> Result<Self, EventLogError> {
        let (low, high) = range
            .resolve(head.version)
            .map_or((1, 0), |(l, h)| (l.get(), h.get()));
        let mut read = Self {
            journal,
            index,
            stream,
            direction: range.direction,
            low,
            high,
            truncated_through,
            anchor: (head.version.get(), head.place),
            page: Vec::new().into_iter(),
            page_bytes: Bytes::new(),
            page_size: FIRST_PAGE,
            arena_bytes: 0,
            last: None,
        };
        if low <= high {
            read.next_page()?;
        }
        Ok(read)
    }

    /// A place at or above `version` from which its event can be reached in few steps.
    fn anchor_for(&self, version: u64) -> Result<(u64, Place), EngineError> {
        let step = version.next_multiple_of(STEP);
        if step >= self.anchor.0 {
            return Ok(self.anchor);
        }
        // Steps of events that were given up are gone; the way is only longer then.
        match self.index.get(IndexKey::step(self.stream.as_str(), step))? {
            Some(slot) if slot.number == step => Ok((step, slot.place)),
            Some(slot) => Err(misled(&self.journal, slot.place)),
            None => Ok(self.anchor),
        }
    }

    fn next_page(&mut self) -> Result<(), EventLogError> {
        let span = self.page_size - 1;
        let (low, high) = match self.direction {
            Direction::Forwards => (self.low, self.high.min(self.low + span)),
            Direction::Backwards => (self.low.max(self.high.saturating_sub(span)), self.high),
        };
        let (mut version, mut place) = self.anchor_for(high)?;
        let expected = match self.arena_bytes {
            0 => (high - low + 1) as usize * USUAL_BYTES,
            bytes => bytes,
        };
        let mut arena = Vec::with_capacity(expected);
        let mut items: Vec<Item> = Vec::with_capacity((high - low + 1) as usize);
        let mut view = None;
        loop {
            let segment = match &view {
                Some(view) if View::covers(view, place) => view,
                _ if self.journal.has_given_up(place) => return Err(self.given_up(version + 1)),
                _ => match self.journal.view(place) {
                    Ok(next) => view.insert(next),
                    // A truncation took it away since it was looked for.
                    Err(_) if self.journal.has_given_up(place) => {
                        return Err(self.given_up(version + 1));
                    }
                    Err(error) => return Err(error.into()),
                },
            };
            let header = segment.header(place)?;
            if header.sequence <= self.truncated_through {
                return Err(self.given_up(version + 1));
            }
            if header.number != version {
                return Err(misled(&self.journal, place).into());
            }
            if version <= high {
                // The record before is far away: it is fetched while this one is copied.
                segment.fetch(header.previous);
                let start = arena.len();
                segment.body_into(&header, &mut arena)?;
                items.push((header, start..arena.len()));
            }
            if version == low {
                break;
            }
            (version, place) = (version - 1, header.previous);
            if self.direction == Direction::Backwards && arena.len() >= PAGE_BYTES && version < high
            {
                break;
            }
        }
        if arena.len() < PAGE_BYTES / 4 {
            self.page_size = (self.page_size * 2).min(LARGEST_PAGE);
        } else if arena.len() > PAGE_BYTES {
            self.page_size = (self.page_size / 4).max(8);
        }
        match self.direction {
            Direction::Forwards => {
                items.reverse();
                self.low = high + 1;
            }
            Direction::Backwards => {
                self.high = items.last().map_or(low, |(header, _)| header.number) - 1;
                self.anchor = (version, place);
            }
        }
        self.arena_bytes = arena.len();
        self.page = items.into_iter();
        // A clone of shared bytes is cheaper to clone than bytes that were not shared yet.
        self.page_bytes = Bytes::from(arena).clone();
        Ok(())
    }

    fn given_up(&self, first: u64) -> EventLogError {
        EventLogError::not_found("the range begins before what a truncation left")
            .with("stream", &self.stream)
            .with("first version", first)
            .with_hint("read from the first version that is left, or restore the archive")
    }

    fn deliver(&mut self, item: Item) -> Result<RecordedEvent, EventLogError> {
        let (header, body) = item;
        let (owner, body) = (&self.page_bytes, self.page_bytes.get(body));
        let event = decode_in(&self.journal, &header, owner, body.unwrap_or_default())?;
        let link = RecordedLink {
            cid: event.cid,
            previous: event.previous,
        };
        let linked = match (self.last, self.direction) {
            (None, _) => true,
            (Some(last), Direction::Forwards) => link.previous == Some(last.cid),
            (Some(last), Direction::Backwards) => last.previous == Some(link.cid),
        };
        self.last = Some(link);
        if event.stream != self.stream {
            return Err(misled(&self.journal, header.place).into());
        }
        if !linked || (event.version == Version::new(1) && event.previous.is_some()) {
            return Err(EventLogError::integrity("the stream's chain is broken")
                .with("stream", &self.stream)
                .with("version", event.version)
                .with_hint("stop writing and restore the stream from a backup"));
        }
        Ok(event)
    }
}

impl Iterator for StreamRead {
    type Item = Result<RecordedEvent, EventLogError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.page.next() {
                return Some(self.deliver(item));
            }
            if self.low > self.high {
                return None;
            }
            if let Err(error) = self.next_page() {
                return Some(Err(error));
            }
        }
    }
}
