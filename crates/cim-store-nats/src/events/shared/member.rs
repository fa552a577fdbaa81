//! A member of a shared subscription: pulls messages while somebody asks for the next event.
//!
//! A pull is a request that waits at the server until there is something, or until it expires. One
//! that says nothing for longer than its heartbeats, or that the connection's end took with it, is
//! made again. Whatever it may have brought without being seen the server sends again.
//!
//! The server counts the time from when it sends a message. So a member takes several at once only
//! while it gets through them quickly, and one that lay here for too long is not handed on.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{Message, StatusCode, Subject, Subscriber};
use cim_store::shared_subscription::{
    Answer, Answering, Delivery, DeliveryStream, SharedSettings, SubscriptionName,
};
use cim_store::{Clock, Context, EventLogError, RecordedEvent, SystemClock};
use futures_util::future::{Either, select};
use futures_util::{FutureExt, StreamExt, stream};
use tokio::task::coop::consume_budget;

use super::answers::{MessageAnswer, NOT_DONE};
use super::consumer;
use crate::api::{Failure, nanos};
use crate::budget::{Budget, within};
use crate::error::closed;
use crate::events::direct_read::headers;
use crate::events::log::SharedLog;
use crate::follow::{Place, parse_place};
use crate::requests::{Answers, Lost};
use crate::session::Session;
use crate::wire::{Arrived, decode_event};

/// How long a pull of one message waits at the server.
const EXPIRES: Duration = Duration::from_secs(30);
/// How long one of several does. It takes what is there, and nothing that others could do later.
const EXPIRES_SOON: Duration = Duration::from_millis(200);
/// How often a pull that has nothing to bring says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// After a silence of this length it is not.
const SILENCE: Duration = Duration::from_secs(5);
/// A member that gets through what it pulled within this time pulls twice as much.
const QUICK: Duration = Duration::from_millis(100);
/// The most that is pulled at once.
const MOST: u32 = 64;

/// What a member does when its stream is asked for the next event.
struct Member {
    log: Arc<SharedLog>,
    name: SubscriptionName,
    settings: SharedSettings,
    inbox: String,
    messages: Subscriber,
    pull: Option<Pull>,
    pulls: u64,
    /// How much is pulled at once.
    batch: u32,
    /// When the last pull was made, where it brought all it was asked for.
    filled: Option<Instant>,
    /// What came and was not handed on yet.
    taken: VecDeque<Taken>,
    /// When it was looked last whether something came.
    looked: Instant,
    /// How often in a row a pull ended badly.
    failures: u32,
    subject: String,
    block: Vec<u8>,
}

/// A pull that waits at the server.
struct Pull {
    /// Where its messages and what is said of it go.
    reply: String,
    /// Hears why nothing comes any more.
    fate: Answers,
    since: Instant,
    heard: Instant,
    /// How many messages it still brings.
    left: u32,
}

/// A message that came.
struct Taken {
    message: Message,
    /// It came at this time or later.
    since: Instant,
}

/// Begins to take part.
pub(super) async fn join(
    log: Arc<SharedLog>,
    name: SubscriptionName,
    settings: SharedSettings,
    budget: &Budget,
) -> Result<DeliveryStream, EventLogError> {
    let client = log.session.api.requests.client();
    let inbox = client.new_inbox();
    let limit = budget.next_request();
    let lost = match within(limit, client.subscribe(format!("{inbox}.*"))).await {
        Some(Ok(messages)) => Ok(messages),
        Some(Err(error)) => Err(Lost::NotSent {
            subject: inbox.clone(),
            reason: error.to_string(),
        }),
        None => Err(Lost::TimedOut {
            subject: inbox.clone(),
            after: limit,
        }),
    };
    let messages = lost.map_err(|lost| log.session.report(Failure::Lost(lost), "joining"))?;
    let member = Member {
        log,
        name,
        settings,
        inbox,
        messages,
        pull: None,
        pulls: 0,
        batch: 1,
        filled: None,
        taken: VecDeque::new(),
        looked: SystemClock.monotonic(),
        failures: 0,
        subject: String::new(),
        block: Vec::new(),
    };
    Ok(stream::try_unfold(member, |mut member| async move {
        let session = member.log.session.clone();
        let delivery = {
            let next = pin!(member.next());
            match select(next, pin!(session.until_closed())).await {
                Either::Left((delivery, _)) => delivery?,
                Either::Right(_) => return Err(closed()),
            }
        };
        Ok(Some((delivery, member)))
    })
    .boxed())
}

impl Member {
    fn session(&self) -> &Arc<Session> {
        &self.log.session
    }

    /// The next event that this member is given; waits for it as long as it takes.
    async fn next(&mut self) -> Result<Delivery, EventLogError> {
        loop {
            if self.session().is_closed() {
                return Err(closed());
            }
            self.look();
            while let Some(taken) = self.taken.pop_front() {
                if let Some(delivery) = self.hand_on(taken).await? {
                    consume_budget().await;
                    return Ok(delivery);
                }
            }
            if self.pull.is_none() {
                if self.failures > 0 {
                    self.recover().await?;
                }
                self.make_pull().await?;
            } else {
                self.wait().await?;
            }
        }
    }

    /// Takes everything that is here already.
    fn look(&mut self) {
        let since = self.looked;
        self.looked = SystemClock.monotonic();
        while let Some(Some(message)) = self.messages.next().now_or_never() {
            self.take(message, since);
        }
    }

    /// Waits until something comes, or the pull is over.
    async fn wait(&mut self) -> Result<(), EventLogError> {
        let Some(pull) = &mut self.pull else {
            return Ok(());
        };
        let now = SystemClock.monotonic();
        let patience = SILENCE.saturating_sub(now.saturating_duration_since(pull.heard));
        let came = match select(self.messages.next(), pin!(pull.fate.next(patience))).await {
            Either::Left((message, _)) => Ok(message),
            Either::Right((ended, _)) => Err(ended),
        };
        self.looked = SystemClock.monotonic();
        match came {
            Ok(Some(message)) => self.take(message, self.looked),
            // The connection was drained by whoever made it.
            Ok(None) => return Err(closed()),
            Err(Err(lost)) if !lost.is_temporary() => {
                return Err(self.session().report(Failure::Lost(lost), "pulling events"));
            }
            Err(_) => self.over(false),
        }
        Ok(())
    }

    /// Looks at what came. It may belong to an earlier pull, and is as good.
    fn take(&mut self, message: Message, since: Instant) {
        let Some(status) = message.status else {
            self.failures = 0;
            if let Some(pull) = &mut self.pull {
                pull.heard = self.looked;
                pull.left = pull.left.saturating_sub(1);
                if pull.left == 0 {
                    self.filled = Some(pull.since);
                    self.pull = None;
                }
            }
            self.taken.push_back(Taken { message, since });
            return;
        };
        let Some(pull) = &mut self.pull else {
            return;
        };
        if pull.reply != message.subject.as_str() {
            return; // said of an earlier pull
        }
        if status == StatusCode::IDLE_HEARTBEAT {
            self.failures = 0;
            pull.heard = self.looked;
            return;
        }
        // 404 and 408: it waited and nothing came.
        self.over(matches!(status.as_u16(), 404 | 408));
    }

    /// The pull brings nothing more; `well` where that is as it should be.
    fn over(&mut self, well: bool) {
        self.pull = None;
        if !well {
            self.failures = self.failures.saturating_add(1);
        }
    }

    /// After a pull that ended badly: waits a little, and looks whether the subscription is there.
    async fn recover(&mut self) -> Result<(), EventLogError> {
        let session = self.session().clone();
        let budget = session.budget(&Context::new());
        let _ = budget.pause(self.failures).await;
        match consumer::is_there(&session, &self.name, &budget).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(consumer::gone(&self.name)),
            // Whoever takes part waits for a server that is away.
            Err(Failure::Lost(lost)) if lost.is_temporary() => Ok(()),
            Err(Failure::Refused(refusal)) if refusal.code >= 500 => Ok(()),
            Err(failure) => Err(session.report(failure, "pulling events")),
        }
    }

    /// How much to pull at once, now that everything was handed on.
    fn next_batch(&mut self) -> u32 {
        // One that brings its process down shall count for itself, not for those behind it.
        if self.settings.most_attempts.is_some() {
            return 1;
        }
        let quick = QUICK.min(self.settings.acknowledge_within / 4);
        let now = SystemClock.monotonic();
        match self.filled.take() {
            Some(since) if now.saturating_duration_since(since) <= quick => {
                let twice = self.batch.saturating_mul(2);
                twice.min(MOST).min(self.settings.most_in_flight)
            }
            _ => 1,
        }
    }

    async fn make_pull(&mut self) -> Result<(), EventLogError> {
        self.batch = self.next_batch();
        self.pulls += 1;
        let reply = format!("{}.{}", self.inbox, self.pulls);
        let session = self.session().clone();
        let stream = session.log_stream();
        let call = format!("CONSUMER.MSG.NEXT.{stream}.{}", self.name);
        let body = if self.batch == 1 {
            serde_json::json!({
                "batch": 1,
                "expires": nanos(EXPIRES),
                "idle_heartbeat": nanos(HEARTBEAT),
            })
        } else {
            serde_json::json!({ "batch": self.batch, "expires": nanos(EXPIRES_SOON) })
        };
        let budget = session.budget(&Context::new());
        let sent = session.api.requests.send_for_elsewhere(
            session.api.subject(&call),
            reply.clone(),
            body.to_string().into(),
            budget.next_request(),
        );
        match sent.await {
            Ok(fate) => {
                let now = SystemClock.monotonic();
                self.pull = Some(Pull {
                    reply,
                    fate,
                    since: now,
                    heard: now,
                    left: self.batch,
                });
                Ok(())
            }
            Err(lost) if lost.is_temporary() => {
                self.over(false);
                Ok(())
            }
            Err(lost) => Err(session.report(Failure::Lost(lost), "pulling events")),
        }
    }

    /// Makes an event of a message; `None` where it is not for the one who asked.
    async fn hand_on(&mut self, taken: Taken) -> Result<Option<Delivery>, EventLogError> {
        let Taken { message, since } = taken;
        let lay = SystemClock.monotonic().saturating_duration_since(since);
        if lay >= self.settings.acknowledge_within / 2 {
            // Where the server gave it to somebody else already, nothing may be said of it.
            if lay < self.settings.acknowledge_within {
                hand_back(self.session(), message.reply.into_iter().collect());
            }
            return Ok(None);
        }
        let place = message.reply.as_deref().and_then(parse_place);
        let (Some(subject), Some(place)) = (message.reply.clone(), place) else {
            return Err(EventLogError::integrity("a message does not say its place")
                .with("subject", &message.subject));
        };
        let event = self.event(&message, &place)?;
        let answering = MessageAnswer {
            session: self.session().clone(),
            name: self.name.clone(),
            subject,
        };
        let is_after = event.position > self.settings.after;
        if !is_after || !self.settings.filter.matches(&event, &mut self.subject) {
            // Where this fails it comes again, and is looked at again.
            let _ = answering.answer(Answer::Done).await;
            return Ok(None);
        }
        let answering = Box::new(answering);
        Ok(Some(Delivery::new(
            event,
            place.attempt,
            &self.settings,
            answering,
        )))
    }

    fn event(&mut self, message: &Message, place: &Place) -> Result<RecordedEvent, EventLogError> {
        let arrived = Arrived {
            subject: &message.subject,
            sequence: place.sequence,
            stored_at: place.stored_at,
            headers: headers(message),
            payload: message.payload.clone(),
        };
        decode_event(arrived, &mut self.block)
    }
}

impl Drop for Member {
    /// What came and was not handed on goes to others at once.
    fn drop(&mut self) {
        self.look();
        let (now, within) = (self.looked, self.settings.acknowledge_within);
        let ours = std::mem::take(&mut self.taken).into_iter();
        let ours = ours.filter(|taken| now.saturating_duration_since(taken.since) < within);
        let subjects = ours.filter_map(|taken| taken.message.reply).collect();
        hand_back(self.session(), subjects);
    }
}

/// Hands messages back. Where that fails the server notices by itself, later.
fn hand_back(session: &Arc<Session>, subjects: Vec<Subject>) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return;
    };
    if subjects.is_empty() || session.is_closed() {
        return;
    }
    let session = session.clone();
    runtime.spawn(async move {
        let limit = session.settings.connection.request_timeout;
        let requests = &session.api.requests;
        for subject in subjects {
            let _ = requests.publish(subject, None, NOT_DONE, limit).await;
        }
    });
}
