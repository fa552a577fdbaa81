//! Events that were stored with older schema versions.

use std::error::Error as _;

use cim_domain::store::{EventLogExt, ExpectedVersion, NewEvent, StreamRange};
use cim_domain::{Aggregate, DecodeError, DomainEvent, Repository, UpcastError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::account::{ctx, empty_log};
use crate::stored::read;

#[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
enum PriceEvent {
    /// Version 1: whole euros, `{"euros":7}`. Version 2: `{"cents":700}`. Since 3 with currency.
    #[event(version = 3, upcast = lift_price)]
    Set { cents: u64, currency: String },
    #[event(version = 2)]
    Dropped,
}

fn lift_price(from: u32, mut payload: Value) -> Result<Value, UpcastError> {
    if from < 2 {
        let euros: u64 = serde_json::from_value(payload["euros"].take())?;
        let cents = euros
            .checked_mul(100)
            .ok_or_else(|| UpcastError::new("so many euros are no price"))?;
        payload = json!({ "cents": cents });
    }
    if from < 3 && payload["cents"] != 0 {
        payload["currency"] = "EUR".into();
    }
    Ok(payload)
}

fn seven_euros() -> PriceEvent {
    PriceEvent::Set {
        cents: 700,
        currency: "EUR".into(),
    }
}

#[test]
fn every_older_version_is_lifted_to_the_one_of_today() {
    for (version, payload) in [
        (1, r#"{"euros":7}"#),
        (2, r#"{"cents":700}"#),
        (3, r#"{"cents":700,"currency":"EUR"}"#),
    ] {
        let event = read::<PriceEvent>("set", version, payload.as_bytes()).unwrap();
        assert_eq!(event, seven_euros(), "version {version}");
    }
}

#[test]
fn an_older_version_without_an_upcast_is_refused() {
    assert!(matches!(
        read::<PriceEvent>("dropped", 1, b"{}").unwrap_err(),
        DecodeError::NoUpcaster {
            event_type: "dropped",
            from: 1,
            to: 2
        }
    ));
}

#[test]
fn what_the_upcast_says_is_the_source_of_the_error() {
    let too_many = format!(r#"{{"euros":{}}}"#, u64::MAX);
    let error = read::<PriceEvent>("set", 1, too_many.as_bytes()).unwrap_err();
    assert!(matches!(error, DecodeError::Upcast { from: 1, to: 3, .. }));
    assert_eq!(
        error.source().unwrap().to_string(),
        "so many euros are no price"
    );

    let error = read::<PriceEvent>("set", 1, br#"{"dollars":1}"#).unwrap_err();
    assert!(matches!(error, DecodeError::Upcast { .. }));
    assert!(error.source().unwrap().source().is_some(), "{error:?}");
}

#[test]
fn an_upcast_that_returns_another_shape_is_named() {
    let error = read::<PriceEvent>("set", 2, br#"{"cents":0}"#).unwrap_err();
    assert_eq!(
        error.source().unwrap().to_string(),
        "what came of it has another shape than the event"
    );
}

#[test]
fn a_payload_that_is_no_json_is_malformed_before_it_is_lifted() {
    assert!(matches!(
        read::<PriceEvent>("set", 1, b"{").unwrap_err(),
        DecodeError::Malformed {
            schema_version: 1,
            ..
        }
    ));
}

#[derive(Debug, Default, PartialEq)]
struct Price {
    cents: u64,
}

impl Aggregate for Price {
    const CONTEXT: &'static str = "sales";
    const TYPE: &'static str = "price";
    type Id = String;
    type Event = PriceEvent;
    type Command = u64;
    type Error = std::convert::Infallible;

    fn apply(&mut self, event: &PriceEvent) {
        match event {
            PriceEvent::Set { cents, .. } => self.cents = *cents,
            PriceEvent::Dropped => self.cents = 0,
        }
    }

    fn handle(&self, cents: u64) -> Result<Vec<PriceEvent>, Self::Error> {
        Ok(vec![PriceEvent::Set {
            cents,
            currency: "EUR".into(),
        }])
    }
}

#[tokio::test]
async fn a_stream_of_old_and_new_versions_is_one_history_and_keeps_its_bytes() {
    let log = empty_log().await;
    let id = "tea".to_owned();
    let old = NewEvent::json("set", &json!({ "euros": 7 })).unwrap();
    let stream = Price::stream(&id).unwrap();
    log.append_to(&ctx(), &stream, ExpectedVersion::NEW, vec![old])
        .await
        .unwrap();

    let prices = Repository::<Price>::new(log);
    assert_eq!(prices.load(&ctx(), &id).await.unwrap().state.cents, 700);
    prices.execute(&ctx(), &id, 800).await.unwrap();

    let history = prices
        .history(&ctx(), &id, StreamRange::all())
        .await
        .unwrap();
    let history = history.all().await.unwrap();
    let versions: Vec<u32> = history
        .iter()
        .map(|entry| entry.recorded.schema_version.get())
        .collect();
    assert_eq!(versions, [1, 3]);
    assert_eq!(history[0].event, seven_euros());
    assert_eq!(&history[0].recorded.payload[..], br#"{"euros":7}"#);
}
