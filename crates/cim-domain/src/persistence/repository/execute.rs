//! Commands: load, decide, append against the version that was decided upon, decide again.

use cim_store::{Append, Appended, Context, ExpectedVersion, Version};

use super::after_append::{Stored, payload_bytes};
use super::work::Work;
use super::{ExecuteOptions, Recreation, Repository};
use crate::Aggregate;
use crate::persistence::RepositoryError;
use crate::persistence::append::new_head;
use crate::persistence::attempts::Attempts;
use crate::persistence::replay::Until;

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
    /// How many events the state misses, because their types are unknown and the repository
    /// [passes over them](crate::persistence::UnknownEvents): what was decided may be wrong. 0 if
    /// it fails at them.
    pub skipped: u64,
}

impl<A: Aggregate> Repository<A> {
    /// Executes a command: loads the aggregate, lets it decide, and stores the events of the
    /// decision if the aggregate is still at the version that was decided upon.
    ///
    /// # Behavior
    /// - An aggregate without events decides in its default state. One that was deleted is refused,
    ///   or decides in its default state, too, as [`Recreation`] says.
    /// - Where somebody else was first, the events that are newer are loaded and the aggregate
    ///   decides again, as often as the [`RetryPolicy`](crate::RetryPolicy) says.
    /// - Where the answer to an append is lost, the same commit is appended again, which never
    ///   stores it twice, until there is an answer or the deadline has come.
    /// - A decision for no events stores nothing.
    /// - With a [cache](Self::with_cache) an aggregate that was touched lately is not loaded. A
    ///   refusal, and a decision for no events, that come of what was kept are not believed before
    ///   the log was asked. Calls on one aggregate take turns.
    /// - All events of a command are stored, or none. They carry the context's correlation and
    ///   causation id, principal and trace.
    ///
    /// # Errors
    /// `Rejected` with the aggregate's own error; `VersionConflict` when the attempts are used up
    /// or the deadline has come; `Deleted`; `Unknown` with the commit's id; `InvalidId`, `Encode`,
    /// `Decode`, `Integrity`, `Store`, also where the deadline comes before the turn.
    ///
    /// # Cancellation
    /// Dropping the future leaves the outcome unknown: the events are stored whole or not at all.
    pub async fn execute(
        &self,
        ctx: &Context,
        id: &A::Id,
        command: A::Command,
    ) -> Result<Executed<A>, RepositoryError<A::Error>> {
        let nothing = ExecuteOptions::default();
        self.execute_with(ctx, id, command, nothing).await
    }

    /// The same as [`execute`](Self::execute), with metadata and tags for the events.
    ///
    /// # Errors
    /// `InvalidTags`; as [`execute`](Self::execute).
    pub async fn execute_with(
        &self,
        ctx: &Context,
        id: &A::Id,
        command: A::Command,
        options: ExecuteOptions,
    ) -> Result<Executed<A>, RepositoryError<A::Error>> {
        let metadata = options.tags.add_to(&options.metadata)?;
        let now = Until::default();
        let mut work = self.begin(ctx, Self::stream(id)?).await?;
        if !work.is_kept() {
            work.advance(self, ctx, &now).await?;
        }
        let mut attempts = Attempts::first();
        loop {
            let decided = self.decide(&work, command.clone());
            let is_settled = !matches!(&decided, Ok(events) if !events.is_empty());
            if is_settled && work.may_be_behind() {
                // A refusal, and a decision that nothing changes, hold for the newest state alone.
                if work.advance(self, ctx, &now).await? {
                    attempts.again();
                }
                continue;
            }
            let events = decided?;
            if events.is_empty() {
                return Ok(Executed {
                    version: work.version(),
                    skipped: work.skipped(),
                    state: work.into_state(),
                    events,
                    appended: None,
                    attempts: attempts.made(),
                });
            }
            let expected = ExpectedVersion::Exact(work.version());
            let (append, commit_id) =
                self.writer
                    .prepare(ctx, work.stream(), expected, &events, &metadata, None)?;
            work.appends();
            let error = match self.writer.append(ctx, &append, commit_id).await {
                Ok(appended) => {
                    work.stored(&append, &appended, false);
                    return self
                        .executed(ctx, work, &append, events, appended, attempts.made())
                        .await;
                }
                Err(fault) => RepositoryError::from(fault),
            };
            if !error.is_conflict() {
                if matches!(error, RepositoryError::Unknown { .. }) {
                    work.forget();
                }
                return Err(error);
            }
            let was_kept = work.may_be_behind();
            if !attempts
                .again_after_conflict(&self.writer, ctx, commit_id, was_kept)
                .await
            {
                return Err(error);
            }
            work.is_behind();
            work.advance(self, ctx, &now).await?;
        }
    }

    fn decide(
        &self,
        work: &Work<A>,
        command: A::Command,
    ) -> Result<Vec<A::Event>, RepositoryError<A::Error>> {
        if self.recreation == Recreation::Refuse
            && let Some(tombstone) = work.tombstone()
        {
            return Err(tombstone.into());
        }
        let decided = match work.state() {
            Some(state) => state.handle(command),
            None => A::default().handle(command),
        };
        decided.map_err(RepositoryError::Rejected)
    }

    /// What came of a command whose events were stored. The aggregate is free for the next call.
    async fn executed(
        &self,
        ctx: &Context,
        work: Work<A>,
        append: &Append,
        events: Vec<A::Event>,
        appended: Appended,
        attempts: u32,
    ) -> Result<Executed<A>, RepositoryError<A::Error>> {
        let head = new_head(&appended, work.stream())?;
        let (version, skipped) = (head.version, work.skipped());
        let bytes = payload_bytes(append, work.stream());
        let (state, is_replayed) = work.into_state_after(version, append, &events);
        let stored = Stored {
            head,
            stored_at: appended.stored_at,
            bytes,
            // A state that misses events, or is not what a replay gives, is kept nowhere.
            state: (skipped == 0 && is_replayed).then_some(&state),
            create_snapshot: false,
        };
        self.after_append(ctx, stored).await;
        Ok(Executed {
            state,
            version,
            events,
            appended: Some(appended),
            attempts,
            skipped,
        })
    }
}
