//! The log of events: the port [`EventLog`](cim_store::EventLog) on a journal and an index.

pub(crate) mod catch_up;
pub(crate) mod commits;
pub(crate) mod examination;
pub(crate) mod gaps;
pub(crate) mod head_cache;
pub(crate) mod in_order;
pub(crate) mod known_streams;
pub(crate) mod log;
pub(crate) mod log_read;
pub(crate) mod read_at;
pub(crate) mod record;
pub(crate) mod stream_read;
pub(crate) mod subscription;
pub(crate) mod truncate;
pub(crate) mod writer;

use crate::journal::Family;

/// The journal of events.
pub(crate) const EVENTS: Family = Family {
    name: "events",
    code: 1,
};
