//! The subjects of the log, and the filters by which it is read and guarded.
//!
//! ```text
//! cim.events.{context}.{aggregate}.{id}.{event}.{version}   an event: one subject each
//! cim.commits.{commit id}                                   says that a commit was stored
//! cim.checks.{commit id}.{n}                                carries a check that no event could
//! ```
//!
//! A guard and the filter it is compared with must be spelled alike by every writer: a cluster
//! tells two appends under way at the same place by the text of their filters. So every filter is
//! written here, by one function each.

use std::fmt::Write as _;

use cim_store::{CommitId, EventType, StreamId, StreamPattern, Version};
use cim_subject::SubjectPattern;
use cim_subject::token::{decode_token, encode_token};

/// What all subjects of events have.
pub(crate) const EVENTS: &str = "cim.events.>";
/// What the subjects of the marks of commits have.
pub(crate) const COMMITS: &str = "cim.commits.*";
/// What the subjects of carried checks have.
pub(crate) const CHECKS: &str = "cim.checks.*.*";

/// The subject of an event.
pub(crate) fn event(stream: &StreamId, event_type: &EventType, version: Version) -> String {
    // A type is never empty, so it always has an encoding.
    let token = encode_token(event_type.as_str()).unwrap_or_default();
    format!("cim.events.{stream}.{token}.{version}")
}

/// The place of one version in a stream, whatever the type of its event: what a guard expects to
/// be empty.
pub(crate) fn slot(stream: &StreamId, version: Version) -> String {
    format!("cim.events.{stream}.*.{version}")
}

/// All events of a stream.
pub(crate) fn stream(stream: &StreamId) -> String {
    format!("cim.events.{stream}.>")
}

/// The mark of a commit.
pub(crate) fn commit(id: CommitId) -> String {
    format!("cim.commits.{}", id.as_uuid().simple())
}

/// The carrier of a check.
pub(crate) fn check(id: CommitId, number: usize) -> String {
    format!("cim.checks.{}.{number}", id.as_uuid().simple())
}

/// The first events of all streams that are meant: one for each stream. `None` where no stream can
/// be meant.
pub(crate) fn first_events(pattern: &StreamPattern) -> Option<String> {
    let names = SubjectPattern::new("*.*.*").ok()?;
    let names = names.intersection(pattern.as_pattern())?;
    Some(format!("cim.events.{names}.*.1"))
}

/// What a subject says of its event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EventSubject<'a> {
    /// The stream's name.
    pub(crate) stream: &'a str,
    /// The type, escaped.
    pub(crate) event_type: &'a str,
    pub(crate) version: Version,
}

/// Reads the subject of an event; `None` for any other text.
pub(crate) fn parse_event(subject: &str) -> Option<EventSubject<'_>> {
    let rest = subject.strip_prefix("cim.events.")?;
    let (rest, version) = rest.rsplit_once('.')?;
    let (stream, event_type) = rest.rsplit_once('.')?;
    let digits = version.bytes().all(|byte| byte.is_ascii_digit());
    let version: u64 = version
        .parse()
        .ok()
        .filter(|_| digits && !version.starts_with('0'))?;
    Some(EventSubject {
        stream,
        event_type,
        version: Version::new(version),
    })
}

/// Whether a subject is that of the mark of a commit, or of the carrier of a check.
pub(crate) fn is_mark_or_check(subject: &str) -> bool {
    let is_id = |token: &str| {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        token.len() == 32 && token.bytes().all(digit)
    };
    if let Some(id) = subject.strip_prefix("cim.commits.") {
        return is_id(id);
    }
    let check = subject.strip_prefix("cim.checks.");
    check
        .and_then(|check| check.split_once('.'))
        .is_some_and(|(id, number)| is_id(id) && number.parse::<u64>().is_ok())
}

/// Whether a token is this type, escaped. Most types need no escapes.
pub(crate) fn is_type(token: &str, event_type: &str) -> bool {
    (token == event_type && !token.contains('='))
        || decode_token(token).is_ok_and(|decoded| decoded == event_type)
}

/// The subjects of events, among those that a pattern matches, of one type where there is only
/// one; `None` where there are none.
pub(crate) fn events_meant(
    pattern: Option<&SubjectPattern>,
    types: &[EventType],
) -> Option<String> {
    let mut shape = String::from("cim.events.*.*.*.");
    match types {
        [only] => shape.push_str(&encode_token(only.as_str()).unwrap_or_default()),
        _ => shape.push('*'),
    }
    shape.push_str(".*");
    let every = types.is_empty() && pattern.is_none_or(|pattern| pattern.as_str() == ">");
    if every {
        return Some(EVENTS.to_owned());
    }
    let shape = SubjectPattern::new(shape).ok()?;
    let meant = match pattern {
        Some(pattern) => shape.intersection(pattern)?,
        None => shape,
    };
    Some(meant.as_str().to_owned())
}

/// Appends a list of slots, of the versions `from` to `to`, as a JSON array.
pub(crate) fn write_slots(text: &mut String, stream: &StreamId, from: Version, to: Version) {
    text.push('[');
    for version in from.get()..=to.get() {
        if version != from.get() {
            text.push(',');
        }
        // The tokens of a subject need no escapes in JSON, and writing to a String can't fail.
        let _ = write!(text, "\"{}\"", slot(stream, Version::new(version)));
    }
    text.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream_id() -> StreamId {
        StreamId::new("sales", "order", "a.b").unwrap()
    }

    #[test]
    fn an_events_subject_is_read_back() {
        let placed = EventType::new("order placed").unwrap();
        let subject = event(&stream_id(), &placed, Version::new(12));
        assert_eq!(subject, "cim.events.sales.order.a=2Eb.order=20placed.12");
        let parsed = parse_event(&subject).unwrap();
        assert_eq!(parsed.stream, "sales.order.a=2Eb");
        assert!(is_type(parsed.event_type, "order placed"));
        assert!(!is_type(parsed.event_type, "order=20placed"));
        assert_eq!(parsed.version, Version::new(12));
    }

    #[test]
    fn other_subjects_are_not_events() {
        for subject in [
            "cim.commits.1",
            "cim.events.a.b.c.d.x",
            "cim.events.a.b.c.d.01",
            "cim.events.a.b.c.d.0",
            "cim.events.a.b.c.d.+1",
            "cim.events.1",
        ] {
            assert_eq!(parse_event(subject), None, "{subject}");
        }
    }

    #[test]
    fn marks_and_checks_are_told_from_what_others_put_there() {
        let id = CommitId::from_bytes([0xab; 16]);
        assert!(is_mark_or_check(&commit(id)));
        assert!(is_mark_or_check(&check(id, 12)));
        for subject in ["cim.commits.x", "cim.checks.x.0", "cim.events.a.b.c.d.1"] {
            assert!(!is_mark_or_check(subject), "{subject}");
        }
        assert!(!is_mark_or_check(&format!("{}.x", commit(id))));
        assert!(!is_mark_or_check(&commit(id).to_uppercase()));
    }

    #[test]
    fn patterns_of_streams_become_filters_of_first_events() {
        let filter = |pattern: &str| first_events(&pattern.parse().unwrap());
        assert_eq!(filter(">").as_deref(), Some("cim.events.*.*.*.*.1"));
        assert_eq!(
            filter("sales.>").as_deref(),
            Some("cim.events.sales.*.*.*.1")
        );
        assert_eq!(
            filter("*.order.7").as_deref(),
            Some("cim.events.*.order.7.*.1")
        );
        assert_eq!(filter("sales"), None);
        assert_eq!(filter("a.b.c.d"), None);
    }

    #[test]
    fn a_filter_of_the_log_becomes_one_of_the_server() {
        let pattern = |text: &str| SubjectPattern::new(text.to_owned()).unwrap();
        let placed = EventType::new("placed").unwrap();
        let paid = EventType::new("paid").unwrap();
        let meant =
            |pattern: Option<&SubjectPattern>, types: &[EventType]| events_meant(pattern, types);
        assert_eq!(meant(None, &[]).as_deref(), Some("cim.events.>"));
        assert_eq!(
            meant(Some(&pattern(">")), &[]).as_deref(),
            Some("cim.events.>")
        );
        let one = [placed.clone()];
        assert_eq!(
            meant(None, &one).as_deref(),
            Some("cim.events.*.*.*.placed.*")
        );
        let sales = pattern("cim.events.sales.>");
        assert_eq!(
            meant(Some(&sales), &one).as_deref(),
            Some("cim.events.sales.*.*.placed.*")
        );
        let two = [placed, paid];
        assert_eq!(
            meant(Some(&sales), &two).as_deref(),
            Some("cim.events.sales.*.*.*.*")
        );
        assert_eq!(meant(Some(&pattern("other.>")), &[]), None);
    }
}
