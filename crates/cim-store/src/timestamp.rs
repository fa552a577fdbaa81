//! Points in time, in whole microseconds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A point in time in UTC: microseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
///
/// Written as RFC 3339 (`2026-11-20T10:15:00.000001Z`) wherever it is text. A value outside the
/// years 0 to 9999, which RFC 3339 can't write, is displayed as `@` and its microseconds.
///
/// ```
/// use std::time::Duration;
/// use cim_store::Timestamp;
///
/// let placed: Timestamp = "2026-11-20T10:15:00.000001Z".parse()?;
/// assert_eq!(Timestamp::from_micros(placed.as_micros()), placed); // as it is stored
///
/// let due = placed.saturating_add(Duration::from_secs(14 * 24 * 3_600));
/// assert_eq!(due.to_string(), "2026-12-04T10:15:00.000001Z");
/// assert_eq!(due.saturating_since(placed).as_secs(), 14 * 24 * 3_600);
/// assert_eq!(placed.saturating_since(due), Duration::ZERO);
/// # Ok::<(), cim_store::timestamp::TimestampError>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// From microseconds since the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From whole seconds since the epoch; values out of range become the nearest that fits.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// This much later, or the largest timestamp.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        let micros = i128::from(self.0) - i128::from(earlier.0);
        Duration::from_micros(u64::try_from(micros.max(0)).unwrap_or(u64::MAX))
    }
}

/// A text that is not an RFC 3339 date and time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a date and time such as 2026-11-20T10:15:00Z")]
pub struct TimestampError {
    /// What was given.
    pub text: String,
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || TimestampError {
            text: text.to_owned(),
        };
        if let Some(micros) = text.strip_prefix('@') {
            return micros.parse().map(Self).map_err(|_| refused());
        }
        let date = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| refused())?;
        let micros = date.unix_timestamp_nanos().div_euclid(1_000);
        i64::try_from(micros).map(Self).map_err(|_| refused())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000)
            .ok()
            .and_then(|date| date.format(&Rfc3339).ok());
        match written {
            Some(text) => f.pad(&text),
            None => write!(f, "@{}", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({self})")
    }
}

impl From<OffsetDateTime> for Timestamp {
    fn from(date: OffsetDateTime) -> Self {
        // The years that `time` can hold fit into 64 bits of microseconds.
        Self(i64::try_from(date.unix_timestamp_nanos().div_euclid(1_000)).unwrap_or(i64::MAX))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_and_back_is_the_same_time(micros in any::<i64>()) {
            let time = Timestamp::from_micros(micros);
            prop_assert_eq!(time.to_string().parse::<Timestamp>(), Ok(time));
        }
    }

    #[test]
    fn other_offsets_are_converted_to_utc() {
        let time: Timestamp = "2026-11-20T12:00:00+02:00".parse().unwrap();
        assert_eq!(time.to_string(), "2026-11-20T10:00:00Z");
    }

    #[test]
    fn a_text_that_is_no_time_is_refused_by_name() {
        let error = "yesterday".parse::<Timestamp>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`yesterday` is not a date and time such as 2026-11-20T10:15:00Z"
        );
    }
}
