//! The directory of all stores and files of a run.

use std::path::{Path, PathBuf};

use crate::measure::Result;

/// It is made empty, and removed at the end.
pub(crate) struct Data(PathBuf);

impl Data {
    pub(crate) fn make(path: PathBuf) -> Result<Self> {
        if path.exists() {
            std::fs::remove_dir_all(&path)?;
        }
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("bench: can't remove {}: {error}", self.0.display());
        }
    }
}
