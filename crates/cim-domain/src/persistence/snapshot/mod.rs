//! Snapshots: states of aggregates, so that a load reads only the events after them.
//!
//! A snapshot is a copy and never the truth. It says on which event it stands, by version and CID; a
//! load uses it only where the log has that very event, and reads all events otherwise: where the
//! snapshot is missing, damaged, of another schema, ahead of the log, or of another history. The next
//! snapshot takes its place. Whatever happens to the bucket, loads give the same states.

mod codec;
mod envelope;
mod error;
pub(in crate::persistence) mod keeping;
mod policy;
pub(in crate::persistence) mod stats;
mod store;

pub use codec::SnapshotCodec;
pub use error::SnapshotError;
pub use policy::{SinceSnapshot, SnapshotPolicy};
pub use stats::{IgnoredSnapshot, SnapshotStats};
pub use store::{
    NewSnapshot, Newest, Prune, Pruned, Snapshot, SnapshotQuery, SnapshotSettings, SnapshotStore,
    SnapshotStream, StoredSnapshot, Written,
};
