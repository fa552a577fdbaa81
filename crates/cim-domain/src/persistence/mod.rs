//! How aggregates are stored and loaded.
//!
//! Everything here stands on the ports [`EventLog`](cim_store::EventLog) and
//! [`Bucket`](cim_store::Bucket) and never names an adapter, so the same code runs in memory, in
//! one directory, or on a cluster.
//!
//! | type | keeps | for |
//! |---|---|---|
//! | [`Repository`] | events | commands on aggregates: `execute`, `load`, `history` |
//! | [`AggregateRepository`] | the same events | the same, with the aggregate as argument and result |
//! | [`EventStore`], [`TypedEventStore`] | the same events | reading and appending typed events without an aggregate |
//! | [`KvRepository`] | the last states | compare-and-set, a short history, expiry |
//! | [`SimpleRepository`] | the last state | saving and loading, nothing else |
//! | [`EventIndex`] | where events stand | whole conversations, tags, times, without a scan |
//! | [`ContentStore`] | blocks, values and bytes by their CIDs | content that is stored once, checked, linked, chained |
//!
//! What is computed from events beside them, and can be computed again:
//!
//! | module | what it keeps |
//! |---|---|
//! | [`snapshot`] | states, so that a load reads only the events after them |
//! | [`state_copies`] | states as JSON, for other services to read without events |
//!
//! An [`AggregateCache`] keeps the last states of aggregates, so that a command takes one append and
//! no read. [`LoadVerification`] says when what they read is compared with the chain.
//!
//! What proves and moves histories as a whole is in modules of its own:
//!
//! | module | what it does |
//! |---|---|
//! | [`verification`] | proves that a log holds what was stored, and names what is wrong |
//! | [`checkpoint`] | signs what a log holds, so that it shows later that history only grew |
//! | [`car`] | takes whole histories to another store, or to an auditor, in a file |
//!
//! With the feature `nats` the module `nats` has the same ones under the names `NatsRepository`,
//! `NatsEventStore`, `NatsSimpleRepository` and `NatsKvRepositoryBuilder`, opened on NATS
//! JetStream.

mod aggregate_repository;
mod append;
mod attempts;
mod cache;
pub mod car;
mod checked_loads;
pub mod checkpoint;
pub mod content;
mod decision;
mod decoding;
mod error;
pub mod event_index;
mod event_store;
mod history;
mod metadata;
#[cfg(feature = "nats")]
pub mod nats;
mod replay;
mod repository;
mod retry;
pub mod snapshot;
mod state;
pub mod state_copies;
mod tags;
mod tombstone;
pub mod verification;
mod write_behind;

pub use aggregate_repository::AggregateRepository;
pub use cache::{AggregateCache, CacheSettings, CacheStats};
pub use checked_loads::LoadVerification;
pub use content::{ContentStore, IpldSerializer};
pub use decision::{Draft, ExecutedMany, Participant, Participants};
pub use decoding::UnknownEvents;
pub use error::RepositoryError;
pub use event_index::EventIndex;
pub use event_store::{
    EventMetadata, EventStore, EventStoreError, InfrastructureError, InfrastructureResult,
    ReadEvents, StoredEvent, TypedEventStore,
};
pub use history::{History, Recorded};
pub use metadata::AggregateMetadata;
#[cfg(feature = "nats")]
pub use nats::{
    JetStreamConfig, NatsEventStore, NatsKvRepository, NatsKvRepositoryBuilder, NatsRepository,
    NatsRepositoryConfig, NatsSimpleRepository,
};
pub use repository::{
    AggregatePage, AggregateQuery, CopyCondition, CopyLag, CopyRepairs, DeleteOptions,
    ExecuteOptions, Executed, LoadOptions, Loaded, Recreation, Repository, SaveOptions, Saved,
};
pub use retry::RetryPolicy;
pub(crate) use retry::mix;
pub use snapshot::{SnapshotPolicy, SnapshotSettings, SnapshotStore};
pub use state::{KvRepository, KvRepositoryBuilder, SavedState, SimpleRepository, StateError};
pub use tags::{Tags, TagsError};
pub use tombstone::TOMBSTONE;
