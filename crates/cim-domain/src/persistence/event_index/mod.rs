//! An index over the log: from a correlation id, a tag or a time to its events, without a scan.
//!
//! The index stands in a bucket beside the log and is never the truth: it can be deleted at any time,
//! and is built anew. Any number of processes may open it and take in what is new. What is new is
//! kept in memory until it is much, and is written then as a sorted, immutable run of blocks; runs
//! are merged. `docs/format/event-index.md` has every byte.
//!
//! An answer has everything that was acknowledged before it was asked for: what the log has and the
//! index has not is taken in first. Every event that an entry leads to is compared with what was
//! asked for. Blocks are covered by digests up to the manifest, and the manifest names the last
//! event that was taken in, which is compared with the log's when the index is opened. What is
//! damaged, of another log, or ahead of the log is thrown away and built anew.

mod block;
mod cache;
mod entry;
mod error;
mod follower;
#[cfg(test)]
mod golden;
mod index;
mod inner;
mod manifest;
mod merge;
mod newest;
mod query;
mod run;
mod settings;
mod shelf;
mod taking;

pub use error::IndexError;
pub use follower::Follower;
pub use index::{EventIndex, IndexStatus};
pub use query::{IndexQuery, IndexedEvents};
pub use settings::IndexSettings;
