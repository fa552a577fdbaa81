//! Reads events by their positions: all of them are asked for together, so that it takes one round
//! trip.
//!
//! Any replica may answer, because a message never changes; what a replica does not have the leader
//! is asked for. An event of several is delivered where the last one of its commit is there, too.

use std::collections::BTreeMap;

use cim_store::{Clock, EventLogError, Position, RecordedEvent, SystemClock, positions};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::direct_read::{self, One};
use super::heads::{event_of, incomplete};
use super::log::SharedLog;
use super::log_read::is_event;
use crate::api::{Get, StoredMessage};
use crate::budget::Budget;
use crate::error;
use crate::session::BEHIND;
use crate::store::check_complete;

/// How many messages are asked for together.
const PIECE: usize = 16;
/// How often this is done at the same time. Each message may have a MiB, and a server ends a
/// connection that has too much to read.
const PIECES: usize = 2;

/// Reads the events at these positions, in this order.
pub(super) async fn read(
    log: &SharedLog,
    wanted: &[Position],
    budget: &Budget,
) -> Result<Vec<RecordedEvent>, EventLogError> {
    let mut found = BTreeMap::new();
    log.fetch(wanted.iter().copied(), &mut found, budget)
        .await?;
    for position in wanted {
        if !found.contains_key(position) {
            return Err(positions::no_event(*position));
        }
    }
    log.check_commits(&found, budget).await?;
    Ok(wanted
        .iter()
        .filter_map(|position| found.get(position).cloned())
        .collect())
}

/// Where the last event of an event's commit stands.
fn end_of_commit(event: &RecordedEvent) -> Position {
    let behind = event.commit_count - 1 - event.commit_index;
    Position::new(event.position.get() + u64::from(behind))
}

impl SharedLog {
    /// Gets the events at these positions, as far as there are events.
    async fn fetch(
        &self,
        wanted: impl Iterator<Item = Position>,
        found: &mut BTreeMap<Position, RecordedEvent>,
        budget: &Budget,
    ) -> Result<(), EventLogError> {
        let wanted = wanted.filter(|at| *at > Position::NONE);
        let mut wanted: Vec<u64> = wanted.map(Position::get).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let pieces: Vec<_> = wanted.chunks(PIECE).map(<[u64]>::to_vec).collect();
        let mut pieces = stream::iter(pieces)
            .map(|piece| self.events_at(piece, budget))
            .buffer_unordered(PIECES);
        while let Some(events) = pieces.try_next().await? {
            found.extend(events.into_iter().map(|event| (event.position, event)));
        }
        Ok(())
    }

    /// Checks that all commits of these events are whole: that their last events stand where they
    /// must.
    async fn check_commits(
        &self,
        events: &BTreeMap<Position, RecordedEvent>,
        budget: &Budget,
    ) -> Result<(), EventLogError> {
        let mut others = BTreeMap::new();
        let ends = events.values().map(end_of_commit);
        let unread = ends.filter(|end| !events.contains_key(end));
        self.fetch(unread, &mut others, budget).await?;
        for event in events.values() {
            let end = end_of_commit(event);
            let last = events.get(&end).or_else(|| others.get(&end));
            let is_whole = last.is_some_and(|last| {
                last.commit_id == event.commit_id && end_of_commit(last) == end
            });
            if !is_whole {
                return Err(incomplete(event));
            }
        }
        Ok(())
    }

    /// The events at these positions, as far as there are events.
    pub(super) async fn events_at(
        &self,
        positions: Vec<u64>,
        budget: &Budget,
    ) -> Result<Vec<RecordedEvent>, EventLogError> {
        let mut events = Vec::with_capacity(positions.len());
        let mut missing = Vec::new();
        for (position, one) in direct_read::messages(&self.session, positions, budget).await? {
            match one {
                One::Event(event) => events.push(*event),
                One::Other => {}
                One::Missing => missing.push(position),
            }
        }
        let mut of_leader = stream::iter(missing)
            .map(|position| self.message_of_leader(position, budget))
            .buffer_unordered(PIECE);
        while let Some(message) = of_leader.try_next().await? {
            if let Some(message) = message.filter(|message| is_event(&message.subject)) {
                events.push(event_of(&message)?);
            }
        }
        if let Some(last) = events.iter().map(|event| event.position.get()).max() {
            self.session.saw(last);
        }
        Ok(events)
    }

    /// The message at a position that a replica does not have; `None` where the log does not reach
    /// so far.
    async fn message_of_leader(
        &self,
        seq: u64,
        budget: &Budget,
    ) -> Result<Option<StoredMessage>, EventLogError> {
        let session = &self.session;
        let name = session.log_stream();
        let asked = SystemClock.monotonic();
        let mut attempt = 0;
        loop {
            let message = self.get(&Get::Sequence { seq }, budget).await?;
            if message.is_some() {
                return Ok(message);
            }
            let info = session.api.stream_info(name, budget).await;
            let info = info.map_err(|failure| session.report(failure, "read_at"))?;
            let info = info.ok_or_else(|| error::stream_gone(name))?;
            let (last, known) = (info.state.last_seq, session.highest());
            if last.max(known) < seq {
                return Ok(None);
            }
            // It was stored meanwhile, or a server answered that was the leader and is behind, or
            // it is missing.
            attempt += 1;
            let alone = session.replicas == 1 && last >= seq && attempt > 1;
            let passed = SystemClock.monotonic().saturating_duration_since(asked);
            if alone || passed > BEHIND {
                check_complete(&info)?;
                return Err(if last < seq {
                    error::rolled_back(name, known, last)
                } else {
                    error::holes(name).with("position", seq)
                });
            }
            if !budget.pause(attempt).await {
                return Err(error::behind(known, last).with("position", seq));
            }
        }
    }
}
