//! The directory of a store: its format file, and the lock that keeps other processes out.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use cim_store::IdGenerator;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::checked_file;
use crate::disk::Disk;
use crate::error::EngineError;
use crate::events::EVENTS;
use crate::journal::record::Salt;

/// The format that this program writes. `docs/format/directory.md` tells the versions apart.
pub(crate) const FORMAT: u32 = 1;

const FORMAT_FILE: &str = "cim-store.json";
const LOCK_FILE: &str = "lock";

/// What the format file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FormatFile {
    /// Always `cim-store-embedded`.
    kind: String,
    format: u32,
    store: Uuid,
    /// False until everything that an empty store has is in place.
    ready: bool,
}

/// A store's directory, locked.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) path: PathBuf,
    pub(crate) store: Uuid,
    /// Whether the store has been made by this opening and still needs its first files.
    pub(crate) fresh: bool,
    _lock: Option<Lock>,
}

/// Released when it is dropped, also while another thread starts a process: that one has a copy of
/// every open file for a moment, and closing the file here would leave the lock with it.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // If that fails, closing the file does it.
        let _ = self.0.unlock();
    }
}

impl Directory {
    /// Locks the directory and reads its format file; makes both where there is nothing yet.
    pub(crate) fn open(
        disk: &dyn Disk,
        path: &Path,
        must_exist: bool,
        ids: &dyn IdGenerator,
    ) -> Result<Self, EngineError> {
        let path = std::path::absolute(path).map_err(EngineError::io("find", path))?;
        let format_path = path.join(FORMAT_FILE);
        if !has_store(disk, &path)? && must_exist {
            return Err(EngineError::Missing { path });
        }
        create_dir(disk, &path)?;
        let lock = lock(&path)?;
        // Only what is seen under the lock counts: another process may have made the store since.
        let format = if has_store(disk, &path)? {
            read_format(disk, &format_path)?
        } else {
            let format = FormatFile {
                kind: "cim-store-embedded".into(),
                format: FORMAT,
                store: ids.next_uuid(),
                ready: false,
            };
            checked_file::write(disk, &format_path, &format)?;
            format
        };
        Ok(Self {
            path,
            store: format.store,
            fresh: !format.ready,
            _lock: Some(lock),
        })
    }

    /// Keeps writers out of the directory and reads its format file; changes nothing.
    pub(crate) fn inspect(disk: &dyn Disk, path: &Path) -> Result<Self, EngineError> {
        let path = std::path::absolute(path).map_err(EngineError::io("find", path))?;
        if !has_store(disk, &path)? {
            return Err(EngineError::Missing { path });
        }
        let lock = keep_writers_out(&path)?;
        let format = read_format(disk, &path.join(FORMAT_FILE))?;
        Ok(Self {
            path,
            store: format.store,
            fresh: !format.ready,
            _lock: lock,
        })
    }

    /// Records that an empty store is complete. Nothing was acknowledged before.
    pub(crate) fn mark_ready(&self, disk: &dyn Disk) -> Result<(), EngineError> {
        let format = FormatFile {
            kind: "cim-store-embedded".into(),
            format: FORMAT,
            store: self.store,
            ready: true,
        };
        checked_file::write(disk, &self.path.join(FORMAT_FILE), &format)
    }

    /// What every record's checksum begins with, so that records of other stores don't check.
    pub(crate) fn salt(&self) -> Salt {
        Salt(crc32c::crc32c(self.store.as_bytes()))
    }
}

/// Whether there is a store in the directory. Refuses one that holds something else.
fn has_store(disk: &dyn Disk, path: &Path) -> Result<bool, EngineError> {
    let not_a_store = |what: String| EngineError::NotAStore {
        path: path.to_owned(),
        what,
    };
    let names = match disk.list(path) {
        Ok(names) => names,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            return Err(not_a_store("it is a file".into()));
        }
        Err(error) => return Err(EngineError::io("list", path)(error)),
    };
    if names.iter().any(|name| name == FORMAT_FILE) {
        return Ok(true);
    }
    if names.iter().any(|name| name == EVENTS.name) {
        let missing = path.join(FORMAT_FILE);
        return Err(EngineError::damage("the file is missing", &missing, 0));
    }
    // A format file that was never put into its place holds nothing that counts.
    let known = |name: &String| name == LOCK_FILE || *name == format!("{FORMAT_FILE}.new");
    match names.iter().find(|name| !known(name)) {
        Some(name) => Err(not_a_store(format!(
            "it holds `{name}` and no {FORMAT_FILE}"
        ))),
        None => Ok(false),
    }
}

/// Makes the directory and those above it, durably.
fn create_dir(disk: &dyn Disk, path: &Path) -> Result<(), EngineError> {
    let missing = |path: &&Path| {
        disk.list(path)
            .is_err_and(|error| error.kind() == ErrorKind::NotFound)
    };
    let made: Vec<&Path> = path.ancestors().take_while(missing).collect();
    disk.create_dir(path)
        .map_err(EngineError::io("make the directory", path))?;
    for parent in made.into_iter().rev().filter_map(Path::parent) {
        disk.sync_dir(parent)
            .map_err(EngineError::io("flush", parent))?;
    }
    Ok(())
}

fn read_format(disk: &dyn Disk, path: &Path) -> Result<FormatFile, EngineError> {
    // The version is looked at first: a newer format may have other fields.
    #[derive(Deserialize)]
    struct Version {
        kind: String,
        format: u32,
    }
    let version: Version = checked_file::read(disk, path)?;
    let directory = || path.parent().unwrap_or(path).to_owned();
    if version.kind != "cim-store-embedded" {
        let what = format!("its {FORMAT_FILE} is of kind `{}`", version.kind);
        return Err(EngineError::NotAStore {
            path: directory(),
            what,
        });
    }
    if version.format > FORMAT {
        let found = version.format;
        return Err(EngineError::Newer {
            path: directory(),
            found,
            known: FORMAT,
        });
    }
    checked_file::read(disk, path)
}

/// Takes the lock, which the system releases when the process ends, however it ends.
fn lock(directory: &Path) -> Result<Lock, EngineError> {
    let path = directory.join(LOCK_FILE);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(EngineError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            // Those who only look share the lock, and leave no name in it.
            let holder = match file.try_lock_shared() {
                Ok(()) => {
                    drop(Lock(file));
                    "a process that inspects it".into()
                }
                Err(_) => holder(&mut file),
            };
            return Err(EngineError::Held {
                path: directory.to_owned(),
                holder,
            });
        }
        Err(TryLockError::Error(error)) => return Err(EngineError::io("lock", &path)(error)),
    }
    let program = std::env::current_exe().ok();
    let program = program
        .as_deref()
        .and_then(Path::file_name)
        .unwrap_or_default();
    let name = format!(
        "process {} ({})\n",
        std::process::id(),
        program.to_string_lossy()
    );
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(name.as_bytes()))
        .map_err(EngineError::io("write", &path))?;
    Ok(Lock(file))
}

/// Who holds the lock, as its file says. That is a help, not a condition.
fn holder(file: &mut File) -> String {
    let mut holder = String::new();
    let _ = file.read_to_string(&mut holder);
    match holder.lines().next() {
        Some(name) if !name.is_empty() => name.into(),
        _ => "another process".into(),
    }
}

/// Takes the lock together with others who only look. A copy of a store may lack its file; then
/// nobody has it open.
fn keep_writers_out(directory: &Path) -> Result<Option<Lock>, EngineError> {
    let path = directory.join(LOCK_FILE);
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(EngineError::io("open", &path)(error)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(Lock(file))),
        Err(TryLockError::WouldBlock) => Err(EngineError::Held {
            path: directory.to_owned(),
            holder: holder(&mut file),
        }),
        Err(TryLockError::Error(error)) => Err(EngineError::io("lock", &path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_dropped_is_released_though_a_copy_of_its_file_is_open() {
        let directory = tempfile::tempdir().unwrap();
        let held = lock(directory.path()).unwrap();
        // What a process has that was forked and not yet turned into another program.
        let copy = held.0.try_clone().unwrap();
        let error = lock(directory.path()).unwrap_err();
        assert!(matches!(error, EngineError::Held { .. }), "{error}");
        drop(held);
        lock(directory.path()).unwrap();
        drop(copy);
    }
}
