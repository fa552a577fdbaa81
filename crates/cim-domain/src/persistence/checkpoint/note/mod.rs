//! Signed notes: a text and the signatures of those who stand for it (c2sp.org/signed-note).
//!
//! Checkpoints are notes, so that software that knows nothing of this library can verify them.
//! Signatures are Ed25519 (RFC 8032, signature type 0x01); those of other kinds and of unknown keys
//! are kept and passed over.

mod key_file;
mod keys;

use std::fmt;

use data_encoding::BASE64;

pub use key_file::{KeyFileError, read_signing_key, read_verifier_key, write_signing_key};
pub use keys::{KeyError, KeyId, SigningKey, VerifierKey};

/// What a line of signature begins with: an em dash and a space.
const SIGNATURE_MARK: &str = "\u{2014} ";

/// A text with signatures that nobody has verified yet.
///
/// ```
/// use cim_domain::persistence::checkpoint::note::{SignedNote, SigningKey, VerifierKey};
///
/// let key = SigningKey::generate("example.com/log")?;
/// let note = SignedNote::sign("Nothing was rewritten.\n", &[&key])?.to_string();
///
/// // Somebody else, who has the text and the key for verifying.
/// let known: VerifierKey = key.verifier().to_string().parse()?;
/// let note = SignedNote::parse(note.as_bytes())?;
/// let said = &note.signatures()[0]; // who says to have signed it
/// assert_eq!((said.name.as_str(), said.key_id), (known.name(), known.id()));
/// assert_eq!(note.verify(&[known])?[0].name(), "example.com/log"); // who has
/// assert_eq!(note.text(), "Nothing was rewritten.\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// One signature of a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// The name of the key that it says it was made with.
    pub name: String,
    /// The id of that key.
    pub key_id: KeyId,
    /// What the key's algorithm made of the text; 64 bytes for Ed25519.
    pub signature: Vec<u8>,
}

/// Bytes that are no signed note, or one that is not signed as it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// It is larger than is read.
    #[error("the note has {bytes} bytes; at most {max} are read", max = SignedNote::MAX_BYTES)]
    TooLarge {
        /// How large it is.
        bytes: usize,
    },
    /// It is not UTF-8.
    #[error("byte {offset} of the note is not UTF-8")]
    Encoding {
        /// The first byte that is not.
        offset: usize,
    },
    /// A line ends with a carriage return, as mail programs and some editors make it.
    #[error("line {line} ends with a carriage return (CRLF), which was not signed")]
    CarriageReturn {
        /// The line, from 1.
        line: usize,
    },
    /// After what is a note there are empty lines, as mail programs add them.
    #[error("the last signature is followed by an empty line, which does not belong to the note")]
    EmptyEnd,
    /// It has a control character other than a newline.
    #[error("line {line} of the note has a control character")]
    Control {
        /// The line, from 1.
        line: usize,
    },
    /// The text does not end with a newline.
    #[error("the note's text does not end with a newline")]
    Unfinished,
    /// No blank line with signatures after it.
    #[error("the note has no signatures: a blank line, and then lines that begin with an em dash")]
    NoSignatures,
    /// It has more signatures than are read.
    #[error("the note has more than {max} signatures", max = SignedNote::MAX_SIGNATURES)]
    TooManySignatures,
    /// A line of signature does not have the form of one.
    #[error("line {line} of the note is no signature: `\u{2014} NAME BASE64`")]
    Signature {
        /// The line, from 1.
        line: usize,
    },
    /// A key that is known did not make the signature that is said to be its.
    #[error("the signature by {name} is wrong: the note was altered, or another key made it")]
    Wrong {
        /// The key's name.
        name: String,
    },
    /// None of the keys that are known has signed it.
    #[error("the note is not signed by {wanted}; it is signed by {found}")]
    Unknown {
        /// The known keys, as `name+id`.
        wanted: String,
        /// Those that it says it was signed with, as `name+id`.
        found: String,
    },
}

impl SignedNote {
    /// The largest note that is read, in bytes. Sixteen signatures of the largest known kind are a
    /// third of it.
    pub const MAX_BYTES: usize = 256 << 10;
    /// The most signatures that a note has. The specification asks for at least 16.
    pub const MAX_SIGNATURES: usize = 64;

    /// Signs a text.
    ///
    /// # Errors
    /// Where the text does not end with a newline, has a control character, or is too large.
    pub fn sign(text: impl Into<String>, signers: &[&SigningKey]) -> Result<Self, NoteError> {
        let text = text.into();
        if !text.ends_with('\n') {
            return Err(NoteError::Unfinished);
        }
        check_characters(&text)?;
        if signers.is_empty() {
            return Err(NoteError::NoSignatures);
        }
        let signatures = signers.iter().map(|key| key.signature(&text)).collect();
        let note = Self { text, signatures };
        // What is written here can be read, too.
        Self::parse(note.to_string().as_bytes())
    }

    /// Reads a note. Its signatures are [verified](Self::verify) separately.
    ///
    /// # Errors
    /// Where it does not have the form of a signed note.
    pub fn parse(note: &[u8]) -> Result<Self, NoteError> {
        if note.len() > Self::MAX_BYTES {
            return Err(NoteError::TooLarge { bytes: note.len() });
        }
        let note = std::str::from_utf8(note).map_err(|error| NoteError::Encoding {
            offset: error.valid_up_to(),
        })?;
        check_characters(note)?;
        // The last empty line separates; the text keeps its own last newline.
        let separator = note.rfind("\n\n").ok_or(NoteError::NoSignatures)?;
        let (text, lines) = (&note[..=separator], &note[separator + 2..]);
        if lines.is_empty() && is_note_without_its_end(note) {
            return Err(NoteError::EmptyEnd);
        }
        let lines = lines.strip_suffix('\n').ok_or(NoteError::NoSignatures)?;
        let first = text.matches('\n').count() + 2;
        let mut signatures = Vec::new();
        for (line, written) in (first..).zip(lines.split('\n')) {
            if signatures.len() == Self::MAX_SIGNATURES {
                return Err(NoteError::TooManySignatures);
            }
            let signature = NoteSignature::parse(written).ok_or(NoteError::Signature { line })?;
            signatures.push(signature);
        }
        let text = text.to_owned();
        Ok(Self { text, signatures })
    }

    /// What was signed, with its last newline. It says nothing before it is
    /// [verified](Self::verify).
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, in their order.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Verifies the signatures that were made with keys that are known, and gives those keys. The
    /// signatures of others are passed over.
    ///
    /// # Errors
    /// [`NoteError::Wrong`] where a known key did not make the signature that is said to be its;
    /// [`NoteError::Unknown`] where no known key has signed.
    pub fn verify<'k>(&self, keys: &'k [VerifierKey]) -> Result<Vec<&'k VerifierKey>, NoteError> {
        let mut verified: Vec<&VerifierKey> = Vec::new();
        for signature in &self.signatures {
            let is_named =
                |key: &&VerifierKey| key.name() == signature.name && key.id() == signature.key_id;
            for key in keys.iter().filter(is_named) {
                if !key.verifies(&self.text, &signature.signature) {
                    let name = signature.name.clone();
                    return Err(NoteError::Wrong { name });
                }
                if !verified.contains(&key) {
                    verified.push(key);
                }
            }
        }
        if verified.is_empty() {
            let signed = self.signatures.iter().map(|s| (s.name.as_str(), s.key_id));
            return Err(NoteError::Unknown {
                wanted: names(keys.iter().map(|key| (key.name(), key.id()))),
                found: names(signed),
            });
        }
        Ok(verified)
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for signature in &self.signatures {
            writeln!(f, "{signature}")?;
        }
        Ok(())
    }
}

impl NoteSignature {
    fn parse(line: &str) -> Option<Self> {
        let (name, signature) = line.strip_prefix(SIGNATURE_MARK)?.split_once(' ')?;
        let bytes = BASE64.decode(signature.as_bytes()).ok()?;
        let (id, signature) = bytes.split_first_chunk()?;
        if signature.is_empty() || keys::check_name(name).is_err() {
            return None;
        }
        Some(Self {
            name: name.to_owned(),
            key_id: KeyId::from_bytes(*id),
            signature: signature.to_owned(),
        })
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.key_id.to_bytes(), &self.signature[..]].concat();
        write!(f, "{SIGNATURE_MARK}{} {}", self.name, BASE64.encode(&bytes))
    }
}

fn check_characters(note: &str) -> Result<(), NoteError> {
    let is_refused = |c: char| c < ' ' && c != '\n';
    for (written, line) in note.split('\n').zip(1..) {
        if !written.contains(is_refused) {
            continue;
        }
        // Where it is nothing but another system's end of a line, that is what to say.
        return Err(match written.strip_suffix('\r') {
            Some(rest) if !rest.contains(is_refused) => NoteError::CarriageReturn { line },
            _ => NoteError::Control { line },
        });
    }
    Ok(())
}

/// Whether only empty lines at its end keep this text from being a note.
fn is_note_without_its_end(text: &str) -> bool {
    let note = text.trim_end_matches('\n');
    SignedNote::parse(format!("{note}\n").as_bytes()).is_ok()
}

fn names<'a>(keys: impl Iterator<Item = (&'a str, KeyId)>) -> String {
    let names: Vec<String> = keys.map(|(name, id)| format!("{name}+{id}")).collect();
    if names.is_empty() {
        return "nobody".to_owned();
    }
    names.join(", ")
}

#[cfg(test)]
mod tests;
