//! What goes wrong in a content store, by what its caller does about it.

use cim_ipld::{Cid, ContentChainFault, TypedContentError, VerifyError};
use cim_store::{BucketError, BucketErrorKind};

use crate::persistence::error::excerpt;

/// The start of a chain of causes.
pub(super) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What goes wrong in a [`ContentStore`](super::ContentStore).
///
/// | variant | what to do |
/// |---|---|
/// | `NotFound` | there is nothing under this CID |
/// | `Conflict` | read the chain's head again and decide again |
/// | `InvalidCid`, `InvalidName`, `InvalidSettings`, `TooLarge`, `UnknownCodec`, `Encode` | correct what was given |
/// | `Decode`, `Malformed` | ask for it as what it is: the CID names something else |
/// | `Altered`, `Missing`, `Record`, `Chain` | stored data is damaged or not whole: put the content again, or restore it |
/// | `Source` | what the content came from failed |
/// | `Unknown` | do it again: nothing is stored twice |
/// | `Store` | see [its kind](BucketError::kind) |
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # use cim_domain::persistence::content::{ContentSettings, ContentStore};
/// # use cim_domain::store::Context;
/// # let (store, ctx) = (cim_domain::open("memory:").await?, Context::new());
/// # let content = ContentStore::open(&*store, &ctx, "content", ContentSettings::default()).await?;
/// use cim_ipld::{HashFunction, RAW_CODE, cid_of};
///
/// let never_put = cid_of(RAW_CODE, HashFunction::Sha2_256, b"a poem");
/// let error = content.get_bytes(&ctx, &never_put).await.unwrap_err();
/// assert!(error.is_not_found());
/// // Nothing names it, so nothing says that it should be there.
/// assert!(!error.is_integrity());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContentError {
    /// There is no block under this CID.
    #[error("there is no content {cid}")]
    NotFound {
        /// The CID.
        cid: Box<Cid>,
    },
    /// What a bucket holds under a CID hashes to another one.
    #[error("the block kept as {cid} is not the one that was put there")]
    Altered {
        /// The CID that it is kept under.
        cid: Box<Cid>,
        /// What it hashes to.
        source: VerifyError,
    },
    /// A part of content is not there: something below what is to be named, or below what was whole
    /// when it was named.
    #[error("{cid}, a part of {root}, is not there")]
    Missing {
        /// The block that is missing.
        cid: Box<Cid>,
        /// What it is a part of.
        root: Box<Cid>,
    },
    /// A block is whole, but is not what was asked for: no bytes, say, or with parts of other
    /// lengths than it says.
    #[error("the block {cid} does not have the form that was expected")]
    Malformed {
        /// The block.
        cid: Box<Cid>,
        /// What its form is.
        source: Shape,
    },
    /// A CID that no content in a store has: it must have version 1, and sha2-256 or BLAKE3 with 32
    /// bytes.
    #[error("{cid} can't be the CID of stored content")]
    InvalidCid {
        /// The CID.
        cid: Box<Cid>,
    },
    /// No codec was given for this code, so it can't be said which links a block has.
    #[error("the codec 0x{code:x} of {cid} is not known here")]
    UnknownCodec {
        /// The block.
        cid: Box<Cid>,
        /// Its multicodec code.
        code: u64,
    },
    /// A text that can't name a pin, a chain, a link, or content.
    #[error("`{name}` can't be the name of a {what}")]
    InvalidName {
        /// What it was to name.
        what: &'static str,
        /// What was given, shortened to 100 characters.
        name: String,
        /// What is wrong with it.
        source: Cause,
    },
    /// A setting is out of its range, or the store was made with another one.
    #[error("{setting} can't be {asked}: {why}")]
    InvalidSettings {
        /// Which one.
        setting: &'static str,
        /// What was given.
        asked: String,
        /// What it has to be.
        why: String,
    },
    /// More than is possible.
    #[error("{size} {what} are too many; at most {max} are possible")]
    TooLarge {
        /// Of what there are too many.
        what: &'static str,
        /// How many there are.
        size: u64,
        /// How many are possible.
        max: u64,
    },
    /// A value can't be written in its codec. Nothing was stored.
    #[error("the value can't be written as a block")]
    Encode(#[from] Box<TypedContentError>),
    /// A block does not hold a value of the type that was asked for.
    #[error("the block {cid} is not what was asked for")]
    Decode {
        /// The block.
        cid: Box<Cid>,
        /// What was asked for, and where it differs.
        source: Box<TypedContentError>,
    },
    /// Somebody else appended to the chain first. Nothing was appended.
    #[error("the chain `{chain}` is at {actual}, expected was {expected}")]
    Conflict {
        /// The chain.
        chain: String,
        /// Its length as it was expected.
        expected: u64,
        /// Its length.
        actual: u64,
    },
    /// A chain is not what was appended to it.
    #[error("the chain `{chain}` is broken")]
    Chain {
        /// The chain.
        chain: String,
        /// Where and how.
        source: Box<ContentChainFault>,
    },
    /// What stands beside content can't be read.
    #[error("the record `{key}` can't be read")]
    Record {
        /// Its key in the bucket of records.
        key: String,
        /// What is wrong with it.
        source: Cause,
    },
    /// The stream that content was to come from failed. What was read of it is garbage, unless it
    /// was there before.
    #[error("the content could not be read from where it comes from")]
    Source(#[source] Cause),
    /// The answer was lost: the change may or may not have been made.
    #[error("whether the change was made is not known")]
    Unknown {
        /// What was heard last.
        source: BucketError,
    },
    /// The bucket failed or refused.
    #[error("the bucket could not do it")]
    Store(#[source] BucketError),
}

/// What a block says that is no content in parts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Shape {
    /// It is in a codec that has no bytes to read.
    #[error("codec 0x{codec:x} is neither raw (0x55) nor dag-cbor (0x71)")]
    Codec {
        /// Its multicodec code.
        codec: u64,
    },
    /// It is not canonical DAG-CBOR.
    #[error("it is not canonical DAG-CBOR")]
    NotCbor(#[source] Cause),
    /// Its codec can't read it.
    #[error("its codec can't read it")]
    Undecodable(#[source] Cause),
    /// It is a value, but neither bytes nor a list of parts.
    #[error("it is a value, and no bytes or list of parts")]
    NotContent,
    /// A part has another length than is said of it.
    #[error("a part that is said to have {declared} bytes has {actual}")]
    WrongLength {
        /// What is said.
        declared: u64,
        /// What it has.
        actual: u64,
    },
    /// All parts together have more than 2⁶⁴ − 1 bytes.
    #[error("its length is more than can be counted")]
    Length,
    /// Parts stand too deep inside one another.
    #[error("its parts stand more than {max} blocks deep")]
    Depth {
        /// The greatest possible depth.
        max: usize,
    },
}

impl ContentError {
    /// Whether there is nothing under the CID.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether somebody else appended to a chain first.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. })
    }

    /// Whether stored data is damaged or missing.
    pub fn is_integrity(&self) -> bool {
        match self {
            Self::Altered { .. }
            | Self::Missing { .. }
            | Self::Record { .. }
            | Self::Chain { .. } => true,
            Self::Store(error) => error.is_integrity(),
            _ => false,
        }
    }

    pub(super) fn not_found(cid: &Cid) -> Self {
        Self::NotFound {
            cid: Box::new(*cid),
        }
    }

    pub(super) fn missing(cid: &Cid, root: &Cid) -> Self {
        Self::Missing {
            cid: Box::new(*cid),
            root: Box::new(*root),
        }
    }

    pub(super) fn malformed(cid: &Cid, source: Shape) -> Self {
        Self::Malformed {
            cid: Box::new(*cid),
            source,
        }
    }

    pub(super) fn invalid_name(what: &'static str, name: &str, source: impl Into<Cause>) -> Self {
        Self::InvalidName {
            what,
            name: excerpt(name),
            source: source.into(),
        }
    }
}

impl From<BucketError> for ContentError {
    fn from(error: BucketError) -> Self {
        match error.kind() {
            BucketErrorKind::Unknown => Self::Unknown { source: error },
            _ => Self::Store(error),
        }
    }
}
