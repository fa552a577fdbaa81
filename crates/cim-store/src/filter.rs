//! Which events to read, and in which order.

use cim_subject::SubjectPattern;

use crate::event::write_event_subject;
use crate::{EventType, Position, RecordedEvent, StreamId, Timestamp, Version};

/// Along the log or against it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// From older to newer.
    #[default]
    Forwards,
    /// From newer to older.
    Backwards,
}

/// A part of one stream: versions `from` to `to`, both inclusive, whichever the direction.
///
/// ```
/// use cim_store::{StreamRange, Version};
///
/// let last_three = StreamRange::all().backwards().limit(3);
/// let some = StreamRange::from(Version::new(10)).to(Version::new(20));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamRange {
    /// The lowest version; 0 means 1.
    pub from: Version,
    /// The highest version; `None`: to the end as it is when the read begins.
    pub to: Option<Version>,
    /// The order of delivery.
    pub direction: Direction,
    /// At most so many events.
    pub limit: Option<u64>,
}

impl StreamRange {
    /// The whole stream, forwards.
    pub const fn all() -> Self {
        Self {
            from: Version::NONE,
            to: None,
            direction: Direction::Forwards,
            limit: None,
        }
    }

    /// From this version to the end.
    pub const fn from(version: Version) -> Self {
        Self {
            from: version,
            ..Self::all()
        }
    }

    /// No further than this version.
    #[must_use]
    pub const fn to(mut self, version: Version) -> Self {
        self.to = Some(version);
        self
    }

    /// From newer to older.
    #[must_use]
    pub const fn backwards(mut self) -> Self {
        self.direction = Direction::Backwards;
        self
    }

    /// At most so many events.
    #[must_use]
    pub const fn limit(mut self, events: u64) -> Self {
        self.limit = Some(events);
        self
    }

    /// The versions that a stream whose head is at `head` has to deliver, lowest and highest, or
    /// `None` when there are none.
    pub fn resolve(&self, head: Version) -> Option<(Version, Version)> {
        let low = self.from.max(Version::new(1));
        let high = self.to.unwrap_or(Version::MAX).min(head);
        if low > high || self.limit == Some(0) {
            return None;
        }
        let span = self.limit.unwrap_or(u64::MAX).saturating_sub(1);
        Some(match self.direction {
            Direction::Forwards => (low, high.min(Version::new(low.get().saturating_add(span)))),
            Direction::Backwards => (low.max(Version::new(high.get().saturating_sub(span))), high),
        })
    }
}

/// Which of an event's two times a range means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeBasis {
    /// When it happened, as the application said. Found by looking at every event.
    Time,
    /// When the store took it. Found by seeking.
    StoredAt,
}

/// Events from one moment, inclusive, to another, exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// Which time is meant.
    pub basis: TimeBasis,
    /// The first moment; `None`: from the beginning.
    pub from: Option<Timestamp>,
    /// The moment after the last; `None`: to the end.
    pub to: Option<Timestamp>,
}

impl TimeRange {
    /// Whether an event with this time is in the range.
    pub fn contains(&self, time: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= time) && self.to.is_none_or(|to| time < to)
    }
}

/// Which events of the log are meant. The default means all; every part that is set narrows it.
///
/// ```
/// use cim_store::{EventFilter, EventType, SubjectPattern, TimeBasis, TimeRange};
///
/// let in_2026 = TimeRange {
///     basis: TimeBasis::Time,
///     from: Some("2026-01-01T00:00:00Z".parse()?),
///     to: Some("2027-01-01T00:00:00Z".parse()?),
/// };
/// let filter = EventFilter::all()
///     .matching(SubjectPattern::new("cim.events.sales.order.>")?)
///     .of_type(EventType::new("order_placed")?)
///     .during(in_2026);
/// assert!(!filter.is_all());
/// assert!(in_2026.contains("2026-11-20T10:15:00Z".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Their subjects, `cim.events.{context}.{aggregate}.{id}.{event}.{version}`, match this.
    pub pattern: Option<SubjectPattern>,
    /// Their type is one of these; empty: any.
    pub types: Vec<EventType>,
    /// They are from this time.
    pub time: Option<TimeRange>,
}

impl EventFilter {
    /// All events.
    pub fn all() -> Self {
        Self::default()
    }

    /// Only events whose subject matches.
    #[must_use]
    pub fn matching(mut self, pattern: SubjectPattern) -> Self {
        self.pattern = Some(pattern);
        self
    }

    /// Only events of this type or of the others that were named.
    #[must_use]
    pub fn of_type(mut self, event_type: EventType) -> Self {
        self.types.push(event_type);
        self
    }

    /// Only events from this time.
    #[must_use]
    pub fn during(mut self, time: TimeRange) -> Self {
        self.time = Some(time);
        self
    }

    /// Whether it means every event.
    pub fn is_all(&self) -> bool {
        let any_subject = self
            .pattern
            .as_ref()
            .is_none_or(|pattern| pattern.as_str() == ">");
        any_subject && self.types.is_empty() && self.time.is_none()
    }

    /// Whether the event is meant. `scratch` is used for its subject, so that many events need
    /// one allocation.
    pub fn matches(&self, event: &RecordedEvent, scratch: &mut String) -> bool {
        if !self.types.is_empty() && !self.types.contains(&event.event_type) {
            return false;
        }
        let in_time = self.time.is_none_or(|range| match range.basis {
            TimeBasis::Time => range.contains(event.time),
            TimeBasis::StoredAt => range.contains(event.stored_at),
        });
        if !in_time {
            return false;
        }
        self.pattern.as_ref().is_none_or(|pattern| {
            scratch.clear();
            write_event_subject(scratch, &event.stream, &event.event_type, event.version);
            pattern.matches_str(scratch)
        })
    }
}

/// A read of the log: which events, after which position, how many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Which events.
    pub filter: EventFilter,
    /// Only events after this position.
    pub after: Position,
    /// At most so many events.
    pub limit: Option<u64>,
}

impl LogQuery {
    /// The whole log.
    pub fn all() -> Self {
        Self::default()
    }

    /// Only events that the filter means.
    #[must_use]
    pub fn filter(mut self, filter: EventFilter) -> Self {
        self.filter = filter;
        self
    }

    /// Only events after this position.
    #[must_use]
    pub fn after(mut self, position: Position) -> Self {
        self.after = position;
        self
    }

    /// At most so many events.
    #[must_use]
    pub fn limit(mut self, events: u64) -> Self {
        self.limit = Some(events);
        self
    }
}

/// Which streams are meant: a pattern over their names, `context.aggregate.id`.
///
/// ```
/// use cim_store::{StreamId, StreamPattern};
///
/// let orders: StreamPattern = "sales.order.*".parse()?;
/// assert!(orders.matches(&StreamId::new("sales", "order", "7")?));
///
/// // The algebra over patterns is that of subjects.
/// let sales: StreamPattern = "sales.>".parse()?;
/// assert!(sales.as_pattern().contains(orders.as_pattern()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPattern(SubjectPattern);

impl StreamPattern {
    /// Every stream.
    pub fn all() -> Self {
        Self(SubjectPattern::all())
    }

    /// Takes a pattern over stream names.
    pub fn new(pattern: SubjectPattern) -> Self {
        Self(pattern)
    }

    /// Whether the stream is meant.
    pub fn matches(&self, stream: &StreamId) -> bool {
        self.0.matches_str(stream.as_str())
    }

    /// The pattern over names.
    pub fn as_pattern(&self) -> &SubjectPattern {
        &self.0
    }
}

impl std::str::FromStr for StreamPattern {
    type Err = cim_subject::SubjectError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        SubjectPattern::new(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v(number: u64) -> Version {
        Version::new(number)
    }

    #[test]
    fn a_range_ends_at_the_head() {
        assert_eq!(StreamRange::all().resolve(v(5)), Some((v(1), v(5))));
        assert_eq!(
            StreamRange::from(v(3)).to(v(9)).resolve(v(5)),
            Some((v(3), v(5)))
        );
        assert_eq!(StreamRange::from(v(6)).resolve(v(5)), None);
        assert_eq!(StreamRange::all().resolve(v(0)), None);
    }

    #[test]
    fn a_limit_counts_from_where_the_read_begins() {
        assert_eq!(
            StreamRange::all().limit(2).resolve(v(5)),
            Some((v(1), v(2)))
        );
        assert_eq!(
            StreamRange::all().backwards().limit(2).resolve(v(5)),
            Some((v(4), v(5)))
        );
        assert_eq!(StreamRange::all().limit(0).resolve(v(5)), None);
    }
}
