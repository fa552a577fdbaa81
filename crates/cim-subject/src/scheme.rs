//! Subject hierarchies as values: a template says which token means what.
//!
//! A scheme turns named values into a subject, a subject back into the values, and some of the
//! values into the pattern of all subjects that have them. Rendering and parsing are inverse, both
//! ways, because [`token`](crate::token) gives each value exactly one spelling.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::{SchemeError, SubjectError, excerpt};
use crate::subject::token_count;
use crate::template::{Template, Token};
use crate::token::{decode_token, encode_token_into};
use crate::{SchemeValues, Subject, SubjectPattern};

/// A hierarchy of subjects, described by a template such as
/// `cim.snapshots.{aggregate}.{id}.{version}`.
///
/// Each token of a template is fixed or a field, `{name}`; a name is `a`-`z`, `0`-`9` and `_`,
/// beginning with a letter. A template is itself no longer than a subject. Cloning is cheap.
///
/// Values may be any text but the empty one: they are spelled as tokens by
/// [`encode_token`](crate::encode_token). Only the rendered subject has a limit,
/// [`Subject::MAX_LEN`].
///
/// ```
/// use cim_subject::SubjectScheme;
///
/// let compute = SubjectScheme::from_template("infrastructure.compute.{id}.{event}.{version}")?;
/// let started = compute.render(&[("id", "vm.7"), ("event", "started"), ("version", "3")])?;
/// assert_eq!(started, "infrastructure.compute.vm=2E7.started.3");
///
/// let values = compute.parse(&started)?;
/// assert_eq!(values.get("id"), Some("vm.7"));
///
/// let all_of_vm = compute.pattern(&[("id", "vm.7")])?;
/// assert_eq!(all_of_vm, "infrastructure.compute.vm=2E7.*.*");
/// assert!(all_of_vm.matches(&started));
/// # Ok::<(), cim_subject::SchemeError>(())
/// ```
#[derive(Clone)]
pub struct SubjectScheme(Arc<Template>);

impl SubjectScheme {
    /// Reads a template.
    ///
    /// ```
    /// use cim_subject::{SchemeError, SubjectScheme};
    ///
    /// assert!(SubjectScheme::from_template("sensors.{site}.{sensor}").is_ok());
    /// let error = SubjectScheme::from_template("sensors.{site}.no-{sensor}").unwrap_err();
    /// assert!(matches!(error, SchemeError::FieldSyntax { position: 15, .. }));
    /// ```
    ///
    /// # Errors
    /// [`Template`](SchemeError::Template) if the template breaks the grammar of subjects,
    /// [`FieldSyntax`](SchemeError::FieldSyntax) if braces are not a field, and
    /// [`DuplicateField`](SchemeError::DuplicateField) if a name comes twice.
    pub fn from_template(template: &str) -> Result<Self, SchemeError> {
        Template::read(template).map(Self::from)
    }

    /// The template.
    ///
    /// ```
    /// # use cim_subject::SubjectScheme;
    /// assert_eq!(
    ///     SubjectScheme::snapshots().template(),
    ///     "cim.snapshots.{aggregate}.{id}.{version}",
    /// );
    /// ```
    pub fn template(&self) -> &str {
        &self.0.text
    }

    /// The names of the fields, in the order of the template.
    ///
    /// ```
    /// # use cim_subject::SubjectScheme;
    /// let scheme = SubjectScheme::read_models();
    /// assert_eq!(scheme.fields().collect::<Vec<_>>(), ["type", "id", "operation"]);
    /// ```
    pub fn fields(&self) -> impl ExactSizeIterator<Item = &str> + DoubleEndedIterator {
        self.0.fields.iter().map(AsRef::as_ref)
    }

    /// Renders the subject with these values, one for each field, in any order (the template's is
    /// the fastest).
    ///
    /// ```
    /// use cim_subject::{SchemeError, SubjectScheme};
    ///
    /// let scheme = SubjectScheme::snapshots();
    /// let subject = scheme.render(&[("version", "7"), ("aggregate", "order"), ("id", "ü")])?;
    /// assert_eq!(subject, "cim.snapshots.order.=C3=BC.7");
    ///
    /// let error = scheme.render(&[("aggregate", "order"), ("id", "42")]).unwrap_err();
    /// assert!(matches!(error, SchemeError::MissingField { field, .. } if field == "version"));
    /// # Ok::<(), SchemeError>(())
    /// ```
    ///
    /// # Errors
    /// [`UnknownField`](SchemeError::UnknownField), [`MissingField`](SchemeError::MissingField) or
    /// [`RepeatedField`](SchemeError::RepeatedField) if the values are not one for each field;
    /// [`Value`](SchemeError::Value) if one is empty; [`Rendered`](SchemeError::Rendered) if the
    /// subject would be longer than [`Subject::MAX_LEN`].
    pub fn render(&self, values: &[(&str, &str)]) -> Result<Subject, SchemeError> {
        let mut text = String::new();
        self.render_into(values, &mut text)?;
        Ok(Subject::from_checked(text.into()))
    }

    /// Renders like [`render`](Self::render), into a buffer that the caller keeps; what the buffer
    /// held before is replaced. Allocates nothing once the buffer is large enough.
    ///
    /// ```
    /// # use cim_subject::SubjectScheme;
    /// let scheme = SubjectScheme::snapshots();
    /// let mut buffer = String::new();
    /// for version in ["1", "2"] {
    ///     scheme.render_into(
    ///         &[("aggregate", "order"), ("id", "42"), ("version", version)],
    ///         &mut buffer,
    ///     )?;
    ///     assert_eq!(buffer, format!("cim.snapshots.order.42.{version}"));
    /// }
    /// # Ok::<(), cim_subject::SchemeError>(())
    /// ```
    ///
    /// # Errors
    /// As [`render`](Self::render); the buffer is then empty.
    pub fn render_into(
        &self,
        values: &[(&str, &str)],
        buffer: &mut String,
    ) -> Result<(), SchemeError> {
        self.write(values, buffer, Absent::Refuse)
            .inspect_err(|_| buffer.clear())
    }

    /// The pattern of all subjects of this scheme that have these values. Fields without a value
    /// become `*`, also at the end, so that the pattern never matches a longer subject.
    ///
    /// Values are values: `*` in one is escaped and matches only itself.
    ///
    /// ```
    /// # use cim_subject::SubjectScheme;
    /// let orders = SubjectScheme::events().pattern(&[("aggregate", "order")])?;
    /// assert_eq!(orders, "cim.events.*.order.*.*.*");
    /// # Ok::<(), cim_subject::SchemeError>(())
    /// ```
    ///
    /// # Errors
    /// As [`render`](Self::render), but for [`MissingField`](SchemeError::MissingField).
    pub fn pattern(&self, values: &[(&str, &str)]) -> Result<SubjectPattern, SchemeError> {
        let mut text = String::new();
        self.write(values, &mut text, Absent::Wildcard)?;
        Ok(SubjectPattern::from_checked(text.into()))
    }

    /// The pattern of all subjects of this scheme: each field a `*`.
    ///
    /// ```
    /// # use cim_subject::SubjectScheme;
    /// assert_eq!(SubjectScheme::events().pattern_all(), "cim.events.*.*.*.*.*");
    /// ```
    pub fn pattern_all(&self) -> SubjectPattern {
        self.0.all.clone()
    }

    /// The values of a subject of this scheme.
    ///
    /// Accepts only what [`render`](Self::render) yields. To sort subjects by scheme first, match
    /// them with [`pattern_all`](Self::pattern_all).
    ///
    /// ```
    /// use cim_subject::{SchemeError, Subject, SubjectScheme};
    ///
    /// let scheme = SubjectScheme::snapshots();
    /// let values = scheme.parse(&Subject::new("cim.snapshots.order.=C3=BC.7").unwrap())?;
    /// assert_eq!(values.get("id"), Some("ü"));
    ///
    /// let error = scheme.parse(&Subject::new("cim.snapshots.order.42").unwrap()).unwrap_err();
    /// assert!(matches!(error, SchemeError::TokenCount { expected: 5, actual: 4, .. }));
    /// # Ok::<(), SchemeError>(())
    /// ```
    ///
    /// # Errors
    /// [`TokenCount`](SchemeError::TokenCount) or [`TokenMismatch`](SchemeError::TokenMismatch) if
    /// the subject is of another scheme, [`Token`](SchemeError::Token) if a value is not
    /// canonically spelled.
    pub fn parse(&self, subject: &Subject) -> Result<SchemeValues, SchemeError> {
        let Template {
            text: template,
            tokens,
            fields,
            ..
        } = &*self.0;
        let actual = token_count(subject.as_str());
        if actual != tokens.len() {
            return Err(SchemeError::TokenCount {
                template: template.clone(),
                subject: subject.to_string(),
                expected: tokens.len(),
                actual,
            });
        }
        let mut values = Vec::with_capacity(fields.len());
        let mut position = 0;
        for (expected, token) in tokens.iter().zip(subject.tokens()) {
            match expected {
                Token::Fixed(fixed) if **fixed == *token => {}
                Token::Fixed(fixed) => {
                    return Err(SchemeError::TokenMismatch {
                        template: template.clone(),
                        subject: subject.to_string(),
                        position,
                        expected: fixed.to_string(),
                        actual: token.to_owned(),
                    });
                }
                Token::Field(index) => {
                    let value = decode_token(token).map_err(|source| SchemeError::Token {
                        template: template.clone(),
                        subject: subject.to_string(),
                        field: fields[*index].to_string(),
                        position,
                        source,
                    })?;
                    values.push(match value {
                        Cow::Borrowed(value) => subject.text().slice_ref(value),
                        Cow::Owned(value) => value.into(),
                    });
                }
            }
            position += token.len() + 1;
        }
        Ok(SchemeValues::new(self.clone(), values))
    }

    /// Replaces what `out` holds by the subject or pattern with these values.
    fn write(
        &self,
        values: &[(&str, &str)],
        out: &mut String,
        absent: Absent,
    ) -> Result<(), SchemeError> {
        let Template {
            text: template,
            tokens,
            fields,
            ..
        } = &*self.0;
        self.check_names(values)?;
        out.clear();
        for (place, token) in tokens.iter().enumerate() {
            if place > 0 {
                out.push('.');
            }
            match token {
                Token::Fixed(fixed) => out.push_str(fixed),
                Token::Field(index) => {
                    let field = &*fields[*index];
                    match value_of(values, *index, field) {
                        Some(value) => encode_token_into(value, out).map_err(|source| {
                            let (template, field) = (template.clone(), field.to_owned());
                            SchemeError::Value {
                                template,
                                field,
                                source,
                            }
                        })?,
                        None if absent == Absent::Wildcard => out.push('*'),
                        None => {
                            let (template, field) = (template.clone(), field.to_owned());
                            return Err(SchemeError::MissingField { template, field });
                        }
                    }
                }
            }
        }
        if out.len() > Subject::MAX_LEN {
            let source = SubjectError::TooLong {
                text: excerpt(out),
                length: out.len(),
            };
            return Err(SchemeError::Rendered {
                template: template.clone(),
                source,
            });
        }
        Ok(())
    }

    /// Checks that values are given for fields of the template only, and for none twice.
    fn check_names(&self, values: &[(&str, &str)]) -> Result<(), SchemeError> {
        if self.fields().eq(values.iter().map(|(name, _)| *name)) {
            return Ok(());
        }
        // Ends at most one value after every field had its own, however many values there are.
        for (index, (name, _)) in values.iter().enumerate() {
            let error = if !self.fields().any(|field| field == *name) {
                SchemeError::UnknownField {
                    template: self.0.text.clone(),
                    field: excerpt(name),
                }
            } else if values[..index].iter().any(|(earlier, _)| earlier == name) {
                SchemeError::RepeatedField {
                    template: self.0.text.clone(),
                    field: (*name).to_owned(),
                }
            } else {
                continue;
            };
            return Err(error);
        }
        Ok(())
    }
}

/// What [`SubjectScheme::write`] does with a field that has no value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Absent {
    Refuse,
    Wildcard,
}

/// The value for a field, looked for at the field's own place first.
fn value_of<'a>(values: &[(&str, &'a str)], index: usize, field: &str) -> Option<&'a str> {
    let here = values.get(index).filter(|(name, _)| *name == field);
    here.or_else(|| values.iter().find(|(name, _)| *name == field))
        .map(|(_, value)| *value)
}

impl From<Template> for SubjectScheme {
    fn from(template: Template) -> Self {
        Self(Arc::new(template))
    }
}

/// Shows the template.
impl fmt::Display for SubjectScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.template(), f)
    }
}

impl fmt::Debug for SubjectScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.template(), f)
    }
}

impl FromStr for SubjectScheme {
    type Err = SchemeError;

    fn from_str(template: &str) -> Result<Self, SchemeError> {
        Self::from_template(template)
    }
}

/// Schemes are equal when their templates are.
impl PartialEq for SubjectScheme {
    fn eq(&self, other: &Self) -> bool {
        self.template() == other.template()
    }
}

impl Eq for SubjectScheme {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_found_out_of_place_is_still_the_fields_own() {
        let values = [("b", "2"), ("a", "1")];
        assert_eq!(value_of(&values, 0, "a"), Some("1"));
        assert_eq!(value_of(&values, 1, "b"), Some("2"));
        assert_eq!(value_of(&values, 2, "c"), None);
    }
}
