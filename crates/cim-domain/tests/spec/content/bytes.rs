//! Bytes of any size: what is put comes back, in any parts.

use std::convert::Infallible;

use cim_domain::persistence::content::IpldSerializer;
use cim_domain::persistence::content::{
    ContentError, ContentSettings, ContentStore, PutOptions, Shape,
};
use cim_ipld::dag_cbor::{self, Ipld};
use cim_ipld::{Block, HashFunction};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use proptest::prelude::*;

use super::{SMALL, blocks, ctx, get, in_memory, leaf, put, small};
use crate::stores::{on_every_store, open_at_noon};

on_every_store! {
    async fn bytes_are_stored_once_and_whoever_puts_them_again_is_told(store, clock) {
        let content = small(&store, &clock).await;
        let first = put(&content, b"0123456789").await;
        assert_eq!((first.size, first.blocks, first.new_blocks), (10, 4, 4));
        let stored = blocks(&content).await;
        let again = put(&content, b"0123456789").await;
        assert_eq!((again.cid, again.blocks, again.new_blocks), (first.cid, 4, 0));
        assert!(first.is_new() && !again.is_new());
        assert_eq!(blocks(&content).await, stored);
        assert_eq!(get(&content, &first.cid).await.unwrap(), b"0123456789");

        // What has parts in common with it brings only the others.
        let other = put(&content, b"01234567xx").await;
        assert_eq!((other.blocks, other.new_blocks), (4, 2));
    }

    async fn content_of_every_size_around_the_borders_comes_back(store, clock) {
        let content = small(&store, &clock).await;
        // Leaves of 4 bytes, nodes of 3 parts: a second level of nodes above 12 bytes, a third
        // above 36.
        let expected = [
            (0, 1), (1, 1), (3, 1), (4, 1), (5, 3), (8, 3), (12, 4), (13, 7), (24, 9), (36, 13),
            (37, 10 + 7), (108, 27 + 9 + 3 + 1),
        ];
        for (size, blocks) in expected {
            let bytes: Vec<u8> = (0..size).map(|byte| byte as u8).collect();
            let stored = put(&content, &bytes).await;
            assert_eq!((stored.size, stored.blocks), (size, blocks), "{size} bytes");
            assert_eq!(content.length(&ctx(), &stored.cid).await.unwrap(), size);
            assert_eq!(get(&content, &stored.cid).await.unwrap(), bytes);
            assert!(content.has(&ctx(), &stored.cid).await.unwrap());
        }
    }

    async fn megabytes_go_through_the_store_with_the_usual_settings(store, _clock) {
        let settings = ContentSettings::default();
        let content = IpldSerializer::open(&*store, &ctx(), "files", settings).await.unwrap();
        let part = bytes::Bytes::from((0..300_000_u32).map(|n| (n % 251 * n % 241) as u8).collect::<Vec<_>>());
        let parts = stream::iter((0..10).map(|_| Ok::<_, Infallible>(part.clone())));
        let stored = content.put_stream(&ctx(), parts, PutOptions::pinned("big")).await.unwrap();
        assert_eq!((stored.size, stored.blocks), (3_000_000, 12 + 1));
        assert!(content.mark(&ctx()).await.unwrap().marked == 0);

        let middle = content.get_stream(&ctx(), &stored.cid, 299_990..900_010).await.unwrap();
        let middle: Vec<bytes::Bytes> = middle.try_collect().await.unwrap();
        let expected = [&part[299_990..], &part[..], &part[..], &part[..10]].concat();
        assert_eq!(middle.concat(), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn content_does_not_depend_on_how_it_is_cut_and_any_range_of_it_is_a_slice(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..12),
        chunk_bytes in 1..9_usize,
        fan_out in 2..5_usize,
        (one, other) in (0..150_u64, 0..150_u64),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (store, _) = open_at_noon("memory:").await;
            let settings = ContentSettings { chunk_bytes, fan_out, ..SMALL };
            let content = ContentStore::open(&*store, &ctx(), "content", settings).await.unwrap();
            let whole = parts.concat();
            let cut = stream::iter(parts.into_iter().map(|part| Ok::<_, Infallible>(part.into())));
            let stored = content.put_stream(&ctx(), cut, PutOptions::default()).await.unwrap();
            let again = put(&content, &whole).await;
            assert_eq!((again.cid, again.new_blocks), (stored.cid, 0));
            assert_eq!(stored.size, whole.len() as u64);
            assert_eq!(get(&content, &stored.cid).await.unwrap(), whole);

            let read = async |range: (std::ops::Bound<u64>, std::ops::Bound<u64>)| {
                let read = content.get_stream(&ctx(), &stored.cid, range).await.unwrap();
                read.try_collect::<Vec<_>>().await.unwrap().concat()
            };
            use std::ops::Bound::{Excluded, Included, Unbounded};
            let at = |place: u64| (place as usize).min(whole.len());
            let (from, to) = (one.min(other), one.max(other));
            assert_eq!(read((Included(from), Excluded(to))).await, &whole[at(from)..at(to)]);
            assert_eq!(read((Included(from), Included(to))).await, &whole[at(from)..at(to + 1)]);
            assert_eq!(read((Excluded(from), Unbounded)).await, &whole[at(from + 1)..]);
            assert_eq!(read((Unbounded, Excluded(to))).await, &whole[..at(to)]);
            assert!(read((Included(to), Excluded(from))).await.is_empty());
        });
    }
}

#[tokio::test]
async fn small_content_is_the_raw_block_that_every_tool_makes_of_it() {
    let (store, _) = open_at_noon("memory:").await;
    let settings = ContentSettings::default();
    let content = ContentStore::open(&*store, &ctx(), "content", settings)
        .await
        .unwrap();
    let stored = put(&content, b"hello").await;
    // As `ipfs add --cid-version 1` names it.
    let known = "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq";
    assert_eq!(stored.cid.to_string(), known);
    assert_eq!(blocks(&content).await, [known]);
}

#[tokio::test]
async fn content_is_hashed_as_the_settings_say_and_read_whatever_they_say() {
    let (store, clock) = open_at_noon("memory:").await;
    let settings = ContentSettings {
        hash: HashFunction::Blake3,
        ..SMALL
    };
    let blake3 = ContentStore::open(&*store, &ctx(), "content", settings)
        .await
        .unwrap();
    let stored = put(&blake3, b"0123456789").await;
    assert_eq!(stored.cid.hash().code(), 0x1e);
    let sha2 = small(&store, &clock).await;
    assert_eq!(get(&sha2, &stored.cid).await.unwrap(), b"0123456789");
    let stored = put(&sha2, b"0123456789").await;
    assert_eq!((stored.cid.hash().code(), stored.new_blocks), (0x12, 4));
}

#[tokio::test]
async fn every_shape_of_the_layout_is_read_whoever_wrote_it() {
    let (content, _) = in_memory().await;
    let tree = put(&content, b"0123456789").await;
    let pair = |length: i128, part| Ipld::List(vec![Ipld::Integer(length), part]);
    let value = Ipld::List(vec![
        Ipld::Bytes(b"ab".to_vec()),
        pair(10, Ipld::Link(tree.cid)),
        pair(4, Ipld::List(vec![pair(4, Ipld::Link(leaf(b"4567")))])),
    ]);
    let bytes = dag_cbor::to_vec(&value).unwrap();
    let root = Block::new(0x71, HashFunction::Sha2_256, bytes);
    content
        .put(&ctx(), &root, PutOptions::default())
        .await
        .unwrap();
    assert_eq!(get(&content, &root.cid).await.unwrap(), b"ab01234567894567");
    let range = content.get_stream(&ctx(), &root.cid, 1..14).await.unwrap();
    let range: Vec<_> = range.try_collect().await.unwrap();
    assert_eq!(range.concat(), b"b012345678945");
}

#[tokio::test]
async fn what_claims_to_be_endless_is_not_read_into_memory_and_can_be_streamed() {
    let (content, _) = in_memory().await;
    put(&content, b"0123").await;
    let claim = |length: i128| {
        let pair = Ipld::List(vec![Ipld::Integer(length), Ipld::Link(leaf(b"0123"))]);
        let bytes = dag_cbor::to_vec(&Ipld::List(vec![pair])).unwrap();
        Block::new(0x71, HashFunction::Sha2_256, bytes)
    };
    let endless = claim(1 << 50);
    let options = PutOptions::default;
    content.put(&ctx(), &endless, options()).await.unwrap();
    let error = get(&content, &endless.cid).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "1125899906842624 bytes in memory are too many; at most 67108864 are possible"
    );
    let mut read = content.get_stream(&ctx(), &endless.cid, ..).await.unwrap();
    let error = read.next().await.unwrap().unwrap_err();
    let ContentError::Malformed { cid, source } = error else {
        panic!("{error:?}");
    };
    assert_eq!(*cid, leaf(b"0123"));
    assert!(matches!(source, Shape::WrongLength { declared, actual: 4 } if declared == 1 << 50));
}

#[tokio::test]
async fn a_tree_that_is_too_deep_is_refused_without_reading_it_all() {
    let (content, _) = in_memory().await;
    let mut below = put(&content, b"0123").await.cid;
    for _ in 0..70 {
        let pair = Ipld::List(vec![Ipld::Integer(4), Ipld::Link(below)]);
        let bytes = dag_cbor::to_vec(&Ipld::List(vec![pair])).unwrap();
        let block = Block::new(0x71, HashFunction::Sha2_256, bytes);
        content
            .put(&ctx(), &block, PutOptions::default())
            .await
            .unwrap();
        below = block.cid;
    }
    let error = get(&content, &below).await.unwrap_err();
    let deep = matches!(
        &error,
        ContentError::Malformed {
            source: Shape::Depth { max: 64 },
            ..
        }
    );
    assert!(deep, "{error:?}");
}

#[tokio::test]
async fn content_whose_source_fails_says_so_and_leaves_only_garbage() {
    let (content, _) = in_memory().await;
    let source = stream::iter([
        Ok("01234567".into()),
        Err(std::io::Error::other("the disk is gone")),
    ]);
    let error = content
        .put_stream(&ctx(), source, PutOptions::pinned("never"))
        .await
        .unwrap_err();
    let ContentError::Source(cause) = &error else {
        panic!("{error:?}");
    };
    assert_eq!(cause.to_string(), "the disk is gone");
    assert!(content.pins(&ctx()).await.unwrap().is_empty());
    let stored = blocks(&content).await.len() as u64;
    assert_eq!(content.mark(&ctx()).await.unwrap().marked, stored);
}

#[tokio::test]
async fn settings_out_of_their_range_are_refused_and_so_is_another_grace() {
    let (store, clock) = open_at_noon("memory:").await;
    small(&store, &clock).await;
    let wrong = [
        (
            ContentSettings {
                chunk_bytes: 0,
                ..SMALL
            },
            "chunk_bytes can't be 0: it is 1 to 1048576",
        ),
        (
            ContentSettings {
                chunk_bytes: (1 << 20) + 1,
                ..SMALL
            },
            "chunk_bytes can't be 1048577: it is 1 to 1048576",
        ),
        (
            ContentSettings {
                fan_out: 1,
                ..SMALL
            },
            "fan_out can't be 1: it is 2 to 8192",
        ),
        (
            ContentSettings {
                grace: std::time::Duration::ZERO,
                ..SMALL
            },
            "grace can't be 0ns: it is a second to 100 years",
        ),
        (
            ContentSettings {
                grace: 2 * super::HOUR,
                ..SMALL
            },
            "grace can't be 7200s: the store was made with 3600s",
        ),
    ];
    for (settings, message) in wrong {
        let opened = ContentStore::open(&*store, &ctx(), "content", settings).await;
        assert_eq!(opened.unwrap_err().to_string(), message);
    }
    for name in ["", "a b", &"x".repeat(57)] {
        let opened = ContentStore::open(&*store, &ctx(), name, SMALL).await;
        let error = opened.unwrap_err();
        assert!(matches!(error, ContentError::InvalidName { .. }), "{name}");
    }
}
