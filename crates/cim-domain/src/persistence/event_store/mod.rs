//! The event store as a port of its own: typed events of aggregates that have UUIDs.
//!
//! [`EventStore`] is what a service depends on that reads and writes the events of one kind of
//! aggregate and needs no repository. [`TypedEventStore`] is it over any event log.

mod error;
mod stored;
mod typed;

use async_trait::async_trait;
use cim_store::Timestamp;
use uuid::Uuid;

use crate::DomainEvent;

pub use error::{EventStoreError, InfrastructureError, InfrastructureResult};
pub use stored::{EventMetadata, ReadEvents, StoredEvent};
pub use typed::TypedEventStore;

/// Reads and writes the events of one kind of aggregate.
///
/// ```
/// # use cim_domain::DomainEvent;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
/// # enum ComputeEvent { ResourceRegistered { hostname: String }, AssetTagAssigned { tag: String } }
/// # use ComputeEvent::{AssetTagAssigned, ResourceRegistered};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use std::sync::Arc;
/// use cim_domain::persistence::{EventStore, EventStoreError, TypedEventStore};
/// use uuid::Uuid;
///
/// let log = cim_domain::open("memory:").await?.log();
/// let store: Arc<dyn EventStore<ComputeEvent>> =
///     Arc::new(TypedEventStore::new(log, "infrastructure", "compute")?);
///
/// let id = Uuid::from_u128(7);
/// let registered = ResourceRegistered { hostname: "web-1".into() };
/// let version = store.append(id, vec![registered], Some(0)).await?; // 0: it must not exist yet
/// assert_eq!(version, 1);
///
/// // Somebody who still believes that there is nothing:
/// let tag = AssetTagAssigned { tag: "A-1".into() };
/// let error = store.append(id, vec![tag], Some(0)).await.unwrap_err();
/// assert!(matches!(error, EventStoreError::ConcurrencyError { actual, .. } if actual.get() == 1));
///
/// let events = store.read_events(id).await?;
/// assert_eq!(events[0].metadata.version.get(), 1);
/// assert_eq!(events[0].event, ResourceRegistered { hostname: "web-1".into() });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[async_trait]
pub trait EventStore<E: DomainEvent>: Send + Sync {
    /// Stores events of an aggregate, all of them or none, and returns the version of the last
    /// one. Without events it only checks what is expected, and returns the version there is.
    ///
    /// `expected_version` is the version at which the aggregate must be: 0 where it must not exist
    /// yet. With `None` it may be at any, which is right for facts that hold anyhow and wrong for
    /// decisions.
    ///
    /// # Errors
    /// `ConcurrencyError` where the aggregate is at another version; `Unknown` where the answer
    /// was lost; `Encode`, `Store`.
    async fn append(
        &self,
        aggregate_id: Uuid,
        events: Vec<E>,
        expected_version: Option<u64>,
    ) -> InfrastructureResult<u64>;

    /// All events of an aggregate, oldest first. An aggregate that does not exist has none.
    ///
    /// # Errors
    /// `Decode`, `Integrity`, `Store`.
    async fn read_events(&self, aggregate_id: Uuid) -> InfrastructureResult<Vec<StoredEvent<E>>>;

    /// The events of an aggregate from this version on, it included.
    ///
    /// # Errors
    /// `Decode`, `Integrity`, `Store`.
    async fn read_events_from(
        &self,
        aggregate_id: Uuid,
        from_version: u64,
    ) -> InfrastructureResult<Vec<StoredEvent<E>>>;

    /// The events of one conversation, over all aggregates of this store's kind, in the order in
    /// which they were stored.
    ///
    /// # Errors
    /// `Decode`, `Integrity`, `Store`.
    async fn read_by_correlation(
        &self,
        correlation_id: Uuid,
    ) -> InfrastructureResult<Vec<StoredEvent<E>>>;

    /// The version of an aggregate's last event; `None` where it has none.
    ///
    /// # Errors
    /// `Store`.
    async fn get_version(&self, aggregate_id: Uuid) -> InfrastructureResult<Option<u64>>;

    /// The events of an aggregate that happened from one moment, inclusive, to another, exclusive.
    /// What counts is [`EventMetadata::time`], not when the store took them. An
    /// `OffsetDateTime` of the crate `time` becomes a [`Timestamp`] by `.into()`.
    ///
    /// # Errors
    /// `Decode`, `Integrity`, `Store`.
    async fn read_events_by_time_range(
        &self,
        aggregate_id: Uuid,
        from_time: Timestamp,
        to_time: Timestamp,
    ) -> InfrastructureResult<Vec<StoredEvent<E>>>;
}
