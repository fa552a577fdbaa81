//! A log that holds what somebody with access to its storage made of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cim_domain::store::memory::MemoryStore;
use cim_domain::store::ordered::one_by_one;
use cim_domain::store::{
    Append, Appended, AppendedInOrder, CommitId, Context, EventCid, EventFilter, EventLog,
    EventLogError, EventStream, Examination, Examined, ExaminedEvent, ExpectedVersion, Head,
    HeadStream, LogCapabilities, LogQuery, LogStats, NewEvent, OrderedAppend, Position,
    RecordedEvent, Resolution, Store, StreamId, StreamPattern, StreamRange, Truncation,
};
use cim_ipld::EventBlock;
use futures_util::{StreamExt, TryStreamExt, stream};

/// What is stored, as somebody with access to the store may change it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stored {
    pub(crate) found: Vec<Examined>,
    pub(crate) heads: BTreeMap<StreamId, Head>,
}

/// A log that holds what somebody made of it.
pub(crate) struct Meddled {
    inner: Arc<dyn EventLog>,
    stored: Stored,
    /// After which positions it was examined.
    pub(crate) examined: Mutex<Vec<Position>>,
    /// The stream that can't be read.
    pub(crate) refuses: Option<StreamId>,
}

impl fmt::Debug for Meddled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meddled").finish_non_exhaustive()
    }
}

#[async_trait]
impl EventLog for Meddled {
    async fn append(&self, ctx: &Context, append: Append) -> Result<Appended, EventLogError> {
        self.inner.append(ctx, append).await
    }

    async fn append_in_order(&self, ctx: &Context, commits: Vec<OrderedAppend>) -> AppendedInOrder {
        one_by_one(self, ctx, commits).await
    }

    async fn read_at(
        &self,
        ctx: &Context,
        positions: &[Position],
    ) -> Result<Vec<RecordedEvent>, EventLogError> {
        self.inner.read_at(ctx, positions).await
    }

    async fn examine(&self, _: &Context, after: Position) -> Result<Examination, EventLogError> {
        self.examined.lock().unwrap().push(after);
        let is_after = |found: &Examined| match found {
            Examined::Event(event) => event.position > after,
            Examined::Damage(damage) => damage.position.is_none_or(|at| at > after),
        };
        let found: Vec<_> = self
            .stored
            .found
            .iter()
            .filter(|found| is_after(found))
            .cloned()
            .collect();
        Ok(stream::iter(found).map(Ok).boxed())
    }

    async fn read_stream(
        &self,
        ctx: &Context,
        stream: &StreamId,
        range: StreamRange,
    ) -> Result<EventStream, EventLogError> {
        if self.refuses.as_ref() == Some(stream) {
            return Err(EventLogError::integrity(
                "a record does not match its checksum",
            ));
        }
        self.inner.read_stream(ctx, stream, range).await
    }

    async fn read_log(&self, ctx: &Context, query: LogQuery) -> Result<EventStream, EventLogError> {
        self.inner.read_log(ctx, query).await
    }

    async fn subscribe(
        &self,
        ctx: &Context,
        filter: EventFilter,
        after: Position,
    ) -> Result<EventStream, EventLogError> {
        self.inner.subscribe(ctx, filter, after).await
    }

    async fn head(&self, _: &Context, stream: &StreamId) -> Result<Option<Head>, EventLogError> {
        Ok(self.stored.heads.get(stream).cloned())
    }

    async fn streams(
        &self,
        _: &Context,
        pattern: &StreamPattern,
    ) -> Result<HeadStream, EventLogError> {
        let heads = self
            .stored
            .heads
            .values()
            .filter(|head| pattern.matches(&head.stream));
        let heads: Vec<Head> = heads.cloned().collect();
        Ok(stream::iter(heads).map(Ok).boxed())
    }

    async fn resolve(&self, ctx: &Context, commit: CommitId) -> Result<Resolution, EventLogError> {
        self.inner.resolve(ctx, commit).await
    }

    async fn stats(&self, ctx: &Context) -> Result<LogStats, EventLogError> {
        self.inner.stats(ctx).await
    }

    async fn truncate(&self, ctx: &Context, truncation: Truncation) -> Result<(), EventLogError> {
        self.inner.truncate(ctx, truncation).await
    }

    fn capabilities(&self) -> LogCapabilities {
        self.inner.capabilities()
    }
}

pub(crate) fn id(name: &str) -> StreamId {
    StreamId::new("sales", "order", name).unwrap()
}

pub(crate) fn event(number: u64) -> NewEvent {
    NewEvent::json("counted", &number).unwrap()
}

/// Appends one event to each of these streams in turn, a commit each.
pub(crate) async fn append(log: &dyn EventLog, streams: &str) {
    for (number, name) in streams.chars().enumerate() {
        let append = Append::new().write(
            id(&name.to_string()),
            ExpectedVersion::Any,
            vec![event(number as u64)],
        );
        log.append(&Context::new(), append).await.unwrap();
    }
}

/// A log with one event in each of these streams in turn, and what is stored of it.
pub(crate) async fn history(streams: &str) -> (Arc<dyn EventLog>, Stored) {
    let log = MemoryStore::new().log();
    append(&*log, streams).await;
    let stored = stored(&*log).await;
    (log, stored)
}

pub(crate) async fn stored(log: &dyn EventLog) -> Stored {
    let ctx = Context::new();
    let examined = log.examine(&ctx, Position::NONE).await.unwrap();
    let heads = log.streams(&ctx, &StreamPattern::all()).await.unwrap();
    let heads: Vec<Head> = heads.try_collect().await.unwrap();
    Stored {
        found: examined.try_collect().await.unwrap(),
        heads: heads
            .into_iter()
            .map(|head| (head.stream.clone(), head))
            .collect(),
    }
}

pub(crate) fn meddled(inner: &Arc<dyn EventLog>, stored: Stored) -> Arc<Meddled> {
    Arc::new(Meddled {
        inner: inner.clone(),
        stored,
        examined: Mutex::default(),
        refuses: None,
    })
}

pub(crate) fn at(stored: &mut Stored, index: usize) -> &mut ExaminedEvent {
    match &mut stored.found[index] {
        Examined::Event(event) => event,
        Examined::Damage(_) => panic!("not an event"),
    }
}

/// The place of the event of this stream and version.
pub(crate) fn place(stored: &Stored, stream: &str, version: u64) -> usize {
    let is_it = |found: &Examined| match found {
        Examined::Event(event) => event.stream == id(stream) && event.version.get() == version,
        Examined::Damage(_) => false,
    };
    stored.found.iter().position(is_it).unwrap()
}

/// Changes an event's payload and makes its CID right again.
pub(crate) fn forge(event: &mut ExaminedEvent, payload: &[u8], previous: Option<EventCid>) {
    let mut forged = Vec::new();
    let block = EventBlock::decode(&event.block).unwrap();
    let previous = previous.or(block.previous);
    EventBlock {
        data: payload,
        previous,
        ..block
    }
    .encode_into(&mut forged);
    event.cid = EventCid::of(&forged);
    event.block = forged.into();
}

/// Numbers all events by their places.
pub(crate) fn renumber(stored: &mut Stored) {
    let first = at(stored, 0).stored_at;
    for (index, found) in stored.found.iter_mut().enumerate() {
        if let Examined::Event(event) = found {
            event.position = Position::new(index as u64 + 1);
            event.stored_at = first;
        }
    }
}
