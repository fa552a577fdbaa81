//! Content of any kind, addressed by its hash.
//!
//! An event's block has a format of its own; everything else that is kept under a CID is a
//! [`Block`]: bytes in some codec, and their address. [`TypedContent`] turns values of serde types
//! into blocks and back, and a [`ContentChain`] strings such blocks together so that their order and
//! number can be proven.

mod address;
mod block;
mod chain;
mod typed;

pub use self::address::{HashFunction, UnknownHash, VerifyError, cid_of, verify};
pub use self::block::Block;
pub use self::chain::{
    AppendedContent, CHAIN_FORMAT_VERSION, ContentChain, ContentChainError, ContentChainFault,
    ContentChainFaultKind, ContentChainVerifier, ContentHead, ContentLink, ContentWalk, LinkError,
    Since,
};
pub use self::typed::{ContentCodec, TypedContent, TypedContentError};
