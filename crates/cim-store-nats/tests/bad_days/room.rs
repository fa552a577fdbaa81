//! Messages that are too large, and storage that is full.

use std::time::Duration;

use cim_conformance::nats_server::ServerSettings;
use cim_store::{
    Context, EventLogExt, ExpectedVersion, Fault, LimitName, Metadata, NewEvent, Severity, Store,
};
use cim_store_nats::{NatsSettings, NatsStore};
use serde_json::json;

use crate::place::{LOG, Watch, api, client, open, start, stream, told};

fn payload(bytes: usize) -> Vec<NewEvent> {
    payloads(bytes, 1)
}

fn payloads(bytes: usize, count: usize) -> Vec<NewEvent> {
    vec![NewEvent::json("placed", &"x".repeat(bytes - 2)).unwrap(); count]
}

#[tokio::test]
async fn a_payload_above_what_the_server_takes_is_refused_before_it_is_sent() {
    let server = start(ServerSettings::new().max_payload(None));
    let store = open(&server.url()).await;
    let log = store.log();
    let limit = log.capabilities().limits.payload_bytes;
    assert!(limit < 1 << 20);

    let (ctx, new) = (Context::new(), ExpectedVersion::NEW);
    log.append_to(&ctx, &stream("fits"), new, payload(limit))
        .await
        .unwrap();
    let sent = store.requests_sent();
    let error = log
        .append_to(&ctx, &stream("large"), new, payload(limit + 1))
        .await
        .unwrap_err();
    let fault = error.fault();
    assert!(
        matches!(
            fault,
            Some(Fault::TooLarge {
                limit: LimitName::PayloadBytes,
                ..
            })
        ),
        "{}",
        told(&error)
    );
    assert!(error.hint().unwrap().contains("max_payload: 4MB"));
    // No server takes what the contract does not.
    let large = stream("large");
    let beyond = log.append_to(&ctx, &large, new, payload((1 << 20) + 1));
    assert_eq!(beyond.await.unwrap_err().hint(), None);
    assert_eq!(store.requests_sent(), sent);
    let events = log.read_all(&ctx, &stream("fits")).await.unwrap();
    assert_eq!(events[0].payload.len(), limit);

    let health = store.health(&ctx).await.unwrap();
    let small = health
        .findings
        .iter()
        .find(|found| found.what.contains("payloads are limited"));
    assert!(small.unwrap().advice.contains("max_payload: 4MB"));
}

#[tokio::test]
async fn the_largest_payload_is_stored_beside_the_largest_metadata() {
    let server = start(ServerSettings::new().max_payload(None));
    let store = open(&server.url()).await;
    let log = store.log();
    let limits = log.capabilities().limits;
    let ctx = Context::new();
    // Up to some size it goes into headers, where each of these letters takes the most room.
    let sizes = (0..=16).map(|step| step * limits.metadata_bytes / 16);
    for size in sizes {
        let text = "\u{e9}".repeat(size.saturating_sub(64) / 2);
        let metadata = Metadata::from_pairs([("k", text)]).unwrap();
        let mut events = payload(limits.payload_bytes);
        events[0] = events[0].clone().with_metadata(metadata.clone());
        let stream = stream(&format!("of-{size}"));
        log.append_to(&ctx, &stream, ExpectedVersion::NEW, events)
            .await
            .unwrap();
        let read = log.read_all(&ctx, &stream).await.unwrap();
        assert_eq!(read[0].payload.len(), limits.payload_bytes);
        assert!(read[0].metadata == metadata, "metadata of {size} bytes");
    }
}

#[tokio::test]
async fn a_full_server_stores_nothing_by_half_and_goes_on_once_there_is_room() {
    let server = start(ServerSettings::new().max_file_store(4 << 20));
    let url = server.url();
    // Something else takes the most of the room.
    let other = client(&url).await;
    api(
        &other,
        "STREAM.CREATE.BALLAST",
        &json!({ "name": "BALLAST", "subjects": ["ballast"] }),
    )
    .await;
    for _ in 0..24 {
        let stored = other
            .request("ballast", vec![0; 100_000].into())
            .await
            .unwrap();
        let text = String::from_utf8_lossy(&stored.payload).into_owned();
        assert!(text.contains("\"seq\""), "{text}");
    }
    let settings = NatsSettings::default().with_operation_timeout(Duration::from_secs(6));
    let store = NatsStore::open(&url, settings).await.unwrap();
    let (log, ctx, any) = (store.log(), Context::new(), ExpectedVersion::Any);
    let mut stored = 0;
    // Commits of one event and of several in turn.
    let error = loop {
        let events = payloads(60_000, 1 + stored % 3);
        let count = events.len();
        let watch = Watch::start();
        match log.append_to(&ctx, &stream("1"), any, events).await {
            Ok(_) => stored += count,
            Err(error) => {
                assert!(watch.elapsed() < Duration::from_secs(10));
                break error;
            }
        }
        assert!(stored < 100, "the server never was full");
    };
    assert_eq!(error.fault(), Some(Fault::Unavailable), "{}", told(&error));
    assert!(error.hint().is_some(), "{}", told(&error));
    assert_eq!(
        log.read_all(&ctx, &stream("1")).await.unwrap().len(),
        stored
    );

    api(&other, "STREAM.DELETE.BALLAST", &json!({})).await;
    for _ in 0..3 {
        log.append_to(&ctx, &stream("1"), any, payloads(60_000, 2))
            .await
            .unwrap();
    }
    let events = log.read_all(&ctx, &stream("1")).await.unwrap();
    assert_eq!(events.len(), stored + 6);
}

#[tokio::test]
async fn a_log_that_reached_its_own_limit_refuses_appends_and_gives_nothing_up() {
    let url = crate::place::fresh();
    let settings = NatsSettings::default().with_max_bytes(200_000);
    let store = NatsStore::open(&url, settings).await.unwrap();
    let (log, ctx, any) = (store.log(), Context::new(), ExpectedVersion::Any);
    let mut stored = 0;
    let watch = Watch::start();
    let error = loop {
        match log
            .append_to(&ctx, &stream("1"), any, payload(30_000))
            .await
        {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    watch.was_quick();
    assert_eq!(error.fault(), Some(Fault::Unavailable), "{}", told(&error));
    assert!(told(&error).contains("no room"), "{}", told(&error));
    assert_eq!(
        log.read_all(&ctx, &stream("1")).await.unwrap().len(),
        stored
    );

    let health = store.health(&ctx).await.unwrap();
    assert_eq!(health.worst(), Some(Severity::Warning));
    assert!(
        health
            .findings
            .iter()
            .any(|found| found.what.contains("of the 200000 bytes"))
    );

    let mut config = api(
        &client(&url).await,
        &format!("STREAM.INFO.{LOG}"),
        &json!({}),
    )
    .await["config"]
        .clone();
    config["max_bytes"] = json!(400_000);
    api(
        &client(&url).await,
        &format!("STREAM.UPDATE.{LOG}"),
        &config,
    )
    .await;
    log.append_to(&ctx, &stream("1"), any, payload(30_000))
        .await
        .unwrap();
}
