//! Subscriptions: what is there, then what comes, from one consumer, so there is no seam at which an
//! event could be missed or come twice.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use cim_store::{Context, EventFilter, EventLogError, EventStream, Position, RecordedEvent};
use futures_util::future::{Either, select};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::task::coop::consume_budget;

use super::log::SharedLog;
use super::log_read::Reader;
use crate::error::closed;
use crate::follow::{Follower, Following};
use crate::subjects;

/// How many events are handed on at once.
const PAGE: usize = 256;
/// Longer than any wait; the follower looks after its consumer by itself.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3_600);

struct Subscription {
    log: Arc<SharedLog>,
    reader: Reader,
    follower: Follower,
}

/// Begins a subscription.
pub(super) async fn subscribe(
    log: Arc<SharedLog>,
    ctx: &Context,
    filter: EventFilter,
    after: Position,
) -> Result<EventStream, EventLogError> {
    let budget = log.session.begin(ctx, "subscribe")?;
    let Some(meant) = subjects::events_meant(filter.pattern.as_ref(), &filter.types) else {
        // No event can ever match: it waits until the store is closed.
        let waiting = async move {
            log.session.until_closed().await;
            Err(closed())
        };
        return Ok(stream::once(waiting).boxed());
    };
    let start = log.start(&filter, after.get(), &budget).await?;
    let following = Following {
        stream: log.session.log_stream().to_owned(),
        filters: vec![meant],
        headers_only: false,
    };
    let mut follower = Follower::new(log.session.clone(), following, start);
    let begun = follower.begin(&budget).await;
    begun.map_err(|failure| log.session.report(failure, "subscribe"))?;
    let subscription = Subscription {
        reader: Reader::new(filter, after.get()),
        follower,
        log,
    };
    Ok(stream::try_unfold(subscription, Subscription::next_page)
        .map_ok(|page| stream::iter(page).map(Ok))
        .try_flatten()
        .boxed())
}

impl Subscription {
    async fn next_page(mut self) -> Result<Option<(VecDeque<RecordedEvent>, Self)>, EventLogError> {
        let mut page = VecDeque::new();
        loop {
            if self.log.session.is_closed() {
                return Err(closed());
            }
            while page.len() < PAGE
                && let Some(delivered) = self.follower.ready()
            {
                page.extend(self.reader.take(&delivered)?);
            }
            consume_budget().await;
            if let Some(last) = page.back() {
                self.log.session.saw(last.position.get());
                return Ok(Some((page, self)));
            }
            let log = self.log.clone();
            let next = pin!(self.follower.next(FOR_EVER));
            let delivered = match select(next, pin!(log.session.until_closed())).await {
                Either::Left((Ok(Some(delivered)), _)) => delivered,
                Either::Left((Ok(None), _)) => continue,
                Either::Left((Err(failure), _)) => {
                    return Err(self.log.session.report(failure, "subscribe"));
                }
                Either::Right(_) => return Err(closed()),
            };
            page.extend(self.reader.take(&delivered)?);
        }
    }
}
