//! What `#[derive(DomainEvent)]` makes of names, versions and fields.

use cim_domain::{DecodeError, DomainEvent, EventVersion};
use serde::{Deserialize, Serialize};

use crate::stored::read;

fn info(name: &'static str, version: u32) -> EventVersion {
    EventVersion::new(name, version)
}

fn payload(event: &impl DomainEvent) -> String {
    String::from_utf8(event.encode().unwrap()).unwrap()
}

#[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
#[event(prefix = "order_")]
enum OrderEvent {
    Placed {
        customer: String,
        total: u32,
    },
    #[event(name = "parcel_handed_over", version = 3, upcast = never_needed)]
    Shipped(String),
    Moved(i32, i32),
    HTTPNotified,
}

fn never_needed(
    _: u32,
    payload: serde_json::Value,
) -> Result<serde_json::Value, cim_domain::UpcastError> {
    Ok(payload)
}

#[test]
fn variants_are_event_types_named_in_snake_case_after_the_prefix_unless_named_otherwise() {
    assert_eq!(
        OrderEvent::EVENT_TYPES,
        [
            info("order_placed", 1),
            info("parcel_handed_over", 3).with_upcast_from(1),
            info("order_moved", 1),
            info("order_http_notified", 1),
        ]
    );
    let shipped = OrderEvent::Shipped("P-1".into());
    assert_eq!(
        (shipped.event_type(), shipped.schema_version()),
        ("parcel_handed_over", 3)
    );
}

#[test]
fn a_payload_holds_the_variants_fields_alone() {
    let placed = OrderEvent::Placed {
        customer: "anna".into(),
        total: 12,
    };
    assert_eq!(payload(&placed), r#"{"customer":"anna","total":12}"#);
    assert_eq!(payload(&OrderEvent::Shipped("P-1".into())), r#""P-1""#);
    assert_eq!(payload(&OrderEvent::Moved(3, -4)), "[3,-4]");
    assert_eq!(payload(&OrderEvent::HTTPNotified), "{}");
}

#[test]
fn a_payload_is_read_as_the_variant_that_the_event_type_names() {
    assert_eq!(
        read::<OrderEvent>("order_moved", 1, b" [ 3, -4 ] ").unwrap(),
        OrderEvent::Moved(3, -4)
    );
    assert_eq!(
        read::<OrderEvent>("order_http_notified", 1, b"{}").unwrap(),
        OrderEvent::HTTPNotified
    );
}

#[test]
fn fields_that_were_given_up_are_read_over() {
    assert_eq!(
        read::<OrderEvent>("order_http_notified", 1, br#"{"url":{"a":[1]}}"#).unwrap(),
        OrderEvent::HTTPNotified
    );
}

#[test]
fn an_unknown_event_type_is_refused_and_the_known_ones_are_named() {
    let error = read::<OrderEvent>("placed", 1, b"{}").unwrap_err();
    assert!(
        matches!(&error, DecodeError::UnknownType { event_type, .. } if event_type == "placed")
    );
    assert_eq!(
        error.to_string(),
        "`placed` is none of the known event types \
         (order_placed, parcel_handed_over, order_moved, order_http_notified)"
    );
}

#[test]
fn a_payload_of_another_shape_is_refused() {
    for (event_type, payload) in [
        ("order_placed", &br#"{"customer":"anna"}"#[..]),
        ("order_placed", br#"{"customer":"anna","total":-1}"#),
        ("order_placed", b"{"),
        ("order_placed", b""),
        ("order_placed", b"\xff"),
        ("order_placed", br#"{"customer":"anna","total":1}{}"#),
        ("order_moved", b"[1]"),
        ("order_moved", b"[1,2,3]"),
        ("order_http_notified", b"null"),
        ("order_http_notified", b"{} x"),
    ] {
        let error = read::<OrderEvent>(event_type, 1, payload).unwrap_err();
        assert!(
            matches!(&error, DecodeError::Malformed { event_type: named, schema_version: 1, .. } if *named == event_type),
            "{event_type} {}: {error:?}",
            String::from_utf8_lossy(payload)
        );
    }
}

#[test]
fn a_newer_schema_version_is_refused() {
    let error = read::<OrderEvent>("order_placed", 2, b"{}").unwrap_err();
    assert!(matches!(
        error,
        DecodeError::NewerSchema {
            event_type: "order_placed",
            found: 2,
            known: 1
        }
    ));
}

#[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
struct UserRegistered {
    name: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
#[event(name = "temperature_read", version = 2)]
struct Celsius(f64);

#[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
struct Heartbeat;

#[test]
fn a_struct_is_one_event_type() {
    assert_eq!(UserRegistered::EVENT_TYPES, [info("user_registered", 1)]);
    let anna = UserRegistered {
        name: "anna".into(),
    };
    assert_eq!(payload(&anna), r#"{"name":"anna"}"#);
    assert_eq!(
        read::<UserRegistered>("user_registered", 1, br#"{"name":"anna"}"#).unwrap(),
        anna
    );

    assert_eq!(Celsius::EVENT_TYPES, [info("temperature_read", 2)]);
    assert_eq!(payload(&Celsius(36.6)), "36.6");
    assert_eq!(
        read::<Celsius>("temperature_read", 2, b"36.6").unwrap(),
        Celsius(36.6)
    );

    assert_eq!(payload(&Heartbeat), "{}");
    assert_eq!(read::<Heartbeat>("heartbeat", 1, b"{}").unwrap(), Heartbeat);
    assert!(read::<Heartbeat>("heartbeat", 1, b"null").is_err());
}

#[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
enum Wrapped<T>
where
    T: Clone,
{
    Received { body: T },
    r#Type(Vec<T>),
}

#[test]
fn a_generic_type_is_an_event_for_types_that_serde_knows() {
    let event = Wrapped::Received { body: 5_u8 };
    assert_eq!(payload(&event), r#"{"body":5}"#);
    assert_eq!(
        read::<Wrapped<u8>>("received", 1, br#"{"body":5}"#).unwrap(),
        event
    );
}

#[test]
fn a_raw_identifier_is_named_without_its_mark() {
    assert_eq!(Wrapped::<u8>::EVENT_TYPES[1].name, "type");
}

#[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(rename_all_fields = "camelCase", rename_all = "SCREAMING-KEBAB-CASE")]
enum Shaped {
    #[serde(rename = "what serde calls it")]
    Measured {
        room_name: String,
        #[serde(default)]
        added_later: u8,
        #[serde(skip_serializing_if = "Option::is_none")]
        maybe: Option<u8>,
        #[serde(with = "as_text")]
        number: u64,
        #[serde(flatten)]
        place: Place,
    },
    Skipped {
        kept: u8,
        #[serde(skip)]
        forgotten: u8,
    },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Place {
    x: i8,
    y: i8,
}

mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(number: &u64, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
        String::deserialize(d)?.parse().map_err(D::Error::custom)
    }
}

#[test]
fn serde_attributes_of_fields_count_and_serde_names_of_variants_do_not() {
    let measured = Shaped::Measured {
        room_name: "hall".into(),
        added_later: 1,
        maybe: None,
        number: u64::MAX,
        place: Place { x: 1, y: -1 },
    };
    assert_eq!(measured.event_type(), "measured");
    let written =
        r#"{"roomName":"hall","addedLater":1,"number":"18446744073709551615","x":1,"y":-1}"#;
    assert_eq!(payload(&measured), written);
    assert_eq!(
        read::<Shaped>("measured", 1, written.as_bytes()).unwrap(),
        measured
    );

    let older = br#"{"roomName":"hall","number":"1","x":1,"y":-1}"#;
    assert!(matches!(
        read::<Shaped>("measured", 1, older).unwrap(),
        Shaped::Measured { added_later: 0, .. }
    ));
    assert_eq!(
        read::<Shaped>("skipped", 1, br#"{"kept":2}"#).unwrap(),
        Shaped::Skipped {
            kept: 2,
            forgotten: 0
        }
    );
}

mod renamed {
    pub(crate) use cim_domain::event;
}

#[derive(Serialize, Deserialize, DomainEvent)]
#[event(crate = crate::derive::renamed)]
struct FoundElsewhere;

#[test]
fn the_library_can_be_found_under_another_name() {
    assert_eq!(FoundElsewhere.event_type(), "found_elsewhere");
}

#[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
enum Reading {
    Number { value: f64 },
    Inner { values: Vec<Option<f32>> },
    Nested { maybe: Option<Option<u8>> },
}

#[test]
fn what_json_would_alter_is_refused_when_it_is_written() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(Reading::Number { value }.encode().is_err(), "{value}");
    }
    let values = vec![Some(1.0), Some(f32::NAN)];
    assert!(Reading::Inner { values }.encode().is_err());
    let nested = |maybe| Reading::Nested { maybe };
    assert!(nested(Some(None)).encode().is_err());
    assert_eq!(payload(&nested(Some(Some(1)))), r#"{"maybe":1}"#);
    assert_eq!(payload(&nested(None)), r#"{"maybe":null}"#);
}
