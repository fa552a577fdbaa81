//! Questions to an index, and their answers.

use std::collections::VecDeque;
use std::sync::Arc;

use cim_store::{
    Context, CorrelationId, EventFilter, EventLogError, Fault as PortFault, LogQuery, Position,
    RecordedEvent, Revision, TimeBasis, TimeRange,
};
use futures_core::stream::BoxStream;
use futures_util::future::{join, try_join_all};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::entry::{Sought, Span};
use super::error::{Fault, IndexError};
use super::inner::Inner;
use super::run;
use crate::persistence::Tags;

/// Events in the order of the log, or the error that ends them. Nothing follows an error.
pub type IndexedEvents = BoxStream<'static, Result<RecordedEvent, IndexError>>;

/// How many events the first request of an answer asks for at most.
const FIRST_PAGE: usize = 32;
/// How many times as many the next one may ask for.
const LARGER: usize = 4;
/// How many bytes a request should bring at most, if the events it asks for are as large as those
/// before them.
const PAGE_BYTES: usize = 4 << 20;

/// About how many bytes an event has.
pub(super) fn bytes_of(event: &RecordedEvent) -> usize {
    event.payload.len() + event.metadata.encoded_len()
}

/// Which events are asked for.
///
/// ```
/// use cim_domain::persistence::Tags;
/// use cim_domain::persistence::event_index::IndexQuery;
/// use cim_domain::store::{CorrelationId, EventFilter, Position};
///
/// let orders = EventFilter::all().matching("cim.events.sales.order.>".parse()?);
/// let urgent = IndexQuery::tag("urgent")?.matching(orders).after(Position::new(70)).limit(20);
///
/// let conversation = CorrelationId::from_uuid(uuid::Uuid::from_u128(7));
/// let urgent_there = IndexQuery::correlation(conversation).tagged(Tags::new(["urgent"])?);
/// assert_ne!(urgent, urgent_there);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexQuery {
    pub(super) sought: Sought,
    tags: Tags,
    filter: EventFilter,
    after: Position,
    limit: Option<u64>,
}

impl IndexQuery {
    fn new(sought: Sought) -> Self {
        Self {
            sought,
            tags: Tags::NONE,
            filter: EventFilter::all(),
            after: Position::NONE,
            limit: None,
        }
    }

    /// The events of a conversation.
    pub fn correlation(id: CorrelationId) -> Self {
        Self::new(Sought::Correlation(id))
    }

    /// The events that have this tag.
    ///
    /// # Errors
    /// `InvalidTag` where no event can have it.
    pub fn tag(tag: &str) -> Result<Self, IndexError> {
        Tags::new([tag])?;
        Ok(Self::new(Sought::Tag(tag.to_owned())))
    }

    /// The events from this time. By [`TimeBasis::StoredAt`] the log itself is asked, which seeks.
    pub fn time(range: TimeRange) -> Self {
        Self::new(Sought::Time(range))
    }

    /// Of these only events that have all of these tags, too.
    #[must_use]
    pub fn tagged(mut self, tags: Tags) -> Self {
        self.tags = tags;
        self
    }

    /// Of these only events that the filter means. Others are read and passed over.
    #[must_use]
    pub fn matching(mut self, filter: EventFilter) -> Self {
        self.filter = filter;
        self
    }

    /// Of these only events after this position: the last one of the page before.
    #[must_use]
    pub fn after(mut self, position: Position) -> Self {
        self.after = position;
        self
    }

    /// At most so many events.
    #[must_use]
    pub fn limit(mut self, events: u64) -> Self {
        self.limit = Some(events);
        self
    }

    fn means(&self, event: &RecordedEvent, scratch: &mut String) -> bool {
        let has_tags = self.tags.is_empty() || {
            let own = Tags::of(event);
            self.tags.iter().all(|tag| own.contains(tag))
        };
        has_tags && self.filter.matches(event, scratch)
    }
}

/// An answer that is on its way.
pub(super) struct Answer {
    inner: Arc<Inner>,
    ctx: Context,
    query: IndexQuery,
    /// Everything up to here was answered.
    after: Position,
    /// The index answers up to here; what came later is no part of the answer.
    through: Position,
    /// What was looked up already.
    ahead: Ahead,
    /// How many events the next request may ask for.
    room: usize,
    left: u64,
    scratch: String,
}

/// Positions that were looked up and not read yet, in order: where many keys are looked through,
/// as many as are worth it.
#[derive(Debug, Default)]
struct Ahead {
    positions: VecDeque<Position>,
    /// All that are meant up to here are among them.
    until: Position,
}

/// Events of which all are meant by the entries that led to them, and how far they answer.
struct Page {
    events: Vec<RecordedEvent>,
    answered: Position,
    ahead: Ahead,
    /// How many events the next request may ask for.
    next_room: usize,
}

impl Answer {
    /// Begins an answer that has everything that was acknowledged before, and hands out its
    /// beginning.
    pub(super) async fn begin(
        inner: Arc<Inner>,
        ctx: Context,
        query: IndexQuery,
    ) -> Result<(Vec<RecordedEvent>, Self), IndexError> {
        let after = query.after;
        let mut answer = Self {
            ctx,
            after,
            through: Position::NONE,
            ahead: Ahead::default(),
            room: FIRST_PAGE.min(inner.settings.page_events),
            left: query.limit.unwrap_or(u64::MAX),
            scratch: String::new(),
            query,
            inner,
        };
        // What is known is read while the log says what is new. Where both are asked of a server
        // its questions leave in one piece: nothing has to be thought over between them.
        let (known, seen, epoch) = {
            let state = answer.inner.state();
            (state.reached(), state.revision, state.epoch)
        };
        let (page, fresh) = join(
            answer.page(Ahead::default(), after, known),
            answer.inner.freshen(&answer.ctx),
        )
        .await;
        answer.through = fresh?;
        let first = match page {
            // It was looked up in what was taken back meanwhile.
            _ if answer.inner.state().epoch != epoch => Vec::new(),
            Ok(page) => answer.accept(page),
            Err(fault) => {
                answer.recover(fault, seen, &mut 0).await?;
                Vec::new()
            }
        };
        Ok((first, answer))
    }

    fn is_done(&self) -> bool {
        self.left == 0 || self.after >= self.through
    }

    /// The rest, page by page.
    pub(super) async fn next_page(
        mut self,
    ) -> Result<Option<(Vec<RecordedEvent>, Self)>, IndexError> {
        while !self.is_done() {
            let events = self.more().await?;
            if !events.is_empty() {
                return Ok(Some((events, self)));
            }
        }
        Ok(None)
    }

    /// All of the rest.
    pub(super) async fn append_rest(
        mut self,
        events: &mut Vec<RecordedEvent>,
    ) -> Result<(), IndexError> {
        while !self.is_done() {
            events.extend(self.more().await?);
        }
        Ok(())
    }

    async fn more(&mut self) -> Result<Vec<RecordedEvent>, IndexError> {
        let mut tries = 0;
        loop {
            let seen = self.inner.state().revision;
            let ahead = std::mem::take(&mut self.ahead);
            match self.page(ahead, self.after, self.through).await {
                Ok(page) => return Ok(self.accept(page)),
                Err(fault) => self.recover(fault, seen, &mut tries).await?,
            }
        }
    }

    async fn recover(
        &mut self,
        fault: Fault,
        seen: Revision,
        tries: &mut u32,
    ) -> Result<(), IndexError> {
        self.inner.recover(&self.ctx, fault, seen, tries).await?;
        let end = self.inner.freshen(&self.ctx).await?;
        if end >= self.through {
            return Ok(());
        }
        let message = "the log was replaced by a shorter one while it was read";
        Err(EventLogError::integrity(message)
            .with("last", end)
            .with("read until", self.through)
            .with_hint("ask again: the answer is then what the log holds now")
            .into())
    }

    /// Takes a page into the answer.
    fn accept(&mut self, page: Page) -> Vec<RecordedEvent> {
        self.after = self.after.max(page.answered);
        self.ahead = page.ahead;
        self.room = page.next_room;
        let mut events = page.events;
        events.retain(|event| {
            let meant = self.left > 0 && self.query.means(event, &mut self.scratch);
            self.left -= u64::from(meant);
            meant
        });
        events
    }

    /// The first events that are meant, after a position and up to another.
    async fn page(
        &self,
        mut ahead: Ahead,
        mut after: Position,
        through: Position,
    ) -> Result<Page, Fault> {
        let (inner, ctx) = (&self.inner, &self.ctx);
        loop {
            if ahead.positions.is_empty() {
                ahead = self.look_up(after, through).await?;
            }
            let count = ahead.positions.len().min(self.room);
            let positions: Vec<_> = ahead.positions.drain(..count).collect();
            let answered = match positions.last() {
                Some(last) if !ahead.positions.is_empty() => *last,
                _ => ahead.until,
            };
            let mut events = match positions.is_empty() {
                true => Vec::new(),
                false => match inner.log.read_at(ctx, &positions).await {
                    Ok(events) => events,
                    Err(error) => {
                        after = check_truncated(inner, ctx, error, &positions).await?;
                        ahead = Ahead::default();
                        continue;
                    }
                },
            };
            let next_room = self.next_room(&events);
            check(&self.query.sought, &positions, &mut events)?;
            return Ok(Page {
                events,
                answered,
                ahead,
                next_room,
            });
        }
    }

    /// How many events the next request may ask for, after these.
    fn next_room(&self, events: &[RecordedEvent]) -> usize {
        let bytes: usize = events.iter().map(bytes_of).sum();
        let Some(each) = bytes.checked_div(events.len()) else {
            return self.room;
        };
        (PAGE_BYTES / each.max(1))
            .min(self.room * LARGER)
            .clamp(1, self.inner.settings.page_events)
    }

    /// The first positions that are meant, after one and up to another.
    async fn look_up(&self, after: Position, through: Position) -> Result<Ahead, Fault> {
        let settings = &self.inner.settings;
        let Some(span) = self.query.sought.span(after, through) else {
            return Ok(Ahead {
                positions: VecDeque::new(),
                until: through,
            });
        };
        let limit = if span.is_one_key() {
            settings.page_events
        } else {
            // All of it is looked through every time.
            settings.newest_entries.max(settings.page_events)
        };
        let positions = positions(&self.inner, &self.ctx, span, limit).await?;
        let until = match positions.last() {
            Some(last) if positions.len() >= limit => *last,
            _ => through,
        };
        Ok(Ahead {
            positions: positions.into(),
            until,
        })
    }
}

/// The smallest positions that are meant, at most `limit`.
async fn positions(
    inner: &Inner,
    ctx: &Context,
    span: Span,
    limit: usize,
) -> Result<Vec<Position>, Fault> {
    let (manifest, mut found) = {
        let state = inner.state();
        if state.reached().get() < span.through {
            return Err(Fault::TakenBack);
        }
        let newest = state.newest.positions(&span, limit);
        (Arc::clone(&state.manifest), newest)
    };
    let lookups = manifest.runs.iter().map(|run| {
        let shelf = Arc::clone(&inner.shelf);
        run::positions(shelf, ctx, *run, span, limit)
    });
    for positions in try_join_all(lookups).await? {
        found.extend(positions);
    }
    found.sort_unstable();
    found.dedup();
    found.truncate(limit);
    Ok(found.into_iter().map(Position::new).collect())
}

/// Positions of which one has no event: where a truncation gave them up, says after which one there
/// is something to look for.
async fn check_truncated(
    inner: &Inner,
    ctx: &Context,
    error: EventLogError,
    positions: &[Position],
) -> Result<Position, Fault> {
    if error.fault() != Some(PortFault::NotFound) {
        return Err(error.into());
    }
    let truncated = inner.truncated_through(ctx).await?;
    if positions.first().is_some_and(|first| *first <= truncated) {
        return Ok(truncated);
    }
    Err(Fault::Damaged("the index leads to where no event is"))
}

/// Checks that every event is the one that was led to, and is one of those that were sought.
fn check(
    sought: &Sought,
    positions: &[Position],
    events: &mut Vec<RecordedEvent>,
) -> Result<(), Fault> {
    let led_to = events.iter().map(|event| event.position);
    if !led_to.eq(positions.iter().copied()) {
        let message = "the log gave other events than those at the positions asked for";
        return Err(EventLogError::integrity(message).into());
    }
    if matches!(sought, Sought::Tag(_)) {
        // Two tags may have the same key, as unlikely as that is.
        events.retain(|event| sought.is(event));
        return Ok(());
    }
    if !events.iter().all(|event| sought.is(event)) {
        return Err(Fault::Damaged(
            "the index leads to an event that is not meant",
        ));
    }
    Ok(())
}

/// Answers a question of which the log itself knows where to begin.
pub(super) async fn by_stored_at(
    inner: &Inner,
    ctx: &Context,
    query: IndexQuery,
    range: TimeRange,
) -> Result<IndexedEvents, IndexError> {
    let narrower = query.filter.time;
    let filter = EventFilter {
        time: Some(range),
        ..query.filter.clone()
    };
    let truncated = inner.truncated_through(ctx).await?;
    let read = LogQuery::all()
        .filter(filter)
        .after(query.after.max(truncated));
    let events = inner.log.read_log(ctx, read).await?;
    let limit = usize::try_from(query.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    let is_meant = move |event: &RecordedEvent| {
        let in_time = narrower.is_none_or(|range| match range.basis {
            TimeBasis::Time => range.contains(event.time),
            TimeBasis::StoredAt => range.contains(event.stored_at),
        });
        let own = Tags::of(event);
        in_time && query.tags.iter().all(|tag| own.contains(tag))
    };
    Ok(events
        .map_err(IndexError::from)
        .try_filter(move |event| std::future::ready(is_meant(event)))
        .take(limit)
        .boxed())
}

/// Makes a stream of the beginning of an answer and its rest.
pub(super) fn into_stream(first: Vec<RecordedEvent>, rest: Answer) -> IndexedEvents {
    let rest = stream::try_unfold(rest, Answer::next_page)
        .map_ok(|page| stream::iter(page).map(Ok))
        .try_flatten();
    stream::iter(first).map(Ok).chain(rest).boxed()
}
