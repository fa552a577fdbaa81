//! How content is stored.

use std::time::Duration;

use cim_ipld::HashFunction;
use cim_store::{ContentType, Limits};

use super::error::ContentError;
use super::names;

/// How a [`ContentStore`](super::ContentStore) stores what it is given.
///
/// `hash`, `chunk_bytes` and `fan_out` decide which CID large content gets, and thereby what is
/// recognized as the same: programs that share a store use the same ones. What was stored with
/// others can always be read. `grace` belongs to the store and is fixed when it is made.
///
/// ```
/// use cim_domain::persistence::content::ContentSettings;
/// use cim_ipld::HashFunction;
///
/// let settings = ContentSettings { hash: HashFunction::Blake3, ..ContentSettings::default() };
/// assert_eq!(settings.chunk_bytes, 256 << 10);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentSettings {
    /// What CIDs are made with: sha2-256 by default. BLAKE3 is quicker on large content where the
    /// processor has no instructions for SHA-2, and known to fewer tools.
    pub hash: HashFunction,
    /// How many bytes a leaf of large content has, except its last: 1 to 1 MiB, which is the largest
    /// value of a bucket; 256 KiB by default. Content of at most this many bytes is one block.
    pub chunk_bytes: usize,
    /// How many parts a node of large content has at most: 2 to 8192; 1024 by default, which are
    /// nodes of 48 KiB over 256 MiB each.
    pub fan_out: usize,
    /// How long garbage stays after it was marked: 1 second to 100 years; 24 hours by default. It
    /// has to be more than twice the time from putting content to naming it (pin, description,
    /// link or chain) plus the difference between the clocks of the programs that use the store.
    pub grace: Duration,
}

impl Default for ContentSettings {
    fn default() -> Self {
        Self {
            hash: HashFunction::Sha2_256,
            chunk_bytes: 256 << 10,
            fan_out: 1024,
            grace: Duration::from_secs(24 * 3600),
        }
    }
}

impl ContentSettings {
    pub(super) fn check(&self) -> Result<(), ContentError> {
        let invalid = |setting, asked: String, why: &str| {
            Err(ContentError::InvalidSettings {
                setting,
                asked,
                why: why.to_owned(),
            })
        };
        if !(1..=Limits::CONTRACT.payload_bytes).contains(&self.chunk_bytes) {
            let asked = self.chunk_bytes.to_string();
            return invalid("chunk_bytes", asked, "it is 1 to 1048576");
        }
        if !(2..=8192).contains(&self.fan_out) {
            return invalid("fan_out", self.fan_out.to_string(), "it is 2 to 8192");
        }
        let longest = Duration::from_secs(100 * 366 * 24 * 3600);
        if self.grace < Duration::from_secs(1) || self.grace > longest {
            let asked = format!("{:?}", self.grace);
            return invalid("grace", asked, "it is a second to 100 years");
        }
        Ok(())
    }
}

/// What becomes of content when it is put: without any of this it is garbage until something else
/// names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// Pin it under this name, in the place of what had the name before.
    pub pin: Option<String>,
    /// Describe it, which keeps it too.
    pub describe: Option<Description>,
}

impl PutOptions {
    /// Pinned under a name.
    pub fn pinned(name: impl Into<String>) -> Self {
        Self {
            pin: Some(name.into()),
            describe: None,
        }
    }

    /// With a description.
    #[must_use]
    pub fn described(mut self, description: Description) -> Self {
        self.describe = Some(description);
        self
    }

    /// What would be refused after the content was stored is refused before.
    pub(super) fn check(&self) -> Result<(), ContentError> {
        if let Some(pin) = &self.pin {
            names::pin(pin)?;
        }
        if let Some(description) = &self.describe {
            description.check()?;
        }
        Ok(())
    }
}

/// What is said about content beside it. None of it is part of the CID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// What its bytes are: a media type such as `image/png`.
    pub media_type: Option<ContentType>,
    /// What people call it, such as the name of a file: 1 to 255 bytes without control characters.
    pub name: Option<String>,
}

impl Description {
    /// The longest name, in bytes.
    pub const NAME_BYTES: usize = 255;

    pub(super) fn check(&self) -> Result<(), ContentError> {
        match &self.name {
            Some(name) => names::text("description", name),
            None => Ok(()),
        }
    }
}
