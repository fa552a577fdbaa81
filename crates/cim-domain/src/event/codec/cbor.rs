//! CBOR, for payloads that are smaller or hold bytes.

use cim_ipld::dag_cbor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Codec, CodecError};

/// CBOR ([RFC 8949](https://www.rfc-editor.org/rfc/rfc8949)), in the one form that
/// [DAG-CBOR](https://ipld.io/specs/codecs/dag-cbor/spec/) allows: the same value is always the same
/// bytes, and CIDs are links.
///
/// ```
/// use cim_domain::event::codec::{Cbor, Codec};
///
/// assert_eq!(Cbor::encode_whole(&("a", 1))?, [0x82, 0x61, b'a', 0x01]);
/// assert_eq!(Cbor::decode::<(String, u8)>(&[0x82, 0x61, b'a', 0x01])?, ("a".to_owned(), 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Limits
/// Written is what DAG-CBOR has a form for: keys of maps are texts, integers are from −2⁶⁴ to
/// 2⁶⁴−1, nesting is at most 64 deep, and there is no −0.0. Anything else is an error, not another
/// value. Read is DAG-CBOR only; CBOR in another form (unsorted keys, short floats) is an error.
///
/// Types that have a binary form of their own use it: a UUID is 16 bytes instead of 36 characters.
///
/// # Content type
/// `application/cbor` is written, registered by RFC 8949, section 9.5, because every CBOR reader
/// understands it; [`DAG_CBOR`](Self::DAG_CBOR) is read as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cbor;

impl Cbor {
    /// The content type of DAG-CBOR itself, as
    /// [registered](https://www.iana.org/assignments/media-types/application/vnd.ipld.dag-cbor)
    /// with IANA.
    pub const DAG_CBOR: &'static str = "application/vnd.ipld.dag-cbor";
}

impl Codec for Cbor {
    const CONTENT_TYPE: &'static str = "application/cbor";
    const KEEPS_NEGATIVE_ZERO: bool = false;

    fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
        dag_cbor::to_vec(value).map_err(|error| reason(value, error))
    }

    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
        dag_cbor::from_slice(bytes).map_err(CodecError::new)
    }
}

/// Why a value can't be written. The library forgets what a part of a struct said, so the value is
/// asked once more, by a serializer that passes it on.
fn reason<T: Serialize + ?Sized>(value: &T, error: dag_cbor::CodecError) -> CodecError {
    let asked = value.serialize(&mut serde_json::Serializer::new(std::io::sink()));
    match (asked, &error) {
        (Err(said), dag_cbor::CodecError::Unencodable { .. }) => CodecError::new(said),
        _ => CodecError::new(error),
    }
}
