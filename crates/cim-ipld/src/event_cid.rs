//! The content address of an event.
//!
//! A CID in general carries a version, a codec, a hash function and a digest of any length. An
//! event's CID has all of that fixed (CIDv1, dag-cbor, sha2-256), so [`EventCid`] keeps the 32
//! bytes of digest alone: it is `Copy`, compares as an array and never allocates. The long form
//! appears at the edges, as a [`Cid`] or as text.

use std::fmt;
use std::str::FromStr;

use cid::{Cid, Version};
use data_encoding::BASE32_NOPAD;
use multihash::Multihash;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};
use sha2::{Digest, Sha256};

/// Multicodec code of DAG-CBOR (multicodec table, `dag-cbor`).
pub const DAG_CBOR_CODE: u64 = 0x71;

/// Multicodec code of SHA2-256 (multicodec table, `sha2-256`).
pub const SHA2_256_CODE: u64 = 0x12;

/// Length of an event CID's text in bytes: `b`, then 36 bytes in base32 without padding.
const TEXT_LEN: usize = 59;

/// The content address of an event's block: CIDv1, dag-cbor, sha2-256.
///
/// Two events have the same CID only if their blocks have the same bytes. The order of CIDs is
/// the order of their digests and means nothing.
///
/// The text form is the lower-case base32 that the IPLD world prints, 59 characters that start
/// with `bafyrei`. Serde writes that text in every format.
///
/// ```
/// use cim_ipld::EventCid;
///
/// let cid = EventCid::of(b"\xa0"); // the empty DAG-CBOR map
/// assert_eq!(cid.to_string(), "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua");
/// assert_eq!("bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua".parse(), Ok(cid));
///
/// // Where 32 bytes are kept instead of 59 characters.
/// let kept: [u8; 32] = *cid.digest();
/// assert_eq!(EventCid::from_digest(kept), cid);
///
/// // For whoever takes CIDs of any kind.
/// assert_eq!(cid.to_cid(), cim_ipld::cid_of_dag_cbor(b"\xa0"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventCid([u8; 32]);

impl EventCid {
    /// The CID of a block: hashes its bytes. The bytes are not decoded or checked.
    #[must_use]
    pub fn of(block: &[u8]) -> Self {
        Self(Sha256::digest(block).into())
    }

    /// The CID whose sha2-256 digest is already known, for example because it was stored.
    #[must_use]
    pub const fn from_digest(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The sha2-256 digest of the block.
    #[must_use]
    pub const fn digest(&self) -> &[u8; 32] {
        &self.0
    }

    /// The same address as a general CID.
    #[must_use]
    pub fn to_cid(&self) -> Cid {
        match Multihash::<64>::wrap(SHA2_256_CODE, &self.0) {
            Ok(hash) => Cid::new_v1(DAG_CBOR_CODE, hash),
            Err(_) => unreachable!("a digest of 32 bytes fits a multihash of up to 64"),
        }
    }
}

/// The CID of any DAG-CBOR block: CIDv1, dag-cbor, sha2-256 of the bytes.
///
/// The bytes are not decoded or checked; [`crate::dag_cbor::from_slice`] does that.
#[must_use]
pub fn cid_of_dag_cbor(block: &[u8]) -> Cid {
    EventCid::of(block).to_cid()
}

/// Why something is not an event's CID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CidError {
    /// The CID has another version than 1.
    #[error("an event's CID has version 1, this one has version {found}; use the CIDv1 form")]
    Version {
        /// The version found.
        found: u64,
    },
    /// The CID is of a block in another codec than dag-cbor.
    #[error(
        "an event's CID has codec 0x71 (dag-cbor), this one has 0x{found:x}; it names something else than an event"
    )]
    Codec {
        /// The multicodec code found.
        found: u64,
    },
    /// The CID uses another hash function than sha2-256.
    #[error(
        "an event's CID has hash 0x12 (sha2-256), this one has 0x{found:x}; hash the event's block with sha2-256"
    )]
    Hash {
        /// The multihash code found.
        found: u64,
    },
    /// The digest does not have 32 bytes.
    #[error("a sha2-256 digest has 32 bytes, this one has {found}; it was cut or padded")]
    DigestLength {
        /// The number of bytes found.
        found: usize,
    },
    /// The text is not a CID in lower-case base32.
    #[error(
        "not an event's CID as text: it is 59 characters of lower-case base32 that start with \"bafyrei\""
    )]
    Text,
}

/// What every event's CID begins with: version 1, dag-cbor, sha2-256, 32 bytes of digest.
const PREFIX: [u8; 4] = [1, DAG_CBOR_CODE as u8, SHA2_256_CODE as u8, 32];

/// Messages and pages carry CIDs as text, two for each event; so their one form is written and read
/// without the general parser, and compared with it in tests.
impl EventCid {
    fn write_text<'a>(&self, text: &'a mut [u8; TEXT_LEN]) -> &'a str {
        let mut bytes = [0; 36];
        bytes[..4].copy_from_slice(&PREFIX);
        bytes[4..].copy_from_slice(&self.0);
        text[0] = b'b';
        BASE32_NOPAD.encode_mut(&bytes, &mut text[1..]);
        text.make_ascii_lowercase();
        // Base32 is ASCII.
        std::str::from_utf8(text).unwrap_or_default()
    }

    fn read_text(text: &[u8]) -> Option<Self> {
        let (b'b', digits) = text.split_first()? else {
            return None;
        };
        let mut upper: [u8; TEXT_LEN - 1] = digits.try_into().ok()?;
        if upper.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        upper.make_ascii_uppercase();
        let mut bytes = [0; 36];
        BASE32_NOPAD.decode_mut(&upper, &mut bytes).ok()?;
        let digest = bytes.strip_prefix(&PREFIX[..])?;
        digest.try_into().ok().map(Self)
    }
}

impl TryFrom<&Cid> for EventCid {
    type Error = CidError;

    fn try_from(cid: &Cid) -> Result<Self, CidError> {
        if cid.version() != Version::V1 {
            return Err(CidError::Version {
                found: cid.version().into(),
            });
        }
        if cid.codec() != DAG_CBOR_CODE {
            return Err(CidError::Codec { found: cid.codec() });
        }
        let hash = cid.hash();
        if hash.code() != SHA2_256_CODE {
            return Err(CidError::Hash { found: hash.code() });
        }
        match hash.digest().try_into() {
            Ok(digest) => Ok(Self(digest)),
            Err(_) => Err(CidError::DigestLength {
                found: hash.digest().len(),
            }),
        }
    }
}

impl From<EventCid> for Cid {
    fn from(cid: EventCid) -> Self {
        cid.to_cid()
    }
}

impl fmt::Display for EventCid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; TEXT_LEN];
        f.pad(self.write_text(&mut text))
    }
}

impl fmt::Debug for EventCid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for EventCid {
    type Err = CidError;

    /// Reads the one spelling that [`Display`](fmt::Display) writes.
    ///
    /// Other multibases, upper case and paths such as `/ipfs/…` are refused, so that two CIDs are
    /// equal exactly if their texts are. To accept any spelling, parse a [`Cid`] and convert that.
    fn from_str(text: &str) -> Result<Self, CidError> {
        // Before parsing, so that a text of megabytes costs nothing.
        if text.len() != TEXT_LEN {
            return Err(CidError::Text);
        }
        if let Some(event) = Self::read_text(text.as_bytes()) {
            return Ok(event);
        }
        // Something else, or a CID of another kind: what it is decides the error.
        let cid = Cid::try_from(text).map_err(|_| CidError::Text)?;
        let event = Self::try_from(&cid)?;
        // The general parser also takes other bases, upper case and paths.
        if event.to_string() == text {
            Ok(event)
        } else {
            Err(CidError::Text)
        }
    }
}

impl Serialize for EventCid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventCid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = EventCid;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event's CID as text (bafyrei…)")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<EventCid, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_text_is_the_one_that_the_general_library_writes(digest: [u8; 32]) {
            let cid = EventCid::from_digest(digest);
            prop_assert_eq!(cid.to_string(), cid.to_cid().to_string());
            prop_assert_eq!(EventCid::read_text(cid.to_string().as_bytes()), Some(cid));
        }
    }
}
