//! DAG-JSON of any serde type: round trips, the one spelling, the reserved key, limits.

use std::collections::BTreeMap;

use cim_ipld::dag_cbor::{self, Ipld, MAX_LEN, MAX_NESTING};
use cim_ipld::dag_json::{self, JsonError};
use cim_ipld::{Cid, EventCid, JsonFault};
use multihash::Multihash;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

/// Any value that DAG-JSON can hold: maps do not begin with the reserved key.
fn value() -> impl Strategy<Value = Ipld> {
    let leaf = prop_oneof![
        Just(Ipld::Null),
        any::<bool>().prop_map(Ipld::Bool),
        (-(1_i128 << 64)..1 << 64).prop_map(Ipld::Integer),
        (-300..300_i128).prop_map(Ipld::Integer),
        any::<f64>()
            .prop_filter("DAG-JSON has finite floats", |f| f.is_finite())
            .prop_map(Ipld::Float),
        (-300..300_i32).prop_map(|n| Ipld::Float(n.into())),
        "\\PC{0,30}".prop_map(Ipld::String),
        "[\\x00-\\x7f]{0,30}".prop_map(Ipld::String),
        any::<Vec<u8>>().prop_map(Ipld::Bytes),
        any::<[u8; 32]>().prop_map(|digest| Ipld::Link(EventCid::from_digest(digest).to_cid())),
        any::<[u8; 32]>().prop_map(|digest| {
            Ipld::Link(Cid::new_v0(Multihash::wrap(0x12, &digest).unwrap()).unwrap())
        }),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        let key = "\\PC{0,5}|[!-0]{0,2}".prop_filter("reserved", |key| key != "/");
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Ipld::List),
            prop::collection::btree_map(key, inner, 0..6).prop_map(Ipld::Map),
        ]
    })
}

fn without_numbers(value: Ipld) -> Ipld {
    match value {
        Ipld::Integer(_) | Ipld::Float(_) => Ipld::Null,
        Ipld::List(items) => Ipld::List(items.into_iter().map(without_numbers).collect()),
        Ipld::Map(map) => Ipld::Map(
            map.into_iter()
                .map(|(key, value)| (key, without_numbers(value)))
                .collect(),
        ),
        other => other,
    }
}

proptest! {
    #[test]
    fn every_value_reads_back_as_it_was_written(value in value()) {
        let block = dag_json::to_vec(&value).unwrap();
        prop_assert_eq!(&dag_json::encode(&value).unwrap(), &block);
        prop_assert_eq!(&dag_json::decode(&block).unwrap(), &value);
        prop_assert_eq!(dag_json::from_slice::<Ipld>(&block).unwrap(), value);
    }

    #[test]
    fn what_is_written_is_json_that_others_read(value in value()) {
        // Strings, maps and lists as a general library writes them; it spells numbers its own way.
        let block = dag_json::encode(&without_numbers(value)).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&block).unwrap();
        prop_assert_eq!(json.to_string().into_bytes(), block);
    }

    #[test]
    fn every_beginning_of_a_block_is_refused(value in value()) {
        let block = dag_json::encode(&value).unwrap();
        let number = matches!(value, Ipld::Integer(_) | Ipld::Float(_));
        for cut in 0..block.len() {
            prop_assert!(number || dag_json::decode(&block[..cut]).is_err());
        }
    }

    #[test]
    fn arbitrary_bytes_that_are_read_are_written_back_alike(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..20),
            "[\\[\\]{}\",:/\\\\u0-9a-f.+-]{0,30}".prop_map(String::into_bytes),
            "-?[0-9]{0,25}(\\.[0-9]{0,3})?(e-?[0-9]{0,3})?".prop_map(String::into_bytes),
        ],
    ) {
        if let Ok(value) = dag_json::decode(&bytes) {
            prop_assert_eq!(dag_json::encode(&value).unwrap(), bytes);
        }
    }

    #[test]
    fn changed_bytes_that_are_read_are_written_back_alike(
        value in value(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut block = dag_json::encode(&value).unwrap();
        let at = at.index(block.len());
        block[at] = byte;
        if let Ok(value) = dag_json::decode(&block) {
            prop_assert_eq!(dag_json::encode(&value).unwrap(), block);
        }
    }

    #[test]
    fn a_value_goes_to_dag_cbor_and_back(value in value()) {
        let cbor = dag_cbor::to_vec(&value).unwrap();
        let value: Ipld = dag_cbor::from_slice(&cbor).unwrap();
        let json = dag_json::encode(&value).unwrap();
        prop_assert_eq!(dag_cbor::to_vec(&dag_json::decode(&json).unwrap()).unwrap(), cbor);
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Snapshot {
    version: u64,
    at: Option<i64>,
    lines: Vec<(String, u32)>,
    by_name: BTreeMap<String, f64>,
    before: Cid,
}

#[test]
fn a_struct_is_written_sorted_without_white_space_and_reads_back() {
    let snapshot = Snapshot {
        version: 3,
        at: None,
        lines: vec![("té\"a".into(), 2)],
        by_name: [("zz".into(), 1.0), ("a".into(), -0.25)].into(),
        before: EventCid::of(b"\xa0").to_cid(),
    };
    let block = dag_json::to_vec(&snapshot).unwrap();
    assert_eq!(
        str::from_utf8(&block).unwrap(),
        "{\"at\":null,\
         \"before\":{\"/\":\"bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua\"},\
         \"by_name\":{\"a\":-0.25,\"zz\":1.0},\
         \"lines\":[[\"té\\\"a\",2]],\
         \"version\":3}"
    );
    assert_eq!(dag_json::from_slice::<Snapshot>(&block).unwrap(), snapshot);
}

#[test]
fn every_other_spelling_is_refused_at_its_byte() {
    use JsonFault as Fault;
    let v1 = "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua";
    let v1_upper = v1.to_uppercase();
    let v1_base16 = EventCid::of(b"\xa0")
        .to_cid()
        .to_string_of_base(cid::multibase::Base::Base16Lower)
        .unwrap();
    for (json, at, fault) in [
        ("", 0, Fault::Truncated),
        ("[1", 2, Fault::Truncated),
        ("{\"a\"", 4, Fault::Truncated),
        ("{\"a\":", 5, Fault::Truncated),
        ("\"a", 2, Fault::Truncated),
        ("nul", 3, Fault::Truncated),
        ("1 ", 1, Fault::TrailingBytes),
        ("[]]", 2, Fault::TrailingBytes),
        (" 1", 0, Fault::WhiteSpace),
        ("[1, 2]", 3, Fault::WhiteSpace),
        ("[\n]", 1, Fault::WhiteSpace),
        ("{\"a\" :1}", 4, Fault::WhiteSpace),
        ("nule", 3, Fault::Syntax),
        ("[1,]", 3, Fault::Syntax),
        ("[,1]", 1, Fault::Syntax),
        ("{\"a\":1,}", 7, Fault::Syntax),
        ("{1:1}", 1, Fault::Syntax),
        ("[1}", 2, Fault::Syntax),
        ("\u{feff}1", 0, Fault::Syntax),
        ("NaN", 0, Fault::Syntax),
        ("'a'", 0, Fault::Syntax),
        ("\"\n\"", 1, Fault::Control),
        ("\"\\/\"", 1, Fault::Escape),
        ("\"\\u00e9\"", 1, Fault::Escape),
        ("\"\\u000A\"", 1, Fault::Escape),
        ("\"\\u000a\"", 1, Fault::Escape),
        ("\"\\u0061\"", 1, Fault::Escape),
        ("\"\\u001F\"", 1, Fault::Escape),
        ("\"\\ud83d\\ude00\"", 1, Fault::Escape),
        ("01", 0, Fault::Number),
        ("-0", 0, Fault::Number),
        ("-", 0, Fault::Number),
        ("1.", 0, Fault::Number),
        ("1.50", 0, Fault::Number),
        ("0.50e1", 0, Fault::Number),
        ("1e2", 0, Fault::Number),
        ("1E300", 0, Fault::Number),
        ("1e300", 0, Fault::Number),
        ("1-1", 0, Fault::Number),
        ("1e400", 0, Fault::Float),
        ("18446744073709551616", 0, Fault::IntegerRange),
        ("-18446744073709551617", 0, Fault::IntegerRange),
        ("340282366920938463463374607431768211456", 0, Fault::Number),
        ("{\"b\":1,\"a\":2}", 7, Fault::UnsortedKey),
        ("{\"aa\":1,\"b\":2,\"a\":3}", 14, Fault::UnsortedKey),
        ("{\"foo\":1,\"foo\":2,\"bar\":3}", 9, Fault::DuplicateKey),
        ("{\"/\":\"\"}", 0, Fault::BadLink),
        ("{\"/\":\"foo\"}", 0, Fault::BadLink),
        (&format!("{{\"/\":\"{v1_upper}\"}}"), 0, Fault::BadLink),
        (&format!("{{\"/\":\"{v1_base16}\"}}"), 0, Fault::BadLink),
        (&format!("{{\"/\":\"/ipfs/{v1}\"}}"), 0, Fault::BadLink),
        (&format!("[{{\"/\":\"{v1}a\"}}]"), 1, Fault::BadLink),
        ("{\"/\":{\"bytes\":\"YQ==\"}}", 0, Fault::BadBytes),
        ("{\"/\":{\"bytes\":\"mYWJj\"}}", 0, Fault::BadBytes),
        ("{\"/\":{\"bytes\":\"YR\"}}", 0, Fault::BadBytes),
        ("{\"/\":{\"bytes\":\"-_\"}}", 0, Fault::BadBytes),
        ("{\"/\":\"foo\",\"bar\":\"baz\"}", 0, Fault::Reserved),
        (
            "{\"/\":{\"bytes\":\"foo\",\"zar\":\"baz\"}}",
            0,
            Fault::Reserved,
        ),
        (
            "{\"/\":{\"bytes\":\"foo\"},\"bar\":\"baz\"}",
            0,
            Fault::Reserved,
        ),
    ] {
        match dag_json::decode(json.as_bytes()).expect_err(json) {
            JsonError::NotCanonical {
                fault: found,
                offset,
            } => {
                assert_eq!((found, offset), (fault, at), "{json}");
            }
            other => panic!("{json}: {other}"),
        }
    }
    match dag_json::decode(b"[\"\xff\"]").unwrap_err() {
        JsonError::NotCanonical { fault, offset } => {
            assert_eq!((fault, offset), (Fault::InvalidUtf8, 1));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn the_reserved_key_is_free_where_nothing_else_could_be_meant() {
    for json in [
        "{\"!bar\":\"baz\",\"/\":\"foo\"}",
        "{\"/\":true,\"bar\":\"baz\"}",
        "{\"/\":{\"abar\":\"baz\",\"bytes\":\"foo\"}}",
        "{\"/\":{\"bytes\":true},\"bar\":\"baz\"}",
        "{\"!bar\":\"baz\",\"/\":{\"bytes\":\"foo\"}}",
        "{\"/\":[\"a\"]}",
    ] {
        let value = dag_json::decode(json.as_bytes()).expect(json);
        assert!(matches!(value, Ipld::Map(_)), "{json}");
        assert_eq!(dag_json::encode(&value).unwrap(), json.as_bytes());
    }
}

#[test]
fn a_map_that_would_read_back_as_something_else_is_not_written() {
    let map = |pairs: &[(&str, Ipld)]| {
        let pairs = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()));
        Ipld::Map(pairs.collect())
    };
    let text = Ipld::String("YQ".into());
    for value in [
        map(&[("/", text.clone())]),
        map(&[("/", text.clone()), ("a", Ipld::Null)]),
        map(&[("/", map(&[("bytes", text.clone())]))]),
        map(&[("/", map(&[("bytes", text.clone()), ("c", Ipld::Null)]))]),
        map(&[("/", map(&[("bytes", text)])), ("a", Ipld::Null)]),
    ] {
        for value in [value.clone(), Ipld::List(vec![value])] {
            assert!(matches!(
                dag_json::encode(&value),
                Err(JsonError::Unencodable { .. })
            ));
        }
    }
}

#[test]
fn nesting_is_read_and_written_up_to_the_limit_and_not_beyond() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        // A link and bytes at the bottom are values, not levels.
        for bottom in ["0", "{\"/\":{\"bytes\":\"\"}}", "[]", "{}"] {
            let levels = usize::from(matches!(bottom, "[]" | "{}"));
            let nested =
                |levels: usize| [&*open.repeat(levels), bottom, &close.repeat(levels)].concat();
            let deepest = nested(MAX_NESTING - levels);
            let value = dag_json::decode(deepest.as_bytes()).unwrap();
            assert_eq!(dag_json::encode(&value).unwrap(), deepest.as_bytes());
            assert!(dag_cbor::to_vec(&value).is_ok());

            let too_deep = nested(MAX_NESTING - levels + 1);
            let error = dag_json::decode(too_deep.as_bytes()).unwrap_err();
            let bottom_at = open.len() * MAX_NESTING;
            assert!(
                matches!(error, JsonError::TooDeep { limit: MAX_NESTING, offset } if offset == bottom_at)
            );
            let error = dag_json::encode(&Ipld::List(vec![value])).unwrap_err();
            assert!(matches!(error, JsonError::TooDeep { .. }));
        }
    }
}

#[test]
fn a_hundred_thousand_levels_cost_no_stack() {
    for open in ["[", "{\"a\":", "{\"/\":", "[{\"/\":"] {
        assert!(dag_json::decode(open.repeat(100_000).as_bytes()).is_err());
    }
}

#[test]
fn size_is_limited_in_both_directions() {
    let largest = Ipld::String("a".repeat(MAX_LEN - 2));
    let block = dag_json::encode(&largest).unwrap();
    assert_eq!(block.len(), MAX_LEN);
    assert_eq!(dag_json::decode(&block).unwrap(), largest);

    let over = dag_json::encode(&Ipld::String("a".repeat(MAX_LEN - 1))).unwrap_err();
    assert!(matches!(over, JsonError::TooLarge { len, limit: MAX_LEN } if len == MAX_LEN + 1));
    let over = dag_json::decode(&vec![b'1'; MAX_LEN + 1]).unwrap_err();
    assert!(matches!(over, JsonError::TooLarge { .. }));
    // A number as long as a block is refused without being computed.
    let long = dag_json::decode(&vec![b'1'; MAX_LEN]).unwrap_err();
    assert!(matches!(
        long,
        JsonError::NotCanonical {
            fault: JsonFault::Number,
            offset: 0
        }
    ));
}

#[test]
fn values_without_a_dag_json_form_are_refused() {
    assert!(dag_json::to_vec(&BTreeMap::from([(1, 2)])).is_err());
    assert!(dag_json::to_vec(&f64::NAN).is_err());
    assert!(dag_json::to_vec(&f64::INFINITY).is_err());
    assert!(dag_json::encode(&Ipld::Integer(1 << 64)).is_err());
    assert!(dag_json::encode(&Ipld::Integer(-(1 << 64) - 1)).is_err());
}

#[test]
fn another_type_than_asked_for_is_refused() {
    let block = dag_json::to_vec("text").unwrap();
    assert!(matches!(
        dag_json::from_slice::<u64>(&block),
        Err(JsonError::Shape { .. })
    ));
}
