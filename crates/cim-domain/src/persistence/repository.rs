//! Where applications execute commands on aggregates, and load them.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use cim_store::{
    Appended, Clock, CommitId, Context, EventLog, EventLogExt as _, ExpectedVersion, Head,
    IdGenerator, Metadata, StreamId, StreamRange, Timestamp, Version,
};

use super::append::{Writer, new_version};
use super::checked_loads::Verifier;
use super::history::History;
use super::replay::Replay;
use super::{LoadVerification, RepositoryError, RetryPolicy};
use crate::Aggregate;

/// Executes commands on aggregates of one type and loads them from their events.
///
/// It keeps no state: clones and other repositories over the same log see the same aggregates, and
/// of two that decide at the same time one decides again.
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
/// Pauses between attempts are waits of the [`Clock`]; the default one needs a tokio runtime with
/// its time driver enabled.
pub struct Repository<A> {
    writer: Writer,
    verifier: Verifier,
    aggregate: PhantomData<fn() -> A>,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Executed<A: Aggregate> {
    /// The aggregate after it.
    pub state: A,
    /// The aggregate's version after it.
    pub version: Version,
    /// The events that it was decided to mean, in order.
    pub events: Vec<A::Event>,
    /// What was stored; `None` where the command changed nothing.
    pub appended: Option<Appended>,
    /// How often it was decided: more than once where somebody else was first.
    pub attempts: u32,
}

/// An aggregate as it was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded<A> {
    /// The aggregate.
    pub state: A,
    /// The version it is at.
    pub version: Version,
    /// The last event that it was rebuilt from.
    pub head: Head,
    /// When the store took that event.
    pub stored_at: Timestamp,
}

/// What was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Saved {
    /// The aggregate's version after it.
    pub version: Version,
    /// What the log says about the commit.
    pub appended: Appended,
}

/// How events are saved.
///
/// ```
/// use cim_domain::{SaveOptions, store::Version};
///
/// let options = SaveOptions { expected_version: Some(Version::new(3)), ..Default::default() };
/// # let _ = options;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SaveOptions {
    /// The version at which the aggregate must be; [`Version::NONE`]: it must not exist yet;
    /// `None`: it may be at any, because the events are facts that hold anyhow.
    pub expected_version: Option<Version>,
    /// What is said about each of the events beside its payload.
    pub metadata: Metadata,
    /// The commit's id, for a caller who may have to save the same events again: what has been
    /// stored is not stored twice. `None`: a fresh one.
    pub commit_id: Option<CommitId>,
}

impl<A: Aggregate> Repository<A> {
    /// A repository over a log, with the machine's clock and ids and the default retry policy.
    pub fn new(log: Arc<dyn EventLog>) -> Self {
        Self {
            writer: Writer::new(log),
            verifier: Verifier::default(),
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

    /// The log that the aggregates are in.
    pub fn log(&self) -> &Arc<dyn EventLog> {
        &self.writer.log
    }

    /// Executes a command: loads the aggregate, lets it decide, and stores the events of the
    /// decision if the aggregate is still at the version that was decided upon.
    ///
    /// # Behavior
    /// - An aggregate without events decides in its default state.
    /// - Where somebody else was first, the events that are newer are loaded and the aggregate
    ///   decides again, as often as the [`RetryPolicy`] says.
    /// - Where the answer to an append is lost, the same commit is appended again, which never
    ///   stores it twice, until there is an answer or the deadline has come.
    /// - A decision for no events stores nothing.
    /// - All events of a command are stored, or none. They carry the context's correlation and
    ///   causation id, principal and trace.
    ///
    /// # Errors
    /// `Rejected` with the aggregate's own error; `VersionConflict` when the attempts are used up
    /// or the deadline has come; `Unknown` with the commit's id; `InvalidId`, `Encode`, `Decode`,
    /// `Integrity`, `Store`.
    ///
    /// # Cancellation
    /// Dropping the future leaves the outcome unknown: the events are stored whole or not at all.
    pub async fn execute(
        &self,
        ctx: &Context,
        id: &A::Id,
        command: A::Command,
    ) -> Result<Executed<A>, RepositoryError<A::Error>> {
        let mut replay = Replay::<A>::new(Self::stream(id)?, self.verifier.stream());
        let mut attempts = 0;
        loop {
            replay.advance(self.log().as_ref(), ctx, None).await?;
            attempts += 1;
            let events = replay
                .state
                .handle(command.clone())
                .map_err(RepositoryError::Rejected)?;
            let appended = if events.is_empty() {
                None
            } else {
                let expected = ExpectedVersion::Exact(replay.version());
                let (append, commit_id) = self.writer.prepare(
                    ctx,
                    replay.stream(),
                    expected,
                    &events,
                    &Metadata::EMPTY,
                    None,
                )?;
                let appended = self.writer.append(ctx, &append, commit_id).await;
                match appended.map_err(RepositoryError::from) {
                    Ok(appended) => Some(appended),
                    Err(error) if error.is_conflict() && self.retry().allows_another(attempts) => {
                        if !self.writer.pause(ctx, attempts, commit_id).await {
                            return Err(error);
                        }
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            };
            let version = match &appended {
                Some(appended) => new_version(appended, replay.stream())?,
                None => replay.version(),
            };
            let mut state = replay.state;
            events.iter().for_each(|event| state.apply(event));
            return Ok(Executed {
                state,
                version,
                events,
                appended,
                attempts,
            });
        }
    }

    /// Stores events that were decided upon elsewhere: all of them, or none. Without events it
    /// stores nothing and only checks the expected version.
    ///
    /// # Errors
    /// `VersionConflict`, `Unknown` with the commit's id, `InvalidId`, `Encode`, `Store`.
    pub async fn save(
        &self,
        ctx: &Context,
        id: &A::Id,
        events: Vec<A::Event>,
        options: SaveOptions,
    ) -> Result<Saved, RepositoryError<A::Error>> {
        let stream = Self::stream(id)?;
        let expected = options
            .expected_version
            .map_or(ExpectedVersion::Any, ExpectedVersion::Exact);
        let SaveOptions {
            metadata,
            commit_id,
            ..
        } = options;
        let (append, commit_id) = self
            .writer
            .prepare(ctx, &stream, expected, &events, &metadata, commit_id)?;
        let appended = self.writer.append(ctx, &append, commit_id).await?;
        let version = self
            .writer
            .version_after(ctx, &append, &appended, &stream)
            .await?;
        Ok(Saved { version, appended })
    }

    /// Loads an aggregate as it is now.
    ///
    /// # Errors
    /// `NotFound` when it has no events; `InvalidId`, `Decode`, `Integrity`, `Store`.
    pub async fn load(
        &self,
        ctx: &Context,
        id: &A::Id,
    ) -> Result<Loaded<A>, RepositoryError<A::Error>> {
        let stream = Self::stream(id)?;
        let mut replay = Replay::new(stream.clone(), self.verifier.stream());
        replay.advance(self.log().as_ref(), ctx, None).await?;
        match replay.into_loaded() {
            Some(loaded) => Ok(loaded),
            None => Err(RepositoryError::NotFound { stream }),
        }
    }

    /// Loads an aggregate as it was at a version.
    ///
    /// # Errors
    /// `NotFound` when it has no events; `VersionNotFound` when it never was at this version;
    /// `InvalidId`, `Decode`, `Integrity`, `Store`.
    pub async fn load_at_version(
        &self,
        ctx: &Context,
        id: &A::Id,
        version: Version,
    ) -> Result<Loaded<A>, RepositoryError<A::Error>> {
        let stream = Self::stream(id)?;
        if version == Version::NONE {
            return match self.log().version(ctx, &stream).await? {
                Version::NONE => Err(RepositoryError::NotFound { stream }),
                actual => Err(RepositoryError::VersionNotFound {
                    stream,
                    requested: version,
                    actual,
                }),
            };
        }
        let mut replay = Replay::new(stream.clone(), self.verifier.stream());
        replay
            .advance(self.log().as_ref(), ctx, Some(version))
            .await?;
        match replay.into_loaded() {
            None => Err(RepositoryError::NotFound { stream }),
            Some(loaded) if loaded.version == version => Ok(loaded),
            // The read ended at the head as it was then, so that is what there is.
            Some(loaded) => Err(RepositoryError::VersionNotFound {
                stream,
                requested: version,
                actual: loaded.version,
            }),
        }
    }

    /// Whether an aggregate has events.
    ///
    /// # Errors
    /// `InvalidId`, `Store`.
    pub async fn exists(
        &self,
        ctx: &Context,
        id: &A::Id,
    ) -> Result<bool, RepositoryError<A::Error>> {
        Ok(self.log().exists(ctx, &Self::stream(id)?).await?)
    }

    /// The events of an aggregate with everything that is known about them. An aggregate that
    /// does not exist has none.
    ///
    /// # Errors
    /// `InvalidId`, `Store`.
    pub async fn history(
        &self,
        ctx: &Context,
        id: &A::Id,
        range: StreamRange,
    ) -> Result<History<A>, RepositoryError<A::Error>> {
        let stream = Self::stream(id)?;
        let events = self.log().read_stream(ctx, &stream, range).await?;
        Ok(History::new(events, self.verifier.stream()))
    }

    fn retry(&self) -> &RetryPolicy {
        &self.writer.retry
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
            .finish_non_exhaustive()
    }
}
