//! Watches: read the bucket's kept changes to their end, wait until there are more, read on.
//!
//! The revision says where a watch is, so nothing is buffered for it and nothing comes twice. It
//! also waits for the next end of a time to live itself: whoever wakes first records the purge,
//! the others find it recorded.

use std::sync::Arc;

use cim_subject::SubjectPattern;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::watch;
use tokio::task::coop::consume_budget;

use super::bucket::SharedBucket;
use crate::clock::Sleep;
use crate::{BucketError, Context, Entry, EntryStream, Revision, Timestamp, WatchFrom};

/// One watcher's place in a bucket.
pub(super) struct Watch {
    bucket: Arc<SharedBucket>,
    changes: watch::Receiver<()>,
    pattern: SubjectPattern,
    /// Its number among the bucket's watchers.
    number: u64,
    /// Everything up to here was looked at.
    after: Revision,
    /// Up to here only values are meant, not every kept change.
    values_until: Revision,
    /// Ends at this time.
    alarm: Option<(Timestamp, Sleep)>,
}

impl Watch {
    /// A watch that begins now, if the deadline has not passed.
    pub(super) fn begin(
        bucket: &Arc<SharedBucket>,
        ctx: &Context,
        pattern: &SubjectPattern,
        from: WatchFrom,
    ) -> Result<Self, BucketError> {
        bucket.begin(ctx, "watch", |state, _| {
            let (after, values_until) = match from {
                WatchFrom::Now => (state.last(), Revision::NONE),
                WatchFrom::Current => (Revision::NONE, state.last()),
                WatchFrom::After(revision) => (revision, Revision::NONE),
            };
            Ok(Self {
                bucket: bucket.clone(),
                changes: bucket.changes(),
                pattern: pattern.clone(),
                number: state.add_watcher(after),
                after,
                values_until,
                alarm: None,
            })
        })
    }

    pub(super) fn into_stream(self) -> EntryStream {
        stream::try_unfold(self, Self::next_page)
            .map_ok(|page| stream::iter(page).map(Ok))
            .try_flatten()
            .boxed()
    }

    async fn next_page(mut self) -> Result<Option<(Vec<Entry>, Self)>, BucketError> {
        loop {
            // Marked before looking, so that a change after the look wakes this.
            self.changes.mark_unchanged();
            let (page, after, last, next_due) = self.bucket.access(|state, _| {
                let (page, after) =
                    state.changes_page(&self.pattern, self.after, self.values_until);
                state.move_watcher(self.number, after);
                Ok((page, after, state.last(), state.next_due()))
            })?;
            self.after = after;
            consume_budget().await;
            if !page.is_empty() {
                return Ok(Some((page, self)));
            }
            if self.after >= last {
                self.wait(next_due).await;
            }
        }
    }

    /// Ends with the next change, or when the time has come.
    async fn wait(&mut self, due: Option<Timestamp>) {
        // The sender lives as long as `self.bucket`, so waiting ends only with a change.
        let Some(due) = due else {
            let _ = self.changes.changed().await;
            return;
        };
        let clock = self.bucket.clock();
        if self.alarm.as_ref().is_none_or(|(set, _)| *set != due) {
            let sleep = clock.sleep(due.saturating_since(clock.now()));
            self.alarm = Some((due, sleep));
            // Between asking for the time and falling asleep the time may have come.
            if clock.now() >= due {
                return;
            }
        }
        if let Some((_, sleep)) = &mut self.alarm {
            tokio::select! {
                _ = self.changes.changed() => {}
                () = sleep => self.alarm = None,
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.bucket.leave(self.number);
    }
}
