//! Any non-empty text as one token, and back.
//!
//! A token made here is valid in a subject and in a NATS key-value key alike: it holds ASCII
//! letters, digits, `-`, `_` and `=` only. Every other byte of the UTF-8 text (and `=` itself) is
//! spelled `=XX`, its value in two upper-case hex digits. Each text has exactly one spelling, and
//! decoding accepts no other: two different subjects never mean the same values.

use std::borrow::Cow;

use crate::error::excerpt;

/// Why a text has no token, or a token no text.
///
/// `token` is the offending token (cut after 300 bytes), `position` a byte offset from 0 in it.
///
/// ```
/// use cim_subject::{TokenError, decode_token};
///
/// let error = decode_token("no.42").unwrap_err();
/// assert!(matches!(error, TokenError::Unescaped { character: '.', position: 2, .. }));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The empty text has no token, for a subject has no empty tokens.
    #[error("a token cannot be empty: give it at least one character")]
    Empty,

    /// A byte stands as it is that must be escaped.
    #[error(
        "{token:?} has the raw character {character:?} at byte {position}: \
         only ASCII letters, digits, '-' and '_' stand unescaped, spell it with encode_token"
    )]
    Unescaped {
        /// The token.
        token: String,
        /// The character.
        character: char,
        /// Where it stands.
        position: usize,
    },

    /// A `=` without two upper-case hex digits after it.
    #[error(
        "{token:?} has an invalid escape at byte {position}: \
         '=' needs two digits 0-9 or A-F after it, and is itself spelled =3D"
    )]
    InvalidEscape {
        /// The token.
        token: String,
        /// Where the `=` stands.
        position: usize,
    },

    /// An escape of a byte that stands unescaped in the one valid spelling.
    #[error("{token:?} escapes {character:?} at byte {position} without need: write it as it is")]
    NeedlessEscape {
        /// The token.
        token: String,
        /// What the escape stands for.
        character: char,
        /// Where the `=` stands.
        position: usize,
    },

    /// The escapes do not stand for UTF-8.
    #[error(
        "{token:?} escapes bytes that are not UTF-8, from byte {position} on: \
         spell texts, not arbitrary bytes, with encode_token"
    )]
    NotUtf8 {
        /// The token.
        token: String,
        /// Where the first escape that is not part of a character stands.
        position: usize,
    },
}

/// Spells `text` as one token; borrows it where nothing must be escaped.
///
/// An escaped byte takes three bytes, so a token can be three times as long as its text; only a
/// whole subject has a limit.
///
/// ```
/// use cim_subject::{TokenError, encode_token};
///
/// assert_eq!(encode_token("order-42")?, "order-42");
/// assert_eq!(encode_token("a.b=ü")?, "a=2Eb=3D=C3=BC");
/// assert_eq!(encode_token(""), Err(TokenError::Empty));
/// # Ok::<(), TokenError>(())
/// ```
///
/// # Errors
/// [`TokenError::Empty`] if `text` is empty.
pub fn encode_token(text: &str) -> Result<Cow<'_, str>, TokenError> {
    if !text.is_empty() && text.bytes().all(is_plain) {
        return Ok(Cow::Borrowed(text));
    }
    let mut token = String::new();
    encode_token_into(text, &mut token)?;
    Ok(Cow::Owned(token))
}

/// Appends the token for `text` to `out`, for callers that keep a buffer.
///
/// ```
/// use cim_subject::token::encode_token_into;
///
/// let mut subject = String::from("orders.");
/// encode_token_into("no. 42", &mut subject)?;
/// assert_eq!(subject, "orders.no=2E=2042");
/// # Ok::<(), cim_subject::TokenError>(())
/// ```
///
/// # Errors
/// [`TokenError::Empty`] if `text` is empty; `out` is then as it was.
pub fn encode_token_into(text: &str, out: &mut String) -> Result<(), TokenError> {
    if text.is_empty() {
        return Err(TokenError::Empty);
    }
    // Looks at every byte without a branch, so many at a time: most texts need no escapes.
    if text
        .bytes()
        .fold(true, |plain, byte| plain & is_plain(byte))
    {
        out.push_str(text);
        return Ok(());
    }
    let mut rest = text;
    while !rest.is_empty() {
        let plain = rest
            .bytes()
            .position(|byte| !is_plain(byte))
            .unwrap_or(rest.len());
        // A plain byte is a whole character, so what is not plain begins at a boundary, too.
        let (head, tail) = rest.split_at(plain);
        out.push_str(head);
        let escaped = tail.bytes().position(is_plain).unwrap_or(tail.len());
        let (head, tail) = tail.split_at(escaped);
        for byte in head.bytes() {
            out.extend(['=', hex_digit(byte >> 4), hex_digit(byte & 15)]);
        }
        rest = tail;
    }
    Ok(())
}

/// The text that `token` spells; borrows it where nothing is escaped.
///
/// Accepts exactly what [`encode_token`] yields.
///
/// ```
/// use cim_subject::{TokenError, decode_token};
///
/// assert_eq!(decode_token("a=2Eb")?, "a.b");
/// assert!(decode_token("a=2eb").is_err()); // lower case
/// assert!(decode_token("=61").is_err()); // `a` needs no escape
/// assert!(decode_token("a.b").is_err()); // `.` needs one
/// # Ok::<(), TokenError>(())
/// ```
///
/// # Errors
/// Any [`TokenError`]; the first place where `token` is not canonical is named.
pub fn decode_token(token: &str) -> Result<Cow<'_, str>, TokenError> {
    if token.is_empty() {
        return Err(TokenError::Empty);
    }
    let bytes = token.as_bytes();
    let Some(first) = bytes.iter().position(|&byte| !is_plain(byte)) else {
        return Ok(Cow::Borrowed(token));
    };
    let mut text = Vec::with_capacity(bytes.len());
    text.extend_from_slice(&bytes[..first]);
    let mut position = first;
    while let Some(&byte) = bytes.get(position) {
        if is_plain(byte) {
            text.push(byte);
            position += 1;
        } else if byte == b'=' {
            text.push(unescape(token, position)?);
            position += 3;
        } else {
            // All before is ASCII, so this is a boundary of characters.
            let character = token[position..].chars().next().unwrap_or_default();
            return Err(TokenError::Unescaped {
                token: excerpt(token),
                character,
                position,
            });
        }
    }
    String::from_utf8(text).map(Cow::Owned).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        TokenError::NotUtf8 {
            token: excerpt(token),
            position: spelled_at(bytes, valid),
        }
    })
}

/// The byte that the escape at `position` stands for.
fn unescape(token: &str, position: usize) -> Result<u8, TokenError> {
    let digit = |offset: usize| {
        token
            .as_bytes()
            .get(position + offset)
            .and_then(|byte| match byte {
                b'0'..=b'9' => Some(byte - b'0'),
                b'A'..=b'F' => Some(byte - b'A' + 10),
                _ => None,
            })
    };
    let (Some(high), Some(low)) = (digit(1), digit(2)) else {
        return Err(TokenError::InvalidEscape {
            token: excerpt(token),
            position,
        });
    };
    let byte = high << 4 | low;
    if is_plain(byte) {
        let character = char::from(byte);
        return Err(TokenError::NeedlessEscape {
            token: excerpt(token),
            character,
            position,
        });
    }
    Ok(byte)
}

/// Where the `index`-th byte of the decoded text is spelled in the token.
fn spelled_at(token: &[u8], index: usize) -> usize {
    let mut position = 0;
    for _ in 0..index {
        position += if token.get(position) == Some(&b'=') {
            3
        } else {
            1
        };
    }
    position
}

/// Whether a byte of the text stands in the token as it is.
fn is_plain(byte: u8) -> bool {
    let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    let digit = byte.wrapping_sub(b'0') < 10;
    letter | digit | (byte == b'-') | (byte == b'_')
}

/// The digit of a value below 16.
fn hex_digit(value: u8) -> char {
    char::from(b"0123456789ABCDEF"[usize::from(value & 15)])
}
