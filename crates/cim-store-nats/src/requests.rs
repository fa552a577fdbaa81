//! Requests and their answers over one connection.
//!
//! One subscription takes the answers to all requests; the last token of an answer's subject says
//! which request it belongs to. Sending and waiting are two steps, so that the messages of a batch
//! can be sent one behind the other while nobody holds anything during the wait.
//!
//! A refused publish has no answer: the server reports it beside the conversation. Such a report
//! names the subject, and ends the wait of whoever published there.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::{Client, HeaderMap, Message, StatusCode, Subject};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::budget::within;

mod together;

use together::Place;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lost {
    /// Nobody listens there: nothing was received.
    #[error(
        "no server takes requests for {subject}: there is no such JetStream stream, or no leader"
    )]
    NoResponders { subject: String },
    /// The server refused the subject: nothing was received.
    #[error("the server does not let this user publish to {subject}")]
    Denied { subject: String },
    /// It could not be sent: nothing was received.
    #[error("the request to {subject} could not be sent: {reason}")]
    NotSent { subject: String, reason: String },
    /// It may have been received.
    #[error("the server did not answer a request to {subject} within {:.1} s", after.as_secs_f64())]
    TimedOut { subject: String, after: Duration },
    /// It may have been received.
    #[error("the connection was lost before a request to {subject} was answered")]
    Disconnected { subject: String },
    /// What came back can't be read; it may have been received.
    #[error("the answer to a request to {subject} can't be read: {reason}")]
    Unreadable { subject: String, reason: String },
    /// The store was closed meanwhile; it may have been received.
    #[error("the store was closed before a request to {subject} was answered")]
    Closed { subject: String },
}

impl Lost {
    /// Whether the server may have received it nevertheless.
    pub(crate) fn may_have_arrived(&self) -> bool {
        matches!(
            self,
            Self::TimedOut { .. }
                | Self::Disconnected { .. }
                | Self::Unreadable { .. }
                | Self::Closed { .. }
        )
    }

    /// Whether trying again can help.
    pub(crate) fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::NoResponders { .. } | Self::TimedOut { .. } | Self::Disconnected { .. }
        )
    }
}

/// Sends requests and finds their answers.
pub(crate) struct Requests {
    client: Client,
    /// The subject of answers, up to the request's number.
    prefix: String,
    next: AtomicU64,
    waiting: Arc<Waiting>,
    dispatcher: AbortHandle,
}

/// Those who wait for answers. Shared with whoever hears of the connection's fate.
#[derive(Default)]
pub(crate) struct Waiting {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    closed: bool,
    requests: HashMap<u64, Waiter>,
}

struct Waiter {
    subject: Subject,
    /// The subjects of messages that go before it, and whose refusal it hears of: those of a batch.
    before: Vec<Subject>,
    answer: Answer,
}

enum Answer {
    One(oneshot::Sender<Result<Message, Lost>>),
    Many(mpsc::Sender<Result<Message, Lost>>),
    /// One of several that are waited for together.
    Place(Place),
}

impl Answer {
    /// Hands an answer over; says whether more may come.
    fn give(&mut self, answer: Result<Message, Lost>) -> bool {
        match self {
            Self::One(_) => {
                let (closed, _) = oneshot::channel();
                if let Self::One(sender) = std::mem::replace(self, Self::One(closed)) {
                    // Whoever was cancelled needs no answer.
                    let _ = sender.send(answer);
                }
                false
            }
            // The channel holds more than a server sends to one request; a server that sends
            // more loses its listener, who notices that the end is missing.
            Self::Many(sender) => sender.try_send(answer).is_ok(),
            Self::Place(place) => {
                place.fill(answer);
                false
            }
        }
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self, number: u64, message: Message) {
        let mut state = self.lock();
        let Some(mut waiter) = state.requests.remove(&number) else {
            return; // nobody waits any more
        };
        let answer = if message.status == Some(StatusCode::NO_RESPONDERS) {
            Err(Lost::NoResponders {
                subject: waiter.subject.to_string(),
            })
        } else {
            Ok(message)
        };
        if waiter.answer.give(answer) {
            state.requests.insert(number, waiter);
        }
    }

    /// A request could not be sent.
    fn lost(&self, number: u64, lost: Lost) {
        let waiter = self.lock().requests.remove(&number);
        if let Some(mut waiter) = waiter {
            waiter.answer.give(Err(lost));
        }
    }

    fn end(&self, ends: impl Fn(&Waiter) -> bool, lost: impl Fn(String) -> Lost) {
        let mut state = self.lock();
        state.requests.retain(|_, waiter| {
            if ends(waiter) {
                let lost = lost(waiter.subject.to_string());
                waiter.answer.give(Err(lost));
                return false;
            }
            true
        });
    }

    /// The connection is gone, and with it every answer that was under way.
    pub(crate) fn disconnected(&self) {
        self.end(|_| true, |subject| Lost::Disconnected { subject });
    }

    /// The server refused to take what was published to this subject.
    pub(crate) fn denied(&self, denied: &str) {
        let is_meant = |subject: &Subject| subject.as_str() == denied;
        self.end(
            |waiter| is_meant(&waiter.subject) || waiter.before.iter().any(is_meant),
            |_| Lost::Denied {
                subject: denied.to_owned(),
            },
        );
    }

    fn close(&self) {
        self.lock().closed = true;
        self.end(|_| true, |subject| Lost::Closed { subject });
    }
}

/// A request that was handed to the connection.
pub(crate) struct Sent {
    number: u64,
    subject: Subject,
    waiting: Arc<Waiting>,
    answer: oneshot::Receiver<Result<Message, Lost>>,
}

impl Sent {
    /// Waits for the answer.
    pub(crate) async fn answer(mut self, limit: Duration) -> Result<Message, Lost> {
        let answer = within(limit, &mut self.answer).await;
        let subject = || self.subject.to_string();
        match answer {
            Some(Ok(answer)) => answer,
            Some(Err(_)) => Err(Lost::Closed { subject: subject() }),
            None => Err(Lost::TimedOut {
                subject: subject(),
                after: limit,
            }),
        }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.waiting.lock().requests.remove(&self.number);
    }
}

/// The answers to a request that has many.
pub(crate) struct Answers {
    number: u64,
    subject: Subject,
    waiting: Arc<Waiting>,
    answers: mpsc::Receiver<Result<Message, Lost>>,
}

impl Answers {
    /// Waits for the next one.
    pub(crate) async fn next(&mut self, limit: Duration) -> Result<Message, Lost> {
        let subject = || self.subject.to_string();
        match within(limit, self.answers.recv()).await {
            Some(Some(answer)) => answer,
            Some(None) => Err(Lost::Closed { subject: subject() }),
            None => Err(Lost::TimedOut {
                subject: subject(),
                after: limit,
            }),
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.waiting.lock().requests.remove(&self.number);
    }
}

impl Requests {
    /// Begins to listen for answers.
    pub(crate) async fn start(client: Client, waiting: Arc<Waiting>) -> Result<Self, Lost> {
        let inbox = client.new_inbox();
        let mut answers = client
            .subscribe(format!("{inbox}.*"))
            .await
            .map_err(|error| Lost::NotSent {
                subject: inbox.clone(),
                reason: error.to_string(),
            })?;
        let prefix = format!("{inbox}.");
        let (taker, start) = (waiting.clone(), prefix.len());
        let dispatcher = tokio::spawn(async move {
            while let Some(message) = answers.next().await {
                let number = message.subject.get(start..).and_then(|n| n.parse().ok());
                if let Some(number) = number {
                    taker.answered(number, message);
                }
            }
        });
        Ok(Self {
            client,
            prefix,
            next: AtomicU64::new(0),
            waiting,
            dispatcher: dispatcher.abort_handle(),
        })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    fn enlist(&self, subject: &Subject, answer: Answer) -> Result<u64, Lost> {
        self.enlist_behind(Vec::new(), subject, answer)
    }

    fn enlist_behind(
        &self,
        before: Vec<Subject>,
        subject: &Subject,
        answer: Answer,
    ) -> Result<u64, Lost> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut state = self.waiting.lock();
        if state.closed {
            return Err(Lost::Closed {
                subject: subject.to_string(),
            });
        }
        let subject = subject.clone();
        let waiter = Waiter {
            subject,
            before,
            answer,
        };
        state.requests.insert(number, waiter);
        Ok(number)
    }

    /// Hands a message to the connection, which sends in this order. `reply` is where the server
    /// answers.
    async fn hand_over(
        &self,
        subject: Subject,
        reply: Option<String>,
        headers: Option<HeaderMap>,
        payload: Bytes,
        limit: Duration,
    ) -> Result<(), Lost> {
        let name = subject.clone();
        let sending = async {
            match (reply, headers) {
                (Some(reply), Some(headers)) => {
                    self.client
                        .publish_with_reply_and_headers(subject, reply, headers, payload)
                        .await
                }
                (Some(reply), None) => {
                    self.client
                        .publish_with_reply(subject, reply, payload)
                        .await
                }
                (None, Some(headers)) => {
                    self.client
                        .publish_with_headers(subject, headers, payload)
                        .await
                }
                (None, None) => self.client.publish(subject, payload).await,
            }
        };
        match within(limit, sending).await {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(Lost::NotSent {
                subject: name.to_string(),
                reason: error.to_string(),
            }),
            None => Err(Lost::TimedOut {
                subject: name.to_string(),
                after: limit,
            }),
        }
    }

    /// Sends a request that has one answer.
    pub(crate) async fn send(
        &self,
        subject: impl Into<Subject>,
        headers: Option<HeaderMap>,
        payload: Bytes,
        limit: Duration,
    ) -> Result<Sent, Lost> {
        let sent = self.begin(Vec::new(), subject)?;
        self.finish(&sent, headers, payload, limit).await?;
        Ok(sent)
    }

    /// Begins a request to `subject` that has one answer. Messages to the subjects `before` are
    /// published in between, and the answer is also that one of them was refused.
    pub(crate) fn begin(
        &self,
        before: Vec<Subject>,
        subject: impl Into<Subject>,
    ) -> Result<Sent, Lost> {
        let subject = subject.into();
        let (sender, answer) = oneshot::channel();
        let number = self.enlist_behind(before, &subject, Answer::One(sender))?;
        Ok(Sent {
            number,
            subject,
            waiting: self.waiting.clone(),
            answer,
        })
    }

    /// Sends a request that was begun.
    pub(crate) async fn finish(
        &self,
        sent: &Sent,
        headers: Option<HeaderMap>,
        payload: Bytes,
        limit: Duration,
    ) -> Result<(), Lost> {
        let reply = Some(format!("{}{}", self.prefix, sent.number));
        self.hand_over(sent.subject.clone(), reply, headers, payload, limit)
            .await
    }

    /// Sends a request that has at most `most` answers.
    pub(crate) async fn send_for_many(
        &self,
        subject: impl Into<Subject>,
        payload: Bytes,
        most: usize,
        limit: Duration,
    ) -> Result<Answers, Lost> {
        let subject = subject.into();
        let (sender, answers) = mpsc::channel(most);
        let number = self.enlist(&subject, Answer::Many(sender))?;
        let sent = Answers {
            number,
            subject: subject.clone(),
            waiting: self.waiting.clone(),
            answers,
        };
        let reply = Some(format!("{}{number}", self.prefix));
        self.hand_over(subject, reply, None, payload, limit).await?;
        Ok(sent)
    }

    /// Sends a request whose answers go to a subject of the caller's own. What comes back hears only
    /// why no answers come any more: refused, disconnected, closed.
    pub(crate) async fn send_for_elsewhere(
        &self,
        subject: impl Into<Subject>,
        reply: String,
        payload: Bytes,
        limit: Duration,
    ) -> Result<Answers, Lost> {
        let subject = subject.into();
        let (sender, answers) = mpsc::channel(1);
        let number = self.enlist(&subject, Answer::Many(sender))?;
        let sent = Answers {
            number,
            subject: subject.clone(),
            waiting: self.waiting.clone(),
            answers,
        };
        self.hand_over(subject, Some(reply), None, payload, limit)
            .await?;
        Ok(sent)
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn request(
        &self,
        subject: impl Into<Subject>,
        headers: Option<HeaderMap>,
        payload: Bytes,
        limit: Duration,
    ) -> Result<Message, Lost> {
        let sent = self.send(subject, headers, payload, limit).await?;
        sent.answer(limit).await
    }

    /// Sends a message that has no answer.
    pub(crate) async fn publish(
        &self,
        subject: impl Into<Subject>,
        headers: Option<HeaderMap>,
        payload: Bytes,
        limit: Duration,
    ) -> Result<(), Lost> {
        self.hand_over(subject.into(), None, headers, payload, limit)
            .await
    }

    /// How many requests were sent since the store was opened.
    pub(crate) fn sent(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Ends every wait; later requests are refused.
    pub(crate) fn close(&self) {
        self.waiting.close();
        self.dispatcher.abort();
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.dispatcher.abort();
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests")
            .field("sent", &self.sent())
            .field("waiting", &self.waiting.lock().requests.len())
            .finish_non_exhaustive()
    }
}
