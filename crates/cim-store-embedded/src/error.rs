//! What can go wrong inside the engine, and how the ports report it.

use std::io;
use std::path::{Path, PathBuf};

use cim_store::{Fault, PortError, PortErrorKind};

/// A failure inside the engine.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// The system refused something.
    #[error("can't {action} {path}", path = path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Stored bytes are not what was stored.
    #[error("{what} in {path} at byte {offset}", path = path.display())]
    Damage {
        what: String,
        path: PathBuf,
        offset: u64,
    },
    /// The index is not what was written. The log is not affected.
    #[error("the index is damaged: {what} in {path}", path = path.display())]
    IndexDamage { what: String, path: PathBuf },
    /// The directory is something else.
    #[error("{path} is not a store: {what}", path = path.display())]
    NotAStore { path: PathBuf, what: String },
    /// A program that is newer than this one wrote the directory.
    #[error("{path} has format {found}; this program knows formats up to {known}", path = path.display())]
    Newer {
        path: PathBuf,
        found: u32,
        known: u32,
    },
    /// There is no store and none is to be made.
    #[error("there is no store at {path}", path = path.display())]
    Missing { path: PathBuf },
    /// Another process has the store open.
    #[error("the store at {path} is held by {holder}", path = path.display())]
    Held { path: PathBuf, holder: String },
    /// The store was closed, or closed itself.
    #[error("the store is closed{because}")]
    Closed { because: String },
}

impl EngineError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    /// A file that belongs to the store could not be opened. Where it is missing, that is damage.
    pub(crate) fn opening(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::NotFound => Self::damage("a file is missing", &path, 0),
            _ => Self::io("open", &path)(source),
        }
    }

    pub(crate) fn damage(what: impl Into<String>, path: &Path, offset: u64) -> Self {
        Self::Damage {
            what: what.into(),
            path: path.to_owned(),
            offset,
        }
    }

    pub(crate) fn index(what: impl Into<String>, path: &Path) -> Self {
        Self::IndexDamage {
            what: what.into(),
            path: path.to_owned(),
        }
    }

    pub(crate) fn closed() -> Self {
        Self::Closed {
            because: String::new(),
        }
    }

    /// The same error for one more caller of the group that it struck.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Io {
                action,
                path,
                source,
            } => Self::Io {
                action,
                path: path.clone(),
                source: io::Error::new(source.kind(), source.to_string()),
            },
            Self::Damage { what, path, offset } => Self::Damage {
                what: what.clone(),
                path: path.clone(),
                offset: *offset,
            },
            Self::IndexDamage { what, path } => Self::IndexDamage {
                what: what.clone(),
                path: path.clone(),
            },
            Self::NotAStore { path, what } => Self::NotAStore {
                path: path.clone(),
                what: what.clone(),
            },
            Self::Newer { path, found, known } => Self::Newer {
                path: path.clone(),
                found: *found,
                known: *known,
            },
            Self::Missing { path } => Self::Missing { path: path.clone() },
            Self::Held { path, holder } => Self::Held {
                path: path.clone(),
                holder: holder.clone(),
            },
            Self::Closed { because } => Self::Closed {
                because: because.clone(),
            },
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Io { source, .. } if is_denied(source) => Fault::Denied,
            Self::Io { .. } | Self::Held { .. } => Fault::Unavailable,
            Self::Damage { .. } | Self::IndexDamage { .. } => Fault::Integrity,
            Self::NotAStore { .. } => Fault::Invalid,
            Self::Newer { .. } => Fault::Unsupported,
            Self::Missing { .. } => Fault::NotFound,
            Self::Closed { .. } => Fault::Closed,
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "the disk is full: free some space and try again"
            }
            Self::Io { source, .. } if is_denied(source) => {
                "let this user read and write the directory; a store can't be opened on a \
                 read-only disk"
            }
            Self::Io { .. } => "look at the system's error, mend it and try again",
            Self::Damage { path, .. } if path.ends_with("mark") => {
                "restore the directory from a backup; where there is none, \
                 `EmbeddedSettings::accept_end_without_mark` opens what is left"
            }
            Self::Damage { .. } => {
                "stop writing, keep the directory as it is, and restore the file from a backup"
            }
            Self::IndexDamage { .. } => {
                "open the store again: the index is rebuilt from the log, which is not affected"
            }
            Self::NotAStore { .. } => "name an empty or new directory, or that of a store",
            Self::Newer { .. } => "open it with the newer program",
            Self::Missing { .. } => "check the path, or write something to make a store there",
            Self::Held { .. } => {
                "end that process, or use the store through it: one process at a time"
            }
            Self::Closed { .. } => "open the store again",
        }
    }
}

fn is_denied(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}

impl<K: PortErrorKind> From<EngineError> for PortError<K> {
    fn from(error: EngineError) -> Self {
        let hint = error.hint();
        let converted = Self::new(error.fault(), error.to_string()).with_hint(hint);
        match error {
            EngineError::Io { source, .. } => converted.with_source(source),
            _ => converted,
        }
    }
}
