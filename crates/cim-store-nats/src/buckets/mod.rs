//! Buckets on NATS KV: the port [`Bucket`](cim_store::Bucket) on one JetStream stream for each,
//! which other clients can read and write (ADR-8, ADR-43; `docs/format/nats-kv.md`).
//!
//! What is read to decide is read through the leader. Every change is a message that is stored only
//! if the key's last message is still the one that was read, so a change that was sent twice is
//! stored once, and of two writers one wins.

mod catalog;
mod change;
mod message;
mod moment;
mod port;
mod reader;
mod watch;

pub(crate) use catalog::{list, open};
