//! Values to try where a type wants one.

use serde_json::{Value, json};

use super::super::Scalar;
use super::super::samples::ODD_TEXT;

/// Texts in formats that types in use insist on, the most usual first.
const TEXTS: &[&str] = &[
    ODD_TEXT,
    "a",
    "A",
    "1",
    "0",
    "67e55044-10b1-426f-9247-bb680e5fe0c8",
    // Dates and times: RFC 3339, and as the crates `time`, `chrono` and `jiff` write them.
    "2020-02-29T12:34:56Z",
    "2020-02-29T12:34:56.000000Z",
    "2020-02-29",
    "12:34:56",
    "12:34:56.0",
    "2020-02-29T12:34:56",
    "2020-02-29 12:34:56.0",
    "2020-02-29 12:34:56.0 +00:00:00",
    "2020-02-29T12:34:56+00:00[UTC]",
    "PT1S",
    "P1D",
    "1s",
    "+00:00",
    "UTC",
    "Europe/Berlin",
    // Numbers as texts.
    "1.5",
    "100",
    "1/2",
    // Addresses.
    "127.0.0.1",
    "::1",
    "127.0.0.1:8080",
    "[::1]:8080",
    "127.0.0.0/8",
    "00:00:5e:00:53:01",
    "example.com",
    "a@example.com",
    "https://example.com/",
    "+4930901820",
    "/",
    // Codes: ISO 4217, 3166, 639, BCP 47, versions, media types, colours.
    "EUR",
    "DE",
    "DEU",
    "de",
    "de-DE",
    "a.b.c",
    "1.0.0",
    "text/plain",
    "#000000",
    "DE89370400440532013000",
    "a/b",
    "a_b",
    "a-b",
    // Keys and digests: hexadecimal, base64, ULID, CID.
    "00",
    "0000000000000000",
    "00000000000000000000000000000000",
    "0000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "AAAA",
    "AAAAAAAAAAAAAAAAAAAAAA==",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "bafyreictu6cehkr2w6bqsadmclnliebkuqyqxq5zrpuvdi4sx6dyqfs22u",
    "",
];

/// Values to try for a leaf, in order; the first ones show most.
pub(super) fn candidates(kind: Option<Scalar>, texts: &[String]) -> Vec<Value> {
    let all_texts = || {
        let given = texts.iter().map(|text| Value::from(text.as_str()));
        let odd = Value::from(ODD_TEXT);
        let usual = TEXTS.iter().map(|text| Value::from(*text));
        std::iter::once(odd).chain(given).chain(usual.skip(1))
    };
    let Some(kind) = kind else {
        let others = [json!(null), json!(false), json!(1), json!(0.5)];
        return others.into_iter().chain(all_texts()).collect();
    };
    let mut values = kind.extremes();
    match kind {
        Scalar::Bool => {}
        Scalar::Text => values = all_texts().collect(),
        Scalar::Char => values.extend(["A", "1", " "].map(Value::from)),
        Scalar::F32 | Scalar::F64 => values.extend([json!(1.0), json!(0.0), json!(50.0)]),
        Scalar::Bytes => {
            values.extend([4, 8, 12, 16, 20, 24, 32, 33, 64].map(|n| json!(vec![0; n])))
        }
        _ => values.extend(
            [
                0, 1, 2, 3, 5, 7, 10, 12, 20, 50, 100, 200, 1_000, 1_024, 2_000,
            ]
            .into_iter()
            .chain([10_000, 65_536, 1_000_000, 1_600_000_000])
            .filter(|number: &u64| {
                let range = kind.integer_range();
                let greatest = range.and_then(|(_, greatest)| greatest.as_u64());
                greatest.is_some_and(|greatest| *number <= greatest)
            })
            .map(Value::from),
        ),
    }
    values
}

/// What a leaf has to take to be of its kind without reservation. Of a leaf that takes several
/// kinds (`None`), one of each.
pub(super) fn probes(kind: Option<Scalar>) -> Vec<Value> {
    match kind {
        Some(kind) => kind.extremes(),
        None => vec![
            json!(null),
            json!(false),
            json!(1),
            json!(-1),
            json!(0.5),
            json!(ODD_TEXT),
            json!("1"),
            json!([]),
            json!({}),
        ],
    }
}
