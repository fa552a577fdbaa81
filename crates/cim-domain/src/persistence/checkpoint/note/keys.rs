//! Keys for notes, in the encodings that C2SP and Go's `note` package give them.
//!
//! What verifies is public: `name+id+base64(0x01, public key)`. What signs is secret:
//! `PRIVATE+KEY+name+id+base64(0x01, seed)`; it is overwritten when it is dropped and never shown.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64;
use ed25519_dalek::{Signature, Signer};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::NoteSignature;

/// The signature type of Ed25519 in names of keys.
const ED25519: u8 = 0x01;
/// What the text of a key that signs begins with.
pub(super) const PRIVATE_MARK: &str = "PRIVATE+KEY+";
/// The longest name, in bytes: a line of a note should stay one.
const MAX_NAME_BYTES: usize = 255;
/// The longest text of a key that is looked at, in bytes.
const MAX_TEXT_BYTES: usize = 512;

/// A text that is no key, or a key that can't be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The name can't be that of a key.
    #[error(
        "`{name}` can't name a key: a name has 1 to {max} bytes, no spaces, no `+` and no control characters, such as example.com/log",
        max = MAX_NAME_BYTES
    )]
    Name {
        /// What was given, shortened to 100 characters.
        name: String,
    },
    /// The text is not that of a key for verifying.
    #[error("it is not the text of a verifier key: NAME+ID+BASE64")]
    NotAVerifier,
    /// It is a key for signing, where one for verifying is wanted.
    #[error("it is a signing key, which is secret, and not a verifier key: NAME+ID+BASE64")]
    Signs,
    /// The text is not that of a key for signing.
    #[error("it is not the text of a signing key: PRIVATE+KEY+NAME+ID+BASE64")]
    NotASigner,
    /// The algorithm is not Ed25519.
    #[error("key {name} is of type 0x{kind:02x}; only Ed25519, 0x01, is known")]
    Kind {
        /// The key's name.
        name: String,
        /// Its signature type.
        kind: u8,
    },
    /// The id in the text is not the one of the key, so that one of the two was altered.
    #[error("key {name} has the id {found} in its text, but it is {computed}")]
    Id {
        /// The key's name.
        name: String,
        /// The id in the text.
        found: KeyId,
        /// The id of name and key.
        computed: KeyId,
    },
    /// The public key is none, or one for which anybody can make signatures.
    #[error("key {name} is no usable Ed25519 key")]
    Weak {
        /// The key's name.
        name: String,
    },
    /// The machine has no random numbers.
    #[error("the machine gave no random numbers to make a key of: {reason}")]
    Random {
        /// What it says.
        reason: String,
    },
}

/// What tells keys of the same name apart: the first four bytes of SHA-256 over the key's name, a
/// newline, the signature type and the public key. An aid for finding, no proof.
///
/// ```
/// use cim_domain::persistence::checkpoint::note::{KeyId, VerifierKey};
///
/// let key: VerifierKey =
///     "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse()?;
/// assert_eq!(key.id().to_bytes(), [0xc7, 0x4f, 0x20, 0xa3]);
/// assert_eq!(KeyId::from_bytes([0xc7, 0x4f, 0x20, 0xa3]).to_string(), "c74f20a3");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId([u8; 4]);

impl KeyId {
    fn of(name: &str, public: &[u8; 32]) -> Self {
        let mut hash = Sha256::new();
        hash.update(name);
        hash.update([b'\n', ED25519]);
        hash.update(public);
        let [a, b, c, d, ..]: [u8; 32] = hash.finalize().into();
        Self([a, b, c, d])
    }

    /// The id with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 4] {
        self.0
    }

    /// The id that a text of eight lower-case hexadecimal digits spells.
    fn parse(text: &str) -> Option<Self> {
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A key that verifies signatures. Everybody may have it.
///
/// ```
/// use cim_domain::persistence::checkpoint::note::VerifierKey;
///
/// let text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
/// let key: VerifierKey = text.parse()?;
/// assert_eq!((key.name(), key.to_string()), ("PeterNeumann", text.to_owned()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: KeyId,
    key: ed25519_dalek::VerifyingKey,
}

impl VerifierKey {
    fn new(name: &str, public: &[u8; 32]) -> Result<Self, KeyError> {
        check_name(name)?;
        let name = name.to_owned();
        match ed25519_dalek::VerifyingKey::from_bytes(public) {
            Ok(key) if !key.is_weak() => Ok(Self {
                id: KeyId::of(&name, public),
                name,
                key,
            }),
            _ => Err(KeyError::Weak { name }),
        }
    }

    /// Its name, which for a log is the log's origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Whether the key made this signature of the text.
    pub(super) fn verifies(&self, text: &str, signature: &[u8]) -> bool {
        let Ok(signature) = Signature::from_slice(signature) else {
            return false;
        };
        // Strict: one signature has one encoding, and no key verifies what it did not sign.
        self.key.verify_strict(text.as_bytes(), &signature).is_ok()
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        if text.starts_with(PRIVATE_MARK) {
            return Err(KeyError::Signs);
        }
        let parts = KeyText::parse(text).ok_or(KeyError::NotAVerifier)?;
        let key = Self::new(parts.name, parts.ed25519()?)?;
        parts.check_id(key.id)?;
        Ok(key)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&[ED25519], &self.key.as_bytes()[..]].concat();
        write!(f, "{}+{}+{}", self.name, self.id, BASE64.encode(&bytes))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

/// A key that signs. It is overwritten in memory when it is dropped.
///
/// ```
/// use cim_domain::persistence::checkpoint::note::SigningKey;
///
/// let key = SigningKey::generate("example.com/orders")?;
/// let secret = key.to_secret_text(); // for a keeper of secrets; it, too, is overwritten
/// assert!(secret.starts_with("PRIVATE+KEY+example.com/orders+"));
/// assert_eq!(SigningKey::parse(&secret)?.verifier(), key.verifier());
///
/// // From a keeper of secrets that keeps 32 random bytes.
/// # let seed = [7; 32];
/// let key = SigningKey::from_seed("example.com/orders", &seed)?;
/// assert_eq!(key.verifier().name(), "example.com/orders");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SigningKey {
    verifier: VerifierKey,
    key: ed25519_dalek::SigningKey,
}

impl SigningKey {
    /// A new key, of the machine's random numbers.
    ///
    /// The name should be one that nobody else uses, in the form of a URL without a scheme, such as
    /// `example.com/orders`. It is the origin in the log's checkpoints.
    ///
    /// # Errors
    /// Where the name is none, or there are no random numbers.
    pub fn generate(name: &str) -> Result<Self, KeyError> {
        check_name(name)?;
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).map_err(|error| KeyError::Random {
            reason: error.to_string(),
        })?;
        Self::from_seed(name, &seed)
    }

    /// The key that 32 random bytes make (the private key of RFC 8032, section 5.1.5).
    ///
    /// # Errors
    /// Where the name is none.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        let verifier = VerifierKey::new(name, key.verifying_key().as_bytes())?;
        Ok(Self { verifier, key })
    }

    /// Reads a key from its text, `PRIVATE+KEY+name+id+base64`.
    ///
    /// # Errors
    /// Where it is another text; the error does not repeat it.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text
            .strip_prefix(PRIVATE_MARK)
            .ok_or(KeyError::NotASigner)?;
        let parts = KeyText::parse(text).ok_or(KeyError::NotASigner)?;
        let key = Self::from_seed(parts.name, parts.ed25519()?)?;
        parts.check_id(key.verifier.id)?;
        Ok(key)
    }

    /// Its text, which is as secret as the key.
    #[must_use]
    pub fn to_secret_text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([ED25519; 33]);
        bytes[1..].copy_from_slice(self.key.as_bytes());
        // Large enough from the beginning: growing would leave a copy behind.
        let mut text = Zeroizing::new(String::with_capacity(MAX_TEXT_BYTES));
        for part in [PRIVATE_MARK, &self.verifier.name, "+"] {
            text.push_str(part);
        }
        text.push_str(&self.verifier.id.to_string());
        text.push('+');
        BASE64.encode_append(&*bytes, &mut text);
        text
    }

    /// The key that verifies what this one signs.
    #[must_use]
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.verifier.name()
    }

    pub(super) fn signature(&self, text: &str) -> NoteSignature {
        NoteSignature {
            name: self.verifier.name.clone(),
            key_id: self.verifier.id,
            signature: self.key.sign(text.as_bytes()).to_bytes().to_vec(),
        }
    }
}

impl fmt::Debug for SigningKey {
    /// Its name and id; never the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}+{})", self.verifier.name, self.verifier.id)
    }
}

/// The parts of a key's text. What is decoded may be secret.
struct KeyText<'a> {
    name: &'a str,
    id: KeyId,
    kind: u8,
    key: Zeroizing<Vec<u8>>,
}

impl<'a> KeyText<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        if text.len() > MAX_TEXT_BYTES {
            return None;
        }
        // Base64 may have a `+`, the other parts have none.
        let mut parts = text.splitn(3, '+');
        let (name, id, key) = (parts.next()?, parts.next()?, parts.next()?);
        let bytes = Zeroizing::new(BASE64.decode(key.as_bytes()).ok()?);
        let (kind, key) = bytes.split_first()?;
        Some(Self {
            name,
            id: KeyId::parse(id)?,
            kind: *kind,
            key: Zeroizing::new(key.to_vec()),
        })
    }

    /// The 32 bytes of an Ed25519 key.
    fn ed25519(&self) -> Result<&[u8; 32], KeyError> {
        check_name(self.name)?;
        let name = || self.name.to_owned();
        if self.kind != ED25519 {
            let kind = self.kind;
            return Err(KeyError::Kind { name: name(), kind });
        }
        let key = self.key.as_slice().try_into();
        key.map_err(|_| KeyError::Weak { name: name() })
    }

    fn check_id(&self, computed: KeyId) -> Result<(), KeyError> {
        if self.id == computed {
            return Ok(());
        }
        Err(KeyError::Id {
            name: self.name.to_owned(),
            found: self.id,
            computed,
        })
    }
}

/// Whether a text can name a key.
pub(super) fn check_name(name: &str) -> Result<(), KeyError> {
    let refused = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.contains(refused) {
        return Err(KeyError::Name {
            name: name.chars().take(100).collect(),
        });
    }
    Ok(())
}
