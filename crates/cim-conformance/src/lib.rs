//! The published suite that every CIM event store and every layer passes.
//!
//! The contract of the ports `EventLog` and `Bucket`, as named cases. An adapter implements
//! [`Harness`] and gets one test for each of them from [`store_tests!`]:
//!
//! ```
//! use std::sync::Arc;
//! use cim_conformance::{Harness, HarnessError, Setup};
//! use cim_store::{Store, memory::MemoryStore};
//!
//! struct MyHarness;
//!
//! #[cim_conformance::async_trait]
//! impl Harness for MyHarness {
//!     type Place = ();
//!
//!     async fn place(&self) -> Result<(), HarnessError> {
//!         Ok(())
//!     }
//!
//!     async fn open(&self, _: &(), setup: Setup) -> Result<Arc<dyn Store>, HarnessError> {
//!         Ok(Arc::new(MemoryStore::with(setup.clock, setup.ids)))
//!     }
//!
//!     fn persistent(&self) -> bool {
//!         false
//!     }
//! }
//!
//! cim_conformance::store_tests!(mine, MyHarness);
//! ```

mod bucket;
pub mod crash;
mod event_log;
pub mod fault;
#[cfg(feature = "foreign-tools")]
pub mod foreign_tools;
mod harness;
pub mod history;
mod list;
pub mod model;
#[cfg(feature = "nats-server")]
pub mod nats_server;
mod suite;
mod trial;

pub use async_trait::async_trait;
pub use fault::{FaultLayer, FaultPlan};
pub use harness::{Harness, HarnessError, Setup, TestClock};
pub use suite::{Case, CaseFailure, run, run_within};
pub use trial::Trial;

/// The cases of the port `EventLog`.
pub const EVENT_LOG_CASES: &[Case] = crate::__event_log_cases! { __case_table event_log };

/// The cases of the port `Bucket`.
pub const BUCKET_CASES: &[Case] = crate::__bucket_cases! { __case_table bucket };

/// All cases of both ports.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    EVENT_LOG_CASES.iter().chain(BUCKET_CASES)
}
