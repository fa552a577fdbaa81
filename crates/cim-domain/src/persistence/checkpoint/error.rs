//! What can go wrong with a tree over a log.

use cim_store::{BucketError, EventCid, EventLogError, Position, StreamId, Version};

use super::text::CheckpointTextError;
use super::tiles::StateError;
use super::tree::ProofError;

/// A checkpoint, a proof or a verification that could not be made.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # use cim_domain::open;
/// # use cim_domain::persistence::checkpoint::note::SigningKey;
/// # use cim_domain::store::{Context, EventLogExt, ExpectedVersion, NewEvent, StreamId};
/// # let (store, ctx) = (open("memory:").await?, Context::new());
/// # let order = StreamId::new("sales", "order", "7")?;
/// # let placed = NewEvent::json("order_placed", &12)?;
/// # store.log().append_to(&ctx, &order, ExpectedVersion::NEW, vec![placed.clone()]).await?;
/// # let key = SigningKey::generate("example.com/sales")?;
/// use cim_domain::persistence::checkpoint::{Checkpoints, EventAddress};
/// use cim_domain::store::Version;
///
/// let checkpoints = Checkpoints::new(store);
/// let checkpoint = checkpoints.create(&ctx, &key, |_| {}).await?;
/// let never = EventAddress::Version(order.clone(), Version::new(9));
/// let error = checkpoints.prove(&ctx, &never, &checkpoint).await.unwrap_err();
/// assert!(!error.is_integrity()); // a question about what never was
///
/// // The same stream in a store where something else happened.
/// let other = open("memory:").await?;
/// let refunded = NewEvent::json("order_refunded", &12)?;
/// other.log().append_to(&ctx, &order, ExpectedVersion::NEW, vec![refunded]).await?;
/// let others = Checkpoints::new(other);
/// others.create(&ctx, &key, |_| {}).await?;
/// let first = EventAddress::Version(order, Version::new(1));
/// let error = others.prove(&ctx, &first, &checkpoint).await.unwrap_err();
/// assert!(error.is_integrity()); // this is not the log that was signed
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The log could not be read.
    #[error("the log can't be read")]
    Log(#[source] EventLogError),
    /// The tree could not be read or written.
    #[error("the tree over the log can't be read or written")]
    Bucket(#[source] BucketError),
    /// What is kept of the tree is not what was stored.
    #[error("the tree over the log is damaged: `{key}` {reason}")]
    Damaged {
        /// The key in the bucket.
        key: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The tree's right edge is not what was stored.
    #[error("the tree over the log is damaged: its edge can't be read")]
    Edge(#[source] StateError),
    /// An event's content does not have the CID that it is stored under.
    #[error("the event at {stream}@{version} does not have its CID, but {computed}")]
    Altered {
        /// Its stream.
        stream: StreamId,
        /// Its version.
        version: Version,
        /// The CID of its content.
        computed: EventCid,
    },
    /// The last event that the tree covers is not in the log any more.
    #[error(
        "the log is not the one that was covered: event number {} of the log was {expected} at position {position}, and {found} is there now",
        index.saturating_add(1)
    )]
    Rewritten {
        /// The event's place in the order of the log, from 0.
        index: u64,
        /// Its position.
        position: Position,
        /// The CID that it had.
        expected: EventCid,
        /// What is there now: `STREAM@VERSION` with a CID, or nothing.
        found: String,
    },
    /// Events were truncated that the tree does not cover.
    #[error(
        "events up to position {through} were truncated, and the tree covers those up to position {covered} only"
    )]
    Truncated {
        /// The position of the last event that was truncated.
        through: Position,
        /// The position of the last event that is covered.
        covered: Position,
    },
    /// The tree ends before what was asked for.
    #[error("the tree covers {covered} events, and {needed} are needed")]
    NotCovered {
        /// How many it covers.
        covered: u64,
        /// How many are needed.
        needed: u64,
    },
    /// The event came after the checkpoint.
    #[error(
        "event number {} of the log is not in the checkpoint, which has {size} events",
        index.saturating_add(1)
    )]
    AfterCheckpoint {
        /// Its place in the order of the log, from 0.
        index: u64,
        /// How many events the checkpoint has.
        size: u64,
    },
    /// There is no such event in the tree.
    #[error("the tree has no event {event}")]
    NoSuchEvent {
        /// What was asked for.
        event: String,
    },
    /// The event that the log has is another one than the tree has at its place.
    #[error("the log has event {found} at position {position}, and the tree has {expected}")]
    OtherEvent {
        /// The position.
        position: Position,
        /// The CID in the tree.
        expected: EventCid,
        /// The CID of what is in the log.
        found: EventCid,
    },
    /// The checkpoint is not one of this tree.
    #[error(
        "the checkpoint of {size} events does not belong to this tree: its root is {root}, the tree's is {computed}",
        root = roots.0,
        computed = roots.1
    )]
    OtherTree {
        /// How many events it has.
        size: u64,
        /// Its root, and the one that the tree had at that size.
        roots: Box<(super::tree::TreeHash, super::tree::TreeHash)>,
    },
    /// Others extended the tree again and again at the same time.
    #[error("others extended the tree at the same time, {times} times")]
    Contended {
        /// How often it was tried.
        times: u32,
    },
    /// The checkpoint could not be written as text.
    #[error("the checkpoint can't be written")]
    Text(#[from] CheckpointTextError),
    /// The proof does not prove it.
    #[error("the proof does not hold")]
    Proof(#[from] ProofError),
}

impl CheckpointError {
    /// Whether history is not what it was, or what is kept of it is damaged.
    #[must_use]
    pub fn is_integrity(&self) -> bool {
        match self {
            Self::Log(error) => error.is_integrity(),
            Self::Bucket(error) => error.is_integrity(),
            Self::Damaged { .. }
            | Self::Edge(_)
            | Self::Altered { .. }
            | Self::Rewritten { .. }
            | Self::OtherEvent { .. }
            | Self::OtherTree { .. }
            | Self::Text(_)
            | Self::Proof(_) => true,
            _ => false,
        }
    }
}

impl From<EventLogError> for CheckpointError {
    fn from(error: EventLogError) -> Self {
        Self::Log(error)
    }
}

impl From<BucketError> for CheckpointError {
    fn from(error: BucketError) -> Self {
        Self::Bucket(error)
    }
}
