//! Doubt about an answer: just after a cluster changed its leader, a server that is behind says of a
//! JetStream stream that it is not there. So it must say so for a while before it is believed.

use crate::api::{Failure, NO_STREAM};
use crate::budget::Budget;

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
