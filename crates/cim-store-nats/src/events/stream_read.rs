//! Reads of one stream: its events by their places, its end from its leader.

use std::collections::VecDeque;
use std::sync::Arc;

use cim_store::{
    Context, Direction, EventCid, EventLogError, EventStream, RecordedEvent, StreamId, StreamRange,
    Version,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::task::coop::consume_budget;

use super::direct_read::{self, Page};
use super::heads::event_of;
use super::log::SharedLog;
use crate::api::Get;
use crate::budget::Budget;
use crate::subjects;

/// How many events are asked for at once.
const PAGE: u64 = 500;
/// Streams up to this length are asked for whole; a server answers no more than 1,024 events.
const WHOLE: u64 = 1_000;

/// Begins a read.
pub(super) async fn read(
    log: Arc<SharedLog>,
    ctx: Context,
    stream: StreamId,
    range: StreamRange,
) -> Result<EventStream, EventLogError> {
    let budget = log.session.begin(&ctx, "read_stream")?;
    let wants_all = range.from <= Version::new(1) && range.to.is_none() && range.limit.is_none();
    let remembered = log.heads.get(&stream);
    let is_short = remembered.is_none_or(|head| head.version.get() <= WHOLE);
    let (head, whole) = if wants_all && is_short {
        // Both at once: the events, and the leader's word on how many there must be.
        let (head, page) = tokio::join!(
            log.read_head(&stream, &budget),
            direct_read::whole_stream(&log.session, &stream, &budget)
        );
        (head?, Some(page?))
    } else {
        (log.read_head(&stream, &budget).await?, None)
    };
    let versions = head.and_then(|head| range.resolve(head.version));
    let Some((low, high)) = versions else {
        return Ok(stream::empty().boxed());
    };
    let mut read = StreamRead {
        log,
        ctx,
        stream,
        left: Some((low, high)),
        direction: range.direction,
        page: PAGE,
        last: None,
        ready: VecDeque::new(),
    };
    if let Some(Page::Events { mut events, .. }) = whole {
        // What others stored since the leader answered is not part of the read.
        events.retain(|event| event.version <= high);
        let in_order = events
            .iter()
            .zip(1..)
            .all(|(event, version)| event.version == Version::new(version));
        let whole = events.len() as u64 == high.get();
        if in_order && (whole || range.direction == Direction::Forwards) {
            read.deliver(events)?;
        }
    }
    Ok(stream::try_unfold(read, StreamRead::next_page)
        .map_ok(|page| stream::iter(page).map(Ok))
        .try_flatten()
        .boxed())
}

struct StreamRead {
    log: Arc<SharedLog>,
    ctx: Context,
    stream: StreamId,
    /// The versions that are yet to be asked for, lowest and highest.
    left: Option<(Version, Version)>,
    direction: Direction,
    /// How many events are asked for at once: fewer where they are large.
    page: u64,
    /// What was delivered last, in the order of delivery: its version, its CID and the one before.
    last: Option<(Version, EventCid, Option<EventCid>)>,
    ready: VecDeque<RecordedEvent>,
}

impl StreamRead {
    async fn next_page(mut self) -> Result<Option<(VecDeque<RecordedEvent>, Self)>, EventLogError> {
        if self.ready.is_empty() {
            let Some((low, high)) = self.left else {
                return Ok(None);
            };
            let budget = self.log.session.begin(&self.ctx, "read_stream")?;
            let (from, to) = match self.direction {
                Direction::Forwards => (low, high.min(Version::new(low.get() + PAGE - 1))),
                Direction::Backwards => (
                    low.max(Version::new(high.get().saturating_sub(self.page - 1))),
                    high,
                ),
            };
            let events = self.fetch(from, to, &budget).await?;
            self.deliver(events)?;
        }
        consume_budget().await;
        Ok(Some((std::mem::take(&mut self.ready), self)))
    }

    /// Gets the events of the versions `from` to `to`, all of them. Where they are large it may be
    /// fewer: forwards from `from` on, backwards up to `to`.
    async fn fetch(
        &mut self,
        mut from: Version,
        to: Version,
        budget: &Budget,
    ) -> Result<Vec<RecordedEvent>, EventLogError> {
        let log = self.log.clone();
        let mut events: Vec<RecordedEvent> = Vec::new();
        loop {
            let next = events.last().map_or(from, |event| event.version.next());
            if next > to {
                return Ok(events);
            }
            let page = direct_read::slots(&log.session, &self.stream, (next, to), budget).await?;
            let (page, more) = match page {
                Page::Events { events, more } => (events, more),
                Page::TooMany => return Err(missing(&self.stream, next)),
            };
            let before = events.len();
            for event in page {
                let due = events.last().map_or(from, |last| last.version.next());
                if event.version < due {
                    return Err(forked(&event));
                }
                if event.version > due {
                    break;
                }
                events.push(event);
            }
            let large = more && events.len() > before;
            if large && self.direction == Direction::Forwards {
                return Ok(events);
            }
            if large && before == 0 {
                // So many fit into a page; those before them come later.
                self.page = events.len() as u64;
                from = from.max(Version::new(to.get().saturating_sub(self.page - 1)));
                events.clear();
                continue;
            }
            if events.len() > before {
                continue;
            }
            // The replica that answered may be behind; the leader is not.
            let slot = subjects::slot(&self.stream, next);
            let get = Get::Last {
                last_by_subj: &slot,
            };
            match log.get(&get, budget).await? {
                Some(message) => events.push(event_of(&message)?),
                None => return Err(missing(&self.stream, next)),
            }
        }
    }

    /// Takes the next events, which are in the order of versions, for delivery.
    fn deliver(&mut self, mut events: Vec<RecordedEvent>) -> Result<(), EventLogError> {
        let (Some((low, high)), Some(first), Some(last)) = (
            self.left,
            events.first().map(|event| event.version),
            events.last().map(|event| event.version),
        ) else {
            return Ok(());
        };
        self.left = match self.direction {
            Direction::Forwards => (last < high).then(|| (last.next(), high)),
            Direction::Backwards => {
                (low < first).then(|| (low, Version::new(first.get().saturating_sub(1))))
            }
        };
        if self.direction == Direction::Backwards {
            events.reverse();
        }
        for event in &events {
            self.check_link(event)?;
        }
        self.ready.extend(events);
        Ok(())
    }

    /// Checks that an event stands where it says, behind the one that it names.
    fn check_link(&mut self, event: &RecordedEvent) -> Result<(), EventLogError> {
        let broken = |what: &str| {
            Err(EventLogError::integrity(what)
                .with("stream", &event.stream)
                .with("version", event.version)
                .with("position", event.position))
        };
        if event.stream != self.stream {
            return broken("an event of another stream stands in this one");
        }
        if event.previous.is_some() == (event.version == Version::new(1)) {
            return broken("an event does not name the one before it");
        }
        let linked = match (&self.last, self.direction) {
            (None, _) => true,
            (Some((version, cid, _)), Direction::Forwards) => {
                event.version == version.next() && event.previous == Some(*cid)
            }
            (Some((version, _, previous)), Direction::Backwards) => {
                event.version.next() == *version && *previous == Some(event.cid)
            }
        };
        if !linked {
            return broken("an event does not follow the one before it: the stream is forked");
        }
        self.last = Some((event.version, event.cid, event.previous));
        Ok(())
    }
}

#[cold]
fn forked(event: &RecordedEvent) -> EventLogError {
    EventLogError::integrity("two events have the same place: the stream is forked")
        .with("stream", &event.stream)
        .with("version", event.version)
        .with("position", event.position)
}

#[cold]
fn missing(stream: &StreamId, version: Version) -> EventLogError {
    EventLogError::integrity("an event of the stream is missing")
        .with("stream", stream)
        .with("version", version)
        .with_hint("restore the JetStream stream from a backup or from a replica that has it")
}
