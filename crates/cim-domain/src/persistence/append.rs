//! Appends, and finds out what became of an append whose answer was lost.

use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use cim_store::{
    Append, Appended, Clock, CommitId, ContentType, Context, EventLog, EventLogError,
    EventLogErrorKind, EventType, ExpectedVersion, Fault, IdGenerator, Metadata, NewEvent,
    SchemaVersion, StreamId, staging,
};

use super::error::EncodingFault;
use super::{RepositoryError, RetryPolicy};
use crate::DomainEvent;

/// What a repository writes with.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    pub(super) log: Arc<dyn EventLog>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: Arc<dyn IdGenerator>,
    pub(super) retry: RetryPolicy,
}

impl Writer {
    /// Prepares a commit of one stream. Its id and everything else about it is fixed here, so that
    /// appending it again repeats the very same events.
    pub(super) fn prepare<D: DomainEvent, E: std::error::Error + 'static>(
        &self,
        ctx: &Context,
        stream: &StreamId,
        expected: ExpectedVersion,
        events: &[D],
        metadata: &Metadata,
        commit_id: Option<CommitId>,
    ) -> Result<(Append, CommitId), RepositoryError<E>> {
        let events = events
            .iter()
            .map(|event| {
                encode(event, metadata)
                    .map_err(|fault| RepositoryError::encode(stream, event.event_type(), fault))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut append = Append::new().write(stream.clone(), expected, events);
        append.commit_id = commit_id;
        let commit_id = staging::complete(&mut append, ctx, &*self.clock, &*self.ids);
        Ok((append, commit_id))
    }

    /// Appends a prepared commit. Where the answer is lost, appends it again until there is one:
    /// until the deadline, or as often as the policy says where there is none or it has no pauses.
    pub(super) async fn append<E: std::error::Error + 'static>(
        &self,
        ctx: &Context,
        append: &Append,
        commit_id: CommitId,
    ) -> Result<Appended, RepositoryError<E>> {
        let mut may_be_stored = false;
        let mut rounds = 0;
        loop {
            let error = match self.log.append(ctx, append.clone()).await {
                Ok(appended) => return Ok(appended),
                Err(error) => error,
            };
            rounds += 1;
            let lost = error.unknown_commit().is_some();
            if !lost && (!may_be_stored || rules_out_every_try(&error)) {
                return Err(error.into());
            }
            may_be_stored = true;
            let temporary = lost || error.fault() == Some(Fault::Unavailable);
            if !temporary
                || !self.may_repeat(ctx, rounds)
                || !self.pause(ctx, rounds, commit_id).await
            {
                // Whatever was heard last, an earlier try may have been stored.
                return Err(RepositoryError::Unknown {
                    commit_id,
                    source: error,
                });
            }
        }
    }

    /// Whether the same commit may be appended once more.
    fn may_repeat(&self, ctx: &Context, rounds: u32) -> bool {
        let until_the_deadline = ctx.deadline().is_some() && self.retry.waits();
        until_the_deadline || self.retry.allows_another(rounds)
    }

    /// Waits before another attempt. Says no, at once, where the deadline comes first.
    pub(super) async fn pause(&self, ctx: &Context, attempts: u32, commit: CommitId) -> bool {
        let delay = self.retry.delay(attempts, commit);
        if ctx
            .remaining(&*self.clock)
            .is_some_and(|remaining| remaining <= delay)
        {
            return false;
        }
        if delay > Duration::ZERO {
            self.clock.sleep(delay).await;
        }
        true
    }
}

/// Whether no try of an append that got this answer can have been stored or ever will be: its
/// stream has gone past the only version at which it could be. (Had it been stored, appending its
/// id again would have told.)
fn rules_out_every_try(error: &EventLogError) -> bool {
    matches!(
        error.kind(),
        EventLogErrorKind::VersionConflict { expected: ExpectedVersion::Exact(expected), actual, .. }
            if actual > expected
    )
}

fn encode<D: DomainEvent>(event: &D, metadata: &Metadata) -> Result<NewEvent, EncodingFault> {
    let event_type = EventType::new(ByteString::from_static(event.event_type()))?;
    let schema_version =
        SchemaVersion::new(event.schema_version()).ok_or(EncodingFault::SchemaVersion)?;
    Ok(
        NewEvent::new(event_type, ContentType::JSON, event.encode()?)
            .with_schema_version(schema_version)
            .with_metadata(metadata.clone()),
    )
}
