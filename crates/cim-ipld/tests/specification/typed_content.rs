//! Typed content: which bytes a value becomes, what its name is for, and what is refused.

use std::error::Error;

use cim_ipld::dag_cbor::{self, Ipld};
use cim_ipld::{
    Block, Cid, Codec, CodecFailure, ContentCodec, DAG_CBOR_CODE, DAG_JSON_CODE, EventCid,
    HashFunction, RAW_CODE, TypedContent, TypedContentError, VerifyError, dag_json,
};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

const SHA: HashFunction = HashFunction::Sha2_256;

macro_rules! price {
    ($type:ident, $name:literal $(, $codec:expr)?) => {
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        struct $type {
            cents: u64,
            of: Option<Cid>,
        }

        impl TypedContent for $type {
            const NAME: &'static str = $name;
            $(const CODEC: ContentCodec = $codec;)?
        }
    };
}

price!(Price, "shop.price");
price!(PriceTag, "shop.price_tag");
price!(PriceText, "shop.price_text", ContentCodec::DagJson);
price!(
    PriceOddly,
    "shop.price_oddly",
    ContentCodec::Other(&Reversed)
);

/// DAG-CBOR from back to front.
#[derive(Debug)]
struct Reversed;

impl Codec for Reversed {
    fn code(&self) -> u64 {
        0x30_0002
    }

    fn name(&self) -> &str {
        "reversed"
    }

    fn decode(&self, block: &[u8]) -> Result<Ipld, CodecFailure> {
        let block: Vec<_> = block.iter().rev().copied().collect();
        Ok(dag_cbor::from_slice(&block)?)
    }

    fn encode(&self, value: &Ipld) -> Result<Vec<u8>, CodecFailure> {
        let mut block = dag_cbor::to_vec(value)?;
        block.reverse();
        Ok(block)
    }
}

proptest! {
    #[test]
    fn a_value_reads_back_from_its_block_in_every_codec(cents: u64, digest: Option<[u8; 32]>) {
        let of = digest.map(|digest| EventCid::from_digest(digest).to_cid());
        for hash in HashFunction::ALL {
            let price = Price { cents, of };
            prop_assert_eq!(Price::from_block(&price.to_block(hash).unwrap()).unwrap(), price);
            let text = PriceText { cents, of };
            prop_assert_eq!(PriceText::from_block(&text.to_block(hash).unwrap()).unwrap(), text);
            let oddly = PriceOddly { cents, of };
            prop_assert_eq!(PriceOddly::from_block(&oddly.to_block(hash).unwrap()).unwrap(), oddly);
        }
    }
}

#[test]
fn a_block_is_the_plain_bytes_of_the_codec() {
    let (cents, of) = (7, None);
    let block = Price { cents, of }.to_block(SHA).unwrap();
    assert_eq!(block.bytes, dag_cbor::to_vec(&Price { cents, of }).unwrap());
    assert_eq!((block.cid.codec(), block.verify()), (DAG_CBOR_CODE, Ok(())));

    let block = PriceText { cents, of }.to_block(SHA).unwrap();
    assert_eq!(block.bytes, br#"{"cents":7,"of":null}"#[..]);
    assert_eq!(
        block.bytes,
        dag_json::to_vec(&PriceText { cents, of }).unwrap()
    );
    assert_eq!(block.cid.codec(), DAG_JSON_CODE);

    let block = PriceOddly { cents, of }.to_block(SHA).unwrap();
    assert_eq!(block.cid.codec(), 0x30_0002);
}

#[test]
fn the_name_stands_beside_the_block_and_not_in_it() {
    let (cents, of) = (7, None);
    let price = Price { cents, of }.to_block(SHA).unwrap();
    let tag = PriceTag { cents, of }.to_block(SHA).unwrap();
    assert_eq!(price, tag);
    assert_eq!(
        PriceTag::from_block(&price).unwrap(),
        PriceTag { cents, of }
    );
}

#[test]
fn errors_say_the_name() {
    let block = Block::new(DAG_CBOR_CODE, SHA, dag_cbor::to_vec("no price").unwrap());
    let error = Price::from_block(&block).unwrap_err();
    assert!(matches!(
        error,
        TypedContentError::Decode {
            name: "shop.price",
            ..
        }
    ));
    assert_eq!(error.to_string(), "these bytes are no shop.price");
    assert!(error.source().is_some());
}

#[test]
fn a_block_of_another_codec_is_refused() {
    let block = PriceText { cents: 7, of: None }.to_block(SHA).unwrap();
    assert!(matches!(
        Price::from_block(&block),
        Err(TypedContentError::WrongCodec {
            name: "shop.price",
            expected: DAG_CBOR_CODE,
            found: DAG_JSON_CODE
        })
    ));
}

#[test]
fn an_altered_block_is_refused_even_if_it_decodes() {
    let one = Price { cents: 1, of: None }.to_block(SHA).unwrap();
    let two = Price { cents: 2, of: None }.to_block(SHA).unwrap();
    let altered = Block {
        cid: one.cid,
        bytes: two.bytes,
    };
    assert!(matches!(
        Price::from_block(&altered),
        Err(TypedContentError::Unverified {
            source: VerifyError::WrongDigest { .. },
            ..
        })
    ));
}

#[test]
fn raw_content_is_a_byte_string_and_nothing_else() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(transparent)]
    struct Picture(Ipld);
    impl TypedContent for Picture {
        const NAME: &'static str = "shop.picture";
        const CODEC: ContentCodec = ContentCodec::Raw;
    }

    let picture = Picture(Ipld::Bytes(b"\xff\xd8".to_vec()));
    let block = picture.to_block(SHA).unwrap();
    assert_eq!(
        (block.cid.codec(), &block.bytes[..]),
        (RAW_CODE, &b"\xff\xd8"[..])
    );
    assert_eq!(Picture::from_block(&block).unwrap(), picture);
    assert!(matches!(
        Picture(Ipld::String("text".into())).to_block(SHA),
        Err(TypedContentError::Encode {
            name: "shop.picture",
            ..
        })
    ));
}
