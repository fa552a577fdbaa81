//! The cases of the port `Bucket`, one module for each part of its contract.

pub(crate) mod expiry;
pub(crate) mod histories;
pub(crate) mod history;
pub(crate) mod lifecycle;
pub(crate) mod listing;
pub(crate) mod races;
pub(crate) mod values;
pub(crate) mod watch;
