//! Histories that several programs wrote, one after another: every shape and name that events had.

use cim_domain::event::{Cbor, Codec, Decoded, Encoded, PastEvent, SplitType};
use cim_domain::persistence::{TypedEventStore, UnknownEvents};
use cim_domain::store::{
    ContentType, EventLog, EventLogExt, EventType, ExpectedVersion, NewEvent, SchemaVersion,
    StreamRange, Version,
};
use cim_domain::{
    Aggregate, DecodeError, DomainEvent, EventVersion, Repository, RepositoryError, UpcastError,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::error::Error as _;
use uuid::Uuid;

use crate::account::ctx;
use crate::stored::read;
use crate::stores::on_every_store;

/// The orders of a shop in its fifth year.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
#[event(prefix = "order_")]
#[event(retired("order_viewed", "order_clicked"))]
#[event(split(
    name = "order_placed_and_paid",
    into("order_placed", "order_paid"),
    by = placed_and_paid
))]
#[event(split(name = "order_bought", until = 2, into("order_placed_and_paid"), by = bought))]
#[event(split(name = "order_paid", until = 1, into("order_paid"), by = paid_by_card))]
enum OrderEvent {
    /// Until its third version it was stored as `order_created`, once also as `order_made`.
    #[event(version = 4, upcast(1 = in_cents, 2 = with_currency, 3 = unless_a_test))]
    #[event(alias = "order_created", alias = "order_made")]
    Placed {
        cents: u64,
        currency: String,
    },
    /// One payment of version 1 was several at once.
    #[event(version = 3, upcast(2 = with_method))]
    Paid {
        cents: u64,
        method: String,
    },
    Cancelled,
}
use OrderEvent::{Cancelled, Paid, Placed};

fn in_cents(payload: Value) -> Result<Value, UpcastError> {
    let euros: u64 = serde_json::from_value(payload["euros"].clone())?;
    Ok(json!({ "cents": euros * 100 }))
}

fn with_currency(mut payload: Value) -> Result<Value, UpcastError> {
    payload["currency"] = "EUR".into();
    Ok(payload)
}

/// Orders over nothing were placed by a test once.
fn unless_a_test(payload: Value) -> Result<Option<Value>, UpcastError> {
    Ok((payload["cents"] != 0).then_some(payload))
}

fn with_method(mut payload: Value) -> Result<Value, UpcastError> {
    payload["method"] = "invoice".into();
    Ok(payload)
}

fn placed_and_paid(old: PastEvent) -> Result<Vec<PastEvent>, UpcastError> {
    let cents = &old.payload["cents"];
    Ok(vec![
        PastEvent::new("order_placed", 2, json!({ "cents": cents })),
        PastEvent::new("order_paid", 2, json!({ "cents": cents })),
    ])
}

fn bought(old: PastEvent) -> Result<Vec<PastEvent>, UpcastError> {
    Ok(vec![PastEvent::new(
        "order_placed_and_paid",
        1,
        old.payload,
    )])
}

fn paid_by_card(old: PastEvent) -> Result<Vec<PastEvent>, UpcastError> {
    let parts = old.payload["parts"].as_array();
    let parts = parts.ok_or_else(|| UpcastError::new("`parts` is no list"))?;
    let part = |cents| PastEvent::new("order_paid", 3, json!({ "cents": cents, "method": "card" }));
    Ok(parts.iter().map(part).collect())
}

fn placed(cents: u64) -> OrderEvent {
    let currency = "EUR".to_owned();
    Placed { cents, currency }
}

fn paid(cents: u64, method: &str) -> OrderEvent {
    let method = method.to_owned();
    Paid { cents, method }
}

fn decoded(event_type: &str, version: u32, payload: Value) -> Result<Vec<OrderEvent>, DecodeError> {
    let payload = payload.to_string();
    let stored = Encoded::json(event_type, version, payload.as_bytes());
    OrderEvent::decode(stored).map(|events| events.into_iter().collect())
}

#[test]
fn each_step_of_a_chain_lifts_by_one_version() {
    for (version, payload) in [
        (1, json!({ "euros": 7 })),
        (2, json!({ "cents": 700 })),
        (3, json!({ "cents": 700, "currency": "EUR" })),
        (4, json!({ "cents": 700, "currency": "EUR" })),
    ] {
        let events = decoded("order_placed", version, payload).unwrap();
        assert_eq!(events, [placed(700)], "version {version}");
    }
}

#[test]
fn a_chain_goes_on_across_a_rename() {
    for name in ["order_placed", "order_created", "order_made"] {
        let events = decoded(name, 1, json!({ "euros": 7 })).unwrap();
        assert_eq!(events, [placed(700)]);
        let newer = decoded(name, 5, json!({})).unwrap_err();
        assert!(matches!(
            newer,
            DecodeError::NewerSchema {
                event_type: "order_placed",
                found: 5,
                known: 4
            }
        ));
    }
    assert_eq!(
        placed(1).event_type(),
        "order_placed",
        "what is written has today's name"
    );
}

#[test]
fn a_step_can_give_an_event_up() {
    assert_eq!(
        decoded("order_placed", 2, json!({ "cents": 0 })).unwrap(),
        []
    );
    let today = json!({ "cents": 0, "currency": "EUR" });
    assert_eq!(decoded("order_placed", 4, today).unwrap(), [placed(0)]);
}

#[test]
fn an_event_of_a_split_type_becomes_events_that_go_on_in_their_own_chains() {
    let events = decoded("order_placed_and_paid", 1, json!({ "cents": 700 })).unwrap();
    assert_eq!(events, [placed(700), paid(700, "invoice")]);
    let events = decoded("order_bought", 2, json!({ "cents": 0 })).unwrap();
    assert_eq!(
        events,
        [paid(0, "invoice")],
        "split twice, and half of it given up"
    );
}

#[test]
fn the_first_versions_of_a_type_of_today_can_be_several_events() {
    let split = |parts: Value| decoded("order_paid", 1, json!({ "parts": parts })).unwrap();
    assert_eq!(
        split(json!([1, 2, 3])),
        [paid(1, "card"), paid(2, "card"), paid(3, "card")]
    );
    assert_eq!(split(json!([1])), [paid(1, "card")]);
    assert_eq!(split(json!([])), []);
    assert_eq!(
        decoded("order_paid", 2, json!({ "cents": 5 })).unwrap(),
        [paid(5, "invoice")]
    );
}

#[test]
fn a_newer_version_of_what_was_split_is_refused() {
    let error = decoded("order_bought", 3, json!({ "cents": 1 })).unwrap_err();
    assert!(matches!(
        error,
        DecodeError::NewerSchema {
            event_type: "order_bought",
            found: 3,
            known: 2
        }
    ));
}

#[test]
fn retired_events_are_none_whatever_they_hold() {
    for (name, version, payload) in [
        ("order_viewed", 1, &b"{}"[..]),
        ("order_clicked", 9, b"\xff"),
    ] {
        let stored = Encoded {
            content_type: "x/y",
            ..Encoded::json(name, version, payload)
        };
        assert_eq!(OrderEvent::decode(stored).unwrap(), Decoded::Nothing);
    }
}

#[test]
fn a_tombstone_is_no_event_of_an_application() {
    assert_eq!(
        decoded(cim_domain::persistence::TOMBSTONE, 1, json!({})).unwrap(),
        []
    );
}

#[test]
fn what_a_type_says_of_its_past_is_data() {
    assert_eq!(
        OrderEvent::EVENT_TYPES,
        [
            EventVersion::new("order_placed", 4)
                .with_upcast_from(1)
                .with_aliases(&["order_created", "order_made"]),
            EventVersion::new("order_paid", 3).with_upcast_from(2),
            EventVersion::new("order_cancelled", 1),
        ]
    );
    assert_eq!(
        OrderEvent::SPLIT_TYPES,
        [
            SplitType::new(
                "order_placed_and_paid",
                None,
                &["order_placed", "order_paid"]
            ),
            SplitType::new("order_bought", Some(2), &["order_placed_and_paid"]),
            SplitType::new("order_paid", Some(1), &["order_paid"]),
        ]
    );
    assert_eq!(OrderEvent::RETIRED_TYPES, ["order_viewed", "order_clicked"]);
    assert!(OrderEvent::EVENT_TYPES[0].is_named("order_made"));
    assert!(!OrderEvent::EVENT_TYPES[0].is_named("order_paid"));
}

#[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
#[event(split(name = "astray", into("a"), by = astray))]
enum Astray {
    #[event(version = 2)]
    A,
    B,
}

fn astray(old: PastEvent) -> Result<Vec<PastEvent>, UpcastError> {
    let name = match old.payload["name"].as_str() {
        Some("a") => "a",
        Some("b") => "b",
        Some("alias") => "alias",
        _ => return Err(UpcastError::new("`name` is no name")),
    };
    let version = old.payload["version"]
        .as_u64()
        .and_then(|v| u32::try_from(v).ok());
    Ok(vec![PastEvent::new(name, version.unwrap_or(0), json!({}))])
}

#[test]
fn a_split_gives_what_it_is_said_to_give_in_versions_that_can_be_read() {
    for (name, version, said) in [
        ("x", 1, "`name` is no name"),
        (
            "b",
            1,
            "it gave an event `b` of schema version 1, and is said to give `a`",
        ),
        (
            "alias",
            1,
            "it gave an event `alias` of schema version 1, and is said to give `a`",
        ),
        (
            "a",
            1,
            "it gave an event `a` of schema version 1, which can't be read: `a` has no upcast \
             from schema version 1 to 2",
        ),
        (
            "a",
            3,
            "it gave an event `a` of schema version 3, which can't be read: `a` was stored with \
             schema version 3, this program knows versions up to 2",
        ),
    ] {
        let payload = json!({ "name": name, "version": version }).to_string();
        let error = read::<Astray>("astray", 7, payload.as_bytes()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the split of `astray`, schema version 7, failed"
        );
        assert_eq!(error.source().unwrap().to_string(), said);
    }
    let sound = json!({ "name": "a", "version": 2 }).to_string();
    assert_eq!(
        read::<Astray>("astray", 7, sound.as_bytes()).unwrap(),
        Astray::A
    );
}

#[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
#[event(split(name = "again", until = 2, into("again"), by = again))]
#[event(version = 3)]
struct Again;

fn again(old: PastEvent) -> Result<Vec<PastEvent>, UpcastError> {
    Ok(vec![old])
}

#[test]
fn a_split_that_gives_what_it_was_given_ends_with_an_error() {
    let error = read::<Again>("again", 2, b"{}").unwrap_err();
    assert_eq!(
        error.source().unwrap().to_string(),
        "it gave an event `again` of schema version 2, which is to be split again"
    );
}

#[test]
fn what_a_step_says_names_the_step() {
    let error = decoded("order_created", 1, json!({ "dollars": 7 })).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the upcast of `order_placed` from schema version 1 to 2 failed"
    );
    let error = decoded("order_created", 2, json!({ "dollars": 7 })).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the upcast of `order_placed` from schema version 2 to 4 failed",
        "what came of all steps is no event"
    );
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Order {
    events: Vec<OrderEvent>,
}

impl Aggregate for Order {
    const CONTEXT: &'static str = "sales";
    const TYPE: &'static str = "order";
    type Id = Uuid;
    type Event = OrderEvent;
    type Command = OrderEvent;
    type Error = std::convert::Infallible;

    fn apply(&mut self, event: &OrderEvent) {
        self.events.push(event.clone());
    }

    fn handle(&self, event: OrderEvent) -> Result<Vec<OrderEvent>, Self::Error> {
        Ok(vec![event])
    }
}

const ID: Uuid = Uuid::from_u128(7);

fn stored(event_type: &'static str, version: u32, payload: Value) -> NewEvent {
    NewEvent::json(event_type, &payload)
        .unwrap()
        .with_schema_version(SchemaVersion::new(version).unwrap())
}

/// An order that six programs have written to, and what it is today.
async fn write_all_eras(log: &dyn EventLog) -> Vec<OrderEvent> {
    let in_cbor = Cbor::encode(&json!({ "cents": 3 })).unwrap();
    let event_type = EventType::new("order_made").unwrap();
    let in_cbor = NewEvent::new(event_type, ContentType::CBOR, in_cbor)
        .with_schema_version(SchemaVersion::new(2).unwrap());
    let eras = vec![
        stored("order_created", 1, json!({ "euros": 1 })),
        stored("order_viewed", 1, json!({ "by": "anna" })),
        stored("order_created", 2, json!({ "cents": 0 })),
        in_cbor,
        stored("order_placed_and_paid", 1, json!({ "cents": 400 })),
        stored("order_paid", 1, json!({ "parts": [5, 6] })),
        stored("order_paid", 2, json!({ "cents": 7 })),
        stored("order_placed", 4, json!({ "cents": 8, "currency": "EUR" })),
    ];
    let stream = Order::stream(&ID).unwrap();
    log.append_to(&ctx(), &stream, ExpectedVersion::NEW, eras)
        .await
        .unwrap();
    vec![
        placed(100),
        placed(3),
        placed(400),
        paid(400, "invoice"),
        paid(5, "card"),
        paid(6, "card"),
        paid(7, "invoice"),
        placed(8),
    ]
}

on_every_store! {
    async fn a_stream_of_all_eras_is_one_history(store, clock) {
        let _ = clock;
        let log = store.log();
        let mut today = write_all_eras(&*log).await;
        let orders = Repository::<Order>::new(log.clone());
        let loaded = orders.load(&ctx(), &ID).await.unwrap();
        assert_eq!(loaded.state.events, today);
        assert_eq!((loaded.version, loaded.skipped), (Version::new(8), 0));

        let done = orders.execute(&ctx(), &ID, Cancelled).await.unwrap();
        assert_eq!(done.version, Version::new(9));
        today.push(Cancelled);
        assert_eq!(done.state.events, today);

        let history = orders.history(&ctx(), &ID, StreamRange::all()).await.unwrap();
        let history = history.all().await.unwrap();
        let events: Vec<_> = history.iter().map(|entry| entry.event.clone()).collect();
        assert_eq!(events, today);
        let versions: Vec<_> = history.iter().map(|entry| entry.recorded.version.get()).collect();
        assert_eq!(versions, [1, 4, 5, 5, 6, 6, 7, 8, 9], "where each of them was stored");

        let backwards = StreamRange::all().backwards();
        let history = orders.history(&ctx(), &ID, backwards).await.unwrap().all().await.unwrap();
        today.reverse();
        let events: Vec<_> = history.into_iter().map(|entry| entry.event).collect();
        assert_eq!(events, today);
    }

    async fn unknown_events_are_passed_over_if_the_repository_is_told_so(store, clock) {
        let _ = clock;
        let log = store.log();
        let mut today = write_all_eras(&*log).await;
        let stream = Order::stream(&ID).unwrap();
        let later = vec![
            stored("order_frozen", 1, json!({ "why": "fraud" })),
            stored("order_cancelled", 1, json!({})),
            stored("order_thawed", 3, json!({})),
        ];
        log.append_to(&ctx(), &stream, Version::new(8).into(), later).await.unwrap();
        today.push(Cancelled);

        let orders = Repository::<Order>::new(log.clone());
        let RepositoryError::Decode { version, source, .. } = orders.load(&ctx(), &ID).await.unwrap_err()
        else {
            panic!("it was loaded");
        };
        assert!(source.is_unknown_type());
        assert_eq!(version, Version::new(9));
        assert!(orders.execute(&ctx(), &ID, Cancelled).await.is_err());

        let skipping = orders.clone().with_unknown_events(UnknownEvents::Skip);
        let loaded = skipping.load(&ctx(), &ID).await.unwrap();
        assert_eq!(loaded.state.events, today);
        assert_eq!((loaded.skipped, loaded.unknown.len()), (2, 0));
        assert_eq!(loaded.version, Version::new(11));

        let keeping = orders.with_unknown_events(UnknownEvents::KeepRaw);
        let loaded = keeping.load(&ctx(), &ID).await.unwrap();
        assert_eq!(loaded.skipped, 2);
        let kept: Vec<_> = loaded.unknown.iter().map(|event| event.event_type.as_str()).collect();
        assert_eq!(kept, ["order_frozen", "order_thawed"]);
        assert_eq!(&loaded.unknown[0].payload[..], br#"{"why":"fraud"}"#);

        let mut history = keeping.history(&ctx(), &ID, StreamRange::all()).await.unwrap();
        let mut events = Vec::new();
        while let Some(entry) = history.next().await {
            events.push(entry.unwrap().event);
        }
        assert_eq!(events, today);
        assert_eq!((history.skipped(), history.unknown().len()), (2, 2));

        let done = skipping.execute(&ctx(), &ID, Cancelled).await.unwrap();
        assert_eq!((done.version, done.skipped), (Version::new(12), 2));

        let typed = TypedEventStore::<OrderEvent>::new(log, "sales", "order").unwrap();
        assert!(typed.read(ID, StreamRange::all()).await.is_err());
        let typed = typed.with_unknown_events(UnknownEvents::KeepRaw);
        let read = typed.read(ID, StreamRange::all()).await.unwrap();
        today.push(Cancelled);
        let events: Vec<_> = read.events.into_iter().map(|stored| stored.event).collect();
        assert_eq!(events, today);
        assert_eq!((read.skipped, read.unknown.len()), (2, 2));
    }
}
