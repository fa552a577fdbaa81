//! Tags: short texts that events are found by, whatever their stream.
//!
//! They stand in an event's metadata, under one name, so they are part of the event and of its CID,
//! and every reader of the event sees them, also one that knows nothing of tags.

use std::fmt;

use cim_store::metadata::MetadataError;
use cim_store::{Metadata, RecordedEvent};

/// Short texts that events are found by: sorted, each once.
///
/// ```
/// use cim_domain::persistence::Tags;
/// use cim_domain::store::Metadata;
///
/// let tags = Tags::new(["urgent", "region:eu", "urgent"])?;
/// assert_eq!(tags.iter().collect::<Vec<_>>(), ["region:eu", "urgent"]);
///
/// let metadata = tags.add_to(&Metadata::from_pairs([("tenant", "acme")])?)?;
/// assert_eq!(metadata.get(Tags::NAME), Some(r#"["region:eu","urgent"]"#));
/// assert_eq!(Tags::from_metadata(&metadata)?, tags);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tags(Vec<String>);

/// Texts that can't be tags, or metadata that has no room for them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TagsError {
    /// A text is empty, too long, or has control characters.
    #[error(
        "`{text}` can't be a tag; it has 1 to {max} bytes and no control characters",
        max = Tags::MAX_BYTES
    )]
    Text {
        /// What was given, shortened to 100 characters.
        text: String,
    },
    /// There are too many of them.
    #[error("{count} tags are too many for one event; at most {max} are possible", max = Tags::MAX_COUNT)]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// The metadata has a text under the name that tags stand under.
    #[error("the metadata has a text of its own under the name `{name}`, where tags stand", name = Tags::NAME)]
    Taken,
    /// The text under the name that tags stand under is no list of texts in JSON.
    #[error("the metadata's text under `{name}` is no list of tags", name = Tags::NAME)]
    NotAList(#[source] serde_json::Error),
    /// They can't be written into the metadata.
    #[error("the tags can't be written into the metadata")]
    Metadata(#[from] MetadataError),
}

impl Tags {
    /// No tags.
    pub const NONE: Self = Self(Vec::new());
    /// The name in an event's metadata under which its tags stand, as a list of texts in JSON.
    pub const NAME: &'static str = "tags";
    /// The longest tag, in bytes.
    pub const MAX_BYTES: usize = 100;
    /// The most tags of one event.
    pub const MAX_COUNT: usize = 50;

    /// Takes texts, in any order; the same one twice is one tag.
    ///
    /// # Errors
    /// `Text` where one is empty, longer than [`MAX_BYTES`](Self::MAX_BYTES) or has control
    /// characters; `TooMany` where there are more than [`MAX_COUNT`](Self::MAX_COUNT).
    pub fn new<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Result<Self, TagsError> {
        let mut tags = Vec::new();
        for text in texts {
            let text = text.into();
            if !is_tag(&text) {
                let text = text.chars().take(100).collect();
                return Err(TagsError::Text { text });
            }
            tags.push(text);
        }
        tags.sort_unstable();
        tags.dedup();
        if tags.len() > Self::MAX_COUNT {
            let count = tags.len();
            return Err(TagsError::TooMany { count });
        }
        Ok(Self(tags))
    }

    /// The tags in an event's metadata; none where nothing stands under their name.
    ///
    /// # Errors
    /// `NotAList` where something else stands there; `Text`, `TooMany`.
    pub fn from_metadata(metadata: &Metadata) -> Result<Self, TagsError> {
        let Some(text) = metadata.get(Self::NAME) else {
            return Ok(Self::NONE);
        };
        let texts: Vec<String> = serde_json::from_str(text).map_err(TagsError::NotAList)?;
        Self::new(texts)
    }

    /// The tags of an event; none where what stands under their name is something else, because
    /// the event may be of a program that does not know tags.
    pub fn of(event: &RecordedEvent) -> Self {
        Self::from_metadata(&event.metadata).unwrap_or_default()
    }

    /// Metadata that has these tags beside what it had. Without tags it is the same.
    ///
    /// # Errors
    /// `Taken` where the metadata already has something under their name.
    pub fn add_to(&self, metadata: &Metadata) -> Result<Metadata, TagsError> {
        if self.is_empty() {
            return Ok(metadata.clone());
        }
        if metadata.get(Self::NAME).is_some() {
            return Err(TagsError::Taken);
        }
        let list = self.to_json();
        let pairs = metadata.iter().chain([(Self::NAME, list.as_str())]);
        Ok(Metadata::from_pairs(pairs)?)
    }

    /// Whether it is one of them.
    pub fn contains(&self, tag: &str) -> bool {
        self.0.binary_search_by(|own| own.as_str().cmp(tag)).is_ok()
    }

    /// The tags, sorted by their bytes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The list as it stands in metadata: a JSON array without spaces.
    fn to_json(&self) -> String {
        serde_json::Value::from(self.0.clone()).to_string()
    }
}

/// Whether a text can be a tag.
fn is_tag(text: &str) -> bool {
    (1..=Tags::MAX_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}

impl<'a> IntoIterator for &'a Tags {
    type Item = &'a String;
    type IntoIter = std::slice::Iter<'a, String>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Display for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn metadata(text: &str) -> Metadata {
        Metadata::from_pairs([(Tags::NAME, text)]).unwrap()
    }

    proptest! {
        #[test]
        fn tags_come_out_of_metadata_as_they_went_in(texts in prop::collection::vec("[^\\p{Cc}]{1,25}", 0..50)) {
            let tags = Tags::new(texts.clone()).unwrap();
            for text in &texts {
                prop_assert!(tags.contains(text));
            }
            let before = Metadata::from_pairs([("zone", "1"), ("a", "")]).unwrap();
            let after = tags.add_to(&before).unwrap();
            prop_assert_eq!(Tags::from_metadata(&after).unwrap(), tags);
            prop_assert_eq!(after.get("zone"), Some("1"));
        }
    }

    #[test]
    fn texts_that_can_not_be_tags_are_refused() {
        for text in ["", "a\nb", "\u{85}", &"x".repeat(101)] {
            assert!(matches!(Tags::new([text]), Err(TagsError::Text { .. })));
        }
        let tag = "ü".repeat(50);
        assert_eq!(Tags::new([tag.clone()]).unwrap().iter().next(), Some(&*tag));
    }

    #[test]
    fn fifty_different_tags_are_possible_and_no_more() {
        let many = |count: usize| (0..count).map(|number| number.to_string());
        assert_eq!(Tags::new(many(50).chain(many(50))).unwrap().len(), 50);
        assert!(matches!(
            Tags::new(many(51)),
            Err(TagsError::TooMany { count: 51 })
        ));
    }

    #[test]
    fn metadata_with_something_else_under_the_name_is_told_and_never_overwritten() {
        let taken = metadata("mine");
        let tags = Tags::new(["a"]).unwrap();
        assert!(matches!(tags.add_to(&taken), Err(TagsError::Taken)));
        assert_eq!(Tags::NONE.add_to(&taken).unwrap(), taken);
        for text in ["mine", "{}", "[1]", "null"] {
            assert!(matches!(
                Tags::from_metadata(&metadata(text)),
                Err(TagsError::NotAList(_))
            ));
        }
        let refused = Tags::from_metadata(&metadata(r#"[""]"#));
        assert!(matches!(refused, Err(TagsError::Text { .. })));
    }

    #[test]
    fn a_list_that_was_written_in_another_order_is_read_as_well() {
        let read = Tags::from_metadata(&metadata(r#"[ "b", "a", "b" ]"#)).unwrap();
        assert_eq!(read.to_string(), "a, b");
        assert_eq!(Tags::from_metadata(&Metadata::EMPTY).unwrap(), Tags::NONE);
    }
}
