//! What time it is on the server: values end by its clock, and it says the time only when asked.
//!
//! An answer says the server's time somewhere between the question and the answer, so it gives two
//! bounds. Far from the end of a value they need not be tight; near it the server is asked again,
//! so that a value is over exactly when it is over there.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cim_store::{BucketError, Clock, SystemClock, Timestamp};

use super::port::SharedBucket;
use crate::api::StreamInfo;
use crate::budget::Budget;
use crate::doubt::Doubt;

/// How long an answer is good for: clocks don't drift apart noticeably in it.
const FRESH: Duration = Duration::from_secs(10);
/// Nearer than this to a value's end the server is asked.
const NEAR: Duration = Duration::from_secs(1);

/// The server's time, as it told it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    told: Timestamp,
    asked: Instant,
    answered: Instant,
}

impl Moment {
    /// Notes when the server is asked.
    pub(super) fn ask() -> Instant {
        SystemClock.monotonic()
    }

    /// What the server said; `None` where it did not say its time.
    pub(super) fn told(info: &StreamInfo, asked: Instant) -> Option<Self> {
        Some(Self {
            told: info.ts.as_deref()?.parse().ok()?,
            asked,
            answered: SystemClock.monotonic(),
        })
    }

    fn since(&self, then: Instant) -> Timestamp {
        let passed = SystemClock.monotonic().saturating_duration_since(then);
        self.told.saturating_add(passed)
    }

    /// It is at least this late there.
    pub(super) fn earliest(&self) -> Timestamp {
        self.since(self.answered)
    }

    /// It is at most this late there.
    pub(super) fn latest(&self) -> Timestamp {
        self.since(self.asked)
    }

    fn is_fresh(&self) -> bool {
        let now = SystemClock.monotonic();
        now.saturating_duration_since(self.answered) < FRESH
    }
}

/// The last moment that is known of a bucket's server.
#[derive(Debug)]
pub(super) struct LastMoment(Mutex<Option<Moment>>);

impl LastMoment {
    pub(super) fn new(moment: Option<Moment>) -> Self {
        Self(Mutex::new(moment))
    }

    fn get(&self) -> Option<Moment> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, moment: Moment) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(moment);
    }
}

impl SharedBucket {
    /// What time it is on the server, well enough known to compare it with this time.
    pub(super) async fn moment(
        &self,
        end: Timestamp,
        budget: &Budget,
    ) -> Result<Moment, BucketError> {
        let known = self.last_moment.get().filter(Moment::is_fresh);
        match known {
            Some(known) if known.latest().saturating_add(NEAR) < end => Ok(known),
            _ => self.ask_moment(budget).await,
        }
    }

    async fn ask_moment(&self, budget: &Budget) -> Result<Moment, BucketError> {
        let asked = Moment::ask();
        let info = self.info(budget).await?;
        let moment = Moment::told(&info, asked).ok_or_else(|| {
            BucketError::integrity("the server does not say its time").with("bucket", &self.name)
        })?;
        self.session.time.told(moment.told);
        self.last_moment.set(moment);
        Ok(moment)
    }

    /// What the leader says of the bucket's JetStream stream.
    pub(super) async fn info(&self, budget: &Budget) -> Result<StreamInfo, BucketError> {
        let call = format!("STREAM.INFO.{}", self.stream);
        let body = serde_json::json!({});
        let mut doubt = Doubt::new(budget);
        let info = loop {
            match self.session.api.call(&call, &body, budget).await {
                Err(failure) if doubt.again(&failure).await => {}
                answer => break answer,
            }
        };
        info.map_err(|failure| self.report(failure, "the lookup"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_hold_the_servers_time_between_them() {
        let asked = Moment::ask();
        let config = crate::config::StreamConfig::of_log(&crate::NatsSettings::default());
        let info: StreamInfo = serde_json::from_value(serde_json::json!({
            "config": config,
            "state": { "messages": 0, "bytes": 0, "first_seq": 0, "last_seq": 0 },
            "ts": "2026-11-20T13:36:31.782485935Z",
        }))
        .unwrap();
        let moment = Moment::told(&info, asked).unwrap();
        let told: Timestamp = "2026-11-20T13:36:31.782485Z".parse().unwrap();
        assert!(told <= moment.earliest());
        assert!(moment.earliest() <= moment.latest());
        assert!(moment.is_fresh());
    }
}
