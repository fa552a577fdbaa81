//! How long an operation may take: until its context's deadline, and never longer than the
//! settings say. Every wait of the adapter is a wait of a budget, so nothing hangs.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use cim_store::{Clock, Context, SystemClock};
use futures_util::future::{Either, select};

/// The first pause before a request is sent again; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);
const FAR: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);

/// What is left of an operation's time.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    /// On the machine's own clock, because servers answer in real time.
    until: Instant,
    /// The caller's deadline, on the store's clock.
    deadline: Option<Instant>,
    clock: Arc<dyn Clock>,
    /// How long one request may take.
    request: Duration,
}

impl Budget {
    /// As the context and the settings say.
    pub(crate) fn new(
        ctx: &Context,
        clock: &Arc<dyn Clock>,
        operation: Duration,
        request: Duration,
    ) -> Self {
        let now = SystemClock.monotonic();
        // A caller's deadline replaces the limit of the settings, also where it is later.
        let limit = ctx.remaining(&**clock).unwrap_or(operation);
        Self {
            // Further away than time can be told is far enough.
            until: now.checked_add(limit).unwrap_or(now + FAR),
            deadline: ctx.deadline(),
            clock: clock.clone(),
            request,
        }
    }

    /// A shorter one, for a question to which no answer is an answer.
    pub(crate) fn shortened(&self) -> Self {
        let until = SystemClock.monotonic() + self.request;
        Self {
            until: self.until.min(until),
            ..self.clone()
        }
    }

    /// What is left; `None` when it is over.
    pub(crate) fn left(&self) -> Option<Duration> {
        let left = self
            .until
            .saturating_duration_since(SystemClock.monotonic());
        let over = left.is_zero()
            || self
                .deadline
                .is_some_and(|deadline| self.clock.monotonic() >= deadline);
        (!over).then_some(left)
    }

    /// How long the next request may take.
    pub(crate) fn next_request(&self) -> Duration {
        self.left().unwrap_or_default().min(self.request)
    }

    /// Waits before the next attempt, longer after each, with jitter so that those who collided do
    /// not collide again. Says `false`, at once, where the time would be over before.
    pub(crate) async fn pause(&self, attempt: u32) -> bool {
        let base = FIRST_PAUSE
            .saturating_mul(1 << attempt.min(10))
            .min(LONGEST_PAUSE);
        let pause = base.mul_f64(jitter());
        if self.left().is_none_or(|left| left <= pause) {
            return false;
        }
        SystemClock.sleep(pause).await;
        true
    }
}

/// A number from 0.5 to 1.
fn jitter() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    // The standard library's own source of randomness: every state has fresh keys.
    let bits = RandomState::new().hash_one(0_u8) as u32;
    0.5 + f64::from(bits) / f64::from(u32::MAX) / 2.0
}

/// What a future gives within a time; `None` where it does not end in it.
pub(crate) async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    if limit.is_zero() {
        return None;
    }
    let mut future = pin!(future);
    // Most end at once, and then no timer is needed.
    let first = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx)));
    if let Poll::Ready(output) = first.await {
        return Some(output);
    }
    match select(future, SystemClock.sleep(limit)).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cim_store::{ManualClock, Timestamp};

    fn budget(ctx: &Context, clock: &ManualClock) -> Budget {
        let clock: Arc<dyn Clock> = Arc::new(clock.clone());
        Budget::new(ctx, &clock, Duration::from_secs(30), Duration::from_secs(3))
    }

    #[test]
    fn without_a_deadline_the_settings_limit_holds() {
        let clock = ManualClock::at(Timestamp::EPOCH);
        let budget = budget(&Context::new(), &clock);
        let left = budget.left().unwrap();
        assert!(left <= Duration::from_secs(30) && left > Duration::from_secs(29));
        assert_eq!(budget.next_request(), Duration::from_secs(3));
    }

    #[test]
    fn a_deadline_on_the_stores_clock_ends_it() {
        let clock = ManualClock::at(Timestamp::EPOCH);
        let ctx = Context::new().with_timeout(&clock, Duration::from_secs(100));
        let budget = budget(&ctx, &clock);
        assert!(budget.left().unwrap() > Duration::from_secs(99));
        clock.advance(Duration::from_secs(100));
        assert_eq!(budget.left(), None);
        assert_eq!(budget.next_request(), Duration::ZERO);
    }

    #[test]
    fn jitter_is_at_most_a_half() {
        for _ in 0..1_000 {
            assert!((0.5..=1.0).contains(&jitter()));
        }
    }

    #[tokio::test]
    async fn what_does_not_end_in_time_is_given_up() {
        assert_eq!(within(Duration::from_secs(5), async { 1 }).await, Some(1));
        let never = std::future::pending::<()>();
        assert_eq!(within(Duration::from_millis(1), never).await, None);
    }
}
