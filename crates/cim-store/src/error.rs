//! The ports' errors: one structure, whose kind tells the caller what to do.
//!
//! | kind | what happened | what to do |
//! |---|---|---|
//! | `VersionConflict`, `RevisionConflict` | somebody else was first | load again, decide again |
//! | `Unknown` | the answer was lost | [`resolve`](crate::EventLog::resolve), or append the same commit id again |
//! | `Unavailable` | not possible now; nothing was stored | try again later |
//! | `Denied` | not allowed | ask for the permission |
//! | `Invalid`, `TooLarge`, `Unsupported` | the request can't be carried out as it is | change it |
//! | `NotFound` | what was asked for is not there | |
//! | `Integrity` | stored data is damaged | stop; restore it |
//! | `Closed` | the store was closed, or closed itself after a failure | open it again |

use std::error::Error;
use std::fmt;

use crate::{CommitId, ExpectedVersion, LimitName, Revision, StreamId, Version};

/// What went wrong in an operation of [`EventLog`](crate::EventLog).
pub type EventLogError = PortError<EventLogErrorKind>;

/// What went wrong in an operation of [`Bucket`](crate::Bucket) or [`Store`](crate::Store).
pub type BucketError = PortError<BucketErrorKind>;

/// The faults that both ports share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Not possible now; nothing was stored. Trying again later may succeed.
    Unavailable,
    /// The principal may not do this.
    Denied,
    /// The request itself is wrong.
    Invalid,
    /// The request exceeds a limit.
    TooLarge {
        /// Which one.
        limit: LimitName,
        /// How large the request is.
        size: u64,
        /// The largest possible.
        max: u64,
    },
    /// What was asked for is not there.
    NotFound,
    /// Stored data is not what was stored: damaged, incomplete or missing.
    Integrity,
    /// This adapter can't do that.
    Unsupported,
    /// The store is closed.
    Closed,
}

/// What kind of error an event log reports.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventLogErrorKind {
    /// A stream is not at the version that the append expected. Nothing was stored.
    VersionConflict {
        /// The stream.
        stream: StreamId,
        /// What the append expected.
        expected: ExpectedVersion,
        /// Where the stream is.
        actual: Version,
    },
    /// The commit may or may not have been stored.
    Unknown {
        /// Ask [`resolve`](crate::EventLog::resolve) for it, or append it again.
        commit_id: CommitId,
    },
    /// One of the faults that both ports share.
    Fault(Fault),
}

/// What kind of error a bucket reports.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BucketErrorKind {
    /// The key is not at the revision that the change expected. Nothing was stored.
    RevisionConflict {
        /// The key.
        key: crate::Key,
        /// What the change expected; 0: that the key has no value.
        expected: Revision,
        /// The revision of the key's value; 0 when it has none.
        actual: Revision,
    },
    /// The change may or may not have been stored.
    Unknown,
    /// One of the faults that both ports share.
    Fault(Fault),
}

/// What every kind of error can say of itself.
pub trait PortErrorKind: fmt::Debug + From<Fault> + Send + Sync + 'static {
    /// The fault, where it is one that both ports share.
    fn fault(&self) -> Option<Fault>;
}

impl From<Fault> for EventLogErrorKind {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl PortErrorKind for EventLogErrorKind {
    fn fault(&self) -> Option<Fault> {
        match self {
            Self::Fault(fault) => Some(*fault),
            _ => None,
        }
    }
}

impl From<Fault> for BucketErrorKind {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl PortErrorKind for BucketErrorKind {
    fn fault(&self) -> Option<Fault> {
        match self {
            Self::Fault(fault) => Some(*fault),
            _ => None,
        }
    }
}

/// An error of a port: a kind, a sentence, where it happened, what to do, and the cause.
///
/// `{}` gives the sentence and where it happened; `{:#}` adds what to do. The cause is
/// [`source`](Error::source) and never part of the text.
///
/// ```
/// use cim_store::{EventLogError, EventLogErrorKind, Fault};
///
/// let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
/// let error = EventLogError::unavailable("the server can't be reached")
///     .with("server", "n1:4222")
///     .with_hint("start it, or name another one")
///     .with_source(refused);
///
/// // What a program goes by.
/// assert_eq!(error.kind(), &EventLogErrorKind::Fault(Fault::Unavailable));
/// assert_eq!(error.fault(), Some(Fault::Unavailable));
/// assert!(!error.is_integrity());
/// // What people read.
/// assert_eq!(error.to_string(), "the server can't be reached (server: n1:4222)");
/// assert!(format!("{error:#}").ends_with("; start it, or name another one"));
/// assert_eq!(error.context().next(), Some(("server", "n1:4222")));
/// assert_eq!(error.hint(), Some("start it, or name another one"));
/// ```
///
/// An adapter says by the kind what its caller can do about it:
///
/// ```
/// use cim_store::{BucketError, Fault, LimitName};
///
/// let told = [
///     (BucketError::invalid("a bucket keeps 1 to 64 changes of a key"), Fault::Invalid),
///     (BucketError::not_found("there is no such archive"), Fault::NotFound),
///     (BucketError::integrity("the value's checksum is wrong"), Fault::Integrity),
///     (BucketError::unsupported("a key has no time to live here"), Fault::Unsupported),
///     (BucketError::closed("the store was closed"), Fault::Closed),
///     (BucketError::deadline_passed("the put"), Fault::Unavailable),
/// ];
/// for (error, fault) in told {
///     assert_eq!(error.fault(), Some(fault));
/// }
///
/// let error = BucketError::too_large(LimitName::PayloadBytes, 9, 8);
/// assert!(matches!(error.fault(), Some(Fault::TooLarge { size: 9, max: 8, .. })));
/// ```
pub struct PortError<K> {
    inner: Box<Inner<K>>,
}

struct Inner<K> {
    kind: K,
    message: String,
    context: Vec<(&'static str, String)>,
    hint: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl<K: PortErrorKind> PortError<K> {
    /// An error of this kind; `message` says what happened in one sentence without a full stop.
    pub fn new(kind: impl Into<K>, message: impl Into<String>) -> Self {
        Self {
            inner: Box::new(Inner {
                kind: kind.into(),
                message: message.into(),
                context: Vec::new(),
                hint: None,
                source: None,
            }),
        }
    }

    /// Not possible now; nothing was stored.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Fault::Unavailable, message)
    }

    /// The request itself is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Fault::Invalid, message)
    }

    /// What was asked for is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Fault::NotFound, message)
    }

    /// Stored data is damaged.
    pub fn integrity(message: impl Into<String>) -> Self {
        Self::new(Fault::Integrity, message)
    }

    /// This adapter can't do that.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(Fault::Unsupported, message)
    }

    /// The store is closed.
    pub fn closed(message: impl Into<String>) -> Self {
        Self::new(Fault::Closed, message)
    }

    /// The deadline passed before anything was stored.
    pub fn deadline_passed(operation: &str) -> Self {
        Self::unavailable(format!(
            "the deadline passed before {operation} was done; nothing was stored"
        ))
    }

    /// The request exceeds a limit.
    pub fn too_large(limit: LimitName, size: usize, max: usize) -> Self {
        let fault = Fault::TooLarge {
            limit,
            size: size as u64,
            max: max as u64,
        };
        Self::new(
            fault,
            format!("{size} {limit} are too many; at most {max} are possible"),
        )
    }

    /// Adds where it happened: a name and its value.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.inner.context.push((name, value.to_string()));
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.inner.hint = Some(hint.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.inner.source = Some(source.into());
        self
    }

    /// What kind of error it is.
    pub fn kind(&self) -> &K {
        &self.inner.kind
    }

    /// The fault, where it is one that both ports share.
    pub fn fault(&self) -> Option<Fault> {
        self.inner.kind.fault()
    }

    /// Where it happened: names and values.
    pub fn context(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.inner
            .context
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.inner.hint.as_deref()
    }

    /// Whether stored data is damaged.
    pub fn is_integrity(&self) -> bool {
        self.fault() == Some(Fault::Integrity)
    }
}

/// What only a log says.
///
/// ```
/// use cim_store::{CommitId, EventLogError, ExpectedVersion, StreamId, Version};
///
/// let order = StreamId::new("sales", "order", "7")?;
/// let late = EventLogError::version_conflict(order, ExpectedVersion::NEW, Version::new(2));
/// assert!(late.is_conflict());
///
/// let commit = CommitId::from_bytes([7; 16]);
/// let lost = EventLogError::unknown(commit, "the connection broke before the answer came");
/// assert_eq!(lost.unknown_commit(), Some(commit)); // to be asked `resolve` for
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl EventLogError {
    /// A stream is not at the version that the append expected.
    pub fn version_conflict(stream: StreamId, expected: ExpectedVersion, actual: Version) -> Self {
        let message = format!("stream {stream} is at version {actual}, expected was {expected}");
        Self::new(
            EventLogErrorKind::VersionConflict {
                stream,
                expected,
                actual,
            },
            message,
        )
        .with_hint("load the stream again and decide again")
    }

    /// The commit may or may not have been stored.
    pub fn unknown(commit_id: CommitId, message: impl Into<String>) -> Self {
        Self::new(EventLogErrorKind::Unknown { commit_id }, message)
            .with("commit", commit_id)
            .with_hint("ask `resolve` whether it was stored, or append the same commit id again")
    }

    /// Whether somebody else was first.
    pub fn is_conflict(&self) -> bool {
        matches!(self.kind(), EventLogErrorKind::VersionConflict { .. })
    }

    /// The commit whose outcome is not known.
    pub fn unknown_commit(&self) -> Option<CommitId> {
        match self.kind() {
            EventLogErrorKind::Unknown { commit_id } => Some(*commit_id),
            _ => None,
        }
    }
}

/// What only a bucket says.
///
/// ```
/// use cim_store::{BucketError, BucketErrorKind, Key, Revision};
///
/// let late = BucketError::revision_conflict(Key::new("lamp")?, Revision::new(3), Revision::new(4));
/// assert!(late.is_conflict());
/// assert_eq!(late.to_string(), "key lamp has revision 4, expected was revision 3");
///
/// let lost = BucketError::unknown("the connection broke before the answer came");
/// assert_eq!(lost.kind(), &BucketErrorKind::Unknown);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl BucketError {
    /// The key is not at the revision that the change expected.
    pub fn revision_conflict(key: crate::Key, expected: Revision, actual: Revision) -> Self {
        let told = |revision: Revision| match revision {
            Revision::NONE => "no value".to_owned(),
            revision => format!("revision {revision}"),
        };
        let message = format!(
            "key {key} has {}, expected was {}",
            told(actual),
            told(expected)
        );
        Self::new(
            BucketErrorKind::RevisionConflict {
                key,
                expected,
                actual,
            },
            message,
        )
        .with_hint("get the key again and decide again")
    }

    /// The change may or may not have been stored.
    pub fn unknown(message: impl Into<String>) -> Self {
        Self::new(BucketErrorKind::Unknown, message)
            .with_hint("get the key to see whether the change was stored")
    }

    /// Whether somebody else was first.
    pub fn is_conflict(&self) -> bool {
        matches!(self.kind(), BucketErrorKind::RevisionConflict { .. })
    }
}

impl<K> fmt::Display for PortError<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)?;
        for (index, (name, value)) in self.inner.context.iter().enumerate() {
            write!(f, "{}{name}: {value}", if index == 0 { " (" } else { ", " })?;
        }
        if !self.inner.context.is_empty() {
            f.write_str(")")?;
        }
        match &self.inner.hint {
            Some(hint) if f.alternate() => write!(f, "; {hint}"),
            _ => Ok(()),
        }
    }
}

impl<K: fmt::Debug> fmt::Debug for PortError<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PortError")
            .field("kind", &self.inner.kind)
            .field("message", &self.inner.message)
            .field("context", &self.inner.context)
            .field("hint", &self.inner.hint)
            .field("source", &self.inner.source)
            .finish()
    }
}

impl<K: fmt::Debug> Error for PortError<K> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.inner.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_says_one_thing_and_where_but_not_the_cause() {
        let error = EventLogError::integrity("a record does not match its checksum")
            .with("file", "00000001.seg")
            .with("offset", 4096)
            .with_hint("restore the file from a backup")
            .with_source("the cause");
        assert_eq!(
            error.to_string(),
            "a record does not match its checksum (file: 00000001.seg, offset: 4096)"
        );
        assert_eq!(
            format!("{error:#}"),
            "a record does not match its checksum (file: 00000001.seg, offset: 4096); \
             restore the file from a backup"
        );
        assert_eq!(
            error.source().map(ToString::to_string).as_deref(),
            Some("the cause")
        );
    }

    #[test]
    fn a_conflict_names_stream_expectation_and_fact() {
        let stream = StreamId::new("sales", "order", "1").unwrap();
        let error = EventLogError::version_conflict(stream, ExpectedVersion::NEW, Version::new(3));
        assert_eq!(
            error.to_string(),
            "stream sales.order.1 is at version 3, expected was no events yet"
        );
        assert!(error.is_conflict());
    }
}
