//! Who calls, why, until when: the first argument of every operation.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use bytestring::ByteString;

use crate::{CausationId, Clock, CorrelationId};

/// What a caller brings along to every operation.
///
/// Events appended under a context carry its principal, correlation id, causation id and trace.
/// An operation that has not ended at the deadline ends with `Unavailable`, or with `Unknown`
/// where a commit may already have been stored.
///
/// ```
/// use std::time::Duration;
/// use cim_store::{Context, SystemClock};
///
/// let ctx = Context::new().with_timeout(&SystemClock, Duration::from_secs(2));
/// assert!(ctx.deadline().is_some());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Context {
    principal: Option<Principal>,
    correlation_id: Option<CorrelationId>,
    causation_id: Option<CausationId>,
    deadline: Option<Instant>,
    trace: Option<TraceParent>,
}

impl Context {
    /// A context that says nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// On whose behalf the operation runs.
    #[must_use]
    pub fn with_principal(mut self, principal: Principal) -> Self {
        self.principal = Some(principal);
        self
    }

    /// The conversation that the operation belongs to.
    #[must_use]
    pub fn with_correlation_id(mut self, id: CorrelationId) -> Self {
        self.correlation_id = Some(id);
        self
    }

    /// The event or command that caused the operation.
    #[must_use]
    pub fn with_causation_id(mut self, id: CausationId) -> Self {
        self.causation_id = Some(id);
        self
    }

    /// When the operation must have ended, on the store's [`Clock::monotonic`].
    #[must_use]
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// The deadline is that of another context, also where that has none.
    #[must_use]
    pub fn with_deadline_of(mut self, other: &Self) -> Self {
        self.deadline = other.deadline;
        self
    }

    /// The deadline is this long from now.
    #[must_use]
    pub fn with_timeout(self, clock: &dyn Clock, timeout: Duration) -> Self {
        let now = clock.monotonic();
        match now.checked_add(timeout) {
            Some(deadline) => self.with_deadline(deadline),
            None => self, // further away than time can be told is no deadline
        }
    }

    /// The trace that the operation is part of.
    #[must_use]
    pub fn with_trace(mut self, trace: TraceParent) -> Self {
        self.trace = Some(trace);
        self
    }

    /// On whose behalf the operation runs.
    pub fn principal(&self) -> Option<&Principal> {
        self.principal.as_ref()
    }

    /// The conversation that the operation belongs to.
    pub fn correlation_id(&self) -> Option<CorrelationId> {
        self.correlation_id
    }

    /// The event or command that caused the operation.
    pub fn causation_id(&self) -> Option<CausationId> {
        self.causation_id
    }

    /// When the operation must have ended.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The trace that the operation is part of.
    pub fn trace(&self) -> Option<&TraceParent> {
        self.trace.as_ref()
    }

    /// Whether the deadline has passed.
    pub fn is_expired(&self, clock: &dyn Clock) -> bool {
        self.deadline
            .is_some_and(|deadline| clock.monotonic() >= deadline)
    }

    /// How long there is left; `None` without a deadline.
    pub fn remaining(&self, clock: &dyn Clock) -> Option<Duration> {
        self.deadline
            .map(|deadline| deadline.saturating_duration_since(clock.monotonic()))
    }
}

macro_rules! short_text {
    ($(#[$doc:meta])* $name:ident, $error:ident, $what:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(ByteString);

        #[doc = concat!("A text that can't be a ", $what, ".")]
        #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
        #[error("`{text}` can't be a {what}; it has 1 to {max} bytes and no control characters",
            what = $what, max = $max)]
        pub struct $error {
            /// What was given, shortened to 100 characters.
            pub text: String,
        }

        impl $name {
            /// The longest one, in bytes.
            pub const MAX_BYTES: usize = $max;

            /// Takes a text of 1 to [`Self::MAX_BYTES`] bytes without control characters.
            ///
            /// # Errors
            /// For any other text.
            pub fn new(text: impl Into<ByteString>) -> Result<Self, $error> {
                let text = text.into();
                if text.is_empty() || text.len() > $max || crate::limits::has_control(&text) {
                    return Err($error { text: text.chars().take(100).collect() });
                }
                Ok(Self(text))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

short_text! {
    /// On whose behalf an operation runs: a user, a service, a job.
    Principal, PrincipalError, "principal", 255
}
short_text! {
    /// A trace as in W3C Trace Context, version 1: the `traceparent` header's text.
    TraceParent, TraceParentError, "trace parent", 128
}
