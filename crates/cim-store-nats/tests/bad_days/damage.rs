//! What somebody did to the log behind the store's back is an error that names the place, never a
//! shorter answer.

use cim_store::{Context, EventLogError, LogQuery, Position, RecordedEvent, Severity, Store};
use cim_store_nats::NatsSettings;
use futures_util::TryStreamExt;
use serde_json::json;

use crate::place::{LOG, api, append, client, fresh, open, read, refused, told};

/// Reads the whole log.
async fn read_log(store: &cim_store_nats::NatsStore) -> Result<usize, EventLogError> {
    let events = store
        .log()
        .read_log(&Context::new(), LogQuery::default())
        .await?;
    let events: Vec<_> = events.try_collect().await?;
    Ok(events.len())
}

async fn read_at(
    store: &cim_store_nats::NatsStore,
    position: u64,
) -> Result<Vec<RecordedEvent>, EventLogError> {
    let positions = [Position::new(position)];
    store.log().read_at(&Context::new(), &positions).await
}

#[track_caller]
fn is_damage<T: std::fmt::Debug>(answer: Result<T, EventLogError>, place: &str) {
    let error = answer.unwrap_err();
    assert!(error.is_integrity(), "{}", told(&error));
    assert!(told(&error).contains(place), "{}", told(&error));
}

#[tokio::test]
async fn a_foreign_message_in_the_log_is_damage_where_it_stands() {
    let url = fresh();
    let store = open(&url).await;
    append(&store, "1", 2).await.unwrap();
    let subject = "cim.events.sales.order.1.placed.3";
    client(&url)
        .await
        .request(subject, "{}".into())
        .await
        .unwrap();
    is_damage(read(&store, "1").await, "cim.events.sales.order.1");
    is_damage(read_log(&store).await, "3");
    is_damage(read_at(&store, 3).await, "3");
    assert_eq!(read_at(&store, 2).await.unwrap().len(), 1);
    // What it does not touch can still be read and written.
    append(&store, "2", 1).await.unwrap();
    assert_eq!(read(&store, "2").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_message_that_does_not_follow_the_one_before_it_is_damage() {
    let url = fresh();
    let store = open(&url).await;
    append(&store, "1", 1).await.unwrap();
    append(&store, "1", 1).await.unwrap();
    let other = client(&url).await;
    // The second event once more, as if it were the fourth.
    let headers = headers_of(&other, 2).await;
    let subject = "cim.events.sales.order.1.placed.4";
    let body = r#"{"number":0}"#;
    other
        .request_with_headers(subject, headers, body.into())
        .await
        .unwrap();
    is_damage(read(&open(&url).await, "1").await, "sales.order.1");
}

#[tokio::test]
async fn a_commit_of_which_a_part_is_missing_is_damage() {
    let (whole, half) = (fresh(), fresh());
    append(&open(&whole).await, "1", 2).await.unwrap();
    open(&half).await;
    let headers = headers_of(&client(&whole).await, 1).await;
    assert_eq!(headers.get("ce-commitcount").unwrap().as_str(), "2");
    // The first event of the two, in a log where the second one never was.
    let subject = "cim.events.sales.order.1.placed.1";
    let other = client(&half).await;
    let body = r#"{"number":0}"#;
    other
        .request_with_headers(subject, headers, body.into())
        .await
        .unwrap();
    let store = open(&half).await;
    is_damage(read(&store, "1").await, "sales.order.1");
    is_damage(read_log(&store).await, "1");
    is_damage(read_at(&store, 1).await, "position: 1");
}

#[tokio::test]
async fn a_log_with_a_hole_is_not_opened_and_not_read_over() {
    let url = fresh();
    let store = open(&url).await;
    for _ in 0..3 {
        append(&store, "1", 1).await.unwrap();
    }
    append(&store, "2", 1).await.unwrap();
    let other = client(&url).await;
    let purge = json!({ "filter": "cim.events.sales.order.1.placed.2" });
    api(&other, &format!("STREAM.PURGE.{LOG}"), &purge).await;

    let error = refused(&url, NatsSettings::default()).await;
    assert!(error.is_integrity(), "{}", told(&error));
    assert!(told(&error).contains("messages: 3"), "{}", told(&error));
    is_damage(read(&store, "1").await, "sales.order.1");
    is_damage(read_log(&store).await, "messages: 3");
    is_damage(read_at(&store, 2).await, "messages: 3");
    assert_eq!(read_at(&store, 3).await.unwrap().len(), 1);
    let health = store.health(&Context::new()).await.unwrap();
    assert_eq!(health.findings[0].severity, Severity::Problem);
    assert!(
        health.findings[0]
            .what
            .contains("messages of the log are missing")
    );
}

#[tokio::test]
async fn a_log_that_was_deleted_is_damage_and_not_an_empty_log() {
    let url = fresh();
    let store = open(&url).await;
    append(&store, "1", 1).await.unwrap();
    api(
        &client(&url).await,
        &format!("STREAM.DELETE.{LOG}"),
        &json!({}),
    )
    .await;
    let ctx = Context::new().with_timeout(&cim_store::SystemClock, crate::place::QUICK);
    let head = store.log().head(&ctx, &crate::place::stream("2")).await;
    assert!(head.is_err(), "{head:?}");
    let health = store.health(&Context::new()).await.unwrap();
    assert!(!health.is_healthy());
    assert!(
        health.findings[0].what.contains("is gone"),
        "{:?}",
        health.findings
    );
}

/// The headers of a message, without those that only the server reads.
async fn headers_of(client: &async_nats::Client, sequence: u64) -> async_nats::HeaderMap {
    let call = format!("STREAM.MSG.GET.{LOG}");
    let answer = api(client, &call, &json!({ "seq": sequence })).await;
    let text = answer["message"]["hdrs"].as_str().unwrap();
    let text = data_encoding::BASE64.decode(text.as_bytes()).unwrap();
    let mut headers = async_nats::HeaderMap::new();
    for line in String::from_utf8(text).unwrap().lines().skip(1) {
        if let Some((name, value)) = line
            .split_once(':')
            .filter(|(name, _)| !name.starts_with("Nats-"))
        {
            headers.insert(name, value.trim());
        }
    }
    headers
}
