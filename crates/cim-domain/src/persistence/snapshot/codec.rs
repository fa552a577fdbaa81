//! How states are written in snapshots, and read again.

use cim_store::ContentType;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::IgnoredSnapshot;
use crate::event::to_lossless_json;

/// How states are written. What was written by the one is read whatever the setting is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SnapshotCodec {
    /// As JSON.
    #[default]
    Json,
}

impl SnapshotCodec {
    pub(super) fn content_type(self) -> ContentType {
        match self {
            Self::Json => ContentType::JSON,
        }
    }

    /// Writes a state, unless it would come back as another one.
    pub(super) fn encode<S: Serialize + ?Sized>(
        self,
        state: &S,
    ) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        match self {
            Self::Json => Ok(to_lossless_json(&state)?),
        }
    }
}

/// Reads a state as its content type says.
pub(super) fn decode<S: DeserializeOwned>(
    content_type: &ContentType,
    state: &[u8],
) -> Result<S, IgnoredSnapshot> {
    if content_type.is_json() {
        return serde_json::from_slice(state).map_err(|_| IgnoredSnapshot::Unreadable);
    }
    Err(IgnoredSnapshot::Unreadable)
}
