//! The event-sourced repository as applications that hold aggregates use it: aggregate in,
//! aggregate and metadata out.

use std::fmt;
use std::sync::Arc;

use cim_store::{Context, EventLog, StreamRange, Version};

use super::snapshot::Written;
use super::{
    AggregateMetadata, AggregatePage, AggregateQuery, DeleteOptions, ExecuteOptions, Executed,
    ExecutedMany, LoadOptions, Loaded, Participant, Participants, Repository, RepositoryError,
    SaveOptions, Saved, StoredEvent,
};
use crate::{Aggregate, Entity};

/// Saves aggregates as events and loads them: a [`Repository`] whose methods take the aggregate
/// instead of its id, and run under the [`Context`] given by [`under`](Self::under).
///
/// ```
/// # use cim_domain::{Aggregate, DomainEvent, Entity};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
/// # enum OrderEvent { Placed { number: String } }
/// # #[derive(Debug, Default)] struct Order { number: String }
/// # impl Aggregate for Order {
/// #     const CONTEXT: &'static str = "docs";
/// #     const TYPE: &'static str = "order";
/// #     type Id = String;
/// #     type Event = OrderEvent;
/// #     type Command = ();
/// #     type Error = std::convert::Infallible;
/// #     fn apply(&mut self, event: &OrderEvent) { let OrderEvent::Placed { number } = event; self.number.clone_from(number); }
/// #     fn handle(&self, (): ()) -> Result<Vec<OrderEvent>, Self::Error> { Ok(vec![]) }
/// # }
/// # impl Entity for Order { type Id = String; fn id(&self) -> &String { &self.number } }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use cim_domain::persistence::{AggregateRepository, LoadOptions, SaveOptions};
///
/// let store = cim_domain::open("memory:").await?;
/// let orders = AggregateRepository::<Order>::new(store.log());
///
/// let order = Order { number: "7".into() };
/// let placed = vec![OrderEvent::Placed { number: "7".into() }];
/// let saved = orders.save(&order, placed, SaveOptions::default()).await?;
/// assert_eq!(saved.version.get(), 1);
///
/// let (order, metadata) = orders.load(&"7".into(), LoadOptions::default()).await?;
/// assert_eq!((order.number.as_str(), metadata.version), ("7", saved.version));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AggregateRepository<A> {
    repository: Repository<A>,
    ctx: Context,
}

impl<A: Aggregate> AggregateRepository<A> {
    /// A repository over a log, with the defaults of [`Repository::new`].
    pub fn new(log: Arc<dyn EventLog>) -> Self {
        Repository::new(log).into()
    }

    /// The same repository under a context: saved events carry its correlation and causation id,
    /// principal and trace, and its deadline limits every operation.
    #[must_use]
    pub fn under(&self, ctx: Context) -> Self {
        Self {
            ctx,
            ..self.clone()
        }
    }

    /// The repository underneath, which takes ids and contexts.
    pub fn repository(&self) -> &Repository<A> {
        &self.repository
    }

    /// Stores new events of an aggregate: all of them, or none. Without events it stores nothing
    /// and only checks the expected version.
    ///
    /// The aggregate says whose events they are. Its state is not stored: the events are what it
    /// is rebuilt from.
    ///
    /// # Errors
    /// As [`Repository::save`].
    pub async fn save(
        &self,
        aggregate: &A,
        events: Vec<A::Event>,
        options: SaveOptions,
    ) -> Result<AggregateMetadata, RepositoryError<A::Error>>
    where
        A: Entity<Id = <A as Aggregate>::Id>,
    {
        let id = aggregate.id();
        let saved = self.repository.save(&self.ctx, id, events, options).await?;
        Ok(describe_saved::<A>(id, saved))
    }

    /// Deletes an aggregate, as [`Repository::delete`] does.
    ///
    /// # Errors
    /// As [`Repository::delete`].
    pub async fn delete(
        &self,
        id: &<A as Aggregate>::Id,
        options: DeleteOptions,
    ) -> Result<AggregateMetadata, RepositoryError<A::Error>> {
        let deleted = self.repository.delete(&self.ctx, id, options).await?;
        Ok(describe_saved::<A>(id, deleted))
    }

    /// Loads an aggregate, and what is known about it.
    ///
    /// # Errors
    /// As [`Repository::load_with`].
    pub async fn load(
        &self,
        id: &<A as Aggregate>::Id,
        options: LoadOptions,
    ) -> Result<(A, AggregateMetadata), RepositoryError<A::Error>> {
        let loaded = self.repository.load_with(&self.ctx, id, options).await?;
        Ok(describe_loaded(id.to_string(), loaded))
    }

    /// Loads an aggregate as it was at a version.
    ///
    /// # Errors
    /// As [`Repository::load_with`].
    pub async fn get_at_version(
        &self,
        id: &<A as Aggregate>::Id,
        version: Version,
    ) -> Result<(A, AggregateMetadata), RepositoryError<A::Error>> {
        let options = LoadOptions {
            version: Some(version),
            ..LoadOptions::default()
        };
        self.load(id, options).await
    }

    /// The events of an aggregate from one version to another, both inclusive; `None`: from the
    /// first, to the last. An aggregate that does not exist has none.
    ///
    /// For histories that fit into memory; [`Repository::history`] reads others.
    ///
    /// # Errors
    /// `InvalidId`, `Decode`, `Integrity`, `Store`.
    pub async fn get_history(
        &self,
        id: &<A as Aggregate>::Id,
        from: Option<Version>,
        to: Option<Version>,
    ) -> Result<Vec<StoredEvent<A::Event>>, RepositoryError<A::Error>> {
        let range = StreamRange {
            to,
            ..StreamRange::from(from.unwrap_or(Version::NONE))
        };
        let history = self.repository.history(&self.ctx, id, range).await?;
        let events = history.all().await?;
        Ok(events.into_iter().map(StoredEvent::from).collect())
    }

    /// Finds aggregates by their events and loads them as they are now, a page at a time, as
    /// [`Repository::query`] does.
    ///
    /// # Errors
    /// As [`Repository::query`].
    pub async fn query(
        &self,
        query: &AggregateQuery,
    ) -> Result<AggregatePage<(A, AggregateMetadata)>, RepositoryError<A::Error>> {
        let page = self.repository.query(&self.ctx, query).await?;
        let described =
            |loaded: Loaded<A>| describe_loaded(loaded.head.stream.decoded_id(), loaded);
        Ok(AggregatePage {
            items: page.items.into_iter().map(described).collect(),
            next: page.next,
        })
    }

    /// An aggregate that takes part in a decision over several.
    pub fn participant(&self, id: &<A as Aggregate>::Id) -> Participant<A> {
        self.repository.participant(id)
    }

    /// Decides over several aggregates, as [`Repository::execute_many`] does.
    ///
    /// # Errors
    /// As [`Repository::execute_many`].
    pub async fn execute_many<P, T, E>(
        &self,
        participants: P,
        decide: impl Fn(P::Drafts<'_>) -> Result<T, E> + Send + Sync,
    ) -> Result<ExecutedMany<T>, RepositoryError<E>>
    where
        P: Participants,
        T: Send,
        E: std::error::Error + Send + Sync + 'static,
    {
        self.repository
            .execute_many(&self.ctx, participants, decide)
            .await
    }

    /// Decides over several aggregates, with metadata and tags for all events of the decision.
    ///
    /// ```
    /// # use cim_domain::{Aggregate, DomainEvent};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
    /// # enum StockEvent { Counted { pieces: u64 } }
    /// # #[derive(Debug, Default)] struct Stock { pieces: u64 }
    /// # impl Aggregate for Stock {
    /// #     const CONTEXT: &'static str = "docs";
    /// #     const TYPE: &'static str = "stock";
    /// #     type Id = String;
    /// #     type Event = StockEvent;
    /// #     type Command = u64;
    /// #     type Error = std::convert::Infallible;
    /// #     fn apply(&mut self, event: &StockEvent) { let StockEvent::Counted { pieces } = event; self.pieces = *pieces; }
    /// #     fn handle(&self, pieces: u64) -> Result<Vec<StockEvent>, Self::Error> { Ok(vec![StockEvent::Counted { pieces }]) }
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use std::convert::Infallible;
    /// use cim_domain::persistence::{AggregateQuery, AggregateRepository, ExecuteOptions, Tags};
    ///
    /// let stocks = AggregateRepository::<Stock>::new(cim_domain::open("memory:").await?.log());
    /// let (lamps, chairs) = ("lamps".to_owned(), "chairs".to_owned());
    /// let both = (stocks.participant(&lamps), stocks.participant(&chairs));
    /// let tags = Tags::new(["count:2026"])?;
    /// let options = ExecuteOptions { tags: tags.clone(), ..Default::default() };
    /// stocks
    ///     .execute_many_with(both, options, |(lamps, chairs)| {
    ///         lamps.handle(12)?;
    ///         chairs.handle(7)?;
    ///         Ok::<_, Infallible>(())
    ///     })
    ///     .await?;
    ///
    /// let counted = stocks.query(&AggregateQuery { tags, ..Default::default() }).await?;
    /// assert_eq!(counted.items.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Repository::execute_many_with`].
    pub async fn execute_many_with<P, T, E>(
        &self,
        participants: P,
        options: ExecuteOptions,
        decide: impl Fn(P::Drafts<'_>) -> Result<T, E> + Send + Sync,
    ) -> Result<ExecutedMany<T>, RepositoryError<E>>
    where
        P: Participants,
        T: Send,
        E: std::error::Error + Send + Sync + 'static,
    {
        self.repository
            .execute_many_with(&self.ctx, participants, options, decide)
            .await
    }

    /// Executes a command, as [`Repository::execute`] does.
    ///
    /// # Errors
    /// As [`Repository::execute`].
    pub async fn execute(
        &self,
        id: &<A as Aggregate>::Id,
        command: A::Command,
    ) -> Result<Executed<A>, RepositoryError<A::Error>> {
        self.repository.execute(&self.ctx, id, command).await
    }

    /// Takes a snapshot of an aggregate as it is now, as [`Repository::take_snapshot`] does.
    ///
    /// # Errors
    /// As [`Repository::take_snapshot`].
    pub async fn take_snapshot(
        &self,
        id: &<A as Aggregate>::Id,
    ) -> Result<Written, RepositoryError<A::Error>> {
        self.repository.take_snapshot(&self.ctx, id).await
    }

    /// Executes a command, with metadata and tags for its events.
    ///
    /// # Errors
    /// As [`Repository::execute_with`].
    pub async fn execute_with(
        &self,
        id: &<A as Aggregate>::Id,
        command: A::Command,
        options: ExecuteOptions,
    ) -> Result<Executed<A>, RepositoryError<A::Error>> {
        let ctx = &self.ctx;
        self.repository
            .execute_with(ctx, id, command, options)
            .await
    }

    /// Whether there is an aggregate: it has events and was not deleted.
    ///
    /// # Errors
    /// `InvalidId`, `Store`.
    pub async fn exists(
        &self,
        id: &<A as Aggregate>::Id,
    ) -> Result<bool, RepositoryError<A::Error>> {
        self.repository.exists(&self.ctx, id).await
    }
}

fn describe_saved<A: Aggregate>(id: &<A as Aggregate>::Id, saved: Saved) -> AggregateMetadata {
    let head = saved.appended.heads.into_iter().next();
    AggregateMetadata {
        last_modified: head.is_some().then_some(saved.appended.stored_at).flatten(),
        head,
        ..described::<A>(id.to_string(), saved.version)
    }
}

fn describe_loaded<A: Aggregate>(id: String, loaded: Loaded<A>) -> (A, AggregateMetadata) {
    let metadata = AggregateMetadata {
        last_modified: Some(loaded.stored_at),
        head: Some(loaded.head),
        events: loaded.events,
        skipped: loaded.skipped,
        unknown: loaded.unknown,
        ..described::<A>(id, loaded.version)
    };
    (loaded.state, metadata)
}

fn described<A: Aggregate>(aggregate_id: String, version: Version) -> AggregateMetadata {
    AggregateMetadata {
        aggregate_id,
        aggregate_type: A::TYPE.to_owned(),
        version,
        last_modified: None,
        expires_at: None,
        head: None,
        events: Vec::new(),
        skipped: 0,
        unknown: Vec::new(),
    }
}

impl<A> From<Repository<A>> for AggregateRepository<A> {
    /// With all settings of the repository.
    fn from(repository: Repository<A>) -> Self {
        Self {
            repository,
            ctx: Context::new(),
        }
    }
}

impl<A> Clone for AggregateRepository<A> {
    fn clone(&self) -> Self {
        Self {
            repository: self.repository.clone(),
            ctx: self.ctx.clone(),
        }
    }
}

impl<A: Aggregate> fmt::Debug for AggregateRepository<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AggregateRepository")
            .field("repository", &self.repository)
            .finish_non_exhaustive()
    }
}
