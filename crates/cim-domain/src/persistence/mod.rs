//! How aggregates are stored and loaded.
//!
//! [`Repository`] is what applications use: it stands on the port
//! [`EventLog`](cim_store::EventLog) and never names an adapter, so the same code runs in memory,
//! in one directory, or on a cluster.

mod append;
mod error;
mod history;
mod replay;
mod repository;
mod retry;

pub use error::RepositoryError;
pub use history::{History, Recorded};
pub use repository::{Executed, Loaded, Repository, SaveOptions, Saved};
pub use retry::RetryPolicy;
