//! What a lock file takes in.

use super::*;

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
