//! Content addresses, canonical event blocks and chains.
//!
//! Every event of the store has a *block*: its canonical DAG-CBOR bytes. The block's sha2-256
//! digest, as a CID, is the event's content address, and each event names the CID of the event
//! before it in its stream. So whoever keeps one CID elsewhere can prove later that the stream's
//! history up to there was not altered, cut, reordered or replaced.
//!
//! - [`EventCid`] is the address of one event's block; [`Cid`] is any content address.
//! - [`EventBlock`] encodes and decodes a block; its format is in `docs/format/event-block.md`.
//! - [`ChainVerifier`] verifies one stream, event by event.
//!
//! What is not an event is content of any kind:
//!
//! - [`Block`] is bytes under their CID, by [`HashFunction`] sha2-256 or BLAKE3; [`verify`] checks
//!   bytes against a CID.
//! - [`dag_cbor`], [`dag_json`] and [`raw`] are the codecs, each with one form for each value, and
//!   limits; a [`CodecRegistry`] finds them by the code in a CID, and takes others.
//! - [`TypedContent`] makes blocks of serde types; a [`ContentChain`] puts them in order, so that the
//!   order can be proven (`docs/format/content-chain.md`).
//! - [`car`] reads and writes CAR files, which carry blocks of any kind from place to place.
//!
//! Nothing here opens files, asks for the time or starts a task.

mod binary_cid;
mod block;
pub mod car;
mod cbor;
mod chain;
mod codec;
mod content;
pub mod dag_cbor;
pub mod dag_json;
mod event_cid;
pub mod raw;
mod varint;

pub use cid::Cid;

pub use crate::binary_cid::CidFault;
pub use crate::block::{
    BLOCK_FORMAT_VERSION, BlockError, BlockErrorKind, EventBlock, MetadataIter, MetadataRef,
    encode_metadata,
};
pub use crate::cbor::CborFault;
pub use crate::chain::{
    ChainFault, ChainFaultKind, ChainHead, ChainLink, ChainVerifier, verify_link,
};
pub use crate::codec::{Codec, CodecFailure, CodecRegistry, DagCbor, DagJson, Raw, RegistryError};
pub use crate::content::{
    AppendedContent, Block, CHAIN_FORMAT_VERSION, ContentChain, ContentChainError,
    ContentChainFault, ContentChainFaultKind, ContentChainVerifier, ContentCodec, ContentHead,
    ContentLink, ContentWalk, HashFunction, LinkError, Since, TypedContent, TypedContentError,
    UnknownHash, VerifyError, cid_of, verify,
};
pub use crate::dag_json::{DAG_JSON_CODE, JsonFault};
pub use crate::event_cid::{CidError, DAG_CBOR_CODE, EventCid, SHA2_256_CODE, cid_of_dag_cbor};
pub use crate::raw::RAW_CODE;
pub use crate::varint::VarintFault;
