//! The messages of a bucket: what their subjects and headers say (ADR-8, ADR-43).
//!
//! A message is a change of the key that its subject names. Its sequence is the revision, its body
//! the value. Messages of other clients are understood as those clients mean them.

use std::time::Duration;

use bytes::Bytes;
use cim_store::{BucketError, Entry, Key, Operation, Revision, Timestamp};

use crate::api::StoredMessage;
use crate::follow::Delivered;

/// What a change that is no new value does: `DEL` or `PURGE`.
pub(super) const OPERATION: &str = "KV-Operation";
/// Why a message stands at the end of a key's history; the server's own say `MaxAge`.
pub(super) const MARKER: &str = "Nats-Marker-Reason";
/// How long the server keeps a message.
pub(super) const TTL: &str = "Nats-TTL";
/// How long a value lives, in microseconds, where that is not in whole seconds.
pub(super) const EXACT_TTL: &str = "Cim-TTL";
/// Takes all earlier messages of the subject away.
pub(super) const ROLLUP: &str = "Nats-Rollup";
/// Tells changes apart, also those of which the answer was lost.
pub(super) const ID: &str = "Nats-Msg-Id";
/// What the key's last message must be; 0: that it has none.
pub(super) const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";

/// A change of a key, as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) entry: Entry,
    /// How long the server keeps it.
    pub(super) kept_for: Option<Duration>,
    /// Whether the server itself put it there when a value's time was over.
    pub(super) by_server: bool,
    pub(super) id: Option<String>,
}

impl Change {
    /// The change that a message is. `prefix` is what the subjects of the bucket begin with.
    fn read<'a>(
        prefix: &str,
        subject: &str,
        (sequence, stored_at): (u64, Timestamp),
        headers: impl Iterator<Item = (&'a str, &'a str)>,
        payload: Bytes,
    ) -> Result<Self, BucketError> {
        let key = subject.strip_prefix(prefix).map(ToOwned::to_owned);
        let key = key.and_then(|key| Key::new(key).ok()).ok_or_else(|| {
            BucketError::integrity("a message of the bucket has a subject that is not a key's")
                .with("subject", subject)
                .with("revision", sequence)
        })?;
        let (mut operation, mut reason) = (None, None);
        let (mut kept_for, mut exact, mut id) = (None, None, None);
        for (name, value) in headers {
            match name {
                OPERATION => operation = Some(value),
                MARKER => reason = Some(value),
                TTL => kept_for = parse_ttl(value),
                EXACT_TTL => exact = value.parse().ok().map(Duration::from_micros),
                ID => id = Some(value.to_owned()),
                _ => {}
            }
        }
        let by_server = operation.is_none() && reason.is_some();
        let operation = match (operation, reason) {
            (Some("DEL"), _) | (None, Some("Remove")) => Operation::Delete,
            (Some("PURGE"), _) | (None, Some(_)) => Operation::Purge,
            _ => Operation::Put,
        };
        let is_value = operation == Operation::Put;
        let lives = exact.or(kept_for).filter(|_| is_value);
        Ok(Self {
            entry: Entry {
                key,
                value: if is_value { payload } else { Bytes::new() },
                revision: Revision::new(sequence),
                operation,
                stored_at,
                expires_at: lives.map(|ttl| stored_at.saturating_add(ttl)),
            },
            kept_for,
            by_server,
            id,
        })
    }

    /// The change that a message is that was read through the leader.
    pub(super) fn of_stored(prefix: &str, message: &StoredMessage) -> Result<Self, BucketError> {
        Self::read(
            prefix,
            &message.subject,
            (message.sequence, message.stored_at),
            message.headers(),
            message.payload.clone(),
        )
    }

    /// The change that a message is that a consumer delivered.
    pub(super) fn of_delivered(prefix: &str, delivered: &Delivered) -> Result<Self, BucketError> {
        let message = &delivered.message;
        let headers = message.headers.iter().flat_map(|headers| headers.iter());
        let headers = headers.flat_map(|(name, values)| {
            let name: &str = name.as_ref();
            values.iter().map(move |value| (name, value.as_str()))
        });
        Self::read(
            prefix,
            &message.subject,
            (delivered.sequence, delivered.stored_at),
            headers,
            message.payload.clone(),
        )
    }

    pub(super) fn is_value(&self) -> bool {
        self.entry.operation == Operation::Put
    }

    /// When the server will put a marker in this value's place.
    pub(super) fn replaced_at(&self) -> Option<Timestamp> {
        let kept_for = self.kept_for.filter(|_| self.is_value())?;
        Some(self.entry.stored_at.saturating_add(kept_for))
    }
}

/// How long the server is told to keep a message that lives this long: whole seconds, rounded up.
pub(super) fn seconds(ttl: Duration) -> Duration {
    let more = u64::from(ttl.subsec_nanos() > 0);
    Duration::from_secs(ttl.as_secs().saturating_add(more))
}

/// Reads a time to live as the server does: seconds, or a duration in Go's notation; `None` for
/// `never`.
fn parse_ttl(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let mut total = None::<Duration>;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, unit) = rest.split_at_checked(rest.find(|c| !is_number(c))?)?;
        let (unit, next) = unit.split_at_checked(unit.find(is_number).unwrap_or(unit.len()))?;
        let seconds = match unit {
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        total = Some(total.unwrap_or_default().checked_add(part)?);
        rest = next;
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORED: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn read(headers: &[(&str, &str)]) -> Change {
        let headers = headers.iter().copied();
        let value = Bytes::from_static(b"v");
        Change::read("$KV.b.", "$KV.b.a.b", (7, STORED), headers, value).unwrap()
    }

    #[test]
    fn a_message_without_headers_is_a_value() {
        let change = read(&[]);
        assert_eq!(change.entry.key.as_str(), "a.b");
        assert_eq!(change.entry.value, "v");
        assert_eq!(change.entry.revision, Revision::new(7));
        assert_eq!(change.entry.operation, Operation::Put);
        assert_eq!(change.entry.expires_at, None);
        assert!(!change.by_server);
    }

    #[test]
    fn a_subject_that_is_no_key_is_damage() {
        for subject in ["$KV.b.a b", "$KV.other.a", "$KV.b."] {
            let read = Change::read("$KV.b.", subject, (7, STORED), [].into_iter(), Bytes::new());
            assert!(read.unwrap_err().is_integrity(), "{subject}");
        }
    }

    #[test]
    fn operations_and_markers_are_told_apart() {
        for (headers, operation, by_server) in [
            (&[(OPERATION, "DEL")][..], Operation::Delete, false),
            (
                &[(OPERATION, "PURGE"), (ROLLUP, "sub")],
                Operation::Purge,
                false,
            ),
            (
                &[(OPERATION, "DEL"), (MARKER, "Remove")],
                Operation::Delete,
                false,
            ),
            (&[(MARKER, "MaxAge"), (TTL, "1s")], Operation::Purge, true),
            (&[(MARKER, "Purge")], Operation::Purge, true),
            (&[(MARKER, "Remove")], Operation::Delete, true),
            (&[(OPERATION, "PUT")], Operation::Put, false),
        ] {
            let change = read(headers);
            assert_eq!(change.entry.operation, operation, "{headers:?}");
            assert_eq!(change.by_server, by_server, "{headers:?}");
            assert_eq!(change.entry.value.is_empty(), operation != Operation::Put);
            assert_eq!(change.entry.expires_at, None, "{headers:?}");
        }
    }

    #[test]
    fn a_value_ends_exactly_when_its_own_time_is_over() {
        let ends = |change: &Change| change.entry.expires_at;
        let whole = read(&[(TTL, "2")]);
        assert_eq!(ends(&whole), Some(Timestamp::from_seconds(1_800_000_002)));
        let exact = read(&[(TTL, "2"), (EXACT_TTL, "1500001")]);
        let end = Timestamp::from_micros(1_800_000_001_500_001);
        assert_eq!(ends(&exact), Some(end));
        assert_eq!(exact.replaced_at(), ends(&whole));
    }

    #[test]
    fn a_time_to_live_is_rounded_up_for_the_server() {
        assert_eq!(seconds(Duration::from_secs(2)), Duration::from_secs(2));
        assert_eq!(
            seconds(Duration::from_micros(2_000_001)),
            Duration::from_secs(3)
        );
    }

    #[test]
    fn times_to_live_of_other_clients_are_read() {
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(parse_ttl("90"), seconds(90));
        assert_eq!(parse_ttl("1h0m30s"), seconds(3_630));
        assert_eq!(parse_ttl("1.5h"), seconds(5_400));
        assert_eq!(parse_ttl("1500ms"), Some(Duration::from_millis(1_500)));
        for text in ["never", "", "-1s", "1x", "s"] {
            assert_eq!(parse_ttl(text), None, "{text}");
        }
    }
}
