//! The event-sourced repository as applications that hold aggregates use it: aggregate in,
//! aggregate and metadata out.

use std::fmt;
use std::sync::Arc;

use cim_store::{Context, EventLog, StreamRange, Version};

use super::{
    AggregateMetadata, Executed, Loaded, Repository, RepositoryError, SaveOptions, StoredEvent,
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

/// How an aggregate is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// As it was at this version; `None`: as it is now.
    pub version: Option<Version>,
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
    /// `VersionConflict`, `Unknown` with the commit's id, `InvalidId`, `Encode`, `Store`.
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
        let head = saved.appended.heads.into_iter().next();
        Ok(AggregateMetadata {
            last_modified: head.is_some().then_some(saved.appended.stored_at).flatten(),
            head,
            ..described::<A>(id, saved.version)
        })
    }

    /// Loads an aggregate, and what is known about it.
    ///
    /// # Errors
    /// `NotFound` when it has no events; `VersionNotFound` when it never was at the version that
    /// was asked for; `InvalidId`, `Decode`, `Integrity`, `Store`.
    pub async fn load(
        &self,
        id: &<A as Aggregate>::Id,
        options: LoadOptions,
    ) -> Result<(A, AggregateMetadata), RepositoryError<A::Error>> {
        let loaded = match options.version {
            None => self.repository.load(&self.ctx, id).await?,
            Some(version) => {
                self.repository
                    .load_at_version(&self.ctx, id, version)
                    .await?
            }
        };
        let Loaded {
            state,
            version,
            head,
            stored_at,
        } = loaded;
        let metadata = AggregateMetadata {
            last_modified: Some(stored_at),
            head: Some(head),
            ..described::<A>(id, version)
        };
        Ok((state, metadata))
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

    /// Whether an aggregate has events.
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

fn described<A: Aggregate>(id: &<A as Aggregate>::Id, version: Version) -> AggregateMetadata {
    AggregateMetadata {
        aggregate_id: id.to_string(),
        aggregate_type: A::TYPE.to_owned(),
        version,
        last_modified: None,
        expires_at: None,
        head: None,
    }
}

impl<A> From<Repository<A>> for AggregateRepository<A> {
    /// With the repository's clock, ids, retry policy and verification.
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
