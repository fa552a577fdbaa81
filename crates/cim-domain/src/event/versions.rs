//! What a Rust type says about the event types it reads and writes, as data for tools.

/// An event type and its schema version of today.
///
/// ```
/// use cim_domain::DomainEvent;
/// # use cim_domain::UpcastError;
/// # use serde::{Deserialize, Serialize};
/// # fn lift(_: u32, payload: serde_json::Value) -> Result<serde_json::Value, UpcastError> { Ok(payload) }
///
/// #[derive(Serialize, Deserialize, DomainEvent)]
/// enum OrderEvent {
///     #[event(version = 2, upcast = lift, alias = "order_created")]
///     Placed { customer: String },
/// }
///
/// let [placed] = OrderEvent::EVENT_TYPES else { unreachable!() };
/// assert_eq!((placed.name, placed.version), ("placed", 2));
/// assert_eq!((placed.aliases, placed.upcast_from), (&["order_created"][..], 1));
/// assert!(placed.is_named("order_created"));
///
/// // The same, for a `DomainEvent` that is written by hand.
/// use cim_domain::EventVersion;
///
/// const PLACED: EventVersion = EventVersion::new("placed", 2)
///     .with_aliases(&["order_created"])
///     .with_upcast_from(1);
/// assert_eq!(*placed, PLACED);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct EventVersion {
    /// The name it is stored under.
    pub name: &'static str,
    /// The version of its payload's shape that is written, from 1.
    pub version: u32,
    /// Names it was stored under before. Their versions are counted on, not begun anew.
    pub aliases: &'static [&'static str],
    /// The oldest version that upcasts lift to the one of today. All from here to `version` are
    /// read; where it is `version` itself, there is no upcast. Versions below can only be read
    /// where [a split](SplitType) takes them.
    pub upcast_from: u32,
}

impl EventVersion {
    /// An event type that reads the version of today only, for `DomainEvent`s written by hand.
    pub const fn new(name: &'static str, version: u32) -> Self {
        Self {
            name,
            version,
            aliases: &[],
            upcast_from: version,
        }
    }

    /// With the names that it was stored under before.
    #[must_use]
    pub const fn with_aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// With upcasts from this version on.
    #[must_use]
    pub const fn with_upcast_from(mut self, version: u32) -> Self {
        self.upcast_from = version;
        self
    }

    /// Whether it is stored under this name, or was.
    pub fn is_named(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }
}

/// An event type whose events are read as other events: `#[event(split(…))]`.
///
/// ```
/// use cim_domain::event::SplitType;
///
/// // Up to version 2 a move told of two facts; version 3 tells of one of them.
/// let moved = SplitType::new("moved", Some(2), &["left", "arrived"]);
/// assert!(moved.takes(2) && !moved.takes(3));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SplitType {
    /// The name they were stored under.
    pub name: &'static str,
    /// The last schema version that is split; `None` where all are, because nothing is stored
    /// under this name any more.
    pub until: Option<u32>,
    /// The event types that they become.
    pub into: &'static [&'static str],
}

impl SplitType {
    /// A type whose events become events of other types, for `DomainEvent`s written by hand.
    pub const fn new(
        name: &'static str,
        until: Option<u32>,
        into: &'static [&'static str],
    ) -> Self {
        Self { name, until, into }
    }

    /// Whether events of this schema version are split.
    pub const fn takes(&self, schema_version: u32) -> bool {
        match self.until {
            Some(until) => schema_version <= until,
            None => true,
        }
    }
}
