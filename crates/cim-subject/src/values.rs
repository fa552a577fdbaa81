//! What a subject of a scheme says: a value for each field.

use std::fmt;

use bytestring::ByteString;

use crate::SubjectScheme;

/// The values of one subject, decoded, by the names of the scheme's fields.
///
/// Values that needed no escapes share the subject's allocation.
///
/// ```
/// use cim_subject::{Subject, SubjectScheme};
///
/// let subject = Subject::new("cim.readmodels.invoice.2026=2F7.update")?;
/// let values = SubjectScheme::read_models().parse(&subject)?;
/// assert_eq!(values.get("id"), Some("2026/7"));
/// assert_eq!(values.get("colour"), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct SchemeValues {
    scheme: SubjectScheme,
    /// In the order of the template's fields.
    values: Vec<ByteString>,
}

impl SchemeValues {
    /// Takes one value for each field, in the order of the template.
    pub(crate) fn new(scheme: SubjectScheme, values: Vec<ByteString>) -> Self {
        Self { scheme, values }
    }

    /// The value of a field, or `None` if the scheme has no such field.
    ///
    /// ```
    /// # use cim_subject::{Subject, SubjectScheme};
    /// let subject = Subject::new("cim.snapshots.order.42.7")?;
    /// let values = SubjectScheme::snapshots().parse(&subject)?;
    /// assert_eq!(values.get("version"), Some("7"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get(&self, field: &str) -> Option<&str> {
        self.iter()
            .find(|(name, _)| *name == field)
            .map(|(_, value)| value)
    }

    /// All fields with their values, in the order of the template.
    ///
    /// ```
    /// # use cim_subject::{Subject, SubjectScheme};
    /// let scheme = SubjectScheme::snapshots();
    /// let subject = Subject::new("cim.snapshots.order.42.7")?;
    /// let values = scheme.parse(&subject)?;
    /// let pairs: Vec<_> = values.iter().collect();
    /// assert_eq!(pairs, [("aggregate", "order"), ("id", "42"), ("version", "7")]);
    /// assert_eq!(scheme.render(&pairs)?, subject);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + DoubleEndedIterator {
        self.scheme
            .fields()
            .zip(self.values.iter().map(|value| &**value))
    }
}

impl fmt::Debug for SchemeValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
