//! The index over the log: what it answers is what a look at every event would answer.

mod asking;
mod counting;
mod damage;
mod following;
mod histories;
mod large_events;
mod reads;
mod refused_writes;
mod restored;
mod truncated;

use std::sync::Arc;

use cim_domain::persistence::Tags;
use cim_domain::persistence::event_index::{EventIndex, IndexQuery, IndexSettings};
use cim_domain::store::{
    Append, Bucket, BucketName, BucketSettings, Context, CorrelationId, EventLog, ExpectedVersion,
    LogQuery, ManualClock, Metadata, NewEvent, Position, RecordedEvent, Store, StreamId, TimeBasis,
    TimeRange, Timestamp,
};
use futures_util::TryStreamExt as _;
use uuid::Uuid;

pub(crate) fn ctx() -> Context {
    Context::new()
}

/// An index that is written often, in small blocks, so that few events are many runs.
pub(crate) fn small() -> IndexSettings {
    IndexSettings::default()
        .with_newest_entries(16)
        .with_block_bytes(512)
        .with_page_events(3)
}

pub(crate) async fn open(store: &Arc<dyn Store>) -> EventIndex {
    EventIndex::open(&**store, small()).await.unwrap()
}

pub(crate) async fn in_memory() -> (Arc<dyn Store>, ManualClock) {
    crate::stores::open_at_noon("memory:").await
}

/// The bucket that the index is kept in.
pub(crate) async fn bucket(store: &Arc<dyn Store>) -> Arc<dyn Bucket> {
    let name = BucketName::new("cim-index").unwrap();
    let ctx = ctx();
    let bucket = store.bucket(&ctx, &name, BucketSettings::default()).await;
    bucket.unwrap()
}

pub(crate) fn conversation(number: u128) -> CorrelationId {
    CorrelationId::from_uuid(Uuid::from_u128(number))
}

/// What an event of a test is.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) stream: u8,
    pub(crate) conversation: Option<u8>,
    pub(crate) tags: Vec<u8>,
    pub(crate) minute: i64,
}

pub(crate) fn tag(number: u8) -> String {
    format!("tag {number}")
}

/// Appends one commit.
pub(crate) async fn append(log: &Arc<dyn EventLog>, commit: &[Event]) {
    let mut append = Append::new();
    for stream in 0..=u8::MAX {
        let own = commit.iter().filter(|event| event.stream == stream);
        let own: Vec<NewEvent> = own.map(new_event).collect();
        if !own.is_empty() {
            let stream = StreamId::new("shop", "order", &stream.to_string()).unwrap();
            append = append.write(stream, ExpectedVersion::Any, own);
        }
    }
    log.append(&ctx(), append).await.unwrap();
}

fn new_event(event: &Event) -> NewEvent {
    let tags = Tags::new(event.tags.iter().map(|number| tag(*number))).unwrap();
    let mut new = NewEvent::json("it_happened", &event.minute)
        .unwrap()
        .with_time(Timestamp::from_seconds(60 * event.minute))
        .with_metadata(tags.add_to(&Metadata::EMPTY).unwrap());
    if let Some(number) = event.conversation {
        new = new.with_correlation_id(conversation(number.into()));
    }
    new
}

/// An event of a conversation, with a tag and a time.
pub(crate) fn event(stream: u8, conversation: u8) -> Event {
    Event {
        stream,
        conversation: Some(conversation),
        tags: vec![conversation],
        minute: i64::from(conversation),
    }
}

pub(crate) async fn all(log: &Arc<dyn EventLog>) -> Vec<RecordedEvent> {
    let truncated = match log.capabilities().truncate {
        true => log.stats(&ctx()).await.unwrap().truncated_through,
        false => Position::NONE,
    };
    let query = LogQuery::all().after(truncated);
    let events = log.read_log(&ctx(), query).await.unwrap();
    events.try_collect().await.unwrap()
}

pub(crate) fn minutes(from: Option<i64>, to: Option<i64>) -> TimeRange {
    TimeRange {
        basis: TimeBasis::Time,
        from: from.map(|minute| Timestamp::from_seconds(60 * minute)),
        to: to.map(|minute| Timestamp::from_seconds(60 * minute)),
    }
}

/// Compares events, and shows positions alone where these differ.
pub(crate) fn same(found: &[RecordedEvent], expected: &[RecordedEvent]) {
    let positions = |events: &[RecordedEvent]| -> Vec<u64> {
        events.iter().map(|event| event.position.get()).collect()
    };
    assert_eq!(positions(found), positions(expected));
    assert_eq!(found, expected);
}

/// Asks the index everything that can be asked about these conversations, tags and minutes, and
/// compares each answer with a look at every event.
pub(crate) async fn check_everything(index: &EventIndex, log: &Arc<dyn EventLog>) {
    let all = all(log).await;
    let those = |is_meant: &dyn Fn(&RecordedEvent) -> bool| -> Vec<RecordedEvent> {
        all.iter()
            .filter(|event| is_meant(event))
            .cloned()
            .collect()
    };
    for number in 0..5 {
        let id = conversation(number.into());
        let found = index.read_by_correlation(&ctx(), id).await.unwrap();
        same(&found, &those(&|event| event.correlation_id == Some(id)));
        let tag = tag(number);
        let found = index.read_by_tag(&ctx(), &tag).await.unwrap();
        same(&found, &those(&|event| Tags::of(event).contains(&tag)));
    }
    for (from, to) in [
        (None, None),
        (Some(-3), Some(2)),
        (Some(1), None),
        (None, Some(0)),
        (Some(2), Some(2)),
    ] {
        let range = minutes(from, to);
        let found = index.read_by_time_range(&ctx(), range).await.unwrap();
        let found: Vec<_> = found.try_collect().await.unwrap();
        same(&found, &those(&|event| range.contains(event.time)));
    }
    // Pages of one event each.
    let mut query = IndexQuery::tag(&tag(1)).unwrap().limit(1);
    let mut pages = Vec::new();
    while let [event] = &index.read_all(&ctx(), query.clone()).await.unwrap()[..] {
        query = query.after(event.position);
        pages.push(event.clone());
    }
    same(&pages, &those(&|event| Tags::of(event).contains(&tag(1))));
}
