//! Changes a key, or finds out that it can't, or says that nobody knows.
//!
//! Each try reads the key's last message through the leader, decides, and publishes a message that
//! is stored only if that one is still the last. So of all tries, also of those whose answers were
//! lost, at most one is stored.
//!
//! # The end of a value
//! The server puts a marker in the place of a value whose time is over, and takes all messages of
//! the key away with it. It decides that before it stores the marker, and does not look again: a
//! value that is stored in between would be taken away too. So no value is stored over one that is
//! about to end; the change waits for the marker. A value whose acknowledgement came only after
//! that end is stored once more, behind whatever the server did.
//!
//! A marker comes only where no other message of the key is left. So with a history no message may
//! outlive a later value: a value that ends earlier than what it follows takes the history's place
//! (`Nats-Rollup: sub`), and the mark of a deletion lives as long as what it deletes.

use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use bytes::Bytes;
use cim_store::{BucketError, Clock, Key, Operation, Revision, SystemClock, Timestamp};

use super::message::{Change, EXACT_TTL, EXPECTED, ID, MARKER, OPERATION, ROLLUP, TTL, seconds};
use super::moment::Moment;
use super::port::SharedBucket;
use crate::api::{Failure, WRONG_LAST_SEQUENCE, WRONG_LAST_SEQUENCE_UNDECIDED, read_ack};
use crate::budget::Budget;
use crate::error;
use crate::requests::Lost;

/// No value is stored over one that ends in less than this.
const BEFORE_END: Duration = Duration::from_millis(100);
/// How long the server remembers the ids of messages, with a margin: 120 s are asked for.
const REMEMBERED: Duration = Duration::from_secs(100);
/// After this many tries that others spoiled there are pauses between them.
const TRIES: u32 = 4;

/// "rollup failed": the header's value is not one.
const ROLLUP_FAILED: u32 = 10_111;
/// "duplicate message id is in process".
const ID_IN_PROCESS: u32 = 10_158;

/// What is to be changed.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) key: &'a Key,
    pub(super) operation: Operation,
    pub(super) value: Bytes,
    pub(super) ttl: Option<Duration>,
    /// The revision of the key's value; 0: it has none.
    pub(super) expected: Option<Revision>,
}

/// Changes a key.
pub(super) async fn change(
    bucket: &SharedBucket,
    request: Request<'_>,
    budget: &Budget,
) -> Result<Revision, BucketError> {
    let mut tries = Tries {
        subject: bucket.subject(request.key.as_str()),
        id: fresh_id(bucket),
        bucket,
        request,
        budget,
        number: 0,
        unanswered: None,
        settled: true,
        safe_until: None,
        stored: None,
    };
    tries.run().await
}

fn fresh_id(bucket: &SharedBucket) -> String {
    bucket.session.settings.ids.next_uuid().simple().to_string()
}

/// The tries of one change.
struct Tries<'a> {
    bucket: &'a SharedBucket,
    request: Request<'a>,
    budget: &'a Budget,
    subject: String,
    id: String,
    number: u32,
    /// Why nothing was heard of a try that may have arrived, and when the first one was sent.
    unanswered: Option<(Lost, Instant)>,
    /// Whether the server was asked since what became of such tries.
    settled: bool,
    /// What was written over when a try was sent must not have ended before it was stored.
    safe_until: Option<(Timestamp, Moment)>,
    /// What was stored, but perhaps too late to stay.
    stored: Option<Revision>,
}

/// What became of the tries that were not answered.
enum Settled {
    /// One is stored.
    Stored(Revision),
    /// None is, nor will be once the key has another last message.
    NotStored,
    Unclear,
}

/// What a try came to.
enum Came {
    /// It is stored. The flag says that the server had stored it at an earlier try.
    Stored(Revision, bool),
    /// The key's last message is another one, or will be.
    Overtaken,
    /// Nothing was stored; the same may succeed in a moment.
    Busy(Failure),
    Unknown(Lost),
    Refused(Failure),
}

impl Tries<'_> {
    async fn run(&mut self) -> Result<Revision, BucketError> {
        loop {
            self.number += 1;
            let last = match self.bucket.last(self.request.key, self.budget).await {
                Ok(last) => last,
                Err(error) => return Err(self.failed(error)),
            };
            match self.settle(last.as_ref()).await? {
                Settled::Stored(revision) => {
                    if self.stays(revision) {
                        return Ok(revision);
                    }
                    continue;
                }
                Settled::NotStored => {}
                Settled::Unclear => {
                    self.pause(None).await?;
                    continue;
                }
            }
            match self.decide(last.as_ref()).await? {
                Decision::Done(revision) => return Ok(revision),
                Decision::Wait => {
                    self.pause(None).await?;
                    continue;
                }
                Decision::Write { safe_until } => self.safe_until = safe_until,
            }
            let sent = SystemClock.monotonic();
            match self.publish(last.as_ref()).await {
                Came::Stored(_, true) if self.unanswered.is_none() => {
                    // Nothing of this change was sent before, so another one has its id.
                    self.id = fresh_id(self.bucket);
                    self.pause(None).await?;
                }
                Came::Stored(revision, _) => {
                    if self.stays(revision) {
                        return Ok(revision);
                    }
                }
                Came::Overtaken => {
                    self.settled = self.unanswered.is_none();
                    if self.number > TRIES {
                        self.pause(None).await?;
                    }
                }
                Came::Unknown(lost) => {
                    let first = self.unanswered.as_ref().map_or(sent, |(_, first)| *first);
                    self.unanswered = Some((lost, first));
                    self.settled = false;
                    self.pause(None).await?;
                }
                Came::Busy(failure) => self.pause(Some(failure)).await?,
                Came::Refused(failure) => {
                    let error = self.bucket.report(failure, "the change");
                    return Err(self.failed(error));
                }
            }
        }
    }

    /// Whether what was stored was stored in time to stay.
    fn stays(&mut self, revision: Revision) -> bool {
        let late = |(end, moment): &(Timestamp, Moment)| moment.latest() >= *end;
        if !self.safe_until.as_ref().is_some_and(late) {
            return true;
        }
        self.stored = Some(revision);
        self.safe_until = None;
        self.unanswered = None;
        self.settled = true;
        self.id = fresh_id(self.bucket);
        false
    }

    /// Waits before the next try; gives up where there is no time for one.
    async fn pause(&self, failure: Option<Failure>) -> Result<(), BucketError> {
        let open = !self.bucket.session.is_closed();
        if open && self.budget.pause(self.number).await {
            Ok(())
        } else {
            Err(self.give_up(failure))
        }
    }

    /// Finds out what became of tries that were not answered.
    async fn settle(&mut self, last: Option<&Change>) -> Result<Settled, BucketError> {
        let Some((_, first)) = &self.unanswered else {
            return Ok(Settled::NotStored);
        };
        if let Some(last) = last.filter(|last| last.id.as_deref() == Some(self.id.as_str())) {
            return Ok(Settled::Stored(last.entry.revision));
        }
        if self.settled {
            return Ok(Settled::NotStored);
        }
        // It may have been stored and overwritten since. The server knows by its id, if it is not
        // long ago; to be asked it gets a message with that id, and with a header that it refuses
        // after it looked for the id.
        let passed = SystemClock.monotonic().saturating_duration_since(*first);
        if passed > REMEMBERED {
            return Err(self.give_up(None));
        }
        let mut headers = HeaderMap::new();
        headers.insert(ID, self.id.as_str());
        headers.insert(ROLLUP, "none");
        match self.send(headers, Bytes::new()).await {
            Came::Stored(revision, true) => Ok(Settled::Stored(revision)),
            Came::Refused(failure) if failure.is(ROLLUP_FAILED) => {
                self.settled = true;
                Ok(Settled::NotStored)
            }
            Came::Refused(failure) => {
                let error = self.bucket.report(failure, "the change");
                Err(self.failed(error))
            }
            _ => Ok(Settled::Unclear),
        }
    }

    /// What to do, the key's last message being this one.
    async fn decide(&self, last: Option<&Change>) -> Result<Decision, BucketError> {
        if let Some(stored) = self.stored {
            match last {
                // What was stored is there, or was taken away: it is stored again.
                None => {}
                Some(last) if last.entry.revision == stored || last.by_server => {}
                // Somebody changed the key after it.
                Some(_) => return Ok(Decision::Done(stored)),
            }
            return Ok(Decision::Write { safe_until: None });
        }
        let end = last.and_then(Change::replaced_at);
        let moment = match end {
            Some(end) => Some(self.bucket.moment(end, self.budget).await),
            None => None,
        };
        let moment = moment.transpose().map_err(|error| self.failed(error))?;
        let now = moment.map(|moment| moment.earliest());
        let over = |end: Timestamp| now.is_some_and(|now| end <= now);
        let actual = last
            .filter(|last| last.is_value() && !last.entry.expires_at.is_some_and(over))
            .map_or(Revision::NONE, |last| last.entry.revision);
        if let Some(expected) = self.request.expected
            && expected != actual
        {
            let key = self.request.key.clone();
            return Err(BucketError::revision_conflict(key, expected, actual));
        }
        // Whatever else the marker takes away, nothing would be there either.
        if self.request.operation != Operation::Put {
            return Ok(Decision::Write { safe_until: None });
        }
        match end.zip(moment) {
            Some((end, moment)) if moment.latest().saturating_add(BEFORE_END) >= end => {
                Ok(Decision::Wait)
            }
            safe_until => Ok(Decision::Write { safe_until }),
        }
    }

    async fn publish(&self, last: Option<&Change>) -> Came {
        let mut headers = HeaderMap::new();
        headers.insert(ID, self.id.as_str());
        let expected = last.map_or(0, |last| last.entry.revision.get());
        headers.insert(EXPECTED, expected.to_string());
        let has_history = self.bucket.settings.history > 1;
        let kept_for = last.and_then(|last| last.kept_for);
        match self.request.operation {
            Operation::Put => {
                if let Some(ttl) = self.request.ttl {
                    headers.insert(TTL, seconds(ttl).as_secs().to_string());
                    if ttl.subsec_nanos() > 0 {
                        headers.insert(EXACT_TTL, ttl.as_micros().to_string());
                    }
                    let outlived = kept_for.is_none_or(|kept| kept > seconds(ttl));
                    if has_history && last.is_some() && outlived {
                        headers.insert(ROLLUP, "sub");
                    }
                }
            }
            Operation::Delete => {
                headers.insert(OPERATION, "DEL");
                let ends = kept_for.filter(|_| !last.is_some_and(|last| last.by_server));
                if let Some(kept_for) = ends.filter(|_| has_history) {
                    headers.insert(TTL, seconds(kept_for).as_secs().to_string());
                    // Its end is no news, so the server must not add a marker.
                    headers.insert(MARKER, "Remove");
                }
            }
            Operation::Purge => {
                headers.insert(OPERATION, "PURGE");
                headers.insert(ROLLUP, "sub");
            }
        }
        self.send(headers, self.request.value.clone()).await
    }

    async fn send(&self, headers: HeaderMap, value: Bytes) -> Came {
        let limit = self.budget.next_request();
        let requests = &self.bucket.session.api.requests;
        let subject = self.subject.clone();
        let answer = requests.request(subject, Some(headers), value, limit);
        let answer = answer.await.map_err(Failure::Lost);
        match answer.and_then(|answer| read_ack(&answer)) {
            Ok(ack) => Came::Stored(Revision::new(ack.seq), ack.duplicate),
            Err(failure) => came(failure),
        }
    }

    /// An error, unless a try may have been stored: then that is the error.
    fn failed(&self, error: BucketError) -> BucketError {
        match (&self.unanswered, self.stored) {
            (None, None) => error,
            _ => self.unknown().with_source(error),
        }
    }

    /// The time is over, or the store is closed.
    fn give_up(&self, failure: Option<Failure>) -> BucketError {
        let session = &self.bucket.session;
        match (&self.unanswered, self.stored, failure) {
            (Some((lost, _)), _, _) => self.unknown().with_source(lost.clone()),
            (None, Some(_), _) => self.unknown(),
            _ if session.is_closed() => error::closed(),
            (None, None, Some(failure)) => self.bucket.report(failure, "the change"),
            (None, None, None) => BucketError::unavailable(
                "the key was changed or ended again and again until the time was over; nothing \
                 was stored",
            )
            .with("key", self.request.key),
        }
    }

    fn unknown(&self) -> BucketError {
        BucketError::unknown("no server said whether the change was stored")
            .with("bucket", &self.bucket.name)
            .with("key", self.request.key)
    }
}

/// What to do about a change.
enum Decision {
    /// It was done before.
    Done(Revision),
    /// Nothing, until the server ended the value.
    Wait,
    /// Send it. What is stored over a value must be stored before that one's end.
    Write {
        safe_until: Option<(Timestamp, Moment)>,
    },
}

fn came(failure: Failure) -> Came {
    match failure {
        Failure::Lost(lost) if lost.may_have_arrived() => Came::Unknown(lost),
        Failure::Lost(lost) if lost.is_temporary() => Came::Busy(lost.into()),
        Failure::Refused(refusal) => match refusal.err_code {
            WRONG_LAST_SEQUENCE => Came::Overtaken,
            WRONG_LAST_SEQUENCE_UNDECIDED | ID_IN_PROCESS => Came::Busy(refusal.into()),
            code if error::is_full(code) => Came::Refused(refusal.into()),
            _ if matches!(refusal.code, 429 | 503) => Came::Busy(refusal.into()),
            _ => Came::Refused(refusal.into()),
        },
        failure => Came::Refused(failure),
    }
}
