//! Every way in which bytes can fail to be a block: the fault, its field and its byte are named.

use cim_ipld::dag_cbor::Ipld;
use cim_ipld::{BlockErrorKind, CborFault, Cid, EventBlock};

use crate::sample::Event;

const REQUIRED: [&str; 12] = [
    "v", "id", "data", "time", "type", "count", "index", "commit", "schema", "stream", "version",
    "datatype",
];

/// A block taken apart: keys and encoded values, in any order and number.
struct Parts(Vec<(String, Vec<u8>)>);

impl Parts {
    /// The parts of an event with every field, from the general codec.
    fn full() -> Self {
        let Ipld::Map(map) = Event::full().to_ipld() else {
            panic!("an event is a map")
        };
        let mut parts: Vec<_> = map
            .into_iter()
            .map(|(key, value)| (key, serde_ipld_dagcbor::to_vec(&value).unwrap()))
            .collect();
        parts.sort_by_key(|(key, _)| (key.len(), key.clone()));
        Self(parts)
    }

    fn place(&self, key: &str) -> usize {
        self.0.iter().position(|part| part.0 == key).expect(key)
    }

    /// Replaces a value by raw bytes.
    fn with(mut self, key: &str, value: impl Into<Vec<u8>>) -> Self {
        let place = self.place(key);
        self.0[place].1 = value.into();
        self
    }

    fn without(mut self, key: &str) -> Self {
        self.0.remove(self.place(key));
        self
    }

    fn insert(mut self, place: usize, key: &str, value: &[u8]) -> Self {
        self.0.insert(place, (key.to_owned(), value.to_vec()));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut block = vec![0xa0 + u8::try_from(self.0.len()).unwrap()];
        for (key, value) in &self.0 {
            block.extend(serde_ipld_dagcbor::to_vec(key).unwrap());
            block.extend(value);
        }
        block
    }

    /// Where the entry at `place` starts; its value starts a head and a name later.
    fn offset(&self, place: usize) -> usize {
        1 + self.0[..place]
            .iter()
            .map(|(key, value)| 1 + key.len() + value.len())
            .sum::<usize>()
    }

    #[track_caller]
    fn refused(&self, offset: usize, field: Option<&str>, kind: &BlockErrorKind) {
        let error = EventBlock::decode(&self.bytes()).expect_err("must be refused");
        assert_eq!(
            (error.offset(), error.field(), error.kind()),
            (Some(offset), field, kind),
            "{error}"
        );
    }

    /// Asserts that the value of `key` is at fault.
    #[track_caller]
    fn refused_value(&self, key: &str, kind: &BlockErrorKind) {
        self.refused(
            self.offset(self.place(key)) + 1 + key.len(),
            Some(key),
            kind,
        );
    }

    /// Asserts that the key at `place` is at fault.
    #[track_caller]
    fn refused_key(&self, place: usize, kind: &BlockErrorKind) {
        self.refused(self.offset(place), None, kind);
    }
}

fn cbor(fault: CborFault) -> BlockErrorKind {
    BlockErrorKind::NotCanonical(fault)
}

#[test]
fn the_parts_make_the_block_of_the_encoder() {
    assert_eq!(Parts::full().bytes(), Event::full().encode());
}

#[test]
fn a_missing_required_field_is_named_and_an_optional_one_is_not_missed() {
    for (key, _) in Parts::full().0 {
        let parts = Parts::full();
        let place = parts.place(&key);
        let parts = parts.without(&key);
        if REQUIRED.contains(&&*key) {
            parts.refused(parts.offset(place), Some(&key), &BlockErrorKind::Missing);
        } else {
            let block = parts.bytes();
            assert!(EventBlock::decode(&block).is_ok(), "{key} is optional");
        }
    }
}

#[test]
fn a_field_of_another_type_is_refused() {
    for (key, _) in Parts::full().0 {
        let expected = match &*key {
            "v" | "count" | "index" | "schema" | "version" => "an unsigned integer",
            "time" => "an integer",
            "id" | "data" | "commit" | "causation" | "correlation" => "a byte string",
            "meta" => "a map of texts",
            "prev" => "a CID link (tag 42)",
            _ => "a text",
        };
        let kind = BlockErrorKind::WrongType { expected };
        // null, an array, a finite float of 64 bits
        for other in [&[0xf6][..], &[0x80], &[0xfb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0]] {
            Parts::full().with(&key, other).refused_value(&key, &kind);
        }
    }
}

#[test]
fn a_negative_number_is_allowed_for_the_time_alone() {
    for key in ["v", "count", "index", "schema", "version"] {
        let kind = BlockErrorKind::WrongType {
            expected: "an unsigned integer",
        };
        Parts::full().with(key, [0x20]).refused_value(key, &kind);
    }
    let block = Parts::full().with("time", [0x20]).bytes();
    assert_eq!(EventBlock::decode(&block).unwrap().time, -1);
}

#[test]
fn integers_that_are_not_in_their_shortest_form_are_refused() {
    for key in ["v", "time", "count", "index", "schema", "version"] {
        for longer in [
            &[0x18, 2][..],
            &[0x19, 0, 2],
            &[0x1a, 0, 0, 0, 2],
            &[0x1b, 0, 0, 0, 0, 0, 0, 0, 2],
        ] {
            Parts::full()
                .with(key, longer)
                .refused_value(key, &cbor(CborFault::NonMinimal));
        }
    }
    let negative = [0x39, 0, 2];
    Parts::full()
        .with("time", negative)
        .refused_value("time", &cbor(CborFault::NonMinimal));
}

#[test]
fn lengths_that_are_not_in_their_shortest_form_are_refused() {
    for (key, major) in [
        ("id", 0x40),
        ("data", 0x40),
        ("type", 0x60),
        ("trace", 0x60),
        ("commit", 0x40),
        ("stream", 0x60),
        ("datatype", 0x60),
        ("causation", 0x40),
        ("principal", 0x60),
        ("correlation", 0x40),
    ] {
        let mut longer = vec![major + 24, 16];
        longer.extend([b'x'; 16]);
        Parts::full()
            .with(key, longer)
            .refused_value(key, &cbor(CborFault::NonMinimal));
    }
    let mut block = Event::full().encode();
    block.splice(..1, [0xb8, block[0] - 0xa0]);
    let error = EventBlock::decode(&block).unwrap_err();
    assert_eq!(
        (error.offset(), error.kind()),
        (Some(0), &cbor(CborFault::NonMinimal))
    );
}

#[test]
fn a_key_whose_length_is_not_in_its_shortest_form_is_refused() {
    let mut block = Event::full().encode();
    block.splice(1..2, [0x78, 1]); // "v"
    let error = EventBlock::decode(&block).unwrap_err();
    assert_eq!(
        (error.offset(), error.kind()),
        (Some(1), &cbor(CborFault::NonMinimal))
    );
}

#[test]
fn items_of_indefinite_length_are_refused() {
    let indefinite = cbor(CborFault::IndefiniteLength);
    Parts::full()
        .with("data", [0x5f, 0x41, 1, 0xff])
        .refused_value("data", &indefinite);
    Parts::full()
        .with("type", [0x7f, 0x61, b'a', 0xff])
        .refused_value("type", &indefinite);
    Parts::full()
        .with("meta", [0xbf, 0x61, b'a', 0x61, b'b', 0xff])
        .refused_value("meta", &indefinite);
    let mut block = Event::full().encode();
    block[0] = 0xbf;
    block.push(0xff);
    assert_eq!(EventBlock::decode(&block).unwrap_err().kind(), &indefinite);
}

#[test]
fn reserved_first_bytes_are_refused() {
    for info in 28..=30 {
        Parts::full()
            .with("count", [info])
            .refused_value("count", &cbor(CborFault::ReservedHead));
    }
}

#[test]
fn a_length_beyond_the_end_is_refused_whatever_its_size() {
    for (key, major) in [("data", 0x40), ("datatype", 0x60)] {
        let huge = [major + 27, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        Parts::full()
            .with(key, huge)
            .refused_value(key, &cbor(CborFault::Truncated));
    }
    let endless = [0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    let error = EventBlock::decode(&endless).unwrap_err();
    assert_eq!(error.kind(), &cbor(CborFault::Truncated));
}

#[test]
fn invalid_utf8_is_refused_in_every_text() {
    for key in ["type", "trace", "stream", "datatype", "principal"] {
        let broken = [0x62, b'a', 0xff];
        Parts::full()
            .with(key, broken)
            .refused_value(key, &cbor(CborFault::InvalidUtf8));
    }
}

#[test]
fn an_id_has_sixteen_bytes() {
    for key in ["id", "commit", "causation", "correlation"] {
        for (head, len) in [(0x4f, 15), (0x51, 17), (0x40, 0)] {
            let mut value = vec![head];
            value.extend(vec![7; len]);
            let kind = BlockErrorKind::WrongLength {
                expected: 16,
                found: len as u64,
            };
            Parts::full().with(key, value).refused_value(key, &kind);
        }
    }
}

#[test]
fn numbers_out_of_range_are_refused() {
    let from_one = "1 to 4294967295";
    for (key, found, allowed) in [
        ("count", 0, from_one),
        ("schema", 0, from_one),
        ("version", 0, "1 and above"),
        ("count", 1 << 32, from_one),
        ("schema", 1 << 32, from_one),
        ("index", 1 << 32, "0 to 4294967295"),
        ("time", 1 << 63, "a signed 64-bit integer"),
        ("time", -(1 << 63) - 1, "a signed 64-bit integer"),
    ] {
        let value = serde_ipld_dagcbor::to_vec(&Ipld::Integer(found)).unwrap();
        let kind = BlockErrorKind::OutOfRange { found, allowed };
        Parts::full().with(key, value).refused_value(key, &kind);
    }
}

#[test]
fn an_index_is_below_its_count() {
    let kind = BlockErrorKind::IndexNotBelowCount { index: 3, count: 3 };
    Parts::full()
        .with("index", [3])
        .refused_value("index", &kind);
}

#[test]
fn another_format_version_is_unsupported_even_if_its_fields_are_unknown() {
    for found in [0, 2, 23] {
        let kind = BlockErrorKind::UnsupportedVersion { found };
        let value = [u8::try_from(found).unwrap()];
        Parts::full()
            .with("v", value)
            .insert(1, "x", &[1])
            .refused_value("v", &kind);
    }
}

#[test]
fn keys_out_of_order_are_refused() {
    for place in 1..Parts::full().0.len() {
        let mut parts = Parts::full();
        parts.0.swap(place - 1, place);
        let error = EventBlock::decode(&parts.bytes()).expect_err("must be refused");
        // A required field that comes too late is missed at its place; an optional one is out of
        // order at its own.
        match error.kind() {
            BlockErrorKind::Missing => {
                assert_eq!(error.field(), Some(&*parts.0[place].0));
                assert_eq!(error.offset(), Some(parts.offset(place - 1)));
            }
            BlockErrorKind::UnsortedKey { key } => {
                assert_eq!(**key, *parts.0[place].0);
                assert_eq!(error.offset(), Some(parts.offset(place)));
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_key_twice_is_refused() {
    for (place, (key, value)) in Parts::full().0.into_iter().enumerate() {
        let parts = Parts::full().insert(place + 1, &key, &value);
        parts.refused_key(place + 1, &BlockErrorKind::DuplicateKey { key: key.into() });
    }
}

#[test]
fn an_unknown_key_is_refused_wherever_it_stands() {
    for (place, unknown) in [(0, "a"), (1, "w"), (4, "note"), (18, "zzzzzzzzzzzz")] {
        let parts = Parts::full().insert(place, unknown, &[1]);
        parts.refused_key(
            place,
            &BlockErrorKind::UnknownKey {
                key: unknown.into(),
            },
        );
    }
}

#[test]
fn a_key_that_is_no_text_is_refused() {
    let mut block = Parts::full().bytes();
    block.splice(1..3, [1]); // the key "v"
    let error = EventBlock::decode(&block).unwrap_err();
    assert_eq!(
        (error.offset(), error.kind()),
        (Some(1), &cbor(CborFault::KeyNotText))
    );
}

#[test]
fn a_long_unknown_key_is_quoted_in_part() {
    let key = "é".repeat(200);
    let mut block = vec![0xa1];
    block.extend(serde_ipld_dagcbor::to_vec(&key).unwrap());
    block.push(1);
    let error = EventBlock::decode(&block).unwrap_err();
    assert_eq!(
        error.kind(),
        &BlockErrorKind::UnknownKey {
            key: "é".repeat(64).into()
        }
    );
}

#[test]
fn a_link_is_tag_42_with_an_events_cid() {
    let link =
        |text: &str| serde_ipld_dagcbor::to_vec(&Ipld::Link(Cid::try_from(text).unwrap())).unwrap();
    for other in [
        "QmRgutAxd8t7oGkSm4wmeuByG6M51wcTso6cubDdQtuEfL",
        "bafkreiebzrnroamgos2adnbpgw5apo3z4iishhbdx77gldnbk57d4zdio4",
    ] {
        Parts::full()
            .with("prev", link(other))
            .refused_value("prev", &BlockErrorKind::NotAnEventLink);
    }
    let good = link("bafyreidj5idub6mapiupjwjsyyxhyhedxycv4vihfsicm2vt46o7morwlm");
    let mut other_tag = good.clone();
    other_tag[1] = 43;
    Parts::full()
        .with("prev", other_tag)
        .refused_value("prev", &cbor(CborFault::Tag { found: 43 }));
    let mut other_prefix = good.clone();
    other_prefix[4] = 1; // the multibase prefix, which is 0
    Parts::full()
        .with("prev", other_prefix)
        .refused_value("prev", &BlockErrorKind::NotAnEventLink);
    let block = Parts::full().with("prev", good).bytes();
    assert!(EventBlock::decode(&block).is_ok());
}

#[test]
fn metadata_is_a_canonical_map_of_texts() {
    let empty = BlockErrorKind::EmptyMetadata;
    Parts::full()
        .with("meta", [0xa0])
        .refused_value("meta", &empty);

    let at = |parts: &Parts, inside: usize| parts.offset(parts.place("meta")) + 5 + inside;
    for (map, inside, kind) in [
        (
            &b"\xa2\x61b\x60\x61a\x60"[..],
            4,
            BlockErrorKind::UnsortedKey { key: "a".into() },
        ),
        (
            b"\xa2\x62aa\x60\x61b\x60",
            5,
            BlockErrorKind::UnsortedKey { key: "b".into() },
        ),
        (
            b"\xa2\x61a\x60\x61a\x60",
            4,
            BlockErrorKind::DuplicateKey { key: "a".into() },
        ),
        (
            b"\xa1\x61a\x01",
            3,
            BlockErrorKind::WrongType { expected: "a text" },
        ),
        (
            b"\xa1\x01\x61a",
            1,
            BlockErrorKind::WrongType { expected: "a text" },
        ),
        (
            b"\xa1\x61a\xa0",
            3,
            BlockErrorKind::WrongType { expected: "a text" },
        ),
        (b"\xa1\x61\xff\x60", 1, cbor(CborFault::InvalidUtf8)),
        (b"\xa1\x61a\x61\xff", 3, cbor(CborFault::InvalidUtf8)),
        (b"\xa1\x78\x01a\x60", 1, cbor(CborFault::NonMinimal)),
        (b"\xb8\x01\x61a\x60", 0, cbor(CborFault::NonMinimal)),
    ] {
        let parts = Parts::full().with("meta", map);
        parts.refused(at(&parts, inside), Some("meta"), &kind);
    }
}

#[test]
fn a_map_with_more_or_fewer_fields_than_it_announces_is_refused() {
    let parts = Parts::full();
    let mut block = parts.bytes();
    for announced in 0..18 {
        block[0] = 0xa0 + announced;
        let error = EventBlock::decode(&block).unwrap_err();
        let place = usize::from(announced);
        // The fields announced are read; what follows them is missing or too much.
        let expected = match REQUIRED.iter().find(|key| parts.place(key) >= place) {
            Some(key) => (Some(*key), BlockErrorKind::Missing),
            None => (None, cbor(CborFault::TrailingBytes)),
        };
        assert_eq!(
            (error.field(), error.kind().clone()),
            expected,
            "{announced} fields"
        );
        assert_eq!(
            error.offset(),
            Some(parts.offset(place)),
            "{announced} fields"
        );
    }
    block[0] = 0xa0 + 19;
    let error = EventBlock::decode(&block).unwrap_err();
    assert_eq!(error.kind(), &cbor(CborFault::Truncated));
    assert_eq!(error.offset(), Some(block.len()));
}

#[test]
fn a_block_is_a_map() {
    for (bytes, kind) in [
        (&[][..], cbor(CborFault::Truncated)),
        (&[0x80], BlockErrorKind::WrongType { expected: "a map" }),
        (&[0xf6], BlockErrorKind::WrongType { expected: "a map" }),
        (&[0xff], cbor(CborFault::IndefiniteLength)),
        (&[0xa0], BlockErrorKind::Missing),
    ] {
        assert_eq!(EventBlock::decode(bytes).unwrap_err().kind(), &kind);
    }
}

#[test]
fn an_error_says_field_byte_and_fault_in_one_sentence() {
    let block = Parts::full().with("schema", [0]).bytes();
    let error = EventBlock::decode(&block).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "event block, field \"schema\", byte {}: 0 is out of range, allowed is 1 to 4294967295",
            error.offset().unwrap()
        )
    );
}
