//! What the journal's records mean for the index: used where the index is behind.

use std::sync::Arc;

use cim_ipld::EventBlock;

use crate::error::EngineError;
use crate::events::record::{CARRIED_COMMIT, CARRIED_HEAD, DIGEST_BYTES, EVENT};
use crate::events::truncate;
use crate::index::key::{IndexKey, STEP as VERSIONS};
use crate::index::{COMMIT, Detail, HEAD, Index, STEP, Slot};
use crate::journal::mark::Reached;
use crate::journal::record::{FIRST_OF_COMMIT, Header, Place};
use crate::journal::scan::Scan;
use crate::journal::segment::FIRST_OFFSET;
use crate::journal::{CARRIED, Journal};

/// Entries that are applied together.
const BATCH: usize = 4_096;

/// Reads into the index what is carried of what was given up. Streams count only where the index
/// does not know them yet.
pub(crate) fn index_carried(
    journal: &Journal,
    index: &Index,
    known: bool,
) -> Result<(), EngineError> {
    let Some(carried) = journal.carried() else {
        return Ok(());
    };
    let (start, end) = (carried.place(FIRST_OFFSET), carried.place(carried.end()));
    let scan = Scan::new(Arc::new(vec![carried]), start, end);
    index_records(journal, index, scan, index.reached(), !known).map(|_| ())
}

/// Reads what the index lacks from the journal. Returns how many records that were.
pub(crate) fn catch_up(journal: &Journal, index: &Index) -> Result<u64, EngineError> {
    let start = index.reached();
    let scan = Scan::new(journal.segments(), start.end, journal.reached().end);
    index_records(journal, index, scan, start, true)
}

fn index_records(
    journal: &Journal,
    index: &Index,
    mut scan: Scan,
    start: Reached,
    count_heads: bool,
) -> Result<u64, EngineError> {
    let mut batch = Vec::with_capacity(BATCH);
    let (mut heads, mut records) = (0, 0);
    let mut reached = start;
    while let Some((header, body)) = scan.next_record()? {
        records += 1;
        heads += entries(journal, &header, &body, &mut batch)? * u64::from(count_heads);
        if header.place.segment() < CARRIED {
            reached = Reached {
                end: scan.place(),
                group: header.group,
                sequence: header.sequence,
                stored_at: header.stored_at,
            };
        }
        // Entries lead to single records, so the index may stop anywhere, also within a commit.
        if batch.len() >= BATCH {
            let full = index.apply(batch.drain(..), std::mem::take(&mut heads), reached);
            if full && index.freeze() {
                index.build()?;
            }
        }
    }
    index.apply(batch, heads, reached);
    Ok(records)
}

/// Adds a record's entries to `entries`; returns how many streams begin with it.
pub(crate) fn entries(
    journal: &Journal,
    header: &Header,
    body: &bytes::Bytes,
    entries: &mut Vec<(IndexKey, Slot)>,
) -> Result<u64, EngineError> {
    match header.kind {
        EVENT => {}
        CARRIED_HEAD => {
            let (stream, cid) = truncate::decode_head(journal, header, body)?;
            entries.push(head_entry(
                stream.as_str(),
                header.place,
                header,
                *cid.digest(),
            ));
            return Ok(1);
        }
        CARRIED_COMMIT => {
            let commit = truncate::decode_commit(journal, header, body)?;
            let key = IndexKey::commit(commit.result.commit_id.as_bytes());
            entries.push((key, commit_slot(header.place, header.number)));
            return Ok(0);
        }
        _ => return Ok(0),
    }
    let damage = || {
        let path = journal.setting.segment_path(header.place.segment());
        EngineError::damage(
            "a record is not an event",
            &path,
            u64::from(header.place.offset()),
        )
    };
    let (digest, block) = body
        .split_first_chunk::<DIGEST_BYTES>()
        .ok_or_else(damage)?;
    let block = EventBlock::decode(block).map_err(|_| damage())?;
    entries.push(head_entry(block.stream, header.place, header, *digest));
    if header.number.is_multiple_of(VERSIONS) {
        entries.push(step_entry(block.stream, header.number, header.place));
    }
    if header.has(FIRST_OF_COMMIT) {
        let key = IndexKey::commit(&block.commit);
        entries.push((key, commit_slot(header.place, u64::from(block.count))));
    }
    Ok(u64::from(begins_a_stream(journal, header)))
}

/// Whether an event is the first that is known of its stream: the first of all, or the first behind
/// what was given up. Streams that are carried count where they are carried.
fn begins_a_stream(journal: &Journal, header: &Header) -> bool {
    let before = header.previous;
    let is_carried = || {
        let carried = journal.carried();
        carried.is_some_and(|carried| carried.number() == before.segment())
    };
    header.number == 1 || journal.has_given_up(before) && !is_carried()
}

fn head_entry(stream: &str, place: Place, header: &Header, digest: [u8; 32]) -> (IndexKey, Slot) {
    let detail = Some(Detail {
        sequence: header.sequence,
        digest,
    });
    (
        IndexKey::stream(stream),
        Slot {
            kind: HEAD,
            place,
            number: header.number,
            detail,
        },
    )
}

pub(crate) fn step_entry(stream: &str, version: u64, place: Place) -> (IndexKey, Slot) {
    let slot = Slot {
        kind: STEP,
        place,
        number: version,
        detail: None,
    };
    (IndexKey::step(stream, version), slot)
}

pub(crate) fn commit_slot(place: Place, events: u64) -> Slot {
    Slot {
        kind: COMMIT,
        place,
        number: events,
        detail: None,
    }
}
