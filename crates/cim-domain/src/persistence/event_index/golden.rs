//! Bytes are law: what format version 1 writes is written like that for ever, and can be read.
//!
//! `tests/golden/event-index-v1.txt` has every key and value of an index in its bucket, values in
//! hexadecimal. It is never changed; a new version gets a file of its own, written by running this
//! test once with `CIM_WRITE_GOLDEN=1`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use cim_store::memory::MemoryStore;
use cim_store::{
    Append, Bucket, BucketExt as _, BucketName, BucketSettings, Context, CorrelationId, EventId,
    ExpectedVersion, Key, ManualClock, Metadata, NewEvent, SequentialIds, Store, StreamId,
    SubjectPattern, Timestamp,
};
use futures_util::TryStreamExt as _;
use uuid::Uuid;

use super::inner::Inner;
use super::settings::IndexSettings;
use super::shelf::Shelf;
use crate::persistence::Tags;

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/event-index-v1.txt")
}

fn conversation(number: u128) -> CorrelationId {
    CorrelationId::from_uuid(Uuid::from_u128(number << 64 | 7))
}

async fn bucket(store: &MemoryStore) -> Arc<dyn Bucket> {
    let name = BucketName::new("cim-index").unwrap();
    let settings = BucketSettings::default();
    store
        .bucket(&Context::new(), &name, settings)
        .await
        .unwrap()
}

/// 40 events, some with a conversation, some with tags, from before 1970 and after it.
async fn events() -> MemoryStore {
    let clock = ManualClock::at(Timestamp::from_seconds(1_795_176_000));
    let store = MemoryStore::with(Arc::new(clock), Arc::new(SequentialIds::new(1)));
    for number in 0..40_u8 {
        let number = i64::from(number);
        let tags = ["red", "größe"].into_iter().take(number as usize % 3);
        let tags = Tags::new(tags).unwrap().add_to(&Metadata::EMPTY).unwrap();
        let mut event = NewEvent::json("it_happened", &number)
            .unwrap()
            .with_id(EventId::from_bytes([number as u8; 16]))
            .with_time(Timestamp::from_micros((number - 4) * 1_000_003))
            .with_metadata(tags);
        if number % 4 != 0 {
            event = event.with_correlation_id(conversation(number as u128 % 3));
        }
        let stream = StreamId::new("shop", "order", &(number % 5).to_string()).unwrap();
        let append = Append::new().write(stream, ExpectedVersion::Any, vec![event]);
        store.log().append(&Context::new(), append).await.unwrap();
    }
    store
}

async fn index(store: &MemoryStore) -> Arc<Inner> {
    let settings = IndexSettings::default().with_block_bytes(512);
    let shelf = Shelf::new(bucket(store).await, settings.cache_bytes);
    let mut inner = Inner::new(store.log(), shelf, settings);
    inner.ids = Arc::new(SequentialIds::new(2));
    inner.load(&Context::new()).await.unwrap();
    Arc::new(inner)
}

#[tokio::test]
async fn what_is_written_is_what_version_1_writes() {
    let ctx = Context::new();
    let store = events().await;
    let index = index(&store).await;
    index.freshen(&ctx).await.unwrap();
    index.persist(&ctx).await.unwrap();

    let entries = bucket(&store).await;
    let entries = entries.entries(&ctx, &SubjectPattern::all()).await.unwrap();
    let entries: Vec<_> = entries.try_collect().await.unwrap();
    let written = entries.into_iter().filter(|entry| !entry.value.is_empty());
    let written: BTreeMap<Key, Bytes> = written.map(|entry| (entry.key, entry.value)).collect();
    let mut text = String::new();
    for (key, value) in written {
        write!(text, "{key} ").unwrap();
        for byte in &value {
            write!(text, "{byte:02x}").unwrap();
        }
        text.push('\n');
    }
    if std::env::var_os("CIM_WRITE_GOLDEN").is_some() {
        std::fs::write(path(), &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(path()).unwrap());
}

#[tokio::test]
async fn what_version_1_wrote_can_be_read() {
    let ctx = Context::new();
    let store = events().await;
    let golden = std::fs::read_to_string(path()).unwrap();
    for line in golden.lines() {
        let (key, value) = line.split_once(' ').unwrap();
        let (digits, _) = value.as_bytes().as_chunks::<2>();
        let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        let value: Vec<u8> = digits.iter().map(byte).collect();
        let key = Key::new(key.to_owned()).unwrap();
        bucket(&store)
            .await
            .set(&ctx, &key, value.into())
            .await
            .unwrap();
    }
    let index = super::EventIndex::of(index(&store).await);
    assert_eq!(
        (index.status().position.get(), index.status().rebuilt),
        (40, 0)
    );
    assert!(index.status().blocks > 2);
    let found = index
        .read_by_correlation(&ctx, conversation(1))
        .await
        .unwrap();
    let found: Vec<_> = found.iter().map(|event| event.position.get()).collect();
    let expected: Vec<u64> = (0..40).filter(|n| n % 4 != 0 && n % 3 == 1).collect();
    assert_eq!(found, expected.iter().map(|n| n + 1).collect::<Vec<_>>());
    let found = index.read_by_tag(&ctx, "größe").await.unwrap();
    assert_eq!(found.len(), 13);
}
