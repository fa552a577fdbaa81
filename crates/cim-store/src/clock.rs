//! Time enters here and nowhere else, so that a test decides what time it is.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use tokio::sync::oneshot;

use crate::Timestamp;

/// A future that ends when the time has come.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// Where a store takes its time from.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use std::time::Duration;
/// use cim_store::{Clock, ManualClock, Timestamp};
///
/// // A minute for which no test waits.
/// let clock = ManualClock::at(Timestamp::EPOCH);
/// let began = clock.monotonic();
/// let minute = clock.sleep(Duration::from_secs(60));
/// clock.advance(Duration::from_secs(60));
/// minute.await;
/// assert_eq!(clock.monotonic() - began, Duration::from_secs(60));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// The time of day, which may jump.
    fn now(&self) -> Timestamp;

    /// A clock that never goes back, for measuring and for deadlines.
    fn monotonic(&self) -> Instant;

    /// Ends after this much of [`monotonic`](Self::monotonic) time.
    fn sleep(&self, duration: Duration) -> Sleep;
}

/// The machine's own clock. [`Clock::sleep`] needs a tokio runtime with its time driver enabled.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[allow(clippy::disallowed_methods)] // this is the one place that may ask the machine
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        OffsetDateTime::now_utc().into()
    }

    fn monotonic(&self) -> Instant {
        Instant::now()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock that moves only when it is told to. Clones show the same time.
///
/// ```
/// use std::time::Duration;
/// use cim_store::{Clock, ManualClock, Timestamp};
///
/// let clock = ManualClock::at(Timestamp::EPOCH);
/// clock.advance(Duration::from_secs(1));
/// assert_eq!(clock.now(), Timestamp::from_seconds(1));
/// ```
#[derive(Clone)]
pub struct ManualClock {
    shared: Arc<Mutex<Manual>>,
    origin: Instant,
}

struct Manual {
    start: Timestamp,
    elapsed: Duration,
    /// Sleepers by the moment they wait for, with a number to tell equals apart.
    sleepers: BTreeMap<(Duration, u64), oneshot::Sender<()>>,
    next_sleeper: u64,
}

impl ManualClock {
    /// A clock that shows `start` until it is advanced.
    pub fn at(start: Timestamp) -> Self {
        Self {
            shared: Arc::new(Mutex::new(Manual {
                start,
                elapsed: Duration::ZERO,
                sleepers: BTreeMap::new(),
                next_sleeper: 0,
            })),
            origin: SystemClock.monotonic(),
        }
    }

    /// Moves the time forward and wakes those whose time has come.
    pub fn advance(&self, duration: Duration) {
        let mut manual = self.lock();
        manual.elapsed += duration;
        let now = manual.elapsed;
        let later = manual.sleepers.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut manual.sleepers, later);
        drop(manual);
        for (_, sleeper) in due {
            // A sleeper that was dropped no longer waits.
            let _ = sleeper.send(());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Manual> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        let manual = self.lock();
        manual.start.saturating_add(manual.elapsed)
    }

    fn monotonic(&self) -> Instant {
        self.origin + self.lock().elapsed
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let mut manual = self.lock();
        if duration.is_zero() {
            return Box::pin(std::future::ready(()));
        }
        let (sender, receiver) = oneshot::channel();
        let until = manual.elapsed.saturating_add(duration);
        let number = manual.next_sleeper;
        manual.next_sleeper += 1;
        manual.sleepers.insert((until, number), sender);
        drop(manual);
        let clock = self.clone();
        Box::pin(async move {
            let _keeps_the_sender_alive = clock;
            let _ = receiver.await;
        })
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ManualClock({})", self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn a_manual_clock_wakes_sleepers_when_their_time_has_come() {
        let clock = ManualClock::at(Timestamp::EPOCH);
        let mut early = clock.sleep(Duration::from_secs(1));
        let mut late = clock.sleep(Duration::from_secs(3));
        clock.advance(Duration::from_secs(2));
        assert!((&mut early).now_or_never().is_some());
        assert!((&mut late).now_or_never().is_none());
        clock.advance(Duration::from_secs(1));
        assert!((&mut late).now_or_never().is_some());
    }

    #[test]
    fn a_manual_clock_moves_both_of_its_times() {
        let clock = ManualClock::at(Timestamp::from_seconds(10));
        let before = clock.monotonic();
        clock.advance(Duration::from_secs(5));
        assert_eq!(clock.now(), Timestamp::from_seconds(15));
        assert_eq!(clock.monotonic() - before, Duration::from_secs(5));
    }
}
