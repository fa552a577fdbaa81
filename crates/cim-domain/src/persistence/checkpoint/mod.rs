//! Checkpoints: a Merkle tree over the log, whose signed root, kept elsewhere, proves later that
//! history only grew.
//!
//! Each stream's chain proves that the stream is whole up to its head. It can't prove that its end,
//! or the whole stream, was not replaced: somebody has to keep what it was. A [`Checkpoint`] is
//! three lines and a signature, and stands for every event of the log at that time. It is kept by
//! somebody else, and then
//!
//! - [`Checkpoints::verify`] says whether the log still begins with those events, and where not;
//! - [`Checkpoints::prove`] proves to others, who have nothing but the checkpoint, that an event was
//!   there;
//! - [`Checkpoints::consistency`] proves that one checkpoint's log is the beginning of another's.
//!
//! Tree, tiles, notes and proofs are those of C2SP (`tlog-tiles`, `tlog-checkpoint`, `signed-note`,
//! `tlog-proof`), so that software that nobody here wrote can check them.
//!
//! ```
//! use cim_domain::open;
//! use cim_domain::persistence::checkpoint::note::SigningKey;
//! use cim_domain::persistence::checkpoint::{Checkpoint, Checkpoints, EventAddress, Verdict};
//! use cim_domain::store::{Context, EventLogExt, ExpectedVersion, NewEvent, StreamId, Version};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let (store, ctx) = (open("memory:").await?, Context::new());
//! let order = StreamId::new("sales", "order", "7")?;
//! let placed = NewEvent::json("order_placed", &12)?;
//! store.log().append_to(&ctx, &order, ExpectedVersion::NEW, vec![placed]).await?;
//!
//! let key = SigningKey::generate("example.com/sales")?;
//! let checkpoints = Checkpoints::new(store);
//! let kept_elsewhere = checkpoints.create(&ctx, &key, |_| {}).await?.to_string();
//!
//! // Later. What signs is not needed any more.
//! let known = [key.verifier().clone()];
//! let checkpoint = Checkpoint::open(kept_elsewhere.as_bytes(), &known)?;
//! let verification = checkpoints.verify(&ctx, &checkpoint, |_| {}).await?;
//! assert_eq!(verification.verdict, Verdict::Unchanged);
//!
//! let event = EventAddress::Version(order, Version::new(1));
//! let proof = checkpoints.prove(&ctx, &event, &checkpoint).await?;
//! assert!(proof.to_string().starts_with("c2sp.org/tlog-proof@v1\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod extend;
mod history;
pub mod note;
mod proof_text;
mod service;
mod text;
pub mod tiles;
pub mod tree;

pub use error::CheckpointError;
pub use history::{Difference, Found, Verdict, Verification};
pub use proof_text::{ConsistencyProof, InclusionProof, ProofTextError};
pub use service::{Checkpoints, EventAddress, TileFiles};
pub use text::{Checkpoint, CheckpointTextError};

/// How far long work has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Events that are done.
    pub done: u64,
    /// Events that there are to do. Those that are appended meanwhile may come on top.
    pub total: u64,
}
