//! Damages that were thought of: each with what must come of it.

use crate::ledger;

use cim_conformance::model::Rng;
use cim_store::{
    Context, EventLogExt, ExpectedVersion, Fault, LogQuery, NewEvent, RecordedEvent, Store,
    StreamId, StreamRange, Version,
};
use cim_store_embedded::{EmbeddedSettings, EmbeddedStore};
use futures_util::TryStreamExt;
use sha2::Digest;

use crate::damage::{copy, files, settings, unfinished_format};

/// A store whose making was cut short is made again; one with records never is.
#[tokio::test(flavor = "multi_thread")]
async fn a_format_file_of_before_never_empties_a_store() {
    let place = tempfile::tempdir().unwrap();
    let ctx = Context::new();
    let stream = StreamId::new("torture", "thing", "1").unwrap();
    let event = || NewEvent::json("kept", "event").unwrap();
    let store = EmbeddedStore::open(place.path(), settings()).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    unfinished_format(place.path());
    let store = EmbeddedStore::open(place.path(), settings())
        .await
        .expect("nothing is lost by it");
    store
        .log()
        .append_to(&ctx, &stream, ExpectedVersion::NEW, vec![event()])
        .await
        .unwrap();
    store.close().await.unwrap();
    drop(store);
    let format = std::fs::read(place.path().join("cim-store.json")).unwrap();
    unfinished_format(place.path());
    let error = EmbeddedStore::open(place.path(), settings())
        .await
        .unwrap_err();
    assert_eq!(error.fault(), Some(Fault::Integrity), "{error}");
    std::fs::write(place.path().join("cim-store.json"), format).unwrap();
    let store = EmbeddedStore::open(place.path(), settings()).await.unwrap();
    assert_eq!(
        store.log().version(&ctx, &stream).await.unwrap(),
        Version::new(1)
    );
}

/// The place, the flush and the end of every record in a segment's file.
fn records(segment: &[u8]) -> Vec<(usize, u64, usize)> {
    let number = |at: usize| u64::from_le_bytes(segment[at..at + 8].try_into().unwrap());
    let mut records = Vec::new();
    let mut at = 128;
    while segment.len() >= at + 72 && segment[at..at + 4] == *b"CIMr" {
        let body = number(at + 8) as u32 as usize;
        records.push((at, number(at + 24), at + 72 + body));
        at = (at + 72 + body).next_multiple_of(8);
    }
    records
}

/// A power cut may set the mark back. What was flushed is then known by the flushes behind it.
#[tokio::test(flavor = "multi_thread")]
async fn without_its_mark_damage_is_found_up_to_the_last_flush() {
    let seed = ledger::seed("without its mark");
    let mut rng = Rng::new(seed);
    let place = tempfile::tempdir().unwrap();
    let settings = EmbeddedSettings::default();
    let store = EmbeddedStore::open(place.path(), settings.clone())
        .await
        .unwrap();
    let mark = std::fs::read(place.path().join("events/mark")).unwrap();
    let (log, ctx) = (store.log(), Context::new());
    for number in (0..60).step_by(6) {
        // Several commits at once share a flush.
        let appends = (number..number + 6)
            .map(|number| log.append(&ctx, ledger::append(seed, number, |_| None)));
        for appended in futures_util::future::join_all(appends).await {
            appended.unwrap();
        }
    }
    let base = tempfile::tempdir().unwrap();
    copy(place.path(), base.path());
    std::fs::write(base.path().join("events/mark"), mark).unwrap();
    let segment = std::fs::read(base.path().join("events/0000000001.seg")).unwrap();
    let records = records(&segment);
    let groups: std::collections::BTreeSet<u64> =
        records.iter().map(|(_, group, _)| *group).collect();
    let (first, last) = (records[0].1, records[records.len() - 1].1);
    assert!(
        groups.len() > 5 && records.len() > 4 * groups.len(),
        "{records:?}"
    );
    let mut torn = 0;
    for (at, group, end) in &records {
        let place = tempfile::tempdir().unwrap();
        copy(base.path(), place.path());
        let mut damaged = segment.clone();
        damaged[*at + rng.below((end - at) as u64) as usize] ^= 1 << rng.below(8);
        std::fs::write(place.path().join("events/0000000001.seg"), damaged).unwrap();
        match EmbeddedStore::open(place.path(), settings.clone()).await {
            Err(error) => {
                assert_eq!(error.fault(), Some(Fault::Integrity), "{error}");
                assert!(*group < last, "the last flush may have been torn: {error}");
            }
            Ok(store) => {
                assert_eq!(
                    *group, last,
                    "flush {group} of {first} to {last}, at {at}, was dropped"
                );
                torn += store.open_report().torn_tails.len();
                let mut events = store.log().read_log(&ctx, LogQuery::all()).await.unwrap();
                let mut whole = true;
                while let Some(event) = events.try_next().await.unwrap() {
                    whole = event.commit_index + 1 == event.commit_count;
                }
                assert!(whole, "half a commit is left");
            }
        }
    }
    assert!(torn > 0, "the last flush was never damaged");
}

/// A segment is sealed only when the next one is there, so a sealed one is never the last.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_last_segment_is_found_without_the_mark() {
    let place = tempfile::tempdir().unwrap();
    let seed = ledger::seed("a missing segment");
    let store = EmbeddedStore::open(place.path(), settings()).await.unwrap();
    let mark = std::fs::read(place.path().join("events/mark")).unwrap();
    for number in 0..100 {
        let append = ledger::append(seed, number, |_| None);
        store.log().append(&Context::new(), append).await.unwrap();
    }
    store.close().await.unwrap();
    drop(store);
    let mut segments = files(&place.path().join("events"));
    segments.retain(|path| path.extension().is_some_and(|end| end == "seg"));
    let last = segments.pop().unwrap();
    std::fs::remove_file(&last).unwrap();
    std::fs::write(place.path().join("events/mark"), mark).unwrap();
    let before = std::fs::read(segments.last().unwrap()).unwrap();
    let error = EmbeddedStore::open(place.path(), settings())
        .await
        .unwrap_err();
    assert_eq!(error.fault(), Some(Fault::Integrity), "{error}");
    assert!(
        error.to_string().contains(last.to_str().unwrap()),
        "{error}"
    );
    assert_eq!(
        std::fs::read(segments.last().unwrap()).unwrap(),
        before,
        "nothing was cut"
    );
}

/// Somebody who changes an event and makes all its checksums and its CID right still can't hide it:
/// the event after it names the CID that it had.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_forged_with_right_checksums_breaks_its_chain() {
    let place = tempfile::tempdir().unwrap();
    let (ctx, stream) = (
        Context::new(),
        StreamId::new("torture", "thing", "1").unwrap(),
    );
    let store = EmbeddedStore::open(place.path(), settings()).await.unwrap();
    let log = store.log();
    for amount in ["11111", "22222", "33333"] {
        let event = NewEvent::json("paid", amount).unwrap();
        let appended = log.append_to(&ctx, &stream, ExpectedVersion::Any, vec![event]);
        appended.await.unwrap();
    }
    store.close().await.unwrap();
    drop((log, store));
    let format = std::fs::read_to_string(place.path().join("cim-store.json")).unwrap();
    let format: serde_json::Value = serde_json::from_str(format.lines().next().unwrap()).unwrap();
    let id: uuid::Uuid = serde_json::from_value(format["store"].clone()).unwrap();
    let salt = crc32c::crc32c(id.as_bytes());

    let path = place.path().join("events/0000000001.seg");
    let mut segment = std::fs::read(&path).unwrap();
    let (at, _, end) = records(&segment)[1];
    let body = &mut segment[at + 72..end];
    let amount = body.windows(5).position(|bytes| bytes == b"22222").unwrap();
    body[amount..amount + 5].copy_from_slice(b"99999");
    let digest: [u8; 32] = sha2::Sha256::digest(&body[32..]).into();
    body[..32].copy_from_slice(&digest);
    let body_crc = crc32c::crc32c(body);
    segment[at + 12..at + 16].copy_from_slice(&body_crc.to_le_bytes());
    let header_crc = crc32c::crc32c_append(salt, &segment[at + 8..at + 72]);
    segment[at + 4..at + 8].copy_from_slice(&header_crc.to_le_bytes());
    std::fs::write(&path, segment).unwrap();

    let store = EmbeddedStore::open(place.path(), settings()).await.unwrap();
    let range = StreamRange::from(Version::new(2)).limit(1);
    let forged = store.log().read_stream(&ctx, &stream, range).await.unwrap();
    let forged: Vec<RecordedEvent> = forged.try_collect().await.unwrap();
    assert_eq!(forged[0].json::<String>().unwrap(), "99999");
    assert!(forged[0].has_its_cid(), "the forgery is a good one");
    for range in [StreamRange::all(), StreamRange::all().backwards()] {
        let events = store.log().read_stream(&ctx, &stream, range).await.unwrap();
        let error = events.try_collect::<Vec<_>>().await.unwrap_err();
        assert_eq!(error.fault(), Some(Fault::Integrity), "{error}");
    }
}
