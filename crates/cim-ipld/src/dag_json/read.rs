//! Reading canonical DAG-JSON, without recursion.
//!
//! Canonical DAG-JSON has no white space and one spelling for each key, so a link always starts with
//! the bytes `{"/":"` and a byte string with `{"/":{"bytes":"`, and nothing else does.

use std::collections::BTreeMap;

use cid::Cid;
use data_encoding::BASE64_NOPAD;

use super::float::float_text;
use super::{JsonError, JsonFault, integer_fits};
use crate::dag_cbor::{Ipld, MAX_NESTING};

/// The longest text of a CID: 84 bytes, in base32.
const MAX_CID_TEXT_LEN: usize = 136;

/// More than the longest number in its one form, a float, has.
const MAX_NUMBER_LEN: usize = 40;

const LINK: &[u8] = b"{\"/\":\"";
const BYTES: &[u8] = b"{\"/\":{\"bytes\":\"";

/// A list or map whose items are being read.
enum Open {
    List(Vec<Ipld>),
    /// The entries before, and the key of the value that comes.
    Map(BTreeMap<String, Ipld>, String),
}

pub(super) fn read(block: &[u8]) -> Result<Ipld, JsonError> {
    let mut reader = Reader { block, at: 0 };
    let mut open = Vec::new();
    loop {
        let Some(mut value) = reader.begin(&mut open)? else {
            continue; // of a list or map just opened, the first value
        };
        loop {
            let Some(innermost) = open.pop() else {
                return match reader.peek() {
                    Err(_) => Ok(value),
                    Ok(_) => Err(reader.fault(JsonFault::TrailingBytes)),
                };
            };
            match innermost {
                Open::List(mut items) => {
                    items.push(value);
                    if reader.comma_or(b']')? {
                        open.push(Open::List(items));
                        break;
                    }
                    value = Ipld::List(items);
                }
                Open::Map(mut map, key) => {
                    map.insert(key, value);
                    if reader.comma_or(b'}')? {
                        let key = reader.key(&map)?;
                        open.push(Open::Map(map, key));
                        break;
                    }
                    value = Ipld::Map(map);
                }
            }
        }
    }
}

struct Reader<'a> {
    block: &'a [u8],
    /// The next byte to read; never beyond the block's end.
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a [u8] {
        self.block.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Result<u8, JsonError> {
        match self.rest().first() {
            Some(&byte) => Ok(byte),
            None => Err(self.fault(JsonFault::Truncated)),
        }
    }

    /// What is wrong with a byte that does not belong here.
    fn misplaced(&self) -> JsonError {
        match self.rest().first() {
            None => self.fault(JsonFault::Truncated),
            Some(b' ' | b'\n' | b'\r' | b'\t') => self.fault(JsonFault::WhiteSpace),
            Some(_) => self.fault(JsonFault::Syntax),
        }
    }

    fn fault(&self, fault: JsonFault) -> JsonError {
        self.fault_at(self.at, fault)
    }

    #[cold]
    fn fault_at(&self, offset: usize, fault: JsonFault) -> JsonError {
        JsonError::NotCanonical { fault, offset }
    }

    fn take(&mut self, expected: &[u8]) -> Result<(), JsonError> {
        for byte in expected {
            if self.rest().first() != Some(byte) {
                return Err(self.misplaced());
            }
            self.at += 1;
        }
        Ok(())
    }

    /// Steps over a comma (true) or over the closing bracket (false).
    fn comma_or(&mut self, close: u8) -> Result<bool, JsonError> {
        match self.rest().first() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if *byte == close => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.misplaced()),
        }
    }

    /// Reads a scalar, or an empty list or map; `None` if it opened one that has items.
    fn begin(&mut self, open: &mut Vec<Open>) -> Result<Option<Ipld>, JsonError> {
        Ok(Some(match self.rest().first() {
            Some(b'n') => self.take(b"null").map(|()| Ipld::Null)?,
            Some(b't') => self.take(b"true").map(|()| Ipld::Bool(true))?,
            Some(b'f') => self.take(b"false").map(|()| Ipld::Bool(false))?,
            Some(b'"') => Ipld::String(self.text()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b'{') if self.rest().starts_with(LINK) => self.link()?,
            Some(b'{') if self.rest().starts_with(BYTES) => self.bytes()?,
            Some(bracket @ (b'[' | b'{')) => {
                if open.len() == MAX_NESTING {
                    return Err(JsonError::TooDeep {
                        limit: MAX_NESTING,
                        offset: self.at,
                    });
                }
                let list = *bracket == b'[';
                self.at += 1;
                match (list, self.peek()?) {
                    (true, b']') => {
                        self.at += 1;
                        Ipld::List(Vec::new())
                    }
                    (false, b'}') => {
                        self.at += 1;
                        Ipld::Map(BTreeMap::new())
                    }
                    (true, _) => {
                        open.push(Open::List(Vec::new()));
                        return Ok(None);
                    }
                    (false, _) => {
                        let map = BTreeMap::new();
                        let key = self.key(&map)?;
                        open.push(Open::Map(map, key));
                        return Ok(None);
                    }
                }
            }
            _ => return Err(self.misplaced()),
        }))
    }

    /// A key that comes after all of `before`, and the colon behind it.
    fn key(&mut self, before: &BTreeMap<String, Ipld>) -> Result<String, JsonError> {
        let at = self.at;
        if self.peek()? != b'"' {
            return Err(self.misplaced());
        }
        let key = self.text()?;
        if let Some((last, _)) = before.last_key_value() {
            if key == *last {
                return Err(self.fault_at(at, JsonFault::DuplicateKey));
            }
            if key < *last {
                return Err(self.fault_at(at, JsonFault::UnsortedKey));
            }
        }
        self.take(b":")?;
        Ok(key)
    }

    fn link(&mut self) -> Result<Ipld, JsonError> {
        let at = self.at;
        self.at += LINK.len() - 1;
        let text = self.text()?;
        self.close(at, b"}")?;
        let cid = (text.len() <= MAX_CID_TEXT_LEN)
            .then(|| Cid::try_from(text.as_str()).ok())
            .flatten()
            // The general parser also takes other bases, upper case and paths.
            .filter(|cid| cid.to_string() == text)
            .ok_or_else(|| self.fault_at(at, JsonFault::BadLink))?;
        Ok(Ipld::Link(cid))
    }

    fn bytes(&mut self) -> Result<Ipld, JsonError> {
        let at = self.at;
        self.at += BYTES.len() - 1;
        let text = self.text()?;
        self.close(at, b"}}")?;
        match BASE64_NOPAD.decode(text.as_bytes()) {
            Ok(bytes) => Ok(Ipld::Bytes(bytes)),
            Err(_) => Err(self.fault_at(at, JsonFault::BadBytes)),
        }
    }

    /// The end of a link or byte string, which begins at `at`.
    fn close(&mut self, at: usize, brackets: &[u8]) -> Result<(), JsonError> {
        for bracket in brackets {
            match self.rest().first() {
                Some(byte) if byte == bracket => self.at += 1,
                Some(b',') => return Err(self.fault_at(at, JsonFault::Reserved)),
                _ => return Err(self.misplaced()),
            }
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Ipld, JsonError> {
        let len = self
            .rest()
            .iter()
            .take_while(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .count();
        let not_the_form = self.fault(JsonFault::Number);
        let text = match self.rest().get(..len).map(str::from_utf8) {
            Some(Ok(text)) if len <= MAX_NUMBER_LEN => text,
            _ => return Err(not_the_form),
        };
        let value = if text
            .bytes()
            .all(|byte| byte == b'-' || byte.is_ascii_digit())
        {
            let Ok(integer) = text.parse::<i128>() else {
                return Err(not_the_form);
            };
            if integer.to_string() != text {
                return Err(not_the_form);
            }
            if !integer_fits(integer) {
                return Err(self.fault(JsonFault::IntegerRange));
            }
            Ipld::Integer(integer)
        } else {
            let Ok(float) = text.parse::<f64>() else {
                return Err(not_the_form);
            };
            if float_text(float).map_err(|fault| self.fault(fault))? != text {
                return Err(not_the_form);
            }
            Ipld::Float(float)
        };
        self.at += len;
        Ok(value)
    }

    /// A text, from quote to quote.
    fn text(&mut self) -> Result<String, JsonError> {
        let start = self.at;
        self.at += 1;
        let mut text: Vec<u8> = Vec::new();
        loop {
            let rest = self.rest();
            let plain = rest
                .iter()
                .take_while(|&&byte| byte >= 0x20 && byte != b'"' && byte != b'\\')
                .count();
            text.extend_from_slice(&rest[..plain]);
            self.at += plain;
            match self.peek()? {
                b'"' => break,
                b'\\' => text.push(self.escape()?),
                _ => return Err(self.fault(JsonFault::Control)),
            }
        }
        self.at += 1;
        String::from_utf8(text).map_err(|_| self.fault_at(start, JsonFault::InvalidUtf8))
    }

    /// An escaped character; all that canonical DAG-JSON escapes are ASCII.
    fn escape(&mut self) -> Result<u8, JsonError> {
        let wrong = self.fault(JsonFault::Escape);
        let (character, len) = match self.rest() {
            [_, b'"', ..] => (b'"', 2),
            [_, b'\\', ..] => (b'\\', 2),
            [_, b'b', ..] => (0x08, 2),
            [_, b'f', ..] => (0x0c, 2),
            [_, b'n', ..] => (b'\n', 2),
            [_, b'r', ..] => (b'\r', 2),
            [_, b't', ..] => (b'\t', 2),
            [_, b'u', b'0', b'0', high @ (b'0' | b'1'), low, ..] => {
                let low = match low {
                    b'0'..=b'9' => low - b'0',
                    b'a'..=b'f' => low - b'a' + 10,
                    _ => return Err(wrong),
                };
                match (high - b'0') * 16 + low {
                    0x08 | 0x09 | 0x0a | 0x0c | 0x0d => return Err(wrong),
                    control => (control, 6),
                }
            }
            _ => return Err(wrong),
        };
        self.at += len;
        Ok(character)
    }
}
