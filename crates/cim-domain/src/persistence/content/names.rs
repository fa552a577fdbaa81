//! The keys of blocks and of the records beside them, as docs/format/content.md says.

use cim_ipld::{Cid, HashFunction};
use cim_store::{BucketName, Key, SubjectPattern};
use cim_subject::token::{decode_token, encode_token};

use super::error::{Cause, ContentError};
use super::settings::Description;

/// The kinds of records, which are the first tokens of their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Pin,
    Chain,
    About,
    Mark,
}

impl Kind {
    const fn token(self) -> &'static str {
        match self {
            Self::Pin => "pin",
            Self::Chain => "chain",
            Self::About => "about",
            Self::Mark => "mark",
        }
    }

    /// The pattern of all their keys.
    pub(super) fn pattern(self) -> Result<SubjectPattern, ContentError> {
        let text = format!("{}.*", self.token());
        SubjectPattern::new(text.clone())
            .map_err(|error| ContentError::invalid_name("record", &text, error))
    }

    /// What a key of this kind names.
    pub(super) fn name_of(self, key: &Key) -> Result<String, ContentError> {
        let token = key
            .as_str()
            .strip_prefix(self.token())
            .and_then(|rest| rest.strip_prefix('.'))
            .unwrap_or(key.as_str());
        match decode_token(token) {
            Ok(name) => Ok(name.into_owned()),
            Err(error) => Err(unreadable(key, error)),
        }
    }

    /// The CID that a key of this kind names.
    pub(super) fn cid_of(self, key: &Key) -> Result<Cid, ContentError> {
        let name = self.name_of(key)?;
        name.parse().map_err(|error| unreadable(key, error))
    }

    fn key(self, what: &'static str, name: &str) -> Result<Key, ContentError> {
        let token =
            encode_token(name).map_err(|error| ContentError::invalid_name(what, name, error))?;
        Key::new(format!("{}.{token}", self.token()))
            .map_err(|error| ContentError::invalid_name(what, name, error))
    }
}

/// A record that is there and can't be read.
pub(super) fn unreadable(key: &Key, source: impl Into<Cause>) -> ContentError {
    ContentError::Record {
        key: key.to_string(),
        source: source.into(),
    }
}

/// The buckets of the content store of this name: of its blocks, and of its records.
pub(super) fn buckets(name: &str) -> Result<(BucketName, BucketName), ContentError> {
    let bucket = |text: String| {
        BucketName::new(text).map_err(|error| ContentError::invalid_name("store", name, error))
    };
    Ok((bucket(name.to_owned())?, bucket(format!("{name}-records"))?))
}

/// Whether content can be stored under a CID: version 1 and a digest of 32 bytes by a function that
/// is computed here.
pub(super) fn is_storable(cid: &Cid) -> bool {
    u64::from(cid.version()) == 1
        && HashFunction::from_code(cid.hash().code()).is_some()
        && cid.hash().digest().len() == 32
}

/// The key of a block: the CID in lower-case base32.
pub(super) fn block(cid: &Cid) -> Result<Key, ContentError> {
    let invalid = || ContentError::InvalidCid {
        cid: Box::new(*cid),
    };
    if !is_storable(cid) {
        return Err(invalid());
    }
    Key::new(cid.to_string()).map_err(|_| invalid())
}

/// The key of the record of a pin.
pub(super) fn pin(name: &str) -> Result<Key, ContentError> {
    Kind::Pin.key("pin", name)
}

/// The key of the record of a chain.
pub(super) fn chain(name: &str) -> Result<Key, ContentError> {
    Kind::Chain.key("chain", name)
}

/// The key of what stands beside content.
pub(super) fn about(cid: &Cid) -> Result<Key, ContentError> {
    block(cid)?;
    Kind::About.key("content", &cid.to_string())
}

/// The key of a mark.
pub(super) fn mark(cid: &Cid) -> Result<Key, ContentError> {
    block(cid)?;
    Kind::Mark.key("content", &cid.to_string())
}

/// The key of what is said of the store itself.
pub(super) fn store() -> Result<Key, ContentError> {
    Key::new("store").map_err(|error| ContentError::invalid_name("record", "store", error))
}

/// Checks a name or label that stands in a record.
pub(super) fn text(what: &'static str, name: &str) -> Result<(), ContentError> {
    let max = Description::NAME_BYTES;
    if (1..=max).contains(&name.len()) && !name.chars().any(char::is_control) {
        return Ok(());
    }
    let why = format!("it has 1 to {max} bytes and no control characters");
    Err(ContentError::invalid_name(what, name, why))
}
