//! DAG-CBOR of any serde type: round trips, canonical form, limits.

use std::collections::BTreeMap;

use cim_ipld::dag_cbor::{self, CodecError, Ipld, MAX_LEN, MAX_NESTING};
use cim_ipld::{CborFault, Cid};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::hex::from_hex;

fn value() -> impl Strategy<Value = Ipld> {
    let leaf = prop_oneof![
        Just(Ipld::Null),
        any::<bool>().prop_map(Ipld::Bool),
        (-(1_i128 << 64)..1 << 64).prop_map(Ipld::Integer),
        (-300..300_i128).prop_map(Ipld::Integer),
        any::<f64>()
            .prop_filter("DAG-CBOR has finite floats", |f| f.is_finite())
            .prop_map(Ipld::Float),
        "\\PC{0,30}".prop_map(Ipld::String),
        any::<Vec<u8>>().prop_map(Ipld::Bytes),
        any::<[u8; 32]>()
            .prop_map(|digest| { Ipld::Link(Cid::from(cim_ipld::EventCid::from_digest(digest))) }),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Ipld::List),
            prop::collection::btree_map("\\PC{0,5}", inner, 0..6).prop_map(Ipld::Map),
        ]
    })
}

proptest! {
    #[test]
    fn every_value_reads_back_as_it_was_written(value in value()) {
        let block = dag_cbor::to_vec(&value).unwrap();
        prop_assert_eq!(&block, &serde_ipld_dagcbor::to_vec(&value).unwrap());
        prop_assert_eq!(dag_cbor::from_slice::<Ipld>(&block).unwrap(), value);
    }

    #[test]
    fn arbitrary_bytes_that_are_read_are_written_back_alike(
        bytes in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        if let Ok(value) = dag_cbor::from_slice::<Ipld>(&bytes) {
            prop_assert_eq!(dag_cbor::to_vec(&value).unwrap(), bytes);
        }
    }

    #[test]
    fn changed_bytes_that_are_read_are_written_back_alike(
        value in value(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut block = dag_cbor::to_vec(&value).unwrap();
        let at = at.index(block.len());
        block[at] = byte;
        if let Ok(value) = dag_cbor::from_slice::<Ipld>(&block) {
            prop_assert_eq!(dag_cbor::to_vec(&value).unwrap(), block);
        }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Snapshot {
    version: u64,
    at: Option<i64>,
    lines: Vec<(String, u32)>,
    by_name: BTreeMap<String, f64>,
}

#[test]
fn a_struct_is_written_as_a_sorted_map_and_reads_back() {
    let snapshot = Snapshot {
        version: 3,
        at: None,
        lines: vec![("tea".into(), 2)],
        by_name: [("zz".into(), 1.5), ("a".into(), -0.25)].into(),
    };
    let block = dag_cbor::to_vec(&snapshot).unwrap();
    let Ipld::Map(map) = dag_cbor::from_slice(&block).unwrap() else {
        panic!("a map")
    };
    assert_eq!(map.len(), 4);
    assert_eq!(block[..4], [0xa4, 0x62, b'a', b't']);
    assert_eq!(dag_cbor::from_slice::<Snapshot>(&block).unwrap(), snapshot);
}

#[test]
fn nesting_is_read_and_written_up_to_the_limit_and_not_beyond() {
    for open in [&[0x81][..], &[0xa1, 0x61, b'a']] {
        let nested = |levels: usize| [open.repeat(levels), vec![0x00]].concat();
        let deepest: Ipld = dag_cbor::from_slice(&nested(MAX_NESTING)).unwrap();
        assert_eq!(dag_cbor::to_vec(&deepest).unwrap(), nested(MAX_NESTING));

        let offset = open.len() * MAX_NESTING;
        let too_deep = dag_cbor::from_slice::<Ipld>(&nested(MAX_NESTING + 1)).unwrap_err();
        assert!(
            matches!(too_deep, CodecError::TooDeep { limit: MAX_NESTING, offset: at } if at == offset)
        );
        let too_deep = dag_cbor::to_vec(&Ipld::List(vec![deepest])).unwrap_err();
        assert!(matches!(too_deep, CodecError::TooDeep { .. }));
    }
}

#[test]
fn a_hundred_thousand_levels_cost_no_stack() {
    for open in [0x81, 0xd8, 0x9f] {
        assert!(dag_cbor::from_slice::<Ipld>(&vec![open; 100_000]).is_err());
    }
}

#[test]
fn an_announced_length_costs_no_memory() {
    for major in [0x40_u8, 0x60, 0x80, 0xa0] {
        let mut block = vec![major + 27];
        block.extend(u64::MAX.to_be_bytes());
        let error = dag_cbor::from_slice::<Ipld>(&block).unwrap_err();
        assert!(matches!(
            error,
            CodecError::NotCanonical {
                fault: CborFault::Truncated,
                ..
            }
        ));
    }
}

#[test]
fn size_is_limited_in_both_directions() {
    let head = 5;
    let largest = Ipld::Bytes(vec![0; MAX_LEN - head]);
    let block = dag_cbor::to_vec(&largest).unwrap();
    assert_eq!(block.len(), MAX_LEN);
    assert_eq!(dag_cbor::from_slice::<Ipld>(&block).unwrap(), largest);

    let over = dag_cbor::to_vec(&Ipld::Bytes(vec![0; MAX_LEN - head + 1])).unwrap_err();
    assert!(matches!(over, CodecError::TooLarge { len, limit: MAX_LEN } if len == MAX_LEN + 1));
    let over = dag_cbor::from_slice::<Ipld>(&vec![0; MAX_LEN + 1]).unwrap_err();
    assert!(matches!(over, CodecError::TooLarge { .. }));
}

#[test]
fn every_rule_of_canonical_form_is_enforced_at_its_byte() {
    for (hex, at, rule) in [
        ("", 0, CborFault::Truncated),
        ("18", 0, CborFault::Truncated),
        ("8201", 2, CborFault::Truncated),
        ("a16161", 3, CborFault::Truncated),
        ("0000", 1, CborFault::TrailingBytes),
        ("1817", 0, CborFault::NonMinimal),
        ("1900ff", 0, CborFault::NonMinimal),
        ("1a0000ffff", 0, CborFault::NonMinimal),
        ("1b00000000ffffffff", 0, CborFault::NonMinimal),
        ("3817", 0, CborFault::NonMinimal),
        ("580100", 0, CborFault::NonMinimal),
        ("780161", 0, CborFault::NonMinimal),
        ("980101", 0, CborFault::NonMinimal),
        ("b801616101", 0, CborFault::NonMinimal),
        ("d9002a4100", 0, CborFault::NonMinimal),
        ("9f01ff", 0, CborFault::IndefiniteLength),
        ("bf616101ff", 0, CborFault::IndefiniteLength),
        ("7f6161ff", 0, CborFault::IndefiniteLength),
        ("5f4161ff", 0, CborFault::IndefiniteLength),
        ("81ff", 1, CborFault::IndefiniteLength),
        ("1c", 0, CborFault::ReservedHead),
        ("61ff", 0, CborFault::InvalidUtf8),
        ("a161ff01", 1, CborFault::InvalidUtf8),
        ("a10101", 1, CborFault::KeyNotText),
        ("a1416101", 1, CborFault::KeyNotText),
        ("a2616201616102", 4, CborFault::UnsortedKey),
        ("a262616101616202", 5, CborFault::UnsortedKey),
        ("a2616101616102", 4, CborFault::DuplicateKey),
        ("c11a514b67b0", 0, CborFault::Tag { found: 1 }),
        ("d82a6100", 0, CborFault::BadLink),
        ("d82a40", 0, CborFault::BadLink),
        ("d82a450171122000", 0, CborFault::BadLink),
        // Not a CID, a CID cut short, a byte after a CID (identity hash of no bytes).
        ("d82a4300ffff", 0, CborFault::BadLink),
        ("d82a4500015500", 2, CborFault::Truncated),
        ("d82a4400015500", 0, CborFault::BadLink),
        ("d82a46000155000000", 0, CborFault::BadLink),
        // A CID whose version 1 takes two bytes.
        ("d82a46008100550000", 0, CborFault::BadLink),
        ("f7", 0, CborFault::Simple),
        ("f0", 0, CborFault::Simple),
        ("f814", 0, CborFault::Simple),
        ("f97e00", 0, CborFault::Float),
        ("fa47c35000", 0, CborFault::Float),
        ("fb7ff8000000000000", 0, CborFault::Float),
        ("fb7ff0000000000000", 0, CborFault::Float),
        ("fbfff0000000000000", 0, CborFault::Float),
    ] {
        match dag_cbor::from_slice::<Ipld>(&from_hex(hex)).expect_err(hex) {
            CodecError::NotCanonical { fault, offset } => {
                assert_eq!((fault, offset), (rule, at), "{hex}");
            }
            other => panic!("{hex}: {other}"),
        }
    }
}

#[test]
fn another_type_than_asked_for_is_refused() {
    let block = dag_cbor::to_vec("text").unwrap();
    assert!(matches!(
        dag_cbor::from_slice::<u64>(&block),
        Err(CodecError::Shape { .. })
    ));
}

#[test]
fn values_without_a_dag_cbor_form_are_refused() {
    let keys_are_numbers = BTreeMap::from([(1, 2)]);
    assert!(dag_cbor::to_vec(&keys_are_numbers).is_err());
    assert!(dag_cbor::to_vec(&f64::NAN).is_err());
    assert!(dag_cbor::to_vec(&f64::INFINITY).is_err());
    assert!(dag_cbor::to_vec(&u128::MAX).is_err());
}
