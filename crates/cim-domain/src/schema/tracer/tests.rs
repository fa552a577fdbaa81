//! What shape a type has, by the way in which serde reads it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::num::NonZeroU32;

use expect_test::{Expect, expect};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::*;

#[track_caller]
fn traced<T: DeserializeOwned>(expected: Expect) {
    expected.assert_eq(&shape_of::<T>(&Hints::default()));
}

#[track_caller]
fn shape_of<T: DeserializeOwned>(hints: &Hints) -> String {
    match trace_value::<T>(hints) {
        Ok(traced) => traced.shape.to_string(),
        Err(error) => format!("error: {error}"),
    }
}

fn samples<T: Serialize>(samples: impl IntoIterator<Item = T>) -> Hints {
    let samples = samples.into_iter();
    Hints {
        samples: samples
            .map(|sample| serde_json::to_value(sample).unwrap())
            .collect(),
        ..Hints::default()
    }
}

#[derive(Serialize, Deserialize)]
struct Money {
    cents: u64,
    currency: String,
}

#[test]
fn scalars_are_what_they_are() {
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Scalars {
        a: (bool, u8, u16, u32, u64, u128),
        b: (i8, i16, i32, i64, i128, usize),
        c: (f32, f64, char, String, Box<str>, ()),
    }
    traced::<Scalars>(expect![[r#"
        {
          a: (bool, u8, u16, u32, u64, u128)
          b: (i8, i16, i32, i64, i128, u64)
          c: (f32, f64, char, text, text, null)
        }"#]]);
}

#[test]
fn containers_show_what_is_in_them() {
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Containers {
        list: Vec<Money>,
        set: BTreeSet<String>,
        map: HashMap<String, Vec<u8>>,
        by_number: BTreeMap<u16, bool>,
        array: [i64; 3],
        pair: (String, Money),
        boxed: Box<Option<Money>>,
        nested: Option<Option<u8>>,
    }
    traced::<Containers>(expect![[r#"
        {
          array: [i64; 3]
          boxed?: option {
            cents: u64
            currency: text
          }
          by_number: map u16 to bool
          list: [{
            cents: u64
            currency: text
          }]
          map: map text to [u8]
          nested?: option option u8
          pair: (text, {
            cents: u64
            currency: text
          })
          set: [text]
        }"#]]);
}

#[test]
fn wrappers_are_not_shown() {
    #[derive(Deserialize)]
    struct Cents(#[allow(dead_code)] u64);
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Name {
        #[allow(dead_code)]
        name: String,
    }
    #[derive(Deserialize)]
    struct Pair(#[allow(dead_code)] Cents, #[allow(dead_code)] Name);
    #[derive(Deserialize)]
    struct Unit;
    traced::<Pair>(expect!["(u64, text)"]);
    traced::<Unit>(expect!["null"]);
}

#[test]
fn a_field_that_may_be_missing_is_told_from_one_that_must_be_there() {
    fn seven() -> u8 {
        7
    }
    fn from_option<'de, D: serde::Deserializer<'de>>(d: D) -> Result<u8, D::Error> {
        Ok(Option::<u8>::deserialize(d)?.unwrap_or_default())
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Fields {
        required: u8,
        #[serde(default)]
        defaulted: u8,
        #[serde(default = "seven")]
        seven: u8,
        option: Option<u8>,
        #[serde(deserialize_with = "from_option")]
        read_by_hand: u8,
        #[serde(skip)]
        skipped: u8,
        #[serde(rename = "called otherwise")]
        renamed: u8,
        #[serde(alias = "a_former_name", alias = "z_former_name")]
        name: u8,
    }
    traced::<Fields>(expect![[r#"
        {
          "called otherwise": u8
          defaulted?: u8
          name: u8
          option?: option u8
          read_by_hand: option u8
          required: u8
          seven?: u8
        }"#]]);
}

#[test]
fn every_variant_of_an_enum_is_shown() {
    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    #[allow(dead_code)]
    enum Payment {
        Cash,
        Card { number: String, code: Option<u16> },
        Voucher(Uuid),
        Split(Money, Money),
        Nothing(()),
    }
    traced::<Vec<Payment>>(expect![[r#"
        [enum {
          card: {
            code?: option u16
            number: text
          }
          cash
          nothing: null
          split: [{
            cents: u64
            currency: text
          }; 2]
          voucher: text = "67e55044-10b1-426f-9247-bb680e5fe0c8"
        }]"#]]);
}

#[test]
fn a_type_that_goes_on_inside_itself_is_shown_once() {
    #[derive(Deserialize)]
    #[allow(dead_code)]
    enum Term {
        Sum(Box<Term>, Box<Term>),
        Not(Box<Term>),
        Number(f64),
        Call { name: String, arguments: Vec<Term> },
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Folder {
        name: String,
        folders: Vec<Folder>,
        parent: Option<Box<Folder>>,
        rule: Term,
    }
    #[derive(Deserialize)]
    struct Tree(#[allow(dead_code)] Vec<Tree>);
    traced::<Folder>(expect![[r#"
        &1 {
          folders: [*1]
          name: text
          parent?: option *1
          rule: &2 enum {
            Call: {
              arguments: [*2]
              name: text
            }
            Not: *2
            Number: f64
            Sum: [*2; 2]
          }
        }"#]]);
    traced::<Tree>(expect!["&1 [*1]"]);
}

#[test]
fn two_types_with_one_name_are_not_confused() {
    mod home {
        #[derive(serde::Deserialize)]
        #[allow(dead_code)]
        pub(super) struct Address {
            street: String,
        }
    }
    mod network {
        #[derive(serde::Deserialize)]
        #[allow(dead_code)]
        pub(super) struct Address {
            host: std::net::IpAddr,
        }
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Both(home::Address, network::Address, Generic<u8>, Generic<bool>);
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Generic<T> {
        value: T,
    }
    traced::<Both>(expect![[r#"
        ({
          street: text
        }, {
          host: text = "127.0.0.1"
        }, {
          value: u8
        }, {
          value: bool
        })"#]]);
}

/// A percentage, checked after its parts were read.
#[derive(Deserialize)]
#[serde(try_from = "Unchecked")]
struct Share(#[allow(dead_code)] u8);

#[derive(Deserialize)]
struct Unchecked {
    percent: u8,
    of: String,
}

impl TryFrom<Unchecked> for Share {
    type Error = &'static str;

    fn try_from(unchecked: Unchecked) -> Result<Self, &'static str> {
        match (unchecked.percent, unchecked.of.as_str()) {
            (percent @ 1..=100, "EUR") => Ok(Self(percent)),
            _ => Err("a share has at most 100 percent, of EUR"),
        }
    }
}

#[test]
fn types_that_check_what_they_read_are_shown_with_what_they_took() {
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Checked {
        id: Uuid,
        address: IpAddr,
        count: NonZeroU32,
        shares: Vec<Share>,
    }
    traced::<Checked>(expect![[r#"
        {
          address: text = "127.0.0.1"
          count: u32 = 4294967295
          id: text = "67e55044-10b1-426f-9247-bb680e5fe0c8"
          shares: [{
            of: text = "EUR"
            percent: u8 = 1
          }]
        }"#]]);
}

/// A text that nobody would make up.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Ticket(String);

impl TryFrom<String> for Ticket {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.strip_prefix("ticket/") {
            Some(number) => Ok(Self(number.to_owned())),
            None => Err(format!("{text:?} is no ticket")),
        }
    }
}

impl From<Ticket> for String {
    fn from(Ticket(number): Ticket) -> Self {
        format!("ticket/{number}")
    }
}

#[derive(Serialize, Deserialize)]
struct Visit {
    tickets: Vec<Ticket>,
    guide: Option<String>,
}

#[test]
fn what_nobody_would_make_up_needs_a_text_or_a_sample() {
    traced::<Visit>(expect![[
        r#"error: no made-up value is accepted at `tickets[]`: "Ab é ~1" is no ticket"#
    ]]);
    let texts = Hints {
        texts: vec!["ticket/7".to_owned()],
        ..Hints::default()
    };
    let sample = samples([Visit {
        tickets: vec![Ticket("7".to_owned())],
        guide: None,
    }]);
    for hints in [texts, sample] {
        expect![[r#"
            {
              guide?: option text
              tickets: [text = "ticket/7"]
            }"#]]
        .assert_eq(&shape_of::<Visit>(&hints));
    }
}

#[test]
fn what_takes_any_json_is_any() {
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Free {
        value: serde_json::Value,
        map: serde_json::Map<String, serde_json::Value>,
        ignored: serde::de::IgnoredAny,
    }
    traced::<Free>(expect![[r#"
        {
          ignored: any
          map: map text to any
          value: any
        }"#]]);
}

#[test]
fn what_reads_several_kinds_is_shown_with_each() {
    #[allow(dead_code)]
    struct Decimal(f64);
    impl<'de> Deserialize<'de> for Decimal {
        fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl serde::de::Visitor<'_> for Visitor {
                type Value = Decimal;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("a number")
                }
                fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Decimal, E> {
                    Ok(Decimal(number as f64))
                }
                fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Decimal, E> {
                    text.parse().map(Decimal).map_err(E::custom)
                }
            }
            d.deserialize_any(Visitor)
        }
    }
    traced::<Decimal>(expect![[r#"
        either {
          text = "1"
          u64
        }"#]]);
}

/// Either the text alone or an object with it, as serde's own guide does it.
#[derive(Serialize)]
struct TextOrObject {
    text: String,
}

impl<'de> Deserialize<'de> for TextOrObject {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Fields {
            text: String,
        }
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = TextOrObject;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text or an object")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<TextOrObject, E> {
                let text = text.to_owned();
                Ok(TextOrObject { text })
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                map: A,
            ) -> Result<TextOrObject, A::Error> {
                let fields = serde::de::value::MapAccessDeserializer::new(map);
                Fields::deserialize(fields).map(|Fields { text }| TextOrObject { text })
            }
        }
        d.deserialize_any(Visitor)
    }
}

#[test]
fn code_that_reads_parts_by_itself_needs_samples() {
    traced::<Vec<TextOrObject>>(expect![
        "error: serde hides how `[]` is read (by `untagged`, `tag` or `flatten`, or code of its own)"
    ]);
    let text = "a".to_owned();
    expect![[r#"
        [either {
          text
          {
            text: text
          }
        }]"#]]
    .assert_eq(&shape_of::<Vec<TextOrObject>>(&samples([vec![
        TextOrObject { text },
    ]])));
}

#[test]
fn the_stores_own_types_can_be_made_up() {
    traced::<(
        cim_store::StreamId,
        cim_store::Timestamp,
        cim_store::EventCid,
    )>(expect![[
        r#"(text = "a.b.c", text = "2020-02-29T12:34:56Z", text = "bafyreictu6cehkr2w6bqsadmclnliebkuqyqxq5zrpuvdi4sx6dyqfs22u")"#
    ]]);
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Text {
    Plain(String),
    Bytes { base64: String, lines: Vec<u8> },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Tagged {
    Circle { radius: f64 },
    Point,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", content = "value")]
enum Adjacent {
    Number(u8),
    Name(String),
}

#[derive(Serialize, Deserialize)]
struct Flat {
    id: u8,
    #[serde(flatten)]
    money: Money,
}

#[test]
fn what_serde_buffers_needs_samples() {
    traced::<Vec<Text>>(expect![
        "error: serde hides how `[]` is read (by `untagged`, `tag` or `flatten`, or code of its own)"
    ]);
    traced::<Tagged>(expect![
        "error: serde hides how `the whole` is read (by `untagged`, `tag` or `flatten`, or code of its own)"
    ]);
    traced::<Option<Flat>>(expect![
        "error: serde hides how `the whole` is read (by `untagged`, `tag` or `flatten`, or code of its own)"
    ]);
    traced::<Adjacent>(expect![
        "error: serde hides how `the whole` is read (by `untagged`, `tag` or `flatten`, or code of its own)"
    ]);

    let texts = [
        Text::Plain("a".to_owned()),
        Text::Bytes {
            base64: String::new(),
            lines: vec![1],
        },
    ];
    expect![[r#"
        [sampled either {
          text
          {
            base64: text
            lines: [integer]
          }
        }]"#]]
    .assert_eq(&shape_of::<Vec<Text>>(&samples([texts.to_vec()])));
    let tagged = [Tagged::Circle { radius: 0.5 }, Tagged::Point];
    expect![[r#"
        sampled {
          kind: text
          radius?: f64
        }"#]]
    .assert_eq(&shape_of::<Tagged>(&samples(tagged)));
    let adjacent = [Adjacent::Number(1), Adjacent::Name("a".to_owned())];
    expect![[r#"
        sampled {
          kind: text
          value: either {
            integer
            text
          }
        }"#]]
    .assert_eq(&shape_of::<Adjacent>(&samples(adjacent)));
    let money = Money {
        cents: 1,
        currency: "EUR".to_owned(),
    };
    expect![[r#"
        option sampled {
          cents: integer
          currency: text
          id: integer
        }"#]]
    .assert_eq(&shape_of::<Option<Flat>>(&samples([Flat { id: 1, money }])));
}

#[test]
fn a_sample_that_its_own_type_refuses_is_named_with_the_place() {
    let hints = Hints {
        samples: vec![json!({ "tickets": ["ticket/7", "7"], "guide": null })],
        ..Hints::default()
    };
    expect![[r#"error: a sample can't be read at `tickets[]`: "7" is no ticket"#]]
        .assert_eq(&shape_of::<Visit>(&hints));
}

#[test]
fn the_values_that_were_read_show_every_variant() {
    #[derive(Deserialize, PartialEq)]
    enum Light {
        Red,
        Amber,
        Green,
    }
    let values = trace_value::<Light>(&Hints::default()).unwrap().values;
    for light in [Light::Red, Light::Amber, Light::Green] {
        assert!(values.contains(&light));
    }
}
