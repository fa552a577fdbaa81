//! Where applications execute commands on aggregates, and load them.

pub(in crate::persistence) mod after_append;
mod copy_repair;
mod execute;
mod load;
mod options;
mod query;
mod save;
mod snapshots;
mod state_copies;
mod work;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use cim_store::{Clock, EventLog, IdGenerator, StreamId};

use super::append::Writer;
use super::checked_loads::Verifier;
use super::event_index::EventIndex;
use super::replay::Replay;
use super::snapshot::keeping::Snapshots;
use super::state_copies::keeping::Copies;
use super::{LoadVerification, RepositoryError, RetryPolicy, UnknownEvents};
use crate::Aggregate;

pub use copy_repair::{CopyCondition, CopyLag, CopyRepairs};
pub use execute::Executed;
pub use load::Loaded;
pub use options::{DeleteOptions, ExecuteOptions, LoadOptions, Recreation, SaveOptions};
pub use query::{AggregatePage, AggregateQuery};
pub use save::Saved;

pub(super) use work::Work;

use work::Caching;

/// Executes commands on aggregates of one type and loads them from their events.
///
/// Clones and other repositories over the same log see the same aggregates, and of two that decide
/// at the same time one decides again. It keeps no state, unless it is given a
/// [cache](Self::with_cache).
///
/// ```
/// # use cim_domain::{Aggregate, DomainEvent};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
/// # enum CounterEvent { Increased { by: u64 } }
/// # #[derive(Debug, Default, PartialEq)] struct Counter(u64);
/// # impl Aggregate for Counter {
/// #     const CONTEXT: &'static str = "docs";
/// #     const TYPE: &'static str = "counter";
/// #     type Id = String;
/// #     type Event = CounterEvent;
/// #     type Command = u64;
/// #     type Error = std::convert::Infallible;
/// #     fn apply(&mut self, event: &CounterEvent) { let CounterEvent::Increased { by } = event; self.0 += by; }
/// #     fn handle(&self, by: u64) -> Result<Vec<CounterEvent>, Self::Error> {
/// #         Ok(if by == 0 { vec![] } else { vec![CounterEvent::Increased { by }] })
/// #     }
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use cim_domain::{Repository, open, store::Context};
///
/// let store = open("memory:").await?;
/// let counters = Repository::<Counter>::new(store.log());
/// let (ctx, id) = (Context::new(), "visits".to_owned());
///
/// counters.execute(&ctx, &id, 2).await?;
/// let done = counters.execute(&ctx, &id, 3).await?;
/// assert_eq!((done.state, done.version.get()), (Counter(5), 2));
///
/// let loaded = counters.load(&ctx, &id).await?;
/// assert_eq!(loaded.state, Counter(5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Runtime
/// Pauses between attempts, the wait for a snapshot, and the limit of work in the background are
/// waits of the [`Clock`]; the default one needs a tokio runtime with its time driver enabled.
pub struct Repository<A> {
    pub(super) writer: Writer,
    verifier: Verifier,
    recreation: Recreation,
    unknown_events: UnknownEvents,
    index: Option<EventIndex>,
    snapshots: Option<Snapshots<A>>,
    caching: Option<Caching<A>>,
    copies: Option<Copies<A>>,
    aggregate: PhantomData<fn() -> A>,
}

impl<A: Aggregate> Repository<A> {
    /// A repository over a log, with the machine's clock and ids and the default retry policy.
    pub fn new(log: Arc<dyn EventLog>) -> Self {
        Self {
            writer: Writer::new(log),
            verifier: Verifier::default(),
            recreation: Recreation::default(),
            unknown_events: UnknownEvents::default(),
            index: None,
            snapshots: None,
            caching: None,
            copies: None,
            aggregate: PhantomData,
        }
    }

    /// With the clock that gives events their time, deadlines their meaning and pauses their
    /// length. Deadlines of contexts must be on the same clock.
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

    /// With a retry policy.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.writer.retry = retry;
        self
    }

    /// With a setting of when events that are read are compared with their CIDs and links; by
    /// default [never](LoadVerification::Off).
    #[must_use]
    pub fn with_verification(mut self, verification: LoadVerification) -> Self {
        self.verifier = Verifier::new(verification);
        self
    }

    /// When events that are read are compared with their CIDs and links.
    pub fn verification(&self) -> LoadVerification {
        self.verifier.setting()
    }

    /// With what becomes of commands and events for an aggregate that was deleted; by default they
    /// are [refused](Recreation::Refuse).
    #[must_use]
    pub fn with_recreation(mut self, recreation: Recreation) -> Self {
        self.recreation = recreation;
        self
    }

    /// With what becomes of events whose types are unknown; by default loads and commands
    /// [fail](UnknownEvents::Fail), because a state that misses events may decide wrongly.
    ///
    /// ```
    /// # use cim_domain::{Aggregate, DomainEvent};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)] enum NewerEvent { Opened, Shared }
    /// # #[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)] enum OlderEvent { Opened }
    /// # #[derive(Default)] struct Newer;
    /// # #[derive(Default)] struct Older;
    /// # macro_rules! document { ($name:ident $event:ident) => {
    /// #     impl Aggregate for $name {
    /// #         const CONTEXT: &'static str = "docs";
    /// #         const TYPE: &'static str = "document";
    /// #         type Id = String;
    /// #         type Event = $event;
    /// #         type Command = ();
    /// #         type Error = std::convert::Infallible;
    /// #         fn apply(&mut self, _: &$event) {}
    /// #         fn handle(&self, (): ()) -> Result<Vec<$event>, Self::Error> { Ok(vec![]) }
    /// #     }
    /// # } }
    /// # document!(Newer NewerEvent);
    /// # document!(Older OlderEvent);
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// # use cim_domain::{Repository, SaveOptions, open, store::{Context, StreamRange}};
    /// use cim_domain::persistence::UnknownEvents;
    ///
    /// let log = open("memory:").await?.log();
    /// let (ctx, id) = (Context::new(), "7".to_owned());
    /// let newer = Repository::<Newer>::new(log.clone());
    /// newer.save(&ctx, &id, vec![NewerEvent::Opened, NewerEvent::Shared], SaveOptions::default()).await?;
    ///
    /// // The program of last year does not know what `shared` means.
    /// let older = Repository::<Older>::new(log);
    /// assert_eq!(older.unknown_events(), UnknownEvents::Fail);
    /// assert!(older.load(&ctx, &id).await.is_err());
    ///
    /// let older = older.with_unknown_events(UnknownEvents::KeepRaw);
    /// let loaded = older.load(&ctx, &id).await?;
    /// assert_eq!((loaded.skipped, loaded.unknown[0].event_type.as_str()), (1, "shared"));
    ///
    /// let mut history = older.history(&ctx, &id, StreamRange::all()).await?;
    /// while let Some(known) = history.next().await {
    ///     assert_eq!(known?.event, OlderEvent::Opened);
    /// }
    /// assert_eq!((history.skipped(), history.unknown().len()), (1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_unknown_events(mut self, policy: UnknownEvents) -> Self {
        self.unknown_events = policy;
        self
    }

    /// What becomes of events whose types are unknown.
    pub fn unknown_events(&self) -> UnknownEvents {
        self.unknown_events
    }

    /// The log that the aggregates are in.
    pub fn log(&self) -> &Arc<dyn EventLog> {
        &self.writer.log
    }

    pub(super) fn recreation(&self) -> Recreation {
        self.recreation
    }

    /// An aggregate before its first event.
    pub(super) fn replay(&self, stream: StreamId) -> Replay<A> {
        Replay::new(stream, self.verifier.stream()).with_unknown_events(self.unknown_events)
    }

    fn stream(id: &A::Id) -> Result<StreamId, RepositoryError<A::Error>> {
        A::stream(id).map_err(|source| RepositoryError::invalid_id(&id.to_string(), source))
    }
}

impl<A> Clone for Repository<A> {
    fn clone(&self) -> Self {
        Self {
            writer: self.writer.clone(),
            verifier: self.verifier.clone(),
            recreation: self.recreation,
            unknown_events: self.unknown_events,
            index: self.index.clone(),
            snapshots: self.snapshots.clone(),
            caching: self.caching.clone(),
            copies: self.copies.clone(),
            aggregate: PhantomData,
        }
    }
}

impl<A: Aggregate> fmt::Debug for Repository<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repository")
            .field("context", &A::CONTEXT)
            .field("type", &A::TYPE)
            .field("log", &self.writer.log)
            .field("retry", &self.writer.retry)
            .field("verification", &self.verifier.setting())
            .field("recreation", &self.recreation)
            .field("unknown_events", &self.unknown_events)
            .field("snapshots", &self.snapshots)
            .field("cache", &self.cache())
            .field("copies", &self.copies)
            .finish_non_exhaustive()
    }
}
