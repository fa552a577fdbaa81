//! Writing a value as canonical DAG-JSON, without recursion.

use std::collections::btree_map;
use std::slice;

use data_encoding::BASE64_NOPAD;

use super::float::float_text;
use super::{JsonError, JsonFault, integer_fits};
use crate::dag_cbor::{Ipld, MAX_NESTING};

/// A list or map that is being written, with the values still to come.
enum Open<'a> {
    List(slice::Iter<'a, Ipld>),
    /// `BTreeMap` sorts keys by their bytes, as DAG-JSON wants it.
    Map(btree_map::Iter<'a, String, Ipld>),
}

pub(super) fn write(value: &Ipld) -> Result<Vec<u8>, JsonError> {
    let mut out = Vec::new();
    let mut open = Vec::new();
    let mut next = Some(value);
    loop {
        if let Some(value) = next.take() {
            begin(value, &mut out, &mut open)?;
        }
        // After a value: the next one of the innermost list or map, or its end.
        let (close, item) = match open.last_mut() {
            None => return Ok(out),
            Some(Open::List(items)) => (b']', items.next().map(|value| (None, value))),
            Some(Open::Map(items)) => (b'}', items.next().map(|(key, value)| (Some(key), value))),
        };
        let Some((key, value)) = item else {
            out.push(close);
            open.pop();
            continue;
        };
        if !matches!(out.last(), Some(b'[' | b'{')) {
            out.push(b',');
        }
        if let Some(key) = key {
            text(key, &mut out);
            out.push(b':');
        }
        next = Some(value);
    }
}

/// Writes a scalar whole, of a list or map the bracket.
fn begin<'a>(
    value: &'a Ipld,
    out: &mut Vec<u8>,
    open: &mut Vec<Open<'a>>,
) -> Result<(), JsonError> {
    match value {
        Ipld::Null => out.extend_from_slice(b"null"),
        Ipld::Bool(true) => out.extend_from_slice(b"true"),
        Ipld::Bool(false) => out.extend_from_slice(b"false"),
        Ipld::Integer(integer) if integer_fits(*integer) => {
            out.extend_from_slice(integer.to_string().as_bytes());
        }
        Ipld::Integer(_) => return Err(unencodable(JsonFault::IntegerRange)),
        Ipld::Float(float) => {
            let float = float_text(*float).map_err(unencodable)?;
            out.extend_from_slice(float.as_bytes());
        }
        Ipld::String(string) => text(string, out),
        Ipld::Bytes(bytes) => {
            out.extend_from_slice(b"{\"/\":{\"bytes\":\"");
            out.extend_from_slice(BASE64_NOPAD.encode(bytes).as_bytes());
            out.extend_from_slice(b"\"}}");
        }
        Ipld::Link(cid) => {
            out.extend_from_slice(b"{\"/\":\"");
            out.extend_from_slice(cid.to_string().as_bytes());
            out.extend_from_slice(b"\"}");
        }
        Ipld::List(items) => {
            nest(open, out)?;
            out.push(b'[');
            open.push(Open::List(items.iter()));
        }
        Ipld::Map(map) => {
            if reserved(map.iter().next()) {
                return Err(unencodable(JsonFault::Reserved));
            }
            nest(open, out)?;
            out.push(b'{');
            open.push(Open::Map(map.iter()));
        }
    }
    Ok(())
}

fn nest(open: &[Open<'_>], out: &[u8]) -> Result<(), JsonError> {
    if open.len() == MAX_NESTING {
        return Err(JsonError::TooDeep {
            limit: MAX_NESTING,
            offset: out.len(),
        });
    }
    Ok(())
}

/// Whether a map with this first entry would read back as a link or a byte string, or not at all.
fn reserved(first: Option<(&String, &Ipld)>) -> bool {
    match first {
        Some((key, Ipld::String(_))) => key == "/",
        Some((key, Ipld::Map(inner))) if key == "/" => matches!(
            inner.iter().next(),
            Some((key, Ipld::String(_))) if key == "bytes"
        ),
        _ => false,
    }
}

fn text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut plain = 0;
    for (at, &byte) in text.as_bytes().iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&text.as_bytes()[plain..at]);
        plain = at + 1;
        match short_escape(byte) {
            Some(letter) => out.extend_from_slice(&[b'\\', letter]),
            None => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        }
    }
    out.extend_from_slice(&text.as_bytes()[plain..]);
    out.push(b'"');
}

/// The letter after the backslash, for characters that have one.
fn short_escape(byte: u8) -> Option<u8> {
    Some(match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => return None,
    })
}

fn unencodable(fault: JsonFault) -> JsonError {
    JsonError::Unencodable {
        source: fault.into(),
    }
}
