//! What can go wrong between an event and its stored payload.

use std::error::Error;
use std::fmt;

use super::codec::{Codec as _, CodecError};
use super::{DomainEvent, Encoded, EventVersion};

/// An event that can't be written as its payload.
#[derive(Debug, thiserror::Error)]
#[error("the event can't be written as {content_type}")]
pub struct EncodeError {
    content_type: &'static str,
    source: CodecError,
}

impl EncodeError {
    /// An event that the codec of this content type can't write.
    pub fn new(content_type: &'static str, source: CodecError) -> Self {
        Self {
            content_type,
            source,
        }
    }
}

/// A stored payload that can't be read as an event.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// use cim_domain::event::Encoded;
/// use cim_domain::{DecodeError, DomainEvent};
///
/// #[derive(Debug, Serialize, Deserialize, DomainEvent)]
/// enum OrderEvent {
///     Placed { total: u32 },
/// }
///
/// let text = Encoded::json("placed", 1, br#"{"total":"12"}"#);
/// let error = OrderEvent::decode(text).unwrap_err();
/// assert!(!error.is_unknown_type());
///
/// // Only of a type that nobody knows can it be right to leave the event out.
/// let error = OrderEvent::decode(Encoded::json("refunded", 1, b"{}")).unwrap_err();
/// assert!(error.is_unknown_type());
/// assert_eq!(error.to_string(), "`refunded` is none of the known event types (placed)");
///
/// // A `decode` that is written by hand says the same.
/// let by_hand = DecodeError::unknown_type::<OrderEvent>("refunded");
/// assert_eq!(by_hand.to_string(), error.to_string());
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// No event type has this name. Either the stream belongs to another aggregate, or this
    /// program is older than the event, or a variant was renamed: give it its old name with
    /// `#[event(alias = "…")]`.
    #[error("`{event_type}` is none of the known event types ({})", Names(known))]
    UnknownType {
        /// The stored name.
        event_type: String,
        /// The event types that are known here.
        known: &'static [EventVersion],
    },
    /// The payload was written by a newer program.
    #[error(
        "`{event_type}` was stored with schema version {found}, this program knows versions up to {known}"
    )]
    NewerSchema {
        /// The event type.
        event_type: &'static str,
        /// The stored schema version.
        found: u32,
        /// The newest schema version that is known here.
        known: u32,
    },
    /// The payload has an older shape and nothing lifts it: give the event type
    /// `#[event(upcast(…))]`.
    #[error("`{event_type}` has no upcast from schema version {from} to {to}")]
    NoUpcaster {
        /// The event type.
        event_type: &'static str,
        /// The stored schema version.
        from: u32,
        /// The schema version of today.
        to: u32,
    },
    /// An upcast refused the payload, or made something else of it than the event.
    #[error("the upcast of `{event_type}` from schema version {from} to {to} failed")]
    Upcast {
        /// The event type.
        event_type: &'static str,
        /// The schema version that it was given.
        from: u32,
        /// The schema version that it was to lift to.
        to: u32,
        /// What the upcast said.
        source: UpcastError,
    },
    /// A split refused the payload, or gave events that it is not said to give.
    #[error("the split of `{event_type}`, schema version {schema_version}, failed")]
    Split {
        /// The event type.
        event_type: &'static str,
        /// The schema version that it was given.
        schema_version: u32,
        /// What the split said.
        source: UpcastError,
    },
    /// The payload is encoded in a way that nothing here reads.
    #[error(
        "the payload of `{event_type}` is `{content_type}`; what can be read is JSON, CBOR and {known}"
    )]
    UnknownContentType {
        /// The event type.
        event_type: &'static str,
        /// The stored content type.
        content_type: String,
        /// The content type of the codec of these events.
        known: &'static str,
    },
    /// The payload is not of its content type, or not of the shape that its schema version promises.
    #[error(
        "the payload of `{event_type}`, schema version {schema_version}, has another shape, or is no {content_type}"
    )]
    Malformed {
        /// The event type.
        event_type: &'static str,
        /// The stored schema version.
        schema_version: u32,
        /// The stored content type.
        content_type: String,
        /// Where it differs.
        source: CodecError,
    },
}

impl DecodeError {
    /// None of the event types of `E` has this name.
    pub fn unknown_type<E: DomainEvent>(event_type: &str) -> Self {
        Self::UnknownType {
            event_type: event_type.to_owned(),
            known: E::EVENT_TYPES,
        }
    }

    /// Whether it is that no event type has this name.
    pub fn is_unknown_type(&self) -> bool {
        matches!(self, Self::UnknownType { .. })
    }

    pub(super) fn unknown_content_type<E: DomainEvent>(
        event_type: &'static str,
        content_type: &str,
    ) -> Self {
        Self::UnknownContentType {
            event_type,
            content_type: content_type.to_owned(),
            known: E::Codec::CONTENT_TYPE,
        }
    }

    pub(super) fn malformed(
        event_type: &'static str,
        stored: &Encoded<'_>,
        source: CodecError,
    ) -> Self {
        Self::Malformed {
            event_type,
            schema_version: stored.schema_version,
            content_type: stored.content_type.to_owned(),
            source,
        }
    }
}

/// The names of event types, the first few of them.
struct Names<'a>(&'a [EventVersion]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 12;
        for (index, info) in self.0.iter().take(SHOWN).enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{}", info.name)?;
        }
        match self.0.len().checked_sub(SHOWN) {
            Some(more) if more > 0 => write!(f, " and {more} more"),
            _ => Ok(()),
        }
    }
}

/// Why an upcast can't lift a payload.
///
/// ```
/// use std::num::ParseIntError;
/// use cim_domain::UpcastError;
///
/// fn cents(total: &str) -> Result<u64, UpcastError> {
///     let refused =
///         |cause: ParseIntError| UpcastError::new("`total` is no number").with_source(cause);
///     total.parse().map_err(refused)
/// }
///
/// let error = cents("7,5").unwrap_err();
/// assert_eq!(error.to_string(), "`total` is no number");
/// let cause = std::error::Error::source(&error).map(ToString::to_string);
/// assert_eq!(cause.as_deref(), Some("invalid digit found in string"));
/// ```
#[derive(Debug)]
pub struct UpcastError {
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl UpcastError {
    /// Says why in one sentence without a full stop.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for UpcastError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for UpcastError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<serde_json::Error> for UpcastError {
    fn from(error: serde_json::Error) -> Self {
        Self::new("a part of the payload has another shape than expected").with_source(error)
    }
}
