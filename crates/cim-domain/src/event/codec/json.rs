//! JSON, the default.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Codec, CodecError};

/// JSON ([RFC 8259](https://www.rfc-editor.org/rfc/rfc8259)), readable by anyone; the default.
///
/// ```
/// use cim_domain::event::codec::{Codec, Json};
///
/// assert_eq!(Json::encode_whole(&("a", 1))?, br#"["a",1]"#);
/// assert_eq!(Json::decode::<(String, u8)>(br#"["a",1]"#)?, ("a".to_owned(), 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Keys of maps are written as texts, whatever they are; bytes as lists of numbers. What is read
/// is one value, with nothing but white space around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Json;

impl Codec for Json {
    const CONTENT_TYPE: &'static str = "application/json";

    fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
        let mut payload = Vec::with_capacity(256);
        value.serialize(&mut serde_json::Serializer::new(&mut payload))?;
        Ok(payload)
    }

    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
        serde_json::from_slice(bytes).map_err(CodecError::new)
    }
}
