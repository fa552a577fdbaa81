//! Histories: what concurrent clients asked of a log and were told, and whether the log that they
//! left can be the outcome of it.
//!
//! A [`Recorder`] stands between the clients and the log and writes down every call and every
//! answer, in the order they happened. [`check()`] compares that [`History`] with the [`FinalState`]
//! of the log. Every stream is one register whose versions are revealed by the answers, so its
//! order is known and nothing has to be searched: the check takes time O(n log n).
//!
//! ```
//! # use std::sync::Arc;
//! # use cim_conformance::history::{FinalState, Recorder, check};
//! # use cim_store::{memory::MemoryStore, *};
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let log = MemoryStore::new().log();
//! let recorder = Recorder::new(log.clone(), Arc::new(SystemIds));
//! let client = recorder.client();
//!
//! let ctx = Context::new();
//! let order = StreamId::new("sales", "order", "1")?;
//! client.append_to(&ctx, &order, ExpectedVersion::NEW, vec![NewEvent::json("placed", &1)?]).await?;
//!
//! let report = check(&recorder.history(), &FinalState::read(&*log, &ctx).await?);
//! assert_eq!(report.unwrap().acknowledged, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

mod check;
mod final_state;
mod operation;
mod recorder;
mod sighting;
mod timeline;
mod violation;

pub use check::{Report, check};
pub use final_state::FinalState;
pub use operation::{
    AppendCall, Call, CheckCall, History, HistoryError, Operation, Outcome, Seen, WriteCall,
    Written,
};
pub use recorder::Recorder;
pub use violation::{PhantomOrigin, Violation};
