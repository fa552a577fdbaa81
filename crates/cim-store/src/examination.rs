//! What a log holds, as it stands there: for whoever wants to check it without trusting it.
//!
//! A read refuses to go on at the first thing that is wrong. An examination goes on: it hands out
//! what is stored under each position, sound or not, and says where something can't be handed out.
//! It is the examiner who hashes and compares.

use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};

use crate::{
    Context, EventCid, EventLog, EventLogError, LogQuery, Position, RecordedEvent, StreamId,
    Timestamp, Version,
};

/// What a log holds, in the order in which it stands there, or the error that ends it: one of being
/// unable to look, never of what was seen.
pub type Examination = BoxStream<'static, Result<Examined, EventLogError>>;

/// One thing that was found in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Examined {
    /// An event: its bytes, which nobody has compared with its CID.
    Event(ExaminedEvent),
    /// A place where an event was, or should be, and can't be handed out.
    Damage(Damage),
}

/// An event as it stands in a log: where it is filed, and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExaminedEvent {
    /// Its position.
    pub position: Position,
    /// When the store says that it took it.
    pub stored_at: Timestamp,
    /// The stream that it is filed under.
    pub stream: StreamId,
    /// The version that it is filed under.
    pub version: Version,
    /// The CID that it is filed under.
    pub cid: EventCid,
    /// Its block: what must hash to the CID, and must name this stream and version.
    pub block: Bytes,
}

/// A place in a log where an event can't be handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The position, where it is known.
    pub position: Option<Position>,
    /// The stream of the event, where it is known.
    pub stream: Option<StreamId>,
    /// The version of the event, where it is known.
    pub version: Option<Version>,
    /// Whether there is nothing at all where an event should be; otherwise there is something that
    /// is no event.
    pub missing: bool,
    /// What is wrong and where, in a sentence without a full stop.
    pub message: String,
}

impl From<&RecordedEvent> for ExaminedEvent {
    fn from(event: &RecordedEvent) -> Self {
        let mut block = Vec::new();
        event.block().encode_into(&mut block);
        Self {
            position: event.position,
            stored_at: event.stored_at,
            stream: event.stream.clone(),
            version: event.version,
            cid: event.cid,
            block: block.into(),
        }
    }
}

/// Examines a log by reading it. For logs where nothing can be damaged unnoticed, such as one in
/// memory, and for wrappers that change what is read; damage ends it as it ends a read.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use cim_store::{examination, memory::MemoryStore, *};
/// use futures_util::TryStreamExt;
///
/// # let (store, ctx) = (MemoryStore::new(), Context::new());
/// # let log = store.log();
/// # let order = StreamId::new("sales", "order", "7")?;
/// # let placed = NewEvent::json("order_placed", &12)?;
/// # log.append_to(&ctx, &order, ExpectedVersion::NEW, vec![placed.clone()]).await?;
/// // What a wrapper does in its own `examine`.
/// let found = examination::by_reading(&*log, &ctx, Position::NONE).await?;
/// let found: Vec<Examined> = found.try_collect().await?;
/// let Examined::Event(event) = &found[0] else { unreachable!() };
/// assert_eq!(EventCid::of(&event.block), event.cid);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`EventLog::read_log`].
pub async fn by_reading(
    log: &(impl EventLog + ?Sized),
    ctx: &Context,
    after: Position,
) -> Result<Examination, EventLogError> {
    let begin = log.stats(ctx).await?.truncated_through.max(after);
    let events = log.read_log(ctx, LogQuery::all().after(begin)).await?;
    let examined = events.map_ok(|event| Examined::Event(ExaminedEvent::from(&event)));
    Ok(examined.boxed())
}
