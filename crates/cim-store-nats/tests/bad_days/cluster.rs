//! A cluster that loses servers.

use std::time::Duration;

use cim_conformance::nats_server::{ServerSettings, TestCluster};
use cim_store::{
    Clock, Context, EventLogErrorKind, EventLogExt, ExpectedVersion, Fault, Health, Resolution,
    Store, SystemClock, Version,
};
use cim_store_nats::{NatsSettings, NatsStore};

use crate::place::{Watch, append, events, read, stream, told};

/// Looks until the health is as meant; a cluster notices a death a moment later.
async fn becomes(store: &NatsStore, what: &str, is: impl Fn(&Health) -> bool) -> Health {
    let watch = Watch::start();
    loop {
        let health = store.health(&Context::new()).await.unwrap();
        if is(&health) {
            return health;
        }
        assert!(
            watch.elapsed() < Duration::from_secs(30),
            "{what}: {health:#?}"
        );
        SystemClock.sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_says_which_server_is_missing_and_without_a_quorum_stores_nothing() {
    let cluster = TestCluster::start(ServerSettings::new()).unwrap();
    let settings = NatsSettings::default()
        .with_replicas(3)
        .with_request_timeout(Duration::from_secs(1));
    let store = NatsStore::open(&cluster.url(), settings).await.unwrap();
    append(&store, "1", 2).await.unwrap();
    let well = becomes(&store, "three replicas", Health::is_healthy).await;
    assert_eq!(well.fact("replicas"), Some("3"));
    let leader = well.fact("leader").unwrap().to_owned();
    let node = |name: &str| {
        cluster
            .nodes()
            .iter()
            .position(|node| node.name() == name)
            .unwrap()
    };

    // One server that does not lead dies: everything goes on, and its name is told.
    let first = (node(&leader) + 1) % 3;
    let name = cluster.node(first).name().to_owned();
    cluster.node(first).kill().unwrap();
    let told_of = |health: &Health| {
        let named = |found: &cim_store::Finding| found.what.contains(&format!("replica {name}"));
        !health.is_healthy() && health.findings.iter().any(named)
    };
    becomes(&store, "the dead server's name", told_of).await;
    append(&store, "1", 1).await.unwrap();

    // A second one: no quorum. An append ends by its deadline.
    let second = (node(&leader) + 2) % 3;
    cluster.node(second).kill().unwrap();
    let deadline = Duration::from_secs(3);
    let ctx = Context::new().with_timeout(&SystemClock, deadline);
    let watch = Watch::start();
    let any = ExpectedVersion::Any;
    let error = store
        .log()
        .append_to(&ctx, &stream("1"), any, events(1))
        .await
        .unwrap_err();
    assert!(
        watch.elapsed() < deadline + Duration::from_secs(2),
        "{:?}",
        watch.elapsed()
    );
    let unknown = match error.kind() {
        EventLogErrorKind::Unknown { commit_id } => Some(*commit_id),
        EventLogErrorKind::Fault(Fault::Unavailable) => None,
        _ => panic!("{}", told(&error)),
    };
    let watch = Watch::start();
    let health = store.health(&Context::new()).await.unwrap();
    assert!(!health.is_healthy(), "{health:#?}");
    assert!(
        watch.elapsed() < Duration::from_secs(10),
        "{:?}",
        watch.elapsed()
    );

    // They come back: what is unknown gets known, and nothing is there by half.
    cluster.node(first).start().unwrap();
    cluster.node(second).start().unwrap();
    cluster.wait_healthy().unwrap();
    append(&store, "2", 2).await.unwrap();
    let stored = match unknown {
        Some(commit) => match store.log().resolve(&Context::new(), commit).await.unwrap() {
            Resolution::Committed(_) => 1,
            Resolution::NotCommitted => 0,
        },
        None => 0,
    };
    assert_eq!(read(&store, "1").await.unwrap().len(), 3 + stored);
    let version = store
        .log()
        .version(&Context::new(), &stream("1"))
        .await
        .unwrap();
    assert_eq!(version, Version::new(3 + stored as u64));
    becomes(&store, "three replicas again", Health::is_healthy).await;
}

#[tokio::test]
async fn one_replica_in_a_cluster_is_a_warning() {
    let cluster = TestCluster::start(ServerSettings::new()).unwrap();
    let store = NatsStore::open(&cluster.url(), NatsSettings::default())
        .await
        .unwrap();
    let health = store.health(&Context::new()).await.unwrap();
    assert!(health.is_healthy(), "{health:#?}");
    assert!(
        health
            .findings
            .iter()
            .any(|found| found.what.contains("on one of them only")),
        "{health:#?}"
    );
}
