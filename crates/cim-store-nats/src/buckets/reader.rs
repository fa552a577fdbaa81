//! What a bucket holds, through the leader.

use std::collections::VecDeque;
use std::sync::Arc;

use cim_store::{BucketError, Context, Entry, EntryStream, Key, SubjectPattern};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::message::Change;
use super::port::SharedBucket;
use crate::api::Get;
use crate::budget::Budget;
use crate::doubt::Doubt;

/// How many keys are read at the same time.
const READS: usize = 64;

impl SharedBucket {
    /// One change, through the leader.
    async fn read(&self, get: &Get<'_>, budget: &Budget) -> Result<Option<Change>, BucketError> {
        let api = &self.session.api;
        let mut doubt = Doubt::new(budget);
        let message = loop {
            match api.get(&self.stream, get, budget).await {
                Err(failure) if doubt.again(&failure).await => {}
                answer => break answer,
            }
        };
        let message = message.map_err(|failure| self.report(failure, "the lookup"))?;
        let change = message.map(|message| Change::of_stored(&self.prefix, &message));
        change.transpose()
    }

    /// The last change of a key, whatever it did.
    pub(super) async fn last(
        &self,
        key: &Key,
        budget: &Budget,
    ) -> Result<Option<Change>, BucketError> {
        self.last_of(&self.subject(key.as_str()), budget).await
    }

    /// The last change of a subject, whatever it did.
    pub(super) async fn last_of(
        &self,
        subject: &str,
        budget: &Budget,
    ) -> Result<Option<Change>, BucketError> {
        let get = Get::Last {
            last_by_subj: subject,
        };
        self.read(&get, budget).await
    }

    /// Whether a value's time is over, also where the server did not remove it yet.
    pub(super) async fn is_over(
        &self,
        entry: &Entry,
        budget: &Budget,
    ) -> Result<bool, BucketError> {
        match entry.expires_at {
            None => Ok(false),
            Some(end) => Ok(end <= self.moment(end, budget).await?.earliest()),
        }
    }

    /// The value that a key's last change left it with.
    pub(super) async fn value_left(
        &self,
        last: Option<Change>,
        budget: &Budget,
    ) -> Result<Option<Entry>, BucketError> {
        let Some(last) = last.filter(Change::is_value) else {
            return Ok(None);
        };
        let over = self.is_over(&last.entry, budget).await?;
        Ok((!over).then_some(last.entry))
    }

    /// The key's value.
    pub(super) async fn value(
        &self,
        key: &Key,
        budget: &Budget,
    ) -> Result<Option<Entry>, BucketError> {
        let last = self.last(key, budget).await?;
        self.value_left(last, budget).await
    }

    /// What is kept of a key's changes, oldest first.
    pub(super) async fn history(
        &self,
        key: &Key,
        budget: &Budget,
    ) -> Result<Vec<Entry>, BucketError> {
        let subject = self.subject(key.as_str());
        let Some(last) = self.last_of(&subject, budget).await? else {
            return Ok(Vec::new());
        };
        // The end of the last value is the end of what was before it.
        if last.is_value() && self.is_over(&last.entry, budget).await? {
            return Ok(Vec::new());
        }
        let mut kept = Vec::new();
        let mut from = 1;
        // What comes while this reads is not part of it.
        while from < last.entry.revision.get() {
            let get = Get::Next {
                seq: from,
                next_by_subj: &subject,
            };
            let Some(change) = self.read(&get, budget).await? else {
                break;
            };
            from = change.entry.revision.get() + 1;
            if change.entry.revision < last.entry.revision
                && !self.is_over(&change.entry, budget).await?
            {
                kept.push(change.entry);
            }
        }
        kept.push(last.entry);
        Ok(kept)
    }
}

/// The values of the keys that match.
pub(super) async fn entries(
    bucket: Arc<SharedBucket>,
    ctx: Context,
    pattern: &SubjectPattern,
) -> Result<EntryStream, BucketError> {
    let budget = bucket.session.begin(&ctx, "the listing")?;
    let mut listing = Listing {
        filter: bucket.subject(pattern.as_str()),
        bucket,
        ctx,
        seen: 0,
        last_seen: String::new(),
        subjects: VecDeque::new(),
        ended: false,
    };
    listing.next_subjects(&budget).await?;
    Ok(stream::try_unfold(listing, Listing::next_page)
        .map_ok(|page| stream::iter(page).map(Ok))
        .try_flatten()
        .boxed())
}

struct Listing {
    bucket: Arc<SharedBucket>,
    ctx: Context,
    filter: String,
    /// How many subjects came so far.
    seen: usize,
    last_seen: String,
    subjects: VecDeque<String>,
    ended: bool,
}

impl Listing {
    /// The next page of subjects. They come sorted, by their number; where some of those before
    /// were removed meanwhile, numbers have moved, and it is begun further in front, until a subject
    /// comes that was seen. So none is missing and none comes twice.
    async fn next_subjects(&mut self, budget: &Budget) -> Result<(), BucketError> {
        let bucket = &self.bucket;
        let mut back = 1;
        loop {
            let offset = self.seen.saturating_sub(back);
            let (api, stream) = (&bucket.session.api, &bucket.stream);
            let mut doubt = Doubt::new(budget);
            let page = loop {
                match api.subjects(stream, &self.filter, offset, budget).await {
                    Err(failure) if doubt.again(&failure).await => {}
                    answer => break answer,
                }
            };
            let page = page.map_err(|failure| bucket.report(failure, "the listing"))?;
            let joins = page.first().is_some_and(|first| *first <= self.last_seen);
            if offset > 0 && !joins {
                back *= 4;
                continue;
            }
            let length = page.len();
            let new = page.into_iter().filter(|subject| *subject > self.last_seen);
            self.subjects = new.collect();
            self.ended = self.subjects.is_empty();
            self.seen = offset + length;
            if let Some(last) = self.subjects.back() {
                self.last_seen.clone_from(last);
            }
            return Ok(());
        }
    }

    async fn next_page(mut self) -> Result<Option<(Vec<Entry>, Self)>, BucketError> {
        let budget = self.bucket.session.begin(&self.ctx, "the listing")?;
        if self.subjects.is_empty() && !self.ended {
            self.next_subjects(&budget).await?;
        }
        if self.subjects.is_empty() {
            return Ok(None);
        }
        let count = self.subjects.len().min(READS * 4);
        let subjects: Vec<String> = self.subjects.drain(..count).collect();
        let bucket = &self.bucket;
        let values: Vec<Option<Entry>> = stream::iter(subjects)
            .map(|subject| {
                let budget = &budget;
                async move {
                    let last = bucket.last_of(&subject, budget).await?;
                    bucket.value_left(last, budget).await
                }
            })
            .buffer_unordered(READS)
            .try_collect()
            .await?;
        Ok(Some((values.into_iter().flatten().collect(), self)))
    }
}
