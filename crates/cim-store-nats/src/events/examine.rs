//! What the JetStream stream holds, as it stands there: every message from a position to the end as
//! its leader has it when the examination begins.
//!
//! A consumer of all subjects delivers the messages, so a sequence that it passes over is missing:
//! the log never gives anything up. The consumer may stand on a replica that lacks what the others
//! have, or deliver nothing at all; so what it does not bring is asked of the leader before it is
//! said to be missing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use cim_store::{
    Clock, Context, Damage, EventLogError, Examination, Examined, Position, SystemClock,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::task::coop::consume_budget;

use super::direct_read::headers;
use super::log::SharedLog;
use crate::api::{Failure, Get, StoredMessage};
use crate::budget::Budget;
use crate::error::stream_gone;
use crate::follow::{Delivered, Follower, Following, Start};
use crate::subjects;
use crate::wire::{Arrived, examine_event};

/// How many findings are handed on at once.
const PAGE: usize = 256;
/// How long a consumer may say nothing before its replica is doubted.
const PATIENCE: Duration = Duration::from_secs(6);
/// How many consumers may say nothing one after the other before the leader is read instead.
const CONSUMERS: u32 = 3;
/// How many messages are then read from it before a consumer is tried again.
const FROM_LEADER: u64 = 256;
/// For so long a server of a cluster may say that the end is not there before it is believed: it may
/// have been the leader a moment ago.
const BEHIND: Duration = Duration::from_secs(8);

/// Begins an examination.
pub(super) async fn examine(
    log: Arc<SharedLog>,
    ctx: Context,
    after: Position,
) -> Result<Examination, EventLogError> {
    let session = &log.session;
    let budget = session.begin(&ctx, "examine")?;
    let name = session.log_stream();
    let info = session.api.stream_info(name, &budget).await;
    let info = info.map_err(|failure| session.report(failure, "examine"))?;
    let info = info.ok_or_else(|| stream_gone(name))?;
    // What this process was told of and is not there any more is missing, too.
    let end = info.state.last_seq.max(session.highest());
    let next = after.get().saturating_add(1);
    let examining = Examining {
        follower: Follower::new(session.clone(), following(name), Start::Sequence(next)),
        next,
        end,
        ahead: None,
        ended: false,
        silent: 0,
        from_leader: 0,
        page: VecDeque::new(),
        log,
        ctx,
    };
    Ok(stream::try_unfold(examining, Examining::next_page)
        .map_ok(|page| stream::iter(page).map(Ok))
        .try_flatten()
        .boxed())
}

fn following(name: &str) -> Following {
    Following {
        stream: name.to_owned(),
        filters: vec![">".to_owned()],
        headers_only: false,
    }
}

/// An examination under way.
struct Examining {
    log: Arc<SharedLog>,
    ctx: Context,
    follower: Follower,
    /// Everything before this position was handed out, or said to be missing.
    next: u64,
    end: u64,
    /// A message that was delivered before it was its turn: what comes before it may be missing.
    ahead: Option<Delivered>,
    /// Whether the consumer has nothing more to deliver.
    ended: bool,
    /// How many consumers said nothing, one after the other.
    silent: u32,
    /// How many messages are still to be read from the leader.
    from_leader: u64,
    page: VecDeque<Examined>,
}

impl Examining {
    async fn next_page(mut self) -> Result<Option<(VecDeque<Examined>, Self)>, EventLogError> {
        while self.next <= self.end && self.page.len() < PAGE {
            let delivered = match self.ahead.take() {
                Some(delivered) => Some(delivered),
                None if self.from_leader > 0 => None,
                None => self.follower.ready(),
            };
            match delivered {
                Some(delivered) => self.take(delivered).await?,
                None if self.from_leader > 0 => {
                    self.from_leader -= 1;
                    if self.is_there().await? {
                        self.ask_leader(self.end).await?;
                    } else {
                        self.missing(self.end);
                    }
                    if self.from_leader == 0 {
                        self.follow_again();
                    }
                }
                // What is here is handed on before there is a wait.
                None if !self.page.is_empty() => break,
                None => self.wait().await?,
            }
        }
        consume_budget().await;
        if self.page.is_empty() {
            return Ok(None);
        }
        Ok(Some((std::mem::take(&mut self.page), self)))
    }

    /// Looks at a message that the consumer delivered.
    async fn take(&mut self, delivered: Delivered) -> Result<(), EventLogError> {
        self.silent = 0;
        if delivered.sequence < self.next {
            return Ok(());
        }
        if delivered.sequence > self.next {
            let before = (delivered.sequence - 1).min(self.end);
            self.ahead = Some(delivered);
            return self.ask_leader(before).await;
        }
        self.ended = delivered.pending == 0;
        self.next += 1;
        let arrived = Arrived {
            subject: &delivered.message.subject,
            sequence: delivered.sequence,
            stored_at: delivered.stored_at,
            headers: headers(&delivered.message),
            payload: delivered.message.payload.clone(),
        };
        self.page.extend(look_at(arrived));
        Ok(())
    }

    /// Waits until the consumer delivers something; finds out whether there is something, where it
    /// does not.
    async fn wait(&mut self) -> Result<(), EventLogError> {
        let budget = self.begin()?;
        if !self.ended {
            let begun = self.follower.begin(&budget).await;
            let next = match begun {
                // A new consumer for which nothing waits will deliver nothing.
                Ok(0) if self.silent == 0 => Ok(None),
                Ok(_) => {
                    let limit = budget.left().unwrap_or_default().min(PATIENCE);
                    self.follower.next(limit).await
                }
                Err(failure) => Err(failure),
            };
            match next {
                Ok(Some(delivered)) => return self.take(delivered).await,
                Ok(None) => {}
                // The leader says what is still there.
                Err(Failure::RolledBack { .. }) => {}
                Err(failure) => return Err(self.log.session.report(failure, "examine")),
            }
            if budget.left().is_none() {
                return Err(EventLogError::deadline_passed("examine"));
            }
        }
        self.ended = false;
        if !self.is_there().await? {
            self.missing(self.end);
            return Ok(());
        }
        // The leader has more than the consumer's replica.
        self.silent += 1;
        if self.silent >= CONSUMERS {
            self.from_leader = FROM_LEADER;
        }
        self.follow_again();
        Ok(())
    }

    fn follow_again(&mut self) {
        let session = self.log.session.clone();
        let following = following(session.log_stream());
        self.follower = Follower::new(session, following, Start::Sequence(self.next));
        self.ended = false;
    }

    /// Whether the leader has anything more, up to the end.
    async fn is_there(&self) -> Result<bool, EventLogError> {
        let single = self.log.session.replicas == 1;
        let asked = SystemClock.monotonic();
        let mut attempt = 0;
        loop {
            let budget = self.begin()?;
            if self.next_of_leader(self.end, &budget).await?.is_some() {
                return Ok(true);
            }
            attempt += 1;
            let passed = SystemClock.monotonic().saturating_duration_since(asked);
            if single || passed > BEHIND || !budget.pause(attempt).await {
                return Ok(false);
            }
        }
    }

    /// Hands out the next message that the leader has, up to a position; what it passes over is
    /// missing.
    async fn ask_leader(&mut self, until: u64) -> Result<(), EventLogError> {
        let budget = self.begin()?;
        match self.next_of_leader(until, &budget).await? {
            Some(message) => {
                self.missing(message.sequence - 1);
                self.next = message.sequence + 1;
                let arrived = Arrived {
                    subject: &message.subject,
                    sequence: message.sequence,
                    stored_at: message.stored_at,
                    headers: message.headers(),
                    payload: message.payload.clone(),
                };
                self.page.extend(look_at(arrived));
            }
            None => self.missing(until),
        }
        Ok(())
    }

    /// The next message that the leader has, up to a position.
    async fn next_of_leader(
        &self,
        until: u64,
        budget: &Budget,
    ) -> Result<Option<StoredMessage>, EventLogError> {
        let get = Get::Next {
            seq: self.next,
            next_by_subj: ">",
        };
        let message = self.log.get(&get, budget).await?;
        Ok(message.filter(|message| message.sequence <= until))
    }

    /// Says that everything from here to a position is missing.
    fn missing(&mut self, through: u64) {
        let from = self.next;
        if from > through {
            return;
        }
        self.next = through + 1;
        let message = if from == through {
            format!("there is no message at position {from}")
        } else {
            format!("there are no messages at positions {from} to {through}")
        };
        self.page.push_back(Examined::Damage(Damage {
            position: Some(Position::new(from)),
            stream: None,
            version: None,
            missing: true,
            message,
        }));
    }

    fn begin(&self) -> Result<Budget, EventLogError> {
        self.log.session.begin(&self.ctx, "examine")
    }
}

/// What a message is; nothing where it is one of the log's own that are no events.
fn look_at<'a>(message: Arrived<'a, impl Iterator<Item = (&'a str, &'a str)>>) -> Option<Examined> {
    if subjects::is_mark_or_check(message.subject) {
        return None;
    }
    Some(match examine_event(message) {
        Ok(event) => Examined::Event(event),
        Err(damage) => Examined::Damage(damage),
    })
}
