//! Runs a test on every store there is.

use std::sync::Arc;

use cim_domain::store::{ManualClock, SequentialIds, Store, Timestamp};
use cim_domain::{OpenOptions, open_with};

/// The time at which the tests begin: 2026-11-20T12:00:00Z.
pub(crate) const NOON: Timestamp = Timestamp::from_seconds(1_795_176_000);

/// Makes of each function a module with one test for each store. The clock is the test's; a server
/// has its own.
macro_rules! on_every_store {
    ($(async fn $name:ident($store:ident, $clock:ident) $body:block)*) => {$(
        $crate::stores::module_of_tests! {
            $name, $store, $clock, $body,
            #[cfg(feature = "nats")]
            #[tokio::test]
            async fn nats() {
                let (store, clock) = $crate::stores::open_on_nats().await;
                run(store, clock).await;
            }

            #[cfg(feature = "nats")]
            #[tokio::test]
            async fn cluster() {
                let (store, clock) = $crate::stores::open_on_cluster().await;
                run(store, clock).await;
            }
        }
    )*};
}

/// The same on stores that run on the clock of the test, so that it decides what time it is.
macro_rules! on_every_store_with_our_clock {
    ($(async fn $name:ident($store:ident, $clock:ident) $body:block)*) => {$(
        $crate::stores::module_of_tests! { $name, $store, $clock, $body, }
    )*};
}

macro_rules! module_of_tests {
    ($name:ident, $store:ident, $clock:ident, $body:block, $($more:item)*) => {
        mod $name {
            use super::*;

            async fn run(
                $store: std::sync::Arc<dyn cim_domain::store::Store>,
                $clock: cim_domain::store::ManualClock,
            ) $body

            #[tokio::test]
            async fn memory() {
                let (store, clock) = $crate::stores::open_at_noon("memory:").await;
                run(store, clock).await;
            }

            #[cfg(feature = "embedded")]
            #[tokio::test]
            async fn embedded() {
                let directory = tempfile::tempdir().unwrap();
                let url = format!("embedded:{}", directory.path().display());
                let (store, clock) = $crate::stores::open_at_noon(&url).await;
                run(store, clock).await;
            }

            $($more)*
        }
    };
}

pub(crate) use {module_of_tests, on_every_store, on_every_store_with_our_clock};

pub(crate) async fn open_at_noon(url: &str) -> (Arc<dyn Store>, ManualClock) {
    let clock = ManualClock::at(NOON);
    let options = OpenOptions {
        clock: Arc::new(clock.clone()),
        ids: Arc::new(SequentialIds::new(1)),
        ..OpenOptions::default()
    };
    (open_with(url, options).await.unwrap(), clock)
}

/// A store in an account of its own, on a server that all tests share.
#[cfg(feature = "nats")]
pub(crate) async fn open_on_nats() -> (Arc<dyn Store>, ManualClock) {
    use cim_conformance::nats_server::{ServerSettings, TestServer};
    use std::sync::OnceLock;

    static SERVER: OnceLock<TestServer> = OnceLock::new();
    let server =
        SERVER.get_or_init(|| TestServer::start(ServerSettings::new().accounts(400)).unwrap());
    let account = server.next_account().unwrap();
    open_in_account(&server.url(), account, 1).await
}

/// The same on a cluster of three, which keeps everything three times.
#[cfg(feature = "nats")]
pub(crate) async fn open_on_cluster() -> (Arc<dyn Store>, ManualClock) {
    use cim_conformance::nats_server::{ServerSettings, TestCluster};
    use std::sync::OnceLock;

    static CLUSTER: OnceLock<TestCluster> = OnceLock::new();
    let cluster =
        CLUSTER.get_or_init(|| TestCluster::start(ServerSettings::new().accounts(400)).unwrap());
    let account = cluster.next_account().unwrap();
    open_in_account(&cluster.url(), account, 3).await
}

#[cfg(feature = "nats")]
async fn open_in_account(url: &str, account: usize, replicas: u8) -> (Arc<dyn Store>, ManualClock) {
    use cim_domain::persistence::nats::{Credentials, NatsSettings, NatsStore};

    let account = format!("a{account}");
    let settings = NatsSettings::default()
        .with_replicas(replicas)
        .with_credentials(Credentials::UserPassword {
            user: account.clone(),
            password: account,
        });
    let store = NatsStore::open(url, settings).await.unwrap();
    (Arc::new(store), ManualClock::at(NOON))
}
