//! Bytes are law: a store that was written with format version 1 opens and says the same for ever.
//!
//! `tests/golden/store-v1` is such a store, with several segments, runs of the index, a truncation
//! and buckets; `tests/golden/store-v1.txt` is what it says. Neither is ever changed. A new version
//! of the format gets a store of its own beside it, written by running this test once with
//! `CIM_WRITE_GOLDEN=1`.

#![allow(clippy::unwrap_used)] // a failure here is a failed test

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cim_store::{
    Append, ArchiveDigester, BucketName, BucketSettings, CommitId, Context, ExpectedVersion, Key,
    LogQuery, ManualClock, Metadata, NewEvent, Position, Principal, SequentialIds, Store, StreamId,
    StreamPattern, StreamRange, SubjectPattern, Timestamp, Truncation, Version, WriteOptions,
};
use cim_store_embedded::{EmbeddedSettings, EmbeddedStore};
use futures_util::TryStreamExt;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn settings(seconds: i64) -> (EmbeddedSettings, ManualClock) {
    let clock = ManualClock::at(Timestamp::from_seconds(seconds));
    let settings = EmbeddedSettings::default()
        .with_segment_bytes(4 << 10)
        .with_fresh_entries(24)
        .with_clock(Arc::new(clock.clone()))
        .with_ids(Arc::new(SequentialIds::new(1)));
    (settings, clock)
}

fn stream(id: &str) -> StreamId {
    StreamId::new("golden", "thing", id).unwrap()
}

async fn write(path: &Path) {
    let (settings, clock) = settings(1_000);
    let store = EmbeddedStore::open(path, settings).await.unwrap();
    let log = store.log();
    let ctx = Context::new().with_principal(Principal::new("anna").unwrap());
    for number in 0..40_u8 {
        clock.advance(Duration::from_secs(1));
        let metadata = Metadata::from_pairs([("number", number.to_string())]).unwrap();
        let one = NewEvent::json("changed", &number)
            .unwrap()
            .with_metadata(metadata);
        let two = NewEvent::json("größer", &[number]).unwrap();
        let append = Append::new()
            .with_commit_id(CommitId::from_bytes([number; 16]))
            .write(
                stream(&format!("a/{}", number % 7)),
                ExpectedVersion::Any,
                vec![one],
            )
            .write(stream("all"), Version::new(u64::from(number)), vec![two]);
        log.append(&ctx, append).await.unwrap();
    }
    let events: Vec<_> = log
        .read_log(&ctx, LogQuery::all().limit(30))
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let mut archived = ArchiveDigester::new();
    events.iter().for_each(|event| archived.push(event));
    let truncation = Truncation {
        through: Position::new(30),
        archived: archived.finish(),
    };
    log.truncate(&ctx, truncation).await.unwrap();

    let name = BucketName::new("golden").unwrap();
    let kept = BucketSettings::default().with_history(3);
    let bucket = store.bucket(&ctx, &name, kept).await.unwrap();
    for number in 0..30 {
        let key = Key::new(format!("key.{}", number % 5)).unwrap();
        let value = format!("value {number} {}", "x".repeat(100)).into();
        bucket
            .put(&ctx, &key, value, WriteOptions::default())
            .await
            .unwrap();
    }
    let gone = Key::new("key.1").unwrap();
    bucket.delete(&ctx, &gone, None).await.unwrap();
    let short = WriteOptions::ttl(Duration::from_secs(100_000));
    bucket
        .put(&ctx, &Key::new("short").unwrap(), "lived".into(), short)
        .await
        .unwrap();
    store.close().await.unwrap();
    std::fs::remove_file(path.join("lock")).unwrap();
}

/// Everything that a store says.
async fn describe(path: &Path) -> String {
    let (settings, _) = settings(2_000);
    let store = EmbeddedStore::open(path, settings.must_exist())
        .await
        .unwrap();
    assert!(store.open_report().is_quiet(), "{}", store.open_report());
    let (log, ctx) = (store.log(), Context::new());
    let mut text = String::new();
    let mut stats = log.stats(&ctx).await.unwrap();
    stats.bytes = 0; // closing gives space back that the written store may have
    writeln!(text, "{stats:?}").unwrap();
    let query = LogQuery::all().after(Position::new(30));
    let events: Vec<_> = log
        .read_log(&ctx, query)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    for event in &events {
        assert!(event.has_its_cid());
        writeln!(text, "{event:?}").unwrap();
    }
    let heads = log.streams(&ctx, &StreamPattern::all()).await.unwrap();
    let mut heads: Vec<_> = heads.try_collect().await.unwrap();
    heads.sort_by(|one, other| one.stream.cmp(&other.stream));
    for head in heads {
        writeln!(text, "{head:?}").unwrap();
        let last = log
            .read_stream(&ctx, &head.stream, StreamRange::all().backwards().limit(2))
            .await
            .unwrap();
        let last: Vec<_> = last.try_collect().await.unwrap();
        assert_eq!(last[0].cid, head.cid);
    }
    for number in 0..41_u8 {
        let resolved = log
            .resolve(&ctx, CommitId::from_bytes([number; 16]))
            .await
            .unwrap();
        // As it was written when every answer said the time.
        let resolved = format!("{resolved:?}").replace("Some(Timestamp(", "(Timestamp(");
        let resolved = resolved.replace("stored_at: (Timestamp(", "stored_at: Timestamp(");
        writeln!(text, "{}", resolved.replace(")), heads", "), heads")).unwrap();
    }
    for (name, settings) in store.buckets(&ctx).await.unwrap() {
        writeln!(text, "{name} {settings:?}").unwrap();
        let bucket = store.bucket(&ctx, &name, settings).await.unwrap();
        let entries = bucket.entries(&ctx, &SubjectPattern::all()).await.unwrap();
        let mut entries: Vec<_> = entries.try_collect().await.unwrap();
        entries.sort_by(|one, other| one.key.cmp(&other.key));
        for entry in entries {
            writeln!(text, "{entry:?}").unwrap();
        }
        for number in 0..5 {
            let key = Key::new(format!("key.{number}")).unwrap();
            writeln!(text, "{:?}", bucket.history(&ctx, &key).await.unwrap()).unwrap();
        }
    }
    store.close().await.unwrap();
    text
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_store_of_format_version_1_says_what_it_always_said() {
    if std::env::var_os("CIM_WRITE_GOLDEN").is_some() && !golden("store-v1").exists() {
        write(&golden("store-v1")).await;
        let scratch = tempfile::tempdir().unwrap();
        copy(&golden("store-v1"), &scratch.path().join("store"));
        let text = describe(&scratch.path().join("store")).await;
        std::fs::write(golden("store-v1.txt"), text).unwrap();
    }
    let said = std::fs::read_to_string(golden("store-v1.txt")).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("store");
    copy(&golden("store-v1"), &path);
    assert_eq!(
        describe(&path).await,
        said,
        "with the index as it was written"
    );
    // And the same from the journals alone.
    std::fs::remove_dir_all(path.join("events/index")).unwrap();
    std::fs::remove_dir_all(path.join("buckets/index")).unwrap();
    let (settings, _) = settings(2_000);
    EmbeddedStore::open(&path, settings)
        .await
        .unwrap()
        .close()
        .await
        .unwrap();
    assert_eq!(describe(&path).await, said, "with an index made anew");
}
