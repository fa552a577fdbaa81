//! The forms of an event's CID.

use cim_ipld::{Cid, CidError, EventCid};
use multihash::Multihash;
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_cid_survives_every_form(digest in any::<[u8; 32]>()) {
        let cid = EventCid::from_digest(digest);
        prop_assert_eq!(cid.digest(), &digest);
        prop_assert_eq!(EventCid::try_from(&cid.to_cid()), Ok(cid));
        let text = cid.to_string();
        prop_assert!(text.starts_with("bafyrei") && text.len() == 59);
        prop_assert_eq!(&text, &cid.to_cid().to_string());
        prop_assert_eq!(text.parse(), Ok(cid));
        prop_assert_eq!(format!("{cid:?}"), text);
    }

    #[test]
    fn serde_writes_text_in_every_format(digest in any::<[u8; 32]>()) {
        let cid = EventCid::from_digest(digest);
        let json = serde_json::to_string(&cid).unwrap();
        prop_assert_eq!(&json, &format!("\"{cid}\""));
        prop_assert_eq!(serde_json::from_str::<EventCid>(&json).unwrap(), cid);
        let block = cim_ipld::dag_cbor::to_vec(&cid).unwrap();
        prop_assert_eq!(&block, &cim_ipld::dag_cbor::to_vec(&cid.to_string()).unwrap());
        prop_assert_eq!(cim_ipld::dag_cbor::from_slice::<EventCid>(&block).unwrap(), cid);
    }

    #[test]
    fn any_text_is_refused_or_is_the_cids_own_spelling(
        text in prop_oneof!["\\PC{0,70}", "b[a-z2-7]{58}", "bafyrei[a-z2-7]{52}"],
    ) {
        if let Ok(cid) = text.parse::<EventCid>() {
            prop_assert_eq!(cid.to_string(), text);
        }
    }
}

#[test]
fn only_version_1_dag_cbor_sha2_256_is_an_event() {
    let hash = |code, len: usize| Multihash::<64>::wrap(code, &[7; 64][..len]).unwrap();
    for (cid, error) in [
        (
            Cid::new_v0(hash(0x12, 32)).unwrap(),
            CidError::Version { found: 0 },
        ),
        (
            Cid::new_v1(0x55, hash(0x12, 32)),
            CidError::Codec { found: 0x55 },
        ),
        (
            Cid::new_v1(0x71, hash(0x13, 64)),
            CidError::Hash { found: 0x13 },
        ),
        (
            Cid::new_v1(0x71, hash(0x12, 20)),
            CidError::DigestLength { found: 20 },
        ),
    ] {
        assert_eq!(EventCid::try_from(&cid), Err(error));
    }
}

#[test]
fn only_the_one_spelling_is_read() {
    let cid = EventCid::of(b"\xa0");
    let text = cid.to_string();
    // Other multibases of the same CID, a path, upper case, a cut or longer text.
    for other in [
        cid.to_cid()
            .to_string_of_base(cid::multibase::Base::Base58Btc)
            .unwrap(),
        cid.to_cid()
            .to_string_of_base(cid::multibase::Base::Base32Upper)
            .unwrap(),
        cid.to_cid()
            .to_string_of_base(cid::multibase::Base::Base16Lower)
            .unwrap(),
        format!("/ipfs/{text}"),
        text.to_uppercase(),
        format!("b{}", text[1..].to_uppercase()),
        text[..58].to_owned(),
        format!("{text}a"),
        String::new(),
    ] {
        assert_eq!(other.parse::<EventCid>(), Err(CidError::Text), "{other}");
    }
}

#[test]
fn a_text_cid_of_something_else_says_what_it_is() {
    let raw = "bafkreiebzrnroamgos2adnbpgw5apo3z4iishhbdx77gldnbk57d4zdio4";
    assert_eq!(
        raw.parse::<EventCid>(),
        Err(CidError::Codec { found: 0x55 })
    );
}
