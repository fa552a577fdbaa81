//! The repository of states with compare-and-set, history and expiry.

use std::str::FromStr;
use std::sync::Arc;

use cim_store::{Bucket, Context, ExpectedVersion, Revision, Version, WriteOptions};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StateError;
use super::keys::States;
use crate::Entity;
use crate::persistence::AggregateMetadata;

/// Saves the states of aggregates of one type, each over the one that was read; keeps the last of
/// them and lets them expire, as its [builder](super::KvRepositoryBuilder) says.
///
/// A state's version is the revision of its key: every change in the bucket increases it, so it
/// has gaps, and a state that was deleted and saved anew never has a version it had before.
///
/// ```
/// # use cim_domain::Entity;
/// # #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
/// # struct Cart { customer: String, articles: Vec<String> }
/// # impl Entity for Cart { type Id = String; fn id(&self) -> &String { &self.customer } }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use cim_domain::persistence::{KvRepository, KvRepositoryBuilder};
/// use cim_domain::store::ExpectedVersion;
///
/// let carts: KvRepository<Cart> = KvRepositoryBuilder::new()
///     .store(cim_domain::open("memory:").await?)
///     .bucket_name("carts")
///     .aggregate_type("Cart")
///     .ttl_seconds(3600)
///     .history(5)
///     .build()
///     .await?;
///
/// let anna = "anna".to_owned();
/// let empty = Cart { customer: anna.clone(), articles: vec![] };
/// carts.save(&empty, ExpectedVersion::NEW).await?;
///
/// let (mut cart, metadata) = carts.load(&anna).await?.ok_or("it is there")?;
/// cart.articles.push("lamp".into());
/// carts.save(&cart, metadata.version).await?;
///
/// // Somebody who still has the cart as it was before:
/// let error = carts.save(&empty, metadata.version).await.unwrap_err();
/// assert!(error.is_conflict());
/// assert_eq!(carts.history(&anna).await?.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct KvRepository<A> {
    states: States<A>,
}

/// One change of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SavedState<A> {
    /// The state that was saved; `None`: it was taken away.
    pub state: Option<A>,
    /// What is known about the change.
    pub metadata: AggregateMetadata,
}

impl<A> KvRepository<A> {
    /// A repository in a bucket that is open already, with its settings.
    ///
    /// # Errors
    /// `InvalidType` where the type is empty, or so long that no key has room for it and an id.
    pub fn new(bucket: Arc<dyn Bucket>, aggregate_type: &str) -> Result<Self, StateError> {
        let states = States::new(bucket, aggregate_type)?;
        Ok(Self { states })
    }

    pub(super) fn over(states: States<A>) -> Self {
        Self { states }
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

impl<A: Entity> KvRepository<A> {
    /// Saves a state if what is there is what was expected: the version that was loaded or saved
    /// last, [`ExpectedVersion::NEW`] where there must be none, `Exists` where there must be one,
    /// `Any` whatever is there.
    ///
    /// # Errors
    /// `VersionConflict` where somebody else was first; `InvalidId`, `Encode`, `Unknown`, `Store`.
    pub async fn save(
        &self,
        state: &A,
        expected: impl Into<ExpectedVersion> + Send,
    ) -> Result<AggregateMetadata, StateError>
    where
        A: Serialize,
    {
        let States { bucket, ctx, .. } = &self.states;
        let (key, value) = (self.states.key(state.id())?, self.states.encode(state)?);
        let options = WriteOptions::default();
        let expected = expected.into();
        let saved = match expected {
            ExpectedVersion::Any => bucket.put(ctx, &key, value, options).await,
            ExpectedVersion::Exact(Version::NONE) => bucket.create(ctx, &key, value, options).await,
            ExpectedVersion::Exact(version) => {
                let revision = Revision::new(version.get());
                bucket.update(ctx, &key, value, revision, options).await
            }
            // Whoever comes in between has stored a state, so there is progress in every round.
            ExpectedVersion::Exists => loop {
                let revision = self.revision(state.id()).await?;
                if revision == Revision::NONE {
                    return Err(StateError::conflict(expected, revision));
                }
                let value = value.clone();
                match bucket.update(ctx, &key, value, revision, options).await {
                    Err(error) if error.is_conflict() => {}
                    settled => break settled,
                }
            },
        };
        let revision = saved.map_err(|error| StateError::of_change(expected, error))?;
        Ok(self.states.saved(state, revision))
    }

    /// Loads a state, and what is known about it; `None` where there is none.
    ///
    /// # Errors
    /// `InvalidId`, `Decode`, `Store`.
    pub async fn load(&self, id: &A::Id) -> Result<Option<(A, AggregateMetadata)>, StateError>
    where
        A: DeserializeOwned,
    {
        let Some(entry) = self.states.entry(id).await? else {
            return Ok(None);
        };
        let state = self.states.decode(id, &entry)?;
        Ok(state.map(|state| (state, self.states.metadata_of(id, &entry))))
    }

    /// Whether there is a state.
    ///
    /// # Errors
    /// `InvalidId`, `Store`.
    pub async fn exists(&self, id: &A::Id) -> Result<bool, StateError> {
        Ok(self.revision(id).await? > Revision::NONE)
    }

    /// Takes a state away if it is the one that was expected, as [`save`](Self::save) does; its
    /// history stays. With `Any` nothing happens where there is none.
    ///
    /// # Errors
    /// `VersionConflict` where somebody else was first; `InvalidId`, `Unknown`, `Store`.
    pub async fn delete(
        &self,
        id: &A::Id,
        expected: impl Into<ExpectedVersion> + Send,
    ) -> Result<(), StateError> {
        let expected = expected.into();
        let conflict = |actual| Err(StateError::conflict(expected, actual));
        match expected {
            ExpectedVersion::Any => self.states.take_away(id).await.map(drop),
            ExpectedVersion::Exists => match self.states.take_away(id).await? {
                true => Ok(()),
                false => conflict(Revision::NONE),
            },
            ExpectedVersion::Exact(Version::NONE) => match self.revision(id).await? {
                Revision::NONE => Ok(()),
                actual => conflict(actual),
            },
            ExpectedVersion::Exact(version) => {
                let States { bucket, ctx, .. } = &self.states;
                let (key, revision) = (self.states.key(id)?, Revision::new(version.get()));
                let deleted = bucket.delete(ctx, &key, Some(revision)).await;
                deleted.map_err(|error| StateError::of_change(expected, error))?;
                Ok(())
            }
        }
    }

    /// The last changes of a state, oldest first: at most as many as the bucket keeps.
    ///
    /// # Errors
    /// `InvalidId`, `Decode`, `Store`.
    pub async fn history(&self, id: &A::Id) -> Result<Vec<SavedState<A>>, StateError>
    where
        A: DeserializeOwned,
    {
        let States { bucket, ctx, .. } = &self.states;
        let entries = bucket.history(ctx, &self.states.key(id)?).await?;
        let change = |entry| {
            Ok(SavedState {
                state: self.states.decode(id, entry)?,
                metadata: self.states.metadata_of(id, entry),
            })
        };
        entries.iter().map(change).collect()
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

    /// The revision of a state; 0 where there is none.
    async fn revision(&self, id: &A::Id) -> Result<Revision, StateError> {
        let entry = self.states.entry(id).await?;
        Ok(entry.map_or(Revision::NONE, |entry| entry.revision))
    }
}

impl<A> Clone for KvRepository<A> {
    fn clone(&self) -> Self {
        let states = self.states.clone();
        Self { states }
    }
}
