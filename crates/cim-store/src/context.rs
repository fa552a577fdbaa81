//! Who calls, why, until when: the first argument of every operation.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use bytestring::ByteString;

use crate::{CausationId, Clock, CorrelationId, EventId, RecordedEvent};

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
///
/// # Conversations
/// What belongs together has one correlation id, and each event names in its causation id what led
/// to it. Whoever acts because of an event asks under [`caused_by`](Self::caused_by), and so the
/// conversation goes on, through as many streams as it takes. A log stores the ids that it is
/// given; the repositories of `cim-domain` begin a conversation for what belongs to none.
///
/// ```
/// use cim_store::{memory::MemoryStore, *};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let log = MemoryStore::new().log();
/// let (order, invoice) = (StreamId::new("sales", "order", "7")?, StreamId::new("sales", "invoice", "9")?);
/// let ctx = Context::new().with_principal(Principal::new("billing")?);
///
/// let placed = NewEvent::json("order_placed", &12)?;
/// log.append_to(&ctx, &order, ExpectedVersion::NEW, vec![placed]).await?;
/// let placed = log.read_all(&ctx, &order).await?.remove(0);
///
/// let because = ctx.caused_by(&placed);
/// let written = NewEvent::json("invoice_written", &12)?;
/// log.append_to(&because, &invoice, ExpectedVersion::NEW, vec![written]).await?;
/// let written = log.read_all(&ctx, &invoice).await?.remove(0);
/// assert_eq!(written.causation_id, Some(placed.id.into()));
/// assert_eq!(written.correlation_id, Some(placed.id.into())); // the order began it
/// assert_eq!(written.principal, placed.principal);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
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
    ///
    /// ```
    /// use cim_store::{CausationId, Context, CorrelationId, Principal, TraceParent};
    ///
    /// # let (conversation, command) = ([1; 16], [2; 16]);
    /// let trace = TraceParent::new("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")?;
    /// let ctx = Context::new()
    ///     .with_principal(Principal::new("anna")?)
    ///     .with_correlation_id(CorrelationId::from_bytes(conversation))
    ///     .with_causation_id(CausationId::from_bytes(command))
    ///     .with_trace(trace);
    ///
    /// assert_eq!(ctx.principal().map(Principal::as_str), Some("anna"));
    /// assert_eq!(ctx.correlation_id(), Some(CorrelationId::from_bytes(conversation)));
    /// assert_eq!(ctx.causation_id(), Some(CausationId::from_bytes(command)));
    /// assert!(ctx.trace().is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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

    /// The context of what is done because of an event: in the event's conversation, caused by it.
    /// An event that belongs to no conversation begins one, whose correlation id is the event's own id.
    /// Principal, trace and deadline stay those of this context.
    #[must_use]
    pub fn caused_by(&self, event: impl Into<Cause>) -> Self {
        let cause = event.into();
        self.clone()
            .with_correlation_id(cause.conversation())
            .with_causation_id(cause.event_id.into())
    }

    /// When the operation must have ended, on the store's [`Clock::monotonic`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use cim_store::{Clock, Context, ManualClock, Timestamp};
    ///
    /// let clock = ManualClock::at(Timestamp::EPOCH);
    /// let request = Context::new().with_deadline(clock.monotonic() + Duration::from_secs(10));
    /// clock.advance(Duration::from_secs(4));
    /// assert_eq!(request.remaining(&clock), Some(Duration::from_secs(6)));
    ///
    /// // Something else that has to be done in the same time.
    /// let audit = Context::new().with_deadline_of(&request);
    /// assert!(!audit.is_expired(&clock));
    /// clock.advance(Duration::from_secs(6));
    /// assert!(audit.is_expired(&clock));
    /// ```
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

/// An event that something is done because of: what [`Context::caused_by`] takes. Events of every
/// shape become one; whoever heard of an event elsewhere says what its ids are.
///
/// ```
/// use cim_store::{Cause, Context, EventId};
///
/// // An event that a message of another system told of.
/// let heard = Cause { event_id: EventId::from_bytes([7; 16]), correlation_id: None };
/// let because = Context::new().caused_by(heard);
/// assert_eq!(because.correlation_id(), Some(heard.conversation())); // which begins with it
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cause {
    /// The event's id.
    pub event_id: EventId,
    /// The conversation that the event belongs to.
    pub correlation_id: Option<CorrelationId>,
}

impl Cause {
    /// The conversation that goes on with what is done now: the event's, or else the one that begins
    /// with it.
    pub fn conversation(&self) -> CorrelationId {
        self.correlation_id.unwrap_or(self.event_id.into())
    }
}

impl From<&RecordedEvent> for Cause {
    fn from(event: &RecordedEvent) -> Self {
        Self {
            event_id: event.id,
            correlation_id: event.correlation_id,
        }
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
