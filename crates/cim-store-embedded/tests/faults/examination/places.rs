//! One place of a file is damaged.

use cim_store::{Fault, Version};
use cim_store_embedded::{EmbeddedSettings, EmbeddedStore};

use super::{Closed, Report, closed, filed, image, inspect, is_sound, report, said};
use cim_store::Store;

/// Twelve events: 1, 4, 7, 10 of `a`; 2, 5, 8, 11 of `b`; 3, 6, 9, 12 of `c`.
async fn twelve() -> Closed {
    closed(12, &["a", "b", "c"], EmbeddedSettings::default()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_store_is_handed_out_as_it_is_and_nothing_changes() {
    let small = EmbeddedSettings::default()
        .with_segment_bytes(4 << 10)
        .with_fresh_entries(16);
    for (settings, commits) in [(EmbeddedSettings::default(), 12), (small, 200)] {
        let store = closed(commits, &["a", "b", "c"], settings).await;
        let before = image(store.path());
        let inspection = inspect(store.path()).await;
        let found = Report::of(&*inspection.log(), 0).await;
        assert_eq!(found.damage, []);
        assert_eq!(found.events, store.events);
        assert_eq!(super::heads(&inspection).await, store.heads);
        let stats = inspection.log().stats(&cim_store::Context::new()).await;
        let stats = stats.unwrap();
        assert_eq!((stats.events, stats.streams), (commits, 3));
        for after in 0..commits {
            let found = Report::of(&*inspection.log(), after).await;
            assert_eq!(found.damage, [], "after {after}");
            assert_eq!(found.events, store.events[after as usize..]);
        }
        inspection.close().await.unwrap();
        assert!(image(store.path()) == before, "something was changed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_of_a_block_alters_one_event_under_its_own_name() {
    let store = twelve().await;
    let record = store.records(1)[4].clone(); // position 5: the second of `b`
    // In the digest, anywhere in the block, also in the stream's name and in what makes it a block.
    for at in record.start + 72..record.end {
        store.change(1, |bytes| bytes[at] ^= 0x20);
        let found = report(store.path()).await;
        assert_eq!(found.damage, [], "byte {at}");
        assert_eq!(found.altered(), [("b".to_owned(), 2)], "byte {at}");
        let others: Vec<_> = found.events.into_iter().filter(is_sound).collect();
        assert_eq!(others, store.without(&[5]));
        store.change(1, |bytes| bytes[at] ^= 0x20);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_event_of_a_stream_that_is_altered_is_filed_by_what_it_says() {
    let store = twelve().await;
    let record = store.records(1)[1].clone(); // position 2: the first of `b`
    let payload = find(&store, record, b"number 00001");
    store.change(1, |bytes| bytes[payload] ^= 0x20);
    let found = report(store.path()).await;
    assert_eq!(found.damage, []);
    assert_eq!(found.altered(), [("b".to_owned(), 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_event_that_is_no_block_any_more_is_named_by_position_and_version() {
    let store = twelve().await;
    let record = store.records(1)[1].clone();
    store.change(1, |bytes| bytes[record.start + 72 + 32] ^= 0xFF);
    let found = report(store.path()).await;
    let said: Vec<_> = found.damage.iter().map(said).collect();
    assert_eq!(said, [(2, None, 1, false)]);
    // The next one of the stream says its name.
    assert_eq!(found.events, store.without(&[2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_event_is_filed_right_where_the_examination_begins_with_it() {
    let store = twelve().await;
    let record = store.records(1)[7].clone(); // position 8: the third of `b`
    let name = find(&store, record, b"audit.thing.b") + b"audit.thing.".len();
    store.change(1, |bytes| bytes[name] = b'a');
    let inspection = inspect(store.path()).await;
    let found = Report::of(&*inspection.log(), 7).await;
    assert_eq!(found.altered(), [("b".to_owned(), 3)]);
    assert_eq!(found.events.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_of_a_header_loses_one_event_that_is_named() {
    let store = twelve().await;
    let record = store.records(1)[4].clone();
    for at in record.start..record.start + 72 {
        store.change(1, |bytes| bytes[at] ^= 0x20);
        let found = report(store.path()).await;
        let said: Vec<_> = found.damage.iter().map(said).collect();
        assert_eq!(said, [(5, Some("b"), 2, false)], "byte {at}");
        assert!(found.damage[0].message.contains("0000000001.seg"));
        assert_eq!(found.events, store.without(&[5]), "byte {at}");
        store.change(1, |bytes| bytes[at] ^= 0x20);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_large_event_is_found_with_and_without_its_length() {
    let place = tempfile::tempdir().unwrap();
    let store = super::open(place.path()).await;
    let log = store.log();
    for number in 0..6_u64 {
        // More than is read at a time.
        let payload = vec![number as u8; 150_000 + 1_000 * number as usize];
        let blob = cim_store::EventType::new("blob").unwrap();
        let event = cim_store::NewEvent::new(blob, cim_store::ContentType::BYTES, payload);
        let append = cim_store::Append::new().write(
            super::stream("large"),
            Version::new(number),
            vec![event],
        );
        log.append(&cim_store::Context::new(), append)
            .await
            .unwrap();
    }
    let events = Report::of(&*log, 0).await.events;
    drop(log);
    store.close().await.unwrap();
    let heads = std::collections::BTreeMap::new();
    let store = Closed {
        place,
        events,
        heads,
    };
    let record = store.records(1)[2].clone();
    // The magic, the lowest and the highest byte of the length, and the checksum.
    for at in [0, 8, 11, 4] {
        store.change(1, |bytes| bytes[record.start + at] ^= 0x15);
        let found = report(store.path()).await;
        let said: Vec<_> = found.damage.iter().map(said).collect();
        assert_eq!(said, [(3, Some("large"), 3, false)], "byte {at}");
        assert_eq!(found.events, store.without(&[3]), "byte {at}");
        store.change(1, |bytes| bytes[record.start + at] ^= 0x15);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_between_records_hits_no_event() {
    let store = twelve().await;
    let records = store.records(1);
    let gap = records
        .windows(2)
        .find(|pair| pair[0].end < pair[1].start)
        .map(|pair| pair[0].end)
        .expect("records of this length are padded");
    store.change(1, |bytes| bytes[gap] ^= 0xFF);
    let found = report(store.path()).await;
    assert_eq!(found.damage, []);
    assert_eq!(found.events, store.events);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_were_overwritten_are_counted() {
    let store = twelve().await;
    let records = store.records(1);
    let (from, to) = (records[3].start, records[6].start); // positions 4, 5 and 6
    store.change(1, |bytes| bytes[from..to].fill(0));
    let found = report(store.path()).await;
    let said: Vec<_> = found.damage.iter().map(said).collect();
    assert_eq!(said, [(4, None, 0, false), (5, None, 0, true)]);
    assert!(found.damage[1].message.contains("5 to 6"));
    assert_eq!(found.events, store.without(&[4, 5, 6]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_event_that_was_overwritten_is_missed() {
    let store = twelve().await;
    let record = store.records(1)[11].clone();
    store.change(1, |bytes| bytes[record.start..].fill(0));
    let found = report(store.path()).await;
    let said: Vec<_> = found.damage.iter().map(said).collect();
    assert_eq!(said, [(12, None, 0, false)]);
    assert_eq!(found.events, store.without(&[12]));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_in_each_others_place_are_handed_out_where_they_stand() {
    let store = twelve().await;
    let records = store.records(1);
    let (one, other) = (records[4].clone(), records[7].clone()); // both of `b`
    assert_eq!(one.len(), other.len());
    store.change(1, |bytes| {
        let kept = bytes[one.clone()].to_vec();
        bytes.copy_within(other.clone(), one.start);
        bytes[other].copy_from_slice(&kept);
    });
    let found = report(store.path()).await;
    let positions: Vec<u64> = found.events.iter().map(|one| one.position.get()).collect();
    assert_eq!(positions, [1, 2, 3, 4, 8, 6, 7, 5, 9, 10, 11, 12]);
    let filed: Vec<_> = [4, 7].map(|at: usize| filed(&found.events[at])).into();
    assert_eq!(filed, [("b".to_owned(), 3), ("b".to_owned(), 2)]);
    let said: Vec<_> = found.damage.iter().map(said).collect();
    assert_eq!(said, [(0, None, 0, false), (0, None, 0, false)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_another_streams_event_takes_no_later_event_along() {
    let store = twelve().await;
    let records = store.records(1);
    let (of_a, of_b) = (records[3].clone(), records[4].clone());
    assert_eq!(of_a.len(), of_b.len());
    store.change(1, |bytes| bytes.copy_within(of_a, of_b.start));
    let mut found = report(store.path()).await;
    let said: Vec<_> = found.damage.iter().map(said).collect();
    assert_eq!(said, [(0, None, 0, false), (5, None, 0, true)]);
    let copy = found.events.remove(4);
    assert_eq!(copy, store.events[3], "what stands there is of `a`");
    // The next one of `b` links to that place.
    assert_eq!(found.events, store.without(&[5]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_header_of_a_segment_hits_no_event_but_is_told() {
    let settings = EmbeddedSettings::default().with_segment_bytes(4 << 10);
    let store = closed(40, &["a", "b"], settings).await;
    for number in [1, 2] {
        store.change(number, |bytes| bytes[33] ^= 1);
        let error = EmbeddedStore::open(store.path(), EmbeddedSettings::default()).await;
        assert_eq!(error.unwrap_err().fault(), Some(Fault::Integrity));
        let found = report(store.path()).await;
        assert_eq!(found.events, store.events);
        let said: Vec<_> = found.damage.iter().map(said).collect();
        assert_eq!(said, [(0, None, 0, false)]);
        store.change(number, |bytes| bytes[33] ^= 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_of_a_small_file_hits_no_event_but_is_told() {
    let store = closed(20, &["a", "b"], EmbeddedSettings::default()).await;
    for name in ["events/mark", "events/state.json"] {
        let path = store.path().join(name);
        let kept = std::fs::read(&path).unwrap();
        for damaged in [Some(vec![7; kept.len()]), None] {
            match damaged {
                Some(bytes) => std::fs::write(&path, bytes).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            let error = EmbeddedStore::open(store.path(), EmbeddedSettings::default()).await;
            assert_eq!(error.unwrap_err().fault(), Some(Fault::Integrity), "{name}");
            let found = report(store.path()).await;
            assert_eq!(found.events, store.events, "{name}");
            assert_eq!(found.damage.len(), 1, "{name}: {:?}", found.damage);
            assert!(found.damage[0].message.contains(name), "{name}");
            std::fs::write(&path, &kept).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_damaged_is_no_damage_of_the_log() {
    let store = closed(20, &["a", "b"], EmbeddedSettings::default()).await;
    let manifest = store.path().join("events/index/manifest.json");
    std::fs::write(&manifest, "{}").unwrap();
    let inspection = inspect(store.path()).await;
    let found = Report::of(&*inspection.log(), 0).await;
    assert_eq!((found.events, found.damage), (store.events.clone(), vec![]));
    let ctx = cim_store::Context::new();
    let pattern = cim_store::StreamPattern::all();
    let listed = inspection.log().streams(&ctx, &pattern).await.map(|_| ());
    assert_eq!(listed.unwrap_err().fault(), Some(Fault::Integrity));
    // Opening makes it anew, so it must still be as it was.
    assert_eq!(std::fs::read_to_string(&manifest).unwrap(), "{}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_says_its_version_in_its_block() {
    let store = twelve().await;
    let found = report(store.path()).await;
    for event in &found.events {
        let block = cim_ipld::EventBlock::decode(&event.block).unwrap();
        assert_eq!(filed(event), (stream_id(block.stream), block.version));
        assert!(event.version > Version::NONE);
    }
}

fn stream_id(name: &str) -> String {
    name.rsplit('.').next().unwrap().to_owned()
}

/// Where these bytes stand in a record.
fn find(store: &Closed, record: std::ops::Range<usize>, wanted: &[u8]) -> usize {
    let bytes = std::fs::read(store.segment(1)).unwrap();
    let windows = bytes[record.clone()].windows(wanted.len());
    let at = windows.clone().position(|window| window == wanted);
    record.start + at.expect("the record has these bytes")
}
