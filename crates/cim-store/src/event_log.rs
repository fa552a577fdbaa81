//! The port for events: [`EventLog`], and what is convenient on top of it: [`EventLogExt`].

use std::fmt;

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::TryStreamExt;

use crate::{
    Append, Appended, AppendedInOrder, CommitId, Context, EventFilter, EventLogError, Examination,
    ExpectedVersion, Head, LogCapabilities, LogQuery, NewEvent, OrderedAppend, Position,
    RecordedEvent, Resolution, StreamId, StreamPattern, StreamRange, Truncation, Version,
};

/// Events in order, or the error that ends them. Nothing follows an error.
pub type EventStream = BoxStream<'static, Result<RecordedEvent, EventLogError>>;

/// Heads of streams, or the error that ends them.
pub type HeadStream = BoxStream<'static, Result<Head, EventLogError>>;

/// The port for events: streams with optimistic concurrency, and the log of all of them.
///
/// # Contract
/// 1. **All or nothing.** A commit is visible whole or not at all, also after a crash, also to
///    readers in between.
/// 2. **One winner.** Of two appends that expect the same version exactly one succeeds, also for
///    a stream that does not exist yet. The loser gets `VersionConflict`.
/// 3. **`Ok` means stored** at the durability that [`capabilities`](Self::capabilities) states. A
///    failed flush fails the append and closes the log for writing.
/// 4. **No guessing.** Where the answer was lost the error is `Unknown`, and
///    [`resolve`](Self::resolve) later says committed or not. Appending the same commit id again
///    never stores it twice: it returns the first result.
/// 5. **No short reads.** A read that ends before its known end, a gap, a fork, an incomplete
///    commit or a wrong CID is `Integrity`, never "the end".
/// 6. **No skips.** A subscription delivers every matching event after its start exactly once, in
///    order.
/// 7. An append without events stores nothing and only checks what it expects. Limits are typed
///    errors before anything is sent. Nothing panics on input.
/// 8. Cancelling a call never corrupts; it may leave the outcome unknown.
///
/// # Ordering
/// Positions increase along the log; a commit's events stand next to each other, in the order
/// written. An append that was acknowledged before another began has the smaller positions. A read
/// that begins after an acknowledgement sees what was acknowledged.
///
/// # Clone
/// Adapters are shared as `Arc<dyn EventLog>`; all clones are the same log.
///
/// # Wrappers
/// A wrapper implements every method, each by a decision of its own; there are no defaults.
///
/// # Example
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use cim_store::{memory::MemoryStore, *};
/// use futures_util::TryStreamExt;
///
/// let (store, ctx) = (MemoryStore::new(), Context::new());
/// let log = store.log();
/// let (order, cart) = (StreamId::new("sales", "order", "7")?, StreamId::new("sales", "cart", "7")?);
///
/// // Two commits in a given order, as an import has them.
/// let filled = vec![NewEvent::json("cart_filled", &12)?];
/// let placed = vec![NewEvent::json("order_placed", &12)?, NewEvent::json("order_paid", &12)?];
/// let commits = vec![
///     OrderedAppend::new(ctx.clone(), Append::new().write(cart, ExpectedVersion::NEW, filled)),
///     OrderedAppend::new(ctx.clone(), Append::new().write(order.clone(), ExpectedVersion::NEW, placed)),
/// ];
/// let done = log.append_in_order(&ctx, commits).await;
/// assert!(done.error.is_none());
///
/// // From the second event of a stream on, one after the other.
/// let mut events = log.read_stream(&ctx, &order, StreamRange::from(Version::new(2))).await?;
/// while let Some(event) = events.try_next().await? {
///     assert_eq!(event.event_type.as_str(), "order_paid");
/// }
///
/// // Which streams there are, and where they end.
/// let orders: StreamPattern = "sales.order.*".parse()?;
/// let heads: Vec<_> = log.streams(&ctx, &orders).await?.try_collect().await?;
/// assert_eq!((&heads[0].stream, heads[0].version), (&order, Version::new(2)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[async_trait]
pub trait EventLog: Send + Sync + fmt::Debug + 'static {
    /// Stores one commit, or nothing.
    ///
    /// # Behavior
    /// Expectations are checked against the streams as they are at the moment of the commit. The
    /// commit id is looked up first: where it was stored before, the first result is returned and
    /// expectations don't matter.
    ///
    /// # Errors
    /// `VersionConflict` for the first expectation that is not met; `TooLarge` and `Invalid`
    /// (a stream named twice, a commit id that was used for other events) before anything is
    /// stored; `Unknown` where the commit may have been stored; `Closed`; `Unavailable`.
    ///
    /// # Cancellation
    /// Dropping the future leaves the outcome unknown: stored whole, or not at all.
    async fn append(&self, ctx: &Context, append: Append) -> Result<Appended, EventLogError>;

    /// Stores several commits in this order, each whole or not at all: for histories that are
    /// brought from elsewhere, where the order of commits across streams matters and one round trip
    /// for each would be slow.
    ///
    /// # Behavior
    /// As if each were [appended](Self::append) when the one before it was acknowledged, with its
    /// own principal and trace and this call's deadline. It ends with the first commit that can't
    /// be stored; those before it are stored, nothing after it is. A commit may expect versions that
    /// an earlier one of the same call brings about. Commits of other callers may come to stand
    /// between these.
    ///
    /// # Errors
    /// In [`AppendedInOrder::error`]: as [`append`](Self::append), of the commit that the call ended
    /// with. `Unknown` names a commit of this call; whether those from there on are stored has to be
    /// [resolved](Self::resolve), or the rest is appended again under the same commit ids.
    ///
    /// # Cancellation
    /// Dropping the future leaves a beginning of the commits stored, possibly none or all.
    async fn append_in_order(&self, ctx: &Context, commits: Vec<OrderedAppend>) -> AppendedInOrder;

    /// Reads a part of one stream, as it is when the read begins. A stream that does not exist
    /// has no events.
    ///
    /// # Errors
    /// `NotFound` where the range begins before what a truncation left; `Integrity`.
    async fn read_stream(
        &self,
        ctx: &Context,
        stream: &StreamId,
        range: StreamRange,
    ) -> Result<EventStream, EventLogError>;

    /// Reads the log, as it is when the read begins, in the order of positions.
    ///
    /// # Errors
    /// `NotFound` where it begins before what a truncation left; `Integrity`.
    async fn read_log(&self, ctx: &Context, query: LogQuery) -> Result<EventStream, EventLogError>;

    /// The events at these positions, in the order in which they are asked for: what an index
    /// leads to.
    ///
    /// # Behavior
    /// Exactly as many events as positions: a position that is asked for twice is delivered twice,
    /// and where nothing is asked for there is nothing. What was acknowledged before is seen.
    ///
    /// # Errors
    /// `TooLarge` for more positions than [`Limits::read_positions`](crate::Limits::read_positions);
    /// `NotFound` where no event stands at one of them, naming it: in a gap, beyond the end, at
    /// [`Position::NONE`], and before what a truncation left; `Integrity`. Nothing is delivered then.
    async fn read_at(
        &self,
        ctx: &Context,
        positions: &[Position],
    ) -> Result<Vec<RecordedEvent>, EventLogError>;

    /// Hands out everything that the log holds after a position, as it stands there when the
    /// examination begins, for somebody who checks it: bytes that were altered are handed out
    /// altered, and the examination goes on behind what can't be handed out.
    ///
    /// # Behavior
    /// Events come in the order in which they stand in the log. Nothing is compared with a CID, a
    /// link, a commit or a neighbour. What is truncated is passed over.
    ///
    /// # Errors
    /// Only where it can't be looked at: `Unavailable`, `Closed`.
    async fn examine(&self, ctx: &Context, after: Position) -> Result<Examination, EventLogError>;

    /// Delivers every event that the filter means after a position: first history, then events as
    /// they are stored, without a gap or a repeat. It ends only with an error or when it is
    /// dropped. The context's deadline applies to the beginning only.
    ///
    /// # Errors
    /// As [`read_log`](Self::read_log); `Closed` when the log is closed.
    async fn subscribe(
        &self,
        ctx: &Context,
        filter: EventFilter,
        after: Position,
    ) -> Result<EventStream, EventLogError>;

    /// A stream's last version, position and CID; `None` when it has no events.
    ///
    /// # Errors
    /// `Integrity`, `Unavailable`, `Closed`.
    async fn head(&self, ctx: &Context, stream: &StreamId) -> Result<Option<Head>, EventLogError>;

    /// The heads of all streams whose name matches, each once, in an order of the adapter's own.
    /// Streams that get their first event meanwhile may be missing.
    ///
    /// # Errors
    /// `Integrity`, `Unavailable`, `Closed`.
    async fn streams(
        &self,
        ctx: &Context,
        pattern: &StreamPattern,
    ) -> Result<HeadStream, EventLogError>;

    /// Whether a commit was stored, and with which result.
    ///
    /// # Errors
    /// `Unavailable` while it can't be said; `Integrity`, `Closed`.
    async fn resolve(&self, ctx: &Context, commit: CommitId) -> Result<Resolution, EventLogError>;

    /// How much the log holds.
    ///
    /// # Errors
    /// `Unavailable`, `Closed`.
    async fn stats(&self, ctx: &Context) -> Result<LogStats, EventLogError>;

    /// Gives up the oldest events, which an archive holds.
    ///
    /// # Requires
    /// [`LogCapabilities::truncate`].
    ///
    /// # Behavior
    /// The digest proves that the archive holds exactly the events that go. Streams keep their
    /// versions, heads and commits keep being known. Reads that begin before the cut are refused,
    /// never shortened.
    ///
    /// # Errors
    /// `Invalid` where the digest is that of other events, or the position is not the last of a
    /// commit; `NotFound` where there is no such position; `Unsupported`.
    async fn truncate(&self, ctx: &Context, truncation: Truncation) -> Result<(), EventLogError>;

    /// What this log can do.
    fn capabilities(&self) -> LogCapabilities;
}

/// How much a log holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Events that can be read.
    pub events: u64,
    /// Streams that ever had an event.
    pub streams: u64,
    /// The position of the first event that can be read; [`Position::NONE`] when there is none.
    pub first: Position,
    /// The position of the last event ever stored.
    pub last: Position,
    /// Events at positions up to here were truncated.
    pub truncated_through: Position,
    /// Bytes that the log takes where it is stored.
    pub bytes: u64,
}

/// What is convenient on top of [`EventLog`].
#[async_trait]
pub trait EventLogExt: EventLog {
    /// Appends events to one stream, under a fresh commit id.
    ///
    /// # Errors
    /// As [`EventLog::append`].
    async fn append_to(
        &self,
        ctx: &Context,
        stream: &StreamId,
        expected: ExpectedVersion,
        events: Vec<NewEvent>,
    ) -> Result<Appended, EventLogError> {
        self.append(ctx, Append::new().write(stream.clone(), expected, events))
            .await
    }

    /// All events of one stream. For streams that fit into memory.
    ///
    /// # Errors
    /// As [`EventLog::read_stream`].
    async fn read_all(
        &self,
        ctx: &Context,
        stream: &StreamId,
    ) -> Result<Vec<RecordedEvent>, EventLogError> {
        self.read_stream(ctx, stream, StreamRange::all())
            .await?
            .try_collect()
            .await
    }

    /// The version a stream is at; 0 when it has no events.
    ///
    /// # Errors
    /// As [`EventLog::head`].
    async fn version(&self, ctx: &Context, stream: &StreamId) -> Result<Version, EventLogError> {
        Ok(self
            .head(ctx, stream)
            .await?
            .map_or(Version::NONE, |head| head.version))
    }

    /// Whether a stream has events.
    ///
    /// # Errors
    /// As [`EventLog::head`].
    async fn exists(&self, ctx: &Context, stream: &StreamId) -> Result<bool, EventLogError> {
        Ok(self.head(ctx, stream).await?.is_some())
    }
}

impl<L: EventLog + ?Sized> EventLogExt for L {}
