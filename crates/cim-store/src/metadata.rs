//! What an application says about an event beside its payload.

use std::fmt;

use bytes::Bytes;
use cim_ipld::{MetadataRef, encode_metadata};

/// Texts by name, sorted as canonical DAG-CBOR sorts them (shorter names first).
///
/// It is part of the event's block, and so of its CID. Kept in its encoded form: cloning is cheap
/// and an empty one costs nothing.
///
/// ```
/// use cim_store::Metadata;
///
/// let metadata = Metadata::from_pairs([("tenant", "acme"), ("ip", "10.0.0.1")])?;
/// assert_eq!(metadata.get("tenant"), Some("acme"));
/// assert_eq!(metadata.iter().next(), Some(("ip", "10.0.0.1")));
/// assert_eq!(metadata.encoded_len(), 25); // bytes in the event's block
/// # Ok::<(), cim_store::metadata::MetadataError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Metadata {
    /// A canonical DAG-CBOR map; no bytes at all when it is empty.
    encoded: Bytes,
}

/// Metadata that can't be encoded: a name was given twice.
#[derive(Debug, thiserror::Error)]
#[error("the metadata can't be encoded")]
pub struct MetadataError(#[from] cim_ipld::BlockError);

impl Metadata {
    /// No metadata.
    pub const EMPTY: Self = Self {
        encoded: Bytes::new(),
    };

    /// Takes name and text of each pair.
    ///
    /// # Errors
    /// When a name is given twice.
    pub fn from_pairs<K: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, MetadataError> {
        let pairs: Vec<(K, V)> = pairs.into_iter().collect();
        if pairs.is_empty() {
            return Ok(Self::EMPTY);
        }
        let pairs: Vec<(&str, &str)> = pairs
            .iter()
            .map(|(name, text)| (name.as_ref(), text.as_ref()))
            .collect();
        let mut encoded = Vec::new();
        encode_metadata(&pairs, &mut encoded)?;
        Ok(Self {
            encoded: encoded.into(),
        })
    }

    /// Wraps a map that was decoded strictly, sharing its bytes.
    pub(crate) fn from_encoded(encoded: Bytes) -> Self {
        Self { encoded }
    }

    /// The map as it stands in the event's block.
    pub fn as_ref(&self) -> MetadataRef<'_> {
        MetadataRef::from_canonical(&self.encoded).unwrap_or(MetadataRef::EMPTY)
    }

    /// The text under `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(key, _)| *key == name)
            .map(|(_, text)| text)
    }

    /// Names and texts in canonical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.as_ref().iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.encoded.is_empty()
    }

    /// Its size in the event's block, in bytes.
    pub fn encoded_len(&self) -> usize {
        self.encoded.len()
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
