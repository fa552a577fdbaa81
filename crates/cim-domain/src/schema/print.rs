//! Shapes and lock files as text: one spelling for each, a line for each field, so that a change
//! shows as the lines it touches.

use std::borrow::Cow;
use std::fmt::{self, Display, Write};

use super::lock_file::{LockFile, TITLE};
use super::{Field, Persisted, Shape};
use crate::testing::difference;

/// What people who open the file should know.
const PREFACE: &str = "\
# The shapes of what is stored. Stored events stay as they are, so what is written here stays, too:
# a new shape is a new version. A test writes this file: CIM_SCHEMAS=update cargo test
";

impl Display for Shape {
    /// Over several lines, without an end of line after the last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(self, 0, f)
    }
}

impl Shape {
    /// The lines of both texts, those that differ marked: `-` stands only here, `+` only in the
    /// other.
    pub(crate) fn difference_to(&self, other: Option<&Self>) -> String {
        let (this, other) = (
            self.to_string(),
            other.map(Self::to_string).unwrap_or_default(),
        );
        let this: Vec<&str> = this.lines().collect();
        let other: Vec<&str> = other.lines().collect();
        difference::lines(&this, &other)
    }
}

impl Display for LockFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{TITLE}")?;
        f.write_str(PREFACE)?;
        for (what, versions) in self.entries() {
            writeln!(f, "\n{}", Head(what))?;
            for (version, shapes) in versions {
                writeln!(f, "  version {version}")?;
                for (index, shape) in shapes.iter().enumerate() {
                    f.write_str(if index == 0 { "    " } else { "    also " })?;
                    print(shape, 2, f)?;
                    f.write_char('\n')?;
                }
            }
        }
        Ok(())
    }
}

/// The first line of an entry.
struct Head<'a>(&'a Persisted);

impl Display for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Persisted::Event {
                aggregate,
                event_type,
            } => {
                write!(f, "event {}", name(event_type))?;
                match aggregate {
                    Some(aggregate) => write!(f, " of {}", name(aggregate)),
                    None => Ok(()),
                }
            }
            Persisted::Snapshot { aggregate } => write!(f, "snapshot {}", name(aggregate)),
        }
    }
}

/// Whether a name stands as it is; any other stands in quotes, as a JSON text.
pub(super) fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

fn name(text: &str) -> Cow<'_, str> {
    if is_word(text) {
        return text.into();
    }
    serde_json::Value::from(text).to_string().into()
}

fn print(shape: &Shape, indent: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match shape {
        Shape::Any => f.write_str("any"),
        Shape::Null => f.write_str("null"),
        Shape::Scalar(kind, None) => f.write_str(kind.as_str()),
        Shape::Scalar(kind, Some(example)) => write!(f, "{} = {example}", kind.as_str()),
        Shape::Option(inner) => prefixed("option ", inner, indent, f),
        Shape::Sampled(inner) => prefixed("sampled ", inner, indent, f),
        Shape::Label(number, inner) => {
            write!(f, "&{number} ")?;
            print(inner, indent, f)
        }
        Shape::Again(number) => write!(f, "*{number}"),
        Shape::List(inner) => {
            f.write_char('[')?;
            print(inner, indent, f)?;
            f.write_char(']')
        }
        Shape::Tuple(parts) => match parts.split_first() {
            Some((first, rest)) if !rest.is_empty() && rest.iter().all(|part| part == first) => {
                f.write_char('[')?;
                print(first, indent, f)?;
                write!(f, "; {}]", parts.len())
            }
            _ => {
                f.write_char('(')?;
                for (index, part) in parts.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { ", " })?;
                    print(part, indent, f)?;
                }
                f.write_char(')')
            }
        },
        Shape::Map(key, value) => {
            f.write_str("map ")?;
            print(key, indent, f)?;
            prefixed(" to ", value, indent, f)
        }
        Shape::Object(fields) => block("", fields, indent, f, |(key, field), f| {
            let Field { required, shape } = field;
            let mark = if *required { "" } else { "?" };
            write!(f, "{}{mark}: ", name(key))?;
            print(shape, indent + 1, f)
        }),
        Shape::Enum(variants) => block("enum ", variants, indent, f, |(variant, held), f| {
            f.write_str(&name(variant))?;
            match held {
                Some(held) => prefixed(": ", held, indent + 1, f),
                None => Ok(()),
            }
        }),
        Shape::Either(parts) => block("either ", parts, indent, f, |part, f| {
            print(part, indent + 1, f)
        }),
    }
}

fn prefixed(prefix: &str, inner: &Shape, indent: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(prefix)?;
    print(inner, indent, f)
}

fn block<T>(
    keyword: &str,
    parts: impl IntoIterator<Item = T>,
    indent: usize,
    f: &mut fmt::Formatter<'_>,
    mut one: impl FnMut(T, &mut fmt::Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    write!(f, "{keyword}{{")?;
    let mut is_empty = true;
    for part in parts {
        is_empty = false;
        new_line(indent + 1, f)?;
        one(part, f)?;
    }
    if !is_empty {
        new_line(indent, f)?;
    }
    f.write_char('}')
}

fn new_line(indent: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "\n{:1$}", "", indent * 2)
}
