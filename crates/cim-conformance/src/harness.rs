//! What an adapter gives the suite: a way to make an empty store and to open it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use cim_store::clock::Sleep;
use cim_store::{Clock, IdGenerator, ManualClock, Store, Timestamp};

/// Why a harness could not do its part.
pub type HarnessError = Box<dyn Error + Send + Sync>;

/// What the suite decides about a store that it opens.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where the store takes its time from.
    pub clock: Arc<dyn Clock>,
    /// Where the store takes fresh ids from.
    pub ids: Arc<dyn IdGenerator>,
}

/// Makes and opens stores of one adapter, or of an adapter under layers.
///
/// Every case calls [`place`](Self::place) once and [`open`](Self::open) at least once. Cases run
/// at the same time, so places must not share anything.
///
/// ```
/// use std::sync::Arc;
/// use cim_conformance::{Harness, HarnessError, Setup};
/// use cim_store::{Store, memory::MemoryStore};
///
/// struct MemoryHarness;
///
/// #[cim_conformance::async_trait]
/// impl Harness for MemoryHarness {
///     type Place = ();
///
///     async fn place(&self) -> Result<(), HarnessError> {
///         Ok(())
///     }
///
///     async fn open(&self, _: &(), setup: Setup) -> Result<Arc<dyn Store>, HarnessError> {
///         Ok(Arc::new(MemoryStore::with(setup.clock, setup.ids)))
///     }
///
///     fn persistent(&self) -> bool {
///         false
///     }
/// }
/// ```
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// Where one store's data is: a temporary directory, the name of a prefix on a server. It is
    /// dropped after everything that was opened there.
    type Place: Send + Sync + 'static;

    /// A fresh place that holds nothing.
    ///
    /// # Errors
    /// When it can't be made; the case fails with the error.
    async fn place(&self) -> Result<Self::Place, HarnessError>;

    /// Opens what is at the place: an empty store the first time.
    ///
    /// # Errors
    /// When it can't be opened; the case fails with the error.
    async fn open(&self, place: &Self::Place, setup: Setup)
    -> Result<Arc<dyn Store>, HarnessError>;

    /// Whether what was stored at a place is there when it is opened again after it was closed.
    /// Cases that reopen the store don't apply where it is not.
    fn persistent(&self) -> bool;

    /// Lets this much time pass for the store. An adapter whose server has a clock of its own
    /// really waits here, and then moves the clock too.
    async fn let_time_pass(&self, clock: &TestClock, duration: Duration) {
        clock.advance(duration);
    }
}

/// A clock that moves only when it is told to, and whose time of day can be set back as an
/// operator would. Clones show the same time.
#[derive(Clone)]
pub struct TestClock {
    manual: ManualClock,
    /// Microseconds by which the time of day was set forward (back: negative).
    shift: Arc<AtomicI64>,
}

impl TestClock {
    /// A clock that shows `start` until it is moved.
    pub fn at(start: Timestamp) -> Self {
        Self {
            manual: ManualClock::at(start),
            shift: Arc::default(),
        }
    }

    /// Moves both times forward and wakes those whose time has come.
    pub fn advance(&self, duration: Duration) {
        self.manual.advance(duration);
    }

    /// Sets the time of day; the monotonic time does not notice.
    pub fn set(&self, now: Timestamp) {
        let shift = now.as_micros() - self.manual.now().as_micros();
        self.shift.store(shift, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let shift = self.shift.load(Ordering::SeqCst);
        Timestamp::from_micros(self.manual.now().as_micros().saturating_add(shift))
    }

    fn monotonic(&self) -> Instant {
        self.manual.monotonic()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        self.manual.sleep(duration)
    }
}

impl fmt::Debug for TestClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TestClock({})", self.now())
    }
}
