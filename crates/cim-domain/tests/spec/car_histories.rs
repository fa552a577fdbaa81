//! Histories to export, and short ways to export and import them.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::sync::Arc;

use cim_domain::persistence::car::{
    ExportError, HistoryFile, ImportError, ImportOptions, Imported, export, import,
};
use cim_domain::store::memory::MemoryStore;
use cim_domain::store::{
    Append, CausationId, CommitId, ContentType, Context, CorrelationId, EventCid, EventId,
    EventLog, EventType, ExpectedVersion, LogQuery, Metadata, NewEvent, Principal, RecordedEvent,
    SchemaVersion, Store, StreamId, StreamPattern, Timestamp, TraceParent, Version,
};
use futures_util::TryStreamExt;
use proptest::prelude::*;

/// An empty log in memory.
pub(crate) fn empty() -> Arc<dyn EventLog> {
    MemoryStore::new().log()
}

pub(crate) fn stream(number: usize) -> StreamId {
    StreamId::new("shop", "order", &number.to_string()).unwrap()
}

/// What one commit writes: streams by number, and for each how many events.
pub(crate) type Commit = Vec<(usize, usize)>;

/// A log with these commits. Every other event has every field that an event can have.
pub(crate) async fn log_with(commits: &[Commit]) -> Arc<dyn EventLog> {
    let log = empty();
    append(&log, commits).await;
    log
}

/// Appends these commits.
pub(crate) async fn append(log: &Arc<dyn EventLog>, commits: &[Commit]) {
    let mut number = 0;
    for (index, commit) in commits.iter().enumerate() {
        let mut ctx = Context::new();
        if index % 3 == 1 {
            let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
            ctx = ctx
                .with_principal(Principal::new("ann@example.com").unwrap())
                .with_trace(TraceParent::new(trace).unwrap());
        }
        let mut writes = Append::new();
        for (stream_number, events) in commit {
            let events = (0..*events).map(|_| {
                number += 1;
                event(number)
            });
            writes = writes.write(
                stream(*stream_number),
                ExpectedVersion::Any,
                events.collect(),
            );
        }
        log.append(&ctx, writes).await.unwrap();
    }
}

fn event(number: usize) -> NewEvent {
    let payload = format!(r#"{{"number":{number}}}"#).into_bytes();
    if number.is_multiple_of(2) {
        let kind = EventType::new("order_placed").unwrap();
        return NewEvent::new(kind, ContentType::JSON, payload);
    }
    let id = [number as u8; 16];
    let kind = EventType::new("größer als vorher").unwrap();
    NewEvent::new(
        kind,
        ContentType::new("image/x").unwrap(),
        vec![0xff; number % 7],
    )
    .with_id(EventId::from_bytes([(number >> 8) as u8; 16]))
    .with_time(Timestamp::from_micros(-(number as i64)))
    .with_schema_version(SchemaVersion::new(7).unwrap())
    .with_metadata(Metadata::from_pairs([("tenant", "a"), ("k", "")]).unwrap())
    .with_correlation_id(CorrelationId::from_bytes(id))
    .with_causation_id(CausationId::from_bytes(id))
}

/// Random commits over up to five streams.
pub(crate) fn any_history() -> impl Strategy<Value = Vec<Commit>> {
    let writes = proptest::collection::btree_map(0_usize..5, 1_usize..4, 1..4);
    let commit = writes.prop_map(|writes: BTreeMap<_, _>| writes.into_iter().collect());
    proptest::collection::vec(commit, 0..12)
}

pub(crate) async fn events(log: &Arc<dyn EventLog>) -> Vec<RecordedEvent> {
    let read = log
        .read_log(&Context::new(), LogQuery::all())
        .await
        .unwrap();
    read.try_collect().await.unwrap()
}

pub(crate) async fn cids(log: &Arc<dyn EventLog>) -> Vec<EventCid> {
    events(log).await.iter().map(|event| event.cid).collect()
}

pub(crate) async fn try_export(
    log: &Arc<dyn EventLog>,
    pattern: Option<&str>,
) -> Result<(HistoryFile, Vec<u8>), ExportError> {
    let pattern: Option<StreamPattern> = pattern.map(|pattern| pattern.parse().unwrap());
    let file = Cursor::new(Vec::new());
    let (exported, file) = export(&**log, &Context::new(), pattern.as_ref(), file, |_| {}).await?;
    Ok((exported, file.into_inner()))
}

pub(crate) async fn exported(log: &Arc<dyn EventLog>) -> (HistoryFile, Vec<u8>) {
    try_export(log, None).await.unwrap()
}

pub(crate) async fn try_import(
    log: &Arc<dyn EventLog>,
    file: &[u8],
) -> Result<Imported, ImportError> {
    let file = Cursor::new(file.to_vec());
    let go_on = |_| ControlFlow::Continue(());
    import(
        &**log,
        &Context::new(),
        file,
        ImportOptions::default(),
        go_on,
    )
    .await
}

/// The commit that is the `number`th of these events' commits, from 0.
pub(crate) fn commit_of(events: &[RecordedEvent], number: usize) -> CommitId {
    let mut commits: Vec<CommitId> = events.iter().map(|event| event.commit_id).collect();
    commits.dedup();
    commits[number]
}

/// An event without what only its store decides.
pub(crate) fn without_place(mut event: RecordedEvent) -> RecordedEvent {
    event.position = cim_domain::store::Position::NONE;
    event.stored_at = Timestamp::EPOCH;
    event
}

/// The version that a stream is at.
pub(crate) fn version_in(events: &[RecordedEvent], stream: &StreamId) -> Version {
    let of_stream = events.iter().filter(|event| event.stream == *stream);
    of_stream
        .map(|event| event.version)
        .max()
        .unwrap_or_default()
}
