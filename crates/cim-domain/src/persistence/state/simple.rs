//! The simplest repository: one state per aggregate, and the last one saved is the one there is.

use std::str::FromStr;
use std::sync::Arc;

use cim_store::{Bucket, BucketSettings, Context, Store, WriteOptions};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StateError;
use super::keys::States;
use crate::Entity;
use crate::persistence::AggregateMetadata;

/// Saves and loads the states of aggregates of one type. No events, no history.
///
/// Saving overwrites whatever is there: of two that load, change and save at the same time, the
/// change of one is lost. Where that matters use a [`KvRepository`](super::KvRepository), and where
/// the past matters a [`Repository`](crate::Repository).
///
/// ```
/// # use cim_domain::Entity;
/// # #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
/// # struct Product { number: String, price: u32 }
/// # impl Entity for Product { type Id = String; fn id(&self) -> &String { &self.number } }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use cim_domain::persistence::SimpleRepository;
///
/// let store = cim_domain::open("memory:").await?;
/// let products = SimpleRepository::<Product>::open(&*store, "products", "Product").await?;
///
/// let lamp = Product { number: "L-1".into(), price: 1200 };
/// let metadata = products.save(&lamp).await?;
/// assert_eq!(metadata.aggregate_id, "L-1");
/// assert_eq!(products.load(&"L-1".into()).await?, Some(lamp));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SimpleRepository<A> {
    states: States<A>,
}

impl<A> SimpleRepository<A> {
    /// A repository in a bucket that is open already, with its settings.
    ///
    /// # Errors
    /// `InvalidType` where the type is empty, or so long that no key has room for it and an id.
    pub fn new(bucket: Arc<dyn Bucket>, aggregate_type: &str) -> Result<Self, StateError> {
        let states = States::new(bucket, aggregate_type)?;
        Ok(Self { states })
    }

    /// A repository in the bucket of this name, which is made where it does not exist. Repositories
    /// of several types may share a bucket.
    ///
    /// # Errors
    /// `InvalidBucket`; `InvalidType` where the type is empty, or so long that no key has room for it
    /// and an id; `Store`, also where the bucket keeps a history or lets values expire.
    pub async fn open(
        store: &dyn Store,
        bucket: &str,
        aggregate_type: &str,
    ) -> Result<Self, StateError> {
        let settings = BucketSettings::default();
        let states = States::open(store, bucket, settings, aggregate_type).await?;
        Ok(Self { states })
    }

    /// The same repository under a context, whose deadline limits every operation.
    #[must_use]
    pub fn under(&self, ctx: Context) -> Self {
        let states = self.states.under(ctx);
        Self { states }
    }

    /// What kind of aggregates these are.
    pub fn aggregate_type(&self) -> &str {
        self.states.aggregate_type()
    }

    /// The bucket that the states are in.
    pub fn bucket(&self) -> &Arc<dyn Bucket> {
        &self.states.bucket
    }
}

impl<A: Entity> SimpleRepository<A> {
    /// Saves a state, whatever was there before.
    ///
    /// # Errors
    /// `InvalidId`, `Encode`, `Unknown`, `Store`.
    pub async fn save(&self, state: &A) -> Result<AggregateMetadata, StateError>
    where
        A: Serialize,
    {
        let states = &self.states;
        let (key, value) = (states.key(state.id())?, states.encode(state)?);
        let revision = states
            .bucket
            .put(&states.ctx, &key, value, WriteOptions::default())
            .await?;
        Ok(states.saved(state, revision))
    }

    /// Loads a state; `None` where there is none.
    ///
    /// # Errors
    /// `InvalidId`, `Decode`, `Store`.
    pub async fn load(&self, id: &A::Id) -> Result<Option<A>, StateError>
    where
        A: DeserializeOwned,
    {
        match self.states.entry(id).await? {
            Some(entry) => self.states.decode(id, &entry),
            None => Ok(None),
        }
    }

    /// Whether there is a state.
    ///
    /// # Errors
    /// `InvalidId`, `Store`.
    pub async fn exists(&self, id: &A::Id) -> Result<bool, StateError> {
        Ok(self.states.entry(id).await?.is_some())
    }

    /// Takes a state away. Where there is none nothing happens.
    ///
    /// # Errors
    /// `InvalidId`, `Unknown`, `Store`.
    pub async fn delete(&self, id: &A::Id) -> Result<(), StateError> {
        self.states.take_away(id).await.map(drop)
    }

    /// The ids that have a state, in the order of their texts.
    ///
    /// # Errors
    /// `ForeignKey` where something else writes to keys of this type; `Store`.
    pub async fn list(&self) -> Result<Vec<A::Id>, StateError>
    where
        A::Id: FromStr,
        <A::Id as FromStr>::Err: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.states.ids().await
    }
}

impl<A> Clone for SimpleRepository<A> {
    fn clone(&self) -> Self {
        let states = self.states.clone();
        Self { states }
    }
}
