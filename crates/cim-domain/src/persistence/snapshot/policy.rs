//! When a snapshot is taken: a value that is asked after each append.

use std::time::Duration;

/// When a repository takes snapshots by itself.
///
/// It is asked after events were stored, with [what came since the last snapshot](SinceSnapshot).
/// Policies are values, so they can be read from a configuration, compared and combined.
///
/// ```
/// use std::time::Duration;
/// use cim_domain::persistence::snapshot::{SinceSnapshot, SnapshotPolicy};
///
/// // Every 100 events; every 10 where a day has passed.
/// let policy = SnapshotPolicy::AnyOf(vec![
///     SnapshotPolicy::EveryEvents(100),
///     SnapshotPolicy::AllOf(vec![
///         SnapshotPolicy::EveryEvents(10),
///         SnapshotPolicy::OlderThan(Duration::from_secs(24 * 3600)),
///     ]),
/// ]);
/// let hour = Some(Duration::from_secs(3600));
/// assert!(policy.wants(&SinceSnapshot { events: 100, bytes: 9_000, age: hour }));
/// assert!(!policy.wants(&SinceSnapshot { events: 10, bytes: 900, age: hour }));
/// assert!(policy.wants(&SinceSnapshot { events: 10, bytes: 900, age: Some(25 * hour.unwrap_or_default()) }));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SnapshotPolicy {
    /// Never, and a demand is refused. Snapshots that exist are still used.
    Never,
    /// Only on demand: `create_snapshot` of [`SaveOptions`](crate::SaveOptions), or
    /// [`Repository::take_snapshot`](crate::Repository::take_snapshot).
    #[default]
    OnDemand,
    /// When there are so many new events since the last one; 0 counts as 1.
    EveryEvents(u64),
    /// When the payloads of the new events since the last one have so many bytes together: what a
    /// load has to read and decode beside the snapshot.
    ReplayedBytes(u64),
    /// When there are new events and the last one was taken so long ago, or there is none.
    OlderThan(Duration),
    /// When any of these wants one; without any, on demand only.
    AnyOf(Vec<SnapshotPolicy>),
    /// When all of these want one; without any, on demand only.
    AllOf(Vec<SnapshotPolicy>),
}

/// What came since the last usable snapshot of an aggregate; where there is none, since its first
/// event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinceSnapshot {
    /// How many events.
    pub events: u64,
    /// How many bytes their payloads have.
    pub bytes: u64,
    /// How long ago the snapshot was taken; `None`: there is none.
    pub age: Option<Duration>,
}

impl SnapshotPolicy {
    /// Whether it is time for a snapshot.
    pub fn wants(&self, since: &SinceSnapshot) -> bool {
        if since.events == 0 {
            return false;
        }
        match self {
            Self::Never | Self::OnDemand => false,
            Self::EveryEvents(events) => since.events >= *events,
            Self::ReplayedBytes(bytes) => since.bytes >= *bytes,
            Self::OlderThan(age) => since.age.is_none_or(|passed| passed >= *age),
            Self::AnyOf(policies) => policies.iter().any(|policy| policy.wants(since)),
            Self::AllOf(policies) => {
                !policies.is_empty() && policies.iter().all(|policy| policy.wants(since))
            }
        }
    }

    /// Whether there is anything that it wants a snapshot for without being told to.
    pub(in crate::persistence) fn acts_by_itself(&self) -> bool {
        match self {
            Self::Never | Self::OnDemand => false,
            Self::EveryEvents(_) | Self::ReplayedBytes(_) | Self::OlderThan(_) => true,
            Self::AnyOf(policies) => policies.iter().any(Self::acts_by_itself),
            Self::AllOf(policies) => {
                !policies.is_empty() && policies.iter().all(Self::acts_by_itself)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::SnapshotPolicy::*;
    use super::*;

    const SINCE: SinceSnapshot = SinceSnapshot {
        events: 5,
        bytes: 500,
        age: Some(Duration::from_secs(5)),
    };

    #[test]
    fn each_policy_looks_at_what_it_is_named_for() {
        for (policy, wanted) in [
            (Never, false),
            (OnDemand, false),
            (EveryEvents(0), true),
            (EveryEvents(5), true),
            (EveryEvents(6), false),
            (ReplayedBytes(500), true),
            (ReplayedBytes(501), false),
            (OlderThan(Duration::from_secs(5)), true),
            (OlderThan(Duration::from_secs(6)), false),
        ] {
            assert_eq!(policy.wants(&SINCE), wanted, "{policy:?}");
        }
    }

    #[test]
    fn without_new_events_none_is_wanted() {
        let nothing = SinceSnapshot { events: 0, ..SINCE };
        for policy in [
            EveryEvents(0),
            ReplayedBytes(0),
            OlderThan(Duration::ZERO),
            AllOf(vec![EveryEvents(0)]),
        ] {
            assert!(!policy.wants(&nothing), "{policy:?}");
        }
    }

    #[test]
    fn an_aggregate_without_a_snapshot_is_older_than_any_age() {
        let first = SinceSnapshot { age: None, ..SINCE };
        assert!(OlderThan(Duration::MAX).wants(&first));
    }

    #[test]
    fn combinations_of_none_want_none() {
        assert!(!AnyOf(vec![]).wants(&SINCE));
        assert!(!AllOf(vec![]).wants(&SINCE));
        assert!(!AllOf(vec![]).acts_by_itself());
    }

    #[test]
    fn combinations_ask_all_their_parts() {
        let (yes, no) = (EveryEvents(1), EveryEvents(9));
        for (policy, wanted) in [
            (AnyOf(vec![no.clone(), yes.clone()]), true),
            (AnyOf(vec![no.clone(), Never]), false),
            (AllOf(vec![yes.clone(), no]), false),
            (AllOf(vec![yes.clone(), AnyOf(vec![Never, yes])]), true),
        ] {
            assert_eq!(policy.wants(&SINCE), wanted, "{policy:?}");
        }
    }
}
