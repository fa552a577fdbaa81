//! The rule of examples: every public function stands in one that compiles.
//!
//! Documentation says what a function does; an example says when one reaches for it, and a
//! compiled one stays true. A name counts wherever it is used, so one example that shows a type at
//! work serves all of its methods, and functions of the same name serve each other.

mod blocks;
mod documentation;
mod functions;

use std::collections::{BTreeMap, BTreeSet};

use blocks::Used;
use documentation::Page;
use functions::{Declared, Function};
use proc_macro2::TokenStream;

/// The crates that keep the rule.
const CRATES: &[&str] = &[
    "cim-domain",
    "cim-ipld",
    "cim-store",
    "cim-store-embedded",
    "cim-store-nats",
    "cim-subject",
];

/// Public functions of [`CRATES`] that no example uses, and files that are no Rust. `files` are
/// those of the workspace: path from the root, and text.
pub(super) fn functions_without_one(files: &BTreeMap<String, String>) -> Vec<String> {
    let (mut used, mut findings, mut declared) = (Used::default(), Vec::new(), BTreeMap::new());
    for (path, text) in files.iter().filter(|(path, _)| is_of_library(path, files)) {
        match read(text) {
            Ok((pages, declares)) => {
                for page in &pages {
                    used.add_page(match page {
                        Page::Text(text) => text,
                        Page::Included(page) => {
                            files.get(&resolved(path, page)).map_or("", String::as_str)
                        }
                    });
                }
                declared.insert(path.as_str(), declares);
            }
            Err(error) => {
                let line = error.span().start().line;
                findings.push(format!("{path}:{line}: cannot be read as Rust: {error}"));
            }
        }
    }
    let without = CRATES
        .iter()
        .flat_map(|name| functions_below(&format!("crates/{name}/src/"), &declared))
        .filter(|(_, function)| {
            let implemented = function.of_trait && used.implements(&function.name);
            !implemented && !used.calls(&function.name)
        })
        .map(|(path, Function { name, line, .. })| {
            format!("{path}:{line}: no example that compiles uses `{name}`")
        });
    findings.extend(without);
    findings
}

/// True for the sources of a library, whose documentation is compiled.
fn is_of_library(path: &str, files: &BTreeMap<String, String>) -> bool {
    path.ends_with(".rs")
        && path
            .find("/src/")
            .is_some_and(|at| files.contains_key(&format!("{}/src/lib.rs", &path[..at])))
}

/// The documentation of a source file, and what it declares.
fn read(text: &str) -> syn::Result<(Vec<Page>, Declared)> {
    let code: TokenStream = syn::parse_str(text)?;
    let file: syn::File = syn::parse2(code.clone())?;
    Ok((documentation::pages(code), Declared::by(&file.items)))
}

/// A path that is given relative to the file `from`.
fn resolved(from: &str, relative: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in relative.split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The public functions below a folder, each with its file.
fn functions_below<'a>(
    folder: &str,
    declared: &'a BTreeMap<&str, Declared>,
) -> Vec<(&'a str, &'a Function)> {
    let files = || declared.iter().filter(|(path, _)| path.starts_with(folder));
    let hidden_types: BTreeSet<&String> = files()
        .flat_map(|(_, declared)| &declared.hidden_types)
        .collect();
    let left_out: Vec<String> = files()
        .flat_map(|(path, declared)| {
            let modules = declared.modules_left_out.iter();
            modules.map(move |module| format!("{}/{module}", folder_of_modules(path)))
        })
        .collect();

    let is_in = |path: &str, module: &String| {
        path.strip_prefix(module.as_str())
            .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    };
    let is_shown = |function: &&Function| {
        let of_type = function.of_type.as_ref();
        !of_type.is_some_and(|of_type| hidden_types.contains(of_type))
    };
    files()
        .filter(|(path, _)| !left_out.iter().any(|module| is_in(path, module)))
        .flat_map(|(path, declared)| {
            let shown = declared.functions.iter().filter(is_shown);
            shown.map(|function| (*path, function))
        })
        .collect()
}

/// Where the modules are that a source file declares.
fn folder_of_modules(path: &str) -> &str {
    ["/lib.rs", "/mod.rs", ".rs"]
        .iter()
        .find_map(|end| path.strip_suffix(end))
        .unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: [&str; 0] = [];

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let owned = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
        functions_without_one(&files.iter().map(owned).collect())
    }

    const LIB: &str = "crates/cim-subject/src/lib.rs";

    #[test]
    fn a_public_function_in_no_example_is_found_with_its_place() {
        assert_eq!(
            found(&[(LIB, "//! Doc.\npub fn open() {}\n")]),
            ["crates/cim-subject/src/lib.rs:2: no example that compiles uses `open`"]
        );
    }

    #[test]
    fn an_example_serves_wherever_it_stands() {
        let function = (LIB, "pub fn open() {}");
        let example = "/// ```\n/// open();\n/// ```\nfn private() {}\n";
        let other = "crates/cim-domain/src/lib.rs";
        assert_eq!(found(&[function, (other, example)]), NOTHING);
        // The documentation of a program is not compiled.
        assert_eq!(
            found(&[function, ("crates/cim-cli/src/main.rs", example)]).len(),
            1
        );
    }

    #[test]
    fn a_page_counts_if_a_library_includes_it_as_documentation() {
        let page = ("docs/guide/open.md", "```rust\nopen();\n```\n");
        let function = ("crates/cim-subject/src/open.rs", "pub fn open() {}");
        assert_eq!(found(&[page, function, (LIB, "//! Doc.\n")]).len(), 1);
        let included = "#[doc = include_str!(\"../../../docs/guide/open.md\")]\nmod guide {}";
        assert_eq!(found(&[page, function, (LIB, included)]), NOTHING);
        let read = "const PAGE: &str = include_str!(\"../../../docs/guide/open.md\");";
        assert_eq!(found(&[page, function, (LIB, read)]).len(), 1);
    }

    #[test]
    fn a_method_of_a_trait_may_be_implemented_instead_of_called() {
        let example = "/// ```\n/// impl Read for A { fn read(&self) {} }\n/// ```\n";
        let declared = format!("{example}pub trait Read {{ fn read(&self); }}");
        assert_eq!(found(&[(LIB, &declared)]), NOTHING);
        let other = format!("{example}pub fn read() {{}}");
        assert_eq!(found(&[(LIB, &other)]).len(), 1);
    }

    #[test]
    fn methods_of_hidden_types_and_what_is_in_hidden_or_test_modules_are_left_out() {
        let lib = "#[doc(hidden)] pub mod machinery;\nmod log;\n";
        let log = "#[cfg(test)]\nmod cases;\n#[doc(hidden)]\npub struct Machine;\n";
        let function = "pub fn a() {}";
        let files = [
            (LIB, lib),
            ("crates/cim-subject/src/log.rs", log),
            ("crates/cim-subject/src/log/cases.rs", function),
            ("crates/cim-subject/src/log/cases/more.rs", function),
            (
                "crates/cim-subject/src/machinery.rs",
                "impl Machine { pub fn a() {} }",
            ),
            (
                "crates/cim-subject/src/wheels.rs",
                "impl Machine { pub fn a() {} }",
            ),
        ];
        assert_eq!(found(&files), NOTHING);
        let shown = ("crates/cim-subject/src/log/casesmore.rs", function);
        assert_eq!(found(&[files.as_slice(), &[shown]].concat()).len(), 1);
    }

    #[test]
    fn a_source_that_is_no_rust_is_found_with_its_place() {
        for (text, found_at) in [("\npub fn (", ":2: "), ("mod a;\n\n1", ":3: ")] {
            let found = found(&[(LIB, text)]);
            assert!(
                found.len() == 1 && found[0].starts_with(&format!("{LIB}{found_at}")),
                "{found:?}"
            );
        }
    }

    #[test]
    fn crates_that_do_not_keep_the_rule_need_no_examples() {
        assert_eq!(
            found(&[("crates/cim-conformance/src/lib.rs", "pub fn a() {}")]),
            NOTHING
        );
    }
}
