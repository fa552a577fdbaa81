//! CIDs as bytes, as they stand in a CAR file: reading one whose length nobody has said.
//!
//! A CIDv1 is three varints (version, codec, hash function), the digest's length and the digest; a
//! CIDv0 is the 34 bytes of a sha2-256 multihash, known by its first two. This reader takes the
//! shortest form of every number only, so a CID has exactly one spelling in bytes.

use cid::Cid;
use multihash::Multihash;

use crate::varint::{VarintFault, read_varint};

/// The longest digest that a [`Cid`] of this crate holds, in bytes.
pub(crate) const MAX_DIGEST_LEN: usize = 64;

/// The longest CID in bytes: version, codec and hash function as varints, a digest's length, a
/// digest.
pub(crate) const MAX_CID_LEN: usize = 1 + 9 + 9 + 1 + MAX_DIGEST_LEN;

/// How bytes fail to be a CID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CidFault {
    /// The bytes end inside the CID.
    #[error("the bytes end inside the CID")]
    Truncated,
    /// One of its numbers is no proper varint.
    #[error("{0} inside the CID")]
    Varint(VarintFault),
    /// A version other than 0 and 1.
    #[error("CID version {found}; versions 0 and 1 are known")]
    Version {
        /// The version found.
        found: u64,
    },
    /// A digest of more than 64 bytes.
    #[error("a digest of {len} bytes in the CID; up to 64 are read")]
    DigestTooLong {
        /// Its announced length in bytes.
        len: u64,
    },
}

/// Reads the CID at the start of `bytes`; returns it and its length.
#[inline]
pub(crate) fn read_cid(bytes: &[u8]) -> Result<(Cid, usize), CidFault> {
    if let Some([0x12, 0x20, digest @ ..]) = bytes.first_chunk::<34>() {
        let hash = wrap(crate::SHA2_256_CODE, digest)?;
        // Cannot fail: the function is sha2-256 and the digest has 32 bytes.
        let cid = Cid::new_v0(hash).map_err(|_| CidFault::Version { found: 0 })?;
        return Ok((cid, 34));
    }
    if bytes == [0x12] || bytes.starts_with(&[0x12, 0x20]) {
        return Err(CidFault::Truncated);
    }
    let mut at = 0;
    let mut varint = || {
        let (value, len) = read_varint(bytes.get(at..).unwrap_or_default()).map_err(|fault| {
            if fault == VarintFault::Truncated {
                CidFault::Truncated
            } else {
                CidFault::Varint(fault)
            }
        })?;
        at += len;
        Ok(value)
    };
    let version = varint()?;
    if version != 1 {
        return Err(CidFault::Version { found: version });
    }
    let (codec, function, len) = (varint()?, varint()?, varint()?);
    let digest_len = match usize::try_from(len) {
        Ok(digest_len) if digest_len <= MAX_DIGEST_LEN => digest_len,
        _ => return Err(CidFault::DigestTooLong { len }),
    };
    let digest = bytes.get(at..at + digest_len).ok_or(CidFault::Truncated)?;
    Ok((Cid::new_v1(codec, wrap(function, digest)?), at + digest_len))
}

#[inline]
fn wrap(function: u64, digest: &[u8]) -> Result<Multihash<64>, CidFault> {
    // Cannot fail: the length was checked.
    Multihash::wrap(function, digest).map_err(|_| CidFault::DigestTooLong {
        len: digest.len() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cid() -> impl Strategy<Value = Cid> {
        let number = || prop_oneof![0..1_u64 << 63, 0..300_u64];
        prop_oneof![
            any::<[u8; 32]>().prop_map(|digest| {
                Cid::new_v0(Multihash::wrap(0x12, &digest).unwrap()).unwrap()
            }),
            (
                number(),
                number(),
                prop::collection::vec(any::<u8>(), 0..=64)
            )
                .prop_map(|(codec, function, digest)| {
                    Cid::new_v1(codec, Multihash::wrap(function, &digest).unwrap())
                }),
        ]
    }

    proptest! {
        #[test]
        fn every_cid_reads_back_and_every_beginning_of_it_is_truncated(
            cid in cid(),
            after: Vec<u8>,
        ) {
            let mut bytes = cid.to_bytes();
            let len = bytes.len();
            prop_assert!(len <= MAX_CID_LEN);
            for cut in 0..len {
                prop_assert_eq!(read_cid(&bytes[..cut]), Err(CidFault::Truncated));
            }
            bytes.extend(after);
            prop_assert_eq!(read_cid(&bytes), Ok((cid, len)));
        }

        #[test]
        fn what_is_read_is_the_one_spelling_and_the_general_library_agrees(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..100),
                prop::collection::vec(0..=2_u8, 0..10),
                prop::collection::vec(any::<u8>(), 70).prop_map(|mut bytes| {
                    bytes[..4].copy_from_slice(&[1, 0x71, 0x12, 0x20]);
                    bytes
                }),
            ],
        ) {
            if let Ok((cid, len)) = read_cid(&bytes) {
                prop_assert_eq!(&cid.to_bytes(), &bytes[..len]);
                let mut rest = &bytes[..];
                prop_assert_eq!(Cid::read_bytes(&mut rest).unwrap(), cid);
                prop_assert_eq!(rest.len(), bytes.len() - len);
            }
        }
    }

    #[test]
    fn other_versions_and_long_digests_are_refused() {
        assert_eq!(
            read_cid(&[2, 0x71, 0x12, 0]),
            Err(CidFault::Version { found: 2 })
        );
        assert_eq!(
            read_cid(&[0, 0x71, 0x12, 0]),
            Err(CidFault::Version { found: 0 })
        );
        assert_eq!(
            read_cid(&[1, 0x55, 0, 65]),
            Err(CidFault::DigestTooLong { len: 65 })
        );
        assert_eq!(
            read_cid(&[0x81, 0, 0x55, 0, 0]),
            Err(CidFault::Varint(VarintFault::NonMinimal))
        );
    }
}
