//! Whatever an event holds comes back unaltered, for every shape of variant and field.

use std::collections::BTreeMap;

use cim_domain::DomainEvent;
use cim_domain::testing::assert_survives_storage;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::stored::read;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
enum Everything {
    Nothing,
    One(Inner),
    Maybe(Option<String>),
    Several(i64, String, bool),
    Named {
        small: i8,
        large: u64,
        huge: i128,
        float: f64,
        short: f32,
        letter: char,
        text: String,
        maybe: Option<Inner>,
        list: Vec<Choice>,
        map: BTreeMap<i32, String>,
        pair: (u8, ()),
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Inner {
    choice: Choice,
    bytes: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Choice {
    Unit,
    Newtype(u16),
    Tuple(i8, i8),
    Struct { field: Box<Option<Choice>> },
}

fn choice() -> impl Strategy<Value = Choice> {
    let leaf = prop_oneof![
        Just(Choice::Unit),
        any::<u16>().prop_map(Choice::Newtype),
        any::<(i8, i8)>().prop_map(|(a, b)| Choice::Tuple(a, b)),
    ];
    leaf.prop_recursive(3, 8, 1, |inner| {
        prop::option::of(inner).prop_map(|field| Choice::Struct {
            field: Box::new(field),
        })
    })
}

fn inner() -> impl Strategy<Value = Inner> {
    (choice(), any::<Vec<u8>>()).prop_map(|(choice, bytes)| Inner { choice, bytes })
}

fn finite() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("JSON has no other", |float| float.is_finite())
}

fn named() -> impl Strategy<Value = Everything> {
    let numbers = (any::<(i8, u64, i128)>(), finite(), -1e38_f32..1e38);
    let texts = (any::<char>(), any::<String>(), any::<u8>());
    let many = (
        prop::option::of(inner()),
        prop::collection::vec(choice(), 0..4),
        prop::collection::btree_map(any::<i32>(), any::<String>(), 0..4),
    );
    (numbers, texts, many).prop_map(
        |(((small, large, huge), float, short), (letter, text, byte), (maybe, list, map))| {
            Everything::Named {
                small,
                large,
                huge,
                float,
                short,
                letter,
                text,
                maybe,
                list,
                map,
                pair: (byte, ()),
            }
        },
    )
}

fn everything() -> impl Strategy<Value = Everything> {
    prop_oneof![
        1 => Just(Everything::Nothing),
        2 => inner().prop_map(Everything::One),
        2 => any::<Option<String>>().prop_map(Everything::Maybe),
        2 => any::<(i64, String, bool)>().prop_map(|(a, b, c)| Everything::Several(a, b, c)),
        8 => named(),
    ]
}

proptest! {
    #[test]
    fn an_event_comes_back_as_it_was_written(event in everything()) {
        assert_survives_storage(&event);
    }

    /// serde's own encoding names the variant around the fields; taking that off by hand gives
    /// the expected payload.
    #[test]
    fn a_payload_is_what_serde_writes_inside_the_variants_name(event in everything()) {
        let expected = match serde_json::to_string(&event).unwrap() {
            unit if unit.starts_with('"') => "{}".to_owned(),
            named => {
                let start = named.find(':').unwrap() + 1;
                named[start..named.len() - 1].to_owned()
            }
        };
        prop_assert_eq!(String::from_utf8(event.encode().unwrap()).unwrap(), expected);
    }

    #[test]
    fn no_payload_makes_decoding_panic(
        event_type in prop::sample::select(vec!["nothing", "one", "maybe", "several", "named", "x"]),
        version in 0_u32..3,
        payload in prop_oneof![any::<Vec<u8>>(), "[\\[\\]{}:,\"a0.e-]{0,40}".prop_map(String::into_bytes)],
    ) {
        if let Ok(event) = read::<Everything>(event_type, version, &payload) {
            prop_assert_eq!(event.event_type(), event_type);
        }
    }
}
