//! Bytes that git calls text: paths, names, messages.
//!
//! Git stores bytes and promises no encoding, JSON holds Unicode only. So what is UTF-8 is written
//! as a JSON string, and anything else as an object that can't be mistaken for one:
//! `{"base64": "…the exact bytes…", "text": "…for reading, � where it is not UTF-8…"}`. Either way
//! the exact bytes come back.

use std::fmt;

use data_encoding::BASE64;
use serde::de::Error as _;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes that are usually UTF-8.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GitText(Vec<u8>);

impl GitText {
    pub(crate) fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// For people: one line, whatever the bytes are.
impl fmt::Display for GitText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in String::from_utf8_lossy(&self.0).chars() {
            if character.is_control() {
                write!(f, "{}", character.escape_debug())?;
            } else {
                write!(f, "{character}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for GitText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GitText({self})")
    }
}

impl Serialize for GitText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let mut object = serializer.serialize_struct("GitText", 2)?;
                object.serialize_field("base64", &BASE64.encode(&self.0))?;
                object.serialize_field("text", &String::from_utf8_lossy(&self.0))?;
                object.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for GitText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Stored {
            Text(String),
            Bytes { base64: String },
        }
        match Stored::deserialize(deserializer)? {
            Stored::Text(text) => Ok(Self(text.into_bytes())),
            Stored::Bytes { base64 } => BASE64
                .decode(base64.as_bytes())
                .map(Self)
                .map_err(D::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let json = serde_json::to_string(&GitText::new(bytes.clone())).unwrap();
            let back: GitText = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(back.into_bytes(), bytes);
        }
    }

    #[test]
    fn bytes_that_are_not_utf_8_can_not_be_mistaken_for_text() {
        let json = serde_json::to_string(&GitText::new(b"caf\xe9".to_vec())).unwrap();
        assert_eq!(json, "{\"base64\":\"Y2Fm6Q==\",\"text\":\"caf\u{fffd}\"}");
        let json = serde_json::to_string(&GitText::new("a\n\"ü\"")).unwrap();
        assert_eq!(json, "\"a\\n\\\"ü\\\"\"");
    }
}
