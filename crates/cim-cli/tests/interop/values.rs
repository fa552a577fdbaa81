//! Made-up values of the IPLD data model, the same in every run.

use std::collections::BTreeMap;

use cim_ipld::Cid;
use cim_ipld::dag_cbor::Ipld;
use proptest::collection::{btree_map, vec};
use proptest::prelude::{Just, any};
use proptest::prop_oneof;
use proptest::strategy::{BoxedStrategy, Strategy, ValueTree};
use proptest::test_runner::TestRunner;

/// CIDs of every kind: two versions, several codecs and hash functions.
const LINKS: [&str; 4] = [
    "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG",
    "bafkqaaybaibq",
    "bafyreignqnulch3bh57s6wrxel2ngbivefhyb2l7oxdbpt7kyyqa62mgbe",
    "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
];

const BYTE_ORDER_MARK: char = '\u{feff}';

/// Whether a character sorts before those with surrogates in UTF-8, and after them in UTF-16.
const AFTER_SURROGATES: fn(char) -> bool =
    |character| ('\u{e000}'..='\u{ffff}').contains(&character);

/// Numbers around which encodings change their length.
const LIMITS: [i128; 10] = [
    0,
    24,
    1 << 8,
    1 << 16,
    1 << 32,
    1 << 53,
    1 << 63,
    (1 << 64) - 2,
    -(1 << 63),
    -(1 << 64) + 2,
];

fn integer() -> BoxedStrategy<Ipld> {
    let near = |limit: i128| limit - 2..=limit + 1;
    let range = (-(1_i128 << 64), (1_i128 << 64) - 1);
    prop_oneof![
        (0..LIMITS.len()).prop_flat_map(move |limit| near(LIMITS[limit])),
        any::<i64>().prop_map(i128::from),
    ]
    .prop_map(move |integer| Ipld::Integer(integer.clamp(range.0, range.1)))
    .boxed()
}

/// Numbers with a fraction, or too large for an exact integer. Others are integers in JavaScript,
/// where the two are of one type.
fn float() -> BoxedStrategy<Ipld> {
    let is_a_float =
        |float: &f64| float.is_finite() && (float.fract() != 0.0 || float.abs() > 1e16);
    any::<f64>()
        .prop_filter("an integer", is_a_float)
        .prop_map(Ipld::Float)
        .boxed()
}

fn value() -> BoxedStrategy<Ipld> {
    let text = || {
        vec(any::<char>(), 0..12)
            .prop_map(String::from_iter)
            .prop_filter("lost in JavaScript", |text: &String| {
                !text.starts_with(BYTE_ORDER_MARK)
            })
    };
    let leaf = prop_oneof![
        Just(Ipld::Null),
        any::<bool>().prop_map(Ipld::Bool),
        integer(),
        float(),
        text().prop_map(Ipld::String),
        vec(any::<u8>(), 0..300).prop_map(Ipld::Bytes),
        (0..LINKS.len()).prop_map(|link| Ipld::Link(Cid::try_from(LINKS[link]).unwrap())),
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        // A map with the one key "/" means a link or bytes in DAG-JSON.
        let key = text().prop_filter("another order in JavaScript", |key| {
            !key.starts_with('/') && !key.contains(AFTER_SURROGATES)
        });
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Ipld::List),
            btree_map(key, inner, 0..6).prop_map(Ipld::Map),
        ]
    })
    .boxed()
}

/// So many values of all kinds.
pub(crate) fn values(count: usize) -> Vec<Ipld> {
    let mut runner = TestRunner::deterministic();
    let strategy = value();
    let mut values: Vec<Ipld> = (0..count)
        .map(|_| strategy.new_tree(&mut runner).unwrap().current())
        .collect();
    let long = (0..300).map(|number| (format!("key {number}"), Ipld::Integer(number)));
    let special = [
        "",
        "a",
        "b",
        "aa",
        "__proto__",
        "constructor",
        "10",
        "9",
        "é",
        "😀",
    ];
    let special = special.map(|key| (key.to_owned(), Ipld::Null));
    values.extend([
        Ipld::Map(long.collect()),
        Ipld::Map(BTreeMap::from(special)),
        Ipld::List(vec![Ipld::Bool(true); 300]),
        Ipld::String("ä".repeat(40_000)),
        Ipld::Bytes(vec![7; 70_000]),
        // Deep, though not as deep as can be read.
        (0..60).fold(Ipld::Null, |inner, _| Ipld::List(vec![inner])),
    ]);
    values
}

/// What the JavaScript implementation does not keep, and others do. It has one type for integers and
/// floats, and drops a byte order mark at the beginning of a text in DAG-CBOR. It also compares keys
/// by their UTF-16 units where DAG-JSON is to compare UTF-8 bytes.
pub(crate) fn not_kept_by_javascript() -> Vec<Ipld> {
    let floats = [0.0, 1.0, -1.0, 255.0, 9_007_199_254_740_992.0, -1e15].map(Ipld::Float);
    let mark = Ipld::String(format!("{BYTE_ORDER_MARK}text"));
    let keys = ["\u{e000}", "\u{ffff}", "😀"].map(|key| (key.to_owned(), mark.clone()));
    let others = [mark.clone(), Ipld::Map(BTreeMap::from(keys))];
    floats.into_iter().chain(others).collect()
}
