//! What all packages have in common: they are installed under a lock, tried more than once,
//! complete or not there, and found again.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::{ForeignTools, ForeignToolsError};

/// How often an installation is tried: registries have bad moments.
const ATTEMPTS: u32 = 3;

/// A file of the folder that is there when it is complete; it says what was installed.
const COMPLETE: &str = "complete.txt";

/// Gives the folder `name` of the tools, with what `install` puts there. If that was done before
/// with the same `contents`, nothing is done. Other processes may be at it, too.
pub(super) fn once(
    tools: &ForeignTools,
    name: &str,
    contents: &str,
    mut install: impl FnMut(&Path) -> Result<(), ForeignToolsError>,
) -> Result<PathBuf, ForeignToolsError> {
    let folder = tools.folder.join(name);
    let complete = folder.join(COMPLETE);
    fs::create_dir_all(&tools.folder).map_err(failed("making", &tools.folder))?;
    let lock = tools.folder.join(format!("{name}.lock"));
    let locked = File::create(&lock).map_err(failed("making", &lock))?;
    locked.lock().map_err(failed("locking", &lock))?;
    if fs::read_to_string(&complete).is_ok_and(|installed| installed == contents) {
        return Ok(folder);
    }
    let mut attempt = 1;
    loop {
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(failed("removing", &folder))?;
        }
        fs::create_dir(&folder).map_err(failed("making", &folder))?;
        match install(&folder) {
            Err(ForeignToolsError::Failed { .. }) if attempt < ATTEMPTS => attempt += 1,
            installed => break installed?,
        }
    }
    fs::write(&complete, contents).map_err(failed("writing", &complete))?;
    Ok(folder)
}

/// Runs a command that must succeed.
pub(super) fn run(
    command: &mut Command,
    way_out: &'static str,
) -> Result<Output, ForeignToolsError> {
    let output =
        command
            .stdin(Stdio::null())
            .output()
            .map_err(|source| ForeignToolsError::NotRun {
                program: command.get_program().display().to_string(),
                way_out,
                source,
            })?;
    if output.status.success() {
        return Ok(output);
    }
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    Err(ForeignToolsError::Failed {
        command: words.join(" "),
        status: output.status,
        said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        way_out,
    })
}

pub(super) fn failed<'a>(
    what: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> ForeignToolsError + 'a {
    move |source| ForeignToolsError::File {
        what,
        path: path.to_path_buf(),
        source,
    }
}
