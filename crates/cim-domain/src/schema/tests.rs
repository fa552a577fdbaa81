//! Shapes as text, and what they accept.

use std::collections::BTreeMap;

use expect_test::expect;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::tracer::{Hints, trace_value};
use super::*;

fn shape(text: &str) -> Shape {
    text.parse().unwrap()
}

#[test]
fn a_file_of_version_1_is_read_and_written_as_it_is() {
    let text = include_str!("../../tests/golden/cim-schemas-v1.lock");
    let file = LockFile::parse(text).unwrap();
    assert_eq!(file.to_string(), text);
    assert_eq!(file.entries().count(), 5);
}

#[test]
fn what_is_no_lock_file_is_refused_with_the_line() {
    let refused = |rest: &str| {
        let text = format!("cim-schemas 1\n# A comment.\n{rest}");
        LockFile::parse(&text).unwrap_err().to_string()
    };
    expect!["line 1: the first line is not `cim-schemas 1`"]
        .assert_eq(&LockFile::parse("").unwrap_err().to_string());
    expect!["line 3: `events` stands where `event` or `snapshot` is expected"]
        .assert_eq(&refused("events a\n"));
    expect!["line 4: the file ends where `version` is expected"].assert_eq(&refused("event a\n"));
    expect!["line 3: versions are counted from 1"].assert_eq(&refused("event a version 0 null"));
    expect!["line 4: version 1 of event a stands there twice"]
        .assert_eq(&refused("event a version 1 null\nversion 1 null"));
    expect!["line 4: event a of b.c stands there twice"].assert_eq(&refused(
        "event a of b.c version 1 null\nevent a of b.c version 1 null",
    ));
    expect!["line 3: the field `b` stands there twice"]
        .assert_eq(&refused("event a version 1 { b: u8 b: u8 }"));
    expect!["line 3: `u9` stands where a shape is expected"]
        .assert_eq(&refused("event a version 1 { b: u9 }"));
    expect!["line 3: a text in quotes does not end, or is no JSON text"]
        .assert_eq(&refused("event a version 1 { \"b: u8 }"));
    expect!["line 3: '#' means nothing here"].assert_eq(&refused("event a # later\n"));
    let deep = format!("event a version 1 {}", "[".repeat(100_000));
    expect!["line 3: the shape is nested deeper than 128"].assert_eq(&refused(&deep));
}

#[test]
fn a_value_that_does_not_fit_is_named_with_the_place() {
    let order = shape(
        "{ lines: [{ price: u8  note?: option text }]  pay: enum { Cash  Card: { no: text } }  by: map u16 to bool }",
    );
    let fits = json!({
        "lines": [{ "price": 7, "note": null }, { "price": 0 }],
        "pay": { "Card": { "no": "1" } },
        "by": { "7": true },
    });
    assert_eq!(order.check(&fits), Ok(()));
    let misfit = |change: &dyn Fn(&mut Value)| {
        let mut value = fits.clone();
        change(&mut value);
        order.check(&value).unwrap_err().to_string()
    };
    expect!["at `lines[1].price`: 256 is not u8"]
        .assert_eq(&misfit(&|value| value["lines"][1]["price"] = 256.into()));
    expect!["at `lines[0]`: `cost` is not in the shape"]
        .assert_eq(&misfit(&|value| value["lines"][0]["cost"] = 1.into()));
    expect!["at `lines[1]`: `price` is missing"]
        .assert_eq(&misfit(&|value| value["lines"][1] = json!({})));
    expect!["at `pay`: the variant `Card` stands there without what it holds"]
        .assert_eq(&misfit(&|value| value["pay"] = "Card".into()));
    expect!["at `pay`: `Coin` is none of the variants"]
        .assert_eq(&misfit(&|value| value["pay"] = "Coin".into()));
    expect![[r#"at `by.x`: "x" is not u16"#]]
        .assert_eq(&misfit(&|value| value["by"] = json!({ "x": true })));
    expect!["[1,2,3] is not an object"].assert_eq(&misfit(&|value| *value = json!([1, 2, 3])));
}

#[test]
fn what_was_locked_stays_locked() {
    let file = |text: &str| LockFile::parse(&format!("cim-schemas 1\n{text}")).unwrap();
    let before =
        file("event a version 1 { b: u8 } version 2 null also [u8]\nevent c version 1 any");
    let rewrites = |text: &str| {
        let rewrites = file(text).rewrites_since(&before);
        rewrites
            .iter()
            .map(|rewrite| format!("{rewrite}\n"))
            .collect::<String>()
    };
    let grown = "event a version 1 { b: u8 } version 2 null also text also [u8] version 3 null\n\
                 event c version 1 any\nevent d version 1 any";
    assert_eq!(rewrites(grown), "");
    expect![[r#"
        event a, version 1: a locked shape is another one (- was, + is)
         {
        -  b: u8
        +  b: u16
         }
        event a, version 2: a locked shape is gone (- was)
        -[u8]
        event c, version 1: a locked shape is gone (- was)
        -any
    "#]]
    .assert_eq(&rewrites("event a version 1 { b: u16 } version 2 null"));
}

/// One of everything that serde has.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Everything {
    numbers: (u8, i16, u32, i64, u64),
    float: f64,
    text: String,
    letter: char,
    maybe: Option<Box<Everything>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    list: Vec<Option<Kind>>,
    map: BTreeMap<i32, Kind>,
    #[serde(rename = "a name with spaces")]
    array: [bool; 3],
    #[serde(skip_deserializing)]
    only_written: u8,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Nothing,
    One(i8),
    Two(String, ()),
    Named { first: Option<u8>, kinds: Vec<Kind> },
}

fn kinds() -> impl Strategy<Value = Kind> {
    let leaf = prop_oneof![
        Just(Kind::Nothing),
        any::<i8>().prop_map(Kind::One),
        any::<String>().prop_map(|text| Kind::Two(text, ())),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        (any::<Option<u8>>(), prop::collection::vec(inner, 0..3))
            .prop_map(|(first, kinds)| Kind::Named { first, kinds })
    })
}

fn everything() -> impl Strategy<Value = Everything> {
    let one = (
        any::<(u8, i16, u32, i64, u64)>(),
        -1e300..1e300,
        any::<(String, char, [bool; 3], u8)>(),
        prop::collection::vec(prop::option::of(kinds()), 0..3),
        prop::collection::btree_map(any::<i32>(), kinds(), 0..3),
    )
        .prop_map(
            |(numbers, float, (text, letter, array, only_written), list, map)| Everything {
                numbers,
                float,
                text,
                letter,
                maybe: None,
                list,
                map,
                array,
                only_written,
            },
        );
    one.prop_recursive(2, 4, 1, |inner| {
        (inner.clone(), inner).prop_map(|(outer, inner)| Everything {
            maybe: Some(Box::new(inner)),
            ..outer
        })
    })
}

fn shape_of_everything() -> Shape {
    let traced = trace_value::<Everything>(&Hints::default()).unwrap();
    let written = traced.values.iter().map(|value| json!(value));
    written.fold(traced.shape, |shape, written| shape.with_written(&written))
}

fn shapes() -> impl Strategy<Value = Shape> {
    let scalar = prop::sample::select(&Scalar::ALL[..]).prop_map(Shape::scalar);
    let leaf = prop_oneof![
        Just(Shape::Any),
        Just(Shape::Null),
        scalar,
        any::<String>().prop_map(|text| Shape::Scalar(Scalar::Text, Some(text.into()))),
        any::<i64>().prop_map(|number| Shape::Scalar(Scalar::I64, Some(number.into()))),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        let field =
            (any::<bool>(), inner.clone()).prop_map(|(required, shape)| Field { required, shape });
        let name = "[a-z]{1,3}|\\PC{0,4}";
        prop_oneof![
            boxed.clone().prop_map(Shape::Option),
            boxed.clone().prop_map(Shape::List),
            boxed.clone().prop_map(Shape::Sampled),
            (1..3_u32, boxed.clone()).prop_map(|(number, inner)| Shape::Label(number, inner)),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Shape::Tuple),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Shape::Either),
            (boxed.clone(), boxed).prop_map(|(key, value)| Shape::Map(key, value)),
            prop::collection::btree_map(name, field, 0..4).prop_map(Shape::Object),
            prop::collection::btree_map(name, prop::option::of(inner), 0..4).prop_map(Shape::Enum),
        ]
    })
}

proptest! {
    #[test]
    fn the_shape_of_a_type_accepts_whatever_the_type_writes(value in everything()) {
        let shape = shape_of_everything();
        let written = json!(value);
        prop_assert!(shape.check(&written).is_ok(), "{}\n{written}\n{shape}", shape.check(&written).unwrap_err());
    }

    #[test]
    fn a_shape_is_read_as_it_was_written(shape in shapes()) {
        let text = shape.to_string();
        let read: Shape = text.parse().map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(read.to_string(), text);
        prop_assert!(read.is_same_as(&shape), "{}\n{:?}\n{:?}", shape, read, shape);
    }

    #[test]
    fn samples_of_a_shape_have_that_shape(shape in shapes()) {
        for sample in shape.samples() {
            prop_assert!(shape.check(&sample).is_ok(), "{sample}\n{shape}");
        }
    }

    #[test]
    fn nothing_that_is_read_as_a_file_panics(text in "(event|snapshot|of|version|also|[{}\\[\\]():;,?=&*\"]|[a-z0-9]| |\n){0,40}") {
        let _ = LockFile::parse(&format!("cim-schemas 1\n{text}"));
        let _ = text.parse::<Shape>();
    }
}

#[test]
fn every_sample_of_a_types_shape_is_read_by_the_type() {
    for sample in shape_of_everything().samples() {
        let read = serde_json::from_value::<Everything>(sample.clone());
        assert!(read.is_ok(), "{}\n{sample}", read.unwrap_err());
    }
}

#[test]
fn lists_of_lists_of_fixed_length_are_no_way_to_fill_the_memory() {
    let bomb = "[[[[[u8; 4096]; 4096]; 4096]; 4096]; 4096]";
    let error = bomb.parse::<Shape>().unwrap_err();
    assert!(error.to_string().contains("parts"), "{error}");
    assert!("[[u8; 200]; 200]".parse::<Shape>().is_ok());
}

#[test]
fn a_shape_that_goes_on_inside_itself_without_a_step_has_an_end() {
    for text in [
        "&1 *1",
        "&1 option *1",
        "&1 either { *1 }",
        "&1 &2 either { *1 *2 }",
    ] {
        let shape: Shape = text.parse().unwrap();
        let misfit = shape.check(&serde_json::json!(5)).unwrap_err();
        assert!(!misfit.message.is_empty());
    }
    let shape: Shape = "&1 either { u64 [*1] }".parse().unwrap();
    assert!(shape.check(&serde_json::json!([[5], 7])).is_ok());
    assert!(shape.check(&serde_json::json!([["a"], 7])).is_err());
}
