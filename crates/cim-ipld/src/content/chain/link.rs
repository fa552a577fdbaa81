//! A link of a chain: its block, and what stands in it.

use cid::Cid;
use serde::{Deserialize, Serialize};

use super::super::address::{HashFunction, verify};
use super::super::block::Block;
use super::super::typed::TypedContent;
use super::fault::{ContentChainFault, ContentChainFaultKind};
use crate::dag_cbor::{self, CodecError};
use crate::{DAG_CBOR_CODE, TypedContentError};

/// Version of the link format that this release writes and reads.
pub const CHAIN_FORMAT_VERSION: u64 = 1;

/// The last link of a chain, or of a verified part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ContentHead {
    /// The link's number, from 1.
    pub seq: u64,
    /// The CID of the link's block.
    pub cid: Cid,
}

/// One link of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentLink {
    /// The CID of the link's own block.
    pub cid: Cid,
    /// The link's number in its chain, from 1.
    pub seq: u64,
    /// The CID of the link before; `None` for the first.
    pub previous: Option<Cid>,
    /// The [`NAME`](TypedContent::NAME) of the content's type.
    pub name: String,
    /// The CID of the content.
    pub content: Cid,
}

/// The map that a link's block is. The codec sorts the keys.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Map {
    v: u64,
    seq: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prev: Option<Cid>,
    #[serde(rename = "type")]
    name: String,
    content: Cid,
}

/// The version alone, whatever else the map has.
#[derive(Deserialize)]
struct Version {
    v: u64,
}

/// The block of the link after `head`.
pub(super) fn encode(
    head: Option<ContentHead>,
    name: &str,
    content: &Cid,
    hash: HashFunction,
) -> Result<Block, LinkError> {
    let seq = head.map_or(0, |head| head.seq).checked_add(1);
    let map = Map {
        v: CHAIN_FORMAT_VERSION,
        seq: seq.ok_or(LinkError::Number)?,
        prev: head.map(|head| head.cid),
        name: name.to_owned(),
        content: *content,
    };
    let bytes = dag_cbor::to_vec(&map).map_err(LinkError::Cbor)?;
    Ok(Block::new(DAG_CBOR_CODE, hash, bytes))
}

impl ContentLink {
    /// Decodes a link's block. The bytes are not hashed here.
    ///
    /// # Errors
    /// [`LinkError`]. Accepts the one form that is written only.
    pub fn decode(cid: &Cid, block: &[u8]) -> Result<Self, LinkError> {
        if cid.codec() != DAG_CBOR_CODE {
            return Err(LinkError::Codec { found: cid.codec() });
        }
        let Version { v } = dag_cbor::from_slice(block).map_err(LinkError::Cbor)?;
        if v != CHAIN_FORMAT_VERSION {
            return Err(LinkError::Version { found: v });
        }
        let map: Map = dag_cbor::from_slice(block).map_err(LinkError::Cbor)?;
        // A `prev` of null reads like none, but is another block.
        if dag_cbor::to_vec(&map).map_err(LinkError::Cbor)? != block {
            return Err(LinkError::NullPrevious);
        }
        if map.seq == 0 {
            return Err(LinkError::Number);
        }
        Ok(Self {
            cid: *cid,
            seq: map.seq,
            previous: map.prev,
            name: map.name,
            content: map.content,
        })
    }

    /// This link as the head of the chain up to here.
    #[must_use]
    pub fn head(&self) -> ContentHead {
        ContentHead {
            seq: self.seq,
            cid: self.cid,
        }
    }

    /// The value that the link names, from its block's bytes; `None` means that there is no such
    /// block.
    ///
    /// # Errors
    /// A fault at this link: [`ContentChainFaultKind::ContentMissing`],
    /// [`ContentChainFaultKind::ContentAltered`] or [`ContentChainFaultKind::ContentMalformed`].
    pub fn content_from<T: TypedContent>(
        &self,
        bytes: Option<&[u8]>,
    ) -> Result<T, ContentChainFault> {
        self.read_content(bytes).map_err(|kind| ContentChainFault {
            seq: self.seq,
            kind,
        })
    }

    fn read_content<T: TypedContent>(
        &self,
        bytes: Option<&[u8]>,
    ) -> Result<T, ContentChainFaultKind> {
        let bytes = bytes.ok_or_else(|| ContentChainFaultKind::ContentMissing {
            cid: Box::new(self.content),
        })?;
        verify(&self.content, bytes).map_err(ContentChainFaultKind::ContentAltered)?;
        let (expected, found) = (T::CODEC.code(), self.content.codec());
        if found != expected {
            let name = T::NAME;
            return Err(ContentChainFaultKind::ContentMalformed(
                TypedContentError::WrongCodec {
                    name,
                    expected,
                    found,
                },
            ));
        }
        T::from_bytes(bytes).map_err(ContentChainFaultKind::ContentMalformed)
    }
}

/// Why a block is no link of a chain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The CID names another codec than dag-cbor.
    #[error("a link has codec 0x71 (dag-cbor), this block has 0x{found:x}")]
    Codec {
        /// The multicodec code found.
        found: u64,
    },
    /// The bytes are not the canonical DAG-CBOR map that a link is.
    #[error("the block is not the map of a link")]
    Cbor(#[source] CodecError),
    /// The link has a format version that this release does not read.
    #[error("link format version {found}; this release reads version 1, a newer one may read it")]
    Version {
        /// The version found.
        found: u64,
    },
    /// The first link's `prev` is null instead of left out.
    #[error("\"prev\" is null; a link that has none leaves it out")]
    NullPrevious,
    /// The link's number is 0, or would be beyond the largest integer.
    #[error("links are numbered from 1 to 18446744073709551615")]
    Number,
}
