//! Git's names for things: object ids and file modes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// The id of a git object: SHA-1 (20 bytes) or SHA-256 (32 bytes), whichever the repository uses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ObjectId {
    bytes: [u8; 32],
    length: u8,
}

/// A text that is no object id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the id of a git object: 40 or 64 hexadecimal digits")]
pub(crate) struct ObjectIdError {
    text: String,
}

impl ObjectId {
    /// Reads hexadecimal digits as git writes them.
    pub(crate) fn from_hex(text: &[u8]) -> Result<Self, ObjectIdError> {
        let mut bytes = [0; 32];
        let length = text.len() / 2;
        let refused = || ObjectIdError {
            text: String::from_utf8_lossy(&text[..text.len().min(100)]).into_owned(),
        };
        if !matches!(text.len(), 40 | 64) {
            return Err(refused());
        }
        data_encoding::HEXLOWER
            .decode_mut(text, &mut bytes[..length])
            .map_err(|_| refused())?;
        let length = u8::try_from(length).map_err(|_| refused())?;
        Ok(Self { bytes, length })
    }

    fn digits(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.bytes[..usize::from(self.length)])
    }

    /// Enough digits for people to tell it from others.
    pub(crate) fn short(&self) -> String {
        let mut digits = self.digits();
        digits.truncate(10);
        digits
    }
}

impl FromStr for ObjectId {
    type Err = ObjectIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_hex(text.as_bytes())
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.digits())
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectId({self})")
    }
}

impl Serialize for ObjectId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.digits())
    }
}

impl<'de> Deserialize<'de> for ObjectId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

/// The mode of a file in a tree, as git writes it: `100644`, `100755`, `120000` (symbolic link),
/// `160000` (submodule), and `100664` in very old repositories.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Mode([u8; 6]);

impl Mode {
    /// Reads six octal digits.
    pub(crate) fn from_octal(text: &[u8]) -> Option<Self> {
        let digits: [u8; 6] = text.try_into().ok()?;
        digits
            .iter()
            .all(|digit| (b'0'..=b'7').contains(digit))
            .then_some(Self(digits))
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mode({self})")
    }
}

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_octal(text.as_bytes())
            .ok_or_else(|| D::Error::custom("a mode has six octal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_both_hash_functions_come_back() {
        for digits in [
            "0123456789abcdef0123456789abcdef01234567".to_owned(),
            "ab".repeat(32),
        ] {
            assert_eq!(digits.parse::<ObjectId>().unwrap().to_string(), digits);
        }
    }

    #[test]
    fn other_texts_are_no_ids() {
        for text in [
            "",
            "0123",
            &"g".repeat(40),
            &"a".repeat(41),
            &"A".repeat(40),
        ] {
            assert!(text.parse::<ObjectId>().is_err(), "{text}");
        }
    }
}
