//! Reads: each remembers where it is and where it ends, and takes a page at a time.
//!
//! The end is fixed when the read begins, so what is stored meanwhile is not part of it. Stored
//! events never change, so the pages together are the log as it was at that moment. A truncation
//! or a close that overtakes a read ends it with an error.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::task::coop::consume_budget;

use super::PAGE;
use super::log::SharedLog;
use crate::{
    Context, Direction, EventFilter, EventLogError, EventStream, Head, HeadStream, LogQuery,
    Position, RecordedEvent, StreamId, StreamPattern, Version,
};

/// A read of the log.
pub(super) struct LogRead {
    log: Arc<SharedLog>,
    ctx: Context,
    filter: EventFilter,
    /// Everything up to here was looked at.
    after: Position,
    /// The last position that is part of the read.
    through: Position,
    /// How many events may still be delivered.
    left: u64,
    subject: String,
}

impl LogRead {
    pub(super) fn new(
        log: Arc<SharedLog>,
        ctx: Context,
        query: LogQuery,
        after: Position,
        through: Position,
    ) -> Self {
        Self {
            log,
            ctx,
            filter: query.filter,
            after,
            through,
            left: query.limit.unwrap_or(u64::MAX),
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
        while self.after < self.through && self.left > 0 {
            self.log.check_deadline(&self.ctx, "read_log")?;
            let page = self
                .log
                .look(|state| state.log_page(self.after, self.through))?;
            let Some(last) = page.last() else {
                return Err(
                    EventLogError::integrity("the log ended before its known end")
                        .with("after", self.after)
                        .with("expected end", self.through),
                );
            };
            self.after = last.event.position;
            let mut meant = Vec::new();
            for stored in &page {
                if self.left > 0 && self.filter.matches(&stored.event, &mut self.subject) {
                    self.left -= 1;
                    meant.push(stored.event.clone());
                }
            }
            consume_budget().await;
            if !meant.is_empty() {
                return Ok(Some((meant, self)));
            }
        }
        Ok(None)
    }
}

/// A read of one stream.
pub(super) struct StreamRead {
    log: Arc<SharedLog>,
    ctx: Context,
    stream: StreamId,
    /// The versions that are yet to come, lowest and highest.
    versions: Option<(Version, Version)>,
    direction: Direction,
}

impl StreamRead {
    pub(super) fn new(
        log: Arc<SharedLog>,
        ctx: Context,
        stream: StreamId,
        versions: Option<(Version, Version)>,
        direction: Direction,
    ) -> Self {
        Self {
            log,
            ctx,
            stream,
            versions,
            direction,
        }
    }

    pub(super) fn into_stream(self) -> EventStream {
        stream::try_unfold(self, Self::next_page)
            .map_ok(|page| stream::iter(page).map(Ok))
            .try_flatten()
            .boxed()
    }

    async fn next_page(mut self) -> Result<Option<(Vec<RecordedEvent>, Self)>, EventLogError> {
        let Some((low, high)) = self.versions else {
            return Ok(None);
        };
        self.log.check_deadline(&self.ctx, "read_stream")?;
        let page = self
            .log
            .look(|state| state.stream_page(&self.stream, (low, high), self.direction))?;
        let last = page.last().map_or(low, |stored| stored.event.version);
        self.versions = match self.direction {
            Direction::Forwards => (last < high).then(|| (last.next(), high)),
            Direction::Backwards => (low < last).then(|| (low, Version::new(last.get() - 1))),
        };
        consume_budget().await;
        let events = page.iter().map(|stored| stored.event.clone()).collect();
        Ok(Some((events, self)))
    }
}

/// A read of the streams' heads.
pub(super) struct HeadRead {
    log: Arc<SharedLog>,
    ctx: Context,
    pattern: StreamPattern,
    next: usize,
    end: usize,
}

impl HeadRead {
    pub(super) fn new(
        log: Arc<SharedLog>,
        ctx: Context,
        pattern: StreamPattern,
        end: usize,
    ) -> Self {
        Self {
            log,
            ctx,
            pattern,
            next: 0,
            end,
        }
    }

    pub(super) fn into_stream(self) -> HeadStream {
        stream::try_unfold(self, Self::next_page)
            .map_ok(|page| stream::iter(page).map(Ok))
            .try_flatten()
            .boxed()
    }

    async fn next_page(mut self) -> Result<Option<(Vec<Head>, Self)>, EventLogError> {
        while self.next < self.end {
            self.log.check_deadline(&self.ctx, "streams")?;
            let count = PAGE.min(self.end - self.next);
            let page: Vec<Head> = self.log.look(|state| {
                let heads = state.heads(self.next, count);
                let meant = heads.filter(|head| self.pattern.matches(&head.stream));
                Ok(meant.cloned().collect())
            })?;
            self.next += count;
            consume_budget().await;
            if !page.is_empty() {
                return Ok(Some((page, self)));
            }
        }
        Ok(None)
    }
}
