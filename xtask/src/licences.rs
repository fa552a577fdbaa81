//! What may come into the dependency tree: licences, sources, and known advisories.
//!
//! Licences and sources are checked here, from `cargo metadata` and the list in `deny.toml`, so
//! that the check needs neither another tool nor a network. `advisories` asks cargo-deny where it
//! is installed.

mod advisories;
mod allow_list;
mod spdx;

use std::collections::BTreeMap;

use allow_list::AllowList;

use crate::metadata::{Metadata, Package};
use crate::steps::{Failure, StepResult};
use crate::workspace::Workspace;

const CRATES_IO: &[&str] = &[
    "registry+https://github.com/rust-lang/crates.io-index",
    "sparse+https://index.crates.io/",
];

const WAY_OUT: &str = "take another crate or version; a licence to allow is argued for in \
                       docs/decisions and added to deny.toml";

pub(crate) fn step(workspace: &Workspace) -> StepResult {
    let failure = |error| Failure::new(error, "repair deny.toml or Cargo.lock");
    let allowed = workspace
        .read("deny.toml")
        .and_then(|text| AllowList::parse(&text));
    let allowed = allowed.map_err(failure)?;
    let (tree, platform_note) = Metadata::of_tree(workspace).map_err(failure)?;

    let mut findings = objections(&tree, &allowed);
    let mut notes = vec![format!("{} packages", tree.packages.len())];
    notes.extend(platform_note);
    notes.extend(duplicates(&tree));
    match advisories::check(workspace) {
        Ok(note) => notes.push(note),
        Err(finding) => findings.push(finding),
    }
    Failure::unless_empty(findings, WAY_OUT)?;
    Ok(notes)
}

fn objections(tree: &Metadata, allowed: &AllowList) -> Vec<String> {
    let mut findings = Vec::new();
    for package in &tree.packages {
        let Package { name, version, .. } = package;
        if let Err(why) = licence(package, allowed) {
            findings.push(format!("{name} {version}: {why}"));
        }
        if let Err(why) = source(package, tree.is_member(package)) {
            findings.push(format!("{name} {version}: {why}"));
        }
    }
    findings
}

fn licence(package: &Package, allowed: &AllowList) -> Result<(), String> {
    let expression = package.license.as_deref().ok_or("names no SPDX licence")?;
    let parsed = spdx::Expression::parse(expression)
        .map_err(|why| format!("the licence {expression:?} cannot be read: {why}"))?;
    if parsed.is_satisfied(&|licence| allowed.contains(licence)) {
        Ok(())
    } else {
        Err(format!("the licence {expression:?} is not allowed"))
    }
}

fn source(package: &Package, is_member: bool) -> Result<(), String> {
    match package.source.as_deref() {
        None if is_member => Ok(()),
        None => Err("lies on disk outside of the workspace".to_owned()),
        Some(source) if CRATES_IO.contains(&source) => Ok(()),
        Some(source) => Err(format!("comes from {source}, not from crates.io")),
    }
}

/// Packages of which the tree holds several versions: a cost, not a fault.
fn duplicates(tree: &Metadata) -> Option<String> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in &tree.packages {
        versions
            .entry(&package.name)
            .or_default()
            .push(&package.version);
    }
    let several: Vec<String> = versions
        .iter()
        .filter(|(_, versions)| versions.len() > 1)
        .map(|(name, versions)| format!("{name} ({})", versions.join(", ")))
        .collect();
    (!several.is_empty()).then(|| format!("in several versions: {}", several.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: [&str; 0] = [];
    const REGISTRY: &str = "\"registry+https://github.com/rust-lang/crates.io-index\"";

    /// A tree of one member, `own`, and one package with this licence and source (as JSON).
    fn tree(license: &str, source: &str) -> Metadata {
        let json = format!(
            r#"{{"workspace_members": ["own"], "packages": [
                {{"id": "own", "name": "own", "version": "0.1.0", "source": null,
                  "license": "MIT OR Apache-2.0", "dependencies": []}},
                {{"id": "dep", "name": "dep", "version": "1.2.3", "source": {source},
                  "license": {license}, "dependencies": []}}]}}"#
        );
        Metadata::parse(json.as_bytes()).unwrap()
    }

    fn found(license: &str, source: &str) -> Vec<String> {
        let allowed = AllowList::parse("[licenses]\nallow = [\"MIT\", \"Apache-2.0\"]").unwrap();
        objections(&tree(license, source), &allowed)
    }

    #[test]
    fn an_allowed_licence_from_the_registry_passes() {
        assert_eq!(found("\"MIT OR GPL-3.0-only\"", REGISTRY), NOTHING);
        assert_eq!(
            found("\"MIT/Apache-2.0\"", "\"sparse+https://index.crates.io/\""),
            NOTHING
        );
    }

    #[test]
    fn a_licence_that_is_not_allowed_is_found() {
        assert_eq!(
            found("\"MIT AND GPL-3.0-only\"", REGISTRY),
            ["dep 1.2.3: the licence \"MIT AND GPL-3.0-only\" is not allowed"]
        );
    }

    #[test]
    fn a_missing_or_unreadable_licence_is_found() {
        assert_eq!(
            found("null", REGISTRY),
            ["dep 1.2.3: names no SPDX licence"]
        );
        assert!(found("\"MIT OR\"", REGISTRY)[0].contains("cannot be read"));
    }

    #[test]
    fn a_source_other_than_the_registry_is_found() {
        for source in [
            "\"git+https://github.com/rust-lang/crates.io-index#0123\"",
            "\"registry+https://example.org/index\"",
        ] {
            assert!(found("\"MIT\"", source)[0].contains("not from crates.io"));
        }
        assert!(found("\"MIT\"", "null")[0].contains("outside of the workspace"));
    }

    #[test]
    fn several_versions_of_a_package_are_noted() {
        let package = |version| {
            format!(
                r#"{{"id": "a{version}", "name": "a", "version": "{version}", "license": "MIT"}}"#
            )
        };
        let json = format!(
            r#"{{"packages": [{}, {}]}}"#,
            package("1.0.0"),
            package("2.0.0")
        );
        let tree_with_two = Metadata::parse(json.as_bytes()).unwrap();
        assert_eq!(
            duplicates(&tree_with_two).unwrap(),
            "in several versions: a (1.0.0, 2.0.0)"
        );
        assert_eq!(duplicates(&tree("\"MIT\"", REGISTRY)), None);
    }

    #[test]
    fn the_projects_own_list_allows_its_own_licence_and_no_copyleft() {
        let text = Workspace::locate().read("deny.toml").unwrap();
        let allowed = AllowList::parse(&text).unwrap();
        assert!(allowed.contains("MIT") && allowed.contains("Apache-2.0"));
        assert!(!allowed.contains("GPL-3.0-only") && !allowed.contains("AGPL-3.0-only"));
    }
}
