//! Which streams there are, and how much the log holds.

use std::collections::VecDeque;
use std::sync::Arc;

use cim_store::{
    Context, EventLogError, Head, HeadStream, LogStats, Position, StreamId, StreamPattern,
};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::log::SharedLog;
use crate::budget::Budget;
use crate::error;
use crate::subjects;

/// How many heads are read at the same time.
const READS: usize = 64;

/// Lists the heads of the streams that are meant.
pub(super) async fn list(
    log: Arc<SharedLog>,
    ctx: Context,
    pattern: StreamPattern,
) -> Result<HeadStream, EventLogError> {
    let budget = log.session.begin(&ctx, "streams")?;
    let Some(filter) = subjects::first_events(&pattern) else {
        return Ok(stream::empty().boxed());
    };
    let mut listing = Listing {
        log,
        ctx,
        filter,
        offset: 0,
        last: None,
        names: VecDeque::new(),
        ended: false,
    };
    listing.next_names(&budget).await?;
    Ok(stream::try_unfold(listing, Listing::next_page)
        .map_ok(|page| stream::iter(page).map(Ok))
        .try_flatten()
        .boxed())
}

struct Listing {
    log: Arc<SharedLog>,
    ctx: Context,
    filter: String,
    offset: usize,
    /// The last subject that was listed. One that is new among those before it moves the others,
    /// so that the next page begins with some of them once more.
    last: Option<String>,
    names: VecDeque<StreamId>,
    ended: bool,
}

impl Listing {
    async fn next_names(&mut self, budget: &Budget) -> Result<(), EventLogError> {
        let session = &self.log.session;
        let page = session
            .api
            .subjects(session.log_stream(), &self.filter, self.offset, budget)
            .await
            .map_err(|failure| session.report(failure, "streams"))?;
        self.offset += page.len();
        self.ended = page.is_empty();
        for subject in page {
            if self.last.as_ref().is_some_and(|last| *last >= subject) {
                continue;
            }
            self.last = Some(subject.clone());
            let name = subjects::parse_event(&subject).map(|event| event.stream.to_owned());
            let stream = name.and_then(|name| StreamId::parse(name).ok());
            self.names.push_back(stream.ok_or_else(|| {
                EventLogError::integrity("a subject of the log is not an event's")
                    .with("subject", subject)
            })?);
        }
        Ok(())
    }

    async fn next_page(mut self) -> Result<Option<(Vec<Head>, Self)>, EventLogError> {
        let budget = self.log.session.begin(&self.ctx, "streams")?;
        while self.names.is_empty() && !self.ended {
            self.next_names(&budget).await?;
        }
        if self.names.is_empty() {
            return Ok(None);
        }
        let count = self.names.len().min(READS * 4);
        let names: Vec<StreamId> = self.names.drain(..count).collect();
        let log = &self.log;
        let heads: Vec<Option<Head>> = stream::iter(names)
            .map(|name| {
                let budget = &budget;
                async move { log.read_head(&name, budget).await }
            })
            .buffer_unordered(READS)
            .try_collect()
            .await?;
        Ok(Some((heads.into_iter().flatten().collect(), self)))
    }
}

/// How much the log holds.
pub(super) async fn stats(log: &SharedLog, ctx: &Context) -> Result<LogStats, EventLogError> {
    let session = &log.session;
    let budget = session.begin(ctx, "stats")?;
    let report = |failure| session.report(failure, "stats");
    let name = session.log_stream();
    let info = session
        .api
        .stream_info(name, &budget)
        .await
        .map_err(report)?;
    let info = info.ok_or_else(|| error::stream_gone(name))?;
    let count = async |filter: &str| -> Result<u64, EventLogError> {
        let mut count = 0;
        loop {
            let page = session.api.subjects(name, filter, count, &budget).await;
            let page = page.map_err(report)?.len();
            if page == 0 {
                return Ok(count as u64);
            }
            count += page;
        }
    };
    let streams = count("cim.events.*.*.*.*.1").await?;
    let others = count(subjects::COMMITS).await? + count(subjects::CHECKS).await?;
    let state = &info.state;
    let events = state.messages.saturating_sub(others);
    let (mut first, mut last) = (Position::NONE, Position::NONE);
    if events > 0 {
        let get = crate::api::Get::Next {
            seq: state.first_seq,
            next_by_subj: subjects::EVENTS,
        };
        let found = log.get(&get, &budget).await?;
        first = found.map_or(Position::NONE, |found| Position::new(found.sequence));
        let found = log.last_event(subjects::EVENTS, &budget).await?;
        last = found.map_or(Position::NONE, |found| found.position);
    }
    Ok(LogStats {
        events,
        streams,
        first,
        last,
        truncated_through: Position::NONE,
        bytes: state.bytes,
    })
}
