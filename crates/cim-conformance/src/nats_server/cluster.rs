//! One server, or three as a cluster: started, asked for their health, and gone at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::guardian::Guardian;
use super::node::{Node, Parts};
use super::settings::{Place, account_name};
use super::waiting::Deadline;
use super::{ServerError, ServerProgram, ServerSettings, ports};

/// Between looking for free ports and listening on them somebody else can take one.
const ATTEMPTS: usize = 10;

/// One real server. When it is dropped, the process and its directory go.
#[derive(Debug)]
pub struct TestServer {
    fleet: Fleet,
}

/// Three real servers that replicate to each other. When it is dropped, the processes and their
/// directories go.
#[derive(Debug)]
pub struct TestCluster {
    fleet: Fleet,
}

impl TestServer {
    /// Starts a server and waits until it is healthy.
    ///
    /// # Errors
    /// Every [`ServerError`]; each says what to do.
    pub fn start(settings: ServerSettings) -> Result<Self, ServerError> {
        let fleet = Fleet::start(settings, 1)?;
        Ok(Self { fleet })
    }

    /// The process: to kill it, to pause it, to start it again.
    pub fn node(&self) -> &Node {
        &self.fleet.nodes[0]
    }

    /// Where clients connect, without credentials: `nats://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.node().url()
    }

    /// The same for the user of an account: `nats://a7:a7@127.0.0.1:PORT`.
    pub fn url_of(&self, account: usize) -> String {
        self.fleet.url_of(account)
    }

    /// The number of an account that nobody was given yet.
    ///
    /// # Errors
    /// [`ServerError::NoAccountLeft`].
    pub fn next_account(&self) -> Result<usize, ServerError> {
        self.fleet.next_account()
    }

    /// Waits until the server says that it is healthy, streams included.
    ///
    /// # Errors
    /// [`ServerError::NotReady`] with what is missing, [`ServerError::Ended`],
    /// [`ServerError::NotRunning`] if it is killed or paused.
    pub fn wait_healthy(&self) -> Result<(), ServerError> {
        self.fleet.wait_healthy()
    }
}

impl TestCluster {
    /// Starts three servers and waits until all are healthy and agree on a leader.
    ///
    /// # Errors
    /// Every [`ServerError`]; each says what to do.
    pub fn start(settings: ServerSettings) -> Result<Self, ServerError> {
        let fleet = Fleet::start(settings, 3)?;
        Ok(Self { fleet })
    }

    /// One of the three: `0`, `1` or `2`.
    ///
    /// # Panics
    /// If there is no such server.
    pub fn node(&self, number: usize) -> &Node {
        &self.fleet.nodes[number]
    }

    /// All three.
    pub fn nodes(&self) -> &[Node] {
        &self.fleet.nodes
    }

    /// All three for one client, separated by commas, without credentials.
    pub fn url(&self) -> String {
        self.urls().join(",")
    }

    /// One URL for each server, without credentials.
    pub fn urls(&self) -> Vec<String> {
        self.fleet.nodes.iter().map(Node::url).collect()
    }

    /// All three for the user of an account, separated by commas:
    /// `nats://a7:a7@127.0.0.1:PORT,nats://a7:a7@…`.
    pub fn url_of(&self, account: usize) -> String {
        self.fleet.url_of(account)
    }

    /// The number of an account that nobody was given yet.
    ///
    /// # Errors
    /// [`ServerError::NoAccountLeft`].
    pub fn next_account(&self) -> Result<usize, ServerError> {
        self.fleet.next_account()
    }

    /// Waits until all servers that run are healthy, which includes their copies of the streams,
    /// and agree on a leader of the cluster that has heard from each of them.
    ///
    /// # Errors
    /// [`ServerError::NotReady`] with what is missing, [`ServerError::Ended`],
    /// [`ServerError::NotRunning`] if none runs, [`ServerError::NoMajority`] if one runs.
    pub fn wait_healthy(&self) -> Result<(), ServerError> {
        self.fleet.wait_healthy()
    }

    /// The number of the server that leads the cluster, if one says so of itself.
    pub fn meta_leader(&self) -> Option<usize> {
        self.fleet.meta_leader()
    }

    /// The number of the server that leads a stream, if one says so of itself. Without accounts
    /// the account is `$G`.
    pub fn leader_of(&self, account: &str, stream: &str) -> Option<usize> {
        let path = format!("/jsz?acc={account}&streams=true");
        self.fleet.leader(&path, |jsz| {
            let mut accounts = list(&jsz["account_details"]);
            let account = accounts.find(|details| details["name"] == account)?;
            let found =
                list(&account["stream_detail"]).find(|details| details["name"] == stream)?;
            found["cluster"]["leader"].as_str()
        })
    }
}

/// The servers that are started together.
#[derive(Debug)]
struct Fleet {
    nodes: Vec<Node>,
    settings: ServerSettings,
    next_account: AtomicUsize,
}

impl Fleet {
    fn start(settings: ServerSettings, count: usize) -> Result<Self, ServerError> {
        settings.check()?;
        let program = match &settings.program {
            Some(program) => program.clone(),
            None => ServerProgram::find()?,
        };
        let mut attempt = 1;
        loop {
            let fleet = Self {
                nodes: nodes(&settings, &program, count)?,
                settings: settings.clone(),
                next_account: AtomicUsize::new(0),
            };
            match fleet.launch() {
                Ok(()) => return Ok(fleet),
                Err(ServerError::Ended { .. }) if attempt < ATTEMPTS && fleet.missed_a_port() => {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn launch(&self) -> Result<(), ServerError> {
        self.nodes.iter().try_for_each(Node::launch)?;
        self.wait_healthy()
    }

    fn missed_a_port(&self) -> bool {
        self.nodes.iter().any(|node| node.port_was_taken(0))
    }

    fn url_of(&self, account: usize) -> String {
        let name = account_name(account);
        let urls = self.nodes.iter();
        let urls = urls.map(|node| node.url_with(&format!("{name}:{name}@")));
        urls.collect::<Vec<_>>().join(",")
    }

    fn next_account(&self) -> Result<usize, ServerError> {
        let accounts = self.settings.account_count();
        let account = self.next_account.fetch_add(1, Ordering::Relaxed);
        if account < accounts {
            Ok(account)
        } else {
            Err(ServerError::NoAccountLeft { accounts })
        }
    }

    fn wait_healthy(&self) -> Result<(), ServerError> {
        let deadline = Deadline::after(self.settings.ready_within);
        let mut missing = None;
        let outcome = deadline.poll(|| match self.health() {
            Ok(()) => Some(Ok(())),
            Err(Missing::ForNow(node, why)) => {
                missing = Some((node, why));
                None
            }
            Err(Missing::ForGood(error)) => Some(Err(error)),
        });
        outcome.unwrap_or_else(|| {
            let (node, why) = missing.unwrap_or_default();
            Err(ServerError::NotReady {
                waited: deadline.allowed,
                why,
                log: self.nodes[node].end_of_log(),
            })
        })
    }

    fn health(&self) -> Result<(), Missing> {
        let mut running = Vec::new();
        for (number, node) in self.nodes.iter().enumerate() {
            node.check_alive().map_err(Missing::ForGood)?;
            if node.is_running() {
                running.push(number);
            }
        }
        let Some(&first) = running.first() else {
            return Err(Missing::ForGood(ServerError::NotRunning {
                node: self.nodes[0].name().to_owned(),
            }));
        };
        if running.len() * 2 <= self.nodes.len() {
            return Err(Missing::ForGood(ServerError::NoMajority {
                running: running.len(),
                servers: self.nodes.len(),
            }));
        }
        for &number in &running {
            let node = &self.nodes[number];
            let not_yet = |why: String| Missing::ForNow(number, why);
            node.monitor("/healthz")
                .map_err(|error| not_yet(error.to_string()))?;
            if !node.answers() {
                return Err(not_yet(format!("{} does not answer clients", node.name())));
            }
        }
        if self.nodes.len() == 1 || !self.settings.has_jetstream() {
            return Ok(());
        }
        self.agreement(first, &running)
    }

    /// Whether the running servers have one leader, and it has heard from all of them.
    fn agreement(&self, first: usize, running: &[usize]) -> Result<(), Missing> {
        let views = running
            .iter()
            .map(|&number| {
                let jsz = self.nodes[number].monitor("/jsz");
                jsz.map_err(|error| Missing::ForNow(number, error.to_string()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let named = |view: &Value| view["meta_cluster"]["leader"].as_str().map(String::from);
        let leader = named(&views[0]);
        let place = running
            .iter()
            .position(|&number| leader.as_deref() == Some(self.nodes[number].name()));
        let Some(place) = place.filter(|_| views.iter().all(|view| named(view) == leader)) else {
            let why = "the servers do not agree on a leader".to_owned();
            return Err(Missing::ForNow(first, why));
        };
        for &number in running {
            let name = self.nodes[number].name();
            let mut replicas = list(&views[place]["meta_cluster"]["replicas"]);
            let heard = replicas.any(|replica| {
                replica["name"] == name && replica["current"] == true && replica["offline"] != true
            });
            if number != running[place] && !heard {
                let why = format!("the leader has not heard from {name}");
                return Err(Missing::ForNow(running[place], why));
            }
        }
        Ok(())
    }

    fn meta_leader(&self) -> Option<usize> {
        self.leader("/jsz", |jsz| jsz["meta_cluster"]["leader"].as_str())
    }

    /// The server that names itself. The others can be behind: they still name one that is dead.
    fn leader(&self, path: &str, named: impl Fn(&Value) -> Option<&str>) -> Option<usize> {
        self.nodes.iter().position(|node| {
            node.is_running()
                && node
                    .monitor(path)
                    .is_ok_and(|answer| named(&answer) == Some(node.name()))
        })
    }
}

/// Why a server, or the cluster, is not healthy.
enum Missing {
    /// It can still come; the number of the node whose log may say more.
    ForNow(usize, String),
    ForGood(ServerError),
}

/// The servers with their directories, none of which runs.
fn nodes(
    settings: &ServerSettings,
    program: &ServerProgram,
    count: usize,
) -> Result<Vec<Node>, ServerError> {
    let guardian = Arc::new(Guardian::of_directory_in(&settings.parent)?);
    let route_ports = (0..count)
        .map(|_| ports::free_port())
        .collect::<Result<Vec<_>, _>>()?;
    let node = |number: usize| {
        let parts = Parts {
            name: format!("n{number}"),
            program: program.path().to_path_buf(),
            scheme: settings.scheme(),
            client_port: ports::free_port()?,
            monitor_port: ports::free_port()?,
            ready_within: settings.ready_within,
            guardian: guardian.clone(),
        };
        let (name, client_port, monitor_port) =
            (parts.name.clone(), parts.client_port, parts.monitor_port);
        Node::new(parts, |store| {
            settings.config(&Place {
                name: &name,
                client_port,
                monitor_port,
                store,
                routes: (count > 1).then(|| (route_ports[number], &route_ports[..])),
            })
        })
    };
    (0..count).map(node).collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
