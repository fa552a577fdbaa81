//! Encoding and decoding an event's block, held against the field's general codec.

use cim_ipld::dag_cbor::{self, Ipld};
use cim_ipld::{BlockErrorKind, EventBlock, MetadataRef, encode_metadata};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::sample::{Event, event};

proptest! {
    #[test]
    fn the_encoder_writes_the_bytes_of_the_general_codec(event in event()) {
        let general = serde_ipld_dagcbor::to_vec(&event.to_ipld()).unwrap();
        prop_assert_eq!(event.encode(), general);
    }

    #[test]
    fn the_general_codec_reads_the_value_that_was_encoded(event in event()) {
        let general: Ipld = serde_ipld_dagcbor::from_slice(&event.encode()).unwrap();
        prop_assert_eq!(general, event.to_ipld());
    }

    #[test]
    fn decoding_returns_what_was_encoded(event in event()) {
        let map = event.metadata_map();
        let block = event.encode();
        prop_assert_eq!(EventBlock::decode(&block), Ok(event.borrowed(&map)));
        let decoded = EventBlock::decode(&block).unwrap();
        let pairs: std::collections::BTreeMap<_, _> = decoded
            .metadata
            .iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        prop_assert_eq!(pairs, event.metadata);
    }

    #[test]
    fn every_event_that_can_be_generated_is_valid(event in event()) {
        prop_assert_eq!(event.borrowed(&event.metadata_map()).validate(), Ok(()));
    }

    #[test]
    fn the_upper_bound_holds_and_encoding_appends(event in event(), before in any::<Vec<u8>>()) {
        let block = event.encode();
        let map = event.metadata_map();
        let borrowed = event.borrowed(&map);
        prop_assert!(block.len() <= borrowed.encoded_len_upper_bound());
        let mut out = before.clone();
        borrowed.encode_into(&mut out);
        prop_assert_eq!(out, [before, block].concat());
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_are_exactly_a_block(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        decodes_only_as_itself(&bytes);
    }

    #[test]
    fn a_block_with_some_bytes_changed_is_refused_or_is_exactly_a_block(
        event in event(),
        changes in prop::collection::vec((any::<Index>(), any::<u8>(), 0..4_u8), 1..4),
    ) {
        let mut block = event.encode();
        for (at, byte, how) in changes {
            let at = at.index(block.len());
            match how {
                0 => block[at] = byte,
                1 => block[at] ^= 1 << (byte % 8),
                2 => block.insert(at, byte),
                _ => { block.remove(at); }
            }
        }
        decodes_only_as_itself(&block);
    }

    #[test]
    fn a_block_cut_short_is_refused(event in event(), at in any::<Index>()) {
        let block = event.encode();
        prop_assert!(EventBlock::decode(&block[..at.index(block.len())]).is_err());
    }

    #[test]
    fn a_block_with_bytes_after_its_end_is_refused(
        event in event(),
        more in prop::collection::vec(any::<u8>(), 1..20),
    ) {
        let mut block = event.encode();
        let end = block.len();
        block.extend(more);
        let error = EventBlock::decode(&block).unwrap_err();
        prop_assert_eq!(error.offset(), Some(end));
    }

    #[test]
    fn metadata_is_sorted_however_it_comes(
        mut pairs in prop::collection::btree_map("[a-c]{0,5}", "[a-z]{0,9}", 0..9)
            .prop_map(|map| map.into_iter().collect::<Vec<_>>())
            .prop_shuffle(),
    ) {
        let mut map = Vec::new();
        encode_metadata(&pairs, &mut map).unwrap();
        pairs.sort_by_key(|(key, _)| (key.len(), key.clone()));
        let borrowed: Vec<_> = pairs.iter().map(|(key, value)| (&**key, &**value)).collect();
        let metadata = MetadataRef::from_canonical(&map).unwrap();
        prop_assert_eq!(metadata.iter().collect::<Vec<_>>(), borrowed);
        prop_assert_eq!(metadata.iter().len(), pairs.len());
        prop_assert_eq!(metadata.as_bytes(), &map);
        for (key, value) in &pairs {
            prop_assert_eq!(metadata.get(key), Some(&**value));
        }
        prop_assert_eq!(metadata.get("d"), None);
    }

    #[test]
    fn arbitrary_bytes_are_no_metadata_or_canonical_metadata(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            // Short texts only, so that a good part of the cases decodes.
            prop::collection::vec(
                prop_oneof![Just(0x60_u8), Just(0x61), Just(b'a'), Just(b'b'), 0xa0..0xa4_u8],
                0..14
            ),
        ],
    ) {
        if let Ok(metadata) = MetadataRef::from_canonical(&bytes) {
            let mut again = Vec::new();
            encode_metadata(&metadata.iter().collect::<Vec<_>>(), &mut again).unwrap();
            prop_assert_eq!(again, bytes);
        }
    }
}

/// Whatever decodes must encode to the same bytes, which are canonical DAG-CBOR.
fn decodes_only_as_itself(bytes: &[u8]) {
    if let Ok(event) = EventBlock::decode(bytes) {
        let mut again = Vec::new();
        event.encode_into(&mut again);
        assert_eq!(again, bytes);
        dag_cbor::check(bytes).expect("a block is canonical DAG-CBOR");
        event.validate().expect("a block holds valid numbers");
    }
}

#[test]
fn duplicate_metadata_is_refused_and_nothing_is_written() {
    let mut out = b"before".to_vec();
    let error = encode_metadata(&[("b", "1"), ("a", "2"), ("b", "3")], &mut out).unwrap_err();
    assert_eq!(
        error.kind(),
        &BlockErrorKind::DuplicateKey { key: "b".into() }
    );
    assert_eq!((error.field(), error.offset()), (Some("meta"), None));
    assert_eq!(out, b"before");
}

#[test]
fn no_metadata_has_no_bytes() {
    let mut out = Vec::new();
    encode_metadata::<&str, &str>(&[], &mut out).unwrap();
    assert!(out.is_empty());
    assert_eq!(MetadataRef::from_canonical(&out), Ok(MetadataRef::EMPTY));
    assert!(MetadataRef::EMPTY.is_empty());
    assert_eq!(MetadataRef::EMPTY.iter().next(), None);
}

#[test]
fn numbers_that_no_event_has_are_invalid() {
    let event = Event::full();
    let map = event.metadata_map();
    let valid = event.borrowed(&map);
    let zero = BlockErrorKind::OutOfRange {
        found: 0,
        allowed: "1 and above",
    };
    for (broken, field, kind) in [
        (
            EventBlock {
                schema_version: 0,
                ..valid
            },
            "schema",
            zero.clone(),
        ),
        (
            EventBlock {
                version: 0,
                ..valid
            },
            "version",
            zero.clone(),
        ),
        (
            EventBlock {
                count: 0,
                index: 0,
                ..valid
            },
            "count",
            zero.clone(),
        ),
        (
            EventBlock {
                index: 3,
                count: 3,
                ..valid
            },
            "index",
            BlockErrorKind::IndexNotBelowCount { index: 3, count: 3 },
        ),
    ] {
        let error = broken.validate().unwrap_err();
        assert_eq!((error.field(), error.kind()), (Some(field), &kind));
        let mut block = Vec::new();
        broken.encode_into(&mut block);
        assert_eq!(EventBlock::decode(&block).unwrap_err().field(), Some(field));
    }
}
