//! Random histories of a bucket.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cim_store::{
    Bucket, BucketError, BucketErrorKind, BucketSettings, Clock, Key, Operation, Revision,
    SubjectPattern, WriteOptions,
};
use futures_util::TryStreamExt;

use super::{BucketModel, BucketRefusal, Rng, failed_at, same};
use crate::suite::{CaseFailure, CaseResult};
use crate::trial::{Trial, key, value};

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    Put(Key, Bytes, Option<Duration>),
    Create(Key, Bytes),
    Update(Key, Bytes, Revision),
    Delete(Key, Option<Revision>),
    Purge(Key, Option<Revision>),
    Get(Key),
    History(Key),
    Keys,
    Pass(Duration),
    Reopen,
}

const KEYS: [&str; 4] = ["a", "a.b", "c", "d/e"];

struct Run {
    rng: Rng,
    settings: BucketSettings,
    bucket: Arc<dyn Bucket>,
    model: BucketModel,
    /// Revisions that changes got.
    revisions: Vec<Revision>,
    number: u64,
}

/// Runs one history of so many steps; every answer must be the model's.
pub(crate) async fn run_bucket_history(trial: Trial, seed: u64, steps: usize) -> CaseResult {
    let mut rng = Rng::new(seed);
    let depth = rng.pick(&[1_u8, 1, 2, 5, 64]).copied().unwrap_or(1);
    let mut settings = BucketSettings::default().with_history(depth);
    if rng.one_in(3) {
        settings = settings.with_ttl(Duration::from_secs(2 + rng.below(5)));
    }
    let bucket = trial.bucket("model", settings).await?;
    let mut run = Run {
        rng,
        settings,
        bucket,
        model: BucketModel::new(settings),
        revisions: Vec::new(),
        number: 0,
    };
    let mut trial = Some(trial);
    let mut taken = Vec::new();
    for _ in 0..steps {
        let Some(t) = trial.take() else { break };
        let step = run.next_step(&t);
        taken.push(step.clone());
        match run.take_step(t, step).await {
            Ok(next) => trial = Some(next),
            Err(failure) => return Err(failed_at(seed, &taken, &failure)),
        }
    }
    Ok(())
}

impl Run {
    fn key(&mut self) -> Key {
        key(self.rng.pick(&KEYS).copied().unwrap_or("a"))
    }

    fn value(&mut self) -> Bytes {
        self.number += 1;
        value(&self.number.to_string())
    }

    /// The revision of the key's value, or another one that once was.
    fn expected(&mut self, t: &Trial, key: &Key) -> Option<Revision> {
        let actual = self.model.revision(key, t.clock.now());
        if actual > Revision::NONE && !self.rng.one_in(4) {
            return Some(actual);
        }
        self.rng.pick(&self.revisions).copied()
    }

    fn next_step(&mut self, t: &Trial) -> Step {
        let key = self.key();
        match self.rng.below(20) {
            0..5 => {
                // Which changes are kept when one in the middle ends is the adapter's own; so
                // keys have a time of their own only where one change is kept.
                let own = self.settings.history == 1 && self.bucket.capabilities().key_ttl;
                let ttl =
                    (own && self.rng.one_in(3)).then(|| Duration::from_secs(1 + self.rng.below(6)));
                Step::Put(key, self.value(), ttl)
            }
            5 | 6 => Step::Create(key, self.value()),
            7..10 => match self.expected(t, &key) {
                Some(expected) => Step::Update(key, self.value(), expected),
                None => Step::Create(key, self.value()),
            },
            10 | 11 => {
                let expected = self.rng.one_in(2).then(|| self.expected(t, &key)).flatten();
                Step::Delete(key, expected)
            }
            12 => {
                let expected = self.rng.one_in(2).then(|| self.expected(t, &key)).flatten();
                Step::Purge(key, expected)
            }
            13 | 14 => Step::Get(key),
            15 | 16 => Step::History(key),
            17 => Step::Keys,
            18 => Step::Pass(Duration::from_millis(500 * (1 + self.rng.below(6)))),
            _ => Step::Reopen,
        }
    }

    async fn take_step(&mut self, t: Trial, step: Step) -> Result<Trial, CaseFailure> {
        let now = t.clock.now();
        match step {
            Step::Put(key, value, ttl) => {
                let options = WriteOptions { ttl };
                let stored = self.bucket.put(&t.ctx, &key, value.clone(), options).await;
                let stored = self.changed(&key, Revision::NONE, Ok(()), stored)?;
                if let Some(revision) = stored {
                    self.model.put(&key, value, ttl, revision, now);
                }
            }
            Step::Create(key, value) => {
                let model = self.model.expect(&key, Revision::NONE, now);
                let options = WriteOptions::default();
                let stored = self.bucket.create(&t.ctx, &key, value.clone(), options);
                let stored = self.changed(&key, Revision::NONE, model, stored.await)?;
                if let Some(revision) = stored {
                    self.model.put(&key, value, None, revision, now);
                }
            }
            Step::Update(key, value, expected) => {
                let model = self.model.expect(&key, expected, now);
                let options = WriteOptions::default();
                let bucket = self.bucket.clone();
                let stored = bucket.update(&t.ctx, &key, value.clone(), expected, options);
                let stored = self.changed(&key, expected, model, stored.await)?;
                if let Some(revision) = stored {
                    self.model.put(&key, value, None, revision, now);
                }
            }
            Step::Delete(key, expected) => {
                let model = expected.map_or(Ok(()), |e| self.model.expect(&key, e, now));
                let stored = self.bucket.delete(&t.ctx, &key, expected).await;
                let expected = expected.unwrap_or_default();
                if let Some(revision) = self.changed(&key, expected, model, stored)? {
                    self.model.delete(&key, revision, now);
                }
            }
            Step::Purge(key, expected) => {
                let model = expected.map_or(Ok(()), |e| self.model.expect(&key, e, now));
                let stored = self.bucket.purge(&t.ctx, &key, expected).await;
                let expected = expected.unwrap_or_default();
                if let Some(revision) = self.changed(&key, expected, model, stored)? {
                    self.model.purge(&key, revision);
                }
            }
            Step::Get(key) => {
                let entry = self.bucket.get(&t.ctx, &key).await?;
                let stored = entry.as_ref().map(|entry| (&entry.value, entry.revision));
                same("value", &self.model.get(&key, now), &stored)?;
            }
            Step::History(key) => {
                let mut history = self.bucket.history(&t.ctx, &key).await?;
                history.retain(|entry| entry.operation == Operation::Put);
                let stored: Vec<_> = history.iter().map(|e| (&e.value, e.revision)).collect();
                same("history", &self.model.history(&key, now), &stored)?;
            }
            Step::Keys => {
                let keys = self.bucket.keys(&t.ctx, &SubjectPattern::all()).await?;
                let mut keys: Vec<Key> = keys.try_collect().await?;
                keys.sort_unstable();
                same("keys", &self.model.keys(now), &keys.iter().collect())?;
            }
            Step::Pass(duration) => t.pass(duration).await,
            Step::Reopen if t.persistent() => {
                let reopened = t.reopen().await?;
                let t = reopened.ok_or("the store can't be opened again")?;
                self.bucket = t.bucket("model", self.settings).await?;
                return Ok(t);
            }
            Step::Reopen => {}
        }
        Ok(t)
    }

    /// Compares a change's answer with the model's; gives the revision that it got, if it did.
    fn changed(
        &mut self,
        key: &Key,
        expected: Revision,
        model: Result<(), BucketRefusal>,
        stored: Result<Revision, BucketError>,
    ) -> Result<Option<Revision>, CaseFailure> {
        match (model, stored) {
            (Ok(()), Ok(revision)) => {
                same("revision increases", &true, &(revision > self.model.last()))?;
                self.revisions.push(revision);
                Ok(Some(revision))
            }
            (Err(BucketRefusal::Conflict { actual }), Err(error)) => {
                let kind = BucketErrorKind::RevisionConflict {
                    key: key.clone(),
                    expected,
                    actual,
                };
                same("refusal", &kind, error.kind())?;
                Ok(None)
            }
            (model, stored) => {
                Err(format!("the model says {model:?}, the store says {stored:?}").into())
            }
        }
    }
}
