//! Host names that are host names.
//!
//! The rules are those of RFC 1123, section 2.1, which widens RFC 952: letters, digits and hyphens,
//! a label begins and ends with a letter or digit. Lengths are from RFC 1035, section 2.3.4: a label
//! has at most 63 bytes; 255 on the wire are 253 characters of text. The last label is not all
//! digits, so that no name is taken for an address (RFC 1123, section 2.1, and RFC 3696, section 2).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A host name, in lower case: names that differ in case alone are the same (RFC 4343).
///
/// ```
/// use cim_demo_inventory::host_name::{HostName, HostNameError};
///
/// let name: HostName = "Web-1.Example.org".parse()?;
/// assert_eq!(name.as_str(), "web-1.example.org");
///
/// let refused = "web_1.example.org".parse::<HostName>().unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "`web_1.example.org` is no host name: `_` at byte 3 is not a letter, digit or hyphen"
/// );
/// # Ok::<(), HostNameError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

/// A text that is no host name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no host name: {fault}")]
pub struct HostNameError {
    /// What was given, shortened to 300 characters.
    pub text: String,
    /// What is wrong with it.
    pub fault: HostNameFault,
}

/// What is wrong with a host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostNameFault {
    /// It has no characters.
    #[error("it is empty")]
    Empty,
    /// It is too long.
    #[error("it has {bytes} bytes, {max} are possible", max = HostName::MAX_BYTES)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Nothing stands between two dots, or before the first, or after the last.
    #[error("the label at byte {at} is empty")]
    EmptyLabel {
        /// Where the label should be.
        at: usize,
    },
    /// A label is too long.
    #[error("the label at byte {at} has {bytes} bytes, {max} are possible", max = HostName::MAX_LABEL_BYTES)]
    LabelTooLong {
        /// Where the label begins.
        at: usize,
        /// Its length.
        bytes: usize,
    },
    /// A character that no host name has.
    #[error("`{found}` at byte {at} is not a letter, digit or hyphen")]
    Character {
        /// The character.
        found: char,
        /// Where it stands.
        at: usize,
    },
    /// A label begins or ends with a hyphen.
    #[error("the label at byte {at} begins or ends with a hyphen")]
    Hyphen {
        /// Where the label begins.
        at: usize,
    },
    /// It could be taken for an address.
    #[error("its last label is all digits, as in an address")]
    LooksLikeAddress,
}

impl HostName {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = 253;
    /// The longest label, in bytes.
    pub const MAX_LABEL_BYTES: usize = 63;

    /// Takes a name and makes its letters small.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn new(name: &str) -> Result<Self, HostNameError> {
        match check(name) {
            Ok(()) => Ok(Self(name.to_ascii_lowercase())),
            Err(fault) => Err(HostNameError {
                text: name.chars().take(300).collect(),
                fault,
            }),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(name: &str) -> Result<(), HostNameFault> {
    if name.is_empty() {
        return Err(HostNameFault::Empty);
    }
    if name.len() > HostName::MAX_BYTES {
        return Err(HostNameFault::TooLong { bytes: name.len() });
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    if let Some((at, found)) = name.char_indices().find(|(_, c)| !is_part(*c)) {
        return Err(HostNameFault::Character { found, at });
    }
    let mut at = 0;
    let mut last = "";
    for label in name.split('.') {
        let bytes = label.len();
        if bytes == 0 {
            return Err(HostNameFault::EmptyLabel { at });
        }
        if bytes > HostName::MAX_LABEL_BYTES {
            return Err(HostNameFault::LabelTooLong { at, bytes });
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(HostNameFault::Hyphen { at });
        }
        at += bytes + 1;
        last = label;
    }
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HostNameFault::LooksLikeAddress);
    }
    Ok(())
}

impl FromStr for HostName {
    type Err = HostNameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

impl TryFrom<String> for HostName {
    type Error = HostNameError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(&name)
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> Self {
        name.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostName({})", self.0)
    }
}
