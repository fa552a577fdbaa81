//! One file per command: its arguments, whose doc comments are its help, and what it does.

pub mod append;
pub mod checkpoint;
pub mod completions;
pub mod doctor;
pub mod events;
pub mod export;
pub mod health;
mod history_line;
pub mod import;
pub mod log;
pub mod schema;
pub mod stats;
pub mod streams;
pub mod verify;

use std::str::FromStr;

use cim_store::stream_id::StreamIdError;
use cim_store::{StreamId, StreamPattern};
use cim_subject::{SubjectError, SubjectPattern};

/// Tokens of a stream's name: context, aggregate, id.
const STREAM_TOKENS: usize = 3;
/// Tokens of an event's subject after `cim.events.`: those, the event's type and its version.
const EVENT_TOKENS: usize = 5;
/// What every event's subject begins with.
const EVENTS_PREFIX: &str = "cim.events.";

/// A pattern that can't be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PatternError {
    /// It is no pattern at all.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// It has more tokens than the names it is to match.
    #[error("`{pattern}` has {found} tokens, but {names} have {most}: {form}")]
    TooManyTokens {
        pattern: String,
        names: &'static str,
        form: &'static str,
        found: usize,
        most: usize,
    },
}

/// A name that is not that of one stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    /// It has characters that are spelled another way in a name.
    #[error("`{text}` has characters that a name spells as `=XX`; did you mean `{meant}`?")]
    Unescaped { text: String, meant: StreamId },
    /// It names many.
    #[error(
        "`{0}` is a pattern, but one stream is named here; \
         `cim streams` and `cim log` take patterns"
    )]
    Pattern(String),
    /// Anything else.
    #[error(transparent)]
    Name(#[from] StreamIdError),
}

/// The name of one stream.
pub(crate) fn parse_stream(text: &str) -> Result<StreamId, StreamError> {
    let error = match StreamId::parse(text) {
        Ok(stream) => return Ok(stream),
        Err(error) => error,
    };
    let parts: Vec<&str> = text.split('.').collect();
    if parts.iter().any(|part| matches!(*part, "*" | ">")) {
        return Err(StreamError::Pattern(text.to_owned()));
    }
    // Where there is a `=` somebody meant to escape, and only they know what.
    if let ([context, aggregate, id], false) = (&parts[..], text.contains('='))
        && let Ok(meant) = StreamId::new(context, aggregate, id)
    {
        let text = text.to_owned();
        return Err(StreamError::Unescaped { text, meant });
    }
    Err(error.into())
}

/// The id of something.
pub(crate) fn parse_uuid<T: FromStr>(text: &str) -> Result<T, &'static str> {
    let form = "it is a UUID, such as 0193f2a4-7c1e-7d52-9a3b-5f0c8e21d6b7";
    text.parse().map_err(|_| form)
}

/// A pattern over streams' names. One that is shorter than a name means everything below it:
/// `sales` is `sales.>`.
pub(crate) fn parse_stream_pattern(text: &str) -> Result<StreamPattern, PatternError> {
    let form = "context.aggregate.id";
    complete(text, STREAM_TOKENS, "the names of streams", form).map(StreamPattern::new)
}

/// A pattern over events' subjects, with or without `cim.events.` in front. One that is shorter
/// than a subject means everything below it: `sales.order.7` is `cim.events.sales.order.7.>`.
pub(crate) fn parse_event_pattern(text: &str) -> Result<SubjectPattern, PatternError> {
    let relative = text.strip_prefix(EVENTS_PREFIX).unwrap_or(text);
    let form = "context.aggregate.id.type.version";
    let pattern = complete(relative, EVENT_TOKENS, "events, after `cim.events.`,", form)?;
    Ok(SubjectPattern::new(format!("{EVENTS_PREFIX}{pattern}"))?)
}

fn complete(
    text: &str,
    tokens: usize,
    names: &'static str,
    form: &'static str,
) -> Result<SubjectPattern, PatternError> {
    let pattern = SubjectPattern::try_from(text)?;
    let found = pattern.token_count();
    let ends_open = pattern.tokens().next_back() == Some(">");
    if found > tokens {
        return Err(PatternError::TooManyTokens {
            pattern: text.to_owned(),
            names,
            form,
            found,
            most: tokens,
        });
    }
    if found < tokens && !ends_open {
        return Ok(SubjectPattern::new(format!("{text}.>"))?);
    }
    Ok(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_pattern_means_everything_below_it() {
        let cases = [
            (">", "cim.events.>"),
            ("sales", "cim.events.sales.>"),
            ("sales.order.7", "cim.events.sales.order.7.>"),
            ("*.order", "cim.events.*.order.>"),
            (
                "sales.order.*.order_placed",
                "cim.events.sales.order.*.order_placed.>",
            ),
            (
                "sales.order.7.order_placed.1",
                "cim.events.sales.order.7.order_placed.1",
            ),
            ("cim.events.sales.order.7", "cim.events.sales.order.7.>"),
            ("cim.events.>", "cim.events.>"),
        ];
        for (given, taken) in cases {
            assert_eq!(
                parse_event_pattern(given).unwrap().as_str(),
                taken,
                "{given}"
            );
        }
        let stream = |text| parse_stream_pattern(text).unwrap().as_pattern().to_string();
        assert_eq!(stream("sales"), "sales.>");
        assert_eq!(stream("sales.*.7"), "sales.*.7");
    }

    #[test]
    fn a_stream_that_is_misspelled_is_refused_with_what_was_meant() {
        let refused = |text| parse_stream(text).unwrap_err().to_string();
        assert_eq!(
            refused("sales.order.no 7"),
            "`sales.order.no 7` has characters that a name spells as `=XX`; \
             did you mean `sales.order.no=207`?"
        );
        assert_eq!(
            refused("sales.order.*"),
            "`sales.order.*` is a pattern, but one stream is named here; \
             `cim streams` and `cim log` take patterns"
        );
        for text in ["sales.order", "sales.order.", "sales.order.a=2f", "a.b.c.d"] {
            let error = parse_stream(text).unwrap_err();
            assert!(matches!(error, StreamError::Name(_)), "{text}: {error}");
        }
        assert_eq!(parse_stream("a.b.c=2Fd").unwrap().decoded_id(), "c/d");
    }

    #[test]
    fn a_pattern_that_can_match_nothing_is_refused() {
        let error = parse_event_pattern("a.b.c.d.1.f").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`a.b.c.d.1.f` has 6 tokens, but events, after `cim.events.`, have 5: \
             context.aggregate.id.type.version"
        );
        let error = parse_stream_pattern("a.b.c.>").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`a.b.c.>` has 4 tokens, but the names of streams have 3: context.aggregate.id"
        );
        assert!(matches!(
            parse_stream_pattern("a..b"),
            Err(PatternError::Subject(_))
        ));
    }
}
