//! Checkpoints: a Merkle tree over the log, whose signed root, kept elsewhere, proves later that
//! history only grew.

pub mod note;
mod proof_text;
mod text;
pub mod tree;

pub use proof_text::{ConsistencyProof, InclusionProof, ProofTextError};
pub use text::{Checkpoint, CheckpointTextError};
