//! Follows a JetStream stream: a consumer of its own that is made again wherever it ended, right
//! behind what was delivered.
//!
//! The consumer numbers what it sends. A number that is missing means that a message was lost on
//! the way, a silence longer than its heartbeats that it is gone; in both cases another one is made.
//! So what a follower hands out has no gap and no repeat. (async-nats has ordered consumers, too;
//! they begin at the first message when they are made again before one came.)

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{Message, Subscriber};
use bytes::Bytes;
use cim_store::{Clock, SystemClock, Timestamp};
use futures_util::future::{Either, select};
use futures_util::{FutureExt, StreamExt};
use serde::Deserialize;
use tokio::sync::watch;
use uuid::Uuid;

use crate::api::{Failure, NO_STREAM, nanos};
use crate::budget::{Budget, within};
use crate::requests::Lost;
use crate::session::Session;

/// How often a consumer that has nothing to send says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// After a silence of this length it is not.
const SILENCE: Duration = Duration::from_secs(5);
/// After this time without a listener the server forgets a consumer.
const FORGOTTEN: Duration = Duration::from_secs(30);

/// So often a server may say that the stream is not there before it is believed: about 3 s.
const BEHIND: u32 = 12;

/// Where following begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// At this sequence.
    Sequence(u64),
    /// At the first message that was stored at this time or later.
    Time(Timestamp),
    /// At the last message of every subject, then at what comes.
    LastOfEach,
}

/// What to follow.
#[derive(Clone, Debug)]
pub(crate) struct Following {
    /// The JetStream stream.
    pub(crate) stream: String,
    /// The subjects that are meant; they don't overlap.
    pub(crate) filters: Vec<String>,
    /// Leaves the bodies out.
    pub(crate) headers_only: bool,
}

/// A message that was delivered.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) message: Message,
    pub(crate) sequence: u64,
    pub(crate) stored_at: Timestamp,
    /// How many more there were when it was sent.
    pub(crate) pending: u64,
}

/// Follows a JetStream stream.
#[derive(Debug)]
pub(crate) struct Follower {
    session: Arc<Session>,
    following: Following,
    start: Start,
    /// The last sequence that was delivered.
    delivered: u64,
    consumer: Option<Consumer>,
    epoch: watch::Receiver<u64>,
}

#[derive(Debug)]
struct Consumer {
    name: String,
    messages: Subscriber,
    /// How many messages it sent.
    sent: u64,
    heard: Instant,
    /// How many there were when it was made.
    pending: u64,
}

#[derive(Deserialize)]
struct ConsumerInfo {
    #[serde(default)]
    num_pending: u64,
    #[serde(default)]
    delivered: Sequences,
}

#[derive(Default, Deserialize)]
struct Sequences {
    #[serde(default)]
    consumer_seq: u64,
}

/// What came in one step.
enum Step {
    Delivered(Delivered),
    /// Something for the follower alone.
    Kept,
    /// The consumer is gone or lost a message.
    Broken(&'static str),
}

impl Follower {
    pub(crate) fn new(session: Arc<Session>, following: Following, start: Start) -> Self {
        let epoch = session.epoch.clone();
        Self {
            session,
            following,
            start,
            delivered: 0,
            consumer: None,
            epoch,
        }
    }

    /// Makes the consumer. Says how many messages wait.
    pub(crate) async fn begin(&mut self, budget: &Budget) -> Result<u64, Failure> {
        if let Some(consumer) = &self.consumer {
            return Ok(consumer.pending);
        }
        self.epoch.mark_unchanged();
        let consumer = self.make_consumer(budget).await?;
        let pending = consumer.pending;
        self.consumer = Some(consumer);
        Ok(pending)
    }

    /// Makes the consumer after another one. A server that lost what was delivered would wait for
    /// its sequence to come once more, and pass over all that is new until then.
    async fn begin_again(&mut self, budget: &Budget) -> Result<(), Failure> {
        if self.delivered > 0 {
            let stream = &self.following.stream;
            let info = self.session.api.stream_info(stream, budget).await?;
            if let Some(last) = info.map(|info| info.state.last_seq)
                && last < self.delivered
            {
                return Err(Failure::RolledBack {
                    stream: stream.clone(),
                    known: self.delivered,
                    last,
                });
            }
        }
        self.begin(budget).await.map(|_| ())
    }

    async fn make_consumer(&self, budget: &Budget) -> Result<Consumer, Failure> {
        let api = &self.session.api;
        let client = api.requests.client();
        let inbox = client.new_inbox();
        let limit = budget.next_request();
        let subscribed = within(limit, client.subscribe(inbox.clone())).await;
        let subject = || inbox.clone();
        let messages = match subscribed {
            Some(Ok(messages)) => messages,
            Some(Err(error)) => {
                return Err(Failure::Lost(Lost::NotSent {
                    subject: subject(),
                    reason: error.to_string(),
                }));
            }
            None => {
                return Err(Failure::Lost(Lost::TimedOut {
                    subject: subject(),
                    after: limit,
                }));
            }
        };
        let stream = &self.following.stream;
        let name = Uuid::from_u128(unique()).simple().to_string();
        let mut config = serde_json::json!({
            "name": name,
            "deliver_subject": inbox,
            "ack_policy": "none",
            "max_deliver": 1,
            "replay_policy": "instant",
            "flow_control": true,
            "idle_heartbeat": nanos(HEARTBEAT),
            "inactive_threshold": nanos(FORGOTTEN),
            "mem_storage": true,
            "num_replicas": 1,
            "headers_only": self.following.headers_only,
        });
        match self.start {
            Start::Sequence(sequence) => {
                config["deliver_policy"] = "by_start_sequence".into();
                config["opt_start_seq"] = sequence.max(1).into();
            }
            Start::Time(time) => {
                config["deliver_policy"] = "by_start_time".into();
                config["opt_start_time"] = time.to_string().into();
            }
            Start::LastOfEach => config["deliver_policy"] = "last_per_subject".into(),
        }
        let mut call = format!("CONSUMER.CREATE.{stream}.{name}");
        match &self.following.filters[..] {
            [only] => {
                config["filter_subject"] = only.as_str().into();
                call = format!("{call}.{only}");
            }
            several => config["filter_subjects"] = several.into(),
        }
        let body = serde_json::json!({ "stream_name": stream, "config": config });
        let info: ConsumerInfo = api.call(&call, &body, budget).await?;
        Ok(Consumer {
            name,
            messages,
            sent: 0,
            heard: SystemClock.monotonic(),
            // Where the answer to the first try was lost, it sent some or all of them already.
            pending: info.num_pending + info.delivered.consumer_seq,
        })
    }

    /// Whether there is a consumer that said something lately.
    pub(crate) fn lives(&self) -> bool {
        let now = SystemClock.monotonic();
        self.consumer
            .as_ref()
            .is_some_and(|consumer| now.saturating_duration_since(consumer.heard) < SILENCE)
    }

    /// The next message that is there already; `None` where it has to be waited for.
    pub(crate) fn ready(&mut self) -> Option<Delivered> {
        while let Some(consumer) = &mut self.consumer {
            let message = consumer.messages.next().now_or_never()?;
            match self.take(message) {
                Step::Delivered(delivered) => return Some(delivered),
                Step::Kept => {}
                Step::Broken(why) => self.forget(why),
            }
        }
        None
    }

    /// The next message; waits for it as long as it takes, `None` after `limit`.
    pub(crate) async fn next(&mut self, limit: Duration) -> Result<Option<Delivered>, Failure> {
        let until = SystemClock.monotonic() + limit;
        let mut attempt = 0;
        loop {
            if let Some(delivered) = self.ready() {
                return Ok(Some(delivered));
            }
            if self.session.is_closed() {
                return Err(Failure::Lost(Lost::Closed {
                    subject: self.following.stream.clone(),
                }));
            }
            let now = SystemClock.monotonic();
            let left = until.saturating_duration_since(now);
            if left.is_zero() {
                return Ok(None);
            }
            let Some(consumer) = &mut self.consumer else {
                let budget = self.session.budget(&cim_store::Context::new());
                match self.begin_again(&budget).await {
                    Ok(()) => attempt = 0,
                    // A server that is away comes back; whoever follows waits for it.
                    // One that is behind its cluster may say that the stream is not there.
                    Err(failure)
                        if failure.is_temporary()
                            || (failure.is(NO_STREAM)
                                || matches!(failure, Failure::RolledBack { .. }))
                                && attempt < BEHIND =>
                    {
                        attempt += 1;
                        let _ = budget.pause(attempt).await;
                    }
                    Err(failure) => return Err(failure),
                }
                continue;
            };
            let silent = now.saturating_duration_since(consumer.heard);
            let patience = SILENCE.saturating_sub(silent);
            if patience.is_zero() {
                self.forget("it was silent for too long");
                continue;
            }
            let lost = until_changed(&mut self.epoch).boxed();
            let waiting = select(consumer.messages.next(), lost);
            let came = match within(left.min(patience), waiting).await {
                Some(Either::Left((message, _))) => Some(message),
                Some(Either::Right(_)) => None,
                None => continue,
            };
            let Some(message) = came else {
                self.forget("the connection was lost");
                continue;
            };
            match self.take(message) {
                Step::Delivered(delivered) => return Ok(Some(delivered)),
                Step::Kept => {}
                Step::Broken(why) => self.forget(why),
            }
        }
    }

    /// Looks at what came.
    fn take(&mut self, message: Option<Message>) -> Step {
        let Some(consumer) = &mut self.consumer else {
            return Step::Kept;
        };
        let Some(message) = message else {
            return Step::Broken("the subscription ended");
        };
        consumer.heard = SystemClock.monotonic();
        if let Some(status) = message.status {
            if status.as_u16() != 100 {
                return Step::Broken("the server gave the consumer up");
            }
            let header = |name: &str| {
                let headers = message.headers.as_ref()?;
                Some(headers.get(name)?.as_str().to_owned())
            };
            // The server waits for an answer before it sends more.
            let stalled = header("Nats-Consumer-Stalled").map(Into::into);
            if let Some(reply) = message.reply.clone().or(stalled) {
                let session = self.session.clone();
                tokio::spawn(async move {
                    let limit = session.settings.connection.request_timeout;
                    let requests = &session.api.requests;
                    // A server that does not get it asks again.
                    let _ = requests.publish(reply, None, Bytes::new(), limit).await;
                });
                return Step::Kept;
            }
            let last = header("Nats-Last-Consumer").and_then(|last| last.parse::<u64>().ok());
            if last.is_some_and(|last| last != consumer.sent) {
                return Step::Broken("a message was lost");
            }
            return Step::Kept;
        }
        let Some(place) = message.reply.as_deref().and_then(parse_place) else {
            return Step::Broken("a message does not say its place");
        };
        if place.number != consumer.sent + 1 {
            return Step::Broken("a message was lost");
        }
        consumer.sent = place.number;
        self.start = Start::Sequence(place.sequence + 1);
        self.delivered = self.delivered.max(place.sequence);
        Step::Delivered(Delivered {
            message,
            sequence: place.sequence,
            stored_at: place.stored_at,
            pending: place.pending,
        })
    }

    fn forget(&mut self, why: &str) {
        if let Some(consumer) = self.consumer.take() {
            tracing::debug!(
                stream = self.following.stream,
                why,
                "another consumer is made"
            );
            self.delete(consumer.name);
        }
    }

    /// Tells the server that a consumer is not needed any more; it would find out by itself.
    fn delete(&self, name: String) {
        if self.session.is_closed() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let session = self.session.clone();
        let call = format!("CONSUMER.DELETE.{}.{name}", self.following.stream);
        runtime.spawn(async move {
            let limit = session.settings.connection.request_timeout;
            let subject = session.api.subject(&call);
            let _ = session
                .api
                .requests
                .publish(subject, None, Bytes::new(), limit)
                .await;
        });
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if let Some(consumer) = self.consumer.take() {
            self.delete(consumer.name);
        }
    }
}

/// Ends when the connection was lost or made again. Where nobody tells, never: silence does.
async fn until_changed(epoch: &mut watch::Receiver<u64>) {
    if epoch.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// A number for the name of a consumer or a batch, which nobody orders or keeps.
pub(crate) fn unique() -> u128 {
    use std::hash::{BuildHasher, RandomState};
    let half = || u128::from(RandomState::new().hash_one(0_u8));
    half() << 64 | half()
}

/// What the subject of a message's acknowledgement says: `$JS.ACK.…` (ADR-15).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// How often the message was delivered.
    pub(crate) attempt: u64,
    pub(crate) sequence: u64,
    number: u64,
    pub(crate) stored_at: Timestamp,
    pending: u64,
}

pub(crate) fn parse_place(reply: &str) -> Option<Place> {
    let rest = reply.strip_prefix("$JS.ACK.")?;
    // Either stream, consumer, and five numbers, or the domain and the account's hash before them
    // and something more behind them.
    let count = rest.split('.').count();
    let skipped = if count >= 9 { 4 } else { 2 };
    let mut numbers = rest.split('.').skip(skipped).map(str::parse::<u64>);
    let mut next = || numbers.next()?.ok();
    let (attempt, sequence) = (next()?, next()?);
    let (number, nanos, pending) = (next()?, next()?, next()?);
    Some(Place {
        attempt,
        sequence,
        number,
        stored_at: Timestamp::from_micros(i64::try_from(nanos / 1_000).ok()?),
        pending,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_messages_place_are_read() {
        let place = Place {
            attempt: 2,
            sequence: 7,
            number: 3,
            stored_at: Timestamp::from_micros(1_700_000_000_000_001),
            pending: 9,
        };
        let short = "$JS.ACK.EVENTS.c1.2.7.3.1700000000000001999.9";
        let long = "$JS.ACK._.HASH.EVENTS.c1.2.7.3.1700000000000001999.9.x";
        assert_eq!(parse_place(short), Some(place));
        assert_eq!(parse_place(short), parse_place(long));
        assert_eq!(parse_place("$JS.ACK.a.b"), None);
        assert_eq!(parse_place("_INBOX.1"), None);
    }
}
