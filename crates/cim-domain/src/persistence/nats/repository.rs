//! The documented name of the event-sourced repository on NATS.

use std::sync::Arc;

use async_nats::Client;
use cim_store::{EventLogError, Store as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{NatsSettings, NatsStore, OnNats};
use crate::Aggregate;
use crate::persistence::snapshot::{SnapshotPolicy, SnapshotSettings, SnapshotStore};
use crate::persistence::state_copies::{StateCopies, StateCopySettings};
use crate::persistence::{
    AggregateCache, AggregateRepository, CacheSettings, LoadVerification, Repository,
    RepositoryError,
};

/// An [`AggregateRepository`] on NATS JetStream, with a store that was opened for it.
///
/// ```no_run
/// # use cim_domain::{Aggregate, DomainEvent, Entity};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
/// # enum OrderEvent { Placed { number: String } }
/// # #[derive(Clone, Debug, Default, Serialize, Deserialize)] struct Order { number: String }
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
/// Of these settings `read_model_bucket` has no effect so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatsRepositoryConfig<'a> {
    /// The JetStream stream that the log of all events is in: 1 to 32 ASCII letters, digits, `-`
    /// and `_`, not beginning with `KV_` or `OBJ_`. An account has one log, so every program that
    /// uses it gives the same name.
    pub event_stream_name: &'a str,
    /// The KV bucket (on the JetStream stream `KV_{name}`) where the state of an aggregate is copied
    /// as JSON after each save, under `cim.aggregates.{context}.{aggregate}.{id}.state.{version}`, for
    /// other services to read without replay: [`StateCopies`]. Empty: states are not copied.
    pub aggregate_stream_name: &'a str,
    /// Without effect so far: this repository writes no read models.
    pub read_model_bucket: &'a str,
    /// The KV bucket of [snapshots](crate::persistence::snapshot): every
    /// [`SNAPSHOT_EVERY`](Self::SNAPSHOT_EVERY) events one is taken, and the last two of each
    /// aggregate are kept. Empty: none are taken or used.
    pub snapshot_bucket: &'a str,
    /// How many aggregates are remembered. Of each the last version, about 250 bytes: an aggregate
    /// whose version is remembered is appended to in one round trip, another one in two. And its
    /// last state, in an [`AggregateCache`] of at most 64 MiB: a command on it is decided without a
    /// read, and a load reads only newer events. 0: none.
    pub cache_size: usize,
    /// Whether the repository compares every event that it loads with its CID and its link to the
    /// one before: `true` is [`LoadVerification::EveryRead`], `false` is [`LoadVerification::Off`]. Events
    /// are addressed by their content and chained in any case, and the adapter makes the same
    /// comparison on every read; the repository's own also guards what stands between the two.
    pub enable_ipld: bool,
}

impl NatsRepositoryConfig<'_> {
    /// After how many events a snapshot is taken.
    pub const SNAPSHOT_EVERY: u64 = 100;
}

impl Default for NatsRepositoryConfig<'_> {
    /// The log under its usual name, [`NatsSettings::STREAM`], copies of states, snapshots, and 1000
    /// aggregates remembered.
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

impl<A> OnNats<AggregateRepository<A>>
where
    A: Aggregate + Clone + Serialize + DeserializeOwned,
{
    /// Opens the log and the buckets of snapshots and copies of states, and makes them where they do
    /// not exist, with one replica.
    ///
    /// The aggregate's serde implementations are for these two. An aggregate that has none is opened
    /// by [`with_settings`](Self::with_settings), without both.
    ///
    /// # Errors
    /// `Store`, where it can't be opened, or `aggregate_type` is not the aggregate's own
    /// [`TYPE`](Aggregate::TYPE), which names its streams; `Snapshot`, `StateCopy`, where their bucket
    /// can't be opened, or exists with other settings.
    pub async fn new(
        client: Client,
        config: NatsRepositoryConfig<'_>,
        aggregate_type: impl AsRef<str>,
    ) -> Result<Self, RepositoryError<A::Error>> {
        let settings = NatsSettings::default()
            .with_stream(config.event_stream_name)
            .with_head_cache(config.cache_size);
        let (mut repository, store) =
            open_repository::<A>(client, settings, aggregate_type.as_ref()).await?;
        repository = repository.with_verification(match config.enable_ipld {
            true => LoadVerification::EveryRead,
            false => LoadVerification::Off,
        });
        if config.cache_size > 0 {
            let cache = AggregateCache::new(CacheSettings {
                max_entries: config.cache_size,
                ..CacheSettings::default()
            });
            repository = repository.with_cache(&cache);
        }
        let mut behind = Vec::new();
        if !config.snapshot_bucket.is_empty() {
            let settings = SnapshotSettings {
                bucket: config.snapshot_bucket,
                ..SnapshotSettings::default()
            };
            let snapshots = SnapshotStore::open(&store, settings).await;
            let snapshots = snapshots.map_err(RepositoryError::Snapshot)?;
            behind.push(snapshots.queue.clone());
            let policy = SnapshotPolicy::EveryEvents(NatsRepositoryConfig::SNAPSHOT_EVERY);
            repository = repository.with_snapshots(snapshots, policy);
        }
        if !config.aggregate_stream_name.is_empty() {
            let settings = StateCopySettings {
                bucket: config.aggregate_stream_name,
                ..StateCopySettings::default()
            };
            let copies = StateCopies::open(&store, settings).await;
            let copies = copies.map_err(RepositoryError::StateCopy)?;
            behind.push(copies.queue.clone());
            repository = repository.with_state_copies(copies);
        }
        Ok(Self {
            inner: repository.into(),
            store: Arc::new(store),
            behind,
        })
    }
}

impl<A: Aggregate> OnNats<AggregateRepository<A>> {
    /// Opens the log with settings of the adapter: several replicas, say. The repository leaves the
    /// verification of what it loads to the adapter, keeps and copies no states and takes no snapshots;
    /// [`Repository`] has a method for each of these, and [`store`](Self::store) what they need.
    ///
    /// # Errors
    /// `Store`, where it can't be opened, or `aggregate_type` is not the aggregate's own
    /// [`TYPE`](Aggregate::TYPE), which names its streams.
    pub async fn with_settings(
        client: Client,
        settings: NatsSettings,
        aggregate_type: impl AsRef<str>,
    ) -> Result<Self, RepositoryError<A::Error>> {
        let opened = open_repository::<A>(client, settings, aggregate_type.as_ref());
        let (repository, store) = opened.await?;
        Ok(Self::new_on(Arc::new(store), repository.into()))
    }
}

async fn open_repository<A: Aggregate>(
    client: Client,
    settings: NatsSettings,
    aggregate_type: &str,
) -> Result<(Repository<A>, NatsStore), RepositoryError<A::Error>> {
    if aggregate_type != A::TYPE {
        return Err(RepositoryError::Store(
            EventLogError::invalid("the aggregate has another type than the repository")
                .with("repository", aggregate_type)
                .with("aggregate", A::TYPE)
                .with_hint("give the repository the aggregate's own type"),
        ));
    }
    let store = NatsStore::with_client(client, settings).await?;
    Ok((Repository::new(store.log()), store))
}
