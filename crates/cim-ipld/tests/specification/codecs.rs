//! Codecs by their numbers: which ones are known, what they do to blocks, and how others join them.

use std::sync::Arc;

use cim_ipld::dag_cbor::{self, Ipld, MAX_LEN};
use cim_ipld::{
    Block, Cid, Codec, CodecFailure, CodecRegistry, DAG_CBOR_CODE, DAG_JSON_CODE, EventCid,
    HashFunction, RAW_CODE, RegistryError,
};
use proptest::prelude::*;

const SHA: HashFunction = HashFunction::Sha2_256;

fn link(n: u8) -> Cid {
    EventCid::of(&[n]).to_cid()
}

/// A value with links in many places, and the links in order.
fn linked() -> impl Strategy<Value = Ipld> {
    let leaf = prop_oneof![
        any::<u8>().prop_map(|n| Ipld::Link(link(n))),
        any::<i64>().prop_map(|n| Ipld::Integer(n.into())),
        "[a-z]{0,3}".prop_map(Ipld::String),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Ipld::List),
            prop::collection::btree_map("[a-z]{0,3}", inner, 0..5).prop_map(Ipld::Map),
        ]
    })
}

/// The links of a value, as bytes in order, so that two orders can be compared.
fn sorted(mut links: Vec<Cid>) -> Vec<Cid> {
    links.sort();
    links
}

proptest! {
    #[test]
    fn links_are_those_of_the_value_in_every_codec(value in linked()) {
        let codecs = CodecRegistry::new();
        let mut expected = Vec::new();
        value.references(&mut expected);
        for code in [DAG_CBOR_CODE, DAG_JSON_CODE] {
            let block = codecs.encode(code, SHA, &value).unwrap();
            prop_assert_eq!(codecs.decode(&block).unwrap(), value.clone());
            prop_assert_eq!(sorted(codecs.links(&block).unwrap()), sorted(expected.clone()));
        }
    }
}

#[test]
fn links_come_in_the_order_of_the_bytes_and_as_often() {
    let map = [("bb", link(1)), ("c", link(2))].map(|(key, cid)| (key.into(), Ipld::Link(cid)));
    let value = Ipld::List(vec![
        Ipld::Link(link(3)),
        Ipld::Map(map.into()),
        Ipld::Link(link(3)),
    ]);
    let block = dag_cbor::to_vec(&value).unwrap();
    // DAG-CBOR has the shorter key first.
    assert_eq!(
        dag_cbor::links(&block).unwrap(),
        [link(3), link(2), link(1), link(3)]
    );
}

#[test]
fn dag_cbor_dag_json_and_raw_are_known_from_the_start() {
    let codecs = CodecRegistry::new();
    let known: Vec<_> = codecs
        .iter()
        .map(|codec| (codec.code(), codec.name()))
        .collect();
    assert_eq!(
        known,
        [(0x55, "raw"), (0x71, "dag-cbor"), (0x0129, "dag-json")]
    );
    assert_eq!(codecs.get(0x55).unwrap().name(), "raw");
    assert!(codecs.get(0x70).is_none());
}

#[test]
fn a_block_is_decoded_by_the_codec_of_its_cid() {
    let codecs = CodecRegistry::new();
    for (code, bytes, value) in [
        (RAW_CODE, &b"[1]"[..], Ipld::Bytes(b"[1]".to_vec())),
        (DAG_JSON_CODE, b"[1]", Ipld::List(vec![Ipld::Integer(1)])),
        (
            DAG_CBOR_CODE,
            b"\x81\x01",
            Ipld::List(vec![Ipld::Integer(1)]),
        ),
    ] {
        let block = Block::new(code, SHA, bytes);
        assert_eq!(codecs.decode(&block).unwrap(), value);
        assert_eq!(codecs.encode(code, SHA, &value).unwrap(), block);
    }
}

#[test]
fn a_block_of_an_unknown_or_another_codec_is_refused_by_name() {
    let codecs = CodecRegistry::new();
    let unknown = Block::new(0x70, SHA, &b"\x0a\x00"[..]);
    for error in [
        codecs.decode(&unknown).unwrap_err(),
        codecs.links(&unknown).unwrap_err(),
        codecs.encode(0x70, SHA, &Ipld::Null).unwrap_err(),
    ] {
        assert!(matches!(error, RegistryError::UnknownCodec { code: 0x70 }));
    }
    for (code, name) in [(DAG_CBOR_CODE, "dag-cbor"), (DAG_JSON_CODE, "dag-json")] {
        let block = Block::new(code, SHA, &b"\xff"[..]);
        for error in [
            codecs.decode(&block).unwrap_err(),
            codecs.links(&block).unwrap_err(),
        ] {
            let RegistryError::Decode { codec, cid, .. } = error else {
                panic!("{error}")
            };
            assert_eq!((&*codec, *cid), (name, block.cid));
        }
    }
}

#[test]
fn raw_blocks_hold_bytes_up_to_the_limit_and_nothing_else() {
    let codecs = CodecRegistry::new();
    let error = codecs.encode(RAW_CODE, SHA, &Ipld::Null).unwrap_err();
    assert!(matches!(error, RegistryError::Encode { codec, .. } if codec == "raw"));
    let largest = Ipld::Bytes(vec![0; MAX_LEN]);
    let block = codecs.encode(RAW_CODE, SHA, &largest).unwrap();
    assert_eq!(codecs.decode(&block).unwrap(), largest);
    let over = Ipld::Bytes(vec![0; MAX_LEN + 1]);
    assert!(codecs.encode(RAW_CODE, SHA, &over).is_err());
    let over = Block::new(RAW_CODE, SHA, vec![0; MAX_LEN + 1]);
    assert!(codecs.decode(&over).is_err());
}

/// A codec of somebody else's: one byte, the number of the link that it is.
#[derive(Debug)]
struct OneLink;

impl Codec for OneLink {
    fn code(&self) -> u64 {
        0x30_0001
    }

    fn name(&self) -> &str {
        "one-link"
    }

    fn decode(&self, block: &[u8]) -> Result<Ipld, CodecFailure> {
        match block {
            [n] => Ok(Ipld::Link(link(*n))),
            _ => Err("one byte".into()),
        }
    }

    fn encode(&self, value: &Ipld) -> Result<Vec<u8>, CodecFailure> {
        (0..=255)
            .find(|&n| *value == Ipld::Link(link(n)))
            .map(|n| vec![n])
            .ok_or_else(|| "one of 256 links".into())
    }
}

#[test]
fn a_codec_that_is_added_works_like_the_others() {
    let mut codecs = CodecRegistry::new();
    codecs.register(Arc::new(OneLink)).unwrap();
    let value = Ipld::Link(link(7));
    let block = codecs
        .encode(0x30_0001, HashFunction::Blake3, &value)
        .unwrap();
    assert_eq!((block.cid.codec(), &block.bytes[..]), (0x30_0001, &[7][..]));
    assert_eq!(codecs.decode(&block).unwrap(), value);
    assert_eq!(codecs.links(&block).unwrap(), [link(7)]);
    assert!(CodecRegistry::new().decode(&block).is_err());

    let error = codecs.encode(0x30_0001, SHA, &Ipld::Null).unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "one of 256 links");
}

#[test]
fn a_code_means_one_codec() {
    let mut codecs = CodecRegistry::default();
    codecs.register(Arc::new(OneLink)).unwrap();
    for code in [0x30_0001, RAW_CODE] {
        #[derive(Debug)]
        struct Other(u64);
        impl Codec for Other {
            fn code(&self) -> u64 {
                self.0
            }
            fn name(&self) -> &str {
                "other"
            }
            fn decode(&self, _: &[u8]) -> Result<Ipld, CodecFailure> {
                Ok(Ipld::Null)
            }
            fn encode(&self, _: &Ipld) -> Result<Vec<u8>, CodecFailure> {
                Ok(Vec::new())
            }
        }
        let before = codecs.get(code).unwrap().name().to_owned();
        let error = codecs.register(Arc::new(Other(code))).unwrap_err();
        assert!(
            matches!(error, RegistryError::AlreadyKnown { code: found, name } if found == code && name == before)
        );
        assert_eq!(codecs.get(code).unwrap().name(), before);
    }
}
