//! A file is cut off, or gone: what is left, and how far the streams went.

use std::collections::BTreeMap;

use cim_store::{Fault, Position, Store};
use cim_store_embedded::{EmbeddedSettings, EmbeddedStore};

use super::{Closed, Report, closed, heads, image, inspect, report, said, stream};

/// The last version of each stream that an examination saw, by the stream's id.
fn last_seen(report: &Report) -> BTreeMap<String, u64> {
    let mut last = BTreeMap::new();
    for event in &report.events {
        last.insert(event.stream.id().to_owned(), event.version.get());
    }
    last
}

/// Cuts a segment off behind so many of its records.
fn cut(store: &Closed, number: u32, records: usize) {
    let ends = store.records(number);
    let len = ends[records].start as u64;
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).open(store.segment(number));
    file.unwrap().set_len(len).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_log_tells_which_streams_were_cut_and_where() {
    let store = closed(12, &["a", "b", "c"], EmbeddedSettings::default()).await;
    cut(&store, 1, 7); // 8 to 12 are gone
    let error = EmbeddedStore::open(store.path(), EmbeddedSettings::default()).await;
    assert_eq!(error.unwrap_err().fault(), Some(Fault::Integrity));

    let before = image(store.path());
    let inspection = inspect(store.path()).await;
    let found = Report::of(&*inspection.log(), 0).await;
    assert_eq!(found.events, store.events[..7]);
    let told: Vec<_> = found.damage.iter().map(said).collect();
    assert_eq!(told, [(8, None, 0, true)]);
    assert!(found.damage[0].message.contains("8 to 12"));

    // Last version there, and the version that the head claims.
    let last = last_seen(&found);
    let claimed = heads(&inspection).await;
    let cuts: Vec<_> = ["a", "b", "c"]
        .iter()
        .map(|id| (last[*id], claimed[&stream(id)].version.get()))
        .collect();
    assert_eq!(cuts, [(3, 4), (2, 4), (2, 4)]);
    for head in claimed.values() {
        assert_eq!(head.position, Position::NONE, "nobody knows it");
        assert_eq!(head.cid.digest(), &[0; 32]);
    }
    drop(inspection);
    assert!(image(store.path()) == before, "something was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_events_are_all_gone_is_told_by_its_version() {
    let store = closed(12, &["a", "a", "a", "b"], EmbeddedSettings::default()).await;
    cut(&store, 1, 3); // `b` begins with position 4
    let inspection = inspect(store.path()).await;
    let found = Report::of(&*inspection.log(), 0).await;
    let told: Vec<_> = found.damage.iter().map(said).collect();
    assert_eq!(told, [(4, None, 0, true), (0, None, 3, true)]);
    assert!(found.damage[1].message.contains("version 3"));
    let claimed = heads(&inspection).await;
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[&stream("a")].version.get(), 9);
    // The same also where the examination begins later, and passes the names over.
    let later = Report::of(&*inspection.log(), 2).await;
    let told: Vec<_> = later.damage.iter().map(said).collect();
    assert_eq!(told, [(4, None, 0, true), (0, None, 3, true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_cut_off_is_named() {
    let store = closed(12, &["a", "b", "c"], EmbeddedSettings::default()).await;
    let record = store.records(1)[10].clone(); // position 11, the last of `b`
    for len in record.start + 72..record.end {
        let bytes = std::fs::read(store.segment(1)).unwrap();
        store.change(1, |bytes| bytes.truncate(len));
        let found = report(store.path()).await;
        let told: Vec<_> = found.damage.iter().map(said).collect();
        assert_eq!(told, [(11, Some("b"), 4, false), (12, None, 0, true)]);
        assert_eq!(found.events, store.events[..10]);
        std::fs::write(store.segment(1), bytes).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_is_gone_leaves_the_others() {
    let settings = EmbeddedSettings::default().with_segment_bytes(4 << 10);
    let store = closed(60, &["a", "b"], settings).await;
    let counts: Vec<u64> = (1..)
        .take_while(|number| store.segment(*number).exists())
        .map(|number| store.records(number).len() as u64)
        .collect();
    assert!(counts.len() > 3);
    let mut first = 1;
    for (number, count) in (1..).zip(&counts) {
        let last = first + count - 1;
        let kept = std::fs::read(store.segment(number)).unwrap();
        std::fs::remove_file(store.segment(number)).unwrap();
        let inspection = inspect(store.path()).await;
        let found = Report::of(&*inspection.log(), 0).await;
        let gone: Vec<u64> = (first..=last).collect();
        assert_eq!(found.events, store.without(&gone), "segment {number}");
        let told: Vec<_> = found.damage.iter().map(said).collect();
        assert_eq!(told, [(first, None, 0, true)], "segment {number}");
        let claimed = heads(&inspection).await;
        for (stream, head) in &store.heads {
            assert_eq!(claimed[stream].version, head.version, "segment {number}");
        }
        std::fs::write(store.segment(number), kept).unwrap();
        first = last + 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_acknowledged_is_passed_over() {
    let store = closed(12, &["a", "b", "c"], EmbeddedSettings::default()).await;
    let last = store.records(1)[11].clone();
    let sound = std::fs::read(store.segment(1)).unwrap();
    // Half a record, garbage, the space that is reserved ahead.
    for tail in [
        sound[last.clone()][..100].to_vec(),
        vec![0xAB; 300],
        vec![0; 70_000],
    ] {
        let mut bytes = sound.clone();
        bytes.extend(tail);
        std::fs::write(store.segment(1), bytes).unwrap();
        let found = report(store.path()).await;
        assert_eq!(found.damage, []);
        assert_eq!(found.events, store.events);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_killed_is_inspected_as_it_would_be_opened() {
    let place = tempfile::tempdir().unwrap();
    let settings = || EmbeddedSettings::default().with_segment_bytes(4 << 10);
    let store = EmbeddedStore::open(place.path(), settings()).await.unwrap();
    super::fill(&*store.log(), 50, &["a", "b", "c"]).await;
    let there = Report::of(&*store.log(), 0).await;
    let listed = heads(&store).await;
    // What a kill leaves is what is in the files now.
    let copy = tempfile::tempdir().unwrap();
    crate::damage::copy(place.path(), copy.path());
    let inspection = inspect(copy.path()).await;
    let found = Report::of(&*inspection.log(), 0).await;
    assert_eq!(found.damage, []);
    assert_eq!(found.events, there.events);
    assert_eq!(heads(&inspection).await, listed);
    store.close().await.unwrap();
}
