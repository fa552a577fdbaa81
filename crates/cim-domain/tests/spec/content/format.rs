//! Bytes are law: what format version 1 stores is stored like that for ever, and can be read.
//!
//! `tests/golden/content-v1.txt` has every key and value of the two buckets, in hexadecimal where it
//! is a value. It is never changed; a new version gets a file of its own, written by running this
//! test once with `CIM_WRITE_GOLDEN=1`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use cim_domain::persistence::content::{ContentStore, Description, PutOptions};
use cim_domain::store::{BucketExt as _, ContentType, Key, SubjectPattern};
use cim_ipld::{Cid, HashFunction, Since};
use futures_util::TryStreamExt as _;

use super::values::Letter;
use super::{HOUR, ctx, get, in_memory, put};
use crate::stores::NOON;

/// Everything that there is, once.
async fn write() -> ContentStore {
    let (content, clock) = in_memory().await;
    let bytes: Vec<u8> = (0..50).collect();
    let photo = content
        .put_bytes(&ctx(), bytes, PutOptions::pinned("photos/Ü 1"))
        .await
        .unwrap()
        .cid;
    clock.advance(HOUR);
    let description = Description {
        media_type: Some(ContentType::new("text/plain").unwrap()),
        name: Some("Größe.txt".into()),
    };
    let options = PutOptions::default().described(description);
    let text = content.put_bytes(&ctx(), "text", options).await.unwrap();
    content
        .link(&ctx(), &text.cid, "photo", &photo)
        .await
        .unwrap();
    let chain = content.chain::<Letter>("out").unwrap();
    for attachments in [vec![], vec![photo]] {
        let to = "anna".to_owned();
        let value = Letter { to, attachments };
        chain.append(&ctx(), &value).await.unwrap();
    }
    let outside = content.clone().with_links_outside();
    let elsewhere = cim_ipld::EventCid::of(b"an event").to_cid();
    let value = Letter {
        to: "all".into(),
        attachments: vec![elsewhere],
    };
    let options = PutOptions::pinned("partial");
    outside.put_value(&ctx(), &value, options).await.unwrap();
    put(&content, b"bad").await;
    content.mark(&ctx()).await.unwrap();
    content
}

/// All keys and values.
async fn dump(content: &ContentStore) -> String {
    let mut text = String::new();
    for bucket in content.buckets() {
        let all = SubjectPattern::all();
        let entries = bucket.entries(&ctx(), &all).await.unwrap();
        let entries: Vec<_> = entries.try_collect().await.unwrap();
        let values: BTreeMap<_, _> = entries
            .into_iter()
            .map(|entry| (entry.key, entry.value))
            .collect();
        for (key, value) in values {
            write!(text, "{} {key} ", bucket.name()).unwrap();
            for byte in &value {
                write!(text, "{byte:02x}").unwrap();
            }
            text.push('\n');
        }
    }
    text
}

fn golden() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/content-v1.txt");
    std::fs::read_to_string(path).unwrap()
}

#[tokio::test]
async fn what_is_stored_is_what_version_1_stores() {
    let stored = dump(&write().await).await;
    if std::env::var_os("CIM_WRITE_GOLDEN").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/content-v1.txt");
        std::fs::write(path, &stored).unwrap();
    }
    assert_eq!(stored, golden());
}

#[tokio::test]
async fn what_version_1_stored_is_read() {
    let (content, clock) = in_memory().await;
    for line in golden().lines() {
        let mut parts = line.split(' ');
        let mut next = || parts.next().unwrap();
        let (bucket, key, value) = (next(), next(), next());
        let bucket = content
            .buckets()
            .into_iter()
            .find(|known| known.name().as_str() == bucket)
            .unwrap();
        let byte = |at| u8::from_str_radix(&value[at..at + 2], 16).unwrap();
        let value: Vec<u8> = (0..value.len()).step_by(2).map(byte).collect();
        let key = Key::new(key.to_owned()).unwrap();
        bucket.set(&ctx(), &key, value.into()).await.unwrap();
    }
    let pins = content.pins(&ctx()).await.unwrap();
    let names: Vec<_> = pins.iter().map(|pin| pin.name.as_str()).collect();
    assert_eq!(names, ["partial", "photos/Ü 1"]);
    let photo = pins[1].root;
    let bytes: Vec<u8> = (0..50).collect();
    assert_eq!(get(&content, &photo).await.unwrap(), bytes);

    let text: Cid = cim_ipld::cid_of(0x55, HashFunction::Sha2_256, b"text");
    let metadata = content.metadata(&ctx(), &text).await.unwrap().unwrap();
    assert_eq!(metadata.size, 4);
    assert_eq!(metadata.created_at, NOON.saturating_add(HOUR));
    assert_eq!(metadata.description.name.as_deref(), Some("Größe.txt"));
    let media_type = metadata.description.media_type.unwrap();
    assert_eq!(media_type.as_str(), "text/plain");
    assert_eq!(
        metadata.links,
        BTreeMap::from([("photo".to_owned(), photo)])
    );
    assert_eq!(content.described(&ctx()).await.unwrap(), [text]);

    let chain = content.chain::<Letter>("out").unwrap();
    let head = chain.verify(&ctx(), Since::Beginning).await.unwrap();
    assert_eq!(head.map(|head| head.seq), Some(2));
    // The mark means another revision than the block has here, so it means nothing.
    clock.advance(2 * HOUR);
    assert_eq!(content.sweep(&ctx()).await.unwrap().removed, 0);
    assert_eq!(content.mark(&ctx()).await.unwrap().marked, 1);
}
