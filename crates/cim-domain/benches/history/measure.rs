//! Time and medians.

use std::error::Error;
use std::time::Instant;

use cim_domain::store::{Clock, SystemClock};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Time since a start.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(SystemClock.monotonic())
    }

    pub(crate) fn seconds(&self) -> f64 {
        let now = SystemClock.monotonic();
        now.saturating_duration_since(self.0).as_secs_f64()
    }
}

/// The middle one; of an even number the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.len() % 2, values.get(middle)) {
        (_, None) => f64::NAN,
        (0, Some(upper)) => (values[middle - 1] + upper) / 2.0,
        (_, Some(value)) => *value,
    }
}
