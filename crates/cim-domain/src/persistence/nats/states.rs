//! The documented names of the repositories of states on NATS.

use std::sync::Arc;

use async_nats::Client;

use super::{NatsSettings, NatsStore, OnNats};
use crate::persistence::{KvRepository, KvRepositoryBuilder, SimpleRepository, StateError};

/// A [`SimpleRepository`] on NATS JetStream, with a store that was opened for it.
///
/// ```no_run
/// # use cim_domain::Entity;
/// # #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
/// # struct Product { number: String }
/// # impl Entity for Product { type Id = String; fn id(&self) -> &String { &self.number } }
/// # async fn run(client: cim_domain::persistence::nats::async_nats::Client, product: Product) -> Result<(), Box<dyn std::error::Error>> {
/// use cim_domain::persistence::NatsSimpleRepository;
///
/// let repository = NatsSimpleRepository::new(client, "products", "Product").await?;
/// let metadata = repository.save(&product).await?;
/// let product = repository.load(&metadata.aggregate_id).await?;
/// # let _: Option<Product> = product;
/// # Ok(())
/// # }
/// ```
pub type NatsSimpleRepository<A> = OnNats<SimpleRepository<A>>;

/// A [`KvRepository`] on NATS JetStream, with a store that was opened for it. Made by a
/// [`NatsKvRepositoryBuilder`].
pub type NatsKvRepository<A> = OnNats<KvRepository<A>>;

impl<A> OnNats<SimpleRepository<A>> {
    /// A repository in the bucket of this name, which is made where it does not exist, with one
    /// replica.
    ///
    /// # Errors
    /// `Open`, where the store can't be opened; `InvalidBucket`, `InvalidType`; `Store`, also
    /// where the bucket keeps a history or lets values expire.
    pub async fn new(
        client: Client,
        bucket: impl AsRef<str>,
        aggregate_type: impl AsRef<str>,
    ) -> Result<Self, StateError> {
        let settings = NatsSettings::default();
        Self::with_settings(client, settings, bucket, aggregate_type).await
    }

    /// The same with settings of the adapter: several replicas, say.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub async fn with_settings(
        client: Client,
        settings: NatsSettings,
        bucket: impl AsRef<str>,
        aggregate_type: impl AsRef<str>,
    ) -> Result<Self, StateError> {
        let store = NatsStore::with_client(client, settings)
            .await
            .map_err(StateError::Open)?;
        let (bucket, aggregate_type) = (bucket.as_ref(), aggregate_type.as_ref());
        let inner = SimpleRepository::open(&store, bucket, aggregate_type).await?;
        Ok(Self::new_on(Arc::new(store), inner))
    }
}

/// Makes a [`NatsKvRepository`]. Client, bucket and aggregate type have to be given; everything
/// else is as in a [`KvRepositoryBuilder`].
///
/// ```no_run
/// # use cim_domain::Entity;
/// # #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
/// # struct Session { user: String }
/// # impl Entity for Session { type Id = String; fn id(&self) -> &String { &self.user } }
/// # async fn run(client: cim_domain::persistence::nats::async_nats::Client, session: Session) -> Result<(), Box<dyn std::error::Error>> {
/// use cim_domain::persistence::NatsKvRepositoryBuilder;
/// use cim_domain::store::ExpectedVersion;
///
/// let sessions = NatsKvRepositoryBuilder::new()
///     .client(client)
///     .bucket_name("sessions")
///     .aggregate_type("Session")
///     .ttl_seconds(3600)
///     .build()
///     .await?;
/// sessions.save(&session, ExpectedVersion::NEW).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct NatsKvRepositoryBuilder {
    client: Option<Client>,
    settings: NatsSettings,
    inner: KvRepositoryBuilder,
}

impl NatsKvRepositoryBuilder {
    /// A builder to which nothing was said: one state of each aggregate, for ever.
    pub fn new() -> Self {
        Self::default()
    }

    /// The connection to NATS.
    #[must_use]
    pub fn client(mut self, client: Client) -> Self {
        self.client = Some(client);
        self
    }

    /// Settings of the adapter: several replicas, say. By default there is one.
    #[must_use]
    pub fn settings(mut self, settings: NatsSettings) -> Self {
        self.settings = settings;
        self
    }

    /// See [`KvRepositoryBuilder::bucket_name`].
    #[must_use]
    pub fn bucket_name(mut self, name: impl Into<String>) -> Self {
        self.inner = self.inner.bucket_name(name);
        self
    }

    /// See [`KvRepositoryBuilder::aggregate_type`].
    #[must_use]
    pub fn aggregate_type(mut self, aggregate_type: impl Into<String>) -> Self {
        self.inner = self.inner.aggregate_type(aggregate_type);
        self
    }

    /// See [`KvRepositoryBuilder::ttl_seconds`].
    #[must_use]
    pub fn ttl_seconds(mut self, seconds: u64) -> Self {
        self.inner = self.inner.ttl_seconds(seconds);
        self
    }

    /// See [`KvRepositoryBuilder::history`].
    #[must_use]
    pub fn history(mut self, changes: u8) -> Self {
        self.inner = self.inner.history(changes);
        self
    }

    /// Opens the store and the bucket.
    ///
    /// # Errors
    /// `Missing` where client, bucket or aggregate type was not given; `Open`, where the store
    /// can't be opened; what [`KvRepositoryBuilder::build`] says.
    pub async fn build<A>(self) -> Result<NatsKvRepository<A>, StateError> {
        let client = self.client.ok_or(StateError::Missing { what: "client" })?;
        let store = NatsStore::with_client(client, self.settings)
            .await
            .map_err(StateError::Open)?;
        let store = Arc::new(store);
        let inner = self.inner.store(store.clone()).build().await?;
        Ok(OnNats::new_on(store, inner))
    }
}
