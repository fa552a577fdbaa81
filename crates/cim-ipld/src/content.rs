//! Content of any kind, addressed by its hash.
//!
//! An event's block has a format of its own; everything else that is kept under a CID is a
//! [`Block`]: bytes in some codec, and their address. This module says how addresses are made and
//! checked.

mod address;
mod block;

pub use self::address::{HashFunction, UnknownHash, VerifyError, cid_of, verify};
pub use self::block::Block;
