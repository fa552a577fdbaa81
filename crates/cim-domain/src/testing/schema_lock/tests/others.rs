//! Snapshots, aggregates, samples, and files that are none.

use super::*;

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
