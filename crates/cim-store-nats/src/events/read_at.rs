//! Reads events by their positions: all of them are asked for at once, so that it takes one round
//! trip.
//!
//! Any replica may answer, because a message never changes; what a replica does not have the leader
//! is asked for. An event of several is delivered where the last one of its commit is there, too.

use std::collections::BTreeMap;

use cim_store::{Clock, EventLogError, Position, RecordedEvent, SystemClock, positions};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::direct_read;
use super::heads::{event_of, incomplete};
use super::log::SharedLog;
use super::log_read::is_event;
use crate::api::{Get, StoredMessage};
use crate::budget::Budget;
use crate::error;
use crate::session::BEHIND;
use crate::store::check_complete;

/// How many messages are on their way at the same time. Each may have a MiB, and a server ends a
/// connection that has too much to read.
const READS: usize = 32;

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
        let mut wanted: Vec<_> = wanted.filter(|at| *at > Position::NONE).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut events = stream::iter(wanted)
            .map(|position| self.event_at(position.get(), budget))
            .buffer_unordered(READS);
        while let Some(event) = events.try_next().await? {
            found.extend(event.map(|event| (event.position, event)));
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

    /// The event at a position; `None` where none stands there.
    async fn event_at(
        &self,
        seq: u64,
        budget: &Budget,
    ) -> Result<Option<RecordedEvent>, EventLogError> {
        let event = match direct_read::message(&self.session, seq, budget).await? {
            direct_read::One::Event(event) => Some(*event),
            direct_read::One::Other => None,
            direct_read::One::Missing => match self.message_of_leader(seq, budget).await? {
                Some(message) if is_event(&message.subject) => Some(event_of(&message)?),
                _ => None,
            },
        };
        Ok(event.inspect(|event| self.session.saw(event.position.get())))
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
                return Err(EventLogError::unavailable(
                    "the server that answered has less of the log than there was",
                )
                .with("position", seq)
                .with("last", last));
            }
        }
    }
}
