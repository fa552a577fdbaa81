//! The lock file on the disk.

use std::io;
use std::path::{Path, PathBuf};

use cim_domain::schema::{LockFile, LockFileError};

use crate::error::Failure;
use crate::exit_code::ExitCode;

/// The file that is taken where none is named.
pub(super) const DEFAULT: &str = "cim-schemas.lock";

/// A lock file that can't be taken.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("{} can't be read", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{place} is no lock file of shapes")]
    Parse {
        place: String,
        source: LockFileError,
    },
    #[error("{} is not as the test writes it, from line {line} on", path.display())]
    Rewritten { path: PathBuf, line: usize },
}

/// Reads the file.
pub(super) fn read(path: &Path) -> Result<(String, LockFile), Failure> {
    let text = std::fs::read_to_string(path).map_err(|source| {
        let code = match source.kind() {
            io::ErrorKind::InvalidData => ExitCode::Invalid,
            _ => ExitCode::of_file(&source),
        };
        let path = path.to_owned();
        Failure::new(code, FileError::Read { path, source }).with_hint(
            "name the file that the application's test of shapes writes; docs/guide/schema_lock.md \
             says how",
        )
    })?;
    let file = parse(&text, path.display())?;
    Ok((text, file))
}

/// Reads a file's text, which comes from `place`.
pub(super) fn parse(text: &str, place: impl ToString) -> Result<LockFile, Failure> {
    LockFile::parse(text).map_err(|source| {
        let place = place.to_string();
        Failure::new(ExitCode::Invalid, FileError::Parse { place, source })
            .with_hint("take it back from version control; entries can be removed, not edited")
    })
}

/// Whether the text is spelled as the test spells it, so that a change shows as what it is.
pub(super) fn check_spelling(path: &Path, text: &str, file: &LockFile) -> Result<(), Failure> {
    let written = file.to_string();
    if written == text {
        return Ok(());
    }
    let same = text
        .lines()
        .zip(written.lines())
        .take_while(|(is, should)| is == should);
    let error = FileError::Rewritten {
        path: path.to_owned(),
        line: same.count() + 1,
    };
    Err(Failure::new(ExitCode::Invalid, error)
        .with_hint("run the test with CIM_SCHEMAS=update: it puts everything in its place"))
}
