//! Doubt about an answer: just after a cluster changed its leader, a server that is behind says of a
//! JetStream stream that it is not there, or that it has less than there was. So it must say so for
//! a while before it is believed.

use std::time::Instant;

use cim_store::{Clock as _, EventLogError, SystemClock};

use crate::api::{Failure, NO_STREAM};
use crate::budget::Budget;
use crate::error;
use crate::session::BEHIND;

/// The doubt of one call.
#[derive(Debug)]
pub(crate) struct Doubt {
    patience: Budget,
    attempt: u32,
}

impl Doubt {
    /// For a call that ends with this budget.
    pub(crate) fn new(budget: &Budget) -> Self {
        Self {
            patience: budget.shortened(),
            attempt: 0,
        }
    }

    /// Whether to make the call again, after a pause.
    pub(crate) async fn again(&mut self, failure: &Failure) -> bool {
        self.attempt += 1;
        failure.is(NO_STREAM) && self.patience.pause(self.attempt).await
    }
}

/// The doubt about a server that says that the log ends before what this process knows of.
#[derive(Debug)]
pub(crate) struct ShorterLog {
    known: u64,
    since: Instant,
    attempt: u32,
}

impl ShorterLog {
    /// Of a log that is known to reach this far.
    pub(crate) fn than(known: u64) -> Self {
        Self {
            known,
            since: SystemClock.monotonic(),
            attempt: 0,
        }
    }

    /// Waits before a server is asked again that said that the log ends at `last`.
    ///
    /// # Errors
    /// `Integrity` where that was said for so long that it is believed; `Unavailable` where the time
    /// of the operation is over before.
    pub(crate) async fn again(
        &mut self,
        name: &str,
        last: u64,
        budget: &Budget,
    ) -> Result<(), EventLogError> {
        self.attempt += 1;
        if SystemClock
            .monotonic()
            .saturating_duration_since(self.since)
            > BEHIND
        {
            return Err(error::rolled_back(name, self.known, last));
        }
        if !budget.pause(self.attempt).await {
            return Err(error::behind(self.known, last));
        }
        Ok(())
    }
}
