//! An event's metadata: a canonical CBOR map from text to text.
//!
//! The map travels as its bytes. Whoever has pairs encodes them once with [`encode_metadata`];
//! whoever has a block borrows the bytes from it. So neither side allocates per event, and copying
//! an event never re-sorts anything.

use std::fmt;

use super::error::{BlockError, BlockErrorKind, excerpt};
use super::fields::META;
use crate::cbor::{self, CborFault};

/// Metadata of an event, borrowed: pairs of texts, each key once, in canonical order (shorter keys
/// first, then bytewise).
///
/// ```
/// use cim_ipld::{MetadataRef, encode_metadata};
///
/// let mut map = Vec::new();
/// encode_metadata(&[("region", "eu"), ("app", "shop")], &mut map)?;
/// let metadata = MetadataRef::from_canonical(&map)?;
/// assert_eq!(metadata.iter().collect::<Vec<_>>(), [("app", "shop"), ("region", "eu")]);
/// assert_eq!(metadata.get("region"), Some("eu"));
/// # Ok::<(), cim_ipld::BlockError>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct MetadataRef<'a> {
    /// A checked canonical map with at least one entry, or nothing.
    map: &'a [u8],
}

impl<'a> MetadataRef<'a> {
    /// No metadata.
    pub const EMPTY: MetadataRef<'static> = MetadataRef { map: &[] };

    /// Metadata from the bytes of a canonical map, as [`encode_metadata`] writes them and
    /// [`MetadataRef::as_bytes`] returns them; no bytes at all mean no metadata.
    ///
    /// # Errors
    /// If the bytes are not exactly one canonical DAG-CBOR map from text to text with at least one
    /// entry. Offsets in the error count from the first byte given.
    pub fn from_canonical(map: &'a [u8]) -> Result<Self, BlockError> {
        if map.is_empty() {
            return Ok(Self::EMPTY);
        }
        let end = check_map(map, 0)?;
        if end == map.len() {
            Ok(Self { map })
        } else {
            Err(fault(
                end,
                BlockErrorKind::NotCanonical(CborFault::TrailingBytes),
            ))
        }
    }

    /// The bytes of the canonical map; empty if there is no metadata.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.map
    }

    /// Whether there is no metadata.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// The pairs in canonical order.
    #[must_use]
    pub fn iter(&self) -> MetadataIter<'a> {
        match cbor::read_head(self.map) {
            Ok(head) => MetadataIter {
                rest: &self.map[head.len..],
                left: head.value,
            },
            Err(_) => MetadataIter { rest: &[], left: 0 },
        }
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'a str> {
        self.iter()
            .find(|&(found, _)| found == key)
            .map(|(_, value)| value)
    }
}

impl fmt::Debug for MetadataRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for MetadataRef<'a> {
    type Item = (&'a str, &'a str);
    type IntoIter = MetadataIter<'a>;

    fn into_iter(self) -> MetadataIter<'a> {
        self.iter()
    }
}

/// The pairs of [`MetadataRef::iter`].
#[derive(Clone, Debug)]
pub struct MetadataIter<'a> {
    rest: &'a [u8],
    left: u64,
}

impl<'a> MetadataIter<'a> {
    fn text(&mut self) -> Option<&'a str> {
        let (text, len) = text_at(self.rest, 0).ok()?;
        self.rest = &self.rest[len..];
        Some(text)
    }
}

impl<'a> Iterator for MetadataIter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some((self.text()?, self.text()?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // Checked when the map was: every entry has at least two bytes in memory.
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        (left, Some(left))
    }
}

impl ExactSizeIterator for MetadataIter<'_> {}

/// Appends the canonical map of `pairs`, in whatever order they come; appends nothing if there are
/// none.
///
/// Pairs that are already in canonical order (shorter keys first, then bytewise) are written
/// without allocating.
///
/// # Errors
/// [`BlockErrorKind::DuplicateKey`] if a key appears twice; `out` is then unchanged.
pub fn encode_metadata<K, V>(pairs: &[(K, V)], out: &mut Vec<u8>) -> Result<(), BlockError>
where
    K: AsRef<str>,
    V: AsRef<str>,
{
    if pairs.is_empty() {
        return Ok(());
    }
    let rising = |(a, _): &(K, V), (b, _): &(K, V)| order(a.as_ref()) < order(b.as_ref());
    if pairs.windows(2).all(|two| rising(&two[0], &two[1])) {
        write_map(pairs.iter(), out);
        return Ok(());
    }
    let mut sorted: Vec<&(K, V)> = pairs.iter().collect();
    sorted.sort_unstable_by(|(a, _), (b, _)| order(a.as_ref()).cmp(&order(b.as_ref())));
    if let Some(two) = sorted.windows(2).find(|two| !rising(two[0], two[1])) {
        let key = excerpt(two[0].0.as_ref());
        return Err(BlockError::of_value(
            META.name,
            BlockErrorKind::DuplicateKey { key },
        ));
    }
    write_map(sorted.into_iter(), out);
    Ok(())
}

/// The canonical order of map keys as something to compare.
fn order(key: &str) -> (usize, &[u8]) {
    (key.len(), key.as_bytes())
}

fn write_map<'p, K, V>(pairs: impl ExactSizeIterator<Item = &'p (K, V)>, out: &mut Vec<u8>)
where
    K: AsRef<str> + 'p,
    V: AsRef<str> + 'p,
{
    cbor::write_head(out, cbor::MAP, pairs.len() as u64);
    for (key, value) in pairs {
        for text in [key.as_ref(), value.as_ref()] {
            cbor::write_head(out, cbor::TEXT, text.len() as u64);
            out.extend_from_slice(text.as_bytes());
        }
    }
}

/// The metadata at `start` of a block, and where it ends.
pub(super) fn metadata_at(
    block: &[u8],
    start: usize,
) -> Result<(MetadataRef<'_>, usize), BlockError> {
    let end = check_map(block, start)?;
    Ok((
        MetadataRef {
            map: &block[start..end],
        },
        end,
    ))
}

/// Checks the map that starts at `start` and returns where it ends.
fn check_map(bytes: &[u8], start: usize) -> Result<usize, BlockError> {
    let head = cbor::read_head(bytes.get(start..).unwrap_or_default())
        .map_err(|cbor| fault(start, BlockErrorKind::NotCanonical(cbor)))?;
    if head.major != cbor::MAP {
        return Err(fault(
            start,
            BlockErrorKind::WrongType {
                expected: "a map of texts",
            },
        ));
    }
    if head.value == 0 {
        return Err(fault(start, BlockErrorKind::EmptyMetadata));
    }
    let mut at = start + head.len;
    let mut previous: Option<&str> = None;
    for _ in 0..head.value {
        let (key, next) = text_at(bytes, at)?;
        if let Some(previous) = previous
            && order(key) <= order(previous)
        {
            let same = key == previous;
            let key = excerpt(key);
            let kind = if same {
                BlockErrorKind::DuplicateKey { key }
            } else {
                BlockErrorKind::UnsortedKey { key }
            };
            return Err(fault(at, kind));
        }
        previous = Some(key);
        (_, at) = text_at(bytes, next)?;
    }
    Ok(at)
}

/// The text at `at`, and where it ends.
fn text_at(bytes: &[u8], at: usize) -> Result<(&str, usize), BlockError> {
    let rest = bytes.get(at..).unwrap_or_default();
    let not_canonical = |cbor| fault(at, BlockErrorKind::NotCanonical(cbor));
    let head = cbor::read_head(rest).map_err(not_canonical)?;
    if head.major != cbor::TEXT {
        return Err(fault(at, BlockErrorKind::WrongType { expected: "a text" }));
    }
    let text = usize::try_from(head.value)
        .ok()
        .and_then(|len| rest[head.len..].get(..len))
        .ok_or_else(|| not_canonical(CborFault::Truncated))?;
    let text = std::str::from_utf8(text).map_err(|_| not_canonical(CborFault::InvalidUtf8))?;
    Ok((text, at + head.len + text.len()))
}

fn fault(offset: usize, kind: BlockErrorKind) -> BlockError {
    BlockError::at(offset, Some(META.name), kind)
}
