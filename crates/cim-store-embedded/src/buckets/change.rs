//! What records of the journal of buckets hold: one change of a key each.
//!
//! A body is the end of the value's time to live (8 bytes, `i64::MIN`: none), the length of the key
//! (2 bytes), the key, and the value. The record's header has the revision as its sequence number
//! and the bucket's number as its number. `docs/format/segments.md` has the table of bytes.

use bytes::Bytes;
use cim_store::{Entry, Key, Operation, Revision, Timestamp};

use crate::error::EngineError;
use crate::index::key::IndexKey;
use crate::index::{HEAD, Slot};
use crate::journal::Journal;
use crate::journal::record::{Header, Place};

const PUT: u8 = 16;
const DELETE: u8 = 17;
const PURGE: u8 = 18;
const FIXED_BYTES: usize = 10;
const REVISION_BITS: u32 = 40;

/// A change as it stands in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) bucket: u16,
    pub(crate) entry: Entry,
    pub(crate) place: Place,
    /// The change before it of the same key.
    pub(crate) previous: Place,
}

impl Change {
    /// Whether its value is over at this time.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        is_over(self.entry.expires_at, now)
    }

    /// Whether it gives its key a value at this time.
    pub(crate) fn has_value(&self, now: Timestamp) -> bool {
        self.entry.operation == Operation::Put && !self.is_over(now)
    }
}

pub(crate) fn is_over(expires_at: Option<Timestamp>, now: Timestamp) -> bool {
    expires_at.is_some_and(|end| end <= now)
}

/// The record's kind for an operation.
pub(crate) fn kind_of(operation: Operation) -> u8 {
    match operation {
        Operation::Put => PUT,
        Operation::Delete => DELETE,
        Operation::Purge => PURGE,
    }
}

/// Whether a record is a change.
pub(crate) fn is_change(kind: u8) -> bool {
    (PUT..=PURGE).contains(&kind)
}

/// Appends a change's body to `buffer`.
pub(crate) fn encode(key: &Key, value: &[u8], expires_at: Option<Timestamp>, buffer: &mut Vec<u8>) {
    let end = expires_at.map_or(i64::MIN, Timestamp::as_micros);
    buffer.extend_from_slice(&end.to_le_bytes());
    buffer.extend_from_slice(&(key.as_str().len() as u16).to_le_bytes());
    buffer.extend_from_slice(key.as_str().as_bytes());
    buffer.extend_from_slice(value);
}

/// Makes a change of a record's header and body. The value shares the body's memory.
pub(crate) fn decode(
    journal: &Journal,
    header: &Header,
    body: &Bytes,
) -> Result<Change, EngineError> {
    let decoded = parts(header, body);
    decoded.ok_or_else(|| {
        let path = journal.setting.segment_path(header.place.segment());
        let offset = u64::from(header.place.offset());
        EngineError::damage("a record is not a change of a bucket", &path, offset)
    })
}

fn parts(header: &Header, body: &Bytes) -> Option<Change> {
    let operation = match header.kind {
        PUT => Operation::Put,
        DELETE => Operation::Delete,
        PURGE => Operation::Purge,
        _ => return None,
    };
    let (fixed, rest) = body.split_first_chunk::<FIXED_BYTES>()?;
    let mut end = [0; 8];
    end.copy_from_slice(&fixed[..8]);
    let end = i64::from_le_bytes(end);
    let length = usize::from(u16::from_le_bytes([fixed[8], fixed[9]]));
    let key = str::from_utf8(rest.get(..length)?).ok()?;
    Some(Change {
        bucket: u16::try_from(header.number).ok()?,
        entry: Entry {
            key: Key::new(key.to_owned()).ok()?,
            value: body.slice(FIXED_BYTES + length..),
            revision: Revision::new(header.sequence),
            operation,
            stored_at: Timestamp::from_micros(header.stored_at),
            expires_at: (end != i64::MIN).then(|| Timestamp::from_micros(end)),
        },
        place: header.place,
        previous: header.previous,
    })
}

/// The index's entry for a key's last change.
pub(crate) fn head_entry(
    bucket: u16,
    key: &Key,
    revision: Revision,
    place: Place,
) -> (IndexKey, Slot) {
    let number = u64::from(bucket) << REVISION_BITS | revision.get();
    let slot = Slot {
        kind: HEAD,
        place,
        number,
        detail: None,
    };
    (IndexKey::entry(u32::from(bucket), key.as_str()), slot)
}

/// The bucket that an entry of the index belongs to.
pub(crate) fn bucket_of(slot: &Slot) -> u16 {
    (slot.number >> REVISION_BITS) as u16
}
