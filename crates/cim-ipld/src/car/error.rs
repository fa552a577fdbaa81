//! Why a CAR was not read or written, and at which byte.

use std::error::Error;
use std::fmt;
use std::io;

use super::MAX_BLOCK_LEN;
use crate::dag_cbor::CodecError;
use crate::{CidFault, VarintFault, VerifyError};

/// Why a CAR was not read or written.
///
/// ```
/// use cim_ipld::car::{CarErrorKind, CarReader};
///
/// let error = CarReader::new(&b"\x3a\xa2"[..]).unwrap_err();
/// assert!(matches!(error.kind(), CarErrorKind::Cut { missing: 57 }));
/// assert_eq!(error.offset(), 0); // of the header, which should have 58 bytes
/// let CarErrorKind::Cut { missing } = error.into_kind() else { unreachable!() };
/// assert_eq!(missing, 57);
/// ```
#[derive(Debug)]
pub struct CarError {
    offset: u64,
    kind: CarErrorKind,
}

impl CarError {
    pub(super) fn at(offset: u64, kind: CarErrorKind) -> Self {
        Self { offset, kind }
    }

    /// What is wrong, by value.
    #[must_use]
    pub fn into_kind(self) -> CarErrorKind {
        self.kind
    }

    /// The byte of the file, from 0, at which the faulty part starts: a section's length, a CID, the
    /// header. When writing, the byte after the last whole section.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> &CarErrorKind {
        &self.kind
    }
}

impl fmt::Display for CarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CAR, byte {}: {}", self.offset, self.kind)
    }
}

impl Error for CarError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            CarErrorKind::Read(error) | CarErrorKind::Write(error) => Some(error),
            CarErrorKind::HeaderCbor(error) => Some(error),
            CarErrorKind::Unverified(error) => Some(error),
            _ => None,
        }
    }
}

/// The kinds of [`CarError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CarErrorKind {
    /// The bytes could not be read.
    #[error("reading failed")]
    Read(io::Error),
    /// The bytes could not be written. What was written so far ends inside a section.
    #[error("writing failed; write the file again from its beginning")]
    Write(io::Error),
    /// The file ends too early.
    #[error("the file was cut off: at least {missing} more bytes belong here")]
    Cut {
        /// How many bytes more there would have to be, at least.
        missing: u64,
    },
    /// A length is no proper varint.
    #[error("{0} where a length should be; the file is damaged or is no CAR")]
    Length(VarintFault),
    /// The header is empty, or over [`MAX_HEADER_LEN`](super::MAX_HEADER_LEN).
    #[error("a header of {len} bytes, allowed are 1 to {limit}; this is no CAR")]
    HeaderLength {
        /// Its length in bytes.
        len: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The header is not canonical DAG-CBOR.
    #[error("the header is not canonical DAG-CBOR; this is no CAR")]
    HeaderCbor(#[source] CodecError),
    /// The header is DAG-CBOR, but not a map of exactly `roots`, a list of links, and `version`.
    #[error("the header is not a map of a list of links \"roots\" and a number \"version\"")]
    HeaderShape,
    /// A version that is not read: 1, and the 1 inside a 2, are.
    #[error("a CAR of version {found}; versions 1 and 2 are read, and a 2 holds a 1")]
    Version {
        /// The version found.
        found: i128,
    },
    /// The numbers in the header of a CARv2 contradict one another: its data would begin inside the
    /// header, end beyond the largest file, or overlap the index.
    #[error("the header of this CARv2 places its data or its index where they cannot be")]
    DataPlace,
    /// A section, or the inner header, would end after the data of a CARv2.
    #[error("the section goes on after byte {end}, where the data of this CARv2 ends")]
    BeyondData {
        /// Where the data ends.
        end: u64,
    },
    /// A section of no bytes; some tools fill files up with zeros.
    #[error("a section of length 0; it needs a CID at least, cut off zeros that fill up the file")]
    EmptySection,
    /// The block is over [`MAX_BLOCK_LEN`].
    #[error("a block of {len} bytes, allowed are {limit}; split the content into smaller blocks")]
    BlockTooLong {
        /// Its length in bytes (of the section, where only that is known).
        len: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A section does not start with a CID.
    #[error("{0}; the file is damaged")]
    Cid(CidFault),
    /// The block does not hash to its CID, or this cannot be found out. The reader stands after the
    /// section and can go on.
    #[error("the block is not what its CID names")]
    Unverified(#[source] VerifyError),
    /// An earlier error left the reader or writer inside the file; it cannot go on.
    #[error("an error was returned before, so the place in the file is lost; start again")]
    AfterError,
}

/// A block over the limit.
#[cold]
pub(super) fn too_long(len: u64) -> CarErrorKind {
    CarErrorKind::BlockTooLong {
        len,
        limit: MAX_BLOCK_LEN as u64,
    }
}
