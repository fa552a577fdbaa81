//! Why bytes are not an event's block, or an event cannot become one.

use std::fmt;

use crate::cbor::CborFault;

/// What is wrong with an event's block, in which field and at which byte.
///
/// A block that was stored and no longer decodes was altered after it was written, or was written
/// by something that does not follow the format; compare its CID with the stored one to know which.
///
/// ```
/// use cim_ipld::{BlockErrorKind, EventBlock, MetadataRef};
///
/// // A map of one entry, of which the value is no text.
/// let error = MetadataRef::from_canonical(b"\xa1\x61k\x07").unwrap_err();
/// assert!(matches!(error.kind(), BlockErrorKind::WrongType { .. }));
/// assert_eq!((error.field(), error.offset()), (Some("meta"), Some(3)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockError {
    kind: BlockErrorKind,
    field: Option<&'static str>,
    offset: Option<usize>,
}

impl BlockError {
    pub(crate) fn at(offset: usize, field: Option<&'static str>, kind: BlockErrorKind) -> Self {
        Self {
            kind,
            field,
            offset: Some(offset),
        }
    }

    pub(crate) fn of_value(field: &'static str, kind: BlockErrorKind) -> Self {
        Self {
            kind,
            field: Some(field),
            offset: None,
        }
    }

    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> &BlockErrorKind {
        &self.kind
    }

    /// The key of the field, as the block spells it (`"datatype"`); `None` where no field is meant.
    #[must_use]
    pub fn field(&self) -> Option<&'static str> {
        self.field
    }

    /// The byte of the block (or of the metadata map, where only that was given) at which the
    /// faulty item starts; `None` if values were checked and not bytes.
    #[must_use]
    pub fn offset(&self) -> Option<usize> {
        self.offset
    }
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("event block")?;
        if let Some(field) = self.field {
            write!(f, ", field \"{field}\"")?;
        }
        if let Some(offset) = self.offset {
            write!(f, ", byte {offset}")?;
        }
        write!(f, ": {}", self.kind)
    }
}

impl std::error::Error for BlockError {}

/// The kinds of [`BlockError`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockErrorKind {
    /// The bytes are not canonical DAG-CBOR.
    #[error("{0}")]
    NotCanonical(CborFault),
    /// The block has a format version that this release does not read.
    #[error("format version {found}; this release reads version 1, a newer one may read it")]
    UnsupportedVersion {
        /// The version found.
        found: u64,
    },
    /// An item of another type than the field has.
    #[error("expected {expected}")]
    WrongType {
        /// What the field holds.
        expected: &'static str,
    },
    /// A byte string of the wrong length.
    #[error("expected {expected} bytes, found {found}")]
    WrongLength {
        /// The length that the field has.
        expected: u64,
        /// The length found.
        found: u64,
    },
    /// A number that the field cannot have.
    #[error("{found} is out of range, allowed is {allowed}")]
    OutOfRange {
        /// The number found.
        found: i128,
        /// The numbers allowed.
        allowed: &'static str,
    },
    /// The event's index in its commit is not below the commit's count.
    #[error("index {index} in a commit of {count} events; indexes are below the count")]
    IndexNotBelowCount {
        /// The index found.
        index: u32,
        /// The count found.
        count: u32,
    },
    /// A field that every block has is not there.
    #[error("the field is missing")]
    Missing,
    /// A key that the format does not know.
    #[error("unknown key {key:?}")]
    UnknownKey {
        /// The first 64 characters of the key.
        key: Box<str>,
    },
    /// The same key twice.
    #[error("key {key:?} appears twice; keep one of the two")]
    DuplicateKey {
        /// The first 64 characters of the key.
        key: Box<str>,
    },
    /// A key that belongs earlier: shorter keys come first, then bytewise.
    #[error("key {key:?} is out of order; shorter keys come first, then bytewise")]
    UnsortedKey {
        /// The first 64 characters of the key.
        key: Box<str>,
    },
    /// A metadata map without entries; such a map is left out.
    #[error("the map is empty; leave it out")]
    EmptyMetadata,
    /// A link to something else than an event.
    #[error("the link does not name an event, whose CID is version 1, dag-cbor, sha2-256")]
    NotAnEventLink,
}

/// The beginning of a key that may be of any length, for an error.
pub(crate) fn excerpt(key: &str) -> Box<str> {
    key.chars().take(64).collect::<String>().into()
}
