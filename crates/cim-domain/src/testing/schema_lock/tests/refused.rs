//! What a lock file refuses, and what the user reads then.

use super::*;

#[test]
fn another_shape_without_a_version_is_refused() {
    #[derive(Serialize, Deserialize, DomainEvent)]
    #[event(crate = crate)]
    enum Event {
        Opened {
            owner: Uuid,
            nickname: Option<String>,
        },
        Deposited {
            amount: Amount,
        },
        Closed,
    }
    Desk::locking::<first::Event>().refused(SchemaLock::event::<Event>, expect![[r#"

        the shapes of what is stored are not those in FILE

        event deposited, version 1: the shape changed, and stored events can't be read any more
          (- locked, + now)
           {
          -  cents: u64
          +  amount: {
          +    cents: u64
          +    currency: text
          +  }
           }
          refused: {"cents":18446744073709551615}
          because: the payload of `deposited`, schema version 1, has another shape, or is no application/json: missing field `amount` at line 1 column 30
          what to do:
            give it the next version, and an upcast from the one before:
              #[event(version = 2, upcast(1 = from_1))]
              fn from_1(payload: Value) -> Result<Value, UpcastError>
            then run the test once with CIM_SCHEMAS=update
    "#]]);
}

#[test]
fn a_number_that_became_smaller_is_refused() {
    #[derive(Serialize, Deserialize, DomainEvent)]
    #[event(crate = crate)]
    enum Event {
        Opened {
            owner: Uuid,
            nickname: Option<String>,
        },
        Deposited {
            cents: u32,
        },
        Closed,
    }
    Desk::locking::<first::Event>().refused(SchemaLock::event::<Event>, expect![[r#"

        the shapes of what is stored are not those in FILE

        event deposited, version 1: the shape changed, and stored events can't be read any more
          (- locked, + now)
           {
          -  cents: u64
          +  cents: u32
           }
          refused: {"cents":18446744073709551615}
          because: the payload of `deposited`, schema version 1, has another shape, or is no application/json: invalid value: integer `18446744073709551615`, expected u32 at line 1 column 29
          what to do:
            give it the next version, and an upcast from the one before:
              #[event(version = 2, upcast(1 = from_1))]
              fn from_1(payload: Value) -> Result<Value, UpcastError>
            then run the test once with CIM_SCHEMAS=update
    "#]]);
}

#[test]
fn a_number_that_is_read_as_its_neighbour_is_refused() {
    #[derive(Serialize, Deserialize, DomainEvent)]
    #[event(crate = crate)]
    enum Event {
        Opened {
            owner: Uuid,
            nickname: Option<String>,
        },
        Deposited {
            cents: f64,
        },
        Closed,
    }
    Desk::locking::<first::Event>().refused(
        SchemaLock::event::<Event>,
        expect![[r#"

        the shapes of what is stored are not those in FILE

        event deposited, version 1: the shape changed, and stored events are read as something else
          (- locked, + now)
           {
          -  cents: u64
          +  cents: f64
           }
          18446744073709551615 in `cents` is read as 1.8446744073709552e+19
          what to do:
            give it the next version, and an upcast from the one before:
              #[event(version = 2, upcast(1 = from_1))]
              fn from_1(payload: Value) -> Result<Value, UpcastError>
            then run the test once with CIM_SCHEMAS=update
    "#]],
    );
}

#[test]
fn another_version_without_an_upcast_is_refused() {
    // By hand, because the derive refuses it itself.
    #[derive(Serialize, Deserialize)]
    struct Deposited {
        amount: Amount,
    }
    impl DomainEvent for Deposited {
        type Codec = Json;
        const EVENT_TYPES: &'static [EventVersion] = &[EventVersion::new("deposited", 3)];
        fn event_type(&self) -> &'static str {
            "deposited"
        }
        fn schema_version(&self) -> u32 {
            3
        }
        fn encode(&self) -> Result<Vec<u8>, crate::EncodeError> {
            unreachable!("it is only traced")
        }
        fn decode(stored: Encoded<'_>) -> Result<Decoded<Self>, crate::DecodeError> {
            let event = serde_json::from_slice(stored.payload).unwrap();
            Ok(Decoded::One(event))
        }
        fn serialize_payload<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
            self.serialize(s)
        }
        fn deserialize_payload<'de, D: serde::Deserializer<'de>>(
            _: usize,
            deserializer: D,
        ) -> Result<Self, D::Error> {
            Self::deserialize(deserializer)
        }
    }
    #[derive(Serialize, Deserialize, DomainEvent)]
    #[event(crate = crate, name = "deposited")]
    struct Before {
        cents: u64,
    }
    Desk::locking::<Before>().refused(SchemaLock::event::<Deposited>, expect![[r#"

        the shapes of what is stored are not those in FILE

        event deposited, version 1: nothing lifts it to version 3, so stored events of it can't be read
          what to do:
            give the type an upcast for each step:
              #[event(version = 3, upcast(1 = from_1, 2 = from_2))]
              fn from_1(payload: Value) -> Result<Value, UpcastError>

        event deposited, version 3: a new version, not locked yet
          {
            amount: {
              cents: u64
              currency: text
            }
          }

        after that, run the test once with CIM_SCHEMAS=update, and commit the file
    "#]]);
}

#[test]
fn an_upcast_that_refuses_a_locked_shape_is_refused() {
    fn wrong(payload: Value) -> Result<Value, UpcastError> {
        match payload["euros"].as_u64() {
            Some(euros) => Ok(json!({ "amount": { "cents": euros * 100, "currency": "EUR" } })),
            None => Err(UpcastError::new("`euros` is no whole number")),
        }
    }
    #[derive(Serialize, Deserialize, DomainEvent)]
    #[event(crate = crate)]
    enum Event {
        Opened {
            owner: Uuid,
            nickname: Option<String>,
        },
        #[event(version = 2, upcast(1 = wrong))]
        Deposited {
            amount: Amount,
        },
        Closed,
    }
    Desk::locking::<first::Event>().refused(SchemaLock::event::<Event>, expect![[r#"

        the shapes of what is stored are not those in FILE

        event deposited, version 1: a payload of a locked shape is not lifted
          refused: {"cents":1}
          because: the upcast of `deposited` from schema version 1 to 2 failed: `euros` is no whole number
          what to do:
            repair the upcast that refuses it
            or, if such a payload was never stored: name one that was, and it is taken in place of made-up ones:
              .stored("deposited", 1, json!(…))

        event deposited, version 2: a new version, not locked yet
          {
            amount: {
              cents: u64
              currency: text
            }
          }

        after that, run the test once with CIM_SCHEMAS=update, and commit the file
    "#]]);
}

#[test]
fn an_upcast_that_refuses_made_up_payloads_is_tried_with_a_stored_one() {
    #[derive(Serialize, Deserialize, DomainEvent)]
    #[event(crate = crate, name = "priced")]
    struct Before {
        price: String,
    }
    fn split_price(payload: Value) -> Result<Value, UpcastError> {
        let price = payload["price"].as_str().unwrap_or_default();
        let (cents, currency) = price
            .split_once(' ')
            .ok_or_else(|| UpcastError::new("`price` has no currency"))?;
        let cents: u64 = cents
            .parse()
            .map_err(|error| UpcastError::new("`price` is no number").with_source(error))?;
        Ok(json!({ "cents": cents, "currency": currency }))
    }
    #[derive(Serialize, Deserialize, DomainEvent)]
    #[event(crate = crate, name = "priced", version = 2, upcast(1 = split_price))]
    struct Priced {
        cents: u64,
        currency: String,
    }
    let desk = Desk::locking::<Before>();
    desk.refused(SchemaLock::event::<Priced>, expect![[r#"

        the shapes of what is stored are not those in FILE

        event priced, version 1: a payload of a locked shape is not lifted
          refused: {"price":"a"}
          because: the upcast of `priced` from schema version 1 to 2 failed: `price` has no currency
          what to do:
            repair the upcast that refuses it
            or, if such a payload was never stored: name one that was, and it is taken in place of made-up ones:
              .stored("priced", 1, json!(…))

        event priced, version 2: a new version, not locked yet
          {
            cents: u64
            currency: text
          }

        after that, run the test once with CIM_SCHEMAS=update, and commit the file
    "#]]);
    let stored = |lock: SchemaLock| {
        lock.event::<Priced>()
            .stored("priced", 1, json!({ "price": "700 EUR" }))
    };
    expect![[r#"
        written: FILE
          + event priced, version 2
    "#]]
    .assert_eq(&desk.written(stored, Mode::Update));
    desk.is_fine(stored);
}

#[test]
fn a_version_that_went_back_is_refused() {
    #[derive(Serialize, Deserialize, DomainEvent)]
    #[event(crate = crate)]
    enum Later {
        Opened {
            owner: Uuid,
            nickname: Option<String>,
        },
        #[event(version = 2, upcast(1 = cents_to_amount))]
        Deposited {
            amount: Amount,
        },
        Closed,
    }
    Desk::locking::<Later>().refused(
        SchemaLock::event::<first::Event>,
        expect![[r#"

            the shapes of what is stored are not those in FILE

            event deposited, version 2: the code is at version 1, which is older
              what to do:
                give it version 2 or the next one: what was stored can't be read as an older one
                or, if version 2 was never released: remove it from the file by hand
        "#]],
    );
}

#[test]
fn a_field_that_got_another_name_is_refused_although_it_could_be_read() {
    #[derive(Serialize, Deserialize, DomainEvent)]
    #[event(crate = crate)]
    enum Event {
        Opened {
            owner: Uuid,
            nickname: Option<String>,
        },
        Deposited {
            #[serde(default)]
            amount: u64,
        },
        Closed,
    }
    Desk::locking::<first::Event>().refused(SchemaLock::event::<Event>, expect![[r#"

        the shapes of what is stored are not those in FILE

        event deposited, version 1: the shape changed, and what stored events say is lost
          (- locked, + now)
           {
          -  cents: u64
          +  amount?: u64
           }
          `cents` is not read any more, and what it held is not in `amount` either
          what to do:
            give it the next version, and an upcast from the one before:
              #[event(version = 2, upcast(1 = from_1))]
              fn from_1(payload: Value) -> Result<Value, UpcastError>
            then run the test once with CIM_SCHEMAS=update
            or, if `amount` is only the new name: #[serde(alias = "cents")] on it
            or, if they have nothing to do with each other: remove the one first, and add the other after that is locked
    "#]]);
}

#[test]
fn an_alias_is_one_more_shape_and_must_stay() {
    #[derive(Serialize, Deserialize, DomainEvent)]
    #[event(crate = crate)]
    enum Aliased {
        Opened {
            owner: Uuid,
            nickname: Option<String>,
        },
        Deposited {
            #[serde(alias = "cents")]
            amount: u64,
        },
        Closed,
    }
    #[derive(Serialize, Deserialize, DomainEvent)]
    #[event(crate = crate)]
    enum Without {
        Opened {
            owner: Uuid,
            nickname: Option<String>,
        },
        Deposited {
            amount: u64,
        },
        Closed,
    }
    let desk = Desk::locking::<first::Event>();
    desk.written(SchemaLock::event::<Aliased>, Mode::Update);
    desk.is_fine(SchemaLock::event::<Aliased>);
    desk.refused(SchemaLock::event::<Without>, expect![[r#"

        the shapes of what is stored are not those in FILE

        event deposited, version 1: the shape changed, and stored events can't be read any more
          (- locked, + now)
           {
          -  cents: u64
          +  amount: u64
           }
          refused: {"cents":18446744073709551615}
          because: the payload of `deposited`, schema version 1, has another shape, or is no application/json: missing field `amount` at line 1 column 30
          what to do:
            give it the next version, and an upcast from the one before:
              #[event(version = 2, upcast(1 = from_1))]
              fn from_1(payload: Value) -> Result<Value, UpcastError>
            then run the test once with CIM_SCHEMAS=update
    "#]]);
}

#[test]
fn a_type_that_is_gone_is_refused() {
    #[derive(Serialize, Deserialize, DomainEvent)]
    #[event(crate = crate)]
    enum Event {
        Opened {
            owner: Uuid,
            nickname: Option<String>,
        },
        Deposited {
            cents: u64,
        },
    }
    Desk::locking::<first::Event>().refused(SchemaLock::event::<Event>, expect![[r#"

        the shapes of what is stored are not those in FILE

        event closed: the code does not know it any more
          stored events of it can't be read
          what to do:
            if it has another name now: #[event(alias = "closed")] on the variant
            if its events don't matter any more: #[event(retired("closed"))] on the enum
            if they are other events now: #[event(split(name = "closed", into(…), by = …))] on the enum
            if none was ever stored: remove the entry from the file by hand
    "#]]);
}

#[test]
fn a_renamed_type_goes_on_reading_what_was_stored_under_the_old_name() {
    #[derive(Serialize, Deserialize, DomainEvent)]
    #[event(crate = crate)]
    enum Event {
        Opened {
            owner: Uuid,
            nickname: Option<String>,
        },
        #[event(alias = "deposited")]
        Received {
            euros: u64,
        },
        Closed,
    }
    Desk::locking::<first::Event>().refused(SchemaLock::event::<Event>, expect![[r#"

        the shapes of what is stored are not those in FILE

        event deposited, version 1: the shape changed, and stored events can't be read any more
          (- locked, + now)
           {
          -  cents: u64
          +  euros: u64
           }
          refused: {"cents":18446744073709551615}
          because: the payload of `received`, schema version 1, has another shape, or is no application/json: missing field `euros` at line 1 column 30
          what to do:
            give it the next version, and an upcast from the one before:
              #[event(version = 2, upcast(1 = from_1))]
              fn from_1(payload: Value) -> Result<Value, UpcastError>
            then run the test once with CIM_SCHEMAS=update

        event received, version 1: not locked yet
          {
            euros: u64
          }

        after that, run the test once with CIM_SCHEMAS=update, and commit the file
    "#]]);
}

#[test]
fn an_event_that_can_not_be_read_as_it_is_written_is_refused() {
    #[derive(Serialize, Deserialize, DomainEvent)]
    #[event(crate = crate)]
    enum Event {
        Measured {
            #[serde(skip_serializing)]
            never_written: u8,
        },
    }
    let report = Desk::new().run(SchemaLock::event::<Event>, Mode::Compare);
    expect![[r#"

        the shapes of what is stored are not those in FILE

        event measured: it writes what it can't read
          written: {}
          because: the payload of `measured`, schema version 1, has another shape, or is no application/json: missing field `never_written` at line 1 column 2
          what to do:
            make Serialize and Deserialize agree before such an event is stored
    "#]].assert_eq(&report.unwrap_err());
}
