//! Codecs by their numbers: what turns the bytes of a block into a value and back.
//!
//! A CID says which codec its block is in. A [`CodecRegistry`] finds the codec, so that whoever
//! follows links through blocks of several codecs needs to know none of them. It knows dag-cbor,
//! dag-json and raw; others can be added.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use cid::Cid;

use crate::dag_cbor::Ipld;
use crate::{Block, DAG_CBOR_CODE, DAG_JSON_CODE, HashFunction, RAW_CODE, dag_cbor, dag_json, raw};

/// What a codec says when it refuses a block or a value.
pub type CodecFailure = Box<dyn Error + Send + Sync>;

/// One codec: the bytes of a block to a value of IPLD's data model and back.
///
/// The codecs of this crate have one form in bytes for each value, refuse all others, and limit size
/// and nesting before they build anything; a codec that is added should do so too.
pub trait Codec: fmt::Debug + Send + Sync {
    /// Its code in the multicodec table, such as 0x71.
    fn code(&self) -> u64;

    /// Its name in the multicodec table, such as `dag-cbor`.
    fn name(&self) -> &str;

    /// The value that a block holds.
    ///
    /// # Errors
    /// If the bytes are not of this codec, or beyond its limits.
    fn decode(&self, block: &[u8]) -> Result<Ipld, CodecFailure>;

    /// The block that holds a value.
    ///
    /// # Errors
    /// If the codec cannot express the value, or not within its limits.
    fn encode(&self, value: &Ipld) -> Result<Vec<u8>, CodecFailure>;

    /// The CIDs that a block links to, in the order in which they stand there; one that stands there
    /// twice comes twice.
    ///
    /// # Errors
    /// As [`Codec::decode`], which it uses if nothing faster is written.
    fn links(&self, block: &[u8]) -> Result<Vec<Cid>, CodecFailure> {
        let mut links = Vec::new();
        self.decode(block)?.references(&mut links);
        Ok(links)
    }
}

/// The codec `dag-cbor`, 0x71: see [`dag_cbor`]. Its links are found without building the value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DagCbor;

impl Codec for DagCbor {
    fn code(&self) -> u64 {
        DAG_CBOR_CODE
    }

    fn name(&self) -> &str {
        "dag-cbor"
    }

    fn decode(&self, block: &[u8]) -> Result<Ipld, CodecFailure> {
        Ok(dag_cbor::from_slice(block)?)
    }

    fn encode(&self, value: &Ipld) -> Result<Vec<u8>, CodecFailure> {
        Ok(dag_cbor::to_vec(value)?)
    }

    fn links(&self, block: &[u8]) -> Result<Vec<Cid>, CodecFailure> {
        Ok(dag_cbor::links(block)?)
    }
}

/// The codec `dag-json`, 0x0129: see [`dag_json`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DagJson;

impl Codec for DagJson {
    fn code(&self) -> u64 {
        DAG_JSON_CODE
    }

    fn name(&self) -> &str {
        "dag-json"
    }

    fn decode(&self, block: &[u8]) -> Result<Ipld, CodecFailure> {
        Ok(dag_json::decode(block)?)
    }

    fn encode(&self, value: &Ipld) -> Result<Vec<u8>, CodecFailure> {
        Ok(dag_json::encode(value)?)
    }
}

/// The codec `raw`, 0x55: see [`raw`]. A block has no links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Raw;

impl Codec for Raw {
    fn code(&self) -> u64 {
        RAW_CODE
    }

    fn name(&self) -> &str {
        "raw"
    }

    fn decode(&self, block: &[u8]) -> Result<Ipld, CodecFailure> {
        Ok(raw::decode(block)?)
    }

    fn encode(&self, value: &Ipld) -> Result<Vec<u8>, CodecFailure> {
        Ok(raw::encode(value)?)
    }
}

/// The codecs that are known, by their codes. Cloning shares the codecs.
///
/// ```
/// use cim_ipld::dag_cbor::Ipld;
/// use cim_ipld::{Block, CodecRegistry, DAG_JSON_CODE, HashFunction, RAW_CODE};
///
/// let codecs = CodecRegistry::new();
/// let photo = Block::new(RAW_CODE, HashFunction::Sha2_256, &b"\xff\xd8"[..]);
/// let album = Ipld::List(vec![Ipld::Link(photo.cid)]);
/// let album = codecs.encode(DAG_JSON_CODE, HashFunction::Sha2_256, &album)?;
///
/// assert_eq!(codecs.links(&album)?, [photo.cid]);
/// assert_eq!(codecs.links(&photo)?, []);
/// # Ok::<(), cim_ipld::RegistryError>(())
/// ```
#[derive(Clone, Debug)]
pub struct CodecRegistry {
    codecs: BTreeMap<u64, Arc<dyn Codec>>,
}

impl CodecRegistry {
    /// dag-cbor, dag-json and raw.
    #[must_use]
    pub fn new() -> Self {
        let known: [Arc<dyn Codec>; 3] = [Arc::new(DagCbor), Arc::new(DagJson), Arc::new(Raw)];
        Self {
            codecs: known.map(|codec| (codec.code(), codec)).into(),
        }
    }

    /// Adds a codec.
    ///
    /// # Errors
    /// [`RegistryError::AlreadyKnown`] if there is one with its code; it stays.
    pub fn register(&mut self, codec: Arc<dyn Codec>) -> Result<(), RegistryError> {
        let code = codec.code();
        if let Some(known) = self.codecs.get(&code) {
            return Err(RegistryError::AlreadyKnown {
                code,
                name: known.name().to_owned(),
            });
        }
        self.codecs.insert(code, codec);
        Ok(())
    }

    /// The codec with a code.
    #[must_use]
    pub fn get(&self, code: u64) -> Option<&Arc<dyn Codec>> {
        self.codecs.get(&code)
    }

    /// Every codec, in order of codes.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Codec>> {
        self.codecs.values()
    }

    /// The value that a block holds. The block is not hashed; [`Block::verify`] does that.
    ///
    /// # Errors
    /// [`RegistryError::UnknownCodec`] or [`RegistryError::Decode`].
    pub fn decode(&self, block: &Block) -> Result<Ipld, RegistryError> {
        let codec = self.of(block.cid.codec())?;
        let decoded = codec.decode(&block.bytes);
        decoded.map_err(|source| refused(codec, block, source))
    }

    /// The block that holds a value in a codec.
    ///
    /// # Errors
    /// [`RegistryError::UnknownCodec`] or [`RegistryError::Encode`].
    pub fn encode(
        &self,
        code: u64,
        hash: HashFunction,
        value: &Ipld,
    ) -> Result<Block, RegistryError> {
        let codec = self.of(code)?;
        match codec.encode(value) {
            Ok(bytes) => Ok(Block::new(code, hash, bytes)),
            Err(source) => Err(RegistryError::Encode {
                codec: codec.name().to_owned(),
                source,
            }),
        }
    }

    /// The CIDs that a block links to, in the order in which they stand there. The block is not
    /// hashed; [`Block::verify`] does that.
    ///
    /// # Errors
    /// [`RegistryError::UnknownCodec`] or [`RegistryError::Decode`].
    pub fn links(&self, block: &Block) -> Result<Vec<Cid>, RegistryError> {
        let codec = self.of(block.cid.codec())?;
        let links = codec.links(&block.bytes);
        links.map_err(|source| refused(codec, block, source))
    }

    fn of(&self, code: u64) -> Result<&dyn Codec, RegistryError> {
        match self.codecs.get(&code) {
            Some(codec) => Ok(&**codec),
            None => Err(RegistryError::UnknownCodec { code }),
        }
    }
}

impl Default for CodecRegistry {
    fn default() -> Self {
        Self::new()
    }
}

fn refused(codec: &dyn Codec, block: &Block, source: CodecFailure) -> RegistryError {
    RegistryError::Decode {
        codec: codec.name().to_owned(),
        cid: Box::new(block.cid),
        source,
    }
}

/// Why a [`CodecRegistry`] could not do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// No codec has the code.
    #[error("no codec with code 0x{code:x} is known; register one")]
    UnknownCodec {
        /// The multicodec code.
        code: u64,
    },
    /// A codec with the code is there already.
    #[error("code 0x{code:x} already means {name}; register each code once")]
    AlreadyKnown {
        /// The multicodec code.
        code: u64,
        /// The name of the codec that is there.
        name: String,
    },
    /// A block is not what the codec of its CID writes.
    #[error("block {cid} is not a proper {codec} block")]
    Decode {
        /// The codec's name.
        codec: String,
        /// The block's CID.
        cid: Box<Cid>,
        /// What the codec says.
        source: CodecFailure,
    },
    /// A value has no form in the codec.
    #[error("the value can't be written as {codec}")]
    Encode {
        /// The codec's name.
        codec: String,
        /// What the codec says.
        source: CodecFailure,
    },
}
