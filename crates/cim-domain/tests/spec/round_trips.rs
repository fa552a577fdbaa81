//! Whatever an event holds comes back unaltered, for every shape of variant and field.

use std::collections::BTreeMap;

use cim_domain::event::{Decoded, Encoded};
use cim_domain::testing::assert_survives_storage;
use cim_domain::{Cbor, Codec, DomainEvent, UpcastError};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::stored::read;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
enum Everything {
    Nothing,
    #[event(version = 2, upcast = unchanged)]
    One(Inner),
    #[event(version = 2, upcast = unchanged)]
    Maybe(Option<String>),
    #[event(version = 2, upcast = unchanged)]
    Several(i64, String, bool),
    #[event(version = 2, upcast = unchanged)]
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

/// What CBOR has a form for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
#[event(codec = Cbor)]
enum Binary {
    Nothing,
    One(Inner),
    #[event(version = 2, upcast = unchanged)]
    Named {
        id: Uuid,
        wide: i128,
        float: f64,
        short: f32,
        letter: char,
        maybe: Option<Inner>,
        list: Vec<Choice>,
        map: BTreeMap<String, u64>,
        #[serde(flatten)]
        pair: Pair,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pair {
    left: Uuid,
    right: i64,
}

/// A change of version in which nothing changed.
fn unchanged(_: u32, payload: Value) -> Result<Value, UpcastError> {
    Ok(payload)
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

fn binary() -> impl Strategy<Value = Binary> {
    let float = finite().prop_map(|float| float + 0.0); // CBOR has one zero
    let wide = -i128::from(u64::MAX) - 1..=i128::from(u64::MAX);
    let numbers = (any::<u128>(), wide, float, 0.0_f32..1e38, any::<i64>());
    let many = (
        prop::option::of(inner()),
        prop::collection::vec(choice(), 0..4),
        prop::collection::btree_map(any::<String>(), any::<u64>(), 0..4),
    );
    let named = (numbers, any::<char>(), many).prop_map(
        |((id, wide, float, short, right), letter, (maybe, list, map))| Binary::Named {
            id: Uuid::from_u128(id),
            wide,
            float,
            short,
            letter,
            maybe,
            list,
            map,
            pair: Pair {
                left: Uuid::from_u128(!id),
                right,
            },
        },
    );
    prop_oneof![
        1 => Just(Binary::Nothing),
        2 => inner().prop_map(Binary::One),
        8 => named,
    ]
}

/// What an event becomes that was stored with version 1, from which an upcast lifts it that
/// changes nothing.
fn lifted<E: DomainEvent>(event: &E) -> Result<Decoded<E>, cim_domain::DecodeError> {
    E::decode(Encoded {
        event_type: event.event_type(),
        schema_version: 1,
        content_type: E::Codec::CONTENT_TYPE,
        payload: &event.encode().unwrap(),
    })
}

/// Each step does something else, and none of them commutes with another.
#[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
#[event(name = "stepped", version = 6, upcast(1 = nest, 2 = list, 3 = name, 4 = unless_null, 5 = twice))]
struct Stepped(Value);

const STEPS: [fn(Value) -> Option<Value>; 5] = [
    |value| nest(value).ok(),
    |value| list(value).ok(),
    |value| name(value).ok(),
    |value| unless_null(value).ok().flatten(),
    |value| twice(value).ok(),
];

fn nest(value: Value) -> Result<Value, UpcastError> {
    Ok(serde_json::json!({ "nested": value }))
}

fn list(value: Value) -> Result<Value, UpcastError> {
    Ok(Value::Array(vec![value, 1.into()]))
}

fn name(value: Value) -> Result<Value, UpcastError> {
    Ok(serde_json::json!({ "name": value.to_string(), "value": value }))
}

fn unless_null(value: Value) -> Result<Option<Value>, UpcastError> {
    Ok((!value.is_null()).then_some(value))
}

fn twice(value: Value) -> Result<Value, UpcastError> {
    Ok(Value::Array(vec![value.clone(), value]))
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        ".{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-c/]", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn a_binary_event_comes_back_as_it_was_written(event in binary()) {
        assert_survives_storage(&event);
        prop_assert_eq!(event.encode().unwrap(), event.clone().encode().unwrap());
    }

    #[test]
    fn an_upcast_that_changes_nothing_changes_nothing(event in everything(), binary in binary()) {
        match &event {
            // More than 64 bits are more than an upcast can be given, which is said.
            Everything::Named { huge, .. }
                if i64::try_from(*huge).is_err() && u64::try_from(*huge).is_err() =>
            {
                prop_assert!(lifted(&event).is_err());
            }
            _ => prop_assert_eq!(lifted(&event).unwrap(), Decoded::One(event)),
        }
        match &binary {
            Binary::Named { wide, .. } if *wide < i128::from(i64::MIN) => {
                prop_assert!(lifted(&binary).is_err());
            }
            _ => prop_assert_eq!(lifted(&binary).unwrap(), Decoded::One(binary)),
        }
    }

    #[test]
    fn a_chain_does_what_its_steps_do_one_after_another(value in any_json(), from in 1_u32..=6) {
        let by_hand = STEPS
            .iter()
            .skip(from as usize - 1)
            .try_fold(value.clone(), |value, step| step(value));
        let by_hand = by_hand.map_or(Decoded::Nothing, |value| Decoded::One(Stepped(value)));
        let payload = value.to_string();
        let stored = Encoded::json("stepped", from, payload.as_bytes());
        prop_assert_eq!(Stepped::decode(stored).unwrap(), by_hand);
    }

    #[test]
    fn no_bytes_make_decoding_of_cbor_panic(
        event_type in prop::sample::select(vec!["nothing", "one", "named"]),
        version in 0_u32..3,
        payload in any::<Vec<u8>>(),
        content_type in prop::sample::select(vec!["application/cbor", "application/json", "", ";"]),
    ) {
        let stored = Encoded { event_type, schema_version: version, content_type, payload: &payload };
        if let Ok(Decoded::One(event)) = Binary::decode(stored) {
            prop_assert_eq!(event.event_type(), event_type);
        }
    }

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
