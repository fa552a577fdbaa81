//! The repositories and the event store on NATS JetStream, opened by a client or a URL (feature
//! `nats`).
//!
//! | here | is |
//! |---|---|
//! | [`NatsRepository`] | an [`AggregateRepository`](super::AggregateRepository) |
//! | [`NatsEventStore`] | a [`TypedEventStore`](super::TypedEventStore) |
//! | [`NatsSimpleRepository`] | a [`SimpleRepository`](super::SimpleRepository) |
//! | [`NatsKvRepository`], by its [builder](NatsKvRepositoryBuilder) | a [`KvRepository`](super::KvRepository) |
//!
//! These are names for what works on every store, with constructors that open one on NATS, and no
//! implementations of their own. Each constructor opens a store for itself. Where several are
//! wanted, open one [`NatsStore`] and give its log and itself to the types on the right.
//!
//! ```no_run
//! # use cim_domain::Entity;
//! # #[derive(serde::Serialize, serde::Deserialize)]
//! # struct Product { number: String }
//! # impl Entity for Product { type Id = String; fn id(&self) -> &String { &self.number } }
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use cim_domain::persistence::SimpleRepository;
//! use cim_domain::persistence::nats::{NatsSettings, NatsStore};
//! use cim_domain::store::Store as _;
//!
//! let settings = NatsSettings::default().with_replicas(3);
//! let store = NatsStore::open("nats://one:4222,two:4222,three:4222", settings).await?;
//! let products = SimpleRepository::<Product>::open(&store, "products", "Product").await?;
//! # let _ = (store.log(), products);
//! # Ok(())
//! # }
//! ```
//!
//! A JetStream account has room for one log, because subjects belong to one JetStream stream. So
//! everything in an account names it alike: `event_stream_name` in [`NatsRepositoryConfig`],
//! [`with_stream`](NatsSettings::with_stream) in [`NatsSettings`]; the defaults agree.

mod event_store;
mod repository;
mod states;

use std::ops::Deref;
use std::sync::Arc;

use cim_store::{EventLogError, Store};

use super::write_behind::WriteBehind;

/// The NATS client, as the constructors here take it.
pub use async_nats;
pub use cim_store_nats::{Credentials, NatsSettings, NatsStore};

pub use event_store::{JetStreamConfig, NatsEventStore};
pub use repository::{NatsRepository, NatsRepositoryConfig};
pub use states::{NatsKvRepository, NatsKvRepositoryBuilder, NatsSimpleRepository};

/// A `T` together with the store on NATS that was opened for it. Everything that a `T` can do is
/// done on it directly.
///
/// Clones share the store. What remains of it is freed when the last one is dropped.
#[derive(Clone, Debug)]
pub struct OnNats<T> {
    inner: T,
    store: Arc<dyn Store>,
    /// What is written after the events, and has to be before the store is closed.
    behind: Vec<WriteBehind>,
}

impl<T> OnNats<T> {
    fn new_on(store: Arc<dyn Store>, inner: T) -> Self {
        Self {
            inner,
            store,
            behind: Vec::new(),
        }
    }

    /// The store, with its log and all its buckets.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Closes the store: ends writing and waits for what is under way, snapshots and copies of
    /// states included. Later calls get `Closed`.
    ///
    /// # Errors
    /// As [`Store::close`].
    pub async fn close(&self) -> Result<(), EventLogError> {
        for behind in &self.behind {
            behind.settled().await;
        }
        self.store.close().await
    }
}

impl<T> Deref for OnNats<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}
