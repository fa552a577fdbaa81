//! Keys in files: one key and a newline.
//!
//! A file with a key that signs is made for its owner alone and refused when others can read it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::keys::PRIVATE_MARK;
use super::{KeyError, SigningKey, VerifierKey};

/// More than any file with a key has, in bytes.
const MAX_BYTES: usize = 4096;

/// A file from which no key can be had, or that can't be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// It can't be read.
    #[error("the key can't be read from {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It can't be written.
    #[error("the key can't be written to {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is there already.
    #[error("{path} is there already; a key is never overwritten")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Others than its owner can get at the key.
    #[error("others than its owner can get at the signing key in {path} (mode {mode:04o})")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// What is in it is no key.
    #[error("{path} holds no key that can be used")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: KeyError,
    },
}

/// Writes a signing key into a new file that only its owner can read, and flushes it. On systems
/// other than Unix the directory's permissions decide who can read it.
///
/// ```
/// use cim_domain::persistence::checkpoint::note::{
///     KeyFileError, SigningKey, read_signing_key, read_verifier_key, write_signing_key,
/// };
///
/// # let directory = tempfile::tempdir()?;
/// let path = directory.path().join("orders.key");
/// let key = SigningKey::generate("example.com/orders")?;
/// write_signing_key(&path, &key)?;
/// assert_eq!(read_signing_key(&path)?.verifier(), key.verifier());
///
/// // A key is never overwritten: what it signed could not be told from what others sign.
/// let again = write_signing_key(&path, &SigningKey::generate("example.com/orders")?);
/// assert!(matches!(again, Err(KeyFileError::Exists { .. })));
///
/// // What is given to others.
/// let public = directory.path().join("orders.pub");
/// std::fs::write(&public, format!("{}\n", key.verifier()))?;
/// assert_eq!(read_verifier_key(&public)?, *key.verifier());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Where the file is there already, or can't be written.
pub fn write_signing_key(path: &Path, key: &SigningKey) -> Result<(), KeyFileError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let failed = |source: io::Error| {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::AlreadyExists => KeyFileError::Exists { path },
            _ => KeyFileError::Write { path, source },
        }
    };
    let mut file = options.open(path).map_err(failed)?;
    let text = key.to_secret_text();
    let written = file.write_all(text.as_bytes());
    let written = written.and_then(|()| file.write_all(b"\n"));
    written.and_then(|()| file.sync_all()).map_err(failed)
}

/// Reads a signing key.
///
/// # Errors
/// Where the file can't be read, others than its owner can (on Unix), or what it holds is no
/// signing key.
pub fn read_signing_key(path: &Path) -> Result<SigningKey, KeyFileError> {
    let text = read(path)?;
    SigningKey::parse(text.trim_ascii_end()).map_err(|source| KeyFileError::Key {
        path: path.to_owned(),
        source,
    })
}

/// Reads a key for verifying: from a file that holds one, or the one that belongs to a signing key.
///
/// # Errors
/// As [`read_signing_key`].
pub fn read_verifier_key(path: &Path) -> Result<VerifierKey, KeyFileError> {
    let text = read(path)?;
    let text = text.trim_ascii_end();
    let key = match SigningKey::parse(text) {
        Err(KeyError::NotASigner) if !text.starts_with(PRIVATE_MARK) => text.parse(),
        key => key.map(|key| key.verifier().clone()),
    };
    key.map_err(|source| KeyFileError::Key {
        path: path.to_owned(),
        source,
    })
}

fn read(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let failed = |source| KeyFileError::Read {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(failed)?;
    // Large enough from the beginning: growing would leave a copy behind.
    let mut bytes = Zeroizing::new(vec![0; MAX_BYTES]);
    let mut length = 0;
    while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    let text = std::str::from_utf8(&bytes[..length]).map_err(|_| KeyFileError::Key {
        path: path.to_owned(),
        source: KeyError::NotAVerifier,
    })?;
    let mut copy = Zeroizing::new(String::with_capacity(length));
    copy.push_str(text);
    if copy.starts_with(PRIVATE_MARK) {
        check_private(path, &file)?;
    }
    Ok(copy)
}

/// Refuses a signing key that others than the file's owner can get at.
#[cfg(unix)]
fn check_private(path: &Path, file: &File) -> Result<(), KeyFileError> {
    use std::os::unix::fs::PermissionsExt;
    let path = path.to_owned();
    match file.metadata() {
        Ok(metadata) => match metadata.permissions().mode() & 0o7777 {
            mode if mode & 0o077 != 0 => Err(KeyFileError::Exposed { path, mode }),
            _ => Ok(()),
        },
        Err(source) => Err(KeyFileError::Read { path, source }),
    }
}

#[cfg(not(unix))]
fn check_private(_: &Path, _: &File) -> Result<(), KeyFileError> {
    Ok(())
}
