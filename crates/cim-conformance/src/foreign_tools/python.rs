//! Packages from PyPI: installed by pip into a folder of their own, each file compared with its
//! checksum before it is unpacked. No virtual environment: Debian's Python has no `venv` by itself.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{ForeignTools, ForeignToolsError, install};

const WAY_OUT: &str = "this needs Python 3.10 or newer with pip, and once a way to PyPI (on Debian: \
                       apt install python3-pip); another Python is named in CIM_PYTHON";

/// A Python that has packages.
#[derive(Clone, Debug)]
pub struct PythonPackages {
    python: OsString,
    folder: PathBuf,
}

impl ForeignTools {
    /// A Python with the packages that `requirements` pins, in pip's format. Every package needs
    /// its checksums there, also those that others depend on. `name` is that of their folder.
    ///
    /// # Errors
    /// There is no Python with pip, or pip failed, as it does where a checksum differs.
    pub fn python_packages(
        &self,
        name: &str,
        requirements: &str,
    ) -> Result<PythonPackages, ForeignToolsError> {
        let mut which = Command::new(&self.python);
        which.args(["-c", "import sys; print(sys.executable, sys.version)"]);
        let which = install::run(&mut which, WAY_OUT)?;
        // A compiled package fits one version of Python.
        let which = String::from_utf8_lossy(&which.stdout).trim().to_owned();
        let contents = format!("{requirements}\n# {which}\n");
        let folder = install::once(self, name, &contents, |folder| {
            let file = folder.join("requirements.txt");
            std::fs::write(&file, requirements).map_err(install::failed("writing", &file))?;
            let mut pip = Command::new(&self.python);
            pip.args(["-m", "pip", "install", "--quiet", "--no-input"])
                .args(["--disable-pip-version-check", "--retries", "5"])
                // The pins decide; some packages ask for a newer Python than they need.
                .arg("--ignore-requires-python")
                .args(["--only-binary", ":all:", "--require-hashes"])
                .arg("--target")
                .arg(folder)
                .arg("--requirement")
                .arg(&file);
            install::run(&mut pip, WAY_OUT).map(drop)
        })?;
        Ok(PythonPackages {
            python: self.python.clone(),
            folder,
        })
    }
}

impl PythonPackages {
    /// The folder that they are installed in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs a script that may import them.
    pub fn command(&self, script: impl AsRef<Path>) -> Command {
        let mut command = Command::new(&self.python);
        command
            .env("PYTHONPATH", &self.folder)
            .env("PYTHONNOUSERSITE", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .arg(script.as_ref());
        command
    }
}

#[cfg(test)]
mod tests {
    use super::super::made_up::Machine;

    const ONE: &str = "one==1.0 --hash=sha256:00";

    #[test]
    fn what_was_installed_once_is_not_installed_again() {
        let machine = Machine::new();
        machine.python("");
        let first = machine.tools().python_packages("p", ONE).unwrap();
        assert!(first.folder().join("installed").is_file());
        let again = machine.tools().python_packages("p", ONE).unwrap();
        assert_eq!(again.folder(), first.folder());
        assert_eq!(machine.calls("pip"), 1);
    }

    #[test]
    fn other_requirements_or_another_python_are_installed_anew() {
        let machine = Machine::new();
        machine.python("");
        machine.tools().python_packages("p", ONE).unwrap();
        machine.tools().python_packages("p", "two==2.0").unwrap();
        assert_eq!(machine.calls("pip"), 2);
        machine.says_python("3.15.0");
        machine.tools().python_packages("p", "two==2.0").unwrap();
        assert_eq!(machine.calls("pip"), 3);
    }

    #[test]
    fn an_installation_that_failed_is_tried_again_from_the_beginning() {
        let machine = Machine::new();
        machine.python("test $(calls pip) = 3");
        let packages = machine.tools().python_packages("p", ONE).unwrap();
        assert_eq!(machine.calls("pip"), 3);
        let installed = std::fs::read_to_string(packages.folder().join("installed")).unwrap();
        assert_eq!(installed, "3\n");
    }

    #[test]
    fn what_never_gets_complete_is_an_error_that_says_why_and_what_to_do() {
        let machine = Machine::new();
        machine.python("echo 'THESE PACKAGES DO NOT MATCH THE HASHES' >&2; false");
        for times in [3, 6] {
            let error = machine.tools().python_packages("p", ONE).unwrap_err();
            let error = error.to_string();
            assert_eq!(machine.calls("pip"), times);
            for part in ["DO NOT MATCH THE HASHES", "--require-hashes", "CIM_PYTHON"] {
                assert!(error.contains(part), "{error}");
            }
        }
    }

    #[test]
    fn a_machine_without_python_is_told_what_to_do() {
        let error = Machine::new().tools().python_packages("p", ONE);
        let error = error.unwrap_err().to_string();
        for part in ["python3` can't be run", "apt install python3-pip"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_script_finds_the_packages() {
        let machine = Machine::new();
        machine.python("");
        let packages = machine.tools().python_packages("p", ONE).unwrap();
        let command = packages.command("script.py");
        let path = command.get_envs().find(|(name, _)| *name == "PYTHONPATH");
        assert_eq!(path.unwrap().1.unwrap(), packages.folder());
        assert_eq!(command.get_args().next().unwrap(), "script.py");
    }
}
