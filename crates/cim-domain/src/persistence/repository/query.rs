//! Finds aggregates by their events: by subject, type and tags, a page at a time.

use std::collections::HashSet;

use cim_store::{
    Context, EventFilter, EventType, LogQuery, Position, RecordedEvent, StreamRange, Version,
};
use cim_subject::{SubjectPattern, SubjectScheme};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{LoadOptions, Loaded, Repository};
use crate::Aggregate;
use crate::persistence::event_index::{EventIndex, IndexQuery};
use crate::persistence::{RepositoryError, Tags};

/// Which aggregates are asked for: those of which an event has all that is named here. By default
/// all aggregates.
///
/// ```
/// use cim_domain::persistence::{AggregateQuery, Tags};
///
/// let query = AggregateQuery {
///     types: vec!["order_placed".parse()?],
///     tags: Tags::new(["region:eu"])?,
///     page_size: 20,
///     ..Default::default()
/// };
/// # let _ = query;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AggregateQuery {
    /// The event's subject, `cim.events.{context}.{aggregate}.{id}.{event}.{version}`, matches this;
    /// `None`: any. Only aggregates of the repository's own type are found, whatever it matches.
    pub pattern: Option<SubjectPattern>,
    /// The event's type is one of these; empty: any.
    pub types: Vec<EventType>,
    /// The event has all of these tags.
    pub tags: Tags,
    /// Where the page before ended: its [`AggregatePage::next`]. `None`: the first page.
    pub after: Option<Position>,
    /// At most so many aggregates: 1 to [`MAX_PAGE_SIZE`](Self::MAX_PAGE_SIZE); what is out of this
    /// range counts as its nearest end. 100 by default.
    pub page_size: usize,
}

impl AggregateQuery {
    /// The largest page.
    pub const MAX_PAGE_SIZE: usize = 1_000;
}

impl Default for AggregateQuery {
    fn default() -> Self {
        Self {
            pattern: None,
            types: Vec::new(),
            tags: Tags::NONE,
            after: None,
            page_size: 100,
        }
    }
}

/// Some of the aggregates that a query means.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AggregatePage<T> {
    /// Them, as they are now, in the order of their first event that the query means.
    pub items: Vec<T>,
    /// Where the next page begins; `None`: this is the last one.
    pub next: Option<Position>,
}

/// How many aggregates are loaded at the same time.
const LOADS: usize = 16;

impl<A: Aggregate> Repository<A> {
    /// Finds aggregates by their events and loads them as they are now, a page at a time.
    ///
    /// ```
    /// # use cim_domain::{Aggregate, DomainEvent};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
    /// # enum OrderEvent { OrderPlaced, OrderPaid }
    /// # use OrderEvent::{OrderPaid, OrderPlaced};
    /// # #[derive(Default)] struct Order;
    /// # impl Aggregate for Order {
    /// #     const CONTEXT: &'static str = "docs";
    /// #     const TYPE: &'static str = "order";
    /// #     type Id = u32;
    /// #     type Event = OrderEvent;
    /// #     type Command = ();
    /// #     type Error = std::convert::Infallible;
    /// #     fn apply(&mut self, _: &OrderEvent) {}
    /// #     fn handle(&self, (): ()) -> Result<Vec<OrderEvent>, Self::Error> { Ok(vec![OrderPaid]) }
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// # use cim_domain::{Repository, SaveOptions, open, store::Context};
    /// use cim_domain::persistence::AggregateQuery;
    /// # let orders = Repository::<Order>::new(open("memory:").await?.log());
    /// # let ctx = Context::new();
    /// # for number in 1..=5 { orders.save(&ctx, &number, vec![OrderPlaced], SaveOptions::default()).await?; }
    /// # for number in [2, 3, 5] { orders.execute(&ctx, &number, ()).await?; }
    /// let mut query = AggregateQuery {
    ///     types: vec!["order_paid".parse()?],
    ///     page_size: 2,
    ///     ..Default::default()
    /// };
    /// let mut paid = Vec::new();
    /// loop {
    ///     let page = orders.query(&ctx, &query).await?;
    ///     paid.extend(page.items.into_iter().map(|order| order.head.stream.decoded_id()));
    ///     query.after = page.next;
    ///     if query.after.is_none() {
    ///         break;
    ///     }
    /// }
    /// assert_eq!(paid, ["2", "3", "5"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Behavior
    /// - Each aggregate is on one page only. What begins to match while pages are turned comes
    ///   last, so nothing is passed over.
    /// - Aggregates that were deleted are left out, so a page may have fewer than its size, and the
    ///   last one none.
    /// - One aggregate that can't be loaded fails the page that it would be on.
    ///
    /// # Cost
    /// Events that the query means are read, by subject and type as the store can find them, and the
    /// beginning of each stream that a later page meets again. Tags are looked for in all of these
    /// events, unless there is an [index](Self::with_index), which knows where they are.
    ///
    /// # Errors
    /// As [`load`](Self::load), except that what was deleted is no error; `Index`. `Store` with
    /// [`NotFound`](cim_store::Fault::NotFound) where the first events of the log were truncated, and
    /// what matched among them is not known any more.
    pub async fn query(
        &self,
        ctx: &Context,
        query: &AggregateQuery,
    ) -> Result<AggregatePage<Loaded<A>>, RepositoryError<A::Error>> {
        let mut page = AggregatePage {
            items: Vec::new(),
            next: None,
        };
        let Some(filter) = Self::filter(query)? else {
            return Ok(page);
        };
        let size = query.page_size.clamp(1, AggregateQuery::MAX_PAGE_SIZE);
        let mut events = self.candidates(ctx, query, &filter).await?;
        let (mut seen, mut found) = (HashSet::new(), Vec::with_capacity(size.min(128)));
        while let Some(event) = events.try_next().await? {
            if seen.contains(&event.stream) {
                continue;
            }
            seen.insert(event.stream.clone());
            if query.after.is_some() && !self.is_first(ctx, query, &filter, &event).await? {
                continue; // it was on a page before
            }
            found.push(event.stream);
            if found.len() == size {
                page.next = Some(event.position);
                break;
            }
        }
        drop(events);
        let loads = found.into_iter().map(|stream| async move {
            let options = LoadOptions::default();
            match self.load_stream(ctx, stream, options).await {
                Ok(loaded) => Ok(Some(loaded)),
                Err(error) if error.is_deleted() => Ok(None),
                Err(error) => Err(error),
            }
        });
        let mut loads = stream::iter(loads).buffered(LOADS);
        while let Some(loaded) = loads.try_next().await? {
            page.items.extend(loaded);
        }
        Ok(page)
    }

    /// With an index over the log, which knows where tags are: [`query`](Self::query) then looks
    /// them up.
    ///
    /// ```
    /// # use cim_domain::{Aggregate, DomainEvent};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
    /// # enum CounterEvent { Increased { by: u64 } }
    /// # #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    /// # struct Counter(u64);
    /// # impl Aggregate for Counter {
    /// #     const CONTEXT: &'static str = "docs";
    /// #     const TYPE: &'static str = "counter";
    /// #     type Id = String;
    /// #     type Event = CounterEvent;
    /// #     type Command = u64;
    /// #     type Error = std::convert::Infallible;
    /// #     fn apply(&mut self, event: &CounterEvent) { let CounterEvent::Increased { by } = event; self.0 += by; }
    /// #     fn handle(&self, by: u64) -> Result<Vec<CounterEvent>, Self::Error> { Ok(vec![CounterEvent::Increased { by }]) }
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// # use cim_domain::{Repository, open, store::Context};
    /// use cim_domain::persistence::event_index::{EventIndex, IndexSettings};
    /// use cim_domain::persistence::{AggregateQuery, ExecuteOptions, Tags};
    ///
    /// let store = open("memory:").await?;
    /// let index = EventIndex::open(&*store, IndexSettings::default()).await?;
    /// let counters = Repository::<Counter>::new(store.log()).with_index(index);
    ///
    /// let (ctx, visits) = (Context::new(), "visits".to_owned());
    /// let tags = Tags::new(["site:eu"])?;
    /// let options = ExecuteOptions { tags: tags.clone(), ..Default::default() };
    /// counters.execute_with(&ctx, &visits, 2, options).await?;
    /// counters.execute(&ctx, &"errors".to_owned(), 1).await?;
    ///
    /// // Reads the one event that has the tag, however many others there are.
    /// let european = counters.query(&ctx, &AggregateQuery { tags, ..Default::default() }).await?;
    /// assert_eq!(european.items.len(), 1);
    /// assert_eq!(european.items[0].state, Counter(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_index(mut self, index: EventIndex) -> Self {
        self.index = Some(index);
        self
    }

    /// What the log is asked for; `None` where nothing can match.
    fn filter(query: &AggregateQuery) -> Result<Option<EventFilter>, RepositoryError<A::Error>> {
        let mut values = vec![("context", A::CONTEXT), ("aggregate", A::TYPE)];
        let looks_at_first_events =
            query.pattern.is_none() && query.types.is_empty() && query.tags.is_empty();
        if looks_at_first_events {
            values.push(("version", "1"));
        }
        let own = SubjectScheme::events()
            .pattern(&values)
            .map_err(|error| RepositoryError::InvalidQuery(error.into()))?;
        let pattern = match &query.pattern {
            Some(pattern) => own.intersection(pattern),
            None => Some(own),
        };
        Ok(pattern.map(|pattern| EventFilter {
            types: query.types.clone(),
            ..EventFilter::all().matching(pattern)
        }))
    }

    /// The events that the query means, after the page before.
    async fn candidates(
        &self,
        ctx: &Context,
        query: &AggregateQuery,
        filter: &EventFilter,
    ) -> Result<Candidates<A>, RepositoryError<A::Error>> {
        let after = query.after.unwrap_or(Position::NONE);
        if let (Some(index), Some(tag)) = (&self.index, query.tags.iter().next()) {
            let asked = IndexQuery::tag(tag)?
                .tagged(query.tags.clone())
                .matching(filter.clone())
                .after(after);
            let events = index.read(ctx, asked).await?;
            return Ok(events.map_err(RepositoryError::from).boxed());
        }
        let asked = LogQuery::all().filter(filter.clone()).after(after);
        let events = self.log().read_log(ctx, asked).await?;
        let tags = query.tags.clone();
        Ok(events
            .map_err(RepositoryError::from)
            .try_filter(move |event| std::future::ready(has_all(event, &tags)))
            .boxed())
    }

    /// Whether this event is the first one of its stream that the query means.
    async fn is_first(
        &self,
        ctx: &Context,
        query: &AggregateQuery,
        filter: &EventFilter,
        event: &RecordedEvent,
    ) -> Result<bool, RepositoryError<A::Error>> {
        if event.version == Version::new(1) {
            return Ok(true);
        }
        let before = Version::new(event.version.get() - 1);
        let range = StreamRange::all().to(before);
        let mut events = self.log().read_stream(ctx, &event.stream, range).await?;
        let mut subject = String::new();
        while let Some(earlier) = events.try_next().await? {
            if filter.matches(&earlier, &mut subject) && has_all(&earlier, &query.tags) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

type Candidates<A> =
    BoxStream<'static, Result<RecordedEvent, RepositoryError<<A as Aggregate>::Error>>>;

fn has_all(event: &RecordedEvent, tags: &Tags) -> bool {
    if tags.is_empty() {
        return true;
    }
    let own = Tags::of(event);
    tags.iter().all(|tag| own.contains(tag))
}
