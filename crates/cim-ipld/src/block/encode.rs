//! Writing an event's block: the fixed fields in canonical order, straight into a buffer.

use super::fields::{self, BYTES_16, Field, LINK_HEAD, REQUIRED};
use super::{BLOCK_FORMAT_VERSION, EventBlock};
use crate::cbor;

/// What all keys, the map's head, ids, the link and the longest integers take together.
const FIXED_LEN: usize = {
    let mut len = cbor::MAX_HEAD_LEN; // the map's head
    let mut i = 0;
    while i < fields::ALL.len() {
        len += fields::ALL[i].key.len() + cbor::MAX_HEAD_LEN;
        i += 1;
    }
    len + 4 * 16 + LINK_HEAD.len() + 32
};

impl EventBlock<'_> {
    /// How many bytes [`EventBlock::encode_into`] appends at most; a few hundred more than it does.
    #[must_use]
    pub fn encoded_len_upper_bound(&self) -> usize {
        FIXED_LEN
            + self.event_type.len()
            + self.stream.len()
            + self.content_type.len()
            + self.data.len()
            + self.principal.map_or(0, str::len)
            + self.trace.map_or(0, str::len)
            + self.metadata.as_bytes().len()
    }

    /// Appends the block's canonical DAG-CBOR bytes.
    ///
    /// The fields are written as they are; see [`EventBlock::validate`] for what decoding demands
    /// of them.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        out.reserve(self.encoded_len_upper_bound());

        let optional = u8::from(!self.metadata.is_empty())
            + u8::from(self.previous.is_some())
            + u8::from(self.trace.is_some())
            + u8::from(self.causation.is_some())
            + u8::from(self.principal.is_some())
            + u8::from(self.correlation.is_some());
        cbor::write_head(out, cbor::MAP, u64::from(REQUIRED + optional));

        uint(out, &fields::FORMAT, BLOCK_FORMAT_VERSION);
        id(out, &fields::ID, &self.id);
        string(out, &fields::DATA, cbor::BYTES, self.data);
        if !self.metadata.is_empty() {
            out.extend_from_slice(fields::META.key);
            out.extend_from_slice(self.metadata.as_bytes());
        }
        if let Some(previous) = &self.previous {
            out.extend_from_slice(fields::PREV.key);
            out.extend_from_slice(&LINK_HEAD);
            out.extend_from_slice(previous.digest());
        }
        out.extend_from_slice(fields::TIME.key);
        if self.time >= 0 {
            cbor::write_head(out, cbor::UINT, self.time.unsigned_abs());
        } else {
            // CBOR's negative `-1 - n`: for two's complement, `n` is the number's complement.
            cbor::write_head(out, cbor::NEGATIVE, (!self.time).unsigned_abs());
        }
        string(out, &fields::TYPE, cbor::TEXT, self.event_type.as_bytes());
        uint(out, &fields::COUNT, u64::from(self.count));
        uint(out, &fields::INDEX, u64::from(self.index));
        if let Some(trace) = self.trace {
            string(out, &fields::TRACE, cbor::TEXT, trace.as_bytes());
        }
        id(out, &fields::COMMIT, &self.commit);
        uint(out, &fields::SCHEMA, u64::from(self.schema_version));
        string(out, &fields::STREAM, cbor::TEXT, self.stream.as_bytes());
        uint(out, &fields::VERSION, self.version);
        string(
            out,
            &fields::DATATYPE,
            cbor::TEXT,
            self.content_type.as_bytes(),
        );
        if let Some(causation) = &self.causation {
            id(out, &fields::CAUSATION, causation);
        }
        if let Some(principal) = self.principal {
            string(out, &fields::PRINCIPAL, cbor::TEXT, principal.as_bytes());
        }
        if let Some(correlation) = &self.correlation {
            id(out, &fields::CORRELATION, correlation);
        }
    }
}

#[inline]
fn uint(out: &mut Vec<u8>, field: &Field, value: u64) {
    out.extend_from_slice(field.key);
    cbor::write_head(out, cbor::UINT, value);
}

#[inline]
fn id(out: &mut Vec<u8>, field: &Field, id: &[u8; 16]) {
    out.extend_from_slice(field.key);
    out.push(BYTES_16);
    out.extend_from_slice(id);
}

#[inline]
fn string(out: &mut Vec<u8>, field: &Field, major: u8, bytes: &[u8]) {
    out.extend_from_slice(field.key);
    cbor::write_head(out, major, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
