//! Many commits in one call on a cluster: in their order and once each, though others do the same
//! at the same time and leaders die.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cim_conformance::nats_server::{ServerSettings, TestCluster};
use cim_store::{
    Append, CommitId, Context, ExpectedVersion, IdGenerator, LogQuery, NewEvent, OrderedAppend,
    RecordedEvent, Store, StreamId, SystemClock, SystemIds, Version,
};
use cim_store_nats::{NatsSettings, NatsStore};
use futures_util::TryStreamExt;

use crate::replicas::read_through_each;

const STREAMS: u64 = 40;

fn settings() -> NatsSettings {
    NatsSettings::default().with_replicas(3)
}

fn stream(number: u64) -> StreamId {
    StreamId::new("test", "thing", &number.to_string()).unwrap()
}

/// Commits of one event each; every third has an id that says no time.
fn history(count: u64, expected: impl Fn(u64) -> ExpectedVersion) -> Vec<OrderedAppend> {
    let commits = (0..count).map(|number| {
        let mut id = SystemIds.next_uuid().into_bytes();
        if number % 3 == 0 {
            id[6] = 0x40;
        }
        let event = NewEvent::json("happened", &number).unwrap();
        let append = Append::new().with_commit_id(CommitId::from_bytes(id));
        let append = append.write(stream(number % STREAMS), expected(number), vec![event]);
        OrderedAppend::new(Context::new(), append)
    });
    commits.collect()
}

/// Appends the commits, those that were not said to be stored once more, until all are.
async fn import(store: &NatsStore, commits: &[OrderedAppend]) -> usize {
    let (mut stored, mut errors) = (0, 0);
    while stored < commits.len() {
        let ctx = Context::new().with_timeout(&SystemClock, Duration::from_secs(12));
        let rest = commits[stored..].to_vec();
        let done = store.log().append_in_order(&ctx, rest).await;
        stored += done.appended.len();
        if let Some(error) = done.error {
            assert!(!error.is_integrity() && !error.is_conflict(), "{error:?}");
            errors += 1;
        }
    }
    errors
}

async fn log_of(store: &NatsStore) -> Vec<RecordedEvent> {
    let log = store.log();
    let events = log.read_log(&Context::new(), LogQuery::all()).await;
    events.unwrap().try_collect().await.unwrap()
}

fn ids(commits: &[OrderedAppend]) -> Vec<CommitId> {
    let ids = commits.iter().filter_map(|commit| commit.append.commit_id);
    ids.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_goes_on_in_order_through_the_deaths_of_leaders() {
    let cluster = Arc::new(
        TestCluster::start(ServerSettings::new()).unwrap_or_else(|error| panic!("{error}")),
    );
    let url = cluster.urls().join(",");
    let store = NatsStore::open(&url, settings()).await.unwrap();
    let (mut commits, mut errors) = (Vec::new(), 0);
    for round in 0..2 {
        // From one round to the next the streams grow, and nobody forgets where they are.
        let before = round * 3_000 / STREAMS;
        let expected =
            |number: u64| ExpectedVersion::Exact(Version::new(before + number / STREAMS));
        let part = history(3_000, expected);
        let dies = Arc::new(AtomicBool::new(false));
        let (killing, dying) = (cluster.clone(), dies.clone());
        let nemesis = tokio::task::spawn_blocking(move || {
            let leader = killing.leader_of("$G", NatsSettings::STREAM).unwrap();
            killing.node(leader).kill().unwrap();
            dying.store(true, Ordering::SeqCst);
            leader
        });
        errors += import(&store, &part).await;
        let leader = nemesis.await.unwrap();
        assert!(dies.load(Ordering::SeqCst));
        cluster.node(leader).start().unwrap();
        cluster.wait_healthy().unwrap();
        commits.extend(part);
    }
    let stored = log_of(&store).await;
    let found: Vec<_> = stored.iter().map(|event| event.commit_id).collect();
    assert!(found == ids(&commits), "{} are stored", found.len());
    println!("{} commits, {errors} calls ended early", commits.len());
    let replicas = read_through_each(&cluster, NatsSettings::STREAM).await;
    for other in &replicas[1..] {
        assert!(replicas[0] == *other, "the replicas hold different logs");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_that_check_what_those_before_them_wrote_go_together() {
    let cluster = TestCluster::start(ServerSettings::new());
    let cluster = cluster.unwrap_or_else(|error| panic!("{error}"));
    let store = NatsStore::open(&cluster.urls().join(","), settings()).await;
    let store = store.unwrap();
    let mut versions = [0_u64; STREAMS as usize];
    let mut commits = history(400, |number| {
        ExpectedVersion::Exact(Version::new(number / STREAMS))
    });
    for (number, commit) in (0_u64..).zip(&mut commits) {
        // Of the stream that was written last, and of the one that is written next.
        for checked in [number + STREAMS - 1, number + 1] {
            let version = Version::new(versions[(checked % STREAMS) as usize]);
            let append = std::mem::take(&mut commit.append);
            commit.append = append.check(stream(checked % STREAMS), version);
        }
        versions[(number % STREAMS) as usize] += 1;
    }
    let before = store.requests_sent();
    let log = store.log();
    let done = log.append_in_order(&Context::new(), commits.clone()).await;
    assert!(done.error.is_none(), "{:?}", done.error);
    let requests = store.requests_sent() - before;
    assert!(requests < 40, "{requests} requests");
    let stored = log_of(&store).await;
    let found: Vec<_> = stored.iter().map(|event| event.commit_id).collect();
    assert!(found == ids(&commits), "{} are stored", found.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn imports_and_writers_at_once_keep_their_own_order() {
    let cluster = TestCluster::start(ServerSettings::new());
    let cluster = cluster.unwrap_or_else(|error| panic!("{error}"));
    let url = cluster.urls().join(",");
    let mut stores = Vec::new();
    for _ in 0..3 {
        stores.push(NatsStore::open(&url, settings()).await.unwrap());
    }
    // Two import the same, one something else into the same streams.
    let (same, other) = (
        history(900, |_| ExpectedVersion::Any),
        history(300, |_| ExpectedVersion::Any),
    );
    tokio::join!(
        import(&stores[0], &same),
        import(&stores[1], &same),
        import(&stores[2], &other),
    );
    let stored = log_of(&stores[0]).await;
    assert_eq!(stored.len(), 1_200);
    for commits in [same, other] {
        let asked = ids(&commits);
        let found = stored.iter().map(|event| event.commit_id);
        let found: Vec<_> = found.filter(|id| asked.contains(id)).collect();
        assert!(
            found == asked,
            "{} of {} are stored",
            found.len(),
            asked.len()
        );
    }
}
