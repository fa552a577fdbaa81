//! The records beside the blocks: small values in canonical DAG-CBOR, as docs/format/content.md
//! says.

use std::collections::BTreeMap;

use bytes::Bytes;
use cim_ipld::{Cid, dag_cbor};
use cim_store::{ContentType, Context, Entry, Key, Revision, Timestamp, WriteOptions};
use futures_util::TryStreamExt;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::ContentError;
use super::names::{self, Kind, unreadable};
use super::{ContentStore, Description};

/// How often a change is tried where others change the same record.
pub(super) const ATTEMPTS: u32 = 100;

/// The version of the records' format, which each of them begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct V1;

impl Serialize for V1 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(1)
    }
}

impl<'de> Deserialize<'de> for V1 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            1 => Ok(Self),
            other => Err(D::Error::custom(format!(
                "its format has version {other}, this program knows version 1"
            ))),
        }
    }
}

/// What is said of the store: `store`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoreRecord {
    pub(super) v: V1,
    /// The grace of garbage in microseconds.
    pub(super) grace: u64,
}

/// A named root: `pin.{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PinRecord {
    pub(super) v: V1,
    pub(super) root: Cid,
    /// Whether links below the root lead to blocks that were not there.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) partial: bool,
}

/// The head of a chain: `chain.{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChainRecord {
    pub(super) v: V1,
    /// The number of its links.
    pub(super) seq: u64,
    pub(super) head: Cid,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) partial: bool,
}

/// What stands beside content: `about.{cid}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AboutRecord {
    pub(super) v: V1,
    pub(super) size: u64,
    /// Microseconds since 1970.
    pub(super) created: i64,
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub(super) media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) links: BTreeMap<String, Cid>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) partial: bool,
}

/// Garbage: `mark.{cid}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MarkRecord {
    pub(super) v: V1,
    /// When it was marked, in microseconds since 1970.
    pub(super) at: i64,
    /// The revision of the block that is meant. A block that was put again has another.
    pub(super) rev: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl AboutRecord {
    pub(super) fn new(size: u64, now: Timestamp) -> Self {
        Self {
            v: V1,
            size,
            created: now.as_micros(),
            media_type: None,
            name: None,
            links: BTreeMap::new(),
            partial: false,
        }
    }

    pub(super) fn describe(&mut self, description: &Description) {
        self.media_type = description.media_type.as_ref().map(ToString::to_string);
        self.name.clone_from(&description.name);
    }

    /// The media type, read back.
    pub(super) fn media_type(&self, key: &Key) -> Result<Option<ContentType>, ContentError> {
        let parse = |text: &String| ContentType::new(text.clone());
        let parsed = self.media_type.as_ref().map(parse).transpose();
        parsed.map_err(|error| unreadable(key, error))
    }
}

/// A record, with the revision of its key.
#[derive(Clone, Debug)]
pub(super) struct Kept<R> {
    pub(super) record: R,
    pub(super) revision: Revision,
}

/// What became of a record that was to replace another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replaced {
    /// It stands there, with this revision.
    Done(Revision),
    /// Somebody else was first.
    Conflict,
    /// The answer was lost.
    Unknown,
}

impl ContentStore {
    /// The record under a key.
    pub(super) async fn record<R: DeserializeOwned>(
        &self,
        ctx: &Context,
        key: &Key,
    ) -> Result<Option<Kept<R>>, ContentError> {
        let entry = self.records.get(ctx, key).await?;
        entry.as_ref().map(decode).transpose()
    }

    /// All records of one kind.
    pub(super) async fn records_of<R: DeserializeOwned>(
        &self,
        ctx: &Context,
        kind: Kind,
    ) -> Result<Vec<(Key, Kept<R>)>, ContentError> {
        let entries = self.records.entries(ctx, &kind.pattern()?).await?;
        let mut entries = entries.map_err(ContentError::from);
        let mut records = Vec::new();
        while let Some(entry) = entries.try_next().await? {
            records.push((entry.key.clone(), decode(&entry)?));
        }
        Ok(records)
    }

    /// Writes a record over whatever is there; its revision.
    pub(super) async fn put_record(
        &self,
        ctx: &Context,
        key: &Key,
        record: &impl Serialize,
    ) -> Result<Revision, ContentError> {
        let (value, options) = (encode(key, record)?, WriteOptions::default());
        match self.records.put(ctx, key, value.clone(), options).await {
            Ok(revision) => Ok(revision),
            Err(error) if is_unknown(&error) => {
                let there = self.records.get(ctx, key).await?;
                match there {
                    Some(entry) if entry.value == value => Ok(entry.revision),
                    _ => Err(error.into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Writes a record over the one that was read, or where there was none.
    pub(super) async fn replace_record(
        &self,
        ctx: &Context,
        key: &Key,
        record: &impl Serialize,
        before: Option<Revision>,
    ) -> Result<Replaced, ContentError> {
        let (value, options) = (encode(key, record)?, WriteOptions::default());
        let written = match before {
            None => self.records.create(ctx, key, value, options).await,
            Some(revision) => {
                self.records
                    .update(ctx, key, value, revision, options)
                    .await
            }
        };
        match written {
            Ok(revision) => Ok(Replaced::Done(revision)),
            Err(error) if error.is_conflict() => Ok(Replaced::Conflict),
            Err(error) if is_unknown(&error) => Ok(Replaced::Unknown),
            Err(error) => Err(error.into()),
        }
    }

    /// Changes what stands beside content until nobody else comes in between. `change` gets what is
    /// there and gives what is to be there, or `None` to leave it; it may be asked several times, also
    /// after its change was made and the answer lost. The revision of a record that is new.
    pub(super) async fn change_about(
        &self,
        ctx: &Context,
        cid: &Cid,
        change: impl Fn(Option<AboutRecord>) -> Result<Option<AboutRecord>, ContentError>,
    ) -> Result<Option<Revision>, ContentError> {
        let key = names::about(cid)?;
        for _ in 0..ATTEMPTS {
            let there = self.record::<AboutRecord>(ctx, &key).await?;
            let (before, revision) = match there {
                None => (None, None),
                Some(kept) => (Some(kept.record), Some(kept.revision)),
            };
            let Some(after) = change(before.clone())? else {
                return Ok(None);
            };
            if before.as_ref() == Some(&after) {
                return Ok(None);
            }
            let written = self.replace_record(ctx, &key, &after, revision).await?;
            if let Replaced::Done(revision) = written {
                return Ok(before.is_none().then_some(revision));
            }
        }
        Err(contended(&key))
    }
}

/// Others change a record all the time.
pub(super) fn contended(key: &Key) -> ContentError {
    ContentError::Store(
        cim_store::BucketError::unavailable("others changed the record at every attempt")
            .with("key", key),
    )
}

/// Whether the answer to a change was lost.
pub(super) fn is_unknown(error: &cim_store::BucketError) -> bool {
    matches!(error.kind(), cim_store::BucketErrorKind::Unknown)
}

fn encode(key: &Key, record: &impl Serialize) -> Result<Bytes, ContentError> {
    match dag_cbor::to_vec(record) {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) => Err(unreadable(key, error)),
    }
}

fn decode<R: DeserializeOwned>(entry: &Entry) -> Result<Kept<R>, ContentError> {
    match dag_cbor::from_slice(&entry.value) {
        Ok(record) => Ok(Kept {
            record,
            revision: entry.revision,
        }),
        Err(error) => Err(unreadable(&entry.key, error)),
    }
}
