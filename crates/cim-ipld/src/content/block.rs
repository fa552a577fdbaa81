//! A block: bytes under their content address.

use bytes::Bytes;
use cid::Cid;

use super::address::{HashFunction, VerifyError, cid_of, verify};

/// Bytes in some codec, and the CID that names them. Cloning shares the bytes.
///
/// The fields are open, so a block says what somebody *claims*; [`Block::verify`] checks it. (An
/// event's own block is decoded by [`EventBlock`](crate::EventBlock).)
///
/// ```
/// use cim_ipld::{Block, HashFunction, VerifyError};
///
/// let mut block = Block::new(0x55, HashFunction::Sha2_256, &b"hello"[..]);
/// block.verify()?;
///
/// block.bytes = b"hullo".as_slice().into();
/// assert!(matches!(block.verify(), Err(VerifyError::WrongDigest { .. })));
/// # Ok::<(), VerifyError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Block {
    /// The content address that the bytes are kept under.
    pub cid: Cid,
    /// The content, as its codec writes it.
    pub bytes: Bytes,
}

impl Block {
    /// The block of some bytes in a codec, given by its multicodec code: hashes them.
    ///
    /// The bytes are not decoded or checked.
    #[must_use]
    pub fn new(codec: u64, hash: HashFunction, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            cid: cid_of(codec, hash, &bytes),
            bytes,
        }
    }

    /// Checks that the bytes are the content that the CID names, as [`verify`] does.
    ///
    /// # Errors
    /// What [`verify`] returns.
    pub fn verify(&self) -> Result<(), VerifyError> {
        verify(&self.cid, &self.bytes)
    }
}
