//! A checkpoint as text: a note that says how large a log's tree is and what its root is
//! (c2sp.org/tlog-checkpoint).

use std::fmt;

use super::note::{NoteError, SignedNote, SigningKey, VerifierKey};
use super::tree::TreeHash;

/// Text that is no checkpoint, or one that is not signed by whom it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointTextError {
    /// It is no signed note, or not signed as it should be.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The note's text does not have the lines of a checkpoint.
    #[error("line {line} of the checkpoint is not {expected}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What it should be.
        expected: &'static str,
    },
    /// The empty tree has one root only.
    #[error("a checkpoint of no events has the root {root}")]
    EmptyRoot {
        /// The root that it has instead.
        root: TreeHash,
    },
    /// A key has signed it, but none that is named as the log is.
    #[error("the checkpoint is of the log `{origin}`, but signed by {signers}")]
    Origin {
        /// The log that the checkpoint names.
        origin: String,
        /// The names of the known keys that have signed it.
        signers: String,
    },
}

/// What a log was at a time: its size and the root of its tree, signed.
///
/// One that was [parsed](Self::parse) is only a claim; one that was [opened](Self::open) or
/// [signed](Self::sign) is backed by a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: TreeHash,
    note: SignedNote,
}

impl Checkpoint {
    /// Signs that the log, named as the key is, has this size and root.
    ///
    /// # Errors
    /// None for a root that was computed.
    pub fn sign(size: u64, root: TreeHash, key: &SigningKey) -> Result<Self, CheckpointTextError> {
        let text = format!("{}\n{size}\n{root}\n", key.name());
        Self::of(SignedNote::sign(text, &[key])?)
    }

    /// Reads a checkpoint without verifying who signed it.
    ///
    /// # Errors
    /// Where it is no checkpoint.
    pub fn parse(text: &[u8]) -> Result<Self, CheckpointTextError> {
        Self::of(SignedNote::parse(text)?)
    }

    /// Reads a checkpoint and [verifies](Self::verify) who signed it.
    ///
    /// # Errors
    /// Where it is no checkpoint, or not signed by one of these keys for its log.
    pub fn open(text: &[u8], keys: &[VerifierKey]) -> Result<Self, CheckpointTextError> {
        let checkpoint = Self::parse(text)?;
        checkpoint.verify(keys)?;
        Ok(checkpoint)
    }

    /// Verifies that one of these keys has signed it, and that the key is named as the log is. The
    /// signatures of other known keys, of witnesses say, are verified, too.
    ///
    /// # Errors
    /// Where a known key's signature is wrong, or none is by the log's own key.
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<(), CheckpointTextError> {
        let signers = self.note.verify(keys)?;
        if signers.iter().any(|key| key.name() == self.origin) {
            return Ok(());
        }
        let names: Vec<&str> = signers.iter().map(|key| key.name()).collect();
        Err(CheckpointTextError::Origin {
            origin: self.origin.clone(),
            signers: names.join(", "),
        })
    }

    fn of(note: SignedNote) -> Result<Self, CheckpointTextError> {
        let mut lines = note.text().lines();
        let mut line = 0;
        let mut next = |expected: &'static str| {
            line += 1;
            let text = lines.next().filter(|text| !text.is_empty());
            text.ok_or(CheckpointTextError::Line { line, expected })
        };
        const SIZE: &str = "the size of the tree, a decimal number";
        const ROOT: &str = "the root of the tree, 32 bytes in base64";
        let origin = next("the name of the log")?.to_owned();
        let size = parse_decimal(next(SIZE)?).ok_or(CheckpointTextError::Line {
            line: 2,
            expected: SIZE,
        })?;
        let root = TreeHash::from_base64(next(ROOT)?).ok_or(CheckpointTextError::Line {
            line: 3,
            expected: ROOT,
        })?;
        // Whatever follows is for others, but no line of it is empty.
        if let Some(empty) = lines.position(str::is_empty) {
            return Err(CheckpointTextError::Line {
                line: 4 + empty,
                expected: "an extension: it is empty",
            });
        }
        if size == 0 && root != TreeHash::of_nothing() {
            return Err(CheckpointTextError::EmptyRoot { root });
        }
        Ok(Self {
            origin,
            size,
            root,
            note,
        })
    }

    /// The name of the log.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How many events the log had.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree over them.
    #[must_use]
    pub fn root(&self) -> TreeHash {
        self.root
    }

    /// The note that it is, with all its signatures.
    #[must_use]
    pub fn note(&self) -> &SignedNote {
        &self.note
    }
}

impl fmt::Display for Checkpoint {
    /// The text that is kept and read again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note.fmt(f)
    }
}

/// A decimal number as C2SP writes it: digits, and no zero in front of others.
pub(super) fn parse_decimal(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let has_leading_zero = text.len() > 1 && text.starts_with('0');
    if !is_plain || has_leading_zero {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_seed("example.com/log", &[7; 32]).unwrap()
    }

    fn note(text: &str) -> Vec<u8> {
        SignedNote::sign(text, &[&key()])
            .unwrap()
            .to_string()
            .into()
    }

    #[test]
    fn a_checkpoint_is_read_as_it_was_signed() {
        let root = TreeHash::of_leaf(b"x");
        let signed = Checkpoint::sign(1, root, &key()).unwrap();
        let text = signed.to_string();
        assert!(text.starts_with(&format!("example.com/log\n1\n{root}\n\n\u{2014} ")));
        let keys = [key().verifier().clone()];
        let opened = Checkpoint::open(text.as_bytes(), &keys).unwrap();
        assert_eq!(opened, signed);
        assert_eq!((opened.size(), opened.root()), (1, root));
    }

    #[test]
    fn the_key_must_be_that_of_the_log() {
        let other = SigningKey::from_seed("example.com/other", &[8; 32]).unwrap();
        let text = format!("example.com/log\n1\n{}\n", TreeHash::of_leaf(b"x"));
        let note = SignedNote::sign(text, &[&other]).unwrap().to_string();
        let error = Checkpoint::open(note.as_bytes(), &[other.verifier().clone()]);
        assert!(matches!(error, Err(CheckpointTextError::Origin { .. })));
        let error = Checkpoint::open(note.as_bytes(), &[key().verifier().clone()]);
        assert!(matches!(error, Err(CheckpointTextError::Note(_))));
    }

    #[test]
    fn extension_lines_are_kept() {
        let text = format!("log\n1\n{}\nmore\nand more\n", TreeHash::of_leaf(b"x"));
        let checkpoint = Checkpoint::parse(&note(&text)).unwrap();
        assert_eq!(checkpoint.note().text(), text);
    }

    #[test]
    fn other_texts_are_refused_by_line() {
        let root = TreeHash::of_leaf(b"x");
        for (text, line) in [
            ("\n".to_owned(), 1),
            ("log\n".to_owned(), 2),
            (format!("log\n\n{root}\n"), 2),
            (format!("log\n01\n{root}\n"), 2),
            (format!("log\n+1\n{root}\n"), 2),
            (format!("log\n18446744073709551616\n{root}\n"), 2),
            ("log\n1\n".to_owned(), 3),
            (format!("log\n1\n{root}=\n"), 3),
            (format!("log\n1\n{root}\n\nmore\n"), 4),
        ] {
            match Checkpoint::parse(&note(&text)).unwrap_err() {
                CheckpointTextError::Line { line: found, .. } => assert_eq!(found, line, "{text}"),
                other => panic!("{text}: {other}"),
            }
        }
        let empty = Checkpoint::parse(&note(&format!("log\n0\n{root}\n")));
        assert_eq!(empty, Err(CheckpointTextError::EmptyRoot { root }));
        assert!(Checkpoint::sign(0, TreeHash::of_nothing(), &key()).is_ok());
    }
}
