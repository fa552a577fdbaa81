//! What can be wrong with a subject, a pattern or a scheme.
//!
//! Every error names the offending text, the byte offset in it (counted from 0) and the way out.
//! Texts come from outside and may be huge, so errors keep at most [`EXCERPT`] bytes of them.

use crate::Subject;
use crate::token::TokenError;

/// How many bytes of an offending text an error keeps: a whole subject always fits.
const EXCERPT: usize = 300;

/// Why a text is not a [`Subject`] or not a [`SubjectPattern`](crate::SubjectPattern).
///
/// `text` is the offending text (cut after 300 bytes), `position` a byte offset from 0.
///
/// ```
/// use cim_subject::{Subject, SubjectError};
///
/// let error = Subject::new("cim..events").unwrap_err();
/// assert!(matches!(error, SubjectError::EmptyToken { position: 4, .. }));
/// assert_eq!(
///     error.to_string(),
///     "\"cim..events\" has an empty token at byte 4: put a name there or remove the dot"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubjectError {
    /// The text is empty.
    #[error("a subject cannot be empty: give it at least one token")]
    Empty,

    /// The text is longer than [`Subject::MAX_LEN`] bytes.
    #[error(
        "{text:?} is {length} bytes long, a subject has at most {max}: shorten its tokens",
        max = Subject::MAX_LEN
    )]
    TooLong {
        /// The offending text, cut.
        text: String,
        /// Its whole length in bytes.
        length: usize,
    },

    /// Nothing stands before, between or after dots.
    #[error("{text:?} has an empty token at byte {position}: put a name there or remove the dot")]
    EmptyToken {
        /// The offending text.
        text: String,
        /// Where a token should begin.
        position: usize,
    },

    /// A character that no token may hold: a space, a control character or anything beyond ASCII.
    #[error(
        "{text:?} has the character {character:?} at byte {position}, which no token may hold: \
         spell the token with encode_token"
    )]
    Character {
        /// The offending text.
        text: String,
        /// The character.
        character: char,
        /// Where it stands.
        position: usize,
    },

    /// A `*` or `>` in a concrete subject.
    #[error(
        "{text:?} has the wildcard {wildcard:?} at byte {position}, but names one subject: \
         use a SubjectPattern, or spell the token with encode_token"
    )]
    Wildcard {
        /// The offending text.
        text: String,
        /// `*` or `>`.
        wildcard: char,
        /// Where it stands.
        position: usize,
    },

    /// A `*` or `>` in a pattern that shares its token with other characters, as in `a*`.
    #[error(
        "{text:?} has the wildcard {wildcard:?} at byte {position} inside a longer token: \
         a wildcard must be a whole token, or spell the token with encode_token"
    )]
    PartialWildcard {
        /// The offending text.
        text: String,
        /// `*` or `>`.
        wildcard: char,
        /// Where it stands.
        position: usize,
    },

    /// A `>` in a pattern with tokens after it, as in `>.a`.
    #[error(
        "{text:?} has tokens after the '>' at byte {position}: \
         '>' must be the last token, use '*' for a single one"
    )]
    RestNotLast {
        /// The offending text.
        text: String,
        /// Where the `>` stands.
        position: usize,
    },
}

/// Why a [`SubjectScheme`](crate::SubjectScheme) cannot be built, rendered or parsed.
///
/// `position` is a byte offset from 0 in the template or the subject, as the variant says.
///
/// ```
/// use cim_subject::{SchemeError, SubjectScheme, TokenError};
///
/// let error = SubjectScheme::read_models()
///     .render(&[("type", "invoice"), ("id", ""), ("operation", "update")])
///     .unwrap_err();
/// let SchemeError::Value { field, source, .. } = error else { panic!("{error}") };
/// assert_eq!((field.as_str(), source), ("id", TokenError::Empty));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemeError {
    /// The template breaks the grammar of subjects; the source says how.
    #[error("the template {template:?} does not have the form of a subject")]
    Template {
        /// The offending template, cut.
        template: String,
        /// What is wrong with it.
        source: SubjectError,
    },

    /// A token of the template has braces but is not `{name}`.
    #[error(
        "{token:?} at byte {position} of the template {template:?} is not a field: a field is a \
         whole token, {{name}}, and a name is a-z, 0-9 and '_', beginning with a letter"
    )]
    FieldSyntax {
        /// The template.
        template: String,
        /// The offending token.
        token: String,
        /// Where the token begins in the template.
        position: usize,
    },

    /// The template names a field twice.
    #[error(
        "the template {template:?} names the field {field:?} again at byte {position}: \
         give each field a name of its own"
    )]
    DuplicateField {
        /// The template.
        template: String,
        /// The field.
        field: String,
        /// Where the second one begins in the template.
        position: usize,
    },

    /// A value was given for a field that the template does not have.
    #[error(
        "the template {template:?} has no field {field:?}: give values for its own fields only"
    )]
    UnknownField {
        /// The template.
        template: String,
        /// The name that was given, cut.
        field: String,
    },

    /// A subject needs a value for every field, and this one has none.
    #[error("the field {field:?} of the template {template:?} got no value: give it one")]
    MissingField {
        /// The template.
        template: String,
        /// The field.
        field: String,
    },

    /// Two values were given for one field.
    #[error("the field {field:?} of the template {template:?} got two values: give it one")]
    RepeatedField {
        /// The template.
        template: String,
        /// The field.
        field: String,
    },

    /// A value cannot be spelled as a token; the source says why.
    #[error("the value for the field {field:?} of the template {template:?} cannot be a token")]
    Value {
        /// The template.
        template: String,
        /// The field.
        field: String,
        /// What is wrong with the value.
        source: TokenError,
    },

    /// The values fit, but what they render to is no valid subject or pattern (it is too long).
    #[error("the values make the template {template:?} an invalid subject")]
    Rendered {
        /// The template.
        template: String,
        /// What is wrong with the result.
        source: SubjectError,
    },

    /// The subject has more or fewer tokens than the template, so it belongs to another scheme.
    #[error(
        "{subject:?} has {actual} tokens, the template {template:?} has {expected}: \
         parse it with the scheme it belongs to"
    )]
    TokenCount {
        /// The template.
        template: String,
        /// The subject.
        subject: String,
        /// The number of tokens in the template.
        expected: usize,
        /// The number of tokens in the subject.
        actual: usize,
    },

    /// The subject differs from a fixed token of the template, so it belongs to another scheme.
    #[error(
        "{subject:?} has {actual:?} at byte {position}, the template {template:?} has \
         {expected:?} there: parse it with the scheme it belongs to"
    )]
    TokenMismatch {
        /// The template.
        template: String,
        /// The subject.
        subject: String,
        /// Where the token begins in the subject.
        position: usize,
        /// The token of the template.
        expected: String,
        /// The token of the subject.
        actual: String,
    },

    /// A token of the subject is not the canonical spelling of any value; the source says why.
    #[error(
        "the token at byte {position} of {subject:?}, the field {field:?} of the template \
         {template:?}, is not canonically spelled"
    )]
    Token {
        /// The template.
        template: String,
        /// The subject.
        subject: String,
        /// The field.
        field: String,
        /// Where the token begins in the subject.
        position: usize,
        /// What is wrong with the token.
        source: TokenError,
    },
}

/// The beginning of `text` that an error keeps.
pub(crate) fn excerpt(text: &str) -> String {
    text[..text.floor_char_boundary(EXCERPT)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpt_keeps_a_whole_subject() {
        let text = "a".repeat(Subject::MAX_LEN);
        assert_eq!(excerpt(&text), text);
    }

    #[test]
    fn excerpt_cuts_between_characters() {
        let text = "é".repeat(EXCERPT);
        let cut = excerpt(&format!("a{text}"));
        assert_eq!(cut.len(), EXCERPT - 1);
        assert!(cut.ends_with('é'));
    }
}
