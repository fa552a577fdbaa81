//! Live subscriptions: read the log to its end, wait until it has grown, read on.
//!
//! History and live events come from the same place by the same position, so there is no seam at
//! which one could be missed or come twice, and nothing to buffer for a slow subscriber.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::watch;
use tokio::task::coop::consume_budget;

use super::log::SharedLog;
use crate::{EventFilter, EventLogError, EventStream, Position, RecordedEvent};

/// One subscriber's place in the log.
pub(super) struct Subscription {
    log: Arc<SharedLog>,
    changes: watch::Receiver<()>,
    filter: EventFilter,
    /// Everything up to here was looked at.
    after: Position,
    subject: String,
}

impl Subscription {
    pub(super) fn new(log: Arc<SharedLog>, filter: EventFilter, after: Position) -> Self {
        Self {
            changes: log.changes(),
            log,
            filter,
            after,
            subject: String::new(),
        }
    }

    pub(super) fn into_stream(self) -> EventStream {
        stream::try_unfold(self, Self::next_page)
            .map_ok(|page| stream::iter(page).map(Ok))
            .try_flatten()
            .boxed()
    }

    async fn next_page(mut self) -> Result<Option<(Vec<RecordedEvent>, Self)>, EventLogError> {
        loop {
            // Marked before looking, so that a commit after the look wakes this.
            self.changes.mark_unchanged();
            let page = self
                .log
                .look(|state| state.log_page(self.after, Position::MAX))?;
            let Some(last) = page.last() else {
                // The sender lives as long as `self.log`, so this ends only with a change.
                let _ = self.changes.changed().await;
                continue;
            };
            self.after = last.event.position;
            let mut meant = Vec::new();
            for stored in &page {
                if self.filter.matches(&stored.event, &mut self.subject) {
                    meant.push(stored.event.clone());
                }
            }
            consume_budget().await;
            if !meant.is_empty() {
                return Ok(Some((meant, self)));
            }
        }
    }
}
