//! Leaders are killed and paused while clients write. Nothing that was acknowledged is lost,
//! nothing is there twice, and of everything else it can be said what became of it.
//!
//! `CIM_CLUSTER_DEATHS` says how many leaders are killed, and how many paused; 2 of each without it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cim_conformance::history::{FinalState, Recorder, check};
use cim_conformance::nats_server::{ServerSettings, TestCluster};
use cim_store::{Clock, Context, EventFilter, Position, Resolution, Store, SystemClock, SystemIds};
use cim_store_nats::{NatsSettings, NatsStore};
use futures_util::StreamExt;

use crate::replicas::read_through_each;
use crate::workload::{Told, client};

const CONNECTIONS: usize = 4;
const CLIENTS: u64 = 16;

async fn pause(time: Duration) {
    SystemClock.sleep(time).await;
}

fn rounds() -> usize {
    let asked = std::env::var("CIM_CLUSTER_DEATHS");
    asked.map_or(2, |rounds| {
        rounds.parse().expect("CIM_CLUSTER_DEATHS is a number")
    })
}

/// Kills leaders, one after the other, and pauses others.
async fn nemesis(cluster: &TestCluster, rounds: usize) -> (usize, usize) {
    let (mut killed, mut paused) = (0, 0);
    let leader = async || {
        loop {
            if let Some(leader) = cluster.leader_of("$G", NatsSettings::STREAM) {
                return leader;
            }
            pause(Duration::from_millis(200)).await;
        }
    };
    for round in 0..rounds {
        pause(Duration::from_secs(1)).await;
        let node = cluster.node(leader().await);
        node.kill().unwrap();
        killed += 1;
        pause(Duration::from_secs(2 + round as u64 % 6)).await;
        node.start().unwrap();
        cluster.wait_healthy().unwrap();

        pause(Duration::from_secs(1)).await;
        let node = cluster.node(leader().await);
        node.pause().unwrap();
        paused += 1;
        // Sometimes shorter than an election takes, sometimes longer.
        pause(Duration::from_secs(1 + (round as u64 * 5) % 11)).await;
        node.resume().unwrap();
        cluster.wait_healthy().unwrap();
    }
    (killed, paused)
}

#[test]
fn leaders_that_die_or_stall_lose_nothing_and_double_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(survive(rounds()));
}

async fn survive(rounds: usize) {
    let cluster = TestCluster::start(ServerSettings::new()).unwrap_or_else(|e| panic!("{e}"));
    let url = cluster.urls().join(",");
    let mut stores = Vec::new();
    for _ in 0..CONNECTIONS {
        let settings = NatsSettings::default().with_replicas(3);
        stores.push(NatsStore::open(&url, settings).await.unwrap());
    }
    let recorder = Recorder::new(stores[0].log(), Arc::new(SystemIds));
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let log = stores[number as usize % CONNECTIONS].log();
            tokio::spawn(client(recorder.client_over(log), number, stop.clone()))
        })
        .collect();
    // Somebody follows all the time.
    let follower = stores[1].log();
    let ctx = Context::new();
    let subscription = follower.subscribe(&ctx, EventFilter::all(), Position::NONE);
    let mut subscription = subscription.await.unwrap();
    let followed = Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = followed.clone();
    let following = tokio::spawn(async move {
        while let Some(event) = subscription.next().await {
            noted.lock().unwrap().push(event.unwrap().position);
        }
    });

    let (killed, paused) = nemesis(&cluster, rounds).await;
    pause(Duration::from_secs(1)).await;
    stop.store(true, Ordering::SeqCst);
    let mut told = Vec::new();
    for client in clients {
        told.push(client.await.unwrap());
    }
    cluster.wait_healthy().unwrap();

    // Whoever was told nothing asks a store that knows nothing.
    let fresh = NatsStore::open(&url, NatsSettings::default().with_replicas(3))
        .await
        .unwrap();
    let log = fresh.log();
    let mut left = FinalState::read(&*log, &ctx).await.unwrap();
    let (mut resolved_stored, mut resolved_not) = (0, 0);
    for commit in told.iter().flat_map(|told| &told.unknown) {
        let there = left.events.iter().any(|event| event.commit_id == *commit);
        match log.resolve(&ctx, *commit).await.unwrap() {
            Resolution::Committed(_) if there => resolved_stored += 1,
            Resolution::NotCommitted if !there => resolved_not += 1,
            other => panic!("commit {commit} is there: {there}, but it is said: {other:?}"),
        }
    }

    let replicas = read_through_each(&cluster, NatsSettings::STREAM).await;
    for other in &replicas[1..] {
        assert!(replicas[0] == *other, "the replicas hold different logs");
    }
    let positions: Vec<_> = left.events.iter().map(|event| event.position).collect();
    let of_replica: Vec<_> = replicas[0]
        .iter()
        .filter(|(_, subject, ..)| subject.starts_with("cim.events."))
        .map(|(sequence, ..)| Position::new(*sequence))
        .collect();
    assert_eq!(positions, of_replica);

    // The subscription had every event, once, in order.
    let deadline = SystemClock.monotonic() + Duration::from_secs(30);
    while followed.lock().unwrap().len() < positions.len() {
        assert!(
            SystemClock.monotonic() < deadline,
            "the subscription lacks events"
        );
        pause(Duration::from_millis(50)).await;
    }
    assert!(
        *followed.lock().unwrap() == positions,
        "the subscription skipped or repeated"
    );
    following.abort();

    left = left.with_replica(
        FinalState::read(&*stores[2].log(), &ctx)
            .await
            .unwrap()
            .events,
    );
    let history = recorder.history();
    let report = match check(&history, &left) {
        Ok(report) => report,
        Err(violations) => {
            let text: Vec<_> = violations.iter().map(ToString::to_string).collect();
            panic!("the history does not check:\n- {}", text.join("\n- "));
        }
    };
    let sum = |count: fn(&Told) -> usize| told.iter().map(count).sum::<usize>();
    println!(
        "{killed} leaders killed, {paused} paused: {report}; unknown {} (resolved: {resolved_stored} \
         stored, {resolved_not} not), unavailable {}, slowest call {:.1} s",
        sum(|told| told.unknown.len()),
        sum(|told| told.unavailable),
        told.iter()
            .map(|told| told.slowest)
            .max()
            .unwrap()
            .as_secs_f64(),
    );
    assert!(
        sum(|told| told.stored) > 100 * rounds,
        "hardly anything was stored"
    );
}
