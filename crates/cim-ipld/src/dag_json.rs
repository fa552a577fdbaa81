//! DAG-JSON for any serde type, with limits: blocks that people can read.
//!
//! DAG-JSON (<https://ipld.io/specs/codecs/dag-json/spec/>) is JSON in which `{"/": "<CID>"}` is a
//! link and `{"/": {"bytes": "<base64>"}}` is a byte string. Its specification leaves readers free to
//! take any spelling; content addresses need one spelling for each value, so this module reads and
//! writes exactly one:
//!
//! - no white space; keys sorted by their UTF-8 bytes, each once;
//! - integers from −2⁶⁴ to 2⁶⁴−1 without leading zeros or `-0`, as DAG-CBOR has them;
//! - floats as JavaScript writes numbers (the shortest digits that read back alike, ECMA-262
//!   `Number::toString`), with `.0` where that has neither point nor exponent: `1.0`, `1e-323`;
//! - in texts only `"`, `\` and control characters escaped, the latter as `\b \f \n \r \t` or
//!   `\u00xx` in lower case;
//! - base64 without padding; CIDv1 in lower-case base32, CIDv0 in base58.
//!
//! The reader keeps open lists and maps on a list of its own instead of the stack, and enforces the
//! limits of [`dag_cbor`](crate::dag_cbor) as it goes, so hostile bytes cost no stack, and no memory
//! beyond their own values.
//!
//! A type is written through IPLD's data model, so it is the same value in DAG-JSON and in DAG-CBOR,
//! and either can be turned into the other.

mod float;
mod read;
mod write;

use std::error::Error;

use ipld_core::serde::{from_ipld, to_ipld};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::dag_cbor::{Ipld, MAX_LEN};

/// Multicodec code of DAG-JSON (multicodec table, `dag-json`).
pub const DAG_JSON_CODE: u64 = 0x0129;

/// Why a value was not written to, or read from, DAG-JSON.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// The block is longer than [`MAX_LEN`].
    #[error("a DAG-JSON block of {len} bytes is over the limit of {limit}; split the value")]
    TooLarge {
        /// The block's length in bytes.
        len: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The value is nested deeper than [`MAX_NESTING`](crate::dag_cbor::MAX_NESTING).
    #[error("DAG-JSON, byte {offset}: nested deeper than {limit} levels; flatten the value")]
    TooDeep {
        /// The limit in levels.
        limit: usize,
        /// The byte at which the first level beyond the limit starts.
        offset: usize,
    },
    /// The bytes are not canonical DAG-JSON.
    #[error("DAG-JSON, byte {offset}: {fault}")]
    NotCanonical {
        /// The rule that is broken.
        fault: JsonFault,
        /// The byte at which it is broken: the start of the faulty text, key or number, or the
        /// faulty byte itself.
        offset: usize,
    },
    /// The bytes are DAG-JSON, but of something else than the type asked for.
    #[error("this DAG-JSON block does not hold a value of the type asked for")]
    Shape {
        /// What the conversion says.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The value cannot be written, for example a map that would read back as a link.
    #[error("this value has no DAG-JSON form")]
    Unencodable {
        /// What stands in the way.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// How bytes break the rules of canonical DAG-JSON, or a value cannot follow them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonFault {
    /// The bytes end inside a value.
    #[error("the bytes end too early; the block was cut off")]
    Truncated,
    /// Bytes follow after the end of the one value that a block is.
    #[error("more bytes follow after the end; a block is exactly one value")]
    TrailingBytes,
    /// White space outside a text.
    #[error("white space; canonical DAG-JSON has none")]
    WhiteSpace,
    /// A byte that no JSON value has at this place.
    #[error("this is no JSON")]
    Syntax,
    /// A text that is not UTF-8.
    #[error("a text is not valid UTF-8")]
    InvalidUtf8,
    /// A control character in a text that is not escaped.
    #[error("a control character in a text is not escaped")]
    Control,
    /// An escape for a character that needs none, or not in its one form.
    #[error("an escape that canonical DAG-JSON does not use")]
    Escape,
    /// A number with a leading zero, a `+`, a `-0`, or a float that is not in its shortest form.
    #[error("a number is not in its one form")]
    Number,
    /// An integer below −2⁶⁴ or above 2⁶⁴−1.
    #[error("an integer outside of -2^64 to 2^64-1")]
    IntegerRange,
    /// A float that is no finite number.
    #[error("a float is not a finite number")]
    Float,
    /// A map key that belongs before the one it follows.
    #[error("a map key is out of order; keys are sorted by their bytes")]
    UnsortedKey,
    /// The same map key twice.
    #[error("a map key appears twice")]
    DuplicateKey,
    /// `{"/": "…"}` over something else than a CID in its one spelling.
    #[error("a \"/\" over something else than a CID in base32 (version 1) or base58 (version 0)")]
    BadLink,
    /// `{"/": {"bytes": "…"}}` over something else than base64 without padding.
    #[error("\"/\" and \"bytes\" over something else than base64 without padding")]
    BadBytes,
    /// A map that begins like a link or a byte string and goes on.
    #[error("a map that begins with \"/\" like a link or a byte string; rename the key")]
    Reserved,
}

/// Encodes a value as canonical DAG-JSON.
///
/// ```
/// use cim_ipld::dag_json;
///
/// let block = dag_json::to_vec(&("a", 1))?;
/// assert_eq!(block, br#"["a",1]"#);
/// assert_eq!(dag_json::from_slice::<(String, u8)>(&block)?, ("a".to_owned(), 1));
/// # Ok::<(), dag_json::JsonError>(())
/// ```
///
/// # Errors
/// [`JsonError::Unencodable`], or whatever [`from_slice`] would refuse to read back.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, JsonError> {
    let value = to_ipld(value).map_err(|error| JsonError::Unencodable {
        source: error.into(),
    })?;
    encode(&value)
}

/// Decodes a value from canonical DAG-JSON.
///
/// # Errors
/// [`JsonError::TooLarge`], [`JsonError::TooDeep`] or [`JsonError::NotCanonical`];
/// [`JsonError::Shape`] if the block holds another type.
pub fn from_slice<T: DeserializeOwned>(block: &[u8]) -> Result<T, JsonError> {
    from_ipld(decode(block)?).map_err(|error| JsonError::Shape {
        source: error.into(),
    })
}

/// Encodes a value of the data model as canonical DAG-JSON.
///
/// # Errors
/// As [`to_vec`].
pub fn encode(value: &Ipld) -> Result<Vec<u8>, JsonError> {
    let block = write::write(value)?;
    check_len(&block)?;
    Ok(block)
}

/// Decodes canonical DAG-JSON to a value of the data model.
///
/// # Errors
/// [`JsonError::TooLarge`], [`JsonError::TooDeep`] or [`JsonError::NotCanonical`].
pub fn decode(block: &[u8]) -> Result<Ipld, JsonError> {
    check_len(block)?;
    read::read(block)
}

fn check_len(block: &[u8]) -> Result<(), JsonError> {
    if block.len() > MAX_LEN {
        return Err(JsonError::TooLarge {
            len: block.len(),
            limit: MAX_LEN,
        });
    }
    Ok(())
}

/// The integers that DAG-CBOR has, and so this crate in every codec.
fn integer_fits(integer: i128) -> bool {
    (-(1_i128 << 64)..1 << 64).contains(&integer)
}
