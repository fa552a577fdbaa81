//! Rules about one file: its size, name, first line and forbidden words.

const LINES_MAX: usize = 800;
const BYTES_MAX: usize = 1024 * 1024;

/// A line that starts with this and goes on with a reason lets a file be longer.
const LONG_BECAUSE: &str = "// tidy: long because ";

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc", "v2"];

/// What must not stay in code, and what to do instead. Written in two halves, so that this file
/// keeps its own rule.
const CODE_BANNED: &[(&str, &str)] = &[
    (concat!("todo", "!("), "finish it or leave it out"),
    (concat!("unimplemented", "!("), "finish it or leave it out"),
    (concat!("dbg", "!("), "remove it"),
    (concat!("#[", "ignore"), "a test runs or is deleted"),
    (
        concat!("```", "ignore"),
        "make the example compile, or call it `text`",
    ),
];

/// Words that promise work for later, in any text.
const WORDS_BANNED: &[&str] = &[concat!("FIX", "ME"), concat!("X", "XX")];

/// Beginnings of paths that exist on one machine only.
const MACHINE_PATHS: &[&str] = &[
    concat!("/", "work/"),
    concat!("/", "tmp/"),
    concat!("/", "root/"),
    concat!("/", "home/"),
    concat!("/", "Users/"),
];

/// Everything that is wrong with a file, each with its place.
pub(super) fn findings(path: &str, bytes: &[u8]) -> Vec<String> {
    let mut findings = Vec::new();
    if bytes.len() > BYTES_MAX {
        findings.push(format!(
            "{path}: larger than 1 MiB; fetch or generate it instead"
        ));
    }
    if bytes.contains(&0) {
        return findings;
    }
    let text = String::from_utf8_lossy(bytes);
    let is_rust = path.ends_with(".rs");
    if is_rust {
        findings.extend(about_a_module(path, &text));
    }
    for (number, line) in text.lines().enumerate() {
        let place = format!("{path}:{}", number + 1);
        if is_rust {
            findings.extend(banned_code(line).map(|what| format!("{place}: {what}")));
            findings.extend(empty_module_name(line).map(|what| format!("{place}: {what}")));
        }
        findings.extend(banned_word(line).map(|what| format!("{place}: {what}")));
        findings.extend(machine_path(line).map(|what| format!("{place}: {what}")));
    }
    findings
}

fn about_a_module(path: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    if !text.starts_with("//!") {
        findings.push(format!(
            "{path}:1: the first line must be `//!`: what this is, and why"
        ));
    }
    let lines = text.lines().count();
    let has_reason = |line: &str| {
        line.trim_start()
            .strip_prefix(LONG_BECAUSE)
            .is_some_and(|why| !why.trim().is_empty())
    };
    if lines > LINES_MAX && !text.lines().any(has_reason) {
        findings.push(format!(
            "{path}: {lines} lines, more than {LINES_MAX}; split it, or add `{LONG_BECAUSE}…`"
        ));
    }
    let names = path.trim_end_matches(".rs").split('/');
    findings.extend(
        names
            .filter(|name| EMPTY_NAMES.contains(name))
            .map(|name| format!("{path}: `{name}` does not say what is inside")),
    );
    findings
}

/// A `mod` item with a name that says nothing, with or without a body.
fn empty_module_name(line: &str) -> Option<String> {
    let mut words = line
        .split_whitespace()
        .skip_while(|word| word.starts_with("pub"));
    let is_module = words.next() == Some("mod");
    let name = words.next()?.trim_end_matches([';', '{']);
    (is_module && EMPTY_NAMES.contains(&name))
        .then(|| format!("module `{name}` does not say what is inside"))
}

fn banned_code(line: &str) -> Option<String> {
    let (banned, instead) = CODE_BANNED
        .iter()
        .find(|(banned, _)| line.contains(banned))?;
    Some(format!("`{banned}` is not allowed: {instead}"))
}

fn banned_word(line: &str) -> Option<String> {
    let is_there = |word: &&&str| {
        line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .any(|found| found == **word)
    };
    WORDS_BANNED
        .iter()
        .find(is_there)
        .map(|word| format!("`{word}` is not allowed: do it now"))
}

/// An absolute path of somebody's machine; a part of a longer path or of an URL is none.
fn machine_path(line: &str) -> Option<String> {
    let starts_a_path = |at: usize| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && !"._-~/}>*".contains(c))
    };
    let found = MACHINE_PATHS
        .iter()
        .find(|path| line.match_indices(**path).any(|(at, _)| starts_a_path(at)))?;
    Some(format!("`{found}…` exists on one machine only"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: [&str; 0] = [];

    #[test]
    fn a_file_that_keeps_the_rules_has_no_findings() {
        let text = "//! Subjects.\n\npub mod pattern;\nfn main() {}\n";
        assert_eq!(findings("crates/a/src/lib.rs", text.as_bytes()), NOTHING);
    }

    #[test]
    fn a_module_without_documentation_is_found() {
        for text in ["", "\n//! Late.", "// A comment.", "use a::B;"] {
            let found = findings("a.rs", text.as_bytes());
            assert_eq!(
                found,
                ["a.rs:1: the first line must be `//!`: what this is, and why"]
            );
        }
    }

    #[test]
    fn a_long_file_is_found_unless_it_gives_a_reason() {
        let exactly = "//!\n".repeat(LINES_MAX);
        assert_eq!(findings("a.rs", exactly.as_bytes()), NOTHING);

        let longer = exactly + "//!\n";
        let found = findings("a.rs", longer.as_bytes());
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("801 lines"), "{found:?}");

        let with_reason = format!("{longer}{LONG_BECAUSE}the table is one\n");
        assert_eq!(findings("a.rs", with_reason.as_bytes()), NOTHING);
        let without_reason = format!("{longer}{LONG_BECAUSE} \n");
        assert_eq!(findings("a.rs", without_reason.as_bytes()).len(), 1);
    }

    #[test]
    fn long_documents_are_not_modules() {
        assert_eq!(
            findings("docs/a.md", "line\n".repeat(2_000).as_bytes()),
            NOTHING
        );
    }

    #[test]
    fn a_file_or_folder_with_an_empty_name_is_found() {
        for name in EMPTY_NAMES {
            assert_eq!(
                findings(&format!("src/{name}.rs"), b"//! Doc.").len(),
                1,
                "{name}"
            );
            assert_eq!(
                findings(&format!("tests/{name}/mod.rs"), b"//! Doc.").len(),
                1,
                "{name}"
            );
        }
        assert_eq!(findings("src/commons.rs", b"//! Doc."), NOTHING);
        assert_eq!(findings("tests/golden/v2/event.json", b"{}"), NOTHING);
    }

    #[test]
    fn a_module_with_an_empty_name_is_found() {
        for line in [
            "mod utils;",
            "    pub(crate) mod helpers {",
            "pub mod misc;",
            "mod v2{",
        ] {
            let found = findings("a.rs", format!("//! Doc.\n{line}\n").as_bytes());
            assert_eq!(found.len(), 1, "{line}");
            assert!(found[0].starts_with("a.rs:2: module"), "{found:?}");
        }
        assert_eq!(findings("a.rs", b"//! Doc.\nmod utilities;\n"), NOTHING);
    }

    #[test]
    fn banned_code_is_found_in_rust_files_alone() {
        for (banned, _) in CODE_BANNED {
            let line = format!("//! Doc.\n    {banned}\n");
            let found = findings("a.rs", line.as_bytes());
            assert_eq!(found.len(), 1, "{banned}");
            assert!(found[0].starts_with("a.rs:2: `"), "{found:?}");
            assert_eq!(findings("a.md", line.as_bytes()), NOTHING, "{banned}");
        }
    }

    #[test]
    fn banned_words_are_found_in_any_text_and_only_as_whole_words() {
        for word in WORDS_BANNED {
            let found = findings("a.md", format!("see\n{word}: later\n").as_bytes());
            assert_eq!(found.len(), 1, "{word}");
            assert!(found[0].starts_with("a.md:2: "), "{found:?}");
            assert_eq!(findings("a.md", format!("{word}Y").as_bytes()), NOTHING);
        }
    }

    #[test]
    fn absolute_paths_of_a_machine_are_found() {
        for path in MACHINE_PATHS {
            for line in [
                format!("{path}data"),
                format!("\"{path}data\""),
                format!("cd {path}x"),
            ] {
                assert_eq!(findings("a.md", line.as_bytes()).len(), 1, "{line}");
            }
            for line in [
                format!("docs{path}a"),
                format!("https://host{path}a"),
                format!("~{path}a"),
            ] {
                assert_eq!(findings("a.md", line.as_bytes()), NOTHING, "{line}");
            }
        }
    }

    #[test]
    fn a_file_above_one_mebibyte_is_found_also_when_it_is_binary() {
        let mut bytes = vec![0; BYTES_MAX];
        assert_eq!(findings("a.bin", &bytes), NOTHING);
        bytes.push(0);
        assert_eq!(findings("a.bin", &bytes).len(), 1);
    }
}
