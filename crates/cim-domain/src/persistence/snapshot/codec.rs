//! How states are written in snapshots, and read again.

use bytestring::ByteString;
use cim_store::ContentType;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::IgnoredSnapshot;
use crate::event::codec::{Cbor, Codec, CodecError, Json};

/// How states are written. What was written by the one is read whatever the setting is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SnapshotCodec {
    /// As [JSON](Json).
    #[default]
    Json,
    /// As [CBOR](Cbor): smaller, and quicker to read where a state has many numbers or bytes.
    Cbor,
}

impl SnapshotCodec {
    pub(super) fn content_type(self) -> Result<ContentType, cim_store::event::ContentTypeError> {
        ContentType::new(ByteString::from_static(match self {
            Self::Json => Json::CONTENT_TYPE,
            Self::Cbor => Cbor::CONTENT_TYPE,
        }))
    }

    /// Writes a state, unless it would come back as another one.
    pub(super) fn encode<S: Serialize + ?Sized>(self, state: &S) -> Result<Vec<u8>, CodecError> {
        match self {
            Self::Json => Json::encode_whole(state),
            Self::Cbor => Cbor::encode_whole(state),
        }
    }
}

/// Reads a state as its content type says.
pub(super) fn decode<S: DeserializeOwned>(
    content_type: &ContentType,
    state: &[u8],
) -> Result<S, IgnoredSnapshot> {
    let read = match content_type.as_str() {
        Json::CONTENT_TYPE => Json::decode(state),
        Cbor::CONTENT_TYPE => Cbor::decode(state),
        _ => return Err(IgnoredSnapshot::Unreadable),
    };
    read.map_err(|_| IgnoredSnapshot::Unreadable)
}
