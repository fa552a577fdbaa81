//! Making content addresses, and checking bytes against them.

use std::fmt;
use std::str::FromStr;

use cid::{Cid, Version};
use multihash::Multihash;
use sha2::{Digest, Sha256};

use crate::SHA2_256_CODE;

/// Multicodec code of BLAKE3 (multicodec table, `blake3`).
const BLAKE3_CODE: u64 = 0x1e;

/// Multicodec code of the "hash" that is the content itself (multicodec table, `identity`).
const IDENTITY_CODE: u64 = 0x00;

/// The functions that new content addresses are made with. Both have digests of 32 bytes.
///
/// ```
/// use cim_ipld::HashFunction;
///
/// assert_eq!(HashFunction::default(), HashFunction::Sha2_256);
/// assert_eq!("blake3".parse(), Ok(HashFunction::Blake3));
/// assert_eq!(HashFunction::Blake3.to_string(), "blake3");
///
/// // Which one a CID was made with.
/// let cid = cim_ipld::cid_of(cim_ipld::RAW_CODE, HashFunction::Blake3, b"hello");
/// let hash = HashFunction::from_code(cid.hash().code());
/// assert_eq!(hash, Some(HashFunction::Blake3));
/// assert_eq!(cid.hash().digest(), HashFunction::Blake3.digest(b"hello"));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HashFunction {
    /// SHA2-256 (FIPS 180-4), which every tool of the IPLD world knows, and which processors have
    /// instructions for.
    #[default]
    Sha2_256,
    /// BLAKE3 with its default output of 32 bytes: several times faster on large blocks, known to
    /// fewer tools.
    Blake3,
}

impl HashFunction {
    /// Every function, in order of their codes.
    pub const ALL: [Self; 2] = [Self::Sha2_256, Self::Blake3];

    /// The function's multicodec code: 0x12 or 0x1e.
    #[must_use]
    pub const fn code(self) -> u64 {
        match self {
            Self::Sha2_256 => SHA2_256_CODE,
            Self::Blake3 => BLAKE3_CODE,
        }
    }

    /// The function with a multicodec code.
    #[must_use]
    pub fn from_code(code: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|hash| hash.code() == code)
    }

    /// The function's name in the multicodec table: `sha2-256` or `blake3`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha2_256 => "sha2-256",
            Self::Blake3 => "blake3",
        }
    }

    /// The digest of some bytes.
    #[must_use]
    pub fn digest(self, bytes: &[u8]) -> [u8; 32] {
        match self {
            Self::Sha2_256 => Sha256::digest(bytes).into(),
            Self::Blake3 => blake3::hash(bytes).into(),
        }
    }
}

impl fmt::Display for HashFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for HashFunction {
    type Err = UnknownHash;

    /// Reads the name as [`HashFunction::name`] spells it.
    fn from_str(name: &str) -> Result<Self, UnknownHash> {
        Self::ALL
            .into_iter()
            .find(|hash| hash.name() == name)
            .ok_or(UnknownHash)
    }
}

/// A text that names no [`HashFunction`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a hash function; choose sha2-256 or blake3")]
pub struct UnknownHash;

/// The CIDv1 of some bytes in a codec, given by its multicodec code.
///
/// The bytes are not decoded or checked.
///
/// ```
/// use cim_ipld::{HashFunction, cid_of};
///
/// let raw = cid_of(0x55, HashFunction::Sha2_256, b"hello");
/// assert_eq!(raw.to_string(), "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq");
/// ```
#[must_use]
pub fn cid_of(codec: u64, hash: HashFunction, bytes: &[u8]) -> Cid {
    match Multihash::<64>::wrap(hash.code(), &hash.digest(bytes)) {
        Ok(digest) => Cid::new_v1(codec, digest),
        Err(_) => unreachable!("a digest of 32 bytes fits a multihash of up to 64"),
    }
}

/// Checks that the bytes are the content that a CID names: that they hash to its digest.
///
/// Takes CIDs of either version with a hash function of [`HashFunction`] and its full digest, and
/// identity CIDs, whose "digest" is the content. It does not look at the codec: whether the bytes
/// are proper DAG-CBOR, say, is the codec's to find out.
///
/// # Errors
/// [`VerifyError`], which says whether the bytes are wrong or the CID cannot be checked here.
pub fn verify(cid: &Cid, bytes: &[u8]) -> Result<(), VerifyError> {
    let claimed = cid.hash();
    let Some(hash) = HashFunction::from_code(claimed.code()) else {
        return match claimed.code() {
            IDENTITY_CODE if claimed.digest() == bytes => Ok(()),
            IDENTITY_CODE => Err(VerifyError::NotIdentity {
                claimed: Box::new(*cid),
            }),
            found => Err(VerifyError::UnknownHash { found }),
        };
    };
    let expected: &[u8; 32] =
        claimed
            .digest()
            .try_into()
            .map_err(|_| VerifyError::DigestLength {
                found: claimed.digest().len(),
            })?;
    let actual = hash.digest(bytes);
    if actual == *expected {
        Ok(())
    } else {
        Err(wrong_digest(cid, hash, &actual))
    }
}

#[cold]
fn wrong_digest(claimed: &Cid, hash: HashFunction, digest: &[u8; 32]) -> VerifyError {
    let actual = Multihash::wrap(hash.code(), digest)
        .ok()
        .and_then(|digest| match claimed.version() {
            Version::V0 => Cid::new_v0(digest).ok(),
            Version::V1 => Some(Cid::new_v1(claimed.codec(), digest)),
        })
        // Cannot be missing: 32 bytes fit, and a CIDv0 is checked with sha2-256.
        .unwrap_or_default();
    VerifyError::WrongDigest {
        claimed: Box::new(*claimed),
        actual: Box::new(actual),
    }
}

/// Why bytes were not accepted as the content of a CID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The bytes hash to something else: they, or the CID they are kept under, were changed.
    #[error(
        "the content was altered: it is kept as {claimed} but its bytes hash to {actual}; restore \
         it from a copy whose bytes hash to the first"
    )]
    WrongDigest {
        /// The CID the bytes were to have.
        claimed: Box<Cid>,
        /// The CID they have, of the same version, codec and hash function.
        actual: Box<Cid>,
    },
    /// The bytes are not those that an identity CID spells out.
    #[error("the content was altered: {claimed} spells out other bytes than are kept under it")]
    NotIdentity {
        /// The CID the bytes were to have.
        claimed: Box<Cid>,
    },
    /// The CID uses a hash function that this crate does not compute.
    #[error(
        "the CID uses hash function 0x{found:x}, which is not computed here (sha2-256 0x12, blake3 \
         0x1e); check the content with a tool that knows it"
    )]
    UnknownHash {
        /// The multicodec code of the function.
        found: u64,
    },
    /// The digest is shorter or longer than the function's 32 bytes. Cut digests are easier to
    /// forge, so none is accepted.
    #[error("the CID has a digest of {found} bytes instead of 32, which proves too little")]
    DigestLength {
        /// Its length in bytes.
        found: usize,
    },
}
