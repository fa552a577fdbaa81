//! The NATS adapter keeps the whole contract: every case of the published suite, on one server and
//! on a cluster of three. Every case has an account of its own on servers that all cases share.

#![allow(clippy::expect_used, clippy::panic)]

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cim_conformance::nats_server::{ServerSettings, TestCluster, TestServer};
use cim_conformance::{Harness, HarnessError, Setup, TestClock};
use cim_store::{Clock, Store, SystemClock, SystemIds};
use cim_store_nats::{NatsSettings, NatsStore};

/// More accounts than cases take.
const ACCOUNTS: usize = 400;

fn server() -> &'static TestServer {
    static SERVER: OnceLock<TestServer> = OnceLock::new();
    SERVER.get_or_init(|| {
        let settings = ServerSettings::new().accounts(ACCOUNTS);
        TestServer::start(settings).unwrap_or_else(|error| panic!("{error}"))
    })
}

fn cluster() -> &'static TestCluster {
    static CLUSTER: OnceLock<TestCluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let settings = ServerSettings::new().accounts(ACCOUNTS);
        TestCluster::start(settings).unwrap_or_else(|error| panic!("{error}"))
    })
}

struct NatsHarness {
    replicas: u8,
}

#[cim_conformance::async_trait]
impl Harness for NatsHarness {
    /// The URL of an account that nobody else has.
    type Place = String;

    async fn place(&self) -> Result<String, HarnessError> {
        Ok(if self.replicas == 1 {
            server().url_of(server().next_account()?)
        } else {
            cluster().url_of(cluster().next_account()?)
        })
    }

    async fn open(&self, url: &String, setup: Setup) -> Result<Arc<dyn Store>, HarnessError> {
        // The ids of commits are made as they are in production, so that the usual path is
        // tested: one message for one event.
        let settings = NatsSettings::default()
            .with_replicas(self.replicas)
            .with_clock(setup.clock)
            .with_ids(Arc::new(SystemIds));
        Ok(Arc::new(NatsStore::open(url, settings).await?))
    }

    fn persistent(&self) -> bool {
        true
    }

    /// The server goes by its own clock.
    async fn let_time_pass(&self, clock: &TestClock, duration: Duration) {
        SystemClock.sleep(duration).await;
        clock.advance(duration);
    }
}

cim_conformance::store_tests!(nats_r1, NatsHarness { replicas: 1 });
cim_conformance::store_tests!(nats_r3, NatsHarness { replicas: 3 });
