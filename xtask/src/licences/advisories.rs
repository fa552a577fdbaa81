//! Known advisories, from cargo-deny and its local copy of the RustSec database.
//!
//! Neither is required, so a missing one is said and passes. Once both are there, whatever
//! cargo-deny objects to fails the step.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Stdio;

use crate::workspace::{self, Workspace};

/// A note on what was checked, or the objection.
pub(super) fn check(workspace: &Workspace) -> Result<String, String> {
    let is_installed = is_installed(workspace, "cargo-deny");
    let Some(checks) = checks(is_installed, database_is_there()) else {
        return Ok("advisories: not checked (cargo-deny is not installed)".to_owned());
    };
    let mut deny = workspace.cargo();
    workspace::run(
        deny.args(["deny", "--offline", "--locked", "check"])
            .args(checks),
    )
    .map_err(|error| format!("{error}; see above"))?;
    Ok(if checks.contains(&"advisories") {
        "advisories: checked by cargo-deny".to_owned()
    } else {
        "advisories: not checked (no database; `cargo deny fetch` gets it)".to_owned()
    })
}

/// Only a program that is not found is not installed; one that is broken fails later, by name.
fn is_installed(workspace: &Workspace, program: &str) -> bool {
    let mut version = workspace.command(program);
    version
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    !matches!(version.status(), Err(error) if error.kind() == ErrorKind::NotFound)
}

fn checks(is_installed: bool, database_is_there: bool) -> Option<&'static [&'static str]> {
    match (is_installed, database_is_there) {
        (false, _) => None,
        (true, false) => Some(&["bans", "sources"]),
        (true, true) => Some(&["advisories", "bans", "sources"]),
    }
}

/// cargo-deny keeps each database in a folder of its own below this one.
fn database_is_there() -> bool {
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = || std::env::home_dir().map(|home| home.join(".cargo"));
    let Some(folder) = cargo_home
        .or_else(home)
        .map(|home| home.join("advisory-dbs"))
    else {
        return false;
    };
    let Ok(entries) = folder.read_dir() else {
        return false;
    };
    entries.flatten().any(|entry| entry.path().is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_missing_tool_or_database_leaves_a_check_out() {
        assert_eq!(checks(false, true), None);
        assert_eq!(checks(true, false).unwrap(), ["bans", "sources"]);
        assert_eq!(
            checks(true, true).unwrap(),
            ["advisories", "bans", "sources"]
        );
    }

    #[test]
    fn a_program_that_fails_is_installed_all_the_same() {
        let workspace = Workspace::locate();
        assert!(!is_installed(&workspace, "no-such-program-here"));
        assert!(is_installed(&workspace, "git"));
        assert!(is_installed(&workspace, "false"));
    }
}
