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
//!
//! Before there is a store to import into, a file can be asked whether that makes sense:
//!
//! ```
//! # use std::io::Cursor;
//! # use cim_domain::open;
//! # use cim_domain::persistence::car::export;
//! # use cim_domain::store::{Append, Context, ExpectedVersion, NewEvent, StreamId, StreamPattern};
//! use cim_domain::persistence::car::{ImportOptions, announced_root, check, check_beginning};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! # let (store, ctx) = (open("memory:").await?, Context::new());
//! # let placed = NewEvent::json("order_placed", &12)?;
//! # let commit = Append::new()
//! #     .write(StreamId::new("sales", "order", "7")?, ExpectedVersion::NEW, vec![placed.clone()])
//! #     .write(StreamId::new("sales", "cart", "7")?, ExpectedVersion::NEW, vec![placed]);
//! # store.log().append(&ctx, commit).await?;
//! # let orders: StreamPattern = "sales.order.*".parse()?;
//! # let (exported, all) = export(&*store.log(), &ctx, None, Cursor::new(Vec::new()), |_| {}).await?;
//! # let (_, part) = export(&*store.log(), &ctx, Some(&orders), Cursor::new(Vec::new()), |_| {}).await?;
//! # let (all, part) = (all.into_inner(), part.into_inner());
//! // What the file says of itself, from its first bytes.
//! assert_eq!(announced_root(&all[..])?, exported.root);
//! // And whether that is true, as far as its beginning shows it.
//! check_beginning(&all[..], ImportOptions { root: Some(exported.root) })?;
//!
//! // A file of orders alone, where one commit wrote to an order and to a cart: it is sound, but no
//! // store can take half of a commit.
//! let error = check_beginning(&part[..], ImportOptions::default()).unwrap_err();
//! assert!(error.is_not_importable());
//! let file = check(Cursor::new(part), ImportOptions::default(), |_bytes| {}).await?;
//! assert_eq!(file.split_commits, 1);
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
