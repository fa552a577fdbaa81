//! Copies of the states of aggregates, for other services: as JSON, so that they read them in any
//! language and without replay.
//!
//! A copy stands under `cim.aggregates.{context}.{aggregate}.{id}.state.{version}` in a bucket. It is
//! written after the events were stored, so it may lag; it is never the truth, and no repository
//! loads from it. What lags, is damaged or is ahead of the log is repaired from the events.

mod copy;
mod error;
pub(in crate::persistence) mod keeping;
mod stats;
mod store;

pub use copy::StateCopy;
pub use error::StateCopyError;
pub use stats::StateCopyStats;
pub use store::{ListedCopy, StateChange, StateChangeStream, StateCopies, StateCopySettings};
