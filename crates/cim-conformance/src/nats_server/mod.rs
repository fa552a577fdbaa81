//! Real `nats-server` processes for tests and benchmarks, feature `nats-server`.
//!
//! A [`TestServer`] is one server, a [`TestCluster`] three of them; both listen on free ports of
//! the loopback interface and keep everything in a directory of their own. Their [`Node`]s can be
//! killed, stopped, paused and started again. However the test process ends, also by `SIGKILL`,
//! its servers and their directories go away.
//!
//! ```no_run
//! use cim_conformance::nats_server::{ServerError, ServerSettings, TestCluster, TestServer};
//!
//! // One server for many tests: each takes an account of its own, so they share nothing.
//! let server = TestServer::start(ServerSettings::new().accounts(50))?;
//! let url = server.url_of(server.next_account()?); // nats://a0:a0@127.0.0.1:…
//!
//! // Three servers, and the death of a leader.
//! let cluster = TestCluster::start(ServerSettings::new())?;
//! if let Some(leader) = cluster.leader_of("$G", "EVENTS") {
//!     cluster.node(leader).kill()?;
//!     cluster.wait_healthy()?; // the other two
//!     cluster.node(leader).start()?;
//!     cluster.wait_healthy()?; // all three
//! }
//! # Ok::<(), ServerError>(())
//! ```
//!
//! Calls block. In an asynchronous test that needs its only thread meanwhile, make them through
//! `tokio::task::spawn_blocking`.

mod cluster;
mod error;
mod guardian;
mod monitor;
mod node;
mod ports;
mod program;
mod settings;
mod waiting;

pub use cluster::{TestCluster, TestServer};
pub use error::ServerError;
pub use node::Node;
pub use program::{MINIMUM_VERSION, ServerProgram};
pub use settings::{ServerSettings, Tls};
