//! Software that nobody here wrote, for tests that let it read what we store and the other way
//! round: packages from PyPI for Python and from npm for Node, at pinned versions with checksums.
//!
//! They are installed below the target directory, once, and whole or not at all. A machine needs
//! Python with pip, nothing else: Node comes from PyPI where it is not there. What can't be had is
//! an error with a sentence, so that a test fails and is never left out.

mod install;
#[cfg(test)]
mod made_up;
mod node;
mod python;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

pub use node::NpmPackages;
pub use python::PythonPackages;

/// Where packages are installed, and what installs them.
#[derive(Clone, Debug)]
pub struct ForeignTools {
    folder: PathBuf,
    /// What `CIM_PYTHON` names, else `python3`.
    python: OsString,
    /// What `CIM_NODE` names.
    node: Option<OsString>,
    path: Option<OsString>,
}

impl ForeignTools {
    /// Packages in the folder `tools` of a target directory. A test passes
    /// `env!("CARGO_TARGET_TMPDIR")`, which is a folder of that directory.
    ///
    /// `CIM_PYTHON` names another Python than `python3`, and `CIM_NODE` another Node than the one
    /// on the `PATH`.
    pub fn of_target(target_tmpdir: impl AsRef<Path>) -> Self {
        let tmpdir = target_tmpdir.as_ref();
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            folder: tmpdir.parent().unwrap_or(tmpdir).join("tools"),
            python: variable("CIM_PYTHON").unwrap_or_else(|| "python3".into()),
            node: variable("CIM_NODE"),
            path: variable("PATH"),
        }
    }
}

/// Why software of others can't be had.
///
/// `Debug` shows the sentence too, with what caused it, so that a test may `unwrap`.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ForeignToolsError {
    /// A program is not there or can't be run.
    #[error("`{program}` can't be run; {way_out}")]
    NotRun {
        /// The program, as it was called.
        program: String,
        /// What to do.
        way_out: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },

    /// A program failed, each time it was tried.
    #[error("`{command}` ended with {status} and said: {said}\n{way_out}")]
    Failed {
        /// What was run.
        command: String,
        /// How it ended the last time.
        status: ExitStatus,
        /// What it wrote to standard error.
        said: String,
        /// What to do.
        way_out: &'static str,
    },

    /// What `CIM_NODE` names will not do.
    #[error("CIM_NODE names {}, which {why}; name Node 20 or newer with npm beside it", .node.display())]
    NamedNode {
        /// What it names.
        node: PathBuf,
        /// What is wrong with it.
        why: String,
    },

    /// A file or directory could not be read or written.
    #[error("{what} {} failed", .path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl fmt::Debug for ForeignToolsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        match std::error::Error::source(self) {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}
