//! Short texts that people give to resources: asset tags, and metadata as names with values.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that can't be what it is meant to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` can't be {what}")]
pub struct LabelError {
    /// What was given, shortened to 100 characters.
    pub text: String,
    /// What it was meant to be, and what that looks like.
    pub what: &'static str,
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident, $what:literal, |$text:ident| $rule:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Takes a text.
            ///
            /// # Errors
            /// What it should look like.
            pub fn new(text: impl Into<String>) -> Result<Self, LabelError> {
                let text = text.into();
                let $text = text.as_str();
                if !$rule {
                    return Err(LabelError {
                        text: text.chars().take(100).collect(),
                        what: $what,
                    });
                }
                Ok(Self(text))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = LabelError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = LabelError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(label: $name) -> Self {
                label.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

label! {
    /// What is printed on the sticker of a resource.
    AssetTag,
    "an asset tag: 1 to 32 letters, digits and hyphens",
    |text| (1..=32).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
label! {
    /// The name of something that is said about a resource: `rack`, `cost_center`.
    LabelName,
    "a label's name: 1 to 64 small letters, digits, dots, hyphens and underscores, a letter first",
    |text| (1..=64).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte)
        })
}
label! {
    /// What is said about a resource under a name.
    LabelValue,
    "a label's value: 1 to 1024 bytes without control characters",
    |text| (1..=1024).contains(&text.len()) && !text.chars().any(char::is_control)
}
