//! Two processes race for the same place, again and again: exactly one of them wins each time.
//!
//! `CIM_RACES` says how often; 400 times without it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use cim_conformance::nats_server::{ServerSettings, TestCluster, TestServer};
use cim_store::{Append, Context, NewEvent, Store, StreamId, StreamRange, Version};
use cim_store_nats::{NatsSettings, NatsStore};
use futures_util::TryStreamExt;

/// Says that this process is one of the two, and where the servers are.
const URL: &str = "CIM_RACER_URL";
const REPLICAS: &str = "CIM_RACER_REPLICAS";

fn rounds() -> u64 {
    let asked = std::env::var("CIM_RACES");
    asked.map_or(400, |rounds| rounds.parse().expect("CIM_RACES is a number"))
}

fn settings(replicas: u8) -> NatsSettings {
    NatsSettings::default().with_replicas(replicas)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// The other process's part: not a test of its own unless it is started as such.
#[test]
fn a_racer_does_as_it_is_told() {
    let (Ok(url), Ok(replicas)) = (std::env::var(URL), std::env::var(REPLICAS)) else {
        return;
    };
    runtime().block_on(async {
        let store = NatsStore::open(&url, settings(replicas.parse().unwrap()))
            .await
            .unwrap();
        let (log, ctx) = (store.log(), Context::new());
        println!("ready");
        for line in std::io::stdin().lock().lines() {
            let line = line.unwrap();
            let (stream, version) = line.split_once(' ').unwrap();
            let stream: StreamId = stream.parse().unwrap();
            let version: u64 = version.parse().unwrap();
            // Different types: what counts is the place, not the subject.
            let event_type = format!("by_{}", std::process::id());
            let event = NewEvent::json(event_type, &version).unwrap();
            let append = Append::new().write(stream, Version::new(version), vec![event]);
            match log.append(&ctx, append).await {
                Ok(_) => println!("won"),
                Err(error) if error.is_conflict() => println!("lost"),
                Err(error) => println!("failed {error:?}"),
            }
        }
    });
}

struct Racer {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Racer {
    fn start(url: &str, replicas: u8) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "races::a_racer_does_as_it_is_told",
                "--exact",
                "--nocapture",
            ])
            .env(URL, url)
            .env(REPLICAS, replicas.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut racer = Self {
            child,
            orders,
            answers,
        };
        while racer.answer() != "ready" {}
        racer
    }

    fn order(&mut self, stream: &StreamId, version: u64) {
        writeln!(self.orders, "{stream} {version}").unwrap();
        self.orders.flush().unwrap();
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        let read = self.answers.read_line(&mut line).unwrap();
        assert!(read > 0, "the racer ended");
        // The test program writes before the first line, and without a line break.
        let line = line.trim();
        line.rsplit(' ').next().map_or(String::new(), |last| {
            if line.starts_with("failed") {
                line.to_owned()
            } else {
                last.to_owned()
            }
        })
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Races for the first place of many streams, and for each next place of one.
fn race(url: &str, replicas: u8) {
    let mut racers = [Racer::start(url, replicas), Racer::start(url, replicas)];
    let rounds = rounds();
    let mut wins = [0, 0];
    let one = StreamId::new("race", "one", "stream").unwrap();
    for round in 0..2 * rounds {
        let (stream, version) = if round < rounds {
            (StreamId::new("race", "new", &round.to_string()).unwrap(), 0)
        } else {
            (one.clone(), round - rounds)
        };
        for racer in &mut racers {
            racer.order(&stream, version);
        }
        let answers = racers.each_mut().map(Racer::answer);
        match [&answers[0][..], &answers[1][..]] {
            ["won", "lost"] => wins[0] += 1,
            ["lost", "won"] => wins[1] += 1,
            other => panic!("{stream} at version {version}: {other:?}"),
        }
    }
    drop(racers);
    runtime().block_on(async {
        let store = NatsStore::open(url, settings(replicas)).await.unwrap();
        let (log, ctx) = (store.log(), Context::new());
        let read = log
            .read_stream(&ctx, &one, StreamRange::all())
            .await
            .unwrap();
        let events: Vec<_> = read.try_collect().await.unwrap();
        assert_eq!(events.len() as u64, rounds);
        assert_eq!(log.stats(&ctx).await.unwrap().events, 2 * rounds);
    });
    println!(
        "{rounds} new streams and {rounds} versions, R{replicas}: one won each time ({wins:?})"
    );
}

#[test]
fn of_two_processes_one_wins_each_place_on_one_server() {
    let server = TestServer::start(ServerSettings::new()).unwrap_or_else(|e| panic!("{e}"));
    race(&server.url(), 1);
}

#[test]
fn of_two_processes_one_wins_each_place_on_a_cluster() {
    let cluster = TestCluster::start(ServerSettings::new()).unwrap_or_else(|e| panic!("{e}"));
    race(&cluster.urls().join(","), 3);
}
