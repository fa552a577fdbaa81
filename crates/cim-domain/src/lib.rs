//! Domain-driven design with event sourcing: aggregates, events, commands and their repositories.
//!
//! An aggregate is a plain type that decides, from its own past, what a command leads to. A
//! [`Repository`] stores what it decides, all or nothing, one winner per version, in memory, in a
//! directory, or wherever else the URL of the store says.
//!
//! ```
//! use std::collections::BTreeSet;
//! use cim_domain::prelude::*;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
//! struct SeatSold { seat: u32 }
//!
//! #[derive(Clone)]
//! struct SellSeat { seat: u32 }
//!
//! #[derive(Debug, thiserror::Error)]
//! #[error("seat {seat} is taken")]
//! struct Taken { seat: u32 }
//!
//! #[derive(Default)]
//! struct Show { sold: BTreeSet<u32> }
//!
//! impl Aggregate for Show {
//!     const CONTEXT: &'static str = "theatre";
//!     const TYPE: &'static str = "show";
//!     type Id = String;
//!     type Event = SeatSold;
//!     type Command = SellSeat;
//!     type Error = Taken;
//!
//!     fn apply(&mut self, SeatSold { seat }: &SeatSold) {
//!         self.sold.insert(*seat);
//!     }
//!
//!     fn handle(&self, SellSeat { seat }: SellSeat) -> Result<Vec<SeatSold>, Taken> {
//!         if self.sold.contains(&seat) {
//!             return Err(Taken { seat });
//!         }
//!         Ok(vec![SeatSold { seat }])
//!     }
//! }
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let store = open("memory:").await?; // or "embedded:./data": a directory, no server
//!     let shows = Repository::<Show>::new(store.log());
//!     let (ctx, hamlet) = (Context::new(), "hamlet".to_owned());
//!
//!     // Two clerks sell the same seat at the same moment. One of them succeeds.
//!     let sell = || shows.execute(&ctx, &hamlet, SellSeat { seat: 12 });
//!     let (one, other) = tokio::join!(sell(), sell());
//!     assert!(one.is_ok() != other.is_ok());
//!
//!     let show = shows.load(&ctx, &hamlet).await?;
//!     assert_eq!((show.version, show.state.sold.len()), (Version::new(1), 1));
//!
//!     // Decisions are pure: their tests need no store.
//!     given::<Show>([SeatSold { seat: 12 }])
//!         .when(SellSeat { seat: 12 })
//!         .then_error(|taken| taken.seat == 12);
//!     Ok(())
//! }
//! ```
//!
//! # Where things are
//!
//! | module | what is in it |
//! |---|---|
//! | [`event`] | [`DomainEvent`] and its derive: names, schema versions, upcasts, codecs |
//! | [`aggregate`] | [`Aggregate`]: pure and synchronous |
//! | [`entity`] | [`Entity`]: what has an id |
//! | [`persistence`] | [`Repository`]: `execute`, `save`, `load`, `history`; event stores; repositories of states; content; proof of history |
//! | [`schema`] | shapes of what is stored, and the file that locks them |
//! | [`testing`] | `given(…).when(…).then(…)`; the conformance check for your own aggregates; the lock of their shapes |
//! | [`open`](mod@open) | a store by its URL; the only place that names adapters |
//! | [`store`] | the ports and what crosses them |

pub mod aggregate;
pub mod entity;
pub mod event;
pub mod open;
pub mod persistence;
pub mod prelude;
pub mod schema;
pub mod testing;

pub use aggregate::Aggregate;
pub use entity::Entity;
pub use event::{
    Cbor, Codec, DecodeError, DomainEvent, EncodeError, EventVersion, Json, UpcastError,
};
pub use open::{NatsOptions, OpenError, OpenOptions, inspect, inspect_with, open, open_with};
pub use persistence::{
    AggregateMetadata, Executed, History, LoadOptions, Loaded, Recorded, Repository,
    RepositoryError, RetryPolicy, SaveOptions, Saved,
};

/// The ports that every store keeps, and what crosses them.
pub use cim_store as store;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/aggregates.md")]
mod guide_to_aggregates {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/working_with_aggregates.md")]
mod guide_to_working_with_aggregates {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/reading.md")]
mod guide_to_reading {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/shared_subscriptions.md")]
mod guide_to_shared_subscriptions {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/buckets.md")]
mod guide_to_buckets {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/export_and_import.md")]
mod guide_to_export_and_import {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/checkpoints.md")]
mod guide_to_checkpoints {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/content.md")]
mod guide_to_content {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/repositories.md")]
mod guide_to_repositories {}

// It keeps its position in a directory.
#[cfg(all(doctest, feature = "embedded"))]
#[doc = include_str!("../../../docs/guide/policies.md")]
mod guide_to_policies {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/schema_evolution.md")]
mod guide_to_schema_evolution {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/snapshots.md")]
mod guide_to_snapshots {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/testing.md")]
mod guide_to_testing {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/conversations.md")]
mod guide_to_conversations {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/schema_lock.md")]
mod guide_to_schema_lock {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/verification.md")]
mod guide_to_verification {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/nats.md")]
mod guide_to_nats {}

#[cfg(all(doctest, feature = "nats"))]
#[doc = include_str!("../../../docs/guide/nats_repositories.md")]
mod guide_to_repositories_on_nats {}

/// The README's code compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
