//! Finds commits by their ids.
//!
//! A commit is marked by a message of its own, whose subject is its id, so that it is found with
//! one request: in the same batch as its events, and guarded, so there is one commit for an id for
//! ever. A commit whose id was made for it, and says when, needs no mark: nobody else has the id,
//! and its events stand in the short part of the log that was written about then. So the usual
//! append is one message, and only asking for it later takes a look at that part.

use std::time::Duration;

use cim_store::staging::{ContentDigest, check_repetition};
use cim_store::{Append, Appended, CommitId, EventLogError, Head, RecordedEvent, Timestamp};

use super::direct_read::{self, Page};
use super::heads::{head_of, incomplete};
use super::log::SharedLog;
use super::messages::MARK_DISTANCE;
use super::unanswered::Slot;
use crate::api::Get;
use crate::budget::Budget;
use crate::error::ended_early;
use crate::events::direct_read::headers;
use crate::follow::{Follower, Following, Start};
use crate::subjects;
use crate::wire::commit_of;

/// How far a fresh id's time may be behind the server's for its commit to go without a mark.
const OLDEST_UNMARKED: Duration = Duration::from_secs(60);
/// How far it may be ahead.
const NEWEST_UNMARKED: Duration = Duration::from_secs(30);
/// The part of the log, in the server's time and from the id's time on, where such a commit must
/// stand: what was just said, and how long a message may have been under way.
const BEFORE: Duration = Duration::from_secs(120);
const BEHIND: Duration = Duration::from_secs(600);

/// A commit that was stored.
#[derive(Clone, Debug)]
pub(super) struct StoredCommit {
    pub(super) result: Appended,
    content: ContentDigest,
}

impl StoredCommit {
    fn of(events: &[RecordedEvent], commit_id: CommitId) -> Option<Self> {
        let last = events.last()?;
        let mut heads: Vec<Head> = Vec::new();
        for event in events {
            match heads.last_mut() {
                Some(head) if head.stream == event.stream => *head = head_of(event),
                _ => heads.push(head_of(event)),
            }
        }
        Some(Self {
            result: Appended {
                commit_id,
                position: last.position,
                stored_at: None,
                heads,
            },
            content: ContentDigest::of_recorded(events),
        })
    }

    /// The first result, for an append that repeats the commit.
    pub(super) fn repeated(
        self,
        append: &Append,
        commit_id: CommitId,
    ) -> Result<Appended, EventLogError> {
        check_repetition(append, commit_id, self.content)?;
        Ok(self.result)
    }
}

/// The time that an id says: it is a UUID of version 7 (RFC 9562).
fn time_of(id: CommitId) -> Option<Timestamp> {
    let uuid = id.as_uuid();
    let rfc = uuid.get_variant() == uuid::Variant::RFC4122;
    if !rfc || uuid.get_version_num() != 7 {
        return None;
    }
    let bytes = uuid.as_bytes();
    let millis = bytes[..6]
        .iter()
        .fold(0_i64, |sum, byte| sum << 8 | i64::from(*byte));
    Some(Timestamp::from_micros(millis.saturating_mul(1_000)))
}

/// Whether a commit with this id may have been stored without a mark.
pub(super) fn may_be_unmarked(id: CommitId) -> bool {
    time_of(id).is_some()
}

/// Whether a fresh id says its time, near enough to the server's, so that its commit is found by
/// it.
pub(super) fn tells_its_time(log: &SharedLog, id: CommitId) -> bool {
    let now = log.session.time.now();
    time_of(id).is_some_and(|time| {
        time.saturating_since(now) <= NEWEST_UNMARKED
            && now.saturating_since(time) <= OLDEST_UNMARKED
    })
}

/// The commit with this id, if it was stored.
pub(super) async fn find(
    log: &SharedLog,
    id: CommitId,
    budget: &Budget,
) -> Result<Option<StoredCommit>, EventLogError> {
    if let Some(slot) = log.unanswered.slot(id)
        && let Some(stored) = find_at(log, id, &slot, budget).await?
    {
        return Ok(Some(stored));
    }
    if let Some(stored) = find_marked(log, id, budget).await? {
        return Ok(Some(stored));
    }
    let Some((from, until)) = stored_between(id) else {
        return Ok(None);
    };
    search(log, id, Start::Time(from), Some(until), budget).await
}

/// When, in the server's time, a commit with this id must have been stored if it has no mark;
/// `None` where it has one if it was stored.
pub(super) fn stored_between(id: CommitId) -> Option<(Timestamp, Timestamp)> {
    let time = time_of(id)?;
    let from = Timestamp::from_micros(time.as_micros().saturating_sub_unsigned(micros(BEFORE)));
    Some((from, time.saturating_add(BEHIND)))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The commit, if its first event stands at this place.
async fn find_at(
    log: &SharedLog,
    id: CommitId,
    slot: &Slot,
    budget: &Budget,
) -> Result<Option<StoredCommit>, EventLogError> {
    Ok(match look_at(log, id, slot, budget).await? {
        At::This(stored) => Some(stored),
        At::Other | At::Nothing => None,
    })
}

/// What stands at a place.
pub(super) enum At {
    This(StoredCommit),
    Other,
    Nothing,
}

/// Whether a commit's first event stands at this place.
pub(super) async fn look_at(
    log: &SharedLog,
    id: CommitId,
    (stream, version): &Slot,
    budget: &Budget,
) -> Result<At, EventLogError> {
    let slot = subjects::slot(stream, *version);
    let get = Get::Last {
        last_by_subj: &slot,
    };
    match log.get(&get, budget).await? {
        Some(message) if commit_of(message.headers()) == Some(id) => {
            let event = super::heads::event_of(&message)?;
            read(log, &event, budget).await.map(At::This)
        }
        Some(_) => Ok(At::Other),
        None => Ok(At::Nothing),
    }
}

/// The commit that the mark of this id leads to.
pub(super) async fn find_marked(
    log: &SharedLog,
    id: CommitId,
    budget: &Budget,
) -> Result<Option<StoredCommit>, EventLogError> {
    let subject = subjects::commit(id);
    let get = Get::Last {
        last_by_subj: &subject,
    };
    let Some(mark) = log.get(&get, budget).await? else {
        return Ok(None);
    };
    let damaged = || {
        EventLogError::integrity("the mark of a commit does not lead to its events")
            .with("commit", id)
            .with("position", mark.sequence)
    };
    let Some(distance) = mark.header(MARK_DISTANCE) else {
        return search(log, id, Start::Sequence(mark.sequence + 1), None, budget).await;
    };
    let distance: u64 = distance.parse().map_err(|_| damaged())?;
    let seq = mark.sequence.checked_add(distance).ok_or_else(damaged)?;
    let Some(first) = log.get(&Get::Sequence { seq }, budget).await? else {
        return Err(damaged());
    };
    if commit_of(first.headers()) != Some(id) {
        return Err(damaged());
    }
    let first = super::heads::event_of(&first)?;
    read(log, &first, budget).await.map(Some)
}

/// Looks for a commit in a part of the log: from `start` to the end as it is now, or to the first
/// event that was stored after `until`.
async fn search(
    log: &SharedLog,
    id: CommitId,
    start: Start,
    until: Option<Timestamp>,
    budget: &Budget,
) -> Result<Option<StoredCommit>, EventLogError> {
    let mut found = None;
    let looked = scan(log, start, until, budget, |seq, commit| {
        let is_this = commit == Some(id);
        found = is_this.then_some(seq);
        is_this
    });
    let through = looked.await.map_err(|error| error.with("commit", id))?;
    let Some(seq) = found else {
        return Ok(None);
    };
    let Some(event) = log.get(&Get::Sequence { seq }, budget).await? else {
        return Err(ended_early(seq - 1, through));
    };
    let event = super::heads::event_of(&event)?;
    read(log, &event, budget).await.map(Some)
}

/// Shows the commits of events in a part of the log: from `start` to the end as it is now, or to
/// the first event that was stored after `until`. `visit` is given an event's position and commit,
/// and says whether that is enough.
///
/// Returns the position up to which everything was shown; the largest there is, where nothing that
/// comes can have been stored by `until`.
pub(super) async fn scan(
    log: &SharedLog,
    start: Start,
    until: Option<Timestamp>,
    budget: &Budget,
    mut visit: impl FnMut(u64, Option<CommitId>) -> bool,
) -> Result<u64, EventLogError> {
    let Some(end) = log.end(budget).await? else {
        return Ok(0);
    };
    if end.is_before(start) {
        return Ok(end.sequence);
    }
    let following = Following {
        stream: log.session.log_stream().to_owned(),
        filters: end.filters(subjects::EVENTS, log.session.replicas),
        headers_only: true,
    };
    let mut follower = Follower::new(log.session.clone(), following, start);
    let report = |failure| log.session.report(failure, "looking for a commit");
    let mut waiting = follower.begin(budget).await.map_err(report)?;
    let single = log.session.replicas == 1;
    let mut reached = 0;
    while reached < end.sequence && !(single && waiting == 0) {
        let limit = budget.left().unwrap_or_default();
        let Some(delivered) = follower.next(limit).await.map_err(report)? else {
            return Err(EventLogError::unavailable(
                "the time was over before the log was searched for the commit",
            ));
        };
        reached = delivered.sequence;
        waiting = delivered.pending;
        if delivered.sequence > end.sequence {
            break;
        }
        if visit(reached, commit_of(headers(&delivered.message))) {
            return Ok(reached);
        }
        if until.is_some_and(|until| delivered.stored_at > until) {
            return Ok(u64::MAX);
        }
    }
    Ok(end.sequence)
}

/// The commit that an event belongs to: its events stand next to each other.
pub(super) async fn read(
    log: &SharedLog,
    event: &RecordedEvent,
    budget: &Budget,
) -> Result<StoredCommit, EventLogError> {
    let count = u64::from(event.commit_count);
    let first = event
        .position
        .get()
        .checked_sub(event.commit_index.into())
        .ok_or_else(|| incomplete(event))?;
    let mut events: Vec<RecordedEvent> = Vec::new();
    if count == 1 {
        events.push(event.clone());
    }
    let mut attempt = 0;
    while (events.len() as u64) < count {
        let from = first + events.len() as u64;
        let left = count - events.len() as u64;
        let page = direct_read::positions(&log.session, from, left, budget).await?;
        let before = events.len();
        if let Page::Events { events: page, .. } = page {
            for event in page {
                let place = first + events.len() as u64;
                let right = event.position.get() == place
                    && event.commit_index as usize == events.len()
                    && u64::from(event.commit_count) == count;
                if !right {
                    return Err(incomplete(&event));
                }
                events.push(event);
            }
        }
        if events.len() > before {
            continue;
        }
        // The replica that answered may be behind; the leader is not.
        let next = log.get(&Get::Sequence { seq: from }, budget).await?;
        if next.is_none() {
            return Err(incomplete(event));
        }
        attempt += 1;
        if !budget.pause(attempt).await {
            return Err(EventLogError::deadline_passed("reading a commit"));
        }
    }
    let id = event.commit_id;
    if events.iter().any(|event| event.commit_id != id) {
        return Err(incomplete(event));
    }
    StoredCommit::of(&events, id).ok_or_else(|| incomplete(event))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_of_version_7_say_their_time() {
        let id: CommitId = "019b76da-a800-7000-8000-000000000000".parse().unwrap();
        assert_eq!(time_of(id).unwrap().to_string(), "2026-01-01T00:00:00Z");
        for other in [
            "019b76da-a800-4000-8000-000000000000", // another version
            "019b76da-a800-7000-0000-000000000000", // another kind of id altogether
            "00000000-0000-0000-0000-000000000000",
        ] {
            assert_eq!(time_of(other.parse().unwrap()), None, "{other}");
        }
    }
}
