//! Files that commands write where the user says: whole or not at all, and over nothing that was
//! not meant.
//!
//! A file is written under another name and renamed when it is whole and flushed, so whoever sees
//! its name sees a whole one.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::Failure;
use crate::exit_code::ExitCode;

/// A file that can't be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutFileError {
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    #[error("{} is {what}, and no file to write over", path.display())]
    NoFile { path: PathBuf, what: &'static str },
    #[error("{} exists: another command is writing it, or one was killed", .0.display())]
    PartExists(PathBuf),
    #[error("{} can't be written", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{} can't be put in its place", path.display())]
    Rename { path: PathBuf, source: io::Error },
}

impl From<OutFileError> for Failure {
    fn from(error: OutFileError) -> Self {
        let (code, hint) = match &error {
            OutFileError::Exists(_) => (
                ExitCode::Invalid,
                "name another file, or overwrite it with `--force`",
            ),
            OutFileError::NoFile { .. } => (
                ExitCode::Invalid,
                "name another file; `--force` overwrites regular files alone",
            ),
            OutFileError::PartExists(_) => (
                ExitCode::Unavailable,
                "remove it if nothing is writing it any more",
            ),
            OutFileError::Write { source, .. } | OutFileError::Rename { source, .. } => (
                ExitCode::of_file(source),
                "name a file that can be written, where there is room for it",
            ),
        };
        Self::new(code, error).with_hint(hint)
    }
}

/// Refuses a name that is taken: by anything, or with `force` by anything but a regular file.
pub(crate) fn check_free(path: &Path, force: bool) -> Result<(), OutFileError> {
    // Of a link it is the link that would be replaced, so it is not followed.
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            let path = path.to_owned();
            return Err(OutFileError::Write { path, source });
        }
    };
    let path = path.to_owned();
    let what = match () {
        () if found.is_file() && force => return Ok(()),
        () if found.is_file() => return Err(OutFileError::Exists(path)),
        () if found.is_dir() => "a directory",
        () if found.is_symlink() => "a symbolic link",
        () => "a device, a pipe or a socket",
    };
    Err(OutFileError::NoFile { path, what })
}

/// A file that is being written as FILE.part, which is removed unless it was put in FILE's place.
pub(crate) struct OutFile {
    file: PathBuf,
    part: PathBuf,
    force: bool,
    renamed: bool,
}

impl OutFile {
    /// Begins a file; `force` says whether it may replace one that exists.
    pub(crate) fn create(file: &Path, force: bool) -> Result<(Self, File), OutFileError> {
        check_free(file, force)?;
        let mut name = OsString::from(file);
        name.push(".part");
        let part = PathBuf::from(name);
        // Two that write one file would write over each other.
        match OpenOptions::new().write(true).create_new(true).open(&part) {
            Ok(opened) => {
                let this = Self {
                    file: file.to_owned(),
                    part,
                    force,
                    renamed: false,
                };
                Ok((this, opened))
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(OutFileError::PartExists(part))
            }
            Err(source) => Err(OutFileError::Write { path: part, source }),
        }
    }

    /// What is said when it can't be written.
    pub(crate) fn unwritable(&self, source: io::Error) -> OutFileError {
        let path = self.part.clone();
        OutFileError::Write { path, source }
    }

    /// Flushes what was written to disk and gives it its name. This blocks.
    pub(crate) fn finish(mut self, written: File) -> Result<(), OutFileError> {
        written
            .sync_all()
            .map_err(|source| self.unwritable(source))?;
        drop(written);
        check_free(&self.file, self.force)?;
        let renamed = std::fs::rename(&self.part, &self.file).and_then(|()| {
            self.renamed = true;
            flush_name(&self.file)
        });
        let path = self.file.clone();
        renamed.map_err(|source| OutFileError::Rename { path, source })
    }
}

impl Drop for OutFile {
    fn drop(&mut self) {
        if !self.renamed {
            // Where it can't be removed the next command that writes it says that it is there.
            let _ = std::fs::remove_file(&self.part);
        }
    }
}

/// Writes a small file.
pub(crate) fn write(file: &Path, force: bool, bytes: &[u8]) -> Result<(), OutFileError> {
    let (out, mut written) = OutFile::create(file, force)?;
    written
        .write_all(bytes)
        .map_err(|source| out.unwritable(source))?;
    out.finish(written)
}

/// A new name is on disk only when the directory is.
#[cfg(unix)]
fn flush_name(file: &Path) -> io::Result<()> {
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
fn flush_name(_: &Path) -> io::Result<()> {
    Ok(())
}
