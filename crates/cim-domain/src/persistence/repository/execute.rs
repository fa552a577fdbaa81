//! Commands: load, decide, append against the version that was decided upon, decide again.

use cim_store::{Appended, Context, ExpectedVersion, Metadata, Version};

use super::after_append::{Stored, payload_bytes};
use super::{Recreation, Repository};
use crate::Aggregate;
use crate::persistence::RepositoryError;
use crate::persistence::append::new_head;
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
    /// - All events of a command are stored, or none. They carry the context's correlation and
    ///   causation id, principal and trace.
    ///
    /// # Errors
    /// `Rejected` with the aggregate's own error; `VersionConflict` when the attempts are used up
    /// or the deadline has come; `Deleted`; `Unknown` with the commit's id; `InvalidId`, `Encode`,
    /// `Decode`, `Integrity`, `Store`.
    ///
    /// # Cancellation
    /// Dropping the future leaves the outcome unknown: the events are stored whole or not at all.
    pub async fn execute(
        &self,
        ctx: &Context,
        id: &A::Id,
        command: A::Command,
    ) -> Result<Executed<A>, RepositoryError<A::Error>> {
        let now = Until::default();
        let mut replay = self.replayed(ctx, Self::stream(id)?, &now, true).await?;
        let mut attempts = 0;
        loop {
            if attempts > 0 {
                replay.advance(self.log().as_ref(), ctx, &now).await?;
            }
            if self.recreation == Recreation::Refuse
                && let Some(deleted) = replay.deleted()
            {
                return Err(deleted);
            }
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
                    Ok(appended) => Some((appended, payload_bytes(&append, replay.stream()))),
                    Err(error) if error.is_conflict() && self.retry().allows_another(attempts) => {
                        if !self.writer.pause(ctx, attempts, commit_id).await {
                            return Err(error);
                        }
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            };
            let (stream, version) = (replay.stream().clone(), replay.version());
            let skipped = replay.skipped();
            let mut state = replay.state;
            events.iter().for_each(|event| state.apply(event));
            let Some((appended, bytes)) = appended else {
                return Ok(Executed {
                    state,
                    version,
                    events,
                    appended: None,
                    attempts,
                    skipped,
                });
            };
            let head = new_head(&appended, &stream)?;
            let stored = Stored {
                head,
                stored_at: appended.stored_at,
                bytes,
                // A state that misses events is kept nowhere.
                state: (skipped == 0).then_some(&state),
                create_snapshot: false,
            };
            self.after_append(ctx, stored).await;
            return Ok(Executed {
                state,
                version: head.version,
                events,
                appended: Some(appended),
                attempts,
                skipped,
            });
        }
    }
}
