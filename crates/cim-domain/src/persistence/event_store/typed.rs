//! The event store over any event log.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use cim_ipld::ChainFault;
use cim_store::{
    Clock, Context, CorrelationId, EventFilter, EventLog, EventStream, ExpectedVersion,
    IdGenerator, LogQuery, Metadata, RecordedEvent, StreamId, StreamRange, SubjectPattern,
    SubjectScheme, TimeBasis, TimeRange, Timestamp, Version,
};
use futures_util::{StreamExt as _, TryStreamExt as _};
use uuid::Uuid;

use super::{EventStore, EventStoreError, InfrastructureResult, ReadEvents, StoredEvent};
use crate::DomainEvent;
use crate::persistence::append::Writer;
use crate::persistence::checked_loads::Verifier;
use crate::persistence::decoding::Reader;
use crate::persistence::error::excerpt;
use crate::persistence::event_index::{EventIndex, IndexQuery};
use crate::persistence::{LoadVerification, RetryPolicy, UnknownEvents};

/// The events of one kind of aggregate in an event log: an [`EventStore`] on every adapter.
///
/// It keeps no events: clones and other stores over the same log see the same ones. A
/// [`Repository`](crate::Repository) of the same context and type does, too. An event store knows
/// nothing of deletions: it passes over their events, and what it appends after one makes the
/// aggregate anew.
///
/// # Context
/// Its methods take no [`Context`]; they run under the one that the store was given by
/// [`under`](Self::under), which costs no more than a clone:
///
/// ```
/// # use cim_domain::DomainEvent;
/// # #[derive(Debug, serde::Serialize, serde::Deserialize, DomainEvent)]
/// # struct Restarted;
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use cim_domain::persistence::{EventStore, TypedEventStore};
/// use cim_domain::store::Context;
/// use uuid::Uuid;
///
/// let log = cim_domain::open("memory:").await?.log();
/// let store = TypedEventStore::<Restarted>::new(log, "infrastructure", "compute")?;
///
/// let (id, conversation) = (Uuid::from_u128(7), Uuid::from_u128(99));
/// let ctx = Context::new().with_correlation_id(conversation.into());
/// store.under(ctx).append(id, vec![Restarted], None).await?;
/// assert_eq!(store.read_by_correlation(conversation).await?.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Cost
/// [`read_by_correlation`](EventStore::read_by_correlation) looks at every event of the context
/// and aggregate type, so it takes the longer the more of them there are, unless the store has an
/// [index](Self::with_index). Everything else touches one stream;
/// [`read_events_by_time_range`](EventStore::read_events_by_time_range) reads all of it, because a
/// stream is read at once and an index would lead to its events one by one.
pub struct TypedEventStore<E> {
    writer: Writer,
    verifier: Verifier,
    unknown_events: UnknownEvents,
    ctx: Context,
    context: Arc<str>,
    aggregate_type: Arc<str>,
    /// The subjects of all events of the context and type.
    subjects: SubjectPattern,
    index: Option<EventIndex>,
    event: PhantomData<fn() -> E>,
}

impl<E: DomainEvent> TypedEventStore<E> {
    /// The events of aggregates of this type in this bounded context. Their streams are named
    /// `{context}.{aggregate_type}.{id}` and their subjects
    /// `cim.events.{context}.{aggregate_type}.{id}.{event type}.{version}`.
    ///
    /// # Errors
    /// `InvalidName` where context or type is empty, or both are too long.
    pub fn new(
        log: Arc<dyn EventLog>,
        context: &str,
        aggregate_type: &str,
    ) -> InfrastructureResult<Self> {
        let invalid = |source| invalid_name(context, aggregate_type, source);
        // All UUIDs are equally long, so this one tells about all others.
        StreamId::new(context, aggregate_type, &Uuid::nil().to_string())
            .map_err(|error| invalid(error.into()))?;
        let subjects = SubjectScheme::events()
            .pattern(&[("context", context), ("aggregate", aggregate_type)])
            .map_err(|error| invalid(error.into()))?;
        Ok(Self {
            writer: Writer::new(log),
            verifier: Verifier::default(),
            unknown_events: UnknownEvents::default(),
            ctx: Context::new(),
            context: context.into(),
            aggregate_type: aggregate_type.into(),
            subjects,
            index: None,
            event: PhantomData,
        })
    }

    /// The same store under a context: appended events carry its correlation and causation id,
    /// principal and trace, and its deadline limits every operation.
    #[must_use]
    pub fn under(&self, ctx: Context) -> Self {
        Self {
            ctx,
            ..self.clone()
        }
    }

    /// With the clock that gives events their time and deadlines their meaning.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.writer.clock = clock;
        self
    }

    /// With the generator of the ids of commits and events.
    #[must_use]
    pub fn with_ids(mut self, ids: Arc<dyn IdGenerator>) -> Self {
        self.writer.ids = ids;
        self
    }

    /// With another policy for repeating a commit whose answer was lost.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.writer.retry = retry;
        self
    }

    /// With a setting of when events that are read are compared with their CIDs and links; by
    /// default [never](LoadVerification::Off). What [`read_by_correlation`](EventStore::read_by_correlation)
    /// reads is compared with its CIDs alone, because it is not all of any stream.
    #[must_use]
    pub fn with_verification(mut self, verification: LoadVerification) -> Self {
        self.verifier = Verifier::new(verification);
        self
    }

    /// With an index over the same log, so that
    /// [`read_by_correlation`](EventStore::read_by_correlation) finds a conversation without looking
    /// at every event. The index has the events of all aggregates; those of other contexts and types
    /// are read and left out, because they are events of other types in Rust, too.
    /// [`EventIndex::read_by_correlation`] gives the whole conversation.
    ///
    /// ```
    /// # use cim_domain::DomainEvent;
    /// # #[derive(Debug, serde::Serialize, serde::Deserialize, DomainEvent)]
    /// # struct Restarted;
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use cim_domain::persistence::event_index::{EventIndex, IndexSettings};
    /// use cim_domain::persistence::{EventStore, TypedEventStore};
    /// use cim_domain::store::Context;
    /// use uuid::Uuid;
    ///
    /// let store = cim_domain::open("memory:").await?;
    /// let index = EventIndex::open(&*store, IndexSettings::default()).await?;
    /// let machines = TypedEventStore::<Restarted>::new(store.log(), "infrastructure", "compute")?
    ///     .with_index(index);
    ///
    /// let conversation = Uuid::from_u128(99);
    /// let ctx = Context::new().with_correlation_id(conversation.into());
    /// machines.under(ctx).append(Uuid::from_u128(7), vec![Restarted], None).await?;
    /// assert_eq!(machines.read_by_correlation(conversation).await?.len(), 1); // no scan
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_index(mut self, index: EventIndex) -> Self {
        self.index = Some(index);
        self
    }

    /// The index that conversations are found by, if it was given one.
    pub fn index(&self) -> Option<&EventIndex> {
        self.index.as_ref()
    }

    /// When events that are read are compared with their CIDs and links.
    pub fn verification(&self) -> LoadVerification {
        self.verifier.setting()
    }

    /// With what becomes of events whose types are unknown; by default reading
    /// [fails](UnknownEvents::Fail). [`read`](Self::read) tells what was passed over.
    #[must_use]
    pub fn with_unknown_events(mut self, policy: UnknownEvents) -> Self {
        self.unknown_events = policy;
        self
    }

    /// What becomes of events whose types are unknown.
    pub fn unknown_events(&self) -> UnknownEvents {
        self.unknown_events
    }

    /// Reads events of an aggregate, and tells what was passed over because its type is unknown.
    ///
    /// ```
    /// # use cim_domain::DomainEvent;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)] enum NewerEvent { Restarted, Moved }
    /// # #[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)] enum OlderEvent { Restarted }
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use cim_domain::persistence::{EventStore, TypedEventStore, UnknownEvents};
    /// use cim_domain::store::StreamRange;
    /// use uuid::Uuid;
    ///
    /// let (log, id) = (cim_domain::open("memory:").await?.log(), Uuid::from_u128(7));
    /// let newer = TypedEventStore::new(log.clone(), "infrastructure", "compute")?;
    /// newer.append(id, vec![NewerEvent::Restarted, NewerEvent::Moved], None).await?;
    ///
    /// // A program of last year, that has to go on with what it knows.
    /// let older = TypedEventStore::<OlderEvent>::new(log, newer.context(), newer.aggregate_type())?
    ///     .with_unknown_events(UnknownEvents::KeepRaw);
    /// assert_eq!((newer.unknown_events(), older.unknown_events()), (UnknownEvents::Fail, UnknownEvents::KeepRaw));
    /// let read = older.read(id, StreamRange::all()).await?;
    /// assert_eq!(read.events[0].event, OlderEvent::Restarted);
    /// assert_eq!(read.events[0].metadata.aggregate_uuid(), Some(id));
    /// assert_eq!(read.events[0].metadata.aggregate_id(), id.to_string());
    /// assert_eq!((read.skipped, read.unknown[0].event_type.as_str()), (1, "moved"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `Decode`, `Integrity`, `Store`.
    pub async fn read(
        &self,
        aggregate_id: Uuid,
        range: StreamRange,
    ) -> InfrastructureResult<ReadEvents<E>> {
        self.read_stream(aggregate_id, range, |_| true).await
    }

    /// The log that the events are in.
    pub fn log(&self) -> &Arc<dyn EventLog> {
        &self.writer.log
    }

    /// The bounded context of the aggregates.
    pub fn context(&self) -> &str {
        &self.context
    }

    /// What kind of aggregates they are.
    pub fn aggregate_type(&self) -> &str {
        &self.aggregate_type
    }

    fn stream(&self, aggregate_id: Uuid) -> InfrastructureResult<StreamId> {
        StreamId::new(
            &self.context,
            &self.aggregate_type,
            &aggregate_id.to_string(),
        )
        .map_err(|error| invalid_name(&self.context, &self.aggregate_type, error.into()))
    }

    async fn read_stream(
        &self,
        aggregate_id: Uuid,
        range: StreamRange,
        is_wanted: impl Fn(&RecordedEvent) -> bool,
    ) -> InfrastructureResult<ReadEvents<E>> {
        let stream = self.stream(aggregate_id)?;
        let direction = range.direction;
        let reader = Reader::new(self.unknown_events).in_direction(direction);
        let events = self.log().read_stream(&self.ctx, &stream, range).await?;
        let mut check = self.verifier.stream().in_direction(direction);
        collect(events, |event| check.check(event), is_wanted, reader).await
    }
}

/// Checks all events, and reads those that are wanted as typed events; the others need not be
/// understood.
async fn collect<E: DomainEvent>(
    mut events: EventStream,
    mut check: impl FnMut(&RecordedEvent) -> Result<(), ChainFault>,
    is_wanted: impl Fn(&RecordedEvent) -> bool,
    mut reader: Reader,
) -> InfrastructureResult<ReadEvents<E>> {
    let mut wanted = Vec::new();
    while let Some(recorded) = events.try_next().await? {
        check(&recorded).map_err(|fault| EventStoreError::integrity(&recorded, fault))?;
        if is_wanted(&recorded) {
            StoredEvent::read_into(&mut wanted, recorded, &mut reader)?;
        }
    }
    let (skipped, unknown) = reader.into_parts();
    Ok(ReadEvents {
        events: wanted,
        skipped,
        unknown,
    })
}

fn invalid_name(
    context: &str,
    aggregate_type: &str,
    source: Box<dyn std::error::Error + Send + Sync>,
) -> EventStoreError {
    EventStoreError::InvalidName {
        context: excerpt(context),
        aggregate_type: excerpt(aggregate_type),
        source,
    }
}

#[async_trait]
impl<E: DomainEvent> EventStore<E> for TypedEventStore<E> {
    async fn append(
        &self,
        aggregate_id: Uuid,
        events: Vec<E>,
        expected_version: Option<u64>,
    ) -> InfrastructureResult<u64> {
        let stream = self.stream(aggregate_id)?;
        let expected =
            expected_version.map_or(ExpectedVersion::Any, |version| Version::new(version).into());
        let (append, commit_id) = self.writer.prepare(
            &self.ctx,
            &stream,
            expected,
            &events,
            &Metadata::EMPTY,
            None,
        )?;
        let appended = self.writer.append(&self.ctx, &append, commit_id).await?;
        let version = self
            .writer
            .version_after(&self.ctx, &append, &appended, &stream)
            .await?;
        Ok(version.get())
    }

    async fn read_events(&self, aggregate_id: Uuid) -> InfrastructureResult<Vec<StoredEvent<E>>> {
        Ok(self.read(aggregate_id, StreamRange::all()).await?.events)
    }

    async fn read_events_from(
        &self,
        aggregate_id: Uuid,
        from_version: u64,
    ) -> InfrastructureResult<Vec<StoredEvent<E>>> {
        let range = StreamRange::from(Version::new(from_version));
        Ok(self.read(aggregate_id, range).await?.events)
    }

    async fn read_by_correlation(
        &self,
        correlation_id: Uuid,
    ) -> InfrastructureResult<Vec<StoredEvent<E>>> {
        let filter = EventFilter::all().matching(self.subjects.clone());
        let reader = Reader::new(self.unknown_events);
        let mut check = self.verifier.log();
        let check = |event: &RecordedEvent| check.check(event);
        if let Some(index) = &self.index {
            let query = IndexQuery::correlation(correlation_id.into()).matching(filter);
            let found = index.read_all(&self.ctx, query).await?;
            let found = futures_util::stream::iter(found).map(Ok).boxed();
            return Ok(collect(found, check, |_| true, reader).await?.events);
        }
        let query = LogQuery::all().filter(filter);
        let events = self.log().read_log(&self.ctx, query).await?;
        let conversation = Some(CorrelationId::from_uuid(correlation_id));
        let is_wanted = |event: &RecordedEvent| event.correlation_id == conversation;
        Ok(collect(events, check, is_wanted, reader).await?.events)
    }

    async fn get_version(&self, aggregate_id: Uuid) -> InfrastructureResult<Option<u64>> {
        let stream = self.stream(aggregate_id)?;
        let head = self.log().head(&self.ctx, &stream).await?;
        Ok(head.map(|head| head.version.get()))
    }

    async fn read_events_by_time_range(
        &self,
        aggregate_id: Uuid,
        from_time: Timestamp,
        to_time: Timestamp,
    ) -> InfrastructureResult<Vec<StoredEvent<E>>> {
        let range = TimeRange {
            basis: TimeBasis::Time,
            from: Some(from_time),
            to: Some(to_time),
        };
        let is_in = |event: &RecordedEvent| range.contains(event.time);
        let read = self.read_stream(aggregate_id, StreamRange::all(), is_in);
        Ok(read.await?.events)
    }
}

impl<E> Clone for TypedEventStore<E> {
    fn clone(&self) -> Self {
        Self {
            writer: self.writer.clone(),
            verifier: self.verifier.clone(),
            unknown_events: self.unknown_events,
            ctx: self.ctx.clone(),
            context: Arc::clone(&self.context),
            aggregate_type: Arc::clone(&self.aggregate_type),
            subjects: self.subjects.clone(),
            index: self.index.clone(),
            event: PhantomData,
        }
    }
}

impl<E> fmt::Debug for TypedEventStore<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedEventStore")
            .field("context", &self.context)
            .field("aggregate_type", &self.aggregate_type)
            .field("log", &self.writer.log)
            .field("verification", &self.verifier.setting())
            .field("unknown_events", &self.unknown_events)
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}
