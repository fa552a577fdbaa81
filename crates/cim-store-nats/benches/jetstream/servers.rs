//! The servers that everything is measured against, and two connections to them: the adapter's, and
//! one of `async-nats` by itself.

use std::path::Path;
use std::sync::Arc;

use async_nats::{ConnectOptions, jetstream};
use cim_conformance::nats_server::{ServerSettings, TestCluster, TestServer};
use cim_store::{EventLog, Store};
use cim_store_nats::{Credentials, NatsSettings, NatsStore};

use crate::measure::Result;
use crate::options::Options;

/// More accounts than measurements take.
const ACCOUNTS: usize = 20;

/// One server, or a cluster of three.
pub(crate) struct Servers {
    fleet: Fleet,
    version: String,
    sync_always: bool,
}

enum Fleet {
    One(TestServer),
    Three(TestCluster),
}

/// Both sides of a measurement. They share an account, so also a JetStream stream, and talk to the
/// same server.
pub(crate) struct Sides {
    pub(crate) store: NatsStore,
    pub(crate) log: Arc<dyn EventLog>,
    /// The server, and the user there, whose name is also the password.
    url: String,
    account: String,
    pub(crate) client: async_nats::Client,
    pub(crate) jetstream: jetstream::Context,
}

impl Servers {
    pub(crate) fn start(replicas: u8, directory: &Path, options: &Options) -> Result<Self> {
        let settings = ServerSettings::new()
            .accounts(ACCOUNTS)
            .sync_always(options.sync_always)
            .directory_in(directory);
        let fleet = match replicas {
            1 => Fleet::One(TestServer::start(settings)?),
            _ => Fleet::Three(TestCluster::start(settings)?),
        };
        let server = match &fleet {
            Fleet::One(server) => server.node(),
            Fleet::Three(cluster) => cluster.node(0),
        };
        let about = server.monitor("/varz")?;
        let version = about["version"].as_str().unwrap_or("unknown").to_owned();
        Ok(Self {
            fleet,
            version,
            sync_always: options.sync_always,
        })
    }

    pub(crate) fn replicas(&self) -> u8 {
        match &self.fleet {
            Fleet::One(_) => 1,
            Fleet::Three(_) => 3,
        }
    }

    pub(crate) fn describe(&self) -> String {
        let servers = match &self.fleet {
            Fleet::One(_) => "One server (R1)",
            Fleet::Three(_) => "A cluster of three servers on this machine (R3)",
        };
        let flush = if self.sync_always {
            "flushes before it acknowledges"
        } else {
            "flushes every two minutes, as by default"
        };
        format!("{servers}, nats-server {}, {flush}", self.version)
    }

    /// Connects both sides in an account of their own, to the server that leads the log.
    pub(crate) async fn connect(&self, heads: usize) -> Result<Sides> {
        let settings = NatsSettings::default()
            .with_replicas(self.replicas())
            .with_head_cache(heads);
        let (url, account) = match &self.fleet {
            Fleet::One(server) => {
                let account = server.next_account()?;
                (server.url(), format!("a{account}"))
            }
            Fleet::Three(cluster) => {
                let account = cluster.next_account()?;
                let made = NatsStore::open(&cluster.url_of(account), settings.clone()).await?;
                made.close().await?;
                cluster.wait_healthy()?;
                let account = format!("a{account}");
                let leader = cluster.leader_of(&account, NatsSettings::STREAM);
                let leader = leader.ok_or("the log has no leader")?;
                (cluster.node(leader).url(), account)
            }
        };
        Self::connect_to(url, account, settings).await
    }

    async fn connect_to(url: String, account: String, settings: NatsSettings) -> Result<Sides> {
        let credentials = Credentials::UserPassword {
            user: account.clone(),
            password: account.clone(),
        };
        let store = NatsStore::open(&url, settings.with_credentials(credentials)).await?;
        let options = ConnectOptions::with_user_and_password(account.clone(), account.clone());
        let client = options.connect(&url).await?;
        Ok(Sides {
            log: store.log(),
            store,
            url,
            account,
            jetstream: jetstream::new(client.clone()),
            client,
        })
    }

    /// Our log, over so many connections.
    pub(crate) async fn logs(&self, sides: &Sides, count: usize) -> Result<Vec<Arc<dyn EventLog>>> {
        let mut logs = vec![sides.log.clone()];
        while logs.len() < count {
            let credentials = Credentials::UserPassword {
                user: sides.account.clone(),
                password: sides.account.clone(),
            };
            let settings = NatsSettings::default()
                .with_head_cache(400_000)
                .with_credentials(credentials);
            logs.push(NatsStore::open(&sides.url, settings).await?.log());
        }
        Ok(logs)
    }

    /// The same connections made anew, with nothing remembered.
    pub(crate) async fn again(&self, sides: Sides) -> Result<Sides> {
        sides.store.close().await?;
        let settings = NatsSettings::default().with_replicas(self.replicas());
        Self::connect_to(sides.url, sides.account, settings).await
    }
}
