//! Whether servers flush before they acknowledge: known where they say so themselves, and only
//! there.

use std::net::TcpListener;

use cim_conformance::nats_server::{Node, ServerSettings, TestCluster};
use cim_store::{Context, Durability, Fault, FlushPolicy, Health, Severity, Store};
use cim_store_nats::{NatsSettings, NatsStore};

use crate::place::{fresh, refused, shared, start, told};

fn monitor(node: &Node) -> String {
    format!("http://127.0.0.1:{}", node.monitor_port())
}

fn policy(store: &NatsStore) -> FlushPolicy {
    match store.log().capabilities().durability {
        Durability::Replicated { flush, .. } => flush,
        other => panic!("{other:?}"),
    }
}

async fn health(store: &NatsStore) -> Health {
    store.health(&Context::new()).await.unwrap()
}

#[tokio::test]
async fn a_monitoring_page_proves_that_the_server_flushes_first() {
    let server = start(ServerSettings::new().sync_always(true));
    let settings = NatsSettings::default()
        .with_monitor_url(monitor(server.node()))
        .require_verified_flush();
    let store = NatsStore::open(&server.url(), settings).await.unwrap();
    assert_eq!(policy(&store), FlushPolicy::Verified);
    let health = health(&store).await;
    assert!(
        health.fact("flush").unwrap().starts_with("verified: "),
        "{health:?}"
    );
    assert_eq!(health.worst(), None, "{health:?}");

    // The same server without its page: nothing is known.
    let store = NatsStore::open(&server.url(), NatsSettings::default())
        .await
        .unwrap();
    assert_eq!(policy(&store), FlushPolicy::Unverified);
}

#[tokio::test]
async fn a_server_that_flushes_later_is_not_verified_and_refused_where_it_must_be() {
    let url = fresh();
    let page = NatsSettings::default().with_monitor_url(monitor(shared().node()));
    let store = NatsStore::open(&url, page.clone()).await.unwrap();
    assert_eq!(policy(&store), FlushPolicy::Unverified);
    let health = health(&store).await;
    assert_eq!(health.worst(), Some(Severity::Warning), "{health:?}");
    assert!(
        health.findings[0].advice.contains("sync_interval: always"),
        "{health:?}"
    );

    let error = refused(&url, page.require_verified_flush()).await;
    assert_eq!(error.fault(), Some(Fault::Unsupported), "{}", told(&error));
    assert!(
        told(&error).contains("sync_interval: always"),
        "{}",
        told(&error)
    );
}

#[tokio::test]
async fn what_nobody_proves_is_refused_where_it_must_be_verified() {
    let url = fresh();
    let error = refused(&url, NatsSettings::default().require_verified_flush()).await;
    assert_eq!(error.fault(), Some(Fault::Unsupported), "{}", told(&error));
    assert!(
        error.hint().unwrap().contains("monitoring page"),
        "{}",
        told(&error)
    );

    let port = {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    };
    let page = format!("http://127.0.0.1:{port}");
    let settings = NatsSettings::default().with_monitor_url(&page);
    let error = refused(&url, settings.clone().require_verified_flush()).await;
    assert!(told(&error).contains(&page), "{}", told(&error));
    // Where it need not be verified the store opens all the same.
    let store = NatsStore::open(&url, settings).await.unwrap();
    assert_eq!(policy(&store), FlushPolicy::Unverified);
    let health = health(&store).await;
    assert!(health.fact("flush").unwrap().contains(&page), "{health:?}");
}

#[tokio::test]
async fn nobody_is_asked_at_opening_unless_the_settings_say_so() {
    let url = fresh();
    crate::place::open(&url).await;
    let store = crate::place::open(&url).await;
    // The question how the log is.
    assert_eq!(store.requests_sent(), 1);
}

#[tokio::test]
async fn a_page_that_never_answers_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let page = format!("http://{}", silent.local_addr().unwrap());
    let settings = NatsSettings::default()
        .with_monitor_url(page)
        .with_request_timeout(std::time::Duration::from_millis(500))
        .require_verified_flush();
    let error = refused(&fresh(), settings).await;
    assert_eq!(error.fault(), Some(Fault::Unsupported), "{}", told(&error));
}

#[tokio::test]
async fn every_server_that_holds_the_log_must_have_said_it() {
    let cluster = TestCluster::start(ServerSettings::new().sync_always(true)).unwrap();
    let pages: Vec<String> = cluster.nodes().iter().map(monitor).collect();
    let three = NatsSettings::default().with_replicas(3);
    let all = three.clone().with_monitor_url(pages.join(","));
    let store = NatsStore::open(&cluster.url(), all.clone().require_verified_flush())
        .await
        .unwrap();
    assert_eq!(policy(&store), FlushPolicy::Verified);

    let some = three.with_monitor_url(pages[..2].join(","));
    let store = NatsStore::open(&cluster.url(), some).await.unwrap();
    assert_eq!(policy(&store), FlushPolicy::Unverified);
    let flush = health(&store).await.fact("flush").unwrap().to_owned();
    assert!(
        flush.contains("have not told") && flush.ends_with("n2"),
        "{flush}"
    );
}

#[tokio::test]
async fn over_nats_servers_tell_an_account_to_which_the_system_account_exports_the_question() {
    let config = "accounts {\n\
        \"$SYS\" { users: [{ user: sys, password: sys }], \
        exports: [{ service: \"$SYS.REQ.SERVER.PING.VARZ\", response_type: stream }] }\n\
        OPS { jetstream: enabled, users: [{ user: ops, password: ops }], \
        imports: [{ service: { account: \"$SYS\", subject: \"$SYS.REQ.SERVER.PING.VARZ\" } }] }\n}";
    let settings = ServerSettings::new().server_config(config);
    let server = start(settings.sync_always(true));
    let url = server.url().replace("nats://", "nats://ops:ops@");
    let store = NatsStore::open(&url, NatsSettings::default().require_verified_flush())
        .await
        .unwrap();
    assert_eq!(policy(&store), FlushPolicy::Verified);
    let flush = health(&store).await.fact("flush").unwrap().to_owned();
    assert!(flush.contains("system account"), "{flush}");
}
