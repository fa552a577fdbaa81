//! The lock file on the disk.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use cim_domain::schema::{LockFile, LockFileError};

use crate::error::Failure;
use crate::exit_code::ExitCode;

/// The file that is taken where none is named.
pub(super) const DEFAULT: &str = "cim-schemas.lock";

/// The largest file that is read: thousands of event types take some megabytes.
const MAX_BYTES: u64 = 64 << 20;

/// A lock file that can't be taken.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("{} can't be read", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is larger than any lock file: more than {MAX_BYTES} bytes", path.display())]
    TooLarge { path: PathBuf },
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
    let refused = |code, error| {
        Failure::new(code, error).with_hint(
            "name the file that the application's test of shapes writes; docs/guide/schema_lock.md \
             says how",
        )
    };
    let text = read_text(path).map_err(|source| {
        let code = match source.kind() {
            io::ErrorKind::InvalidData => ExitCode::Invalid,
            _ => ExitCode::of_file(&source),
        };
        let path = path.to_owned();
        refused(code, FileError::Read { path, source })
    })?;
    if text.len() as u64 > MAX_BYTES {
        let path = path.to_owned();
        return Err(refused(ExitCode::Invalid, FileError::TooLarge { path }));
    }
    let file = parse(&text, path.display())?;
    Ok((text, file))
}

/// The text, or so much of it that it is seen to be too large.
fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let mut file = File::open(path)?.take(MAX_BYTES + 1);
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// Reads a file's text, which comes from `place`.
pub(super) fn parse(text: &str, place: impl ToString) -> Result<LockFile, Failure> {
    LockFile::parse(text).map_err(|source| {
        let place = place.to_string();
        Failure::new(ExitCode::Invalid, FileError::Parse { place, source })
            .with_hint("take it back from version control; entries can be removed, not edited")
    })
}

/// Whether the text is spelled as the test spells it, so that a change shows as what it is. How
/// lines end is no part of that: git may check them out as the system has them.
pub(super) fn check_spelling(path: &Path, text: &str, file: &LockFile) -> Result<(), Failure> {
    let (written, text) = (file.to_string(), text.replace("\r\n", "\n"));
    if written == text {
        return Ok(());
    }
    let same = text
        .lines()
        .zip(written.lines())
        .take_while(|(is, should)| is == should);
    let error = FileError::Rewritten {
        path: path.to_owned(),
        // The last one where only the end of that is missing.
        line: (same.count() + 1).min(text.lines().count()),
    };
    Err(Failure::new(ExitCode::Invalid, error)
        .with_hint("run the test with CIM_SCHEMAS=update: it puts everything in its place"))
}
