//! The same for a bucket: what was asked of its keys and promised, and what must be found.
//!
//! Every key has one writer, so at most one change of it is under way when the store ends.

use std::collections::BTreeMap;

use bytes::Bytes;
use cim_conformance::model::Rng;
use cim_store::{
    Bucket, BucketError, BucketName, BucketSettings, Context, Entry, Key, Operation, Revision,
    Store, WriteOptions,
};
use cim_subject::SubjectPattern;
use futures_util::TryStreamExt;

/// Writers of keys that work at the same time.
pub(crate) const KEY_WRITERS: u64 = 2;
const KEYS: u64 = 5;
const HISTORY: u8 = 3;

/// The bucket that is written to.
pub(crate) async fn bucket(store: &dyn Store) -> Result<std::sync::Arc<dyn Bucket>, BucketError> {
    let settings = BucketSettings::default().with_history(HISTORY);
    let name = BucketName::new("ledger").unwrap();
    store.bucket(&Context::new(), &name, settings).await
}

/// A change of a key: what follows from the seed and the change's number, and the operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) number: u64,
    pub(crate) operation: Operation,
}

/// The key that a change is of.
pub(crate) fn key(seed: u64, number: u64) -> Key {
    let writer = number % KEY_WRITERS;
    let key = Rng::new(seed ^ number).below(KEYS);
    Key::new(format!("writer.{writer}.key.{key}")).unwrap()
}

fn value(seed: u64, change: &Change) -> Bytes {
    if change.operation != Operation::Put {
        return Bytes::new();
    }
    let size = Rng::new(seed ^ !change.number).below(500) as usize;
    format!("{} {}", change.number, "x".repeat(size)).into()
}

/// The change to ask for: a key without a value gets one.
pub(crate) async fn next(
    bucket: &dyn Bucket,
    seed: u64,
    number: u64,
) -> Result<Change, BucketError> {
    let has_value = bucket
        .get(&Context::new(), &key(seed, number))
        .await?
        .is_some();
    let operation = match Rng::new(seed.rotate_left(7) ^ number).below(10) {
        0 if has_value => Operation::Purge,
        1 | 2 if has_value => Operation::Delete,
        _ => Operation::Put,
    };
    Ok(Change { number, operation })
}

/// Asks for a change.
pub(crate) async fn apply(
    bucket: &dyn Bucket,
    seed: u64,
    change: &Change,
) -> Result<Revision, BucketError> {
    let (ctx, key) = (Context::new(), key(seed, change.number));
    match change.operation {
        Operation::Put => {
            bucket
                .put(&ctx, &key, value(seed, change), WriteOptions::default())
                .await
        }
        Operation::Delete => bucket.delete(&ctx, &key, None).await,
        Operation::Purge => bucket.purge(&ctx, &key, None).await,
    }
}

/// What was asked of a bucket and promised so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyLedger {
    pub(crate) seed: u64,
    /// The changes of each key that are stored, with their revisions.
    stored: BTreeMap<Key, Vec<(Change, u64)>>,
    open: BTreeMap<Key, Change>,
    last_number: u64,
    pub(crate) changes: u64,
}

impl KeyLedger {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            ..Self::default()
        }
    }

    /// A number that no change had yet, of a writer.
    pub(crate) fn first_number(&self, writer: u64) -> u64 {
        (self.last_number / KEY_WRITERS + 1) * KEY_WRITERS + writer
    }

    pub(crate) fn begin(&mut self, change: Change) {
        self.last_number = self.last_number.max(change.number);
        let key = key(self.seed, change.number);
        let before = self.open.insert(key, change);
        assert_eq!(before, None, "a key has one writer");
    }

    pub(crate) fn acknowledge(&mut self, number: u64, revision: u64) {
        let key = key(self.seed, number);
        let change = self.open.remove(&key).unwrap();
        assert_eq!(change.number, number);
        self.changes += 1;
        self.stored.entry(key).or_default().push((change, revision));
    }

    /// Whether a change is under way.
    pub(crate) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// The store said that nothing of it was stored.
    pub(crate) fn refuse(&mut self, number: u64) {
        self.open.remove(&key(self.seed, number));
    }

    /// Every key holds what was acknowledged last or, whole, what was under way; its history too.
    pub(crate) async fn check(&mut self, bucket: &dyn Bucket) -> Result<(), String> {
        let ctx = Context::new();
        let keys: Vec<Key> = self
            .stored
            .keys()
            .chain(self.open.keys())
            .cloned()
            .collect();
        let mut live = BTreeMap::new();
        for key in keys {
            let fail = |error| format!("{key}: {error}");
            let found = bucket.history(&ctx, &key).await.map_err(fail)?;
            let found: Vec<Entry> = found
                .into_iter()
                .filter(|entry| entry.operation != Operation::Purge)
                .collect();
            let mut known = self.stored.get(&key).cloned().unwrap_or_default();
            if !self.is(&known, &found) {
                let Some(open) = self.open.get(&key) else {
                    return Err(format!("{key} has {found:?}, not {known:?}"));
                };
                let revision = found.last().map_or(u64::MAX, |entry| entry.revision.get());
                known.push((open.clone(), revision));
                if !self.is(&known, &found) {
                    return Err(format!(
                        "{key} has {found:?}, not {known:?}, of which the last was not answered"
                    ));
                }
                self.stored.insert(key.clone(), known);
            }
            let value = found
                .last()
                .filter(|entry| entry.operation == Operation::Put)
                .cloned();
            let got = bucket.get(&ctx, &key).await.map_err(fail)?;
            if got != value {
                return Err(format!("{key} is {got:?}, its history says {value:?}"));
            }
            live.extend(value.map(|value| (key.clone(), value)));
        }
        self.open.clear();
        let entries = bucket
            .entries(&ctx, &SubjectPattern::all())
            .await
            .map_err(|error| error.to_string())?;
        let entries: Vec<Entry> = entries
            .try_collect()
            .await
            .map_err(|error| error.to_string())?;
        let entries: BTreeMap<Key, Entry> = entries
            .into_iter()
            .map(|entry| (entry.key.clone(), entry))
            .collect();
        if entries != live {
            return Err(format!("the entries are {entries:?}, not {live:?}"));
        }
        Ok(())
    }

    /// Whether a history is the one of these changes.
    fn is(&self, known: &[(Change, u64)], found: &[Entry]) -> bool {
        let purge = known
            .iter()
            .rposition(|(change, _)| change.operation == Operation::Purge);
        let kept = &known[purge.map_or(0, |purge| purge + 1)..];
        // A purge stands among what is kept, where it is shown at all.
        let kept = &kept[kept.len().saturating_sub(usize::from(HISTORY))..];
        kept.len() == found.len()
            && kept.iter().zip(found).all(|((change, revision), entry)| {
                entry.revision.get() == *revision
                    && entry.operation == change.operation
                    && entry.value == value(self.seed, change)
            })
    }
}
