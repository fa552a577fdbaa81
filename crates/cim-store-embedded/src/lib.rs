//! The embedded adapter: a store in one directory, without a server.
//!
//! The log is a row of checksummed, append-only segment files; they are the truth. Many callers
//! append at once: one thread gathers their commits into a group, writes and flushes it, and only
//! then answers all of them. An index behind the log finds streams and commits; it can be made anew
//! from the log. Damage is found and named, never skipped.
//!
//! Open a store with [`EmbeddedStore::open`]; use it through the ports of [`cim_store`].
//! `docs/format` says every byte that is stored.

mod buckets;
mod checked_file;
mod directory;
pub mod disk;
mod error;
mod events;
mod index;
mod inspection;
mod journal;
mod keeper;
mod mapping;
mod settings;
mod store;
mod writer_thread;

pub use crate::inspection::Inspection;
pub use crate::journal::recovery::TornTail;
pub use crate::mapping::Mapping;
pub use crate::settings::EmbeddedSettings;
pub use crate::store::{EmbeddedStore, OpenReport};
