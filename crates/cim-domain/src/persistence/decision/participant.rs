//! One aggregate that takes part in a decision: where it is, and its draft.

use std::fmt;
use std::mem::take;
use std::sync::Arc;

use async_trait::async_trait;
use cim_store::stream_id::StreamIdError;
use cim_store::{
    Append, Appended, Context, EventLog, Metadata, NewEvent, StreamId, Timestamp, Version,
};

use super::Draft;
use crate::Aggregate;
use crate::persistence::error::{ReplayFault, WriteFault};
use crate::persistence::replay::{Replay, Until};
use crate::persistence::repository::after_append::{Stored, payload_bytes};
use crate::persistence::{Recreation, Repository};

/// An aggregate that takes part in a decision over several: made by
/// [`Repository::participant`].
pub struct Participant<A: Aggregate> {
    repository: Repository<A>,
    /// The text of its id, and the stream that it is the name of.
    id: String,
    stream: Result<StreamId, StreamIdError>,
    replay: Option<Replay<A>>,
    draft: Option<Draft<A>>,
}

impl<A: Aggregate> Participant<A> {
    pub(in crate::persistence) fn new(repository: Repository<A>, id: &A::Id) -> Self {
        Self {
            repository,
            id: id.to_string(),
            stream: A::stream(id),
            replay: None,
            draft: None,
        }
    }

    /// The draft that the decision works on.
    pub(super) fn draft(&mut self) -> &mut Draft<A> {
        let replay = &mut self.replay;
        self.draft.get_or_insert_with(|| {
            let replay = replay.as_mut();
            Draft {
                version: replay.as_ref().map_or(Version::NONE, |it| it.version()),
                state: replay.map(|it| take(&mut it.state)).unwrap_or_default(),
                events: Vec::new(),
            }
        })
    }
}

/// When a participant that was deleted went.
pub(super) struct Deleted {
    pub(super) stream: StreamId,
    pub(super) version: Version,
    pub(super) at: Timestamp,
}

/// What a decision needs of a participant, whatever its type.
#[async_trait]
pub(super) trait AnyParticipant: Send {
    fn stream(&self) -> Result<&StreamId, (&str, &StreamIdError)>;
    fn log(&self) -> &Arc<dyn EventLog>;
    /// Takes in what is new; from the beginning where a decision has changed the state.
    async fn refresh(&mut self, ctx: &Context) -> Result<(), ReplayFault>;
    /// The tombstone that forbids it to take part.
    fn tombstone(&self) -> Option<Deleted>;
    /// The version that the decision stands on.
    fn version(&self) -> Version;
    fn encode(&self, stream: &StreamId) -> Result<Vec<NewEvent>, WriteFault>;
    /// Sees to what follows from its events, now that they are stored.
    async fn stored(&self, ctx: &Context, append: &Append, appended: &Appended);
}

#[async_trait]
impl<A: Aggregate> AnyParticipant for Participant<A> {
    fn stream(&self) -> Result<&StreamId, (&str, &StreamIdError)> {
        self.stream.as_ref().map_err(|error| (&*self.id, error))
    }

    fn log(&self) -> &Arc<dyn EventLog> {
        self.repository.log()
    }

    async fn refresh(&mut self, ctx: &Context) -> Result<(), ReplayFault> {
        match (self.draft.take(), &mut self.replay) {
            (Some(draft), Some(replay)) if draft.events.is_empty() => replay.state = draft.state,
            (Some(_), _) => self.replay = None,
            (None, _) => {}
        }
        let Ok(stream) = &self.stream else {
            return Ok(()); // refused before
        };
        let (repository, now) = (&self.repository, Until::default());
        match &mut self.replay {
            Some(replay) => replay.advance(repository.log().as_ref(), ctx, &now).await,
            none => {
                let replay = repository.replayed(ctx, stream.clone(), &now, true).await?;
                *none = Some(replay);
                Ok(())
            }
        }
    }

    async fn stored(&self, ctx: &Context, append: &Append, appended: &Appended) {
        let (Ok(stream), Some(draft)) = (&self.stream, &self.draft) else {
            return;
        };
        let Some(head) = appended.head(stream) else {
            return;
        };
        let misses_none = self.replay.as_ref().is_none_or(|it| it.skipped() == 0);
        let stored = Stored {
            head,
            stored_at: appended.stored_at,
            bytes: payload_bytes(append, stream),
            state: misses_none.then_some(&draft.state),
            create_snapshot: false,
        };
        self.repository.after_append(ctx, stored).await;
    }

    fn tombstone(&self) -> Option<Deleted> {
        let refused = self.repository.recreation() == Recreation::Refuse;
        let replay = self.replay.as_ref().filter(|_| refused)?;
        let (version, at) = replay.tombstone()?;
        Some(Deleted {
            stream: replay.stream().clone(),
            version,
            at,
        })
    }

    fn version(&self) -> Version {
        self.replay
            .as_ref()
            .map_or(Version::NONE, |replay| replay.version())
    }

    fn encode(&self, stream: &StreamId) -> Result<Vec<NewEvent>, WriteFault> {
        let events = self.draft.as_ref().map_or(&[][..], |draft| &draft.events);
        self.repository
            .writer
            .encode(stream, events, &Metadata::EMPTY)
    }
}

impl<A: Aggregate> fmt::Debug for Participant<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Participant")
            .field("type", &A::TYPE)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
