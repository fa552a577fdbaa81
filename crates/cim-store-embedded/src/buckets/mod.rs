//! Buckets: the port [`Bucket`](cim_store::Bucket) on a journal and an index of their own.
//!
//! Every change is a record, as durable and as checked as an event. What was superseded is removed
//! by [moving](compaction) what is left of the oldest segment to the end and giving it up.

pub(crate) mod catalog;
pub(crate) mod catch_up;
pub(crate) mod change;
pub(crate) mod compaction;
pub(crate) mod expiry;
pub(crate) mod port;
pub(crate) mod reader;
pub(crate) mod watch;
pub(crate) mod writer;

use crate::journal::Family;

/// The journal of all buckets.
pub(crate) const BUCKETS: Family = Family {
    name: "buckets",
    code: 2,
};
