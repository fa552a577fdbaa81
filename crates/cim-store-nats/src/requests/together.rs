//! Requests that are sent together, and whose answers are waited for together: they go out in one
//! piece, and whoever waits is woken once, when the last answer is there. Waking somebody costs more
//! than a server takes for any of them.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::{Message, Subject};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::{Answer, Lost, Requests, Waiter, Waiting};
use crate::budget::within;

/// The answers to several requests, as they come.
#[derive(Debug)]
struct Gathering {
    answers: Vec<Option<Result<Message, Lost>>>,
    missing: usize,
    complete: Option<oneshot::Sender<()>>,
}

fn lock(gathering: &Mutex<Gathering>) -> MutexGuard<'_, Gathering> {
    gathering.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The place of an answer among those of several requests.
#[derive(Debug)]
pub(super) struct Place {
    gathering: Arc<Mutex<Gathering>>,
    index: usize,
}

impl Place {
    /// Takes the answer.
    pub(super) fn fill(&self, answer: Result<Message, Lost>) {
        let mut gathering = lock(&self.gathering);
        let Some(place @ None) = gathering.answers.get_mut(self.index) else {
            return; // there is one already, or nobody waits any more
        };
        *place = Some(answer);
        gathering.missing -= 1;
        if gathering.missing == 0
            && let Some(complete) = gathering.complete.take()
        {
            // Whoever was cancelled needs no answer.
            let _ = complete.send(());
        }
    }
}

/// The numbers of requests that are under way. Dropped, it forgets those that have no answer.
struct UnderWay<'a> {
    waiting: &'a Waiting,
    numbers: Range<u64>,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut state = self.waiting.lock();
        for number in self.numbers.clone() {
            state.requests.remove(&number);
        }
    }
}

impl Requests {
    /// Sends requests to one subject, each of which has one answer, and waits until all are
    /// answered, or as long as the limit says. Gives what became of each, in the same order.
    pub(crate) async fn request_together(
        &self,
        subject: &Subject,
        payloads: Vec<Bytes>,
        limit: Duration,
    ) -> Vec<Result<Message, Lost>> {
        if payloads.is_empty() {
            return Vec::new();
        }
        let (complete, completed) = oneshot::channel();
        let gathering = Arc::new(Mutex::new(Gathering {
            answers: vec![None; payloads.len()],
            missing: payloads.len(),
            complete: Some(complete),
        }));
        let under_way = self.enlist_together(subject, payloads.len(), &gathering);
        let asking = async {
            for (number, payload) in under_way.numbers.clone().zip(payloads) {
                let reply = Some(format!("{}{number}", self.prefix));
                let handed = self.hand_over(subject.clone(), reply, None, payload, limit);
                if let Err(lost) = handed.await {
                    self.waiting.lost(number, lost);
                }
            }
            // The sender lives as long as an answer is missing.
            let _ = completed.await;
        };
        let _ = within(limit, asking).await;
        let answers = std::mem::take(&mut lock(&gathering).answers);
        let or_timed_out = |answer: Option<Result<Message, Lost>>| {
            answer.unwrap_or_else(|| {
                Err(Lost::TimedOut {
                    subject: subject.to_string(),
                    after: limit,
                })
            })
        };
        answers.into_iter().map(or_timed_out).collect()
    }

    /// Notes so many requests that are answered together.
    fn enlist_together(
        &self,
        subject: &Subject,
        count: usize,
        gathering: &Arc<Mutex<Gathering>>,
    ) -> UnderWay<'_> {
        let first = self.next.fetch_add(count as u64, Ordering::Relaxed);
        let numbers = first..first + count as u64;
        let mut state = self.waiting.lock();
        for (index, number) in numbers.clone().enumerate() {
            let place = Place {
                gathering: Arc::clone(gathering),
                index,
            };
            if state.closed {
                place.fill(Err(Lost::Closed {
                    subject: subject.to_string(),
                }));
                continue;
            }
            let waiter = Waiter {
                subject: subject.clone(),
                before: Vec::new(),
                answer: Answer::Place(place),
            };
            state.requests.insert(number, waiter);
        }
        drop(state);
        UnderWay {
            waiting: &self.waiting,
            numbers,
        }
    }
}
