//! Pins, descriptions and links: what keeps content, and what stands beside it.

use std::time::Duration;

use cim_domain::persistence::content::{ContentError, Description, PutOptions};
use cim_domain::store::{BucketExt as _, ContentType, Key};
use cim_ipld::dag_cbor::{self, Ipld};
use cim_ipld::{Block, HashFunction};

use super::{HOUR, blocks, ctx, get, in_memory, leaf, put, small};
use crate::stores::{NOON, on_every_store};

fn photo() -> Description {
    Description {
        media_type: Some(ContentType::new("image/png").unwrap()),
        name: Some("Grüße.png".into()),
    }
}

on_every_store! {
    async fn a_pin_keeps_everything_below_it_until_it_is_taken_away_or_moved(store, clock) {
        let content = small(&store, &clock).await;
        let one = put(&content, b"0123456789").await.cid;
        let reach = content.pin(&ctx(), "Ü/1", &one).await.unwrap();
        assert_eq!((reach.blocks, reach.outside), (4, 0));
        let other = content.put_bytes(&ctx(), "other", PutOptions::pinned("b")).await.unwrap().cid;
        let pins = content.pins(&ctx()).await.unwrap();
        let pins: Vec<_> = pins.iter().map(|pin| (pin.name.as_str(), pin.root)).collect();
        assert_eq!(pins, [("b", other), ("Ü/1", one)]);

        content.pin(&ctx(), "b", &one).await.unwrap();
        assert!(content.unpin(&ctx(), "Ü/1").await.unwrap());
        assert!(!content.unpin(&ctx(), "Ü/1").await.unwrap());
        content.mark(&ctx()).await.unwrap();
        clock.advance(HOUR);
        content.sweep(&ctx()).await.unwrap();
        assert!(get(&content, &one).await.is_ok());
        assert!(get(&content, &other).await.unwrap_err().is_not_found());
    }

    async fn a_description_stands_beside_content_and_keeps_it(store, clock) {
        let content = small(&store, &clock).await;
        let plain = put(&content, b"0123456789").await;
        let options = PutOptions::default().described(photo());
        let described = content.put_bytes(&ctx(), "0123456789", options).await.unwrap();
        assert_eq!(described.cid, plain.cid, "it is no part of the content");
        clock.advance(HOUR);
        let renamed = Description { name: Some("b.png".into()), ..photo() };
        content.describe(&ctx(), &plain.cid, renamed.clone()).await.unwrap();

        let metadata = content.metadata(&ctx(), &plain.cid).await.unwrap().unwrap();
        assert_eq!(metadata.description, renamed);
        assert_eq!((metadata.size, metadata.created_at), (10, NOON));
        assert_eq!(content.described(&ctx()).await.unwrap(), [plain.cid]);
        content.mark(&ctx()).await.unwrap();
        clock.advance(HOUR);
        assert_eq!(content.sweep(&ctx()).await.unwrap().removed, 0);

        assert!(content.forget(&ctx(), &plain.cid).await.unwrap());
        assert!(!content.forget(&ctx(), &plain.cid).await.unwrap());
        assert_eq!(content.metadata(&ctx(), &plain.cid).await.unwrap(), None);
        content.mark(&ctx()).await.unwrap();
        clock.advance(HOUR);
        assert_eq!(content.sweep(&ctx()).await.unwrap().removed, 4);
    }

    async fn a_link_names_other_content_and_keeps_both(store, clock) {
        let content = small(&store, &clock).await;
        let photo = put(&content, b"photo").await.cid;
        let small_one = put(&content, b"thumb").await.cid;
        content.link(&ctx(), &photo, "thumbnail", &small_one).await.unwrap();
        let metadata = content.metadata(&ctx(), &photo).await.unwrap().unwrap();
        assert_eq!(metadata.links.get("thumbnail"), Some(&small_one));
        assert_eq!((metadata.size, metadata.description), (5, Description::default()));
        content.mark(&ctx()).await.unwrap();
        clock.advance(HOUR);
        assert_eq!(content.sweep(&ctx()).await.unwrap().removed, 0);

        assert!(content.unlink(&ctx(), &photo, "thumbnail").await.unwrap());
        assert!(!content.unlink(&ctx(), &photo, "thumbnail").await.unwrap());
        content.mark(&ctx()).await.unwrap();
        clock.advance(HOUR);
        content.sweep(&ctx()).await.unwrap();
        assert!(get(&content, &photo).await.is_ok());
        assert!(get(&content, &small_one).await.unwrap_err().is_not_found());
    }
}

#[tokio::test]
async fn links_out_of_the_store_are_refused_or_allowed_and_counted() {
    let (content, clock) = in_memory().await;
    let elsewhere = cim_ipld::EventCid::of(b"an event").to_cid();
    let identity = "bafkqaaik".parse().unwrap(); // an identity CID of one byte
    let here = put(&content, b"0123").await.cid;
    let value = Ipld::List([elsewhere, here, identity].map(Ipld::Link).to_vec());
    let bytes = dag_cbor::to_vec(&value).unwrap();
    let block = Block::new(0x71, HashFunction::Sha2_256, bytes);
    let options = PutOptions::pinned("it");
    let error = content.put(&ctx(), &block, options).await.unwrap_err();
    assert!(matches!(error, ContentError::Missing { .. }), "{error:?}");
    let error = content.pin(&ctx(), "it", &block.cid).await.unwrap_err();
    assert!(matches!(error, ContentError::Missing { .. }), "{error:?}");
    assert!(content.pins(&ctx()).await.unwrap().is_empty());

    let content = content.with_links_outside();
    let reach = content.pin(&ctx(), "it", &block.cid).await.unwrap();
    assert_eq!((reach.blocks, reach.outside), (2, 2));
    assert!(!reach.is_whole());
    assert!([Some(elsewhere), Some(identity)].contains(&reach.first_outside));

    let marked = content.mark(&ctx()).await.unwrap();
    assert_eq!((marked.kept, marked.marked, marked.outside), (2, 0, 1));
    clock.advance(HOUR);
    assert_eq!(content.sweep(&ctx()).await.unwrap().removed, 0);
}

#[tokio::test]
async fn what_is_not_there_can_not_be_named() {
    let (content, _) = in_memory().await;
    let (here, nowhere) = (put(&content, b"0123").await.cid, leaf(b"?"));
    let errors = [
        content.pin(&ctx(), "it", &nowhere).await.unwrap_err(),
        content
            .describe(&ctx(), &nowhere, photo())
            .await
            .unwrap_err(),
        content
            .link(&ctx(), &here, "it", &nowhere)
            .await
            .unwrap_err(),
        content
            .link(&ctx(), &nowhere, "it", &here)
            .await
            .unwrap_err(),
    ];
    for error in errors {
        assert!(error.is_not_found());
        assert_eq!(error.to_string(), format!("there is no content {nowhere}"));
    }
    assert!(content.pins(&ctx()).await.unwrap().is_empty());
    assert!(content.described(&ctx()).await.unwrap().is_empty());
    assert!(!content.has(&ctx(), &nowhere).await.unwrap());
}

#[tokio::test]
async fn names_that_are_none_are_refused_before_anything_is_stored() {
    let (content, _) = in_memory().await;
    let long = "x".repeat(256);
    for name in ["", long.as_str()] {
        let pin = PutOptions::pinned(name);
        let named = Description {
            name: Some(name.into()),
            ..Description::default()
        };
        let describe = PutOptions::default().described(named);
        for options in [pin, describe] {
            let error = content.put_bytes(&ctx(), "x", options).await.unwrap_err();
            assert!(
                matches!(error, ContentError::InvalidName { .. }),
                "{error:?}"
            );
        }
    }
    assert!(blocks(&content).await.is_empty());
    let here = put(&content, b"0123").await.cid;
    let error = content
        .link(&ctx(), &here, "a\nb", &here)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "`a\nb` can't be the name of a link");
}

#[tokio::test]
async fn content_has_a_thousand_links_beside_it_and_no_more() {
    let (content, _) = in_memory().await;
    let here = put(&content, b"0123").await.cid;
    // One by one would take seconds.
    let links = (0..1_000).map(|label| (label.to_string(), Ipld::Link(here)));
    let fields = [
        ("v", Ipld::Integer(1)),
        ("size", Ipld::Integer(4)),
        ("created", Ipld::Integer(0)),
        ("links", Ipld::Map(links.collect())),
    ];
    let record = Ipld::Map(fields.map(|(name, value)| (name.to_owned(), value)).into());
    let key = Key::new(format!("about.{here}")).unwrap();
    let [_, records] = content.buckets();
    let value = dag_cbor::to_vec(&record).unwrap();
    records.set(&ctx(), &key, value.into()).await.unwrap();
    let metadata = content.metadata(&ctx(), &here).await.unwrap();
    assert_eq!(metadata.unwrap().links.len(), 1_000);
    content.link(&ctx(), &here, "7", &here).await.unwrap();
    let error = content
        .link(&ctx(), &here, "more", &here)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "1001 links of one content are too many; at most 1000 are possible"
    );
}

#[tokio::test]
async fn a_name_that_is_given_within_half_the_grace_needs_no_second_look() {
    let (content, clock) = in_memory().await;
    let stored = put(&content, b"0123456789").await;
    content.mark(&ctx()).await.unwrap();
    clock.advance(HOUR - Duration::from_secs(1));
    content.pin(&ctx(), "it", &stored.cid).await.unwrap();
    clock.advance(Duration::from_secs(1));
    let swept = content.sweep(&ctx()).await.unwrap();
    assert_eq!((swept.removed, swept.spared), (0, 4));
    let swept = content.sweep(&ctx()).await.unwrap();
    assert_eq!((swept.spared, swept.waiting), (0, 0), "the marks are gone");
}
