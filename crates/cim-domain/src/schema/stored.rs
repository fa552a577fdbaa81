//! Stored events compared with the shapes that are locked.

use std::collections::BTreeMap;

use cim_store::{RecordedEvent, StreamId, Version};
use serde_json::Value;

use super::{LockFile, Persisted, Shape};
use crate::event::codec::is_json_content;
use crate::persistence::TOMBSTONE;

/// Compares stored events, one after the other, with the shapes in a lock file.
///
/// ```
/// use cim_domain::schema::{LockFile, StoredShapes};
/// use cim_domain::store::{Context, EventLogExt, ExpectedVersion, LogQuery, NewEvent, StreamId};
/// use futures_util::TryStreamExt;
/// use serde_json::json;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let log = cim_domain::open("memory:").await?.log();
/// let (ctx, stream) = (Context::new(), StreamId::new("bank", "account", "7")?);
/// let event = NewEvent::json("deposited", &json!({ "cents": "700" }))?;
/// log.append_to(&ctx, &stream, ExpectedVersion::NEW, vec![event]).await?;
///
/// let file = LockFile::parse("cim-schemas 1\nevent deposited version 1 { cents: u64 }\n")?;
/// let mut found = StoredShapes::new(&file);
/// let mut events = log.read_log(&ctx, LogQuery::all()).await?;
/// while let Some(event) = events.try_next().await? {
///     found.add(&event);
/// }
/// let found = found.versions();
/// assert!(!found[0].fits());
/// let misfit = found[0].first_misfit.as_ref().unwrap();
/// assert_eq!(misfit.message, r#"at `cents`: "700" is not u64"#);
/// assert_eq!((misfit.stream.as_str(), misfit.version.get()), ("bank.account.7", 1));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct StoredShapes<'a> {
    file: &'a LockFile,
    found: BTreeMap<(Persisted, u32), StoredVersion>,
}

/// What a store holds of one event type and schema version.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StoredVersion {
    /// The event type: under its aggregate, unless the file has it alone.
    pub what: Persisted,
    /// The schema version.
    pub schema_version: u32,
    /// How many events there are.
    pub events: u64,
    /// Whether the file has this version of this type.
    pub is_locked: bool,
    /// Events whose payload is no JSON, so that it was not compared.
    pub not_compared: u64,
    /// Events whose payload has none of the locked shapes.
    pub misfits: u64,
    /// The first of them; where the version is not locked, the first event.
    pub first_misfit: Option<StoredMisfit>,
}

/// A stored event that is not as the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredMisfit {
    /// Its stream.
    pub stream: StreamId,
    /// Its version in the stream.
    pub version: Version,
    /// What is wrong, and where in the payload.
    pub message: String,
}

impl StoredVersion {
    /// Whether everything that could be compared is as the file says.
    pub fn fits(&self) -> bool {
        self.is_locked && self.misfits == 0
    }
}

impl<'a> StoredShapes<'a> {
    /// Begins a comparison.
    pub fn new(file: &'a LockFile) -> Self {
        Self {
            file,
            found: BTreeMap::new(),
        }
    }

    /// Takes in an event. The library's own, tombstones, have no shape of the user's.
    pub fn add(&mut self, event: &RecordedEvent) {
        let event_type = event.event_type.as_str();
        if event_type == TOMBSTONE {
            return;
        }
        let aggregate = format!("{}.{}", event.stream.context(), event.stream.aggregate());
        let mut what = Persisted::event(Some(&aggregate), event_type);
        let alone = Persisted::event(None, event_type);
        if self.file.get(&what).is_none() && self.file.get(&alone).is_some() {
            what = alone;
        }
        let schema_version = event.schema_version.get();
        let versions = self.file.get(&what);
        let shapes = versions.and_then(|versions| versions.get(&schema_version));
        let found = self
            .found
            .entry((what, schema_version))
            .or_insert_with_key(|(what, _)| StoredVersion {
                what: what.clone(),
                schema_version,
                events: 0,
                is_locked: shapes.is_some(),
                not_compared: 0,
                misfits: 0,
                first_misfit: None,
            });
        found.events += 1;
        let misfit = match shapes {
            None => Some("the file has no such version".to_owned()),
            Some(_) if !is_json_content(event.content_type.as_str()) => {
                found.not_compared += 1;
                None
            }
            Some(shapes) => misfit(shapes, &event.payload),
        };
        if let Some(message) = misfit {
            found.misfits += 1;
            found.first_misfit.get_or_insert_with(|| StoredMisfit {
                stream: event.stream.clone(),
                version: event.version,
                message,
            });
        }
    }

    /// What was found, in the order of the file.
    pub fn versions(self) -> Vec<StoredVersion> {
        self.found.into_values().collect()
    }
}

/// Why a payload has none of the shapes: what is said of the newest.
fn misfit(shapes: &[Shape], payload: &[u8]) -> Option<String> {
    let value: Value = match serde_json::from_slice(payload) {
        Ok(value) => value,
        Err(error) => return Some(format!("it is no JSON: {error}")),
    };
    let mut message = None;
    for shape in shapes {
        match shape.check(&value) {
            Ok(()) => return None,
            Err(misfit) => message = Some(misfit.to_string()),
        }
    }
    message
}
