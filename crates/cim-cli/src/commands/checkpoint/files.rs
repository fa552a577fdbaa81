//! Checkpoints, proofs and keys in files.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use cim_domain::persistence::checkpoint::Checkpoint;
use cim_domain::persistence::checkpoint::note::{VerifierKey, read_verifier_key};

use super::failure;
use crate::error::Failure;
use crate::exit_code::ExitCode;

/// More than any checkpoint or proof has, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// A file that can't be read or written.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("{path} can't be read")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} can't be written")]
    Write { path: PathBuf, source: io::Error },
    #[error("{path} is larger than a checkpoint or a proof: it has more than {MAX_BYTES} bytes")]
    TooLarge { path: PathBuf },
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        let (code, hint) = match &error {
            FileError::Read { source, .. } => {
                (ExitCode::of_file(source), "name a file that can be read")
            }
            FileError::Write { source, .. } => (
                ExitCode::of_file(source),
                "name a directory that can be written to, where there is room",
            ),
            FileError::TooLarge { .. } => {
                (ExitCode::Invalid, "name a file that `cim checkpoint` wrote")
            }
        };
        Self::new(code, error).with_hint(hint)
    }
}

/// What is in a file with a checkpoint or a proof.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |source| FileError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    let limited = file.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    if limited.map_err(failed)? as u64 > MAX_BYTES {
        let path = path.to_owned();
        return Err(FileError::TooLarge { path }.into());
    }
    Ok(bytes)
}

/// The checkpoint in a file, signed by the key.
pub(super) fn open_checkpoint(path: &Path, key: &VerifierKey) -> Result<Checkpoint, Failure> {
    let keys = std::slice::from_ref(key);
    Ok(Checkpoint::open(&read(path)?, keys)?)
}

/// Writes a file of a tree, over an older one: under another name first, flushed and renamed.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |source| FileError::Write {
        path: path.to_owned(),
        source,
    };
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let written = File::create(&part).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&part, path));
    Ok(renamed.map_err(failed)?)
}

/// Makes a directory where there is none.
pub(super) fn make_directory(path: &Path) -> Result<(), Failure> {
    let made = fs::create_dir_all(path).map_err(|source| FileError::Write {
        path: path.to_owned(),
        source,
    });
    Ok(made?)
}

/// What `--key` means: a key's text, or the file that has it.
pub(super) fn verifier_key(text: &str) -> Result<VerifierKey, Failure> {
    let path = Path::new(text);
    match text.parse::<VerifierKey>() {
        Ok(key) => Ok(key),
        // Something like a key that is none is not taken for a file that is missing.
        Err(error) if text.matches('+').count() >= 2 && !path.exists() => {
            Err(failure::verifier_text(error))
        }
        Err(_) => read_verifier_key(path).map_err(failure::verifier_file),
    }
}
