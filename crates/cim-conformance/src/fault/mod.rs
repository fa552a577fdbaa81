//! Faults on purpose: a layer that fails the calls a plan names, before or after their effect.
//!
//! Before its effect: nothing happens, and the caller is told `Unavailable`. After it: the effect
//! happened, but the caller is told `Unknown`, as when the answer was lost on its way. Whoever
//! works through this layer and still stores everything exactly once handles both.
//!
//! ```
//! # use std::sync::Arc;
//! # use cim_conformance::{FaultLayer, FaultPlan};
//! # use cim_store::{memory::MemoryStore, *};
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let layer = FaultLayer::new(FaultPlan::after(1), Arc::new(SystemIds));
//! let log = layer.log(MemoryStore::new().log());
//!
//! let ctx = Context::new();
//! let order = StreamId::new("sales", "order", "1")?;
//! let placed = vec![NewEvent::json("placed", &1)?];
//! let error = log.append_to(&ctx, &order, ExpectedVersion::NEW, placed).await.unwrap_err();
//! // It is stored; only the caller does not know.
//! let commit = error.unknown_commit().unwrap();
//! assert!(matches!(log.resolve(&ctx, commit).await?, Resolution::Committed(_)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

mod bucket;
mod log;
mod plan;
mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cim_store::{Bucket, EventLog, IdGenerator, PortError, PortErrorKind, Store};

pub use plan::{FaultPlan, When};

use self::bucket::FaultyBucket;
use self::log::FaultyLog;
use self::store::FaultyStore;

/// Wraps ports so that calls fail as a plan says. All ports that were wrapped by one layer, or by
/// clones of it, count their calls together. `name`, `settings` and `capabilities` are no calls.
#[derive(Clone, Debug)]
pub struct FaultLayer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    plan: FaultPlan,
    calls: AtomicU64,
    ids: Arc<dyn IdGenerator>,
}

impl FaultLayer {
    /// Fails calls as `plan` says. Commits without an id get one from `ids`, so that an error can
    /// name it.
    pub fn new(plan: FaultPlan, ids: Arc<dyn IdGenerator>) -> Self {
        Self {
            shared: Arc::new(Shared {
                plan,
                calls: AtomicU64::new(0),
                ids,
            }),
        }
    }

    /// The log, with faults.
    pub fn log(&self, inner: Arc<dyn EventLog>) -> Arc<dyn EventLog> {
        Arc::new(FaultyLog {
            inner,
            layer: self.clone(),
        })
    }

    /// The bucket, with faults.
    pub fn bucket(&self, inner: Arc<dyn Bucket>) -> Arc<dyn Bucket> {
        Arc::new(FaultyBucket {
            inner,
            layer: self.clone(),
        })
    }

    /// The store, whose log and buckets have faults, and which has them itself.
    pub fn store(&self, inner: Arc<dyn Store>) -> Arc<dyn Store> {
        Arc::new(FaultyStore {
            inner,
            layer: self.clone(),
        })
    }

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.shared.calls.load(Ordering::SeqCst)
    }

    /// Counts a call; how it fails, if it does.
    fn count(&self) -> Option<When> {
        let number = self.shared.calls.fetch_add(1, Ordering::SeqCst) + 1;
        self.shared.plan.fault_of(number)
    }

    /// Carries out a call that stores nothing, so that it makes no difference to the store whether
    /// the call or its answer was lost.
    async fn asking<T, K: PortErrorKind>(
        &self,
        call: impl Future<Output = Result<T, PortError<K>>>,
    ) -> Result<T, PortError<K>> {
        match self.count() {
            Some(When::Before) => Err(not_asked()),
            Some(When::After) => {
                call.await?;
                Err(PortError::unavailable(
                    "the answer was lost, as the fault plan says",
                ))
            }
            None => call.await,
        }
    }

    /// Carries out a call that changes something; `unknown` is the error when its answer is lost.
    async fn changing<T, K: PortErrorKind>(
        &self,
        call: impl Future<Output = Result<T, PortError<K>>>,
        unknown: impl FnOnce(&'static str) -> PortError<K>,
    ) -> Result<T, PortError<K>> {
        match self.count() {
            Some(When::Before) => Err(not_asked()),
            Some(When::After) => {
                // An answer is lost whatever it says.
                let _ = call.await;
                Err(unknown("the answer was lost, as the fault plan says"))
            }
            None => call.await,
        }
    }
}

fn not_asked<K: PortErrorKind>() -> PortError<K> {
    PortError::unavailable("the call was not carried out, as the fault plan says")
}
