//! Work that is split over two connections while servers are killed and started again: every event
//! is handled, and what was acknowledged does not come again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "clippy.toml allows it in tests, but not in what helps them"
)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cim_conformance::nats_server::{Node, ServerSettings, TestCluster, TestServer};
use cim_store::{
    Clock, Context, EventLogExt, ExpectedVersion, NewEvent, Position, SharedSettings, Store,
    StreamId, SubscriptionName, SystemClock, Version,
};
use cim_store_nats::{NatsSettings, NatsStore};
use futures_util::StreamExt;
use futures_util::future::{Either, join_all, select};

const EVENTS: usize = 2_000;
const MEMBERS: usize = 2;
/// Within this time an event is acknowledged, or it is delivered again.
const WITHIN: Duration = Duration::from_secs(3);
/// What a single server may forget when it is killed, with room for a busy machine: it writes what
/// was acknowledged to its disk within a tenth of a second.
const FORGOTTEN: Duration = Duration::from_millis(500);
/// How long a member works on an event: so long that much is done before a kill and not forgotten.
const WORK: Duration = Duration::from_millis(4);

/// What happened to each event: when it was handed to a member, and when its acknowledgement was
/// confirmed.
#[derive(Default)]
struct Book {
    given: Mutex<BTreeMap<Position, Vec<Instant>>>,
    acknowledged: Mutex<BTreeMap<Position, Vec<Instant>>>,
    /// Of how many events an acknowledgement was confirmed, repeats included.
    done: AtomicUsize,
    kills: Mutex<Vec<Instant>>,
}

fn now() -> Instant {
    SystemClock.monotonic()
}

fn name() -> SubscriptionName {
    SubscriptionName::new("work").unwrap()
}

async fn fill(store: &NatsStore) {
    let order = StreamId::new("sales", "order", "1").unwrap();
    let mut version = Version::NONE;
    while version.get() < EVENTS as u64 {
        let placed = |n| NewEvent::json("placed", &serde_json::json!({ "n": n })).unwrap();
        let events = (0..100).map(placed).collect();
        let expected = ExpectedVersion::Exact(version);
        let (log, ctx) = (store.log(), Context::new());
        let appended = log.append_to(&ctx, &order, expected, events).await;
        version = appended.unwrap().head(&order).unwrap().version;
    }
}

/// Takes part until nothing comes any more.
async fn member(store: NatsStore, book: Arc<Book>, quiet: Duration) {
    let shared = store.shared_subscriptions().unwrap();
    let settings = SharedSettings::new().acknowledge_within(WITHIN);
    let mut mine = shared
        .join(&Context::new(), &name(), settings)
        .await
        .unwrap();
    loop {
        let delivery = match select(mine.next(), SystemClock.sleep(quiet)).await {
            Either::Left((delivery, _)) => delivery.unwrap().unwrap(),
            Either::Right(_) => return,
        };
        let position = delivery.event.position;
        book.given
            .lock()
            .unwrap()
            .entry(position)
            .or_default()
            .push(now());
        SystemClock.sleep(WORK).await;
        if delivery.acknowledge().await.is_ok() {
            book.acknowledged
                .lock()
                .unwrap()
                .entry(position)
                .or_default()
                .push(now());
            book.done.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Waits until so many acknowledgements were confirmed.
async fn until(book: &Book, done: usize) {
    let deadline = now() + Duration::from_secs(120);
    while book.done.load(Ordering::SeqCst) < done {
        let so_far = book.done.load(Ordering::SeqCst);
        assert!(
            now() < deadline,
            "only {so_far} of {done} events were worked off"
        );
        SystemClock.sleep(Duration::from_millis(2)).await;
    }
}

fn kill(book: &Book, node: &Node) {
    node.kill().unwrap();
    book.kills.lock().unwrap().push(now());
}

/// Everything was handled and acknowledged. An event came after it was acknowledged only where
/// `excused` says so, of the time of its acknowledgement and the time when it came.
fn check(book: &Book, excused: impl Fn(Instant, Instant) -> bool) {
    let given = book.given.lock().unwrap();
    let acknowledged = book.acknowledged.lock().unwrap();
    assert_eq!(given.len(), EVENTS);
    assert_eq!(acknowledged.len(), EVENTS);
    let deliveries: usize = given.values().map(Vec::len).sum();
    let mut again = 0;
    for (position, acknowledged) in acknowledged.iter() {
        let last = acknowledged[acknowledged.len() - 1];
        for &came in &given[position] {
            for &done in acknowledged.iter().filter(|&&done| done < came) {
                again += 1;
                assert!(
                    excused(done, came),
                    "event {position} came {:?} after it was acknowledged",
                    came - done
                );
            }
        }
        assert!(given[position][0] < last);
    }
    println!("{EVENTS} events, {deliveries} deliveries, {again} after an acknowledgement");
}

/// Nothing is left to do, as the server says.
async fn check_nothing_left(store: &NatsStore) {
    let shared = store.shared_subscriptions().unwrap();
    let listed = shared.list(&Context::new()).await.unwrap();
    assert_eq!((listed[0].pending, listed[0].in_flight), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_goes_on_when_the_server_is_killed_and_started_again() {
    let server = Arc::new(TestServer::start(ServerSettings::new()).unwrap());
    let mut stores = Vec::new();
    for _ in 0..MEMBERS {
        let settings = NatsSettings::default();
        stores.push(NatsStore::open(&server.url(), settings).await.unwrap());
    }
    fill(&stores[0]).await;
    let book = Arc::new(Book::default());
    let members = stores.iter().cloned();
    // Longer than it takes until what a dead server had in flight comes again.
    let members = members.map(|store| tokio::spawn(member(store, book.clone(), 4 * WITHIN)));
    let members: Vec<_> = members.collect();
    for done in [500, 1_100, 1_700] {
        until(&book, done).await;
        let (server, book) = (server.clone(), book.clone());
        let restarted = tokio::task::spawn_blocking(move || {
            kill(&book, server.node());
            server.node().start().unwrap();
            server.wait_healthy().unwrap();
        });
        restarted.await.unwrap();
    }
    for member in join_all(members).await {
        member.unwrap();
    }
    check_nothing_left(&stores[0]).await;
    // What a member was given before a kill it may say to be done only afterwards.
    let kills = book.kills.lock().unwrap().clone();
    check(&book, |done, came| {
        let forgotten =
            |&kill: &Instant| kill < came && kill < done + FORGOTTEN && done < kill + WITHIN;
        kills.iter().any(forgotten)
    });
}

/// The number of the server that leads the consumer.
fn leader(cluster: &TestCluster) -> Option<usize> {
    let named = |node: &Node| {
        let answer = node.monitor("/jsz?acc=$G&consumers=true").ok()?;
        let streams = answer["account_details"][0]["stream_detail"].as_array()?;
        let log = streams
            .iter()
            .find(|stream| stream["name"] == NatsSettings::STREAM)?;
        let consumers = log["consumer_detail"].as_array()?;
        let work = consumers
            .iter()
            .find(|consumer| consumer["name"] == "work")?;
        Some(work["cluster"]["leader"].as_str()? == node.name())
    };
    let mut nodes = cluster.nodes().iter();
    nodes.position(|node| node.is_running() && named(node) == Some(true))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_cluster_confirmed_never_comes_again_when_leaders_are_killed() {
    let cluster = Arc::new(TestCluster::start(ServerSettings::new()).unwrap());
    let mut stores = Vec::new();
    for _ in 0..MEMBERS {
        let settings = NatsSettings::default().with_replicas(3);
        stores.push(NatsStore::open(&cluster.url(), settings).await.unwrap());
    }
    fill(&stores[0]).await;
    let book = Arc::new(Book::default());
    let members = stores.iter().cloned();
    let members = members.map(|store| tokio::spawn(member(store, book.clone(), 6 * WITHIN)));
    let members: Vec<_> = members.collect();
    for done in [200, 1_000] {
        until(&book, done).await;
        let leader = loop {
            match leader(&cluster) {
                Some(leader) => break leader,
                None => SystemClock.sleep(Duration::from_millis(100)).await,
            }
        };
        kill(&book, cluster.node(leader));
        // The other two go on by themselves.
        until(&book, done + 300).await;
        let cluster = cluster.clone();
        let restarted = tokio::task::spawn_blocking(move || {
            cluster.node(leader).start().unwrap();
            cluster.wait_healthy().unwrap();
        });
        restarted.await.unwrap();
    }
    for member in join_all(members).await {
        member.unwrap();
    }
    check_nothing_left(&stores[0]).await;
    // What was on its way to a member when another one's late acknowledgement was taken.
    check(&book, |done, came| came - done < WITHIN);
}
