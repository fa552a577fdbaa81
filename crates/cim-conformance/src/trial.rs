//! A store under test, as a case sees it, and what cases build and expect.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cim_store::{
    Bucket, BucketName, BucketSettings, Context, Entry, EntryStream, EventLog, EventLogError,
    EventStream, EventType, ExpectedVersion, Fault, Key, LimitName, LogQuery, NewEvent, PortError,
    PortErrorKind, RecordedEvent, SequentialIds, Store, StreamId, StreamRange, Timestamp, Version,
};
use futures_util::{StreamExt, TryStreamExt};

use crate::suite::CaseFailure;
use crate::{Harness, Setup, TestClock};

/// Where every case's time begins: 2026-01-01T00:00:00Z.
pub(crate) const START: Timestamp = Timestamp::from_seconds(1_767_225_600);

/// An open store, empty at first, with the clock it goes by.
#[derive(Debug)]
pub struct Trial {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) ctx: Context,
    pub(crate) clock: TestClock,
    setup: Setup,
    seat: Box<dyn Seat>,
}

/// A harness with one of its places, whatever their types.
#[async_trait]
trait Seat: Send + Sync + Debug {
    async fn open(&self, setup: Setup) -> Result<Arc<dyn Store>, CaseFailure>;
    fn persistent(&self) -> bool;
    async fn let_time_pass(&self, clock: &TestClock, duration: Duration);
    /// The same harness with a fresh place.
    async fn another(&self) -> Result<Box<dyn Seat>, CaseFailure>;
}

struct Taken<H: Harness> {
    harness: Arc<H>,
    place: H::Place,
}

impl<H: Harness> Debug for Taken<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(std::any::type_name::<H>())
    }
}

#[async_trait]
impl<H: Harness> Seat for Taken<H> {
    async fn open(&self, setup: Setup) -> Result<Arc<dyn Store>, CaseFailure> {
        Ok(self.harness.open(&self.place, setup).await?)
    }

    fn persistent(&self) -> bool {
        self.harness.persistent()
    }

    async fn let_time_pass(&self, clock: &TestClock, duration: Duration) {
        self.harness.let_time_pass(clock, duration).await;
    }

    async fn another(&self) -> Result<Box<dyn Seat>, CaseFailure> {
        Ok(Box::new(Self {
            harness: self.harness.clone(),
            place: self.harness.place().await?,
        }))
    }
}

impl Trial {
    pub(crate) async fn open(harness: impl Harness) -> Result<Self, CaseFailure> {
        let place = harness.place().await?;
        let harness = Arc::new(harness);
        Self::at(Box::new(Taken { harness, place })).await
    }

    /// Another store, of the same harness, that is empty.
    pub(crate) async fn another(&self) -> Result<Self, CaseFailure> {
        Self::at(self.seat.another().await?).await
    }

    async fn at(seat: Box<dyn Seat>) -> Result<Self, CaseFailure> {
        let clock = TestClock::at(START);
        let setup = Setup {
            clock: Arc::new(clock.clone()),
            ids: Arc::new(SequentialIds::new(0x00C1_1A11)),
        };
        let store = seat.open(setup.clone()).await?;
        Ok(Self {
            log: store.log(),
            store,
            ctx: Context::new(),
            clock,
            setup,
            seat,
        })
    }

    /// Closes the store and opens it again; `None` where the adapter keeps nothing.
    pub(crate) async fn reopen(self) -> Result<Option<Self>, CaseFailure> {
        self.store.close().await?;
        if !self.seat.persistent() {
            return Ok(None);
        }
        let Self {
            store,
            log,
            ctx,
            clock,
            setup,
            seat,
        } = self;
        drop((store, log));
        let store = seat.open(setup.clone()).await?;
        Ok(Some(Self {
            log: store.log(),
            store,
            ctx,
            clock,
            setup,
            seat,
        }))
    }

    /// Whether what was stored is there after reopening.
    pub(crate) fn persistent(&self) -> bool {
        self.seat.persistent()
    }

    /// Lets time pass for the store.
    pub(crate) async fn pass(&self, duration: Duration) {
        self.seat.let_time_pass(&self.clock, duration).await;
    }

    /// Opens a bucket.
    pub(crate) async fn bucket(
        &self,
        name: &str,
        settings: BucketSettings,
    ) -> Result<Arc<dyn Bucket>, CaseFailure> {
        let name = BucketName::new(name.to_owned())?;
        Ok(self.store.bucket(&self.ctx, &name, settings).await?)
    }

    /// All events of a stream.
    pub(crate) async fn events(
        &self,
        stream: &StreamId,
    ) -> Result<Vec<RecordedEvent>, CaseFailure> {
        let read = self.log.read_stream(&self.ctx, stream, StreamRange::all());
        Ok(collect(read.await).await?)
    }

    /// All events of the log.
    pub(crate) async fn all_events(&self) -> Result<Vec<RecordedEvent>, CaseFailure> {
        Ok(collect(self.log.read_log(&self.ctx, LogQuery::all()).await).await?)
    }

    /// The version a stream is at.
    pub(crate) async fn version(&self, stream: &StreamId) -> Result<u64, CaseFailure> {
        let head = self.log.head(&self.ctx, stream).await?;
        Ok(head.map_or(0, |head| head.version.get()))
    }

    /// Appends to one stream.
    pub(crate) async fn append(
        &self,
        stream: &StreamId,
        expected: impl Into<ExpectedVersion>,
        events: Vec<NewEvent>,
    ) -> Result<cim_store::Appended, EventLogError> {
        let append = cim_store::Append::new().write(stream.clone(), expected, events);
        self.log.append(&self.ctx, append).await
    }
}

/// The stream `test.thing.{id}`.
#[track_caller]
pub(crate) fn stream(id: &str) -> StreamId {
    match StreamId::new("test", "thing", id) {
        Ok(stream) => stream,
        Err(error) => panic!("the case's own stream: {error}"),
    }
}

/// An event of this type whose payload is `{"n":n}`.
#[track_caller]
pub(crate) fn typed(event_type: &str, n: u64) -> NewEvent {
    match EventType::new(event_type.to_owned()) {
        Ok(event_type) => NewEvent::new(
            event_type,
            cim_store::ContentType::JSON,
            format!("{{\"n\":{n}}}"),
        ),
        Err(error) => panic!("the case's own event type: {error}"),
    }
}

/// One event.
pub(crate) fn event(n: u64) -> NewEvent {
    typed("happened", n)
}

/// So many events, numbered from 1.
pub(crate) fn events(count: u64) -> Vec<NewEvent> {
    (1..=count).map(event).collect()
}

/// The number that [`event`] put into the payload.
pub(crate) fn number(event: &RecordedEvent) -> Result<u64, CaseFailure> {
    let payload: serde_json::Value = event.json()?;
    payload["n"]
        .as_u64()
        .ok_or_else(|| format!("the payload came back as {payload}").into())
}

/// The numbers of many events.
pub(crate) fn numbers(events: &[RecordedEvent]) -> Result<Vec<u64>, CaseFailure> {
    events.iter().map(number).collect()
}

pub(crate) fn v(version: u64) -> Version {
    Version::new(version)
}

/// A key.
#[track_caller]
pub(crate) fn key(text: &str) -> Key {
    match Key::new(text.to_owned()) {
        Ok(key) => key,
        Err(error) => panic!("the case's own key: {error}"),
    }
}

/// A value.
pub(crate) fn value(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// Everything that a read delivers; an error may come at its begin or later.
pub(crate) async fn collect(
    read: Result<EventStream, EventLogError>,
) -> Result<Vec<RecordedEvent>, EventLogError> {
    read?.try_collect().await
}

/// The next so many events of a subscription.
pub(crate) async fn take(
    subscription: &mut EventStream,
    count: usize,
) -> Result<Vec<RecordedEvent>, CaseFailure> {
    let mut taken = Vec::with_capacity(count);
    while taken.len() < count {
        let next = subscription.next().await;
        taken.push(next.ok_or("the subscription ended without an error")??);
    }
    Ok(taken)
}

/// The next so many changes of a watch.
pub(crate) async fn take_changes(
    watch: &mut EntryStream,
    count: usize,
) -> Result<Vec<Entry>, CaseFailure> {
    let mut taken = Vec::with_capacity(count);
    while taken.len() < count {
        let next = watch.next().await;
        taken.push(next.ok_or("the watch ended without an error")??);
    }
    Ok(taken)
}

/// Fails unless the result is this fault.
#[track_caller]
pub(crate) fn refused<T: Debug, K: PortErrorKind>(result: Result<T, PortError<K>>, fault: Fault) {
    match result {
        Err(error) if error.fault() == Some(fault) => {}
        other => panic!("should be refused with {fault:?}, but was: {other:?}"),
    }
}

/// Fails unless the result is that this limit was exceeded.
#[track_caller]
pub(crate) fn too_large<T: Debug, K: PortErrorKind>(
    result: Result<T, PortError<K>>,
    name: LimitName,
) {
    match &result {
        Err(error) => match error.fault() {
            Some(Fault::TooLarge { limit, size, max }) if limit == name => {
                assert!(size > max, "{size} is not more than {max}");
            }
            _ => panic!("should be too large ({name}), but was: {error:?}"),
        },
        Ok(_) => panic!("should be too large ({name}), but was: {result:?}"),
    }
}

/// Fails unless the result is a conflict with this stream at this version.
#[track_caller]
pub(crate) fn conflicts<T: Debug>(
    result: Result<T, EventLogError>,
    stream: &StreamId,
    expected: impl Into<ExpectedVersion>,
    actual: u64,
) {
    let kind = cim_store::EventLogErrorKind::VersionConflict {
        stream: stream.clone(),
        expected: expected.into(),
        actual: Version::new(actual),
    };
    match result {
        Err(error) if *error.kind() == kind => {}
        other => panic!("should be {kind:?}, but was: {other:?}"),
    }
}

/// Fails unless the result is a conflict with this key at this revision.
#[track_caller]
pub(crate) fn revision_conflicts<T: Debug>(
    result: Result<T, cim_store::BucketError>,
    key: &Key,
    expected: cim_store::Revision,
    actual: cim_store::Revision,
) {
    let kind = cim_store::BucketErrorKind::RevisionConflict {
        key: key.clone(),
        expected,
        actual,
    };
    match result {
        Err(error) if *error.kind() == kind => {}
        other => panic!("should be {kind:?}, but was: {other:?}"),
    }
}
