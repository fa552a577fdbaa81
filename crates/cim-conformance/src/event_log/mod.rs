//! The cases of the port `EventLog`, one module for each line of its contract or part of it.

pub(crate) mod atomicity;
pub(crate) mod cancellation;
pub(crate) mod chain;
pub(crate) mod checks;
pub(crate) mod closing;
pub(crate) mod commit_ids;
pub(crate) mod examination;
pub(crate) mod histories;
pub(crate) mod in_order;
pub(crate) mod limits;
pub(crate) mod one_winner;
pub(crate) mod order;
pub(crate) mod reading_at_positions;
pub(crate) mod reading_streams;
pub(crate) mod reading_the_log;
pub(crate) mod recorded;
pub(crate) mod shared_subscriptions;
pub(crate) mod subscriptions;
pub(crate) mod time;
pub(crate) mod truncation;
