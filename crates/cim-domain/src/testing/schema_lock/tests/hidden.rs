//! Changes that the shapes in the file hardly show, or not at all.

use super::*;

/// Of the earlier type one value is known to be taken, which the new type takes, too; the file does
/// not say that negative ones were stored.
#[test]
fn a_restricted_number_that_became_another_kind_is_refused_where_it_may_not_fit() {
    fn above<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
        let by = i32::deserialize(deserializer)?;
        match by > -1_000 {
            true => Ok(by),
            false => Err(serde::de::Error::custom("it is too far")),
        }
    }
    #[derive(Serialize, Deserialize, DomainEvent)]
    #[event(crate = crate, name = "moved")]
    struct Signed {
        #[serde(deserialize_with = "above")]
        by: i32,
    }
    #[derive(Serialize, Deserialize, DomainEvent)]
    #[event(crate = crate, name = "moved")]
    struct Unsigned {
        by: u32,
    }
    #[derive(Serialize, Deserialize, DomainEvent)]
    #[event(crate = crate, name = "moved")]
    struct Wider {
        by: i64,
    }
    let desk = Desk::locking::<Signed>();
    for mode in [Mode::Compare, Mode::Update] {
        let report = desk.run(SchemaLock::event::<Unsigned>, mode).unwrap_err();
        assert!(report.contains("not every i32 is u32"), "{report}");
    }
    desk.written(SchemaLock::event::<Wider>, Mode::Update);
}

#[test]
fn a_map_whose_keys_are_read_as_others_is_refused() {
    /// Capitals are lost.
    #[derive(PartialEq, Eq, PartialOrd, Ord, Serialize)]
    struct Lower(String);
    impl<'de> Deserialize<'de> for Lower {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            String::deserialize(deserializer).map(|text| Self(text.to_lowercase()))
        }
    }
    #[derive(Serialize, Deserialize, DomainEvent)]
    #[event(crate = crate, name = "counted")]
    struct AsTheyAre {
        pieces: std::collections::BTreeMap<String, u32>,
    }
    #[derive(Serialize, Deserialize, DomainEvent)]
    #[event(crate = crate, name = "counted")]
    struct Lowered {
        pieces: std::collections::BTreeMap<Lower, u64>,
    }
    let desk = Desk::locking::<AsTheyAre>();
    assert!(
        desk.run(SchemaLock::event::<Lowered>, Mode::Update)
            .is_err()
    );
}

/// In JSON a UUID is a text, so it could become any text. In CBOR it is bytes.
#[test]
fn under_a_codec_that_is_not_json_a_field_of_another_type_needs_a_version() {
    #[derive(Serialize, Deserialize, DomainEvent)]
    #[event(crate = crate, name = "opened", codec = crate::event::Cbor)]
    struct First {
        owner: Uuid,
        count: u32,
    }
    #[derive(Serialize, Deserialize, DomainEvent)]
    #[event(crate = crate, name = "opened", codec = crate::event::Cbor)]
    struct AsText {
        owner: String,
        count: u32,
    }
    #[derive(Serialize, Deserialize, DomainEvent)]
    #[event(crate = crate, name = "opened", codec = crate::event::Cbor)]
    struct Wider {
        owner: Uuid,
        count: u64,
        #[serde(default)]
        note: Option<String>,
    }
    let desk = Desk::locking::<First>();
    for mode in [Mode::Compare, Mode::Update] {
        let report = desk.run(SchemaLock::event::<AsText>, mode).unwrap_err();
        assert!(report.contains("a format that is not JSON"), "{report}");
    }
    let first = First {
        owner: Uuid::from_u128(7),
        count: 1,
    };
    let payload = first.encode().unwrap();
    let stored = Encoded {
        event_type: "opened",
        schema_version: 1,
        content_type: "application/cbor",
        payload: &payload,
    };
    assert!(AsText::decode(stored).is_err());
    desk.written(SchemaLock::event::<Wider>, Mode::Update);
    assert!(Wider::decode(stored).is_ok());
}
