//! Every case that is written is run, and every case that is run is documented.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use cim_conformance::{BUCKET_CASES, Case, EVENT_LOG_CASES, cases};

/// The names of all cases in a folder of the sources.
fn written(folder: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src")
        .join(folder);
    let mut names = BTreeSet::new();
    for file in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        for part in text.split("\npub(crate) async fn ").skip(1) {
            let (name, rest) = part.split_once('(').unwrap();
            let (_, result) = rest.split_once("-> ").unwrap();
            if result.starts_with("CaseResult") && rest.trim_start().starts_with("t: Trial") {
                names.insert(name.to_owned());
            }
        }
    }
    names
}

fn listed(cases: &[Case]) -> BTreeSet<String> {
    cases.iter().map(|case| case.name.to_owned()).collect()
}

#[test]
fn no_case_of_the_log_is_forgotten() {
    assert_eq!(written("event_log"), listed(EVENT_LOG_CASES));
}

#[test]
fn no_case_of_the_bucket_is_forgotten() {
    assert_eq!(written("bucket"), listed(BUCKET_CASES));
}

#[test]
fn every_case_has_a_name_of_its_own() {
    let names: BTreeSet<_> = cases().map(|case| case.name).collect();
    assert_eq!(names.len(), cases().count());
    assert!(names.len() > 150, "{} cases", names.len());
}

#[test]
fn the_guide_lists_every_case_under_its_line_of_the_contract() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/conformance.md");
    let guide = fs::read_to_string(guide).unwrap();
    let mut contract = "";
    let mut documented = BTreeSet::new();
    for line in guide.lines() {
        if let Some(heading) = line.strip_prefix("### ") {
            contract = heading;
        } else if let Some(name) = line.strip_prefix("- `").and_then(|l| l.strip_suffix('`')) {
            documented.insert((contract.to_owned(), name.to_owned()));
        }
    }
    let expected: BTreeSet<_> = cases()
        .map(|case| (case.contract.to_owned(), case.name.to_owned()))
        .collect();
    let missing: Vec<_> = expected.difference(&documented).collect();
    let surplus: Vec<_> = documented.difference(&expected).collect();
    assert!(missing.is_empty(), "docs/conformance.md lacks {missing:#?}");
    assert!(surplus.is_empty(), "docs/conformance.md has {surplus:#?}");
}

#[test]
#[should_panic(expected = "there is no case `no_such_case`")]
fn a_case_that_does_not_exist_is_not_passed_over() {
    struct Never;
    #[cim_conformance::async_trait]
    impl cim_conformance::Harness for Never {
        type Place = ();
        async fn place(&self) -> Result<(), cim_conformance::HarnessError> {
            Err("not reached".into())
        }
        async fn open(
            &self,
            _: &(),
            _: cim_conformance::Setup,
        ) -> Result<std::sync::Arc<dyn cim_store::Store>, cim_conformance::HarnessError> {
            Err("not reached".into())
        }
        fn persistent(&self) -> bool {
            false
        }
    }
    cim_conformance::run("no_such_case", Never);
}
