//! The name of a stream.

use std::fmt;
use std::str::FromStr;

use bytestring::ByteString;
use cim_subject::token::{decode_token, encode_token_into};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// The name of a stream: context, aggregate type and id, written `sales.order.0193…`.
///
/// Each of the three is one token of a subject: bytes other than ASCII letters, digits, `-` and
/// `_` are escaped as `=XX`, so any text can be an id. The whole name is at most
/// [`StreamId::MAX_BYTES`] bytes, escapes included.
///
/// ```
/// use cim_store::StreamId;
///
/// let stream = StreamId::new("sales", "order", "a/b")?;
/// assert_eq!(stream.as_str(), "sales.order.a=2Fb");
/// assert_eq!(stream.id(), "a=2Fb");
/// assert_eq!(stream.decoded_id(), "a/b");
/// assert_eq!((stream.context(), stream.aggregate()), ("sales", "order"));
/// assert_eq!(stream.to_shared(), "sales.order.a=2Fb"); // of which nothing was copied
/// assert_eq!("sales.order.a=2Fb".parse::<StreamId>()?, stream);
/// # Ok::<(), cim_store::stream_id::StreamIdError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    name: ByteString,
    /// Where the first and the second dot stand. Derived from the name, so they never decide
    /// between two equal names.
    dots: (u8, u8),
}

/// A text that can't be the name of a stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamIdError {
    /// Not three tokens.
    #[error(
        "`{name}` is not the name of a stream; it has the form context.aggregate.id, such as sales.order.0193"
    )]
    Shape {
        /// What was given.
        name: String,
    },
    /// One of the three is empty or not spelled as its own encoding.
    #[error("`{token}` can't be the {part} of a stream: {reason}")]
    Token {
        /// `context`, `aggregate` or `id`.
        part: &'static str,
        /// What was given for it.
        token: String,
        /// What is wrong with it.
        reason: cim_subject::TokenError,
    },
    /// The whole name is too long.
    #[error("the name of a stream has {length} bytes with escapes; at most {max} are possible", max = StreamId::MAX_BYTES)]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
}

impl StreamId {
    /// The longest name, in bytes. It leaves room for the rest of an event's subject, which has
    /// at most 255 bytes.
    pub const MAX_BYTES: usize = 200;

    /// Names the stream of the aggregate `id` of type `aggregate` in `context`. The three are
    /// plain text and are escaped here.
    ///
    /// # Errors
    /// When one of them is empty or the whole is too long.
    pub fn new(context: &str, aggregate: &str, id: &str) -> Result<Self, StreamIdError> {
        let mut name = String::with_capacity(context.len() + aggregate.len() + id.len() + 2);
        let mut add = |part, token: &str| {
            if !name.is_empty() {
                name.push('.');
            }
            encode_token_into(token, &mut name)
                .map(|()| name.len())
                .map_err(|reason| StreamIdError::Token {
                    part,
                    token: token.to_owned(),
                    reason,
                })
        };
        let first = add("context", context)?;
        let second = add("aggregate", aggregate)?;
        let length = add("id", id)?;
        Self::with_dots(name.into(), first, second, length)
    }

    /// Reads a name as [`Display`](fmt::Display) writes it.
    ///
    /// # Errors
    /// When it does not have three tokens, or a token is not spelled as its own encoding.
    pub fn parse(name: impl Into<ByteString>) -> Result<Self, StreamIdError> {
        let name = name.into();
        if name.len() > Self::MAX_BYTES {
            return Err(StreamIdError::TooLong { length: name.len() });
        }
        // Looks at every byte without a branch, so many at a time. Most names need no escapes, and
        // then nothing needs decoding to be checked.
        let (mut dots, mut other) = (0_u8, 0_u8);
        for byte in name.bytes() {
            let dot = u8::from(byte == b'.');
            let letter = u8::from((byte | 0x20).wrapping_sub(b'a') < 26);
            let digit = u8::from(byte.wrapping_sub(b'0') < 10);
            let dash = u8::from(byte == b'-') | u8::from(byte == b'_');
            dots += dot; // fewer than a name's bytes
            other |= 1 ^ (letter | digit | dash | dot);
        }
        let plain = other == 0;
        let dot = |(_, byte): &(usize, u8)| *byte == b'.';
        let mut places = name.bytes().enumerate().filter(dot).map(|(at, _)| at);
        let places = places.next().zip(places.next());
        let Some((first, second)) = places.filter(|_| dots == 2) else {
            return Err(StreamIdError::Shape {
                name: name.to_string(),
            });
        };
        let filled = first > 0 && second > first + 1 && name.len() > second + 1;
        if !filled || !plain {
            let tokens = [
                ("context", &name[..first]),
                ("aggregate", &name[first + 1..second]),
                ("id", &name[second + 1..]),
            ];
            for (part, token) in tokens {
                if let Err(reason) = decode_token(token) {
                    return Err(StreamIdError::Token {
                        part,
                        token: token.to_owned(),
                        reason,
                    });
                }
            }
        }
        let length = name.len();
        Self::with_dots(name, first, second, length)
    }

    fn with_dots(
        name: ByteString,
        first: usize,
        second: usize,
        length: usize,
    ) -> Result<Self, StreamIdError> {
        match (u8::try_from(first), u8::try_from(second)) {
            (Ok(first), Ok(second)) if length <= Self::MAX_BYTES => Ok(Self {
                name,
                dots: (first, second),
            }),
            _ => Err(StreamIdError::TooLong { length }),
        }
    }

    /// The whole name, escaped: `sales.order.0193…`.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The context, escaped.
    pub fn context(&self) -> &str {
        &self.name[..usize::from(self.dots.0)]
    }

    /// The aggregate type, escaped.
    pub fn aggregate(&self) -> &str {
        &self.name[usize::from(self.dots.0) + 1..usize::from(self.dots.1)]
    }

    /// The aggregate's id, escaped.
    pub fn id(&self) -> &str {
        &self.name[usize::from(self.dots.1) + 1..]
    }

    /// The aggregate's id as it was given to [`StreamId::new`].
    pub fn decoded_id(&self) -> String {
        // Every value of this type was made from, or checked against, the encoding.
        decode_token(self.id()).map_or_else(|_| self.id().to_owned(), |id| id.into_owned())
    }

    /// The name's bytes, shared.
    pub fn to_shared(&self) -> ByteString {
        self.name.clone()
    }
}

impl FromStr for StreamId {
    type Err = StreamIdError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::parse(name)
    }
}

impl AsRef<str> for StreamId {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamId({self})")
    }
}

impl Serialize for StreamId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for StreamId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_can_be_an_id_and_comes_back(id in "\\PC{1,20}") {
            let stream = StreamId::new("sales", "order", &id).unwrap();
            prop_assert_eq!(stream.decoded_id(), id);
            prop_assert_eq!(StreamId::parse(stream.to_string()).unwrap(), stream);
        }
    }

    #[test]
    fn a_name_without_three_tokens_is_refused() {
        for name in ["", "sales", "sales.order", "sales.order.1.2"] {
            assert!(
                matches!(StreamId::parse(name), Err(StreamIdError::Shape { .. })),
                "{name}"
            );
        }
    }

    #[test]
    fn a_token_that_is_not_its_own_encoding_is_refused() {
        for name in [
            "sales.order.a b",
            "sales..1",
            "sales.order.=2f",
            "sales.order.*",
        ] {
            assert!(
                matches!(StreamId::parse(name), Err(StreamIdError::Token { .. })),
                "{name}"
            );
        }
    }

    #[test]
    fn a_name_that_is_too_long_is_refused() {
        let error = StreamId::new("sales", "order", &"x".repeat(189)).unwrap_err();
        assert_eq!(error, StreamIdError::TooLong { length: 201 });
        assert!(StreamId::new("sales", "order", &"x".repeat(188)).is_ok());
    }
}
