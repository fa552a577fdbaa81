//! A server that dies and comes back under work: what is under way ends well, and a subscription
//! goes on where it was.

use std::sync::Arc;
use std::time::Duration;

use cim_conformance::nats_server::ServerSettings;
use cim_store::{
    Clock, Context, EventFilter, EventLogExt, ExpectedVersion, Position, Store, SystemClock,
    Version,
};
use futures_util::StreamExt;

use crate::place::{Watch, append, events, open, read, start, stream};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_and_subscriptions_outlive_the_death_of_the_server() {
    const WRITERS: usize = 4;
    const EACH: usize = 30;
    let server = Arc::new(start(ServerSettings::new()));
    let store = open(&server.url()).await;
    let mut subscription = store
        .log()
        .subscribe(&Context::new(), EventFilter::default(), Position::NONE)
        .await
        .unwrap();

    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                let name = stream(&writer.to_string());
                for version in 0..EACH {
                    let expected = ExpectedVersion::Exact(Version::new(version as u64));
                    store
                        .log()
                        .append_to(&Context::new(), &name, expected, events(1))
                        .await
                        .unwrap();
                    // So that the deaths fall between the first and the last.
                    SystemClock.sleep(Duration::from_millis(30)).await;
                }
            })
        })
        .collect();
    let killer = {
        let server = Arc::clone(&server);
        tokio::task::spawn_blocking(move || {
            for _ in 0..3 {
                server.node().kill().unwrap();
                server.node().start().unwrap();
                server.wait_healthy().unwrap();
            }
        })
    };
    killer.await.unwrap();
    for writer in writers {
        writer.await.unwrap();
    }

    // The subscription has everything once, in order, also what comes now.
    append(&store, "last", 1).await.unwrap();
    let mut seen = Vec::new();
    let watch = Watch::start();
    while seen.len() < WRITERS * EACH + 1 {
        assert!(
            watch.elapsed() < Duration::from_secs(20),
            "{} events",
            seen.len()
        );
        seen.push(subscription.next().await.unwrap().unwrap());
    }
    assert!(
        seen.windows(2)
            .all(|pair| pair[0].position < pair[1].position)
    );
    assert_eq!(seen.last().unwrap().stream, stream("last"));
    for writer in 0..WRITERS {
        let name = stream(&writer.to_string());
        let versions: Vec<u64> = seen
            .iter()
            .filter(|event| event.stream == name)
            .map(|event| event.version.get())
            .collect();
        assert_eq!(versions, (1..=EACH as u64).collect::<Vec<_>>());
        assert_eq!(read(&store, &writer.to_string()).await.unwrap().len(), EACH);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_that_waits_for_a_stopped_server_succeeds_when_it_goes_on() {
    let server = start(ServerSettings::new());
    let store = open(&server.url()).await;
    append(&store, "1", 1).await.unwrap();
    server.node().pause().unwrap();
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { append(&store, "1", 2).await }
    });
    // It has been sent, and nobody answers.
    while store.requests_sent() < 3 {
        tokio::task::yield_now().await;
    }
    let health = store.health(&Context::new()).await.unwrap();
    assert!(!health.is_healthy(), "{health:#?}");
    server.node().resume().unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(read(&store, "1").await.unwrap().len(), 3);
}
