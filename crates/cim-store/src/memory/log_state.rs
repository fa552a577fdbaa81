//! What the log holds: events by position, streams, commits. Plain data without locks or awaits.
//!
//! Positions have no gaps here, so an event's place in the queue follows from its position.
//! Everything that can fail happens before the first change; a commit then appears as a whole.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::PAGE;
use crate::staging::{self, ContentDigest, Placement};
use crate::{
    Append, Appended, CommitId, Context, Direction, EventCid, EventFilter, EventId, EventLogError,
    Head, LogStats, NewEvent, Position, RecordedEvent, StreamId, StreamRange, TimeBasis, Timestamp,
    Version, positions,
};

/// An event and the size of its block.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) event: RecordedEvent,
    block_bytes: u64,
}

/// Everything the log holds.
#[derive(Debug, Default)]
pub(super) struct LogState {
    /// The events after `truncated_through`, without gaps.
    events: VecDeque<Arc<Stored>>,
    truncated_through: Position,
    /// In the order of their first events; they never go away.
    streams: Vec<StreamState>,
    stream_numbers: HashMap<StreamId, usize>,
    commits: HashMap<CommitId, StoredCommit>,
    last_stored_at: Option<Timestamp>,
    block_bytes: u64,
}

#[derive(Debug)]
struct StreamState {
    head: Head,
    /// Where its events stand, those that were not truncated; the last one is the head.
    positions: VecDeque<Position>,
}

impl StreamState {
    /// The first version that can be read; the one after the head when none can be.
    fn first(&self) -> Version {
        let readable = self.positions.len() as u64;
        Version::new(self.head.version.get().saturating_sub(readable)).next()
    }
}

/// What is remembered of a commit for ever, also when its events were truncated.
#[derive(Debug)]
struct StoredCommit {
    result: Appended,
    /// What its events say, to tell a repetition from another commit.
    content: ContentDigest,
}

impl LogState {
    /// The position of the last event ever stored.
    pub(super) fn last(&self) -> Position {
        Position::new(self.truncated_through.get() + self.events.len() as u64)
    }

    pub(super) fn truncated_through(&self) -> Position {
        self.truncated_through
    }

    /// Stores the commit, which is completed and within the limits, or returns the result of the
    /// first time.
    pub(super) fn append(
        &mut self,
        append: &Append,
        commit_id: CommitId,
        ctx: &Context,
        now: Timestamp,
    ) -> Result<Appended, EventLogError> {
        if let Some(commit) = self.commits.get(&commit_id) {
            staging::check_repetition(append, commit_id, commit.content)?;
            return Ok(commit.result.clone());
        }
        self.check_expectations(append)?;
        let stored_at = self.last_stored_at.map_or(now, |last| last.max(now));
        let (events, heads) = self.stage(append, commit_id, ctx, stored_at);
        let result = Appended {
            commit_id,
            position: events
                .last()
                .map_or(Position::NONE, |stored| stored.event.position),
            stored_at: Some(stored_at),
            heads,
        };
        if !events.is_empty() {
            self.apply(append, events, &result);
        }
        Ok(result)
    }

    fn check_expectations(&self, append: &Append) -> Result<(), EventLogError> {
        for (stream, expected) in append.expectations() {
            let actual = self.head(stream).map_or(Version::NONE, |head| head.version);
            if !expected.is_met_by(actual) {
                return Err(EventLogError::version_conflict(
                    stream.clone(),
                    expected,
                    actual,
                ));
            }
        }
        Ok(())
    }

    /// Makes the commit's events and the new heads of their streams; changes nothing.
    fn stage(
        &self,
        append: &Append,
        commit_id: CommitId,
        ctx: &Context,
        stored_at: Timestamp,
    ) -> (Vec<Arc<Stored>>, Vec<Head>) {
        let count = append.event_count();
        let mut events = Vec::with_capacity(count);
        let mut heads = Vec::with_capacity(append.writes.len());
        let mut block = Vec::new();
        let mut position = self.last();
        for write in &append.writes {
            let mut head = self.head(&write.stream).cloned();
            for event in &write.events {
                position = position.next();
                let place = Placement {
                    stream: &write.stream,
                    version: head
                        .as_ref()
                        .map_or(Version::NONE, |head| head.version)
                        .next(),
                    previous: head.as_ref().map(|head| head.cid),
                    commit_id,
                    // The limits keep both far below what 32 bits hold.
                    index: events.len() as u32,
                    count: count as u32,
                };
                block.clear();
                let cid = staging::encode_event(event, &place, ctx, &mut block);
                head = Some(Head {
                    stream: write.stream.clone(),
                    version: place.version,
                    position,
                    cid,
                });
                events.push(Arc::new(Stored {
                    event: recorded(event, &place, ctx, cid, position, stored_at),
                    block_bytes: block.len() as u64,
                }));
            }
            if !write.events.is_empty() {
                heads.extend(head);
            }
        }
        (events, heads)
    }

    /// Takes over what was staged. Nothing here can fail.
    fn apply(&mut self, append: &Append, events: Vec<Arc<Stored>>, result: &Appended) {
        for head in &result.heads {
            match self.stream_numbers.get(&head.stream) {
                Some(number) => {
                    if let Some(stream) = self.streams.get_mut(*number) {
                        stream.head = head.clone();
                    }
                }
                None => {
                    let number = self.streams.len();
                    self.stream_numbers.insert(head.stream.clone(), number);
                    self.streams.push(StreamState {
                        head: head.clone(),
                        positions: VecDeque::new(),
                    });
                }
            }
        }
        for stored in events {
            self.block_bytes += stored.block_bytes;
            if let Some(stream) = self.stream_mut(&stored.event.stream) {
                stream.positions.push_back(stored.event.position);
            }
            self.events.push_back(stored);
        }
        let commit = StoredCommit {
            result: result.clone(),
            content: ContentDigest::of_append(append),
        };
        self.commits.insert(result.commit_id, commit);
        self.last_stored_at = result.stored_at;
    }

    pub(super) fn head(&self, stream: &StreamId) -> Option<&Head> {
        self.stream(stream).map(|stream| &stream.head)
    }

    fn stream(&self, stream: &StreamId) -> Option<&StreamState> {
        self.streams.get(*self.stream_numbers.get(stream)?)
    }

    fn stream_mut(&mut self, stream: &StreamId) -> Option<&mut StreamState> {
        self.streams.get_mut(*self.stream_numbers.get(stream)?)
    }

    /// The heads of the streams with these numbers, as many as there are.
    pub(super) fn heads(&self, from: usize, count: usize) -> impl Iterator<Item = &Head> {
        let streams = self.streams.iter().skip(from).take(count);
        streams.map(|stream| &stream.head)
    }

    pub(super) fn stream_count(&self) -> usize {
        self.streams.len()
    }

    pub(super) fn result_of(&self, commit: CommitId) -> Option<&Appended> {
        self.commits.get(&commit).map(|commit| &commit.result)
    }

    pub(super) fn stats(&self) -> LogStats {
        LogStats {
            events: self.events.len() as u64,
            streams: self.streams.len() as u64,
            first: match self.events.front() {
                Some(stored) => stored.event.position,
                None => Position::NONE,
            },
            last: self.last(),
            truncated_through: self.truncated_through,
            bytes: self.block_bytes,
        }
    }

    /// The next events after `after`, up to `through`.
    pub(super) fn log_page(
        &self,
        after: Position,
        through: Position,
    ) -> Result<Vec<Arc<Stored>>, EventLogError> {
        self.check_not_truncated(after)?;
        let passed = self.index_after(after);
        let end = self.index_after(through);
        let page = self.events.iter().take(end).skip(passed).take(PAGE);
        Ok(page.cloned().collect())
    }

    /// Refuses a read after this position when it would miss events that were truncated.
    pub(super) fn check_not_truncated(&self, after: Position) -> Result<(), EventLogError> {
        if after >= self.truncated_through {
            return Ok(());
        }
        Err(
            EventLogError::not_found("the events after this position were truncated")
                .with("after", after)
                .with("first position", self.truncated_through.next())
                .with_hint("begin at the first position, and take older events from the archive"),
        )
    }

    /// How many of the events that can be read have this position or a smaller one.
    fn index_after(&self, position: Position) -> usize {
        let passed = position
            .get()
            .saturating_sub(self.truncated_through.get())
            .min(self.events.len() as u64);
        passed as usize // at most a length
    }

    /// The part of the log, after one position and up to another, outside which nothing is
    /// meant: found by seeking, because the times at which events were stored never decrease.
    pub(super) fn seek(&self, filter: &EventFilter) -> (Position, Position) {
        let Some(range) = filter
            .time
            .filter(|range| range.basis == TimeBasis::StoredAt)
        else {
            return (Position::NONE, Position::MAX);
        };
        let before = |time: Timestamp| {
            let index = self
                .events
                .partition_point(|stored| stored.event.stored_at < time);
            Position::new(self.truncated_through.get() + index as u64)
        };
        (
            range.from.map_or(Position::NONE, before),
            range.to.map_or(Position::MAX, before),
        )
    }

    /// The versions that a read of this stream has to deliver, or `None` when there are none.
    pub(super) fn stream_range(
        &self,
        stream: &StreamId,
        range: &StreamRange,
    ) -> Result<Option<(Version, Version)>, EventLogError> {
        let Some(state) = self.stream(stream) else {
            return Ok(None);
        };
        let Some((low, high)) = range.resolve(state.head.version) else {
            return Ok(None);
        };
        if low < state.first() {
            return Err(
                EventLogError::not_found("the first events of this range were truncated")
                    .with("stream", stream)
                    .with("from", low)
                    .with("first version", state.first())
                    .with_hint(
                        "begin at the first version, and take older events from the archive",
                    ),
            );
        }
        Ok(Some((low, high)))
    }

    /// The next events of a stream, of the versions `low` to `high`, which exist.
    pub(super) fn stream_page(
        &self,
        stream: &StreamId,
        (low, high): (Version, Version),
        direction: Direction,
    ) -> Result<Vec<Arc<Stored>>, EventLogError> {
        let rest = StreamRange::from(low).to(high);
        // A truncation may have overtaken the read.
        self.stream_range(stream, &rest)?;
        let state = self.stream(stream).ok_or_else(|| missing(stream, low))?;
        let page = StreamRange {
            direction,
            ..rest.limit(PAGE as u64)
        };
        let (from, to) = page.resolve(high).ok_or_else(|| missing(stream, low))?;
        let mut events = Vec::with_capacity(PAGE);
        for number in from.get()..=to.get() {
            let version = Version::new(number);
            let stored = self.event_of(state, version);
            events.push(stored.cloned().ok_or_else(|| missing(stream, version))?);
        }
        if direction == Direction::Backwards {
            events.reverse();
        }
        Ok(events)
    }

    fn event_of(&self, state: &StreamState, version: Version) -> Option<&Arc<Stored>> {
        let index = version.get().checked_sub(state.first().get())?;
        let position = state.positions.get(usize::try_from(index).ok()?)?;
        self.event_at(*position).filter(|stored| {
            stored.event.version == version && stored.event.stream == state.head.stream
        })
    }

    fn event_at(&self, position: Position) -> Option<&Arc<Stored>> {
        self.events
            .get(self.index_after(position).checked_sub(1)?)
            .filter(|stored| stored.event.position == position)
    }

    /// The event at this position, for somebody who asks for it alone.
    pub(super) fn event_to_read(&self, position: Position) -> Result<Arc<Stored>, EventLogError> {
        if let Some(stored) = self.event_at(position) {
            return Ok(stored.clone());
        }
        let was_there = Position::NONE < position && position <= self.truncated_through;
        Err(if was_there {
            positions::given_up(position, self.truncated_through.next())
        } else {
            positions::no_event(position)
        })
    }

    /// Whether the log can be cut after this position.
    pub(super) fn check_cut(&self, through: Position) -> Result<(), EventLogError> {
        let not_there = |message| {
            Err(EventLogError::not_found(message)
                .with("position", through)
                .with("first position", self.truncated_through.next())
                .with("last position", self.last()))
        };
        if through <= self.truncated_through {
            return not_there("the event at this position was truncated before");
        }
        if through > self.last() {
            return not_there("there is no event at this position");
        }
        let Some(stored) = self.event_at(through) else {
            return Err(EventLogError::integrity("an event of the log is missing")
                .with("position", through));
        };
        let event = &stored.event;
        if event.commit_index + 1 != event.commit_count {
            let (index, count) = (event.commit_index + 1, event.commit_count);
            return Err(
                EventLogError::invalid("the log can't be cut inside a commit")
                    .with("position", through)
                    .with("commit", event.commit_id)
                    .with("event", format!("{index} of {count}"))
                    .with_hint("cut after the commit's last event"),
            );
        }
        Ok(())
    }

    /// Gives up the events up to `through`, and hands them back so that they are freed without
    /// the lock.
    pub(super) fn cut(&mut self, through: Position) -> Vec<Arc<Stored>> {
        let count = self.index_after(through);
        let gone: Vec<_> = self.events.drain(..count).collect();
        for stored in &gone {
            self.block_bytes -= stored.block_bytes;
            if let Some(stream) = self.stream_mut(&stored.event.stream) {
                stream.positions.pop_front();
            }
        }
        self.truncated_through = through.max(self.truncated_through);
        gone
    }
}

/// The event as it will be read.
fn recorded(
    event: &NewEvent,
    place: &Placement<'_>,
    ctx: &Context,
    cid: EventCid,
    position: Position,
    stored_at: Timestamp,
) -> RecordedEvent {
    RecordedEvent {
        // The event was completed; what it lacked would be zero in its block too.
        id: event.id.unwrap_or(EventId::from_bytes([0; 16])),
        stream: place.stream.clone(),
        version: place.version,
        position,
        event_type: event.event_type.clone(),
        schema_version: event.schema_version,
        time: event.time.unwrap_or_default(),
        stored_at,
        content_type: event.content_type.clone(),
        payload: event.payload.clone(),
        metadata: event.metadata.clone(),
        commit_id: place.commit_id,
        commit_index: place.index,
        commit_count: place.count,
        correlation_id: event.correlation_id,
        causation_id: event.causation_id,
        principal: ctx.principal().cloned(),
        trace: ctx.trace().cloned(),
        cid,
        previous: place.previous,
    }
}

#[cold]
fn missing(stream: &StreamId, version: Version) -> EventLogError {
    EventLogError::integrity("an event of the stream is missing")
        .with("stream", stream)
        .with("version", version)
}
