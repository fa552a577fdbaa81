//! How payloads are written: JSON, CBOR, or what an application brings.
//!
//! A codec is chosen for the events of a Rust type, with `#[event(codec = Cbor)]`; [`Json`] is the
//! default. What was stored says by its content type how it is read, so a type may change its codec
//! and still reads what it wrote before. JSON and CBOR are read by every type.

mod cbor;
mod json;

use std::error::Error;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use cbor::Cbor;
pub use json::Json;

use super::lossless::Whole;

/// Writes values as bytes and reads them again.
///
/// ```
/// use cim_domain::DomainEvent;
/// use cim_domain::event::codec::{Codec, CodecError};
/// use cim_domain::event::{Decoded, Encoded};
/// use serde::de::DeserializeOwned;
/// use serde::{Deserialize, Serialize};
///
/// /// JSON that people can read in a hurry.
/// struct PrettyJson;
///
/// impl Codec for PrettyJson {
///     const CONTENT_TYPE: &'static str = "application/vnd.example.pretty+json";
///
///     fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
///         serde_json::to_vec_pretty(value).map_err(CodecError::new)
///     }
///
///     fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
///         serde_json::from_slice(bytes).map_err(CodecError::new)
///     }
/// }
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
/// #[event(codec = PrettyJson)]
/// struct SeatSold { seat: u32 }
///
/// let sold = SeatSold { seat: 12 };
/// assert_eq!(sold.encode()?, b"{\n  \"seat\": 12\n}");
/// // What it wrote with another codec before is read as well.
/// let before = Encoded::json("seat_sold", 1, br#"{"seat":12}"#);
/// assert_eq!(SeatSold::decode(before)?, Decoded::One(sold));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Rules
/// - What was written is read again as the same value, in every later version of the program. Its
///   content type is stored with each event; a codec whose format changes gets another one.
/// - A value that the format would alter is an error, never another value. What `Json` and `Cbor`
///   refuse (see [`encode_whole`](Self::encode_whole)) is refused for every codec before it is asked.
/// - The format says by itself of what form a value is, as JSON, CBOR or MessagePack do, if payloads
///   are ever to be upcast: an upcast reads them without their type, as [`serde_json::Value`].
///   Formats like Postcard or Bincode do not; their events can't get another version.
/// - Asked for a value without its type, it gives numbers as they stand there. An integer of more
///   than 64 bits, which an upcast can't be given, is then an error. (`serde_json` gives such a one as
///   the nearest float; where the content type is that of JSON, or ends in `+json`, we see to it.)
pub trait Codec: 'static {
    /// The media type that is stored with each payload, at most 128 bytes of printable ASCII.
    const CONTENT_TYPE: &'static str;

    /// Whether −0.0 comes back as −0.0. Where it does not, a value that holds it is refused.
    const KEEPS_NEGATIVE_ZERO: bool = true;

    /// Writes a value.
    ///
    /// # Errors
    /// When the format has no form for it.
    fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError>;

    /// Reads a value that these bytes hold, and nothing else.
    ///
    /// # Errors
    /// When they hold anything else.
    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError>;

    /// Writes a value unless something of it would be lost: infinity and NaN, an option that holds
    /// nothing inside another option, and −0.0 where the codec
    /// [does not keep it](Self::KEEPS_NEGATIVE_ZERO). Payloads of events are written by this.
    ///
    /// # Errors
    /// When something would be lost, or the format has no form for the value.
    fn encode_whole<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError>
    where
        Self: Sized,
    {
        Self::encode(&Whole::<Self, T>::new(value))
    }
}

/// Why a codec can't write or read a value.
///
/// ```
/// use cim_domain::event::codec::CodecError;
///
/// let error = CodecError::new("the bytes end too early");
/// assert_eq!(error.to_string(), "the bytes end too early");
/// ```
pub struct CodecError(Box<dyn Error + Send + Sync>);

impl CodecError {
    /// What the format says, as its error or in words.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

impl fmt::Debug for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Error for CodecError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl From<serde_json::Error> for CodecError {
    fn from(error: serde_json::Error) -> Self {
        Self::new(error)
    }
}

/// How the bytes of a payload are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// By the codec of the event's type.
    Own,
    /// As JSON.
    Json,
    /// As CBOR.
    Cbor,
}

impl Form {
    /// How events whose codec is `C` read payloads of this content type.
    pub(super) fn of<C: Codec>(content_type: &str) -> Option<Self> {
        if content_type == C::CONTENT_TYPE {
            return Some(Self::Own);
        }
        let essence = essence_of(content_type);
        if essence == C::CONTENT_TYPE {
            Some(Self::Own)
        } else if is_json(essence) {
            Some(Self::Json)
        } else if is_cbor(essence) {
            Some(Self::Cbor)
        } else {
            None
        }
    }

    /// The same, where the codec's own content type says that it writes JSON or CBOR.
    pub(super) fn standard<C: Codec>(self) -> Self {
        let essence = essence_of(C::CONTENT_TYPE);
        match self {
            Self::Own if is_json(essence) => Self::Json,
            Self::Own if is_cbor(essence) => Self::Cbor,
            other => other,
        }
    }

    /// Reads a value.
    pub(super) fn decode<C: Codec, T: DeserializeOwned>(
        self,
        bytes: &[u8],
    ) -> Result<T, CodecError> {
        match self {
            Self::Own => C::decode(bytes),
            Self::Json => Json::decode(bytes),
            Self::Cbor => Cbor::decode(bytes),
        }
    }
}

/// A media type without its parameters.
fn essence_of(content_type: &str) -> &str {
    match content_type.split_once(';') {
        Some((essence, _)) => essence.trim_end(),
        None => content_type,
    }
}

/// Whether payloads of this content type are JSON.
pub(crate) fn is_json_content(content_type: &str) -> bool {
    is_json(essence_of(content_type))
}

fn is_json(essence: &str) -> bool {
    essence.eq_ignore_ascii_case(Json::CONTENT_TYPE) || essence.ends_with("+json")
}

fn is_cbor(essence: &str) -> bool {
    [Cbor::CONTENT_TYPE, Cbor::DAG_CBOR]
        .iter()
        .any(|name| essence.eq_ignore_ascii_case(name))
}
