//! Templates of subject hierarchies: how they are written, and what they are compiled to.
//!
//! A template has the form of a subject in which a whole token may be a field, `{name}`. It is read
//! and checked once, so that rendering and parsing only walk over its tokens.

use crate::error::{SchemeError, excerpt};
use crate::{Subject, SubjectPattern};

/// A template, taken apart once.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) text: String,
    pub(crate) tokens: Box<[Token]>,
    /// The names of the fields, in the order of the template.
    pub(crate) fields: Box<[Box<str>]>,
    /// Every field a `*`.
    pub(crate) all: SubjectPattern,
}

/// One token of a compiled template.
#[derive(Debug)]
pub(crate) enum Token {
    Fixed(Box<str>),
    /// An index into [`Template::fields`].
    Field(usize),
}

/// One token of a template that is about to be compiled.
#[derive(Clone, Copy)]
pub(crate) enum Part<'a> {
    Fixed(&'a str),
    Field(&'a str),
}

impl Template {
    /// Reads and checks a template.
    pub(crate) fn read(template: &str) -> Result<Self, SchemeError> {
        // Braces are ordinary characters of a subject, so its grammar covers all but the fields.
        Subject::try_from(template).map_err(|source| SchemeError::Template {
            template: excerpt(template),
            source,
        })?;
        let mut parts = Vec::new();
        let mut fields = Vec::new();
        let mut position = 0;
        for token in template.split('.') {
            let part = Part::read(token).ok_or_else(|| SchemeError::FieldSyntax {
                template: template.to_owned(),
                token: token.to_owned(),
                position,
            })?;
            if let Part::Field(field) = part {
                if fields.contains(&field) {
                    return Err(SchemeError::DuplicateField {
                        template: template.to_owned(),
                        field: field.to_owned(),
                        position,
                    });
                }
                fields.push(field);
            }
            parts.push(part);
            position += token.len() + 1;
        }
        Ok(Self::compile(&parts))
    }

    /// Takes tokens that are already known to make a valid template.
    pub(crate) fn compile(parts: &[Part<'_>]) -> Self {
        let mut text = String::new();
        let mut all = String::new();
        let mut fields = Vec::new();
        let mut tokens = Vec::new();
        for part in parts {
            if !text.is_empty() {
                text.push('.');
                all.push('.');
            }
            match *part {
                Part::Fixed(token) => {
                    text.push_str(token);
                    all.push_str(token);
                    tokens.push(Token::Fixed(token.into()));
                }
                Part::Field(name) => {
                    text.extend(["{", name, "}"]);
                    all.push('*');
                    tokens.push(Token::Field(fields.len()));
                    fields.push(name.into());
                }
            }
        }
        Self {
            text,
            tokens: tokens.into(),
            fields: fields.into(),
            all: SubjectPattern::from_checked(all.into()),
        }
    }
}

impl<'a> Part<'a> {
    /// Reads one token of a template; `None` if it has braces but is not a field.
    fn read(token: &'a str) -> Option<Self> {
        if !token.contains(['{', '}']) {
            return Some(Self::Fixed(token));
        }
        let name = token.strip_prefix('{')?.strip_suffix('}')?;
        let begins = name.starts_with(|first: char| first.is_ascii_lowercase());
        let goes_on = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        (begins && name.chars().all(goes_on)).then_some(Self::Field(name))
    }
}
