//! The log on one JetStream stream.
//!
//! ```text
//! append      heads -> messages -> one guarded publish, or an atomic batch -> heads
//! in order    the same for many commits in one atomic batch
//! read_stream head (leader) and events (multi-get), together
//! read_log    the log's end (leader), then a consumer up to it
//! read_at     every message by its position, together (and the last one of each commit)
//! examine     the same consumer of all subjects; the leader says what is missing
//! subscribe   the same consumer, without an end
//! shared      a durable consumer, pulled by its members
//! resolve     the commit's mark, or the part of the log that its id's time says
//! ```

pub(crate) mod append;
pub(crate) mod commits;
pub(crate) mod direct_read;
pub(crate) mod examine;
pub(crate) mod head_cache;
pub(crate) mod heads;
pub(crate) mod in_order;
pub(crate) mod log;
pub(crate) mod log_read;
pub(crate) mod messages;
pub(crate) mod publish;
pub(crate) mod read_at;
pub(crate) mod shared;
pub(crate) mod stream_read;
pub(crate) mod streams;
pub(crate) mod subscription;
pub(crate) mod unanswered;
