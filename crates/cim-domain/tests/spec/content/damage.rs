//! What is damaged in the bucket is an error that names it, and never content.

use std::error::Error as _;

use cim_domain::persistence::content::{ContentError, PutOptions};
use cim_domain::store::{BucketExt as _, Key};
use cim_ipld::VerifyError;
use futures_util::TryStreamExt as _;

use super::{ctx, get, in_memory, leaf, put, small, tamper};
use crate::stores::on_every_store;

on_every_store! {
    async fn an_altered_block_is_named_and_nothing_of_it_is_given_out(store, clock) {
        let content = small(&store, &clock).await;
        let stored = put(&content, b"0123456789").await;
        let broken = leaf(b"4567");
        tamper(&content, &broken, Some(b"4x67")).await;

        let mut read = content.get_stream(&ctx(), &stored.cid, ..).await.unwrap();
        assert_eq!(&read.try_next().await.unwrap().unwrap()[..], b"0123");
        let errors = [
            read.try_next().await.unwrap_err(),
            get(&content, &stored.cid).await.unwrap_err(),
            content.get(&ctx(), &broken).await.unwrap_err(),
            content.pin(&ctx(), "it", &stored.cid).await.unwrap_err(),
        ];
        for error in errors {
            assert!(error.is_integrity());
            let message = format!("the block kept as {broken} is not the one that was put there");
            assert_eq!(error.to_string(), message);
            let source = error.source().unwrap().downcast_ref::<VerifyError>().unwrap();
            assert!(matches!(source, VerifyError::WrongDigest { actual, .. } if **actual == leaf(b"4x67")));
        }
        // What is beside it can be read.
        let rest = content.get_stream(&ctx(), &stored.cid, 8..).await.unwrap();
        assert_eq!(rest.try_collect::<Vec<_>>().await.unwrap().concat(), b"89");
    }

    async fn putting_content_again_puts_right_what_was_altered_and_says_so(store, clock) {
        let content = small(&store, &clock).await;
        let stored = put(&content, b"0123456789").await;
        tamper(&content, &leaf(b"4567"), Some(b"")).await;
        tamper(&content, &leaf(b"89"), None).await;
        let again = put(&content, b"0123456789").await;
        assert_eq!((again.repaired, again.new_blocks), (1, 1));
        assert_eq!(get(&content, &stored.cid).await.unwrap(), b"0123456789");
    }
}

#[tokio::test]
async fn a_missing_part_is_named_with_what_it_is_a_part_of() {
    let (content, _) = in_memory().await;
    let stored = put(&content, b"0123456789").await;
    tamper(&content, &leaf(b"4567"), None).await;
    let error = get(&content, &stored.cid).await.unwrap_err();
    let ContentError::Missing { cid, root } = &error else {
        panic!("{error:?}");
    };
    assert_eq!((**cid, **root), (leaf(b"4567"), stored.cid));
    assert!(error.is_integrity() && !error.is_not_found());

    tamper(&content, &stored.cid, None).await;
    let error = get(&content, &stored.cid).await.unwrap_err();
    assert!(error.is_not_found() && !error.is_integrity());
}

#[tokio::test]
async fn garbage_is_not_looked_for_where_damage_hides_what_is_kept() {
    let (content, clock) = in_memory().await;
    let bytes: Vec<u8> = (0..50).collect();
    let options = PutOptions::pinned("kept");
    let stored = content
        .put_bytes(&ctx(), bytes.clone(), options)
        .await
        .unwrap();
    put(&content, b"garbage").await;
    content.mark(&ctx()).await.unwrap();
    clock.advance(super::HOUR);

    // The nodes below the root: without one of them its leaves would look like garbage.
    let root = content.get(&ctx(), &stored.cid).await.unwrap();
    let mut nodes = Vec::new();
    let value: cim_ipld::dag_cbor::Ipld = cim_ipld::dag_cbor::from_slice(&root.bytes).unwrap();
    value.references(&mut nodes);
    tamper(&content, &nodes[0], None).await;
    let missing = |error: ContentError| matches!(error, ContentError::Missing { cid, .. } if *cid == nodes[0]);
    assert!(missing(content.mark(&ctx()).await.unwrap_err()));
    assert!(missing(content.sweep(&ctx()).await.unwrap_err()));
    tamper(&content, &nodes[0], Some(b"?")).await;
    let altered = content.mark(&ctx()).await.unwrap_err();
    assert!(matches!(altered, ContentError::Altered { .. }));

    put(&content, &bytes).await;
    let swept = content.sweep(&ctx()).await.unwrap();
    assert_eq!(swept.removed, 3, "garbage is two leaves and a node");
    assert_eq!(get(&content, &stored.cid).await.unwrap(), bytes);
}

#[tokio::test]
async fn a_record_of_another_format_is_refused_and_not_guessed() {
    let (content, _) = in_memory().await;
    let stored = put(&content, b"0123").await;
    let [_, records] = content.buckets();
    let value = cim_ipld::dag_cbor::to_vec(&std::collections::BTreeMap::from([("v", 2)])).unwrap();
    let key = Key::new("pin.later").unwrap();
    records.set(&ctx(), &key, value.into()).await.unwrap();
    let errors = [
        content.pins(&ctx()).await.unwrap_err(),
        content.mark(&ctx()).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.to_string(), "the record `pin.later` can't be read");
        assert!(error.is_integrity());
    }
    content.pin(&ctx(), "later", &stored.cid).await.unwrap();
    assert_eq!(content.pins(&ctx()).await.unwrap().len(), 1);
}
