//! What the journal's records mean for the index: used where the index is behind.

use crate::buckets::change::{decode, head_entry, is_change};
use crate::error::EngineError;
use crate::index::Index;
use crate::journal::Journal;
use crate::journal::mark::Reached;
use crate::journal::scan::Scan;

/// Entries that are applied together.
const BATCH: usize = 4_096;

/// Reads what the index lacks from the journal. Returns how many records that were.
///
/// Of a key that was moved the later place counts, so the order of the journal is the right one.
pub(crate) fn catch_up(journal: &Journal, index: &Index) -> Result<u64, EngineError> {
    let mut reached = index.reached();
    let mut scan = Scan::new(journal.segments(), reached.end, journal.reached().end);
    let mut batch = Vec::with_capacity(BATCH);
    let mut records = 0;
    while let Some((header, body)) = scan.next_record()? {
        records += 1;
        if is_change(header.kind) {
            let change = decode(journal, &header, &body)?;
            let entry = &change.entry;
            batch.push(head_entry(
                change.bucket,
                &entry.key,
                entry.revision,
                change.place,
            ));
        }
        reached = Reached {
            end: scan.place(),
            group: header.group,
            sequence: header.sequence.max(reached.sequence),
            stored_at: header.stored_at.max(reached.stored_at),
        };
        if batch.len() >= BATCH && index.apply(batch.drain(..), 0, reached) && index.freeze() {
            index.build()?;
        }
    }
    index.apply(batch, 0, reached);
    Ok(records)
}
