//! What a member says of an event that it was given, confirmed by the server.
//!
//! Source: the NATS documentation, "JetStream consumers", and the architecture decision ADR-15.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Subject;
use async_trait::async_trait;
use bytes::Bytes;
use cim_store::shared_subscription::{Answer, Answering, SubscriptionName};
use cim_store::{Context, EventLogError};

use super::consumer;
use crate::api::Failure;
use crate::requests::Lost;
use crate::session::Session;

/// How long a server may take to confirm, before it is asked whether the subscription is there.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a server that says it is there may not confirm.
const UNANSWERED: u32 = 3;

/// Where the answer for one message goes.
pub(super) struct MessageAnswer {
    pub(super) session: Arc<Session>,
    pub(super) name: SubscriptionName,
    /// The subject that the server gave to the message.
    pub(super) subject: Subject,
}

impl fmt::Debug for MessageAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageAnswer({})", self.subject)
    }
}

/// What the server wants to read.
fn words(answer: Answer) -> Bytes {
    match answer {
        Answer::Done => Bytes::from_static(b"+ACK"),
        Answer::RetryAfter(Duration::ZERO) => NOT_DONE,
        Answer::RetryAfter(time) => {
            // The server counts in 64 bits with a sign.
            let delay = i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
            format!("-NAK {{\"delay\": {delay}}}").into()
        }
        Answer::GivenUp => Bytes::from_static(b"+TERM"),
        Answer::Kept => Bytes::from_static(b"+WPI"),
    }
}

/// Hands a message back at once.
pub(super) const NOT_DONE: Bytes = Bytes::from_static(b"-NAK");

#[async_trait]
impl Answering for MessageAnswer {
    async fn answer(&self, answer: Answer) -> Result<(), EventLogError> {
        const WHAT: &str = "answering for an event";
        let session = &self.session;
        let budget = session.begin(&Context::new(), WHAT)?;
        let words = words(answer);
        let (mut attempt, mut unanswered) = (0, 0);
        loop {
            let limit = budget.next_request().min(PATIENCE);
            let asked = session
                .api
                .requests
                .request(self.subject.clone(), None, words.clone(), limit)
                .await;
            let lost = match asked {
                Ok(_) => return Ok(()),
                Err(lost) => lost,
            };
            // Nobody answers where the subscription was deleted, where it has no leader now, and
            // where a server that crashed forgot that it delivered the event.
            if !matches!(lost, Lost::Disconnected { .. }) && lost.is_temporary() {
                match consumer::is_there(session, &self.name, &budget).await {
                    Ok(false) => return Err(consumer::gone(&self.name)),
                    Ok(true) => unanswered += 1,
                    Err(_) => unanswered = 0,
                }
            }
            attempt += 1;
            let again = lost.is_temporary() && unanswered < UNANSWERED;
            if !again || !budget.pause(attempt).await {
                let is_temporary = lost.is_temporary();
                let error: EventLogError = session.report(Failure::Lost(lost), WHAT);
                return Err(if is_temporary {
                    error.with_hint("it may have arrived; if it did not, the event comes again")
                } else {
                    error
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_written_as_the_server_reads_them() {
        let written = |answer| String::from_utf8(words(answer).to_vec()).unwrap();
        assert_eq!(written(Answer::Done), "+ACK");
        assert_eq!(written(Answer::GivenUp), "+TERM");
        assert_eq!(written(Answer::Kept), "+WPI");
        assert_eq!(written(Answer::RetryAfter(Duration::ZERO)), "-NAK");
        assert_eq!(
            written(Answer::RetryAfter(Duration::from_millis(2))),
            "-NAK {\"delay\": 2000000}"
        );
        assert_eq!(
            written(Answer::RetryAfter(Duration::MAX)),
            format!("-NAK {{\"delay\": {}}}", i64::MAX)
        );
    }
}
