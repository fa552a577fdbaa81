//! The built program in a directory of its own, as a shell runs it.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use cim_cli::ExitCode;
use tempfile::TempDir;

/// A directory to run `cim` in, whose store is `embedded:./cim-data`.
pub(crate) struct Shell(TempDir);

impl Shell {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cim"));
        command.current_dir(self.path()).args(args);
        for variable in ["CIM_STORE", "NO_COLOR"] {
            command.env_remove(variable);
        }
        for option in [
            "CREDS", "TLS_CA", "TLS_CERT", "TLS_KEY", "REPLICAS", "MONITOR",
        ] {
            command.env_remove(format!("CIM_NATS_{option}"));
        }
        // What programs remember of their user.
        command.env("XDG_STATE_HOME", self.path().join("state"));
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// The results of a command that must end well.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(code(&output), ExitCode::Ok.number(), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }
}

pub(crate) fn code(output: &Output) -> u8 {
    output
        .status
        .code()
        .map(|code| u8::try_from(code).unwrap())
        .unwrap()
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Flips a bit wherever a file below `directory` holds `text`; says how often.
pub(crate) fn flip(directory: &Path, text: &[u8]) -> usize {
    let mut flipped = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            flipped += flip(&path, text);
            continue;
        }
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(text.len()).position(|window| window == text) {
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            flipped += 1;
        }
    }
    flipped
}
