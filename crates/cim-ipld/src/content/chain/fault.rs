//! Where a chain of content breaks, and how.

use std::error::Error;
use std::fmt;

use cid::Cid;

use super::link::{ContentHead, LinkError};
use crate::{TypedContentError, VerifyError};

/// Where a chain of content breaks, and how.
#[derive(Debug)]
#[non_exhaustive]
pub struct ContentChainFault {
    /// The number of the link at which it breaks, from 1.
    pub seq: u64,
    /// What is wrong.
    pub kind: ContentChainFaultKind,
}

impl fmt::Display for ContentChainFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "content chain, link {}: {}", self.seq, self.kind)
    }
}

impl Error for ContentChainFault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.kind.source()
    }
}

/// The kinds of [`ContentChainFault`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContentChainFaultKind {
    /// The link's bytes do not hash to the CID they are kept under.
    #[error("the link was altered; restore its block from a copy")]
    Altered(#[source] VerifyError),
    /// There is no block under the link's CID: it was removed, or never copied here.
    #[error("the link's block {cid} is missing; restore it from a copy")]
    Missing {
        /// The CID of the link.
        cid: Box<Cid>,
    },
    /// The block is no link.
    #[error("the block is no link of a chain; find out what wrote it")]
    Malformed(#[source] LinkError),
    /// The link belongs to a chain of another type of content.
    #[error("the link is of a chain of `{found}`, this is one of `{expected}`")]
    WrongType {
        /// The name of the type that was asked for.
        expected: &'static str,
        /// The name that the link says.
        found: String,
    },
    /// One or more links are missing before this one.
    #[error("the next link has number {found}, those before it are missing; restore them")]
    Gap {
        /// The number of the link that came.
        found: u64,
    },
    /// The last verified link came once more.
    #[error("link {found} came again; remove the copy, the links are sound up to here")]
    Repeated {
        /// Its number.
        found: u64,
    },
    /// A link came after a later one.
    #[error("link {found} came after a later one; read the links in order of their numbers")]
    Reordered {
        /// The number of the link that came.
        found: u64,
    },
    /// A second, different link has the number of the last verified one.
    #[error("two links have the number before: {first} and {second}; keep the confirmed one")]
    Rival {
        /// The CID of the verified link.
        first: Box<Cid>,
        /// The CID of the link that came.
        second: Box<Cid>,
    },
    /// The chain continues another history than the one that is known.
    #[error(
        "the chain is another one: {found} stands where {expected} was known; keep the one that a \
         head kept elsewhere confirms"
    )]
    Forked {
        /// The CID of the link that is known.
        expected: Box<Cid>,
        /// The CID that stands in its place.
        found: Box<Cid>,
    },
    /// A link that others name by one number says that it has another.
    #[error("the link says that it is link {found}; no store writes such a chain")]
    WrongNumber {
        /// The number that it says.
        found: u64,
    },
    /// A link after the first names no link before it.
    #[error("the link does not say which one it follows; no store writes such a chain")]
    MissingPrevious,
    /// The first link names a link before it.
    #[error("the first link says that it follows {found}; links before it were removed")]
    UnexpectedPrevious {
        /// The CID it names.
        found: Box<Cid>,
    },
    /// The chain ends before the head that it is known to have had.
    #[error(
        "the chain was cut off: it is known to go to link {seq}, {cid}; restore the rest",
        seq = expected.seq, cid = expected.cid
    )]
    Cut {
        /// The head that it is known to have had.
        expected: Box<ContentHead>,
    },
    /// The link where reading was to begin is not in the chain.
    #[error("{cid} is no link of this chain; begin at one that is")]
    NotInChain {
        /// The CID that was given.
        cid: Box<Cid>,
    },
    /// There is no block under the content's CID.
    #[error("the content {cid} is missing; restore it from a copy")]
    ContentMissing {
        /// The CID of the content.
        cid: Box<Cid>,
    },
    /// The content's bytes do not hash to the CID that the link names.
    #[error("the content was altered; restore it from a copy")]
    ContentAltered(#[source] VerifyError),
    /// The content is of another type than the chain's.
    #[error("the content is not of the chain's type; find out what wrote it")]
    ContentMalformed(#[source] TypedContentError),
}
