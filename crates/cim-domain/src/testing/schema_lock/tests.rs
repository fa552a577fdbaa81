//! What a lock file takes in, what it refuses, and what the user reads then.

use std::path::PathBuf;

use expect_test::{Expect, expect};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::UpcastError;
use crate::event::{Decoded, Encoded, EventVersion, Json, PastEvent};

/// A directory with a lock file, or without one yet.
struct Desk {
    directory: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// With the file that locks the events `E`.
    fn locking<E: DomainEvent>() -> Self {
        let desk = Self::new();
        desk.written(SchemaLock::event::<E>, Mode::Compare);
        desk
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("cim-schemas.lock")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.path()).unwrap()
    }

    /// The entry that begins with this line.
    fn entry(&self, head: &str) -> String {
        let text = self.text();
        let mut entries = text.split("\n\n");
        let entry = entries.find(|entry| entry.lines().next() == Some(head));
        format!("{}\n", entry.unwrap().trim_end())
    }

    fn run(
        &self,
        with: impl FnOnce(SchemaLock) -> SchemaLock,
        mode: Mode,
    ) -> Result<Option<String>, String> {
        let shown = |text: String| text.replace(&self.path().display().to_string(), "FILE");
        let done = with(SchemaLock::at(self.path())).run(mode);
        done.map(|note| note.map(shown)).map_err(shown)
    }

    #[track_caller]
    fn is_fine(&self, with: impl FnOnce(SchemaLock) -> SchemaLock) {
        let before = self.text();
        assert_eq!(self.run(with, Mode::Compare), Ok(None));
        assert_eq!(self.text(), before);
    }

    #[track_caller]
    fn written(&self, with: impl FnOnce(SchemaLock) -> SchemaLock, mode: Mode) -> String {
        match self.run(with, mode) {
            Ok(Some(note)) => note,
            other => panic!("nothing was written: {other:?}"),
        }
    }

    /// It is refused, in either mode with the same words, and nothing is written.
    #[track_caller]
    fn refused(&self, with: impl Fn(SchemaLock) -> SchemaLock, expected: Expect) {
        let before = self.text();
        let report = self.run(&with, Mode::Compare).unwrap_err();
        assert_eq!(self.run(&with, Mode::Update), Err(report.clone()));
        assert_eq!(self.text(), before);
        expected.assert_eq(&report);
    }

    /// It is not in the file yet; with the variable it is.
    #[track_caller]
    fn is_added(&self, with: impl Fn(SchemaLock) -> SchemaLock, expected: Expect, note: Expect) {
        let before = self.text();
        let report = self.run(&with, Mode::Compare).unwrap_err();
        assert_eq!(self.text(), before);
        expected.assert_eq(&report);
        note.assert_eq(&self.written(&with, Mode::Update));
        self.is_fine(with);
    }
}

/// The first version of everything.
mod first {
    use super::*;

    #[derive(Serialize, Deserialize, DomainEvent)]
    #[event(crate = crate)]
    pub(super) enum Event {
        Opened {
            owner: Uuid,
            nickname: Option<String>,
        },
        Deposited {
            cents: u64,
        },
        Closed,
    }
}

fn cents_to_amount(payload: Value) -> Result<Value, UpcastError> {
    Ok(json!({ "amount": { "cents": payload["cents"], "currency": "EUR" } }))
}

#[derive(Serialize, Deserialize)]
struct Amount {
    cents: u64,
    currency: String,
}

#[test]
fn the_first_time_the_file_is_written() {
    let desk = Desk::new();
    expect![[r#"
        written: FILE
          + event opened, version 1
          + event deposited, version 1
          + event closed, version 1
    "#]]
    .assert_eq(&desk.written(SchemaLock::event::<first::Event>, Mode::Compare));
    expect![[r##"
        cim-schemas 1
        # The shapes of what is stored. Stored events stay as they are, so what is written here stays, too:
        # a new shape is a new version. A test writes this file: CIM_SCHEMAS=update cargo test

        event closed
          version 1
            {}

        event deposited
          version 1
            {
              cents: u64
            }

        event opened
          version 1
            {
              nickname?: option text
              owner: text = "67e55044-10b1-426f-9247-bb680e5fe0c8"
            }
    "##]]
    .assert_eq(&desk.text());
    desk.is_fine(SchemaLock::event::<first::Event>);
}

#[test]
fn where_nobody_would_commit_it_a_missing_file_is_an_error() {
    let desk = Desk::new();
    let report = desk.run(SchemaLock::event::<first::Event>, Mode::CompareOnly);
    expect!["FILE is missing; run the test outside of CI, and commit the file that it writes"]
        .assert_eq(&report.unwrap_err());
    assert!(!desk.path().exists());
}

#[test]
fn a_new_type_is_added() {
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
        Closed,
        Frozen {
            reason: String,
        },
    }
    Desk::locking::<first::Event>().is_added(
        SchemaLock::event::<Event>,
        expect![[r#"

            the shapes of what is stored are not those in FILE

            event frozen, version 1: not locked yet
              {
                reason: text
              }

            run the test once with CIM_SCHEMAS=update, and commit the file
        "#]],
        expect![[r#"
            written: FILE
              + event frozen, version 1
        "#]],
    );
}

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
fn another_version_with_an_upcast_is_added_and_the_old_one_stays() {
    #[derive(Serialize, Deserialize, DomainEvent)]
    #[event(crate = crate)]
    enum Event {
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
    let desk = Desk::locking::<first::Event>();
    desk.is_added(
        SchemaLock::event::<Event>,
        expect![[r#"

            the shapes of what is stored are not those in FILE

            event deposited, version 2: a new version, not locked yet
              {
                amount: {
                  cents: u64
                  currency: text
                }
              }

            run the test once with CIM_SCHEMAS=update, and commit the file
        "#]],
        expect![[r#"
            written: FILE
              + event deposited, version 2
        "#]],
    );
    expect![[r#"
        event deposited
          version 1
            {
              cents: u64
            }
          version 2
            {
              amount: {
                cents: u64
                currency: text
              }
            }
    "#]]
    .assert_eq(&desk.entry("event deposited"));
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
fn a_field_that_came_with_a_default_is_one_more_shape() {
    #[derive(Serialize, Deserialize, DomainEvent)]
    #[event(crate = crate)]
    enum Event {
        Opened {
            owner: Uuid,
            nickname: Option<String>,
        },
        Deposited {
            cents: u64,
            #[serde(default)]
            note: String,
        },
        Closed,
    }
    let desk = Desk::locking::<first::Event>();
    desk.is_added(
        SchemaLock::event::<Event>,
        expect![[r#"

            the shapes of what is stored are not those in FILE

            event deposited, version 1: another shape than the locked one, of which payloads can still be read (- locked, + now)
               {
                 cents: u64
              +  note?: text
               }

            run the test once with CIM_SCHEMAS=update, and commit the file
        "#]],
        expect![[r#"
            written: FILE
              + event deposited, version 1, one more shape
        "#]],
    );
    expect![[r#"
        event deposited
          version 1
            {
              cents: u64
            }
            also {
              cents: u64
              note?: text
            }
    "#]]
    .assert_eq(&desk.entry("event deposited"));
    // What was locked before is still read; nothing has to be taken back.
    desk.is_fine(SchemaLock::event::<first::Event>);
}

#[test]
fn a_field_that_is_not_read_any_more_is_one_more_shape() {
    #[derive(Serialize, Deserialize, DomainEvent)]
    #[event(crate = crate)]
    enum Event {
        Opened { owner: Uuid },
        Deposited { cents: u64 },
        Closed,
    }
    Desk::locking::<first::Event>().is_added(
        SchemaLock::event::<Event>,
        expect![[r#"

            the shapes of what is stored are not those in FILE

            event opened, version 1: another shape than the locked one, of which payloads can still be read (- locked, + now)
               {
              -  nickname?: option text
                 owner: text = "67e55044-10b1-426f-9247-bb680e5fe0c8"
               }

            run the test once with CIM_SCHEMAS=update, and commit the file
        "#]],
        expect![[r#"
            written: FILE
              + event opened, version 1, one more shape
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
fn a_type_that_was_renamed_split_or_retired_stays_in_the_file() {
    fn two(old: PastEvent) -> Result<Vec<PastEvent>, UpcastError> {
        let half = old.payload["cents"].as_u64().unwrap_or_default() / 2;
        let half = || PastEvent::new("received", 1, json!({ "cents": half }));
        Ok(vec![half(), half()])
    }
    #[derive(Serialize, Deserialize, DomainEvent)]
    #[event(crate = crate, retired("closed"))]
    #[event(split(name = "deposited", into("received"), by = two))]
    enum Event {
        #[event(alias = "opened")]
        AccountOpened {
            owner: Uuid,
            nickname: Option<String>,
        },
        Received {
            cents: u64,
        },
    }
    let desk = Desk::locking::<first::Event>();
    let before = desk.text();
    expect![[r#"
        written: FILE
          + event account_opened, version 1
          + event received, version 1
    "#]]
    .assert_eq(&desk.written(SchemaLock::event::<Event>, Mode::Update));
    desk.is_fine(SchemaLock::event::<Event>);
    for entry in before.split("\n\n").skip(1) {
        assert!(desk.text().contains(entry.trim_end()), "{entry}");
    }
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

#[derive(Default, Serialize, Deserialize)]
struct Account {
    balance: u64,
}

#[derive(Default, Serialize, Deserialize)]
struct Changed {
    balance: u64,
    #[serde(default)]
    deposits: u32,
}

#[derive(Default, Serialize, Deserialize)]
struct Raised {
    balance: u64,
    #[serde(default)]
    deposits: u32,
}

macro_rules! aggregates {
    ($($state:ident is $type:literal at $version:literal of $event:path,)*) => {
        $(impl Aggregate for $state {
            const CONTEXT: &'static str = "bank";
            const TYPE: &'static str = $type;
            const SNAPSHOT_VERSION: u32 = $version;
            type Id = String;
            type Event = $event;
            type Command = ();
            type Error = std::convert::Infallible;
            fn apply(&mut self, _: &$event) {}
            fn handle(&self, (): ()) -> Result<Vec<$event>, Self::Error> {
                Ok(vec![])
            }
        })*
    };
}

#[derive(Default, Serialize, Deserialize)]
struct Card;

#[derive(Serialize, Deserialize, DomainEvent)]
#[event(crate = crate)]
enum CardEvent {
    Opened { number: String },
}

aggregates! {
    Account is "account" at 1 of first::Event,
    Changed is "account" at 1 of first::Event,
    Raised is "account" at 2 of first::Event,
    Card is "card" at 1 of CardEvent,
}

#[test]
fn a_state_in_snapshots_needs_a_version_for_every_change_and_no_upcast() {
    let desk = Desk::new();
    desk.written(SchemaLock::snapshot::<Account>, Mode::Compare);
    desk.refused(
        SchemaLock::snapshot::<Changed>,
        expect![[r#"

        the shapes of what is stored are not those in FILE

        snapshot bank.account, version 1: the shape of the state changed
          (- locked, + now)
           {
             balance: u64
          +  deposits?: u32
           }
          what to do:
            raise the version, so that old snapshots are made anew from the events:
              const SNAPSHOT_VERSION: u32 = 2;
    "#]],
    );
    desk.is_added(
        SchemaLock::snapshot::<Raised>,
        expect![[r#"

            the shapes of what is stored are not those in FILE

            snapshot bank.account, version 2: a new version, not locked yet
              {
                balance: u64
                deposits?: u32
              }

            run the test once with CIM_SCHEMAS=update, and commit the file
        "#]],
        expect![[r#"
            written: FILE
              + snapshot bank.account, version 2
        "#]],
    );
    desk.refused(
        SchemaLock::snapshot::<Account>,
        expect![[r#"

        the shapes of what is stored are not those in FILE

        snapshot bank.account, version 2: the code is at version 1, which is older
          what to do:
            give it version 2 or the next one: what was stored can't be read as an older one
            or, if version 2 was never released: remove it from the file by hand
    "#]],
    );
}

#[test]
fn two_aggregates_may_have_events_of_one_name() {
    let both = |lock: SchemaLock| lock.aggregate::<Account>().aggregate::<Card>();
    let desk = Desk::new();
    expect![[r#"
        written: FILE
          + event opened of bank.account, version 1
          + event deposited of bank.account, version 1
          + event closed of bank.account, version 1
          + event opened of bank.card, version 1
    "#]]
    .assert_eq(&desk.written(both, Mode::Compare));
    desk.is_fine(both);
    desk.refused(SchemaLock::aggregate::<Account>, expect![[r#"

        the shapes of what is stored are not those in FILE

        event opened of bank.card: the test does not name whose event it is
          what to do:
            add `.aggregate::<…>()` for bank.card to the test
            or, if there is no such aggregate any more: keep its event type, name it with `.event::<…>()`, and move the entry in the file by hand
    "#]]);

    let neither = |lock: SchemaLock| lock.event::<first::Event>().event::<CardEvent>();
    let report = Desk::new().run(neither, Mode::Compare).unwrap_err();
    expect![[r#"

        the shapes of what is stored are not those in FILE

        event opened, version 1: two types have this name and different shapes
          what to do:
            say whose they are: `.aggregate::<A>()` in place of `.event::<E>()`, for each of them

        event opened, version 1: not locked yet
          {
            nickname?: option text
            owner: text = "67e55044-10b1-426f-9247-bb680e5fe0c8"
          }

        event deposited, version 1: not locked yet
          {
            cents: u64
          }

        event closed, version 1: not locked yet
          {}

        after that, run the test once with CIM_SCHEMAS=update, and commit the file
    "#]]
    .assert_eq(&report);
}

#[derive(Serialize, Deserialize, DomainEvent)]
#[event(crate = crate)]
enum Shown {
    Noted { text: Text },
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Text {
    Plain(String),
    Bytes { base64: String },
}

#[test]
fn what_can_not_be_made_up_asks_for_samples() {
    let desk = Desk::new();
    let report = desk.run(SchemaLock::event::<Shown>, Mode::Compare);
    expect![[r#"

        the shapes of what is stored are not those in FILE

        event noted: its shape can't be found out
          serde hides how `text` is read (by `untagged`, `tag` or `flatten`, or code of its own)
          what to do:
            show it: a sample of every form that this can have, .sample(…)
            or, where only a text is wanted that nobody would make up: .text("…")
    "#]]
    .assert_eq(&report.unwrap_err());
    let noted = |text| Shown::Noted { text };
    let with_samples = |lock: SchemaLock| {
        lock.sample(noted(Text::Plain("a".to_owned())))
            .sample(noted(Text::Bytes {
                base64: String::new(),
            }))
            .event::<Shown>()
    };
    desk.written(with_samples, Mode::Compare);
    desk.is_fine(with_samples);
    expect![[r#"
        event noted
          version 1
            {
              text: sampled either {
                text
                {
                  base64: text
                }
              }
            }
    "#]]
    .assert_eq(&desk.entry("event noted"));
}

#[test]
fn what_is_written_another_way_than_it_is_read_is_locked_as_well() {
    #[derive(Serialize, Deserialize, DomainEvent)]
    #[event(crate = crate)]
    enum Event {
        Measured {
            #[serde(skip_deserializing)]
            only_written: u8,
            #[serde(skip_serializing_if = "Option::is_none")]
            maybe: Option<bool>,
        },
    }
    let desk = Desk::locking::<Event>();
    expect![[r#"
        event measured
          version 1
            {
              maybe?: option bool
              only_written?: integer
            }
    "#]]
    .assert_eq(&desk.entry("event measured"));
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

#[test]
fn a_file_that_is_none_is_named_with_the_line() {
    let desk = Desk::new();
    std::fs::write(
        desk.path(),
        "cim-schemas 1\n\nevent a\n  version 1\n    {\n",
    )
    .unwrap();
    let report = desk.run(SchemaLock::event::<first::Event>, Mode::Update);
    expect!["FILE can't be understood: line 6: the file ends where a name is expected"]
        .assert_eq(&report.unwrap_err());
    std::fs::write(desk.path(), "cim-schemas 2\n").unwrap();
    let report = desk.run(SchemaLock::event::<first::Event>, Mode::Update);
    expect!["FILE can't be understood: line 1: version 2 of the format is not known here; a newer cim wrote it"].assert_eq(&report.unwrap_err());
}

#[test]
fn an_entry_that_was_never_released_can_be_removed_by_hand() {
    #[derive(Serialize, Deserialize, DomainEvent)]
    #[event(crate = crate)]
    enum Event {
        Opened {
            owner: Uuid,
            nickname: Option<String>,
        },
        Deposited {
            euros: u64,
        },
        Closed,
    }
    let desk = Desk::locking::<first::Event>();
    let text = desk.text();
    let kept: Vec<&str> = text
        .split("\n\n")
        .filter(|entry| !entry.starts_with("event deposited"))
        .collect();
    std::fs::write(desk.path(), kept.join("\n\n")).unwrap();
    expect![[r#"
        written: FILE
          + event deposited, version 1
    "#]]
    .assert_eq(&desk.written(SchemaLock::event::<Event>, Mode::Update));
}
