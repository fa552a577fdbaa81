//! Where states are in a bucket, and how they are written: the part that both repositories share.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use cim_store::{
    Bucket, BucketName, BucketSettings, Context, Entry, Key, Operation, Revision, Store,
    SubjectPattern, Version,
};
use cim_subject::{decode_token, encode_token};
use futures_util::TryStreamExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StateError;
use super::error::version_of;
use crate::Entity;
use crate::event::to_lossless_json;
use crate::persistence::AggregateMetadata;
use crate::persistence::error::excerpt;

/// The states of one type in a bucket.
pub(super) struct States<A> {
    pub(super) bucket: Arc<dyn Bucket>,
    pub(super) ctx: Context,
    aggregate_type: Arc<str>,
    /// What its keys begin with: the aggregate type as a token.
    token: Arc<str>,
    state: PhantomData<fn() -> A>,
}

impl<A> States<A> {
    pub(super) fn new(bucket: Arc<dyn Bucket>, aggregate_type: &str) -> Result<Self, StateError> {
        let invalid = |source| StateError::InvalidType {
            aggregate_type: excerpt(aggregate_type),
            source,
        };
        let token = encode_token(aggregate_type).map_err(|error| invalid(error.into()))?;
        // There has to be room for an id.
        Key::new(format!("{token}.0")).map_err(|error| invalid(error.into()))?;
        Ok(Self {
            bucket,
            ctx: Context::new(),
            aggregate_type: aggregate_type.into(),
            token: token.into(),
            state: PhantomData,
        })
    }

    pub(super) async fn open(
        store: &dyn Store,
        bucket: &str,
        settings: BucketSettings,
        aggregate_type: &str,
    ) -> Result<Self, StateError> {
        let name =
            BucketName::new(bucket.to_owned()).map_err(|source| StateError::InvalidBucket {
                name: excerpt(bucket),
                source,
            })?;
        let bucket = store.bucket(&Context::new(), &name, settings).await?;
        Self::new(bucket, aggregate_type)
    }

    pub(super) fn under(&self, ctx: Context) -> Self {
        Self {
            ctx,
            ..self.clone()
        }
    }

    pub(super) fn aggregate_type(&self) -> &str {
        &self.aggregate_type
    }

    fn metadata(&self, id: String, version: Version) -> AggregateMetadata {
        AggregateMetadata {
            aggregate_id: id,
            aggregate_type: self.aggregate_type.to_string(),
            version,
            last_modified: None,
            expires_at: None,
            head: None,
            events: Vec::new(),
            skipped: 0,
            unknown: Vec::new(),
        }
    }
}

impl<A: Entity> States<A> {
    pub(super) fn key(&self, id: &A::Id) -> Result<Key, StateError> {
        let id = id.to_string();
        let token = encode_token(&id).map_err(|error| StateError::invalid_id(&id, error))?;
        Key::new(format!("{}.{token}", self.token))
            .map_err(|error| StateError::invalid_id(&id, error))
    }

    /// The metadata of a state that was just saved: the bucket says its revision and no more.
    pub(super) fn saved(&self, state: &A, revision: Revision) -> AggregateMetadata {
        self.metadata(state.id().to_string(), version_of(revision))
    }

    pub(super) fn metadata_of(&self, id: &A::Id, entry: &Entry) -> AggregateMetadata {
        AggregateMetadata {
            last_modified: Some(entry.stored_at),
            expires_at: entry.expires_at,
            ..self.metadata(id.to_string(), version_of(entry.revision))
        }
    }

    pub(super) async fn entry(&self, id: &A::Id) -> Result<Option<Entry>, StateError> {
        let key = self.key(id)?;
        Ok(self.bucket.get(&self.ctx, &key).await?)
    }

    /// Takes away whatever state there is, and says whether there was one. Where there is none
    /// nothing is written, which would push an earlier state out of the history.
    pub(super) async fn take_away(&self, id: &A::Id) -> Result<bool, StateError> {
        let key = self.key(id)?;
        // Whoever comes in between has changed the state, so there is progress in every round.
        loop {
            let Some(entry) = self.bucket.get(&self.ctx, &key).await? else {
                return Ok(false);
            };
            let revision = Some(entry.revision);
            match self.bucket.delete(&self.ctx, &key, revision).await {
                Ok(_) => return Ok(true),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The ids that have a state, in the order of their texts.
    pub(super) async fn ids(&self) -> Result<Vec<A::Id>, StateError>
    where
        A::Id: FromStr,
        <A::Id as FromStr>::Err: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let pattern = SubjectPattern::new(format!("{}.*", self.token)).map_err(|source| {
            StateError::InvalidType {
                aggregate_type: excerpt(&self.aggregate_type),
                source: source.into(),
            }
        })?;
        let keys = self.bucket.keys(&self.ctx, &pattern).await?;
        let keys: Vec<Key> = keys.try_collect().await?;
        let mut ids = Vec::with_capacity(keys.len());
        for key in keys {
            let text = self.decode_key(&key)?;
            let id = text.parse().map_err(|error: <A::Id as FromStr>::Err| {
                let source = error.into();
                foreign(&key, source)
            })?;
            ids.push((text, id));
        }
        ids.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(ids.into_iter().map(|(_, id)| id).collect())
    }

    fn decode_key(&self, key: &Key) -> Result<String, StateError> {
        let token = key
            .as_str()
            .strip_prefix(&*self.token)
            .and_then(|rest| rest.strip_prefix('.'))
            .unwrap_or(key.as_str());
        match decode_token(token) {
            Ok(id) => Ok(id.into_owned()),
            Err(error) => Err(foreign(key, error.into())),
        }
    }
}

fn foreign(key: &Key, source: Box<dyn std::error::Error + Send + Sync>) -> StateError {
    StateError::ForeignKey {
        key: key.to_string(),
        source,
    }
}

impl<A: Entity + Serialize> States<A> {
    pub(super) fn encode(&self, state: &A) -> Result<Bytes, StateError> {
        match to_lossless_json(state) {
            Ok(json) => Ok(json.into()),
            Err(source) => Err(StateError::Encode {
                id: excerpt(&state.id().to_string()),
                source,
            }),
        }
    }
}

impl<A: Entity + DeserializeOwned> States<A> {
    /// The state of an entry; `None` where the entry took it away.
    pub(super) fn decode(&self, id: &A::Id, entry: &Entry) -> Result<Option<A>, StateError> {
        if entry.operation != Operation::Put {
            return Ok(None);
        }
        match serde_json::from_slice(&entry.value) {
            Ok(state) => Ok(Some(state)),
            Err(source) => Err(StateError::Decode {
                id: excerpt(&id.to_string()),
                version: version_of(entry.revision),
                source,
            }),
        }
    }
}

impl<A> Clone for States<A> {
    fn clone(&self) -> Self {
        Self {
            bucket: Arc::clone(&self.bucket),
            ctx: self.ctx.clone(),
            aggregate_type: Arc::clone(&self.aggregate_type),
            token: Arc::clone(&self.token),
            state: PhantomData,
        }
    }
}

impl<A> fmt::Debug for States<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("States")
            .field("type", &self.aggregate_type)
            .field("bucket", &self.bucket)
            .finish_non_exhaustive()
    }
}
