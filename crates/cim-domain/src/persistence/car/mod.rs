//! Whole histories as CAR files: to take them to another store, to keep them, to hand them to
//! somebody who checks them with tools of their own.
//!
//! A CAR (<https://ipld.io/specs/transport/car/carv1/>) is the file format of the IPLD world:
//! blocks under their content addresses. A file has every event's block in the order of the log, then
//! pages that name them in that order, then the heads of all streams, and last a root that names both
//! and the root of a Merkle tree over all events. So the root's CID alone proves every byte of the
//! history, and its order. `docs/format/car.md` says every byte.
//!
//! [`export()`] writes one, [`import()`] stores it elsewhere with the same CIDs, versions, commits and
//! order, and [`check`] only reads it. All three see the ports and never an adapter, keep little in
//! memory (windows of events, a head for each stream; whoever reads also each commit's id), and do
//! what blocks on threads of their own.
//!
//! ```
//! use std::io::Cursor;
//! use std::ops::ControlFlow;
//! use cim_domain::open;
//! use cim_domain::persistence::car::{ImportOptions, export, import};
//! use cim_domain::store::{Context, EventLogExt, ExpectedVersion, NewEvent, StreamId};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let (here, there) = (open("memory:").await?, open("memory:").await?);
//! let ctx = Context::new();
//! let order = StreamId::new("sales", "order", "7")?;
//! let placed = NewEvent::json("order_placed", &12)?;
//! here.log().append_to(&ctx, &order, ExpectedVersion::NEW, vec![placed]).await?;
//!
//! let (exported, file) = export(&*here.log(), &ctx, None, Cursor::new(Vec::new()), |_| {}).await?;
//! let file = Cursor::new(file.into_inner());
//! let options = ImportOptions { root: Some(exported.root) };
//! let imported = import(&*there.log(), &ctx, file, options, |_| ControlFlow::Continue(())).await?;
//! assert_eq!(imported.file, exported);
//! assert_eq!(there.log().read_all(&ctx, &order).await?[0].cid, here.log().read_all(&ctx, &order).await?[0].cid);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

mod commits;
mod error;
mod export;
mod file;
mod import;
mod layout;
mod outline;
mod window;

pub use commits::SplitCommit;
pub use error::{ExportError, HistoryFileError, ImportError, LayoutError};
pub use export::{ExportProgress, export};
pub use file::{HistoryFile, announced_root};
pub use import::{ImportOptions, ImportProgress, Imported, check, check_beginning, import};
