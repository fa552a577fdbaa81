//! What keeps a store from being opened.

use std::net::TcpListener;
use std::time::Duration;

use cim_conformance::nats_server::ServerSettings;
use cim_store::Fault;
use cim_store_nats::{NatsSettings, NatsStore};
use serde_json::json;

use crate::place::{LOG, QUICK, api, client, config_of_log, fresh, open, refused, start, told};

#[tokio::test]
async fn a_server_without_jetstream_is_refused_with_how_to_enable_it() {
    let server = start(ServerSettings::new().jetstream(false));
    let error = refused(&server.url(), NatsSettings::default()).await;
    assert_eq!(error.fault(), Some(Fault::Unsupported), "{}", told(&error));
    assert!(
        told(&error).contains("JetStream is not enabled"),
        "{}",
        told(&error)
    );
    assert!(error.hint().unwrap().contains("-js"), "{}", told(&error));
}

#[tokio::test]
async fn an_account_without_jetstream_is_refused_with_how_to_enable_it() {
    let server = start(ServerSettings::new().server_config(
        "accounts { PLAIN { users: [{ user: plain, password: plain }] }, \
         RICH { jetstream: enabled, users: [{ user: rich, password: rich }] } }",
    ));
    let url = server.url().replace("nats://", "nats://plain:plain@");
    let error = refused(&url, NatsSettings::default()).await;
    assert_eq!(error.fault(), Some(Fault::Unsupported), "{}", told(&error));
    assert!(
        told(&error).contains("JetStream is not enabled"),
        "{}",
        told(&error)
    );
}

#[tokio::test]
async fn nobody_listening_is_unavailable_and_names_the_address() {
    let port = {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    };
    let url = format!("nats://me:secret@127.0.0.1:{port}");
    let error = refused(&url, NatsSettings::default()).await;
    assert_eq!(error.fault(), Some(Fault::Unavailable), "{}", told(&error));
    assert!(
        told(&error).contains(&format!("127.0.0.1:{port}")),
        "{}",
        told(&error)
    );
    assert!(!told(&error).contains("secret"), "{}", told(&error));
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_in_time() {
    // It accepts connections, as a stopped process or another protocol's server does.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", silent.local_addr().unwrap());
    let settings = NatsSettings::default().with_connect_timeout(Duration::from_millis(300));
    let error = refused(&url, settings).await;
    assert_eq!(error.fault(), Some(Fault::Unavailable), "{}", told(&error));
}

#[tokio::test]
async fn a_log_that_must_exist_and_does_not_is_not_found_and_not_made() {
    let url = fresh();
    let error = refused(&url, NatsSettings::default().must_exist()).await;
    assert_eq!(error.fault(), Some(Fault::NotFound), "{}", told(&error));
    let names = api(&client(&url).await, "STREAM.NAMES", &json!({})).await;
    assert_eq!(names["total"], 0);
}

#[tokio::test]
async fn a_log_that_gives_events_up_is_refused_with_what_to_change() {
    for (name, value, change) in [
        ("max_age", json!(3_600_000_000_000_u64), "max_age to 0"),
        (
            "subjects",
            json!(["cim.events.>"]),
            "subjects to cim.checks.*.*,cim.commits.*,cim.events.>",
        ),
        ("deny_delete", json!(false), "deny_delete to true"),
        ("allow_atomic", json!(false), "allow_atomic to true"),
        ("storage", json!("memory"), "storage to file"),
        ("max_msgs_per_subject", json!(1), "max_msgs_per_subject to"),
    ] {
        let mut config = config_of_log().await;
        config[name] = value;
        let url = fresh();
        api(
            &client(&url).await,
            &format!("STREAM.CREATE.{LOG}"),
            &config,
        )
        .await;
        let error = refused(&url, NatsSettings::default()).await;
        assert_eq!(error.fault(), Some(Fault::Invalid), "{}", told(&error));
        assert!(
            error.context().any(|(found, _)| found == name),
            "{}",
            told(&error)
        );
        assert!(error.hint().unwrap().contains(change), "{}", told(&error));
    }
}

#[tokio::test]
async fn a_log_with_another_number_of_replicas_is_refused_with_both_numbers() {
    let url = fresh();
    open(&url).await;
    let error = refused(&url, NatsSettings::default().with_replicas(3)).await;
    assert_eq!(error.fault(), Some(Fault::Invalid), "{}", told(&error));
    assert!(told(&error).contains("num_replicas: 1"), "{}", told(&error));
    assert!(
        told(&error).contains("num_replicas to 3"),
        "{}",
        told(&error)
    );
}

#[tokio::test]
async fn replicas_that_one_server_cannot_have_are_refused_and_nothing_is_made() {
    let url = fresh();
    let error = NatsStore::open(&url, NatsSettings::default().with_replicas(3))
        .await
        .unwrap_err();
    assert!(
        matches!(error.fault(), Some(Fault::Invalid | Fault::Unavailable)),
        "{}",
        told(&error)
    );
    assert!(told(&error).contains("replicas"), "{}", told(&error));
    let names = api(&client(&url).await, "STREAM.NAMES", &json!({})).await;
    assert_eq!(names["total"], 0);
}

#[tokio::test]
async fn opening_ends_with_its_own_time_limits() {
    let server = start(ServerSettings::new());
    server.node().pause().unwrap();
    let watch = crate::place::Watch::start();
    let settings = NatsSettings::default().with_connect_timeout(Duration::from_secs(1));
    let error = NatsStore::open(&server.url(), settings).await.unwrap_err();
    assert_eq!(error.fault(), Some(Fault::Unavailable), "{}", told(&error));
    assert!(watch.elapsed() < QUICK);
    server.node().resume().unwrap();
}
