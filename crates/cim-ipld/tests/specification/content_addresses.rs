//! Content addresses: which CID bytes have, and which bytes a CID accepts.

use cim_ipld::{Block, Cid, EventCid, HashFunction, VerifyError, cid_of, verify};
use multihash::Multihash;
use proptest::prelude::*;

use crate::hex::to_hex;

proptest! {
    #[test]
    fn content_verifies_under_its_own_cid_and_no_other(
        bytes: Vec<u8>,
        other: Vec<u8>,
        codec in 0..1_000_u64,
    ) {
        for hash in HashFunction::ALL {
            let cid = cid_of(codec, hash, &bytes);
            prop_assert_eq!(cid.codec(), codec);
            prop_assert_eq!(verify(&cid, &bytes), Ok(()));
            let expected = if other == bytes {
                Ok(())
            } else {
                Err(VerifyError::WrongDigest {
                    claimed: Box::new(cid),
                    actual: Box::new(cid_of(codec, hash, &other)),
                })
            };
            prop_assert_eq!(verify(&cid, &other), expected);
        }
    }

    #[test]
    fn an_events_cid_is_the_general_one(bytes: Vec<u8>) {
        prop_assert_eq!(
            EventCid::of(&bytes).to_cid(),
            cid_of(0x71, HashFunction::Sha2_256, &bytes)
        );
    }

    #[test]
    fn arbitrary_cids_verify_nothing_by_accident(code in 0..40_u64, digest in "[\\x00-\\x7f]{0,64}") {
        let cid = Cid::new_v1(0x55, Multihash::wrap(code, digest.as_bytes()).unwrap());
        let found = verify(&cid, b"content");
        if code == 0 && digest == "content" {
            prop_assert_eq!(found, Ok(()));
        } else {
            prop_assert!(found.is_err());
        }
    }
}

#[test]
fn digests_are_the_published_ones() {
    // FIPS 180-4's example for "abc"; the BLAKE3 paper's test vector for no bytes.
    assert_eq!(
        to_hex(&HashFunction::Sha2_256.digest(b"abc")),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    assert_eq!(
        to_hex(&HashFunction::Blake3.digest(b"")),
        "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    );
}

#[test]
fn functions_have_the_codes_and_names_of_the_multicodec_table() {
    for (hash, code, name) in [
        (HashFunction::Sha2_256, 0x12, "sha2-256"),
        (HashFunction::Blake3, 0x1e, "blake3"),
    ] {
        assert_eq!((hash.code(), hash.name()), (code, name));
        assert_eq!(HashFunction::from_code(code), Some(hash));
        assert_eq!(name.parse(), Ok(hash));
    }
    assert_eq!(HashFunction::from_code(0x13), None);
    assert!("sha256".parse::<HashFunction>().is_err());
}

#[test]
fn a_cid_of_version_0_is_checked_as_one() {
    let digest = HashFunction::Sha2_256.digest(b"content");
    let cid = Cid::new_v0(Multihash::wrap(0x12, &digest).unwrap()).unwrap();
    assert_eq!(verify(&cid, b"content"), Ok(()));
    let Err(VerifyError::WrongDigest { claimed, actual }) = verify(&cid, b"other") else {
        panic!("a wrong digest")
    };
    assert_eq!((*claimed, actual.version()), (cid, cid.version()));
}

#[test]
fn a_cut_or_lengthened_digest_proves_nothing() {
    let digest = HashFunction::Sha2_256.digest(b"content");
    for cut in 0..32 {
        let cid = Cid::new_v1(0x55, Multihash::wrap(0x12, &digest[..cut]).unwrap());
        assert_eq!(
            verify(&cid, b"content"),
            Err(VerifyError::DigestLength { found: cut })
        );
    }
    let long = [&digest[..], &[0]].concat();
    let cid = Cid::new_v1(0x55, Multihash::wrap(0x12, &long).unwrap());
    assert_eq!(
        verify(&cid, b"content"),
        Err(VerifyError::DigestLength { found: 33 })
    );
}

#[test]
fn unknown_functions_are_refused_by_number() {
    let cid = Cid::new_v1(0x55, Multihash::wrap(0x1b, &[0; 32]).unwrap());
    assert_eq!(
        verify(&cid, b"content"),
        Err(VerifyError::UnknownHash { found: 0x1b })
    );
}

#[test]
fn a_block_knows_whether_it_was_altered() {
    let block = Block::new(0x55, HashFunction::Blake3, &b"content"[..]);
    assert_eq!(block.verify(), Ok(()));
    let altered = Block {
        bytes: b"contents".as_slice().into(),
        ..block
    };
    assert!(altered.verify().is_err());
}
