//! What is known of a server: its version, and its time.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use cim_store::{Clock, SystemClock, Timestamp};

/// A server's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerVersion {
    /// 2 in 2.14.6.
    pub major: u32,
    /// 14 in 2.14.6.
    pub minor: u32,
    /// 6 in 2.14.6.
    pub patch: u32,
}

impl ServerVersion {
    /// The oldest that this adapter works with: the first one that loads a stream by its subjects
    /// without looking at the rest of the log.
    pub const OLDEST: Self = Self::new(2, 14, 6);
    /// The oldest that keeps an atomic batch whole through a power cut.
    pub const RECOMMENDED: Self = Self::new(2, 15, 1);

    const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self {
            major,
            minor,
            patch,
        }
    }

    /// Reads `2.14.6`, `v2.14.6` and `2.15.0-dev`, which comes before 2.15.0.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_start_matches('v');
        let (numbers, early) = match text.split_once('-') {
            Some((numbers, _)) => (numbers, true),
            None => (text.split('+').next()?, false),
        };
        let mut numbers = numbers.splitn(3, '.').map(str::parse);
        let mut next = || numbers.next()?.ok();
        let found = Self::new(next()?, next()?, next()?);
        match (early, found.minor, found.patch) {
            (true, 0, 0) | (false, _, _) => Some(found),
            (true, minor, 0) => Some(Self::new(found.major, minor - 1, u32::MAX)),
            (true, minor, patch) => Some(Self::new(found.major, minor, patch - 1)),
        }
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The server's time, as it follows from the last time that the server told it.
#[derive(Debug)]
pub(crate) struct ServerTime {
    told: Mutex<(Timestamp, Instant)>,
}

impl ServerTime {
    pub(crate) fn new(told: Timestamp) -> Self {
        Self {
            told: Mutex::new((told, SystemClock.monotonic())),
        }
    }

    /// The server told its time just now.
    pub(crate) fn told(&self, time: Timestamp) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = (time, SystemClock.monotonic());
    }

    /// What time it is there.
    pub(crate) fn now(&self) -> Timestamp {
        let (time, at) = *self.told.lock().unwrap_or_else(PoisonError::into_inner);
        time.saturating_add(SystemClock.monotonic().saturating_duration_since(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered() {
        let parse = |text| ServerVersion::parse(text).unwrap();
        assert!(parse("2.14.6") == ServerVersion::OLDEST);
        assert!(parse("v2.15.1") == ServerVersion::RECOMMENDED);
        assert!(parse("2.9.10") < ServerVersion::OLDEST);
        assert!(parse("2.14.6-RC.1") < ServerVersion::OLDEST);
        assert!(parse("2.15.0-dev") > ServerVersion::OLDEST);
        assert!(parse("2.15.0-dev") < parse("2.15.0"));
        assert!(parse("3.0.0") > ServerVersion::RECOMMENDED);
        assert_eq!(ServerVersion::parse("latest"), None);
    }
}
