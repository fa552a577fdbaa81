//! Proof that a log holds the history that was stored.
//!
//! A [`Verifier`] examines a log without trusting it: every event's bytes must hash to the CID that
//! they are filed under, every event must follow the one before it in its stream, positions, times
//! and commits must be in order, and every stream must end where its head says. It names the first
//! fault of each stream by version and kind, and goes on.
//!
//! What it verified it returns as [`VerifiedHeads`]. Kept by the verifier and not in the store, they
//! do two things the next time: only what is new is read, and a history that was cut or replaced
//! since then shows, which no look at the store alone can find.
//!
//! ```
//! use cim_domain::persistence::verification::Verifier;
//! use cim_domain::store::{Context, ExpectedVersion, NewEvent, Store, StreamId, EventLogExt};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let store = cim_domain::open("memory:").await?;
//! let (log, ctx) = (store.log(), Context::new());
//! let order = StreamId::new("sales", "order", "7")?;
//! let placed = NewEvent::json("order_placed", &12)?;
//! log.append_to(&ctx, &order, ExpectedVersion::NEW, vec![placed.clone()]).await?;
//!
//! let first = Verifier::new(log.clone()).verify(&ctx, |_| ()).await?;
//! assert!(first.is_sound());
//! assert_eq!((first.streams, first.events), (1, 1));
//!
//! log.append_to(&ctx, &order, ExpectedVersion::Exists, vec![placed]).await?;
//! let second = Verifier::new(log).since(first.heads).verify(&ctx, |_| ()).await?;
//! assert_eq!((second.events, second.events_before), (1, 1)); // read now, and verified before
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod chains;
mod ends;
mod fault;
mod hashing;
mod heads;
mod log_order;
mod streams;
mod task;
mod verifier;

pub use fault::{VerificationFault, VerificationFaultKind};
pub use heads::{HeadsFileError, VerifiedHead, VerifiedHeads};
pub use verifier::{Verification, VerificationProgress, VerificationUnit, Verifier};
