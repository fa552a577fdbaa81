//! Watches: the present values first, where they are asked for, then every change.
//!
//! Where a watch begins is the leader's last revision when it is begun. Changes after that come from
//! a consumer, numbered without gaps. The values before it come from a consumer, too, which has them
//! in order, but may stand on a replica that is behind or be made again in the middle; so each is
//! delivered only if its leader has it as the key's last change.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use cim_store::{BucketError, Context, Entry, EntryStream, SubjectPattern, WatchFrom};
use futures_util::future::{Either, select};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::task::coop::consume_budget;

use super::message::Change;
use super::port::SharedBucket;
use crate::budget::Budget;
use crate::doubt::Doubt;
use crate::error::closed;
use crate::follow::{Delivered, Follower, Following, Start};

/// How many changes are handed on at once.
const PAGE: usize = 256;
/// How many present values are compared with the leader's at the same time.
const READS: usize = 64;
/// Longer than any wait; the follower looks after its consumer by itself.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3_600);

struct Watch {
    bucket: Arc<SharedBucket>,
    follower: Follower,
    following: Following,
    /// While present values are delivered: the revision up to which they are.
    present: Option<u64>,
}

/// Begins a watch.
pub(super) async fn begin(
    bucket: Arc<SharedBucket>,
    ctx: &Context,
    pattern: &SubjectPattern,
    from: WatchFrom,
) -> Result<EntryStream, BucketError> {
    let budget = bucket.session.begin(ctx, "the watch")?;
    let following = Following {
        stream: bucket.stream.clone(),
        filters: vec![bucket.subject(pattern.as_str())],
        headers_only: false,
    };
    let (start, present) = match from {
        WatchFrom::After(revision) => (after(revision.get()), None),
        WatchFrom::Now | WatchFrom::Current => {
            let last = bucket.info(&budget).await?.state.last_seq;
            match from {
                WatchFrom::Current if last > 0 => (Start::LastOfEach, Some(last)),
                _ => (after(last), None),
            }
        }
    };
    let mut follower = Follower::new(bucket.session.clone(), following.clone(), start);
    let mut doubt = Doubt::new(&budget);
    let begun = loop {
        match follower.begin(&budget).await {
            Err(failure) if doubt.again(&failure).await => {}
            begun => break begun,
        }
    };
    begun.map_err(|failure| bucket.report(failure, "the watch"))?;
    let watch = Watch {
        bucket,
        follower,
        following,
        present,
    };
    Ok(stream::try_unfold(watch, Watch::next_page)
        .map_ok(|page| stream::iter(page).map(Ok))
        .try_flatten()
        .boxed())
}

fn after(revision: u64) -> Start {
    Start::Sequence(revision.saturating_add(1))
}

impl Watch {
    async fn next_page(mut self) -> Result<Option<(VecDeque<Entry>, Self)>, BucketError> {
        let mut came = Vec::new();
        loop {
            if self.bucket.session.is_closed() {
                return Err(closed());
            }
            while came.len() < PAGE
                && let Some(delivered) = self.follower.ready()
            {
                came.push(delivered);
            }
            consume_budget().await;
            if !came.is_empty() {
                let page = self.page(std::mem::take(&mut came)).await?;
                if !page.is_empty() {
                    return Ok(Some((page, self)));
                }
                continue;
            }
            let bucket = self.bucket.clone();
            let next = pin!(self.follower.next(FOR_EVER));
            match select(next, pin!(bucket.session.until_closed())).await {
                Either::Left((Ok(Some(delivered)), _)) => came.push(delivered),
                Either::Left((Ok(None), _)) => {}
                Either::Left((Err(failure), _)) => {
                    return Err(self.bucket.report(failure, "the watch"));
                }
                Either::Right(_) => return Err(closed()),
            }
        }
    }

    /// What is delivered of what came.
    async fn page(&mut self, came: Vec<Delivered>) -> Result<VecDeque<Entry>, BucketError> {
        let prefix = self.bucket.prefix.clone();
        let changes = came
            .iter()
            .map(|delivered| Change::of_delivered(&prefix, delivered));
        let mut changes: Vec<Change> = changes.collect::<Result<_, _>>()?;
        let Some(until) = self.present else {
            return Ok(changes.into_iter().map(|change| change.entry).collect());
        };
        let before = changes.partition_point(|change| change.entry.revision.get() <= until);
        if before < changes.len() {
            // This consumer skips changes that others followed at once; another one has them all.
            changes.truncate(before);
            self.present = None;
            let (session, following) = (self.bucket.session.clone(), self.following.clone());
            self.follower = Follower::new(session, following, after(until));
        }
        let budget = self.bucket.session.budget(&Context::new());
        let bucket = &self.bucket;
        stream::iter(changes.into_iter().filter(Change::is_value))
            .map(|change| bucket.if_present(change, &budget))
            .buffered(READS)
            .try_filter_map(async |entry| Ok(entry))
            .try_collect()
            .await
    }
}

impl SharedBucket {
    /// The entry of a change that is its key's last one, and not over.
    async fn if_present(
        &self,
        change: Change,
        budget: &Budget,
    ) -> Result<Option<Entry>, BucketError> {
        let last = self.last(&change.entry.key, budget).await?;
        let is_last = last
            .as_ref()
            .is_some_and(|last| last.entry.revision == change.entry.revision);
        if is_last {
            self.value_left(last, budget).await
        } else {
            Ok(None)
        }
    }
}
