//! Whole steps, run over a small workspace on disk: first as it should be, then with one fault.
//!
//! The rules have tests of their own; these show that a step reads the files, asks cargo and git,
//! and applies every rule.

use std::path::Path;

use tempfile::TempDir;

use crate::steps::StepResult;
use crate::workspace::{self, Workspace};
use crate::{architecture, licences, tidy};

/// A git checkout with three crates that keeps all rules.
struct MadeUp {
    folder: TempDir,
}

impl MadeUp {
    fn new() -> Self {
        let made_up = Self {
            folder: TempDir::new().unwrap(),
        };
        made_up.write(
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\"]\n",
        );
        made_up.write("deny.toml", "[licenses]\nallow = [\"MIT\"]\n");
        made_up.write(
            "ARCHITECTURE.md",
            "`cim-subject`, `cim-store`, `cim-domain`\n",
        );
        made_up.write("docs/decisions/README.md", "[one](0001-one.md)\n");
        made_up.write("docs/decisions/0001-one.md", "# One\n");
        made_up.package("cim-subject", "");
        made_up.package("cim-store", "cim-subject = { path = \"../cim-subject\" }\n");
        made_up.package("cim-domain", "cim-store = { path = \"../cim-store\" }\n");
        let workspace = made_up.workspace();
        workspace::output(workspace.command("git").args(["init", "--quiet"])).unwrap();
        made_up.lock();
        made_up
    }

    fn workspace(&self) -> Workspace {
        Workspace::at(self.folder.path())
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn package(&self, name: &str, dependencies: &str) {
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
             license = \"MIT\"\n\n[dependencies]\n{dependencies}"
        );
        self.write(&format!("crates/{name}/Cargo.toml"), &manifest);
        self.write(&format!("crates/{name}/src/lib.rs"), "//! Made up.\n");
    }

    fn lock(&self) {
        let workspace = self.workspace();
        workspace::output(workspace.cargo().args(["generate-lockfile", "--offline"])).unwrap();
    }

    /// What the step finds; nothing if it passes.
    fn findings(&self, step: fn(&Workspace) -> StepResult) -> Vec<String> {
        step(&self.workspace())
            .err()
            .map_or_else(Vec::new, |failure| failure.findings)
    }
}

const NOTHING: [&str; 0] = [];

#[test]
fn a_workspace_that_keeps_the_rules_passes() {
    let made_up = MadeUp::new();
    assert_eq!(made_up.findings(architecture::step), NOTHING);
    assert_eq!(made_up.findings(tidy::step), NOTHING);
    assert_eq!(made_up.findings(crate::verify::lockfile), NOTHING);
}

#[test]
fn architecture_finds_a_forbidden_arrow_in_a_manifest() {
    let made_up = MadeUp::new();
    made_up.package("cim-ipld", "cim-subject = { path = \"../cim-subject\" }\n");
    assert_eq!(
        made_up.findings(architecture::step),
        ["cim-ipld -> cim-subject: there is no such arrow"]
    );
}

#[test]
fn architecture_finds_a_service_that_names_an_adapter() {
    let made_up = MadeUp::new();
    let adapter = "//! Made up.\npub use cim_store_nats::Log;\n";
    made_up.write("crates/cim-domain/src/open.rs", adapter);
    assert_eq!(made_up.findings(architecture::step), NOTHING);
    made_up.write("crates/cim-domain/src/replay.rs", adapter);
    assert_eq!(
        made_up.findings(architecture::step),
        ["crates/cim-domain/src/replay.rs:2: names cim_store_nats"]
    );
}

#[test]
fn tidy_finds_faults_within_files_tracked_or_not() {
    let made_up = MadeUp::new();
    made_up.write("crates/cim-store/src/clock.rs", "struct Clock;\n");
    let git = made_up
        .workspace()
        .command("git")
        .args(["add", "."])
        .status()
        .unwrap();
    assert!(git.success());
    made_up.write("crates/cim-store/src/helpers.rs", "//! Made up.\n");
    let found = made_up.findings(tidy::step);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found
            .iter()
            .any(|line| line.starts_with("crates/cim-store/src/clock.rs:1: "))
    );
    assert!(
        found
            .iter()
            .any(|line| line.starts_with("crates/cim-store/src/helpers.rs: "))
    );
}

#[test]
fn tidy_looks_at_demos_as_it_does_at_crates() {
    let made_up = MadeUp::new();
    made_up.write("demos/inventory/src/misc.rs", "struct Misc;\n");
    let found = made_up.findings(tidy::step);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found
            .iter()
            .all(|line| line.starts_with("demos/inventory/src/misc.rs:"))
    );
}

#[test]
fn tidy_leaves_out_what_git_ignores() {
    let made_up = MadeUp::new();
    made_up.write(".gitignore", "/target\n");
    made_up.write("target/generated.rs", "struct Generated;\n");
    assert_eq!(made_up.findings(tidy::step), NOTHING);
}

#[test]
fn tidy_finds_what_the_indices_forgot() {
    let made_up = MadeUp::new();
    made_up.package("cim-ipld", "");
    made_up.write("docs/decisions/0002-two.md", "# Two\n");
    made_up.write("docs/format/README.md", "# Formats\n");
    made_up.write("docs/format/segment.md", "# Segment\n");
    assert_eq!(
        made_up.findings(tidy::step),
        [
            "ARCHITECTURE.md: does not mention cim-ipld",
            "docs/decisions/README.md: does not link 0002-two.md",
            "docs/format/README.md: does not link segment.md",
        ]
    );
}

#[test]
fn tidy_finds_a_public_function_that_no_example_uses() {
    let made_up = MadeUp::new();
    let lib = "//! Made up.\n\npub fn open() {}\n#[doc = include_str!(\"../../../README.md\")]\nmod readme {}\n";
    made_up.write("crates/cim-subject/src/lib.rs", lib);
    assert_eq!(
        made_up.findings(tidy::step),
        ["crates/cim-subject/src/lib.rs:3: no example that compiles uses `open`"]
    );
    made_up.write("README.md", "```rust\ncim_subject::open();\n```\n");
    assert_eq!(made_up.findings(tidy::step), NOTHING);
}

#[test]
fn licences_finds_a_package_that_the_list_does_not_allow() {
    let made_up = MadeUp::new();
    made_up.write("deny.toml", "[licenses]\nallow = [\"ISC\"]\n");
    let found = made_up.findings(licences::step);
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(
        found[0],
        "cim-domain 0.1.0: the licence \"MIT\" is not allowed"
    );
}

#[test]
fn lockfile_finds_a_manifest_that_moved_on() {
    let made_up = MadeUp::new();
    made_up.package("cim-ipld", "");
    let found = made_up.findings(crate::verify::lockfile);
    assert!(found[0].contains("--locked"), "{found:?}");
}
