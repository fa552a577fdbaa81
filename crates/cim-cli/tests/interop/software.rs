//! The programs of others that tests run, with the scripts in this folder.

use std::ffi::OsStr;
use std::process::{Command, Output};

use cim_conformance::foreign_tools::{ForeignTools, NpmPackages, PythonPackages};
use serde::de::DeserializeOwned;
use tempfile::TempDir;

/// Copied to where the packages can be imported from.
const MODULES: &[(&str, &str)] = &[
    ("copy_blocks.mjs", include_str!("copy_blocks.mjs")),
    ("read_blocks.mjs", include_str!("read_blocks.mjs")),
    ("read_history.mjs", include_str!("read_history.mjs")),
    ("write_blocks.mjs", include_str!("write_blocks.mjs")),
];

fn tools() -> ForeignTools {
    ForeignTools::of_target(env!("CARGO_TARGET_TMPDIR"))
}

/// What a script said, and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    output: Output,
}

impl Ran {
    fn new(mut command: Command, args: &[&OsStr]) -> Self {
        let output = command.args(args).output().unwrap();
        Self { output }
    }

    pub(crate) fn ended_well(&self) -> bool {
        self.output.status.success()
    }

    /// Fails unless it ended well.
    #[track_caller]
    pub(crate) fn well(self) -> Self {
        assert!(self.ended_well(), "{}", self.said());
        self
    }

    /// What it printed, whether it ended well or not.
    #[track_caller]
    pub(crate) fn json<T: DeserializeOwned>(&self) -> T {
        match serde_json::from_slice(&self.output.stdout) {
            Ok(value) => value,
            Err(error) => panic!("{error}: {}", self.said()),
        }
    }

    fn said(&self) -> String {
        let said =
            [&self.output.stdout, &self.output.stderr].map(|said| String::from_utf8_lossy(said));
        format!("{}: {}{}", self.output.status, said[0], said[1])
    }
}

/// The JavaScript implementation of IPLD.
#[derive(Debug)]
pub(crate) struct JavaScript {
    packages: NpmPackages,
    folder: TempDir,
}

impl JavaScript {
    pub(crate) fn new() -> Self {
        let packages = tools()
            .npm_packages(
                "interop-javascript",
                include_str!("package.json"),
                include_str!("package-lock.json"),
            )
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        packages.link_into(&folder).unwrap();
        for (name, text) in MODULES {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Self { packages, folder }
    }

    pub(crate) fn run(&self, module: &str, args: &[&OsStr]) -> Ran {
        Ran::new(self.packages.command(self.folder.path().join(module)), args)
    }
}

/// Implementations of DAG-CBOR for Python.
#[derive(Debug)]
pub(crate) struct Python {
    packages: PythonPackages,
}

impl Python {
    pub(crate) fn new() -> Self {
        let packages = tools()
            .python_packages("interop-python", include_str!("requirements.txt"))
            .unwrap();
        Self { packages }
    }

    pub(crate) fn run(&self, script: &str, args: &[&OsStr]) -> Ran {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop");
        Ran::new(self.packages.command(format!("{folder}/{script}")), args)
    }
}
