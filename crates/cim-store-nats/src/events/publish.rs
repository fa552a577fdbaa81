//! Publishes a commit: one guarded message, or an atomic batch of them.
//!
//! The messages of a batch are sent one behind the other, so that a process has one batch open at a
//! time: a server holds 50 for each JetStream stream, of all its clients together. Others can be
//! sent while the answer is waited for, up to a limit.

use std::sync::Arc;

use bytes::Bytes;
use cim_store::CommitId;
use tokio::sync::{Mutex, Semaphore};

use super::messages::{Messages, Outgoing};
use crate::api::{Failure, WRONG_LAST_SEQUENCE, WRONG_LAST_SEQUENCE_UNDECIDED, read_ack};
use crate::budget::{Budget, within};
use crate::error::is_full;
use crate::requests::Lost;
use crate::session::Session;
use crate::wire::BatchPlace;

/// The most messages of a batch (ADR-50).
pub(crate) const BATCH_MESSAGES: usize = 1_000;

/// Batches of one process that wait for their answers. A single server stores some hundreds of them a
/// second: with more under way the last ones are not answered in the time of a request, are sent
/// once more, and from then on the server is busy with repetitions alone.
const UNDER_WAY: usize = 128;

/// "batch is incomplete": a part of it was lost on the way, or it took too long.
const INCOMPLETE_BATCH: u32 = 10_176;
/// "too many open batches".
const TOO_MANY_BATCHES: u32 = 10_210;

/// What became of a publish.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Stored; the first event has this position.
    Stored { first: u64 },
    /// Something that had to be empty was not, so nothing was stored.
    Taken,
    /// Nothing was stored; the same may succeed in a moment.
    Busy(Failure),
    /// Nothing is known.
    Unknown(Lost),
    /// Nothing was stored, and trying again does not help.
    Refused(Failure),
}

/// Publishes commits.
#[derive(Debug)]
pub(crate) struct Publisher {
    session: Arc<Session>,
    /// Held while the messages of a batch are handed over.
    gate: Mutex<()>,
    under_way: Semaphore,
}

impl Publisher {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self {
            session,
            gate: Mutex::new(()),
            under_way: Semaphore::new(UNDER_WAY),
        }
    }

    /// Publishes the messages of a commit. `attempt` tells the tries of a commit apart.
    pub(crate) async fn publish(
        &self,
        messages: Messages,
        commit_id: CommitId,
        attempt: u32,
        budget: &Budget,
    ) -> Outcome {
        let count = messages.messages.len();
        let before = messages.before_events as u64;
        let mut messages = messages.messages;
        let Some(last) = messages.pop() else {
            return Outcome::Busy(Failure::Malformed {
                subject: String::new(),
                reason: "a commit without messages".to_owned(),
            });
        };
        let answer = if messages.is_empty() {
            self.single(last, budget).await
        } else {
            // Two that store the same commit at once must not add to each other's batch.
            let nonce = crate::follow::unique() as u64;
            let batch = format!("{}-{attempt}-{nonce:x}", commit_id.as_uuid().simple());
            self.batch(messages, last, &batch, budget).await
        };
        match answer {
            Ok((sequence, stored)) if stored == count as u64 && sequence >= stored => {
                Outcome::Stored {
                    first: sequence + 1 + before - count as u64,
                }
            }
            Ok((sequence, stored)) => Outcome::Refused(Failure::Malformed {
                subject: self.session.log_stream().to_owned(),
                reason: format!("{stored} of {count} messages were stored, up to {sequence}"),
            }),
            Err(failure) => outcome_of(failure),
        }
    }

    async fn single(&self, message: Outgoing, budget: &Budget) -> Result<(u64, u64), Failure> {
        let limit = budget.next_request();
        let Outgoing {
            subject,
            headers,
            payload,
        } = message;
        let requests = &self.session.api.requests;
        let answer = requests
            .request(subject, Some(headers), payload, limit)
            .await?;
        let ack = read_ack(&answer)?;
        Ok((ack.seq, 1))
    }

    async fn batch(
        &self,
        messages: Vec<Outgoing>,
        mut last: Outgoing,
        id: &str,
        budget: &Budget,
    ) -> Result<(u64, u64), Failure> {
        let requests = &self.session.api.requests;
        let busy = || Failure::Refused(crate::api::Refusal::busy("too many batches are open"));
        // Whoever came first is first: the wait may take all the time that there is.
        let wait = budget.left().unwrap_or_default();
        let Some(Ok(_place)) = within(wait, self.under_way.acquire()).await else {
            return Err(busy());
        };
        let gate = within(budget.left().unwrap_or_default(), self.gate.lock());
        let gate = gate.await.ok_or_else(busy)?;
        let limit = budget.next_request();
        let count = messages.len() + 1;
        let before = messages
            .iter()
            .map(|message| message.subject.as_str().into());
        let sent = requests.begin(before.collect(), last.subject)?;
        for (at, mut message) in messages.into_iter().enumerate() {
            let place = BatchPlace {
                id,
                number: at + 1,
                last: false,
            };
            place.mark(&mut message.headers);
            // Until the last message arrives nothing is stored.
            requests
                .publish(
                    message.subject,
                    Some(message.headers),
                    message.payload,
                    limit,
                )
                .await
                .map_err(|lost| Lost::NotSent {
                    subject: id.to_owned(),
                    reason: lost.to_string(),
                })?;
        }
        let place = BatchPlace {
            id,
            number: count,
            last: true,
        };
        place.mark(&mut last.headers);
        let payload: Bytes = last.payload;
        requests
            .finish(&sent, Some(last.headers), payload, limit)
            .await?;
        drop(gate);
        let answer = sent.answer(limit).await?;
        let ack = read_ack(&answer)?;
        Ok((ack.seq, ack.count))
    }
}

fn outcome_of(failure: Failure) -> Outcome {
    match failure {
        Failure::Lost(lost) if lost.may_have_arrived() => Outcome::Unknown(lost),
        Failure::Lost(Lost::Denied { .. }) => Outcome::Refused(failure),
        Failure::Lost(_) => Outcome::Busy(failure),
        Failure::Refused(refusal) => match refusal.err_code {
            WRONG_LAST_SEQUENCE => Outcome::Taken,
            WRONG_LAST_SEQUENCE_UNDECIDED | INCOMPLETE_BATCH | TOO_MANY_BATCHES => {
                Outcome::Busy(refusal.into())
            }
            code if is_full(code) => Outcome::Refused(refusal.into()),
            _ if refusal.code == 503 || refusal.code == 429 => Outcome::Busy(refusal.into()),
            _ => Outcome::Refused(refusal.into()),
        },
        rolled_back @ Failure::RolledBack { .. } => Outcome::Refused(rolled_back),
        // Somebody else may have answered, too.
        Failure::Malformed { subject, reason } => {
            Outcome::Unknown(Lost::Unreadable { subject, reason })
        }
    }
}
