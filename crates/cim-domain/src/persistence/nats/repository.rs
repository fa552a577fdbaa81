//! The documented name of the event-sourced repository on NATS.

use std::sync::Arc;

use async_nats::Client;
use cim_store::{EventLogError, Store as _};

use super::{NatsSettings, NatsStore, OnNats};
use crate::Aggregate;
use crate::persistence::{AggregateRepository, LoadVerification, Repository, RepositoryError};

/// An [`AggregateRepository`] on NATS JetStream, with a store that was opened for it.
///
/// ```no_run
/// # use cim_domain::{Aggregate, DomainEvent, Entity};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
/// # enum OrderEvent { Placed { number: String } }
/// # #[derive(Debug, Default)] struct Order { number: String }
/// # impl Aggregate for Order {
/// #     const CONTEXT: &'static str = "docs";
/// #     const TYPE: &'static str = "Order";
/// #     type Id = String;
/// #     type Event = OrderEvent;
/// #     type Command = ();
/// #     type Error = std::convert::Infallible;
/// #     fn apply(&mut self, event: &OrderEvent) { let OrderEvent::Placed { number } = event; self.number.clone_from(number); }
/// #     fn handle(&self, (): ()) -> Result<Vec<OrderEvent>, Self::Error> { Ok(vec![]) }
/// # }
/// # impl Entity for Order { type Id = String; fn id(&self) -> &String { &self.number } }
/// # async fn run(order: Order, events: Vec<OrderEvent>) -> Result<(), Box<dyn std::error::Error>> {
/// use cim_domain::persistence::nats::async_nats;
/// use cim_domain::persistence::{LoadOptions, NatsRepository, NatsRepositoryConfig, SaveOptions};
///
/// let client = async_nats::connect("nats://localhost:4222").await?;
/// let config = NatsRepositoryConfig::default();
/// let orders = NatsRepository::<Order>::new(client, config, "Order").await?;
///
/// let saved = orders.save(&order, events, SaveOptions::default()).await?;
/// let (order, metadata) = orders.load(&order.number, LoadOptions::default()).await?;
/// # let _ = (order, saved.version, metadata.version);
/// # Ok(())
/// # }
/// ```
pub type NatsRepository<A> = OnNats<AggregateRepository<A>>;

/// How a [`NatsRepository`] is opened.
///
/// Of these settings `event_stream_name`, `cache_size` and `enable_ipld` take effect; the others
/// name places in which [`NatsRepository`] keeps nothing so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatsRepositoryConfig<'a> {
    /// The JetStream stream that the log of all events is in: 1 to 32 ASCII letters, digits, `-`
    /// and `_`. An account has one log, so every program that uses it gives the same name.
    pub event_stream_name: &'a str,
    /// Without effect so far: states are not copied anywhere.
    pub aggregate_stream_name: &'a str,
    /// Without effect so far: this repository writes no read models.
    pub read_model_bucket: &'a str,
    /// Without effect so far: this repository writes no snapshots.
    pub snapshot_bucket: &'a str,
    /// Of how many aggregates the last version is remembered, about 250 bytes each. An aggregate
    /// that is remembered is appended to in one round trip, another one in two.
    pub cache_size: usize,
    /// Whether the repository compares every event that it loads with its CID and its link to the
    /// one before: `true` is [`LoadVerification::EveryRead`], `false` is [`LoadVerification::Off`]. Events
    /// are addressed by their content and chained in any case, and the adapter makes the same
    /// comparison on every read; the repository's own also guards what stands between the two.
    pub enable_ipld: bool,
}

impl Default for NatsRepositoryConfig<'_> {
    /// The log under its usual name, [`NatsSettings::STREAM`], and 1000 versions remembered.
    fn default() -> Self {
        Self {
            event_stream_name: NatsSettings::STREAM,
            aggregate_stream_name: "AGGREGATES",
            read_model_bucket: "readmodels",
            snapshot_bucket: "snapshots",
            cache_size: 1000,
            enable_ipld: true,
        }
    }
}

impl<A: Aggregate> OnNats<AggregateRepository<A>> {
    /// Opens the log and makes it where it does not exist, with one replica.
    ///
    /// # Errors
    /// `Store`, where it can't be opened, or `aggregate_type` is not the aggregate's own
    /// [`TYPE`](Aggregate::TYPE), which names its streams.
    pub async fn new(
        client: Client,
        config: NatsRepositoryConfig<'_>,
        aggregate_type: impl AsRef<str>,
    ) -> Result<Self, RepositoryError<A::Error>> {
        let settings = NatsSettings::default()
            .with_stream(config.event_stream_name)
            .with_head_cache(config.cache_size);
        let verification = match config.enable_ipld {
            true => LoadVerification::EveryRead,
            false => LoadVerification::Off,
        };
        Self::open(client, settings, aggregate_type.as_ref(), verification).await
    }

    /// Opens the log with settings of the adapter: several replicas, say. The repository leaves the
    /// verification of what it loads to the adapter.
    ///
    /// # Errors
    /// `Store`, where it can't be opened, or `aggregate_type` is not the aggregate's own
    /// [`TYPE`](Aggregate::TYPE), which names its streams.
    pub async fn with_settings(
        client: Client,
        settings: NatsSettings,
        aggregate_type: impl AsRef<str>,
    ) -> Result<Self, RepositoryError<A::Error>> {
        Self::open(
            client,
            settings,
            aggregate_type.as_ref(),
            LoadVerification::Off,
        )
        .await
    }

    async fn open(
        client: Client,
        settings: NatsSettings,
        aggregate_type: &str,
        verification: LoadVerification,
    ) -> Result<Self, RepositoryError<A::Error>> {
        if aggregate_type != A::TYPE {
            return Err(RepositoryError::Store(
                EventLogError::invalid("the aggregate has another type than the repository")
                    .with("repository", aggregate_type)
                    .with("aggregate", A::TYPE)
                    .with_hint("give the repository the aggregate's own type"),
            ));
        }
        let store = NatsStore::with_client(client, settings).await?;
        let repository = Repository::new(store.log()).with_verification(verification);
        Ok(Self {
            inner: AggregateRepository::from(repository),
            store: Arc::new(store),
        })
    }
}
