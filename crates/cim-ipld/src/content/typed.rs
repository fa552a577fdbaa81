//! Content of serde types.

use ipld_core::serde::{from_ipld, to_ipld};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::address::{HashFunction, VerifyError};
use super::block::Block;
use crate::codec::{Codec, CodecFailure, DagCbor, DagJson, Raw};
use crate::dag_cbor::Ipld;
use crate::{dag_cbor, dag_json};

/// The codec that a type's content is written in.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum ContentCodec {
    /// dag-cbor: compact, and what links are followed through fastest.
    DagCbor,
    /// dag-json: for content that people read.
    DagJson,
    /// The bytes themselves, for types that serde sees as one byte string.
    Raw,
    /// A codec of somebody else's. The value goes to it through IPLD's data model.
    Other(&'static dyn Codec),
}

impl ContentCodec {
    /// The codec itself.
    #[must_use]
    pub fn codec(self) -> &'static dyn Codec {
        match self {
            Self::DagCbor => &DagCbor,
            Self::DagJson => &DagJson,
            Self::Raw => &Raw,
            Self::Other(codec) => codec,
        }
    }

    /// The codec's multicodec code.
    #[must_use]
    pub fn code(self) -> u64 {
        self.codec().code()
    }
}

/// A type whose values are content: they become blocks, and are read from them.
///
/// A block holds the value in the codec and nothing around it, so its CID is the one that any tool
/// computes for that value. Therefore [`NAME`](TypedContent::NAME) is *not* in the block: two types
/// that serde writes alike share blocks. The name is for what stands beside a block: a store keeps it
/// in the content's metadata, a [`ContentChain`](super::ContentChain) writes it into every link, and
/// errors say it.
///
/// ```
/// use cim_ipld::{HashFunction, TypedContent};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct Invoice {
///     number: u64,
/// }
///
/// impl TypedContent for Invoice {
///     const NAME: &'static str = "billing.invoice";
/// }
///
/// let block = Invoice { number: 7 }.to_block(HashFunction::Sha2_256)?;
/// assert_eq!(block.bytes, b"\xa1\x66number\x07"[..]);
/// assert_eq!(Invoice::from_block(&block)?, Invoice { number: 7 });
///
/// // The bytes alone, where something else keeps their address.
/// let bytes = Invoice { number: 7 }.to_bytes()?;
/// assert_eq!(bytes, block.bytes);
/// assert_eq!(Invoice::from_bytes(&bytes)?, Invoice { number: 7 });
/// assert_eq!(Invoice::CODEC.code(), block.cid.codec());
/// # Ok::<(), cim_ipld::TypedContentError>(())
/// ```
pub trait TypedContent: Serialize + DeserializeOwned {
    /// What this type of content is called where it is listed. Choose it once, as a reader of years
    /// later will look for it; a value that is written differently deserves another name.
    const NAME: &'static str;

    /// The codec of its blocks; dag-cbor if nothing else is said.
    const CODEC: ContentCodec = ContentCodec::DagCbor;

    /// The value in its codec.
    ///
    /// # Errors
    /// [`TypedContentError::Encode`] if the codec cannot express it, or not within its limits.
    fn to_bytes(&self) -> Result<Vec<u8>, TypedContentError> {
        encode(self, Self::CODEC).map_err(|source| TypedContentError::Encode {
            name: Self::NAME,
            source,
        })
    }

    /// A value from its codec's bytes.
    ///
    /// # Errors
    /// [`TypedContentError::Decode`] if the bytes are something else.
    fn from_bytes(bytes: &[u8]) -> Result<Self, TypedContentError> {
        decode(bytes, Self::CODEC).map_err(|source| TypedContentError::Decode {
            name: Self::NAME,
            source,
        })
    }

    /// The block of the value.
    ///
    /// # Errors
    /// [`TypedContentError::Encode`], as [`to_bytes`](TypedContent::to_bytes).
    fn to_block(&self, hash: HashFunction) -> Result<Block, TypedContentError> {
        Ok(Block::new(Self::CODEC.code(), hash, self.to_bytes()?))
    }

    /// The value of a block, whose bytes are checked against its CID.
    ///
    /// # Errors
    /// [`TypedContentError::WrongCodec`], [`TypedContentError::Unverified`] or
    /// [`TypedContentError::Decode`].
    fn from_block(block: &Block) -> Result<Self, TypedContentError> {
        let (expected, found) = (Self::CODEC.code(), block.cid.codec());
        if found != expected {
            return Err(TypedContentError::WrongCodec {
                name: Self::NAME,
                expected,
                found,
            });
        }
        block
            .verify()
            .map_err(|source| TypedContentError::Unverified {
                name: Self::NAME,
                source,
            })?;
        Self::from_bytes(&block.bytes)
    }
}

fn encode<T: Serialize + ?Sized>(value: &T, codec: ContentCodec) -> Result<Vec<u8>, CodecFailure> {
    match codec {
        ContentCodec::DagCbor => Ok(dag_cbor::to_vec(value)?),
        ContentCodec::DagJson => Ok(dag_json::to_vec(value)?),
        ContentCodec::Raw | ContentCodec::Other(_) => codec.codec().encode(&to_ipld(value)?),
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8], codec: ContentCodec) -> Result<T, CodecFailure> {
    match codec {
        ContentCodec::DagCbor => Ok(dag_cbor::from_slice(bytes)?),
        ContentCodec::DagJson => Ok(dag_json::from_slice(bytes)?),
        ContentCodec::Raw | ContentCodec::Other(_) => {
            let value: Ipld = codec.codec().decode(bytes)?;
            Ok(from_ipld(value)?)
        }
    }
}

/// Why a value was not made into, or taken from, a block.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TypedContentError {
    /// The codec cannot express the value.
    #[error("this {name} can't be written in its codec")]
    Encode {
        /// The type's [`NAME`](TypedContent::NAME).
        name: &'static str,
        /// What the codec says.
        source: CodecFailure,
    },
    /// The bytes are something else than a value of the type.
    #[error("these bytes are no {name}")]
    Decode {
        /// The type's [`NAME`](TypedContent::NAME).
        name: &'static str,
        /// What the codec says.
        source: CodecFailure,
    },
    /// The block's CID names another codec than the type's.
    #[error("a block of codec 0x{found:x} is no {name}, which has codec 0x{expected:x}")]
    WrongCodec {
        /// The type's [`NAME`](TypedContent::NAME).
        name: &'static str,
        /// The multicodec code of the type.
        expected: u64,
        /// The multicodec code of the block.
        found: u64,
    },
    /// The block's bytes are not what its CID names.
    #[error("the block of this {name} did not verify")]
    Unverified {
        /// The type's [`NAME`](TypedContent::NAME).
        name: &'static str,
        /// What is wrong.
        source: VerifyError,
    },
}
