//! The NATS adapter: the ports of [`cim_store`] on NATS JetStream, on one server or a cluster.
//!
//! ```no_run
//! use cim_store::*;
//! use cim_store_nats::{NatsSettings, NatsStore};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let store = NatsStore::open("nats://localhost:4222", NatsSettings::default()).await?;
//! let order = StreamId::new("sales", "order", "0193")?;
//! let placed = NewEvent::json("order_placed", &serde_json::json!({ "total": 12 }))?;
//! store.log().append_to(&Context::new(), &order, ExpectedVersion::NEW, vec![placed]).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it needs
//! nats-server [2.14.6](ServerVersion::OLDEST) or newer with JetStream,
//! [2.15.1](ServerVersion::RECOMMENDED) recommended. For the contract's whole limits
//! `max_payload: 4MB`; with the default of 1 MB payloads are limited to 966 656 bytes.
//!
//! # How it works
//! - Every event is a message with a subject of its own, so a stream is loaded by its subjects and
//!   never by a scan. A server keeps about 130 bytes of memory for each.
//! - An append expects the places of its events to be empty. The server checks that for each
//!   message, and for all messages of a commit at once.
//! - What is read to decide is read from the leader. Reads that any replica may answer know what
//!   must come.
//!
//! # What it costs
//! A commit of one event is one message. One of more events is an atomic batch, which a single
//! server with files stages with several flushes: about 550 of them a second, whatever the
//! concurrency. A cluster stages in memory and does thousands.
//!
//! # What it can't do
//! Give up old events ([`EventLog::truncate`](cim_store::EventLog::truncate)): its capabilities say
//! so.

mod api;
mod buckets;
mod budget;
mod config;
mod connection;
mod doubt;
mod error;
mod events;
mod follow;
mod health;
mod requests;
mod server;
mod session;
mod settings;
mod store;
mod subjects;
mod upkeep;
mod wire;

pub use server::ServerVersion;
pub use settings::{Credentials, NatsSettings};
pub use store::NatsStore;
