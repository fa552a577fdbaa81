//! The documented name of the event store on NATS.

use async_trait::async_trait;
use cim_store::{Store as _, Timestamp};
use std::sync::Arc;
use uuid::Uuid;

use super::{NatsSettings, NatsStore, OnNats};
use crate::DomainEvent;
use crate::persistence::event_index::{EventIndex, IndexSettings};
use crate::persistence::{
    EventStore, InfrastructureResult, LoadVerification, StoredEvent, TypedEventStore,
};

/// An [`EventStore`] on NATS JetStream: a [`TypedEventStore`] with a store that was opened for it, and
/// an [`EventIndex`] in the bucket that its configuration names, so that a conversation is found
/// without looking at every event. What nobody has taken into the index yet is taken in by the first
/// question; a service that asks often keeps it fresh by [`EventIndex::follow`].
///
/// ```no_run
/// # use cim_domain::DomainEvent;
/// # #[derive(Debug, serde::Serialize, serde::Deserialize, DomainEvent)]
/// # enum ComputeEvent { ResourceRegistered { hostname: String } }
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use cim_domain::persistence::{EventStore, NatsEventStore};
///
/// let store = NatsEventStore::connect("nats://localhost:4222").await?;
/// let registered = ComputeEvent::ResourceRegistered { hostname: "web-1".into() };
/// store.append(uuid::Uuid::from_u128(7), vec![registered], Some(0)).await?;
/// # Ok(())
/// # }
/// ```
pub type NatsEventStore<E> = OnNats<TypedEventStore<E>>;

/// How a [`NatsEventStore`] is opened, and whose events it has.
#[derive(Clone, Debug)]
pub struct JetStreamConfig {
    /// How to connect, and how the log is stored.
    pub settings: NatsSettings,
    /// The bounded context of the aggregates: `infrastructure` by default.
    pub context: String,
    /// What kind of aggregates they are: `compute` by default.
    pub aggregate_type: String,
    /// When events that are read are compared with their CIDs and links once more than by the
    /// adapter, which does it on every read: never by default.
    pub verification: LoadVerification,
    /// How the index of conversations is kept: in the bucket `cim-index` by default.
    pub index: IndexSettings,
}

impl Default for JetStreamConfig {
    /// The events `infrastructure.compute.{id}.{event}` in a store with default settings.
    fn default() -> Self {
        Self {
            settings: NatsSettings::default(),
            context: "infrastructure".to_owned(),
            aggregate_type: "compute".to_owned(),
            verification: LoadVerification::Off,
            index: IndexSettings::default(),
        }
    }
}

impl<E: DomainEvent> OnNats<TypedEventStore<E>> {
    /// Connects to the servers of a URL, with the default [`JetStreamConfig`].
    ///
    /// # Errors
    /// `Store`, where it can't be opened; `Index`, where its index can't.
    pub async fn connect(nats_url: &str) -> InfrastructureResult<Self> {
        Self::connect_with_config(nats_url, JetStreamConfig::default()).await
    }

    /// Connects to the servers of a URL.
    ///
    /// # Errors
    /// `Store`, where it can't be opened; `InvalidName` where context or aggregate type is empty,
    /// or both are too long; `Index` where the index can't be opened.
    pub async fn connect_with_config(
        nats_url: &str,
        config: JetStreamConfig,
    ) -> InfrastructureResult<Self> {
        let store = NatsStore::open(nats_url, config.settings).await?;
        let inner = TypedEventStore::new(store.log(), &config.context, &config.aggregate_type)?;
        let index = EventIndex::open(&store, config.index).await?;
        let inner = inner
            .with_verification(config.verification)
            .with_index(index);
        Ok(Self::new_on(Arc::new(store), inner))
    }
}

#[async_trait]
impl<E: DomainEvent> EventStore<E> for OnNats<TypedEventStore<E>> {
    async fn append(
        &self,
        aggregate_id: Uuid,
        events: Vec<E>,
        expected_version: Option<u64>,
    ) -> InfrastructureResult<u64> {
        self.inner
            .append(aggregate_id, events, expected_version)
            .await
    }

    async fn read_events(&self, aggregate_id: Uuid) -> InfrastructureResult<Vec<StoredEvent<E>>> {
        self.inner.read_events(aggregate_id).await
    }

    async fn read_events_from(
        &self,
        aggregate_id: Uuid,
        from_version: u64,
    ) -> InfrastructureResult<Vec<StoredEvent<E>>> {
        self.inner
            .read_events_from(aggregate_id, from_version)
            .await
    }

    async fn read_by_correlation(
        &self,
        correlation_id: Uuid,
    ) -> InfrastructureResult<Vec<StoredEvent<E>>> {
        self.inner.read_by_correlation(correlation_id).await
    }

    async fn get_version(&self, aggregate_id: Uuid) -> InfrastructureResult<Option<u64>> {
        self.inner.get_version(aggregate_id).await
    }

    async fn read_events_by_time_range(
        &self,
        aggregate_id: Uuid,
        from_time: Timestamp,
        to_time: Timestamp,
    ) -> InfrastructureResult<Vec<StoredEvent<E>>> {
        self.inner
            .read_events_by_time_range(aggregate_id, from_time, to_time)
            .await
    }
}
