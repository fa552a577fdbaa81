//! What is too large to be stored, checked before anything is sent.

use std::fmt;

/// The largest sizes a store takes. They are the same for every adapter, so that what one takes
/// every other takes too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of one event's payload, and of one value in a bucket.
    pub payload_bytes: usize,
    /// Bytes of one event's encoded metadata.
    pub metadata_bytes: usize,
    /// Events of one commit.
    pub commit_events: usize,
    /// Bytes of all payloads and metadata of one commit.
    pub commit_bytes: usize,
    /// Streams that one commit writes or checks.
    pub commit_streams: usize,
    /// Bytes of an event's subject and of a bucket's key.
    pub subject_bytes: usize,
    /// Levels of arrays and objects in a JSON payload.
    pub nesting: usize,
    /// Positions of which one call reads the events.
    pub read_positions: usize,
}

impl Limits {
    /// The contract's limits.
    pub const CONTRACT: Self = Self {
        payload_bytes: 1 << 20,
        metadata_bytes: 64 << 10,
        commit_events: 1_000,
        commit_bytes: 16 << 20,
        commit_streams: 1_000,
        subject_bytes: 255,
        nesting: 64,
        read_positions: 1_000,
    };
}

/// Which limit was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitName {
    /// [`Limits::payload_bytes`].
    PayloadBytes,
    /// [`Limits::metadata_bytes`].
    MetadataBytes,
    /// [`Limits::commit_events`].
    CommitEvents,
    /// [`Limits::commit_bytes`].
    CommitBytes,
    /// [`Limits::commit_streams`].
    CommitStreams,
    /// [`Limits::subject_bytes`].
    SubjectBytes,
    /// [`Limits::nesting`].
    Nesting,
    /// [`Limits::read_positions`].
    ReadPositions,
}

impl fmt::Display for LimitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PayloadBytes => "bytes of payload",
            Self::MetadataBytes => "bytes of metadata",
            Self::CommitEvents => "events in a commit",
            Self::CommitBytes => "bytes in a commit",
            Self::CommitStreams => "streams in a commit",
            Self::SubjectBytes => "bytes of subject",
            Self::Nesting => "levels of nesting",
            Self::ReadPositions => "positions of a read",
        })
    }
}

/// Whether a text has control characters.
pub(crate) fn has_control(text: &str) -> bool {
    if text.is_ascii() {
        return text.bytes().any(|byte| byte.is_ascii_control());
    }
    text.chars().any(char::is_control)
}

/// How deep arrays and objects are nested in a JSON text; counts brackets outside strings, so it
/// needs no valid JSON.
///
/// Where there are at most `enough` brackets in all, their number is returned: the nesting is not
/// larger, and counting is much quicker than following strings.
pub(crate) fn json_nesting(text: &[u8], enough: usize) -> usize {
    let opens = |byte: &u8| usize::from(*byte == b'[') + usize::from(*byte == b'{');
    let brackets = text.iter().map(opens).sum();
    if brackets <= enough {
        return brackets;
    }
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_strings_do_not_nest() {
        assert_eq!(json_nesting(br#"{"a":"[[[\"[[","b":[1,{"c":2}]}"#, 0), 3);
        assert_eq!(json_nesting(b"12", 0), 0);
        assert_eq!(json_nesting(&[b'['; 100], 64), 100);
    }

    #[test]
    fn few_brackets_are_not_followed() {
        assert_eq!(json_nesting(b"[][][]", 64), 3);
        assert_eq!(json_nesting(b"[][][]", 2), 1);
    }
}
