//! How payloads are written and read: JSON, CBOR, and codecs of an application's own.

use std::collections::BTreeMap;
use std::error::Error;

use cim_domain::event::{Decoded, Encoded};
use cim_domain::store::StreamRange;
use cim_domain::{Aggregate, Cbor, Codec, DecodeError, DomainEvent, Json, Repository, UpcastError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::account::ctx;
use crate::stores::on_every_store;

/// An error and all that it goes back to.
fn said(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
#[event(codec = Cbor)]
enum Measured {
    #[event(version = 2, upcast(1 = round))]
    Taken {
        by: Uuid,
        raw: Bytes,
        value: f64,
    },
    Lost,
    Named(String),
    Pair(u8, Option<i64>),
}

/// Bytes that a binary format writes as bytes.
#[derive(Clone, Debug, PartialEq)]
struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> serde::de::Visitor<'de> for Read {
            type Value = Bytes;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut seq: A,
            ) -> Result<Bytes, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                Ok(Bytes(bytes))
            }
        }

        deserializer.deserialize_byte_buf(Read)
    }
}

/// Version 1 had more digits than anybody measured.
fn round(mut payload: Value) -> Result<Value, UpcastError> {
    let value = payload["value"]
        .as_f64()
        .ok_or_else(|| UpcastError::new("`value` is no number"))?;
    payload["value"] = value.round().into();
    Ok(payload)
}

fn taken(value: f64) -> Measured {
    let raw = Bytes(vec![0, 255]);
    Measured::Taken {
        by: Uuid::from_u128(5),
        raw,
        value,
    }
}

fn stored<'a>(
    event_type: &'a str,
    version: u32,
    content_type: &'a str,
    payload: &'a [u8],
) -> Encoded<'a> {
    Encoded {
        content_type,
        ..Encoded::json(event_type, version, payload)
    }
}

#[test]
fn a_payload_of_cbor_holds_the_variants_fields_alone() {
    assert_eq!(Measured::Lost.encode().unwrap(), [0xa0]);
    assert_eq!(Measured::Named("a".into()).encode().unwrap(), [0x61, b'a']);
    assert_eq!(
        Measured::Pair(1, Some(-1)).encode().unwrap(),
        [0x82, 0x01, 0x20]
    );
    let bytes = taken(0.5).encode().unwrap();
    // A map of three, keys by length and then by letter: by, raw, value.
    assert_eq!(bytes[..4], [0xa3, 0x62, b'b', b'y']);
    assert_eq!(bytes[4], 0x50, "a UUID is its 16 bytes");
    assert_eq!(bytes[21..28], [0x63, b'r', b'a', b'w', 0x42, 0, 255]);
}

#[test]
fn the_stored_content_type_says_how_an_event_is_read() {
    let in_json = br#"{"by":"00000000-0000-0000-0000-000000000005","raw":[0,255],"value":2.5}"#;
    let in_cbor = taken(2.5).encode().unwrap();
    for (content_type, payload) in [
        ("application/cbor", &in_cbor[..]),
        ("application/vnd.ipld.dag-cbor", &in_cbor),
        ("Application/CBOR", &in_cbor),
        ("application/json", in_json),
        ("application/json; charset=utf-8", in_json),
        ("application/vnd.shop+json", in_json),
    ] {
        let read = Measured::decode(stored("taken", 2, content_type, payload)).unwrap();
        assert_eq!(read, Decoded::One(taken(2.5)), "{content_type}");
    }
}

#[test]
fn a_content_type_that_nothing_reads_is_an_error_of_its_own() {
    let error = Measured::decode(stored("taken", 2, "text/plain", b"5")).unwrap_err();
    assert!(matches!(
        &error,
        DecodeError::UnknownContentType { event_type: "taken", content_type, known: "application/cbor" }
            if content_type == "text/plain"
    ));
    assert_eq!(
        error.to_string(),
        "the payload of `taken` is `text/plain`; what can be read is JSON, CBOR and application/cbor"
    );
    let older = Measured::decode(stored("taken", 1, "text/plain", b"5")).unwrap_err();
    assert!(matches!(older, DecodeError::UnknownContentType { .. }));
}

#[test]
fn an_upcast_is_given_json_values_whatever_the_codec() {
    let old = taken(2.4).encode().unwrap();
    let read = Measured::decode(stored("taken", 1, "application/cbor", &old)).unwrap();
    assert_eq!(
        read,
        Decoded::One(taken(2.0)),
        "bytes and UUID came through it"
    );
    let old = br#"{"by":"00000000-0000-0000-0000-000000000005","raw":[0,255],"value":2.4}"#;
    let read = Measured::decode(stored("taken", 1, "application/json", old)).unwrap();
    assert_eq!(read, Decoded::One(taken(2.0)));
}

#[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
#[event(codec = Cbor, version = 2, upcast = look_at_bytes)]
struct Photographed {
    picture: Bytes,
}

fn look_at_bytes(_: u32, mut payload: Value) -> Result<Value, UpcastError> {
    if payload["picture"] != json!({ "/": { "bytes": "AP8" } }) {
        return Err(UpcastError::new(format!("it is {payload}")));
    }
    payload["picture"]["/"]["bytes"] = "AQI".into();
    Ok(payload)
}

#[test]
fn bytes_are_what_dag_json_makes_of_them_when_an_upcast_sees_them() {
    let old = Photographed {
        picture: Bytes(vec![0, 255]),
    }
    .encode()
    .unwrap();
    let read = Photographed::decode(stored("photographed", 1, "application/cbor", &old)).unwrap();
    assert_eq!(
        read,
        Decoded::One(Photographed {
            picture: Bytes(vec![1, 2])
        })
    );
}

#[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
#[event(version = 2, upcast(1 = unchanged))]
struct Counted {
    count: i128,
}

fn unchanged(payload: Value) -> Result<Value, UpcastError> {
    Ok(payload)
}

#[test]
fn an_integer_that_an_upcast_would_round_is_refused() {
    for count in [i128::from(u64::MAX), i128::from(i64::MIN), 0] {
        let payload = format!(r#"{{"count":{count}}}"#);
        let read = Counted::decode(stored("counted", 1, "application/json", payload.as_bytes()));
        assert_eq!(read.unwrap(), Decoded::One(Counted { count }));
    }
    for count in [
        i128::from(u64::MAX) + 1,
        i128::from(i64::MIN) - 1,
        i128::MAX,
    ] {
        let payload = format!(r#"{{"count":{count}}}"#);
        let today = stored("counted", 2, "application/json", payload.as_bytes());
        assert_eq!(
            Counted::decode(today).unwrap(),
            Decoded::One(Counted { count })
        );
        let older = Encoded {
            schema_version: 1,
            ..today
        };
        let error = Counted::decode(older).unwrap_err();
        let said = said(&error);
        assert!(
            said.contains(&format!("the integer {count} has more than 64 bits")),
            "{said}"
        );
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Risky {
    number: f64,
    maybe: Option<Option<u8>>,
    list: Vec<f32>,
}

/// The same rules for a codec that has none of its own.
struct Wrapped;

impl Codec for Wrapped {
    const CONTENT_TYPE: &'static str = "application/vnd.example.wrapped";

    fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, cim_domain::event::CodecError> {
        Ok(format!("<{}>", serde_json::to_string(value)?).into_bytes())
    }

    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, cim_domain::event::CodecError> {
        match bytes {
            [b'<', inner @ .., b'>'] => Ok(serde_json::from_slice(inner)?),
            _ => Err(cim_domain::event::CodecError::new("it is not wrapped")),
        }
    }
}

fn refused<C: Codec>(risky: &Risky) -> String {
    said(&C::encode_whole(risky).unwrap_err())
}

#[test]
fn what_would_be_altered_is_refused_by_every_codec_and_the_reason_is_said() {
    fn check<C: Codec>() {
        let sound = Risky {
            number: 1.0,
            maybe: Some(Some(1)),
            list: vec![0.5],
        };
        let bytes = C::encode_whole(&sound).unwrap();
        assert_eq!(C::decode::<Risky>(&bytes).unwrap(), sound);
        let infinite = Risky {
            number: f64::INFINITY,
            ..sound
        };
        assert!(refused::<C>(&infinite).contains("no number for infinity or NaN"));
        let nan = Risky {
            number: 0.0,
            list: vec![f32::NAN],
            ..infinite
        };
        assert!(refused::<C>(&nan).contains("no number for infinity or NaN"));
        let nothing = Risky {
            maybe: Some(None),
            list: vec![],
            ..nan
        };
        assert!(refused::<C>(&nothing).contains("can't be told from none"));
    }
    check::<Json>();
    check::<Cbor>();
    check::<Wrapped>();
}

#[test]
fn negative_zero_is_kept_or_refused_and_never_altered() {
    let zero = Risky {
        number: -0.0,
        maybe: None,
        list: vec![],
    };
    let json = Json::encode_whole(&zero).unwrap();
    assert!(
        Json::decode::<Risky>(&json)
            .unwrap()
            .number
            .is_sign_negative()
    );
    assert!(refused::<Cbor>(&zero).contains("no negative zero"));
}

#[test]
fn what_cbor_has_no_form_for_is_refused_when_it_is_written() {
    let keys = BTreeMap::from([(1_u8, 2_u8)]);
    assert!(Cbor::encode_whole(&keys).is_err());
    assert!(Cbor::encode_whole(&(i128::from(u64::MAX) + 1)).is_err());
    assert!(Cbor::encode_whole(&-(i128::from(u64::MAX) + 1)).is_ok());
    assert!(
        Cbor::decode::<u8>(&[0x01, 0x01]).is_err(),
        "one value and no more"
    );
    assert!(
        Cbor::decode::<Vec<u8>>(&[0x9f, 0x01, 0xff]).is_err(),
        "another form of CBOR"
    );
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
#[event(codec = Wrapped)]
enum Parcel {
    #[event(version = 2, upcast(1 = weigh))]
    Sent { grams: u32 },
}

fn weigh(payload: Value) -> Result<Value, UpcastError> {
    let kilograms = payload["kilograms"].as_u64().unwrap_or_default();
    Ok(json!({ "grams": kilograms * 1000 }))
}

#[test]
fn a_codec_of_ones_own_writes_reads_and_is_lifted() {
    let sent = Parcel::Sent { grams: 3000 };
    let payload = sent.encode().unwrap();
    assert_eq!(payload, br#"<{"grams":3000}>"#);
    let own = <Parcel as DomainEvent>::Codec::CONTENT_TYPE;
    let read = |version, payload: &[u8]| Parcel::decode(stored("sent", version, own, payload));
    assert_eq!(read(2, &payload).unwrap(), Decoded::One(sent.clone()));
    assert_eq!(
        read(1, br#"<{"kilograms":3}>"#).unwrap(),
        Decoded::One(sent.clone())
    );
    let error = read(2, br#"{"grams":3000}"#).unwrap_err();
    assert!(
        said(&error).ends_with("it is not wrapped"),
        "{}",
        said(&error)
    );

    let before = stored("sent", 1, "application/json", br#"{"kilograms":3}"#);
    assert_eq!(Parcel::decode(before).unwrap(), Decoded::One(sent));
}

#[derive(Debug, Default, PartialEq)]
struct Series(Vec<Measured>);

impl Aggregate for Series {
    const CONTEXT: &'static str = "lab";
    const TYPE: &'static str = "series";
    type Id = u32;
    type Event = Measured;
    type Command = Measured;
    type Error = std::convert::Infallible;

    fn apply(&mut self, event: &Measured) {
        self.0.push(event.clone());
    }

    fn handle(&self, event: Measured) -> Result<Vec<Measured>, Self::Error> {
        Ok(vec![event])
    }
}

on_every_store! {
    async fn events_are_stored_with_the_content_type_of_their_codec(store, clock) {
        let _ = clock;
        let series = Repository::<Series>::new(store.log());
        let events = [taken(2.5), Measured::Lost, Measured::Pair(1, None)];
        for event in &events {
            series.execute(&ctx(), &1, event.clone()).await.unwrap();
        }
        assert_eq!(series.load(&ctx(), &1).await.unwrap().state.0, events);
        let history = series.history(&ctx(), &1, StreamRange::all()).await.unwrap();
        for (entry, event) in history.all().await.unwrap().iter().zip(&events) {
            assert_eq!(entry.recorded.content_type.as_str(), "application/cbor");
            assert_eq!(entry.recorded.payload, event.encode().unwrap());
        }
    }
}
