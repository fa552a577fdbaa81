//! The steps of `cargo xtask verify`, the quick ones first.
//!
//! None of them writes to the checkout; what cargo builds for them goes to the target directory.

use crate::metadata::Metadata;
use crate::steps::{Failure, Step, StepResult};
use crate::workspace::{self, Workspace};
use crate::{architecture, licences, tidy};

pub(crate) const STEPS: &[Step] = &[
    Step {
        name: "lockfile",
        about: "Cargo.lock fits the manifests",
        run: lockfile,
    },
    Step {
        name: "format",
        about: "cargo fmt --all --check",
        run: format,
    },
    Step {
        name: "architecture",
        about: "crates depend on each other along the allowed arrows alone",
        run: architecture::step,
    },
    Step {
        name: "tidy",
        about: "rules for files, names and indices",
        run: tidy::step,
    },
    Step {
        name: "licences",
        about: "every dependency is allowed by deny.toml; advisories where cargo-deny is there",
        run: licences::step,
    },
    Step {
        name: "clippy",
        about: "cargo clippy, warnings are errors",
        run: clippy,
    },
    Step {
        name: "docs",
        about: "cargo doc with private items, warnings are errors",
        run: docs,
    },
];

/// The steps with these names, all of them if none is named; the error is an unknown name.
pub(crate) fn select(names: &[String]) -> Result<Vec<&'static Step>, &str> {
    if let Some(unknown) = names
        .iter()
        .find(|name| STEPS.iter().all(|step| step.name != **name))
    {
        return Err(unknown);
    }
    let chosen = |step: &&Step| names.is_empty() || names.iter().any(|name| name == step.name);
    Ok(STEPS.iter().filter(chosen).collect())
}

pub(crate) fn lockfile(workspace: &Workspace) -> StepResult {
    match Metadata::of_tree(workspace) {
        Ok((_, note)) => Ok(note.into_iter().collect()),
        Err(error) => Err(Failure::new(
            error,
            "run `cargo build` and commit Cargo.lock",
        )),
    }
}

fn format(workspace: &Workspace) -> StepResult {
    passes(
        workspace.run(&["fmt", "--all", "--check"]),
        "run `cargo xtask fix`",
    )
}

fn clippy(workspace: &Workspace) -> StepResult {
    let words = [
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    passes(
        workspace.run(&words),
        "`cargo xtask fix` repairs a part; the rest by hand",
    )
}

fn docs(workspace: &Workspace) -> StepResult {
    let mut command = workspace.cargo();
    command.args([
        "doc",
        "--locked",
        "--workspace",
        "--no-deps",
        "--document-private-items",
    ]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    passes(
        workspace::run(&mut command),
        "repair the links and examples named above",
    )
}

fn passes(result: Result<(), String>, way_out: &'static str) -> StepResult {
    result
        .map(|()| Vec::new())
        .map_err(|error| Failure::new(error, way_out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[&str]) -> Result<Vec<&'static str>, String> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        select(&names)
            .map(|steps| steps.iter().map(|step| step.name).collect())
            .map_err(String::from)
    }

    #[test]
    fn all_steps_run_unless_some_are_named() {
        assert_eq!(chosen(&[]).unwrap().len(), STEPS.len());
        assert_eq!(chosen(&["tidy", "format"]).unwrap(), ["format", "tidy"]);
    }

    #[test]
    fn an_unknown_step_is_refused_by_name() {
        assert_eq!(chosen(&["tidy", "tests"]).unwrap_err(), "tests");
    }
}
