//! Why a type refuses a value.

use std::fmt;

use serde::de;

/// Why a type refuses a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    message: String,
    /// The field that was given twice, under the name that it has for serde.
    pub(super) duplicate: Option<&'static str>,
    /// Whether a field is missing.
    pub(super) is_missing: bool,
}

impl Refusal {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            duplicate: None,
            is_missing: false,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

impl de::Error for Refusal {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Self {
            is_missing: true,
            ..Self::new(format!("missing field `{field}`"))
        }
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self {
            duplicate: Some(field),
            ..Self::new(format!("duplicate field `{field}`"))
        }
    }
}
