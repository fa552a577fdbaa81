//! One concrete subject, and the grammar that subjects and patterns share.
//!
//! The grammar is the strict form of NATS subjects: tokens of printable ASCII between dots. It is
//! checked once, when a subject is made; whoever holds a [`Subject`] holds a valid one.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use bytestring::ByteString;

use crate::error::{SubjectError, excerpt};

/// A concrete subject: 1 to 255 bytes, non-empty tokens with a `.` between them.
///
/// A token holds printable ASCII (`!` to `~`) except `.`, `*` and `>`. Cloning is cheap: clones
/// share one allocation. Subjects order by their bytes.
///
/// ```
/// use cim_subject::Subject;
///
/// let subject = Subject::new("cim.events.sales")?;
/// assert_eq!(subject.tokens().collect::<Vec<_>>(), ["cim", "events", "sales"]);
/// assert!(Subject::new("cim.events.*").is_err());
/// # Ok::<(), cim_subject::SubjectError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(ByteString);

impl Subject {
    /// The longest subject or pattern, in bytes.
    ///
    /// ```
    /// # use cim_subject::{Subject, SubjectError};
    /// assert!(Subject::new("a".repeat(Subject::MAX_LEN)).is_ok());
    /// let error = Subject::new("a".repeat(Subject::MAX_LEN + 1)).unwrap_err();
    /// assert!(matches!(error, SubjectError::TooLong { length: 256, .. }));
    /// ```
    pub const MAX_LEN: usize = 255;

    /// Checks `text` and makes it a subject. A [`ByteString`] or a `String` is taken over without
    /// copying (and a slice of a larger `ByteString` keeps the larger one alive).
    ///
    /// ```
    /// use cim_subject::{Subject, SubjectError};
    ///
    /// assert_eq!(Subject::new("orders.42")?.as_str(), "orders.42");
    /// assert_eq!(Subject::new("").unwrap_err(), SubjectError::Empty);
    /// # Ok::<(), SubjectError>(())
    /// ```
    ///
    /// # Errors
    /// Any [`SubjectError`] but those that only a pattern can have: empty or too long, an empty
    /// token, a wildcard, or a character that no token may hold.
    pub fn new(text: impl Into<ByteString>) -> Result<Self, SubjectError> {
        let text = text.into();
        check(&text, Wildcards::Refuse)?;
        Ok(Self(text))
    }

    /// Takes a text that is already known to be a valid subject.
    pub(crate) fn from_checked(text: ByteString) -> Self {
        debug_assert_eq!(check(&text, Wildcards::Refuse), Ok(()));
        Self(text)
    }

    /// The subject as text.
    ///
    /// ```
    /// # use cim_subject::Subject;
    /// assert_eq!(Subject::new("orders.42")?.as_str(), "orders.42");
    /// # Ok::<(), cim_subject::SubjectError>(())
    /// ```
    #[inline]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tokens, from the first to the last; never empty.
    ///
    /// ```
    /// # use cim_subject::Subject;
    /// let subject = Subject::new("orders.42.paid")?;
    /// assert_eq!(subject.tokens().next_back(), Some("paid"));
    /// # Ok::<(), cim_subject::SubjectError>(())
    /// ```
    pub fn tokens(&self) -> impl DoubleEndedIterator<Item = &str> + Clone + fmt::Debug {
        self.0.split('.')
    }

    /// The number of tokens, from 1 to 128.
    ///
    /// ```
    /// # use cim_subject::Subject;
    /// assert_eq!(Subject::new("orders.42")?.token_count(), 2);
    /// # Ok::<(), cim_subject::SubjectError>(())
    /// ```
    pub fn token_count(&self) -> usize {
        token_count(&self.0)
    }

    /// The shared text itself, to slice it without copying.
    pub(crate) fn text(&self) -> &ByteString {
        &self.0
    }
}

/// What [`check`] does with `*` and `>`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wildcards {
    /// The text is a concrete subject.
    Refuse,
    /// The text is a pattern: a wildcard is a whole token, and `>` the last one.
    Allow,
}

/// Checks `text` against the grammar and names the first place where it breaks it.
pub(crate) fn check(text: &str, wildcards: Wildcards) -> Result<(), SubjectError> {
    if text.is_empty() {
        return Err(SubjectError::Empty);
    }
    if text.len() > Subject::MAX_LEN {
        return Err(SubjectError::TooLong {
            text: excerpt(text),
            length: text.len(),
        });
    }
    let bytes = text.as_bytes();
    let mut start = 0; // of the current token
    for (position, &byte) in bytes.iter().enumerate() {
        match byte {
            b'.' => {
                if position == start {
                    return Err(SubjectError::EmptyToken {
                        text: excerpt(text),
                        position,
                    });
                }
                start = position + 1;
            }
            b'*' | b'>' => {
                let wildcard = char::from(byte);
                let text = || excerpt(text);
                if wildcards == Wildcards::Refuse {
                    return Err(SubjectError::Wildcard {
                        text: text(),
                        wildcard,
                        position,
                    });
                }
                let next = bytes.get(position + 1);
                if position != start || next.is_some_and(|&next| next != b'.') {
                    return Err(SubjectError::PartialWildcard {
                        text: text(),
                        wildcard,
                        position,
                    });
                }
                if byte == b'>' && next.is_some() {
                    return Err(SubjectError::RestNotLast {
                        text: text(),
                        position,
                    });
                }
            }
            b'!'..=b'~' => {}
            _ => {
                // Everything before is ASCII, so `position` is a boundary of characters.
                let character = text[position..].chars().next().unwrap_or_default();
                return Err(SubjectError::Character {
                    text: excerpt(text),
                    character,
                    position,
                });
            }
        }
    }
    if start == bytes.len() {
        return Err(SubjectError::EmptyToken {
            text: excerpt(text),
            position: start,
        });
    }
    Ok(())
}

/// The number of tokens in a valid subject, pattern or template.
pub(crate) fn token_count(text: &str) -> usize {
    text.bytes().filter(|&byte| byte == b'.').count() + 1
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl FromStr for Subject {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        Self::try_from(text)
    }
}

impl TryFrom<&str> for Subject {
    type Error = SubjectError;

    fn try_from(text: &str) -> Result<Self, SubjectError> {
        check(text, Wildcards::Refuse)?; // before copying: the text may be huge
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for Subject {
    type Error = SubjectError;

    fn try_from(text: String) -> Result<Self, SubjectError> {
        Self::new(text)
    }
}

impl From<Subject> for ByteString {
    fn from(subject: Subject) -> Self {
        subject.0
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.0.into()
    }
}

impl AsRef<str> for Subject {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

/// Equality, order and hash are those of the text, so maps by subject answer to a `&str`.
impl Borrow<str> for Subject {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for Subject {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Subject {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}
