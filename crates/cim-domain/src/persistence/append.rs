//! Appends, and finds out what became of an append whose answer was lost.

use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use cim_store::{
    Append, Appended, Clock, CommitId, ContentType, Context, EventLog, EventLogError,
    EventLogErrorKind, EventLogExt as _, EventType, ExpectedVersion, Fault, Head, IdGenerator,
    Metadata, NewEvent, SchemaVersion, StreamId, SystemClock, SystemIds, Version, staging,
};

use super::error::{EncodingFault, WriteFault};
use super::{RetryPolicy, TOMBSTONE};
use crate::{Codec as _, DomainEvent};

/// What events are written with.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    pub(super) log: Arc<dyn EventLog>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: Arc<dyn IdGenerator>,
    pub(super) retry: RetryPolicy,
}

impl Writer {
    /// With the machine's clock and ids and the default retry policy.
    pub(super) fn new(log: Arc<dyn EventLog>) -> Self {
        Self {
            log,
            clock: Arc::new(SystemClock),
            ids: Arc::new(SystemIds),
            retry: RetryPolicy::default(),
        }
    }

    /// Prepares a commit of one stream.
    pub(super) fn prepare<D: DomainEvent>(
        &self,
        ctx: &Context,
        stream: &StreamId,
        expected: ExpectedVersion,
        events: &[D],
        metadata: &Metadata,
        commit_id: Option<CommitId>,
    ) -> Result<(Append, CommitId), WriteFault> {
        let events = self.encode(stream, events, metadata)?;
        let append = Append::new().write(stream.clone(), expected, events);
        Ok(self.complete(ctx, append, commit_id))
    }

    /// Encodes the events for a stream.
    pub(super) fn encode<D: DomainEvent>(
        &self,
        stream: &StreamId,
        events: &[D],
        metadata: &Metadata,
    ) -> Result<Vec<NewEvent>, WriteFault> {
        let encoded = events.iter().map(|event| {
            encode(event, metadata).map_err(|source| WriteFault::Encode {
                stream: stream.clone(),
                event_type: event.event_type().to_owned(),
                source,
            })
        });
        encoded.collect()
    }

    /// Fixes a commit's id and everything else about it, so that appending it again repeats the
    /// very same events. Events that belong to no conversation begin one together, which has the
    /// commit's id, so that it is the same however often they are prepared.
    pub(super) fn complete(
        &self,
        ctx: &Context,
        mut append: Append,
        commit_id: Option<CommitId>,
    ) -> (Append, CommitId) {
        append.commit_id = commit_id;
        let commit_id = staging::complete(&mut append, ctx, &*self.clock, &*self.ids);
        for event in append.writes.iter_mut().flat_map(|write| &mut write.events) {
            event.correlation_id.get_or_insert_with(|| commit_id.into());
        }
        (append, commit_id)
    }

    /// Appends a prepared commit. Where the answer is lost, appends it again until there is one:
    /// until the deadline, or as often as the policy says where there is none or it has no pauses.
    pub(super) async fn append(
        &self,
        ctx: &Context,
        append: &Append,
        commit_id: CommitId,
    ) -> Result<Appended, WriteFault> {
        let mut may_be_stored = false;
        let mut rounds = 0;
        loop {
            let mut this_try = append.clone();
            // After the first one the log has to look for an earlier try.
            this_try.fresh &= !may_be_stored;
            let error = match self.log.append(ctx, this_try).await {
                Ok(appended) => return Ok(appended),
                Err(error) => error,
            };
            rounds += 1;
            let lost = error.unknown_commit().is_some();
            if !lost && (!may_be_stored || rules_out_every_try(&error)) {
                return Err(WriteFault::Log(error));
            }
            may_be_stored = true;
            let temporary = lost || error.fault() == Some(Fault::Unavailable);
            if !temporary
                || !self.may_repeat(ctx, rounds)
                || !self.pause(ctx, rounds, commit_id).await
            {
                // Whatever was heard last, an earlier try may have been stored.
                return Err(WriteFault::Unknown {
                    commit_id,
                    source: error,
                });
            }
        }
    }

    /// The version that a commit brought the stream to; where it had no events, the one that the
    /// stream is at.
    pub(super) async fn version_after(
        &self,
        ctx: &Context,
        append: &Append,
        appended: &Appended,
        stream: &StreamId,
    ) -> Result<Version, EventLogError> {
        let write = append.writes.iter().find(|write| write.stream == *stream);
        match write.map(|write| (write.events.is_empty(), write.expected)) {
            Some((false, _)) => new_version(appended, stream),
            Some((true, ExpectedVersion::Exact(version))) => Ok(version),
            _ => self.log.version(ctx, stream).await,
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

/// The head that a commit brought the stream to.
pub(super) fn new_head<'a>(
    appended: &'a Appended,
    stream: &StreamId,
) -> Result<&'a Head, EventLogError> {
    appended.head(stream).ok_or_else(|| {
        EventLogError::integrity("the log acknowledged a commit without the stream it wrote")
            .with("stream", stream)
            .with("commit", appended.commit_id)
    })
}

/// The version that a commit brought the stream to.
pub(super) fn new_version(
    appended: &Appended,
    stream: &StreamId,
) -> Result<Version, EventLogError> {
    new_head(appended, stream).map(|head| head.version)
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
    if event.event_type() == TOMBSTONE {
        return Err(EncodingFault::Reserved);
    }
    let event_type = EventType::new(ByteString::from_static(event.event_type()))?;
    let schema_version =
        SchemaVersion::new(event.schema_version()).ok_or(EncodingFault::SchemaVersion)?;
    let content_type = ContentType::new(ByteString::from_static(D::Codec::CONTENT_TYPE))?;
    Ok(NewEvent::new(event_type, content_type, event.encode()?)
        .with_schema_version(schema_version)
        .with_metadata(metadata.clone()))
}
