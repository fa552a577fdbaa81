//! Giving up the space of changes that were superseded.
//!
//! What still counts of the oldest segment is written again at the end; then the segment is
//! removed. It begins when the journal has become more than twice as large as what counts in it,
//! and goes on in small parts between the groups of the writer. A crash in between leaves records
//! twice, and the later place counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cim_store::Operation;

use crate::buckets::change::{Change, decode, is_change};
use crate::buckets::reader::Reader;
use crate::buckets::writer::BucketWriter;
use crate::error::EngineError;
use crate::journal::State;
use crate::journal::record::span;
use crate::journal::scan::Scan;
use crate::journal::segment::FIRST_OFFSET;

/// Bytes that are written again in one part.
const PART_BYTES: usize = 256 << 10;
/// Records that are looked at in one part.
const PART_RECORDS: usize = 4_096;
/// How long the mark of a purge is kept for watchers that come later.
const PURGE_MARK_LIFE: Duration = Duration::from_secs(3_600);

/// How far the compaction of a journal is.
#[derive(Debug, Default)]
pub(crate) struct Compaction {
    /// Bytes that count, as they were measured last; `u64::MAX` while they are being measured.
    live: Arc<AtomicU64>,
    /// The size of the journal at which it is worth measuring again.
    measure_at: u64,
    grown: bool,
    measuring: bool,
    /// The journal is to become smaller than this; 0: it is small enough.
    target: u64,
    scan: Option<Scan>,
}

const UNKNOWN: u64 = u64::MAX;
/// Something that counts can't be read, so nothing is given up until it is measured again.
const UNREADABLE: u64 = u64::MAX - 1;

impl Compaction {
    /// A segment was filled.
    pub(crate) fn note_growth(&mut self) {
        self.grown = true;
    }
}

impl BucketWriter {
    /// Does a part of what is to be done; false when there is nothing.
    pub(crate) fn compact(&mut self) -> bool {
        if self.shared.reader.journal.closed().is_some() {
            return false;
        }
        if self.compaction.scan.is_none() && !self.begin_segment() {
            return false;
        }
        match self.compact_part() {
            Ok(more) => more,
            Err(error) => {
                // What was superseded stays where it is; nothing that counts is lost by it.
                tracing::warn!(%error, "a journal of buckets could not be made smaller");
                self.compaction = Compaction::default();
                false
            }
        }
    }

    /// Whether there is a segment to be given up; then begins with it.
    fn begin_segment(&mut self) -> bool {
        let idle = !self.compaction.grown && self.compaction.target == 0;
        if self.compaction.measuring {
            if self.compaction.live.load(Ordering::Acquire) == UNKNOWN {
                return false; // the next group looks again
            }
        } else if idle {
            return false;
        }
        let journal = Arc::clone(&self.shared.reader.journal);
        let bytes = journal.record_bytes();
        let slack = 2 * journal.setting.segment_bytes;
        if std::mem::take(&mut self.compaction.measuring) {
            let live = match self.compaction.live.load(Ordering::Acquire) {
                UNREADABLE => bytes,
                live => live,
            };
            self.compaction.measure_at = live.saturating_mul(2).max(bytes).saturating_add(slack);
            if bytes > live.saturating_mul(2).saturating_add(slack) {
                self.compaction.target = live + live / 2 + slack;
            }
        }
        if std::mem::take(&mut self.compaction.grown) && bytes >= self.compaction.measure_at {
            self.measure();
            return false;
        }
        if bytes <= self.compaction.target {
            self.compaction.target = 0;
            self.compaction.measure_at = bytes + slack;
        }
        if self.compaction.target == 0 {
            return false;
        }
        let segments = journal.segments();
        let oldest = segments.first().filter(|_| segments.len() > 2);
        let watched = self.shared.watchers.oldest_segment();
        let Some(oldest) = oldest.filter(|oldest| {
            oldest.footer().is_some() && watched.is_none_or(|segment| segment > oldest.number())
        }) else {
            return false;
        };
        let (start, end) = (oldest.place(FIRST_OFFSET), oldest.place(oldest.end()));
        self.compaction.scan = Some(Scan::new(vec![Arc::clone(oldest)].into(), start, end));
        true
    }

    /// Has the bytes that count measured in the background.
    fn measure(&mut self) {
        self.compaction.live.store(UNKNOWN, Ordering::Release);
        self.compaction.measuring = true;
        let (shared, live) = (Arc::clone(&self.shared), Arc::clone(&self.compaction.live));
        self.keeper.run(move || {
            let measured = live_bytes(&shared.reader, |bucket| shared.catalog.history(bucket));
            live.store(measured.unwrap_or(UNREADABLE), Ordering::Release);
        });
    }

    fn compact_part(&mut self) -> Result<bool, EngineError> {
        let Some(mut scan) = self.compaction.scan.take() else {
            return Ok(false);
        };
        self.begin()?;
        let now = self.now();
        for _ in 0..PART_RECORDS {
            let Some((header, body)) = scan.next_record()? else {
                self.store_group()?;
                return self.give_up(scan);
            };
            if is_change(header.kind) {
                let change = decode(&self.shared.reader.journal, &header, &body)?;
                self.move_key(&change, now)?;
            }
            if self.writer.gathered() >= PART_BYTES {
                break;
            }
        }
        // What was not stored still counts where it stands: then this begins anew.
        self.store_group()?;
        self.compaction.scan = Some(scan);
        Ok(true)
    }

    /// Writes what counts of a key again, if this change counts.
    fn move_key(&mut self, change: &Change, now: cim_store::Timestamp) -> Result<(), EngineError> {
        let Some(last) = self.last(change.bucket, &change.entry.key)? else {
            return Ok(());
        };
        if last.entry.operation == Operation::Put && last.is_over(now) {
            // Also those who watch later learn that the value ended.
            self.purge(&last, now);
            return Ok(());
        }
        let history = self.shared.catalog.history(change.bucket);
        let kept = self.kept_in_group(last, history, now)?;
        if !kept.iter().any(|kept| kept.place == change.place) {
            return Ok(());
        }
        if let [mark] = kept.as_slice()
            && mark.entry.operation == Operation::Purge
            && now >= mark.entry.stored_at.saturating_add(PURGE_MARK_LIFE)
        {
            return Ok(()); // it goes with its segment
        }
        self.move_changes(kept);
        Ok(())
    }

    /// What is kept of a key; where its last change stands in the group that is being gathered,
    /// the key was moved or purged just now, and nothing of it stands in the old segment.
    fn kept_in_group(
        &self,
        last: Change,
        history: u8,
        now: cim_store::Timestamp,
    ) -> Result<Vec<Change>, EngineError> {
        if last.place.segment() == self.writer.next_place().segment()
            && last.place.offset() >= self.writer.flushed_place().offset()
        {
            return Ok(vec![last]);
        }
        self.shared.reader.kept(last, history, now)
    }

    /// Removes a segment of which nothing counts any more.
    fn give_up(&mut self, scan: Scan) -> Result<bool, EngineError> {
        let journal = Arc::clone(&self.shared.reader.journal);
        let segments = journal.segments();
        let Some(next) = segments.get(1).map(|segment| segment.number()) else {
            return Ok(false);
        };
        debug_assert!(
            scan.place().segment() <= next,
            "the scan stays in the oldest segment"
        );
        let watched = self.shared.watchers.oldest_segment();
        if watched.is_some_and(|segment| segment < next) {
            // A watch that began meanwhile may have found something there.
            self.compaction.scan = Some(scan);
            return Ok(false);
        }
        if let Some(closed) = journal.closed() {
            return Err(closed); // what was moved may not be durable
        }
        let state = State {
            first_segment: next,
            ..self.state.clone()
        };
        state.write(&journal.setting)?;
        self.state = state;
        for segment in journal.drop_segments_before(next) {
            let removed = journal.setting.disk.remove(&segment.path);
            removed.map_err(EngineError::io("remove", &segment.path))?;
        }
        Ok(true)
    }
}

/// Bytes of the records that count.
fn live_bytes(reader: &Reader, history: impl Fn(u16) -> u8) -> Result<u64, EngineError> {
    let mut bytes = 0;
    let mut cursor = reader.index.head_cursor();
    while let Some((key, slot)) = cursor.next()? {
        let Some(last) = reader.follow(key, Some(slot))? else {
            continue;
        };
        let history = history(last.bucket);
        // A time before all others: what is over counts until it is swept.
        for change in reader.kept(last, history, cim_store::Timestamp::from_micros(i64::MIN))? {
            let body = change.entry.value.len() + change.entry.key.as_str().len();
            bytes += span(body) as u64;
        }
    }
    Ok(bytes)
}
