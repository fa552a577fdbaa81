//! Patterns: sets of subjects, written with wildcards, and whether a subject is in one.
//!
//! `*` stands for exactly one token and `>`, always last, for one or more. Matching is on the path
//! of every event that a filtered reader sees, so it compares bytes and allocates nothing.

use std::fmt;
use std::str::FromStr;

use bytestring::ByteString;

use crate::Subject;
use crate::error::SubjectError;
use crate::subject::{Wildcards, check, token_count};

/// A set of subjects: a subject in which whole tokens may be `*` (exactly one token) and the last
/// one may be `>` (one or more tokens).
///
/// A pattern has 1 to 255 bytes, like a subject. That loses nothing: no wildcard can match fewer
/// bytes than its own one, so a longer pattern would match no subject at all. The other way round,
/// every pattern matches at least one subject.
///
/// Two patterns are equal when their texts are. Patterns order by their bytes; to order routes, use
/// [`specificity`](Self::specificity).
///
/// ```
/// use cim_subject::{Subject, SubjectPattern};
///
/// let orders = SubjectPattern::new("cim.events.*.order.>")?;
/// assert!(orders.matches(&Subject::new("cim.events.sales.order.42.order_placed.1")?));
/// assert!(!orders.matches(&Subject::new("cim.events.sales.order")?));
/// assert!(SubjectPattern::new("cim.ev*").is_err());
/// assert!(SubjectPattern::new("cim.>.order").is_err());
/// # Ok::<(), cim_subject::SubjectError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectPattern {
    text: ByteString,
    /// Where the first wildcard stands, or the length of the text: at most 255.
    wild: u8,
}

impl SubjectPattern {
    /// Checks `text` and makes it a pattern.
    ///
    /// ```
    /// # use cim_subject::{SubjectError, SubjectPattern};
    /// assert_eq!(SubjectPattern::new("orders.*")?.as_str(), "orders.*");
    /// let error = SubjectPattern::new("orders.>.paid").unwrap_err();
    /// assert!(matches!(error, SubjectError::RestNotLast { position: 7, .. }));
    /// # Ok::<(), SubjectError>(())
    /// ```
    ///
    /// # Errors
    /// Any [`SubjectError`] but [`Wildcard`](SubjectError::Wildcard).
    pub fn new(text: impl Into<ByteString>) -> Result<Self, SubjectError> {
        let text = text.into();
        check(&text, Wildcards::Allow)?;
        Ok(Self::from_checked(text))
    }

    /// Takes a text that is already known to be a valid pattern.
    pub(crate) fn from_checked(text: ByteString) -> Self {
        debug_assert_eq!(check(&text, Wildcards::Allow), Ok(()));
        // A wildcard is a whole token, so the first such byte begins the first such token.
        let wild = text.find(['*', '>']).unwrap_or(text.len());
        Self {
            text,
            wild: u8::try_from(wild).unwrap_or(u8::MAX),
        }
    }

    /// The pattern `>`, which matches every subject.
    ///
    /// ```
    /// # use cim_subject::SubjectPattern;
    /// assert_eq!(SubjectPattern::all(), SubjectPattern::new(">")?);
    /// # Ok::<(), cim_subject::SubjectError>(())
    /// ```
    pub const fn all() -> Self {
        Self {
            text: ByteString::from_static(">"),
            wild: 0,
        }
    }

    /// The pattern as text.
    ///
    /// ```
    /// # use cim_subject::SubjectPattern;
    /// assert_eq!(SubjectPattern::new("orders.>")?.as_str(), "orders.>");
    /// # Ok::<(), cim_subject::SubjectError>(())
    /// ```
    #[inline]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The tokens, wildcards included; never empty.
    ///
    /// ```
    /// # use cim_subject::SubjectPattern;
    /// let pattern = SubjectPattern::new("orders.*.>")?;
    /// assert_eq!(pattern.tokens().collect::<Vec<_>>(), ["orders", "*", ">"]);
    /// # Ok::<(), cim_subject::SubjectError>(())
    /// ```
    pub fn tokens(&self) -> impl DoubleEndedIterator<Item = &str> + Clone + fmt::Debug {
        self.text.split('.')
    }

    /// The number of tokens, wildcards included, from 1 to 128.
    ///
    /// ```
    /// # use cim_subject::SubjectPattern;
    /// assert_eq!(SubjectPattern::new("orders.*.>")?.token_count(), 3);
    /// # Ok::<(), cim_subject::SubjectError>(())
    /// ```
    pub fn token_count(&self) -> usize {
        token_count(&self.text)
    }

    /// Whether the pattern has no wildcard, so that it matches exactly the subject it spells.
    ///
    /// ```
    /// # use cim_subject::SubjectPattern;
    /// assert!(SubjectPattern::new("orders.42")?.is_literal());
    /// assert!(!SubjectPattern::new("orders.*")?.is_literal());
    /// # Ok::<(), cim_subject::SubjectError>(())
    /// ```
    #[inline]
    pub fn is_literal(&self) -> bool {
        self.head().len() == self.text.len()
    }

    /// The tokens before the first wildcard, joined by dots and without a dot at the end: all of a
    /// literal pattern, and the empty text where the pattern begins with a wildcard.
    ///
    /// Every matching subject begins with this text and, unless the pattern is literal, a dot after
    /// it (or with anything, if it is empty). A range scan should seek that dot too: `orders` also
    /// begins `orders2.42`.
    ///
    /// ```
    /// # use cim_subject::SubjectPattern;
    /// assert_eq!(SubjectPattern::new("cim.events.*.order.>")?.literal_prefix(), "cim.events");
    /// assert_eq!(SubjectPattern::new("cim.events")?.literal_prefix(), "cim.events");
    /// assert_eq!(SubjectPattern::all().literal_prefix(), "");
    /// # Ok::<(), cim_subject::SubjectError>(())
    /// ```
    pub fn literal_prefix(&self) -> &str {
        let head = self.head();
        head.strip_suffix('.').unwrap_or(head)
    }

    /// Whether the pattern matches `subject`.
    ///
    /// ```
    /// # use cim_subject::{Subject, SubjectPattern};
    /// let pattern = SubjectPattern::new("orders.*")?;
    /// assert!(pattern.matches(&Subject::new("orders.42")?));
    /// assert!(!pattern.matches(&Subject::new("orders.42.paid")?));
    /// # Ok::<(), cim_subject::SubjectError>(())
    /// ```
    #[inline]
    pub fn matches(&self, subject: &Subject) -> bool {
        self.matches_str(subject.as_str())
    }

    /// Whether the pattern matches the subject `subject`, which the caller knows to be valid (it
    /// came out of a [`Subject`], or out of a store that holds only such). For any other text the
    /// answer means nothing, but nothing panics.
    ///
    /// Allocates nothing.
    ///
    /// ```
    /// # use cim_subject::SubjectPattern;
    /// assert!(SubjectPattern::new("orders.>")?.matches_str("orders.42.paid"));
    /// # Ok::<(), cim_subject::SubjectError>(())
    /// ```
    pub fn matches_str(&self, subject: &str) -> bool {
        let head = self.head();
        let Some(rest) = subject.as_bytes().strip_prefix(head.as_bytes()) else {
            return false;
        };
        let wild = &self.text.as_bytes()[head.len()..];
        if wild.is_empty() {
            rest.is_empty()
        } else {
            matches_tokens(wild, rest)
        }
    }

    /// The text before the first wildcard, with its final dot: all of a literal pattern.
    fn head(&self) -> &str {
        &self.text[..usize::from(self.wild)]
    }
}

/// Compares token by token; both texts stand at the beginning of a token.
fn matches_tokens(mut pattern: &[u8], mut subject: &[u8]) -> bool {
    loop {
        match pattern.first() {
            Some(b'>') => return !subject.is_empty(),
            Some(b'*') => {
                let length = token_len(subject);
                if length == 0 {
                    return false;
                }
                (pattern, subject) = (&pattern[1..], &subject[length..]);
            }
            _ => {
                let (token, after) = pattern.split_at(token_len(pattern));
                let Some(rest) = subject.strip_prefix(token) else {
                    return false;
                };
                (pattern, subject) = (after, rest);
            }
        }
        // Both tokens must end here: a literal may be a mere prefix of the subject's token.
        match (pattern, subject) {
            ([], []) => return true,
            ([b'.', rest_of_pattern @ ..], [b'.', rest_of_subject @ ..]) => {
                (pattern, subject) = (rest_of_pattern, rest_of_subject);
            }
            _ => return false,
        }
    }
}

/// The length of the token that `text` begins with.
fn token_len(text: &[u8]) -> usize {
    text.iter()
        .position(|&byte| byte == b'.')
        .unwrap_or(text.len())
}

/// Displays the pattern's text.
impl fmt::Display for SubjectPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl fmt::Debug for SubjectPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl FromStr for SubjectPattern {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        Self::try_from(text)
    }
}

impl TryFrom<&str> for SubjectPattern {
    type Error = SubjectError;

    fn try_from(text: &str) -> Result<Self, SubjectError> {
        check(text, Wildcards::Allow)?; // before copying: the text may be huge
        Ok(Self::from_checked(text.into()))
    }
}

impl TryFrom<String> for SubjectPattern {
    type Error = SubjectError;

    fn try_from(text: String) -> Result<Self, SubjectError> {
        Self::new(text)
    }
}

/// The pattern that matches only this subject.
impl From<Subject> for SubjectPattern {
    fn from(subject: Subject) -> Self {
        Self::from(&subject)
    }
}

/// The pattern that matches only this subject.
impl From<&Subject> for SubjectPattern {
    fn from(subject: &Subject) -> Self {
        Self::from_checked(subject.text().clone())
    }
}

impl AsRef<str> for SubjectPattern {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for SubjectPattern {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for SubjectPattern {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}
