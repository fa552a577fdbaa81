//! Typed values as blocks, and blocks of any codec.

use cim_domain::persistence::content::{ContentError, Description, PutOptions};
use cim_ipld::{Block, Cid, HashFunction, TypedContent, TypedContentError};
use serde::{Deserialize, Serialize};

use super::{HOUR, blocks, ctx, get, in_memory, leaf, put, small};
use crate::stores::on_every_store;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Letter {
    pub(crate) to: String,
    pub(crate) attachments: Vec<Cid>,
}

impl TypedContent for Letter {
    const NAME: &'static str = "office.letter";
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Invoice {
    number: u64,
}

impl TypedContent for Invoice {
    const NAME: &'static str = "billing.invoice";
}

fn letter(attachments: Vec<Cid>) -> Letter {
    Letter {
        to: "anna".into(),
        attachments,
    }
}

on_every_store! {
    async fn a_value_comes_back_and_keeps_what_it_links_to(store, clock) {
        let content = small(&store, &clock).await;
        let photo = put(&content, b"0123456789").await.cid;
        let value = letter(vec![photo]);
        let options = PutOptions::pinned("it").described(Description::default());
        let stored = content.put_value(&ctx(), &value, options).await.unwrap();
        assert_eq!((stored.blocks, stored.is_new()), (1, true));
        assert_eq!(content.block_of(&value).unwrap().cid, stored.cid);
        assert_eq!(content.get_value::<Letter>(&ctx(), &stored.cid).await.unwrap(), value);
        let metadata = content.metadata(&ctx(), &stored.cid).await.unwrap().unwrap();
        assert_eq!(metadata.description.name.as_deref(), Some("office.letter"));

        let again = content.put_value(&ctx(), &value, PutOptions::default()).await.unwrap();
        assert!(!again.is_new());
        let marked = content.mark(&ctx()).await.unwrap();
        assert_eq!((marked.kept, marked.marked), (5, 0));
        clock.advance(HOUR);
        content.sweep(&ctx()).await.unwrap();
        assert_eq!(get(&content, &photo).await.unwrap(), b"0123456789");
    }
}

#[tokio::test]
async fn another_value_is_told_from_the_one_that_was_asked_for() {
    let (content, _) = in_memory().await;
    let stored = content
        .put_value(&ctx(), &letter(vec![]), PutOptions::default())
        .await
        .unwrap();
    let error = content
        .get_value::<Invoice>(&ctx(), &stored.cid)
        .await
        .unwrap_err();
    let ContentError::Decode { cid, source } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(**cid, stored.cid);
    assert_eq!(source.to_string(), "these bytes are no billing.invoice");

    let raw = put(&content, b"0123").await.cid;
    let error = content.get_value::<Invoice>(&ctx(), &raw).await;
    let wrong = matches!(
        error.unwrap_err(),
        ContentError::Decode { source, .. }
            if matches!(*source, TypedContentError::WrongCodec { found: 0x55, .. })
    );
    assert!(wrong);
    let error = get(&content, &stored.cid).await.unwrap_err();
    assert!(matches!(error, ContentError::Malformed { .. }));
    let error = content.get_value::<Invoice>(&ctx(), &leaf(b"?")).await;
    assert!(error.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_value_that_is_to_be_named_must_be_whole() {
    let (content, _) = in_memory().await;
    let nowhere = cim_ipld::EventCid::of(b"an event").to_cid();
    let value = letter(vec![nowhere]);
    let error = content
        .put_value(&ctx(), &value, PutOptions::pinned("it"))
        .await
        .unwrap_err();
    let ContentError::Missing { cid, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(**cid, nowhere);
    assert!(content.pins(&ctx()).await.unwrap().is_empty());
    let outside = content.clone().with_links_outside();
    let options = PutOptions::pinned("it");
    outside.put_value(&ctx(), &value, options).await.unwrap();
    assert_eq!(content.mark(&ctx()).await.unwrap().outside, 1);
}

#[tokio::test]
async fn what_could_not_be_read_or_followed_later_is_not_taken() {
    let (content, _) = in_memory().await;
    let block = |codec, bytes: &[u8]| Block::new(codec, HashFunction::Sha2_256, bytes.to_vec());
    let options = PutOptions::default;

    let foreign = block(0x70, b"x");
    let error = content.put(&ctx(), &foreign, options()).await.unwrap_err();
    assert!(matches!(
        error,
        ContentError::UnknownCodec { code: 0x70, .. }
    ));

    let sloppy = block(0x71, b"\x18\x01"); // a 1 in two bytes
    let error = content.put(&ctx(), &sloppy, options()).await.unwrap_err();
    assert!(matches!(error, ContentError::Malformed { .. }));

    let claimed = Block {
        cid: leaf(b"good"),
        bytes: "evil".into(),
    };
    let error = content.put(&ctx(), &claimed, options()).await.unwrap_err();
    assert!(matches!(error, ContentError::Altered { .. }));

    let large = block(0x55, &[0; (1 << 20) + 1]);
    let error = content.put(&ctx(), &large, options()).await.unwrap_err();
    assert!(matches!(
        error,
        ContentError::TooLarge { max: 1_048_576, .. }
    ));

    let old: Cid = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG"
        .parse()
        .unwrap();
    let error = content.get(&ctx(), &old).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{old} can't be the CID of stored content")
    );
    assert!(blocks(&content).await.is_empty());
}

#[tokio::test]
async fn blocks_of_every_known_codec_are_kept_and_followed() {
    let (content, clock) = in_memory().await;
    let photo = put(&content, b"0123").await.cid;
    let json = format!(r#"{{"photo":{{"/":"{photo}"}}}}"#);
    let album = Block::new(0x0129, HashFunction::Sha2_256, json.into_bytes());
    let options = PutOptions::pinned("album");
    content.put(&ctx(), &album, options).await.unwrap();
    assert_eq!(content.get(&ctx(), &album.cid).await.unwrap(), album);
    content.mark(&ctx()).await.unwrap();
    clock.advance(HOUR);
    assert_eq!(content.sweep(&ctx()).await.unwrap().removed, 0);
}
