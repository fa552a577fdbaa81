//! What records of the log of events hold.
//!
//! An event's body is its CID's digest, 32 bytes, and then its block. `docs/format/segments.md`
//! has the table of bytes.

use bytes::Bytes;
use cim_ipld::EventBlock;
use cim_store::staging::decode_event_in;
use cim_store::{EventCid, Position, RecordedEvent, StreamId, Timestamp, Version};

use crate::error::EngineError;
use crate::index::key::IndexKey;
use crate::index::{Index, Slot};
use crate::journal::Journal;
use crate::journal::record::{Header, Place};

/// The kind of an event's record.
pub(crate) const EVENT: u8 = 1;
/// The kind of a record that carries the head of a stream whose events were given up.
pub(crate) const CARRIED_HEAD: u8 = 2;
/// The kind of a record that carries the result of a commit whose events were given up.
pub(crate) const CARRIED_COMMIT: u8 = 3;

/// Bytes of the digest before the block.
pub(crate) const DIGEST_BYTES: usize = 32;

/// The head of a stream, as the writer needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KnownHead {
    pub(crate) version: Version,
    pub(crate) position: Position,
    pub(crate) cid: EventCid,
    pub(crate) place: Place,
}

/// Makes an event of a record's header and body.
pub(crate) fn decode(
    journal: &Journal,
    header: &Header,
    body: &Bytes,
) -> Result<RecordedEvent, EngineError> {
    decode_in(journal, header, body, body)
}

/// As [`decode`], of a body that is a part of `owner`.
#[inline]
pub(crate) fn decode_in(
    journal: &Journal,
    header: &Header,
    owner: &Bytes,
    body: &[u8],
) -> Result<RecordedEvent, EngineError> {
    let parts = body.split_first_chunk::<DIGEST_BYTES>();
    let (EVENT, Some((digest, block))) = (header.kind, parts) else {
        return Err(damaged(journal, header, "a record is not an event"));
    };
    let decoded = decode_event_in(
        owner,
        block,
        EventCid::from_digest(*digest),
        Position::new(header.sequence),
        Timestamp::from_micros(header.stored_at),
    );
    match decoded {
        Ok(event) if event.version.get() == header.number => Ok(event),
        Ok(_) => Err(damaged(
            journal,
            header,
            "an event stands under another version",
        )),
        Err(error) => Err(damaged(journal, header, &error.to_string())),
    }
}

#[cold]
fn damaged(journal: &Journal, header: &Header, what: &str) -> EngineError {
    let place = header.place;
    let path = journal.setting.segment_path(place.segment());
    EngineError::damage(what, &path, u64::from(place.offset()))
}

/// The head of a stream, from the index and, where the index only knows its place, the journal.
pub(crate) fn find_head(
    journal: &Journal,
    index: &Index,
    key: IndexKey,
    stream: &StreamId,
) -> Result<Option<KnownHead>, EngineError> {
    let Some(slot) = index.get(key)? else {
        return Ok(None);
    };
    let head = match head_in(journal, slot, stream) {
        // A truncation took the record away after the index was asked; it knows by now where the
        // head was carried to.
        Err(_) if journal.has_given_up(slot.place) => match index.get(key)? {
            Some(slot) => head_in(journal, slot, stream),
            None => return Ok(None),
        },
        head => head,
    };
    head.map(Some).map_err(|error| index.condemn(error))
}

/// The head that an entry of the index leads to.
pub(crate) fn head_in(
    journal: &Journal,
    slot: Slot,
    stream: &StreamId,
) -> Result<KnownHead, EngineError> {
    if let Some(detail) = slot.detail {
        return Ok(KnownHead {
            version: Version::new(slot.number),
            position: Position::new(detail.sequence),
            cid: EventCid::from_digest(detail.digest),
            place: slot.place,
        });
    }
    let head = read_head(journal, slot)?;
    match head {
        (found, head) if found == *stream => Ok(head),
        _ => Err(misled(journal, slot.place)),
    }
}

/// The head that an entry of the index leads to, whichever stream's it is.
pub(crate) fn read_head(
    journal: &Journal,
    slot: Slot,
) -> Result<(StreamId, KnownHead), EngineError> {
    let mut arena = Vec::new();
    let header = journal.read_into(slot.place, &mut arena)?;
    if header.number != slot.number {
        return Err(misled(journal, slot.place));
    }
    let body = Bytes::from(arena);
    let (stream, cid) = if header.kind == CARRIED_HEAD {
        super::truncate::decode_head(journal, &header, &body)?
    } else {
        let found = body
            .split_first_chunk::<DIGEST_BYTES>()
            .filter(|_| header.kind == EVENT)
            .and_then(|(digest, block)| {
                let block = EventBlock::decode(block).ok()?;
                let stream = StreamId::parse(block.stream.to_owned()).ok()?;
                Some((stream, EventCid::from_digest(*digest)))
            });
        found.ok_or_else(|| misled(journal, slot.place))?
    };
    let head = KnownHead {
        version: Version::new(header.number),
        position: Position::new(header.sequence),
        cid,
        place: slot.place,
    };
    Ok((stream, head))
}

/// The index leads to a record that is not the one it was asked for.
pub(crate) fn misled(journal: &Journal, place: Place) -> EngineError {
    let directory = journal.setting.directory.join("index");
    EngineError::index(
        format!("it leads to another record, at {place:?}"),
        &directory,
    )
}
