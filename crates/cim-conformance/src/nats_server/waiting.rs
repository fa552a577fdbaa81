//! Waiting for what another process does: asking again and again until a deadline.

use std::time::{Duration, Instant};

use cim_store::{Clock, SystemClock};

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(10);

/// The moment after which it is no longer asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    end: Instant,
    /// The time that was allowed.
    pub(super) allowed: Duration,
}

impl Deadline {
    pub(super) fn after(allowed: Duration) -> Self {
        Self {
            end: SystemClock.monotonic() + allowed,
            allowed,
        }
    }

    pub(super) fn left(self) -> Duration {
        self.end.saturating_duration_since(SystemClock.monotonic())
    }

    /// Asks until there is an answer. `None` once the time is over; it is asked at least once.
    pub(super) fn poll<T>(self, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
        loop {
            if let Some(answer) = ask() {
                return Some(answer);
            }
            if self.left().is_zero() {
                return None;
            }
            pause();
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "nothing wakes us when another process gets ready, and there may be no runtime"
)]
fn pause() {
    std::thread::sleep(PAUSE);
}
