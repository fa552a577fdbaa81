//! What `cargo metadata` says, as far as the checks need it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::workspace::{self, Workspace};

/// The packages of the workspace, or of the whole dependency tree.
#[derive(Debug)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    member_ids: BTreeSet<String>,
}

#[derive(Debug)]
pub(crate) struct Package {
    id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    /// `None` for a package that lies on disk.
    pub(crate) source: Option<String>,
    pub(crate) license: Option<String>,
    pub(crate) dependencies: Vec<Dependency>,
}

#[derive(Debug)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) rename: Option<String>,
    pub(crate) kind: Kind,
    pub(crate) optional: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal,
    Dev,
    Build,
}

impl Metadata {
    /// The workspace's own packages, read from the manifests alone.
    pub(crate) fn of_workspace(workspace: &Workspace) -> Result<Self, String> {
        let words = ["metadata", "--format-version=1", "--no-deps"];
        let offline = workspace::output(workspace.cargo().args(words).arg("--offline"));
        let json = offline.or_else(|_| workspace::output(workspace.cargo().args(words)))?;
        Self::parse(&json)
    }

    /// The whole tree as `Cargo.lock` fixes it; fails if the lock file does not fit the manifests.
    ///
    /// Packages for other platforms may not be on this machine, and it may have no network. Then
    /// the tree for this platform is given, and the second value says so.
    pub(crate) fn of_tree(workspace: &Workspace) -> Result<(Self, Option<String>), String> {
        let ask = |more: &[&str]| {
            let words = [
                "metadata",
                "--format-version=1",
                "--all-features",
                "--locked",
            ];
            workspace::output(workspace.cargo().args(words).args(more))
        };
        if let Ok(json) = ask(&["--offline"]) {
            return Ok((Self::parse(&json)?, None));
        }
        let error = match ask(&[]) {
            Ok(json) => return Ok((Self::parse(&json)?, None)),
            Err(error) => error,
        };
        let platform = host()?;
        match ask(&["--offline", "--filter-platform", &platform]) {
            Ok(json) => {
                let note = format!("only the packages for {platform} could be read");
                Ok((Self::parse(&json)?, Some(note)))
            }
            Err(_) => Err(error),
        }
    }

    pub(crate) fn parse(json: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(json)
            .map_err(|error| format!("cargo metadata printed no JSON: {error}"))?;
        let packages = list(&value, "packages")
            .iter()
            .map(Package::parse)
            .collect::<Result<_, _>>()?;
        let member_ids = list(&value, "workspace_members")
            .iter()
            .filter_map(Value::as_str)
            .map(String::from)
            .collect();
        Ok(Self {
            packages,
            member_ids,
        })
    }

    pub(crate) fn is_member(&self, package: &Package) -> bool {
        self.member_ids.contains(&package.id)
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages
            .iter()
            .filter(|package| self.is_member(package))
    }
}

impl Package {
    fn parse(value: &Value) -> Result<Self, String> {
        let dependencies = list(value, "dependencies")
            .iter()
            .map(Dependency::parse)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            id: required(value, "id")?,
            name: required(value, "name")?,
            version: required(value, "version")?,
            source: optional(value, "source"),
            license: optional(value, "license"),
            dependencies,
        })
    }
}

impl Dependency {
    fn parse(value: &Value) -> Result<Self, String> {
        let kind = match value["kind"].as_str() {
            None => Kind::Normal,
            Some("dev") => Kind::Dev,
            Some("build") => Kind::Build,
            Some(other) => return Err(format!("cargo metadata names a dependency kind {other:?}")),
        };
        Ok(Self {
            name: required(value, "name")?,
            rename: optional(value, "rename"),
            kind,
            optional: value["optional"].as_bool().unwrap_or(false),
        })
    }
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn optional(value: &Value, key: &str) -> Option<String> {
    value[key].as_str().map(String::from)
}

fn required(value: &Value, key: &str) -> Result<String, String> {
    optional(value, key).ok_or_else(|| format!("cargo metadata printed a package without {key:?}"))
}

/// The platform that this program was compiled for, as rustc names it.
fn host() -> Result<String, String> {
    let mut rustc = std::process::Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()));
    let text = workspace::output(rustc.arg("-vV"))?;
    String::from_utf8_lossy(&text)
        .lines()
        .find_map(|line| line.strip_prefix("host: ").map(String::from))
        .ok_or_else(|| "rustc -vV names no host".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_without_a_name_is_an_error() {
        let error = Metadata::parse(br#"{"packages": [{"id": "a"}]}"#).unwrap_err();
        assert!(error.contains("without \"name\""), "{error}");
    }

    #[test]
    fn text_that_is_no_json_is_an_error() {
        assert!(
            Metadata::parse(b"error: no manifest")
                .unwrap_err()
                .contains("no JSON")
        );
    }

    #[test]
    fn the_real_workspace_has_this_package_as_a_member() {
        let metadata = Metadata::of_workspace(&Workspace::locate()).unwrap();
        let own = metadata
            .members()
            .find(|package| package.name == "xtask")
            .unwrap();
        let json = own
            .dependencies
            .iter()
            .find(|dependency| dependency.name == "serde_json")
            .unwrap();
        assert_eq!(json.kind, Kind::Normal);
    }

    #[test]
    fn the_host_is_a_platform_triple() {
        assert!(host().unwrap().split('-').count() >= 3);
    }
}
