//! Watching a bucket: what it keeps first, then the journal as it grows.
//!
//! A watch reads the journal itself, at its own pace, so nothing is buffered for it. What it has
//! not seen is not given up meanwhile.

use std::sync::Arc;
use std::time::Duration;

use cim_store::{BucketError, Entry, EntryStream, Operation, Revision, SubjectPattern, WatchFrom};
use futures_util::future::{Either, select};
use futures_util::{StreamExt, stream};
use tokio::sync::{mpsc, oneshot, watch};

use crate::buckets::change::{Change, decode, is_change};
use crate::buckets::port::EmbeddedBucket;
use crate::buckets::writer::{Request, Shared};
use crate::error::EngineError;
use crate::journal::Tail;
use crate::journal::mark::Reached;
use crate::journal::record::{MOVED, Place};
use crate::journal::scan::Scan;
use crate::writer_thread::Asked;

/// Entries delivered between two looks at the queue of tasks.
const BATCH: usize = 128;
const BATCH_BYTES: usize = 1 << 20;
/// The time after which purges that could not be recorded are tried again.
const SWEEP_AGAIN: Duration = Duration::from_secs(1);

/// One watcher's place in a bucket.
pub(crate) struct Watch {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Asked<Request>>,
    bucket: u16,
    pattern: SubjectPattern,
    /// What is delivered first, the next one last: revisions and where they are.
    kept: Vec<(Revision, Place)>,
    scan: Scan,
    tail: watch::Receiver<Tail>,
    /// Its number among the watchers.
    number: u64,
}

impl Watch {
    /// A watch that begins now.
    pub(crate) fn begin(
        bucket: &EmbeddedBucket,
        pattern: &SubjectPattern,
        from: WatchFrom,
    ) -> Result<Self, BucketError> {
        let shared = Arc::clone(&bucket.shared);
        let journal = &shared.reader.journal;
        // Registered before its beginning is looked up, so that nothing from there on goes.
        let number = shared.watchers.add(Place::NONE);
        let tail = journal.watch();
        let start = tail.borrow().reached;
        let mut watch = Self {
            scan: Scan::new(journal.segments(), start.end, start.end),
            requests: bucket.requests.clone(),
            bucket: bucket.number,
            pattern: pattern.clone(),
            kept: Vec::new(),
            tail,
            number,
            shared: Arc::clone(&shared),
        };
        if shared.expiries.keep(bucket.number) {
            let looked_up = watch.look_up_ends();
            looked_up.inspect_err(|_| shared.expiries.forget(bucket.number))?;
        }
        let history = bucket.settings.history;
        match from {
            WatchFrom::Now => {}
            WatchFrom::Current => watch.look_up(
                start,
                |changes| {
                    let last = changes.into_iter().next();
                    last.filter(|last| last.entry.operation == Operation::Put)
                        .into_iter()
                        .collect()
                },
                history,
            )?,
            WatchFrom::After(revision) => watch.look_up(
                start,
                |mut changes| {
                    changes.retain(|change| change.entry.revision > revision);
                    changes
                },
                history,
            )?,
        }
        if watch.kept.is_empty() {
            watch.shared.watchers.set(number, start.end);
        }
        Ok(watch)
    }

    /// Looks the ends of the bucket's values up.
    fn look_up_ends(&self) -> Result<(), EngineError> {
        let mut keys = self.shared.reader.keys(self.bucket);
        while let Some(last) = keys.next()? {
            if let (Operation::Put, Some(end)) = (last.entry.operation, last.entry.expires_at) {
                self.shared.expiries.add(self.bucket, &last.entry.key, end);
            }
        }
        Ok(())
    }

    /// Looks up what is delivered first: of each key that matches, those that `choose` takes of
    /// its changes up to the beginning, newest first.
    fn look_up(
        &mut self,
        start: Reached,
        choose: impl Fn(Vec<Change>) -> Vec<Change>,
        history: u8,
    ) -> Result<(), EngineError> {
        let now = self.shared.clock.now();
        let mut keys = self.shared.reader.keys(self.bucket);
        while let Some(last) = keys.next()? {
            if !self.pattern.matches_str(last.entry.key.as_str()) {
                continue;
            }
            let mut changes = self.shared.reader.kept(last, history, now)?;
            changes.retain(|change| change.entry.revision.get() <= start.sequence);
            let chosen = choose(changes).into_iter();
            self.kept
                .extend(chosen.map(|change| (change.entry.revision, change.place)));
        }
        self.kept
            .sort_unstable_by_key(|(revision, _)| std::cmp::Reverse(*revision));
        Ok(())
    }

    /// The entries as they come.
    pub(crate) fn into_stream(self) -> EntryStream {
        let batches = stream::unfold(Some(self), |watch| async move {
            let mut watch = watch?;
            Some(match watch.next_batch().await {
                Ok(batch) => (batch.into_iter().map(Ok).collect::<Vec<_>>(), Some(watch)),
                Err(error) => (vec![Err(error)], None),
            })
        });
        batches.flat_map(stream::iter).boxed()
    }

    async fn next_batch(&mut self) -> Result<Vec<Entry>, BucketError> {
        loop {
            let batch = self.take_kept()?;
            if !batch.is_empty() {
                return Ok(batch);
            }
            // What is told from here on is not in what is read below.
            let tail = *self.tail.borrow_and_update();
            let segments = self.shared.reader.journal.segments();
            self.scan = Scan::new(segments, self.scan.place(), tail.reached.end);
            let batch = self.take_new()?;
            self.shared.watchers.set(self.number, self.scan.place());
            if !batch.is_empty() {
                return Ok(batch);
            }
            if self.scan.place() < tail.reached.end {
                tokio::task::yield_now().await;
                continue;
            }
            if tail.closed {
                let closed = self.shared.reader.journal.closed();
                return Err(closed.unwrap_or_else(EngineError::closed).into());
            }
            self.wait().await;
        }
    }

    /// Ends when there is more to read, or when a value ends.
    async fn wait(&mut self) {
        let clock = Arc::clone(&self.shared.clock);
        let Some(end) = self.shared.expiries.next(self.bucket) else {
            let _ = self.tail.changed().await;
            return;
        };
        let alarm = clock.sleep(end.saturating_since(clock.now()));
        // Between asking for the time and falling asleep the time may have come.
        if clock.now() < end {
            let changed = std::pin::pin!(self.tail.changed());
            if let Either::Left(_) = select(changed, alarm).await {
                return;
            }
        }
        // The purge comes by the journal, like everything else.
        let (done, swept) = oneshot::channel();
        let sweep = Request::Sweep {
            bucket: self.bucket,
            done,
        };
        if self.requests.send(Asked::Request(sweep)).await.is_ok() {
            // The sender is dropped when the purges can be read.
            let _ = swept.await;
        }
        // Where they could not be recorded, another attempt has to wait, but not for long.
        let still = self.shared.expiries.next(self.bucket);
        if still.is_some_and(|end| end <= clock.now()) {
            let changed = std::pin::pin!(self.tail.changed());
            select(changed, clock.sleep(SWEEP_AGAIN)).await;
        }
    }

    fn take_kept(&mut self) -> Result<Vec<Entry>, EngineError> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < BATCH && bytes < BATCH_BYTES {
            let Some((_, place)) = self.kept.pop() else {
                break;
            };
            let entry = match self.shared.reader.read(place) {
                Ok(change) => change.entry,
                // What counted was moved before this watch began, so this did not count any more.
                Err(_) if self.shared.reader.journal.has_given_up(place) => continue,
                Err(error) => return Err(error),
            };
            bytes += entry.value.len();
            batch.push(entry);
        }
        Ok(batch)
    }

    fn take_new(&mut self) -> Result<Vec<Entry>, EngineError> {
        let mut batch = Vec::new();
        let (mut bytes, mut looked_at) = (0, 0);
        while batch.len() < BATCH && bytes < BATCH_BYTES && looked_at < 16 * BATCH {
            let Some((header, body)) = self.scan.next_record()? else {
                break;
            };
            looked_at += 1;
            let other = header.number != u64::from(self.bucket) || header.has(MOVED);
            if other || !is_change(header.kind) {
                continue;
            }
            let change = decode(&self.shared.reader.journal, &header, &body)?;
            if self.pattern.matches_str(change.entry.key.as_str()) {
                bytes += change.entry.value.len();
                batch.push(change.entry);
            }
        }
        Ok(batch)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.watchers.remove(self.number);
    }
}
