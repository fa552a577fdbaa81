//! The agreement that every CIM event store keeps.
//!
//! Applications and services see two ports and never an adapter:
//!
//! - [`EventLog`]: streams of events with optimistic concurrency and atomic commits.
//! - [`Bucket`]: a named set of keys with revisions, history, watching and time to live.
//!
//! A [`Store`] is what an adapter opens: one log and any number of buckets. This crate holds the
//! ports, the data that crosses them, and the [`memory`] adapter, which keeps the whole contract
//! and forgets everything when it is dropped.
//!
//! ```
//! use cim_store::{memory::MemoryStore, *};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let store = MemoryStore::new();
//! let log = store.log();
//! let ctx = Context::new();
//!
//! let order = StreamId::new("sales", "order", "0193")?;
//! let placed = NewEvent::json("order_placed", &serde_json::json!({ "total": 12 }))?;
//! let stored = log.append_to(&ctx, &order, ExpectedVersion::Exact(Version::NONE), vec![placed]).await?;
//! assert_eq!(stored.head(&order).map(|head| head.version), Some(Version::new(1)));
//!
//! let events = log.read_all(&ctx, &order).await?;
//! assert_eq!(events[0].event_type.as_str(), "order_placed");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

pub mod bucket;
pub mod capabilities;
pub mod clock;
pub mod commit;
pub mod context;
pub mod error;
pub mod event;
pub mod event_log;
pub mod examination;
pub mod filter;
pub mod health;
pub mod ids;
pub mod limits;
pub mod memory;
pub mod metadata;
pub mod order;
pub mod ordered;
pub mod positions;
pub mod shared_subscription;
pub mod staging;
pub mod store;
pub mod stream_id;
pub mod timestamp;
pub mod truncation;

pub use bucket::{
    Bucket, BucketExt, BucketName, BucketSettings, Entry, EntryStream, Key, KeyStream, Operation,
    WatchFrom, WriteOptions,
};
pub use capabilities::{BucketCapabilities, Durability, FlushPolicy, LogCapabilities};
pub use clock::{Clock, ManualClock, SystemClock};
pub use commit::{Append, Appended, Check, Head, Resolution, StreamWrite};
pub use context::{Cause, Context, Principal, TraceParent};
pub use error::{
    BucketError, BucketErrorKind, EventLogError, EventLogErrorKind, Fault, PortError, PortErrorKind,
};
pub use event::{ContentType, EventType, NewEvent, RecordedEvent, SchemaVersion};
pub use event_log::{EventLog, EventLogExt, EventStream, HeadStream, LogStats};
pub use examination::{Damage, Examination, Examined, ExaminedEvent};
pub use filter::{
    Direction, EventFilter, LogQuery, StreamPattern, StreamRange, TimeBasis, TimeRange,
};
pub use health::{Fact, Finding, Health, Severity};
pub use ids::{
    CausationId, CommitId, CorrelationId, EventId, IdGenerator, SequentialIds, SystemIds,
};
pub use limits::{LimitName, Limits};
pub use metadata::Metadata;
pub use order::{ExpectedVersion, Position, Revision, Version};
pub use ordered::{AppendedInOrder, OrderedAppend};
pub use shared_subscription::{
    Delivery, DeliveryStream, SharedSettings, SharedStatus, SharedSubscriptions, SubscriptionName,
};
pub use store::Store;
pub use stream_id::StreamId;
pub use timestamp::Timestamp;
pub use truncation::{ArchiveDigest, ArchiveDigester, Truncation};

pub use cim_ipld::EventCid;
pub use cim_subject::{Subject, SubjectError, SubjectPattern, SubjectScheme};
