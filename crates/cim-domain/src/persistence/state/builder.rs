//! Makes a repository of states, one setting after the other.

use std::sync::Arc;
use std::time::Duration;

use cim_store::{BucketSettings, Store};

use super::keys::States;
use super::{KvRepository, StateError};

/// Makes a [`KvRepository`]. Store, bucket and aggregate type have to be given; the other settings
/// are those of the bucket, which is made where it does not exist. A bucket that exists with other
/// settings is refused.
#[derive(Clone, Debug, Default)]
pub struct KvRepositoryBuilder {
    store: Option<Arc<dyn Store>>,
    bucket: Option<String>,
    aggregate_type: Option<String>,
    settings: BucketSettings,
}

impl KvRepositoryBuilder {
    /// A builder to which nothing was said: one state of each aggregate, for ever.
    pub fn new() -> Self {
        Self::default()
    }

    /// The store that the bucket is in.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// The bucket: 1 to 64 ASCII letters, digits, `-` and `_`. Repositories of several types may
    /// share one if they want the same settings.
    #[must_use]
    pub fn bucket_name(mut self, name: impl Into<String>) -> Self {
        self.bucket = Some(name.into());
        self
    }

    /// What kind of aggregates these are.
    #[must_use]
    pub fn aggregate_type(mut self, aggregate_type: impl Into<String>) -> Self {
        self.aggregate_type = Some(aggregate_type.into());
        self
    }

    /// States end this many seconds after they were saved: 1 to 100 years. By default they stay.
    #[must_use]
    pub fn ttl_seconds(mut self, seconds: u64) -> Self {
        self.settings.ttl = Some(Duration::from_secs(seconds));
        self
    }

    /// So many changes of each state are kept, the last one included: 1 to
    /// [`BucketSettings::MAX_HISTORY`]; 1 by default.
    #[must_use]
    pub fn history(mut self, changes: u8) -> Self {
        self.settings.history = changes;
        self
    }

    /// Opens the bucket.
    ///
    /// # Errors
    /// `Missing` where store, bucket or aggregate type was not given; `InvalidBucket`,
    /// `InvalidType`; `Store`, also where a setting is out of its range or the bucket exists with
    /// others.
    pub async fn build<A>(self) -> Result<KvRepository<A>, StateError> {
        let missing = |what| StateError::Missing { what };
        let store = self.store.ok_or(missing("store"))?;
        let bucket = self.bucket.ok_or(missing("bucket_name"))?;
        let aggregate_type = self.aggregate_type.ok_or(missing("aggregate_type"))?;
        let states = States::open(&*store, &bucket, self.settings, &aggregate_type).await?;
        Ok(KvRepository::over(states))
    }
}
