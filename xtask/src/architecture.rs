//! The arrows between the workspace's crates, as a table, and the check that there are no others.
//!
//! The arrows keep the promise that services and layers see ports and never adapters. Cargo
//! itself forbids cycles only, so the table is the law. A new arrow is a new line here, with its
//! reason, and a line in ARCHITECTURE.md.

use crate::metadata::{Dependency, Kind, Metadata};
use crate::steps::{Failure, StepResult};
use crate::tidy::tracked_files;
use crate::workspace::Workspace;

/// A dependency that may exist. One that is allowed for use is allowed for tests too.
struct Arrow {
    from: &'static str,
    to: &'static str,
    when: When,
    why: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Always,
    /// Only as an optional dependency, behind a feature.
    Optional,
    /// Only as a dev-dependency.
    Tests,
}
use When::{Always, Optional, Tests};

const fn arrow(from: &'static str, to: &'static str, when: When, why: &'static str) -> Arrow {
    Arrow {
        from,
        to,
        when,
        why,
    }
}

const NAMES: &str = "events, streams and keys are addressed by subjects";
const BLOCKS: &str = "an event is stored as a block with a CID, chained to the one before";
const PORTS: &str = "an adapter implements the ports and speaks in their types";
const SUITE: &str = "its tests run the published suite";
const SHOWS: &str = "a program's surface, above what applications import";

/// Every arrow there may be.
const ARROWS: &[Arrow] = &[
    arrow("cim-store", "cim-subject", Always, NAMES),
    arrow("cim-store", "cim-ipld", Always, BLOCKS),
    arrow("cim-store", "cim-conformance", Tests, SUITE),
    arrow("cim-store-embedded", "cim-store", Always, PORTS),
    arrow("cim-store-embedded", "cim-subject", Always, NAMES),
    arrow("cim-store-embedded", "cim-ipld", Always, BLOCKS),
    arrow("cim-store-embedded", "cim-conformance", Tests, SUITE),
    arrow("cim-store-nats", "cim-store", Always, PORTS),
    arrow("cim-store-nats", "cim-subject", Always, NAMES),
    arrow("cim-store-nats", "cim-ipld", Always, BLOCKS),
    arrow("cim-store-nats", "cim-conformance", Tests, SUITE),
    arrow(
        "cim-conformance",
        "cim-store",
        Always,
        "the suite tests whatever implements the ports",
    ),
    arrow("cim-conformance", "cim-subject", Always, NAMES),
    arrow("cim-conformance", "cim-ipld", Always, BLOCKS),
    arrow(
        "cim-conformance",
        "cim-store-embedded",
        Tests,
        "the suite's crash test needs a disk",
    ),
    arrow(
        "cim-domain",
        "cim-store",
        Always,
        "services and layers stand on the ports",
    ),
    arrow("cim-domain", "cim-subject", Always, NAMES),
    arrow("cim-domain", "cim-ipld", Always, BLOCKS),
    arrow(
        "cim-domain",
        "cim-domain-derive",
        Always,
        "it re-exports #[derive(DomainEvent)]",
    ),
    arrow(
        "cim-domain",
        "cim-store-embedded",
        Optional,
        "`open` chooses the adapter by URL",
    ),
    arrow(
        "cim-domain",
        "cim-store-nats",
        Optional,
        "`open` chooses the adapter by URL",
    ),
    arrow(
        "cim-domain",
        "cim-conformance",
        Tests,
        "every layer passes the published suite",
    ),
    arrow("cim-dashboard", "cim-domain", Always, SHOWS),
    arrow("cim-cli", "cim-dashboard", Always, SHOWS),
    arrow("cim-cli", "cim-domain", Always, SHOWS),
    arrow(
        "cim-cli",
        "cim-store",
        Always,
        "it prints what the ports return",
    ),
    arrow(
        "cim-cli",
        "cim-subject",
        Always,
        "its arguments are patterns",
    ),
    arrow("cim-cli", "cim-ipld", Always, "it prints CIDs"),
    arrow(
        "cim-cli",
        "cim-demo-inventory",
        Always,
        "`cim demo` runs the demos",
    ),
    arrow(
        "cim-cli",
        "cim-conformance",
        Tests,
        "its tests run against real NATS servers",
    ),
    arrow(
        "cim-demo-inventory",
        "cim-domain",
        Always,
        "a demo uses what an application uses, and nothing else",
    ),
];

/// Crates from which no arrow starts.
const LEAVES: &[&str] = &["cim-subject", "cim-ipld", "cim-domain-derive", "xtask"];

/// The adapters as Rust names them, and the one crate that may name some of them.
const ADAPTERS: &[&str] = &["cim_store_embedded", "cim_store_nats"];
const DOMAIN_SOURCES: &str = "crates/cim-domain/src/";
const MAY_NAME_ADAPTERS: &[&str] = &["open", "persistence/nats"];

const WAY_OUT: &str = "go through the ports of cim-store, or argue for a new line in \
                       xtask/src/architecture.rs and ARCHITECTURE.md";

pub(crate) fn step(workspace: &Workspace) -> StepResult {
    let failure = |error| Failure::new(error, "repair what keeps cargo or git from answering");
    let metadata = Metadata::of_workspace(workspace).map_err(failure)?;
    let mut findings = forbidden_arrows(&metadata);
    for path in tracked_files(workspace).map_err(failure)? {
        if path.starts_with(DOMAIN_SOURCES) && path.ends_with(".rs") {
            let text = workspace.read(&path).map_err(failure)?;
            findings.extend(adapters_named(&path, &text));
        }
    }
    Failure::unless_empty(findings, WAY_OUT)?;
    Ok(vec![format!(
        "{} crates, {} arrows allowed",
        metadata.members().count(),
        ARROWS.len()
    )])
}

fn forbidden_arrows(metadata: &Metadata) -> Vec<String> {
    let is_ours = |name: &str| metadata.members().any(|member| member.name == name);
    let mut findings = Vec::new();
    for package in metadata.members() {
        let name = package.name.as_str();
        if !LEAVES.contains(&name) && ARROWS.iter().all(|arrow| arrow.from != name) {
            findings.push(format!("{name} is not in the table of crates and arrows"));
            continue;
        }
        let ours = package
            .dependencies
            .iter()
            .filter(|dependency| is_ours(&dependency.name));
        findings.extend(ours.filter_map(|dependency| objection(name, dependency)));
    }
    findings
}

/// What speaks against this dependency of `from`, if anything does.
fn objection(from: &str, dependency: &Dependency) -> Option<String> {
    let to = dependency.name.as_str();
    if let Some(rename) = &dependency.rename {
        return Some(format!(
            "{from} renames {to} to {rename}, which hides it from readers"
        ));
    }
    let allowed = ARROWS
        .iter()
        .find(|arrow| arrow.from == from && arrow.to == to);
    match (allowed, dependency.kind) {
        (_, Kind::Build) => Some(format!(
            "{from} -> {to}: no build script uses our own crates"
        )),
        (None, _) => Some(format!("{from} -> {to}: there is no such arrow")),
        (Some(_), Kind::Dev) => None,
        (Some(arrow), Kind::Normal) => match arrow.when {
            Always => None,
            Optional if dependency.optional => None,
            Optional => Some(format!(
                "{from} -> {to}: only behind a feature; {}",
                arrow.why
            )),
            Tests => Some(format!(
                "{from} -> {to}: only as a dev-dependency; {}",
                arrow.why
            )),
        },
    }
}

/// Lines of cim-domain that name an adapter outside the modules that may.
fn adapters_named(path: &str, text: &str) -> Vec<String> {
    let module = path
        .strip_prefix(DOMAIN_SOURCES)
        .unwrap_or(path)
        .trim_end_matches(".rs");
    let may = MAY_NAME_ADAPTERS.iter().any(|allowed| {
        module
            .strip_prefix(allowed)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    if may {
        return Vec::new();
    }
    let named = |(number, line): (usize, &str)| {
        let adapter = ADAPTERS.iter().find(|adapter| line.contains(**adapter))?;
        Some(format!("{path}:{}: names {adapter}", number + 1))
    };
    text.lines().enumerate().filter_map(named).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A workspace of all the crates in which one of them has one dependency.
    fn workspace_with(from: &str, dependency: &str) -> Metadata {
        let mut names: Vec<&str> = ARROWS
            .iter()
            .flat_map(|arrow| [arrow.from, arrow.to])
            .collect();
        names.extend([from, "xtask"]);
        names.sort_unstable();
        names.dedup();
        let package = |name: &str| {
            let dependencies = if name == from { dependency } else { "" };
            format!(
                r#"{{"id": "path+{name}", "name": "{name}", "version": "0.1.0",
                     "dependencies": [{dependencies}]}}"#
            )
        };
        let packages: Vec<String> = names.iter().map(|name| package(name)).collect();
        let ids: Vec<String> = names
            .iter()
            .map(|name| format!("\"path+{name}\""))
            .collect();
        let json = format!(
            r#"{{"packages": [{}], "workspace_members": [{}]}}"#,
            packages.join(","),
            ids.join(",")
        );
        Metadata::parse(json.as_bytes()).unwrap()
    }

    fn findings(from: &str, to: &str, kind: &str, optional: bool) -> Vec<String> {
        let dependency = format!(
            r#"{{"name": "{to}", "rename": null, "kind": {kind}, "optional": {optional}}}"#
        );
        forbidden_arrows(&workspace_with(from, &dependency))
    }

    const NORMAL: &str = "null";
    const DEV: &str = r#""dev""#;
    const BUILD: &str = r#""build""#;

    #[test]
    fn arrows_of_the_table_are_allowed() {
        for (from, to, kind, optional) in [
            ("cim-store", "cim-subject", NORMAL, false),
            ("cim-store-embedded", "cim-store", NORMAL, false),
            ("cim-store-embedded", "cim-conformance", DEV, false),
            ("cim-domain", "cim-store-embedded", NORMAL, true),
            ("cim-domain", "cim-store-embedded", DEV, false),
            ("cim-conformance", "cim-store-embedded", DEV, false),
            ("cim-cli", "cim-domain", NORMAL, false),
            ("cim-cli", "cim-demo-inventory", NORMAL, false),
            ("cim-demo-inventory", "cim-domain", NORMAL, false),
        ] {
            assert_eq!(
                findings(from, to, kind, optional),
                [""; 0],
                "{from} -> {to}"
            );
        }
    }

    #[test]
    fn arrows_outside_the_table_are_found() {
        for (from, to) in [
            ("cim-subject", "cim-store"),
            ("cim-ipld", "cim-subject"),
            ("cim-store", "cim-store-embedded"),
            ("cim-store-embedded", "cim-domain"),
            ("cim-store-embedded", "cim-store-nats"),
            ("cim-store-nats", "cim-store-embedded"),
            ("cim-domain", "cim-cli"),
            ("cim-cli", "cim-store-embedded"),
            ("xtask", "cim-store"),
            ("cim-demo-inventory", "cim-store"),
            ("cim-domain", "cim-demo-inventory"),
        ] {
            for kind in [NORMAL, DEV] {
                let found = findings(from, to, kind, false);
                assert_eq!(found, [format!("{from} -> {to}: there is no such arrow")]);
            }
        }
    }

    #[test]
    fn an_adapter_that_cim_domain_always_needs_is_found() {
        let found = findings("cim-domain", "cim-store-embedded", NORMAL, false);
        assert!(found[0].contains("only behind a feature"), "{found:?}");
    }

    #[test]
    fn a_dependency_of_tests_that_became_one_of_the_library_is_found() {
        for from in ["cim-store", "cim-domain"] {
            let found = findings(from, "cim-conformance", NORMAL, true);
            assert!(found[0].contains("only as a dev-dependency"), "{found:?}");
        }
    }

    #[test]
    fn build_dependencies_on_our_own_crates_are_found() {
        let found = findings("cim-store", "cim-subject", BUILD, false);
        assert!(found[0].contains("no build script"), "{found:?}");
    }

    #[test]
    fn a_renamed_crate_is_found() {
        let dependency = r#"{"name": "cim-subject", "rename": "names", "kind": null}"#;
        let found = forbidden_arrows(&workspace_with("cim-store", dependency));
        assert!(
            found[0].contains("renames cim-subject to names"),
            "{found:?}"
        );
    }

    #[test]
    fn a_crate_that_the_table_does_not_know_is_found() {
        let found = forbidden_arrows(&workspace_with("cim-extra", ""));
        assert_eq!(
            found,
            ["cim-extra is not in the table of crates and arrows"]
        );
    }

    #[test]
    fn dependencies_from_outside_are_not_this_checks_business() {
        assert_eq!(findings("cim-subject", "serde", NORMAL, false), [""; 0]);
    }

    #[test]
    fn a_service_that_names_an_adapter_is_found_with_its_line() {
        let text = "//! Repositories.\n\nuse cim_store_embedded::Store;\n";
        let found = adapters_named("crates/cim-domain/src/persistence/repository.rs", text);
        assert_eq!(
            found,
            ["crates/cim-domain/src/persistence/repository.rs:3: names cim_store_embedded"]
        );
        assert_eq!(
            adapters_named("crates/cim-domain/src/opening.rs", text).len(),
            1
        );
    }

    #[test]
    fn the_two_modules_that_choose_adapters_may_name_them() {
        let text = "use cim_store_nats::Store;";
        for module in [
            "open.rs",
            "open/url.rs",
            "persistence/nats.rs",
            "persistence/nats/mod.rs",
        ] {
            let path = format!("{DOMAIN_SOURCES}{module}");
            assert_eq!(adapters_named(&path, text), [""; 0], "{path}");
        }
    }

    #[test]
    fn the_table_has_no_arrow_twice_and_gives_a_reason_for_each() {
        let mut seen = BTreeMap::new();
        for arrow in ARROWS {
            assert!(!arrow.why.is_empty(), "{} -> {}", arrow.from, arrow.to);
            assert!(
                seen.insert((arrow.from, arrow.to), arrow.when).is_none(),
                "{}",
                arrow.from
            );
            assert!(
                !LEAVES.contains(&arrow.from),
                "{} is called a leaf",
                arrow.from
            );
        }
    }

    #[test]
    fn nothing_an_adapter_stands_on_leads_to_another_adapter() {
        for adapter in ["cim-store-embedded", "cim-store-nats"] {
            let mut reached = vec![adapter];
            let mut next = 0;
            while let Some(from) = reached.get(next).copied() {
                next += 1;
                let arrows = ARROWS
                    .iter()
                    .filter(|arrow| arrow.from == from && arrow.when != Tests);
                for arrow in arrows {
                    if !reached.contains(&arrow.to) {
                        reached.push(arrow.to);
                    }
                }
            }
            reached.sort_unstable();
            let mut expected = vec!["cim-ipld", "cim-store", "cim-subject", adapter];
            expected.sort_unstable();
            assert_eq!(reached, expected);
        }
    }
}
