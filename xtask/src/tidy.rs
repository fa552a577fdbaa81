//! Rules for files that neither rustfmt nor clippy knows.
//!
//! `file` holds the rules about one file, `index` those that compare files with each other, and
//! `examples` the one that public functions are shown in use. Every rule has a test that breaks it.

mod examples;
mod file;
mod index;

use std::collections::BTreeMap;

use crate::metadata::Metadata;
use crate::steps::{Failure, StepResult};
use crate::workspace::{self, Workspace};

const WAY_OUT: &str = "each line above names a place and a rule; CONTRIBUTING.md says why";

pub(crate) fn step(workspace: &Workspace) -> StepResult {
    let failure = |error| Failure::new(error, "run it in a git checkout of the workspace");
    let paths = tracked_files(workspace).map_err(failure)?;

    let mut findings = Vec::new();
    let mut texts = BTreeMap::new();
    for path in &paths {
        let bytes = std::fs::read(workspace.root().join(path))
            .map_err(|error| failure(format!("{path} cannot be read: {error}")))?;
        findings.extend(file::findings(path, &bytes));
        if path.ends_with(".rs") || path.ends_with(".md") {
            texts.insert(path.clone(), String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    findings.extend(examples::functions_without_one(&texts));

    let metadata = Metadata::of_workspace(workspace).map_err(failure)?;
    let crates: Vec<&str> = metadata
        .members()
        .map(|member| member.name.as_str())
        .collect();
    findings.extend(index::crates_not_described(
        workspace.read("ARCHITECTURE.md"),
        &crates,
    ));
    for folder in ["docs/decisions", "docs/format"] {
        let readme = workspace.read(&format!("{folder}/README.md"));
        findings.extend(index::files_not_linked(folder, readme, &paths));
    }

    Failure::unless_empty(findings, WAY_OUT)?;
    Ok(vec![format!("{} files", paths.len())])
}

/// Every file that git tracks or would track, as a path from the root with `/` between its parts.
pub(crate) fn tracked_files(workspace: &Workspace) -> Result<Vec<String>, String> {
    let mut git = workspace.command("git");
    git.args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
        "--deduplicate",
    ]);
    let output = workspace::output(&mut git)?;
    let mut paths = Vec::new();
    for path in output
        .split(|byte| *byte == 0)
        .filter(|path| !path.is_empty())
    {
        let path = String::from_utf8(path.to_vec())
            .map_err(|error| format!("the path {error:?} is not UTF-8"))?;
        // What was deleted but not yet committed is still listed.
        if workspace.root().join(&path).is_file() {
            paths.push(path);
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_files_holds_this_one_and_nothing_that_was_built() {
        let paths = tracked_files(&Workspace::locate()).unwrap();
        assert!(paths.iter().any(|path| path == "xtask/src/tidy.rs"));
        assert!(!paths.iter().any(|path| path.starts_with("target/")));
    }
}
