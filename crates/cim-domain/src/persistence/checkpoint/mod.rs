//! Checkpoints: a Merkle tree over the log, whose signed root, kept elsewhere, proves later that
//! history only grew.

pub mod tree;
