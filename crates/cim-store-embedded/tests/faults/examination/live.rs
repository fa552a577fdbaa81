//! Who may look when, at what, and what can't be asked of a store that is only inspected.

use cim_store::{
    Append, BucketName, BucketSettings, Context, EventFilter, Fault, LogQuery, OrderedAppend,
    Position, Store, StreamRange,
};
use cim_store_embedded::{EmbeddedSettings, EmbeddedStore};
use futures_util::TryStreamExt;

use super::{Report, closed, image, inspect, open, stream};

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_not_inspected_while_it_is_open_nor_opened_while_it_is_inspected() {
    let store = closed(5, &["a"], EmbeddedSettings::default()).await;
    let settings = EmbeddedSettings::default;
    let held = open(store.path()).await;
    let error = EmbeddedStore::inspect(store.path(), settings()).await;
    let error = error.unwrap_err();
    assert_eq!(error.fault(), Some(Fault::Unavailable));
    assert!(error.to_string().contains("is held by process"), "{error}");
    held.close().await.unwrap();

    let one = inspect(store.path()).await;
    let other = inspect(store.path()).await; // those who look don't mind each other
    let error = EmbeddedStore::open(store.path(), settings()).await;
    let error = error.unwrap_err();
    assert_eq!(error.fault(), Some(Fault::Unavailable));
    assert!(error.to_string().contains("inspects it"), "{error}");
    drop(one);
    other.close().await.unwrap();
    open(store.path()).await.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn inspecting_makes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("nowhere");
    let error = EmbeddedStore::inspect(&path, EmbeddedSettings::default()).await;
    assert_eq!(error.unwrap_err().fault(), Some(Fault::NotFound));
    assert!(!path.exists());
    let store = closed(5, &["a"], EmbeddedSettings::default()).await;
    std::fs::remove_file(store.path().join("lock")).unwrap();
    let before = image(store.path());
    assert_eq!(super::report(store.path()).await.events, store.events);
    assert!(image(store.path()) == before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_inspection_does_not_do_is_unsupported() {
    let closed = closed(5, &["a"], EmbeddedSettings::default()).await;
    let store = inspect(closed.path()).await;
    let (log, ctx, a) = (store.log(), Context::new(), stream("a"));
    let mut faults = Vec::new();
    faults.push(log.append(&ctx, Append::new()).await.map(drop));
    let commits = vec![OrderedAppend::default()];
    let done = log.append_in_order(&ctx, commits).await;
    assert_eq!(done.appended, []);
    faults.push(done.error.map_or(Ok(()), Err));
    let range = StreamRange::all();
    faults.push(log.read_stream(&ctx, &a, range).await.map(drop));
    faults.push(log.read_log(&ctx, LogQuery::all()).await.map(drop));
    let filter = EventFilter::all();
    faults.push(log.subscribe(&ctx, filter, Position::NONE).await.map(drop));
    faults.push(log.head(&ctx, &a).await.map(drop));
    let commit = cim_store::CommitId::from_bytes([1; 16]);
    faults.push(log.resolve(&ctx, commit).await.map(drop));
    for fault in faults {
        let error = fault.unwrap_err();
        assert_eq!(error.fault(), Some(Fault::Unsupported), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("backup")));
    }
    let name = BucketName::new("any").unwrap();
    let bucket = store.bucket(&ctx, &name, BucketSettings::default()).await;
    assert_eq!(bucket.unwrap_err().fault(), Some(Fault::Unsupported));
    let buckets = store.buckets(&ctx).await;
    assert_eq!(buckets.unwrap_err().fault(), Some(Fault::Unsupported));
    assert!(!log.capabilities().truncate);
    assert!(store.health(&ctx).await.unwrap().is_healthy());

    store.close().await.unwrap();
    let examination = log.examine(&ctx, Position::NONE).await.map(drop);
    assert_eq!(examination.unwrap_err().fault(), Some(Fault::Closed));
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_of_a_store_that_is_open_is_examined_where_a_read_ends() {
    let closed = closed(30, &["a", "b"], EmbeddedSettings::default()).await;
    let store = open(closed.path()).await;
    let records = closed.records(1);
    closed.change(1, |bytes| {
        bytes[records[9].end - 1] ^= 1; // altered
        bytes[records[19].start + 40] ^= 1; // unreadable
    });
    let ctx = Context::new();
    let log = store.log();
    let read = log.read_log(&ctx, LogQuery::all()).await.unwrap();
    let read = read.try_collect::<Vec<_>>().await;
    assert_eq!(read.unwrap_err().fault(), Some(Fault::Integrity));
    let found = Report::of(&*log, 0).await;
    assert_eq!(found.altered(), [("b".to_owned(), 5)]);
    let said: Vec<_> = found.damage.iter().map(super::said).collect();
    assert_eq!(said, [(20, Some("b"), 10, false)]);
    assert_eq!(found.events.len(), 29);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_log_is_inspected_from_its_cut_on() {
    let place = tempfile::tempdir().unwrap();
    let settings = || EmbeddedSettings::default().with_segment_bytes(4 << 10);
    let store = EmbeddedStore::open(place.path(), settings()).await.unwrap();
    let (log, ctx) = (store.log(), Context::new());
    super::fill(&*log, 10, &["old"]).await;
    for number in 10..60 {
        let event = cim_store::NewEvent::json("noted", &number).unwrap();
        let any = cim_store::ExpectedVersion::Any;
        let append = Append::new().write(stream("new"), any, vec![event]);
        log.append(&ctx, append).await.unwrap();
    }
    let truncation = crate::ledger::truncation(&*log, 30).await.unwrap();
    let through = truncation.through.get();
    log.truncate(&ctx, truncation).await.unwrap();
    let (left, listed) = (Report::of(&*log, 0).await, super::heads(&store).await);
    assert_eq!(left.events.len() as u64, 60 - through);
    store.close().await.unwrap();

    let inspection = inspect(place.path()).await;
    let found = Report::of(&*inspection.log(), 0).await;
    assert_eq!(found.damage, []);
    assert_eq!(found.events, left.events);
    assert_eq!(super::heads(&inspection).await, listed);
    assert_eq!(
        listed.len(),
        2,
        "a stream that lost all its events is known"
    );
    let stats = inspection.log().stats(&ctx).await.unwrap();
    assert_eq!(stats.truncated_through.get(), through);
}
