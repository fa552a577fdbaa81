//! Events by their positions: what adapters and wrappers share of
//! [`EventLog::read_at`].

use futures_util::TryStreamExt;

use crate::{
    Context, EventLog, EventLogError, Fault, LimitName, Limits, LogQuery, Position, RecordedEvent,
};

/// Refuses to read the events of more positions than one call may name.
///
/// # Errors
/// `TooLarge`.
pub fn check_count(positions: &[Position], limits: &Limits) -> Result<(), EventLogError> {
    let (count, most) = (positions.len(), limits.read_positions);
    if count <= most {
        return Ok(());
    }
    let limit = LimitName::ReadPositions;
    Err(EventLogError::too_large(limit, count, most)
        .with_hint("ask for the events in several calls"))
}

/// No event stands at this position, as far as the log ever reached.
#[cold]
pub fn no_event(position: Position) -> EventLogError {
    EventLogError::not_found("no event stands at this position").with("position", position)
}

/// The event at this position was given up; the first one that is left stands at `first`.
#[cold]
pub fn given_up(position: Position, first: Position) -> EventLogError {
    EventLogError::not_found("the event at this position was truncated")
        .with("position", position)
        .with("first position", first)
        .with_hint("take older events from the archive, or restore it")
}

/// Reads each event as a part of the log. For wrappers that change what is read, and for logs that
/// have no quicker way.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use cim_store::{memory::MemoryStore, positions, *};
///
/// # let (store, ctx) = (MemoryStore::new(), Context::new());
/// # let log = store.log();
/// # let order = StreamId::new("sales", "order", "7")?;
/// # let placed = NewEvent::json("order_placed", &12)?;
/// # log.append_to(&ctx, &order, ExpectedVersion::NEW, vec![placed.clone()]).await?;
/// // What a wrapper does in its own `read_at`.
/// let last = log.stats(&ctx).await?.last;
/// positions::check_count(&[last], &log.capabilities().limits)?;
/// assert_eq!(positions::by_reading(&*log, &ctx, &[last]).await?[0].stream, order);
///
/// // Where there is nothing, it says so in the same words as every other log.
/// let beyond = Position::new(last.get() + 1);
/// let error = positions::by_reading(&*log, &ctx, &[beyond]).await.unwrap_err();
/// assert_eq!(error.to_string(), positions::no_event(beyond).to_string());
/// let gone = positions::given_up(Position::new(1), last);
/// assert_eq!((error.fault(), gone.fault()), (Some(Fault::NotFound), Some(Fault::NotFound)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`EventLog::read_at`].
pub async fn by_reading(
    log: &(impl EventLog + ?Sized),
    ctx: &Context,
    positions: &[Position],
) -> Result<Vec<RecordedEvent>, EventLogError> {
    check_count(positions, &log.capabilities().limits)?;
    let mut events = Vec::with_capacity(positions.len());
    for position in positions {
        let Some(before) = position.get().checked_sub(1) else {
            return Err(no_event(*position));
        };
        let query = LogQuery::all().after(Position::new(before)).limit(1);
        let found = async { log.read_log(ctx, query).await?.try_next().await };
        let next = found.await.map_err(|error| match error.fault() {
            Some(Fault::NotFound) => error.with("position", position),
            _ => error,
        })?;
        let event = next.filter(|event| event.position == *position);
        events.push(event.ok_or_else(|| no_event(*position))?);
    }
    Ok(events)
}
