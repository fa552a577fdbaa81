//! One aggregate that takes part in a decision: where it is, and its draft.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use cim_store::stream_id::StreamIdError;
use cim_store::{
    Append, Appended, Context, EventLog, EventLogError, Metadata, NewEvent, StreamId, Version,
};

use super::Draft;
use crate::Aggregate;
use crate::persistence::error::{ReplayFault, WriteFault};
use crate::persistence::replay::Until;
use crate::persistence::repository::Work;
use crate::persistence::repository::after_append::{Stored, payload_bytes};
use crate::persistence::tombstone::Tombstone;
use crate::persistence::{Recreation, Repository};

/// An aggregate that takes part in a decision over several: made by
/// [`Repository::participant`].
pub struct Participant<A: Aggregate> {
    repository: Repository<A>,
    /// The text of its id, and the stream that it is the name of.
    id: String,
    stream: Result<StreamId, StreamIdError>,
    work: Option<Work<A>>,
    draft: Option<Draft<A>>,
}

impl<A: Aggregate> Participant<A> {
    pub(in crate::persistence) fn new(repository: Repository<A>, id: &A::Id) -> Self {
        Self {
            repository,
            id: id.to_string(),
            stream: A::stream(id),
            work: None,
            draft: None,
        }
    }

    /// The draft that the decision works on.
    pub(super) fn draft(&mut self) -> &mut Draft<A> {
        let work = &mut self.work;
        self.draft.get_or_insert_with(|| {
            let work = work.as_mut();
            Draft {
                version: work.as_ref().map_or(Version::NONE, |it| it.version()),
                state: work.map(Work::lend).unwrap_or_default(),
                events: Vec::new(),
            }
        })
    }
}

/// What a decision needs of a participant, whatever its type.
#[async_trait]
pub(super) trait AnyParticipant: Send {
    fn stream(&self) -> Result<&StreamId, (&str, &StreamIdError)>;
    fn log(&self) -> &Arc<dyn EventLog>;
    /// Waits for its turn, where its repository has a cache.
    async fn begin(&mut self, ctx: &Context) -> Result<(), EventLogError>;
    /// Takes in what is new; from the beginning where a decision has changed the state.
    async fn refresh(&mut self, ctx: &Context) -> Result<(), ReplayFault>;
    /// Takes in what is new, unless a decision can begin with what is kept.
    async fn prepare(&mut self, ctx: &Context) -> Result<(), ReplayFault>;
    /// Whether it is as an earlier call kept it, and the log may have something newer.
    fn may_be_behind(&self) -> bool;
    /// To be called before a commit is sent; what became of it follows, unless nothing was stored.
    fn appends(&mut self);
    /// It is not known whether the commit was stored.
    fn forget(&mut self);
    /// The tombstone that forbids it to take part.
    fn tombstone(&self) -> Option<Tombstone>;
    /// The version that the decision stands on.
    fn version(&self) -> Version;
    fn encode(&self, stream: &StreamId, metadata: &Metadata) -> Result<Vec<NewEvent>, WriteFault>;
    /// Sees to what follows from its events, now that they are stored.
    async fn stored(&mut self, ctx: &Context, append: &Append, appended: &Appended);
}

#[async_trait]
impl<A: Aggregate> AnyParticipant for Participant<A> {
    fn stream(&self) -> Result<&StreamId, (&str, &StreamIdError)> {
        self.stream.as_ref().map_err(|error| (&*self.id, error))
    }

    fn log(&self) -> &Arc<dyn EventLog> {
        self.repository.log()
    }

    async fn begin(&mut self, ctx: &Context) -> Result<(), EventLogError> {
        if let Ok(stream) = &self.stream {
            self.work = Some(self.repository.begin(ctx, stream.clone()).await?);
        }
        Ok(())
    }

    async fn refresh(&mut self, ctx: &Context) -> Result<(), ReplayFault> {
        let Some(work) = &mut self.work else {
            return Ok(()); // refused before
        };
        if let Some(draft) = self.draft.take() {
            match draft.events.is_empty() {
                true => work.take_back(draft.state),
                false => work.start_over(),
            }
        }
        let now = Until::default();
        work.advance(&self.repository, ctx, &now).await.map(drop)
    }

    async fn prepare(&mut self, ctx: &Context) -> Result<(), ReplayFault> {
        let can_begin = |work: &Work<A>| work.is_kept() && work.tombstone().is_none();
        match self.work.as_ref().is_some_and(can_begin) {
            true => Ok(()),
            false => self.refresh(ctx).await,
        }
    }

    fn may_be_behind(&self) -> bool {
        self.work.as_ref().is_some_and(Work::may_be_behind)
    }

    fn appends(&mut self) {
        if let Some(work) = &mut self.work {
            work.appends();
        }
    }

    async fn stored(&mut self, ctx: &Context, append: &Append, appended: &Appended) {
        let Ok(stream) = &self.stream else {
            return;
        };
        // The aggregate is free for the next call from here on.
        let Some(mut work) = self.work.take() else {
            return;
        };
        work.stored(append, appended, false);
        let Some(head) = appended.head(stream) else {
            return;
        };
        // The draft took in the events as the decision meant them. What is written down is what a
        // replay gives, so without a cache it is loaded.
        let is_written_down =
            self.repository.snapshots().is_some() || self.repository.state_copies().is_some();
        let state = match is_written_down && work.skipped() == 0 {
            true => work.copy_at(head.version),
            false => None,
        };
        drop(work);
        let stored = Stored {
            head,
            stored_at: appended.stored_at,
            bytes: payload_bytes(append, stream),
            state: state.as_ref(),
            create_snapshot: false,
        };
        self.repository.after_append(ctx, stored).await;
    }

    fn forget(&mut self) {
        if let Some(work) = &mut self.work {
            work.forget();
        }
    }

    fn tombstone(&self) -> Option<Tombstone> {
        let refused = self.repository.recreation() == Recreation::Refuse;
        self.work.as_ref().filter(|_| refused)?.tombstone()
    }

    fn version(&self) -> Version {
        self.work
            .as_ref()
            .map_or(Version::NONE, |work| work.version())
    }

    fn encode(&self, stream: &StreamId, metadata: &Metadata) -> Result<Vec<NewEvent>, WriteFault> {
        let events = self.draft.as_ref().map_or(&[][..], |draft| &draft.events);
        self.repository.writer.encode(stream, events, metadata)
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
