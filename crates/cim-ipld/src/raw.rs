//! Raw blocks: bytes without any structure, such as a piece of a file.
//!
//! The codec `raw` (multicodec table) is the bytes themselves. Its one value is a byte string, and it
//! has no links.

use crate::dag_cbor::{Ipld, MAX_LEN};

/// Multicodec code of raw bytes (multicodec table, `raw`).
pub const RAW_CODE: u64 = 0x55;

/// Why a value was not written to, or read from, a raw block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RawError {
    /// The block is longer than [`MAX_LEN`].
    #[error("a raw block of {len} bytes is over the limit of {limit}; split the content")]
    TooLarge {
        /// The block's length in bytes.
        len: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The value is something else than a byte string.
    #[error("a raw block holds a byte string and nothing else; use another codec for this value")]
    NotBytes,
}

/// The bytes of a raw block.
///
/// # Errors
/// [`RawError::NotBytes`] for any other value than a byte string, [`RawError::TooLarge`].
pub fn encode(value: &Ipld) -> Result<Vec<u8>, RawError> {
    match value {
        Ipld::Bytes(bytes) => check_len(bytes).map(|()| bytes.clone()),
        _ => Err(RawError::NotBytes),
    }
}

/// The byte string that a raw block is.
///
/// # Errors
/// [`RawError::TooLarge`].
pub fn decode(block: &[u8]) -> Result<Ipld, RawError> {
    check_len(block).map(|()| Ipld::Bytes(block.to_vec()))
}

fn check_len(block: &[u8]) -> Result<(), RawError> {
    if block.len() > MAX_LEN {
        return Err(RawError::TooLarge {
            len: block.len(),
            limit: MAX_LEN,
        });
    }
    Ok(())
}
