//! The names that compiled examples use: those of calls and of paths.
//!
//! Examples are the code blocks of documentation that rustdoc compiles. Lines that it hides from
//! readers (`# …`) show nobody how to call a function, so they don't count.

use std::collections::BTreeSet;

use super::tokens::{Placed, Token, tokens};

/// What a language line may say about a block that is compiled and meant to be.
const COMPILED: &[&str] = &[
    "rust",
    "no_run",
    "should_panic",
    "edition2021",
    "edition2024",
];

#[derive(Debug, Default)]
pub(super) struct Used {
    names: BTreeSet<String>,
    defined: BTreeSet<String>,
}

impl Used {
    /// True if an example calls the function, or names it in a path.
    pub(super) fn calls(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// True if an example implements the function.
    pub(super) fn implements(&self, name: &str) -> bool {
        self.defined.contains(name)
    }

    /// Adds what the documentation of a source file uses.
    pub(super) fn add_source(&mut self, text: &str) {
        let mut page = String::new();
        for placed in tokens(text) {
            match placed.token {
                Token::Documentation(line) => {
                    page.push_str(line);
                    page.push('\n');
                }
                _ => self.add_page(&std::mem::take(&mut page)),
            }
        }
        self.add_page(&page);
    }

    /// Adds what a page of Markdown uses.
    pub(super) fn add_page(&mut self, page: &str) {
        let mut block: Option<Block> = None;
        for line in page.lines() {
            let line = line.strip_prefix(' ').unwrap_or(line);
            match block.as_mut() {
                None => block = Block::opened_by(line),
                Some(open) if open.is_closed_by(line) => {
                    self.add_code(&open.code);
                    block = None;
                }
                Some(open) => open.add(line),
            }
        }
    }

    fn add_code(&mut self, code: &str) {
        let tokens = tokens(code);
        let at = |index: Option<usize>| index.and_then(|index| tokens.get(index));
        let is = |index: Option<usize>, sign| {
            at(index).is_some_and(|placed: &Placed<'_>| placed.token == Token::Sign(sign))
        };
        for (index, placed) in tokens.iter().enumerate() {
            let Token::Word(name) = placed.token else {
                continue;
            };
            let (before, next) = (index.checked_sub(1), Some(index + 1));
            if at(before).is_some_and(|placed| placed.token == Token::Word("fn")) {
                self.defined.insert(name.to_owned());
                continue;
            }
            let is_path = is(before, ':') && is(index.checked_sub(2), ':');
            let is_generic = is(next, ':') && is(Some(index + 2), ':') && is(Some(index + 3), '<');
            if is_path || is_generic || is(next, '(') {
                self.names.insert(name.to_owned());
            }
        }
    }
}

/// A code block that is not closed yet.
struct Block {
    fence: String,
    is_compiled: bool,
    code: String,
}

impl Block {
    fn opened_by(line: &str) -> Option<Self> {
        let line = line.trim_start();
        let mark = line.chars().next().filter(|mark| "`~".contains(*mark))?;
        let language = line.trim_start_matches(mark);
        let fence = &line[..line.len() - language.len()];
        // A backtick behind the fence makes it a code span within a line.
        if fence.len() < 3 || language.contains('`') {
            return None;
        }
        Some(Self {
            fence: fence.to_owned(),
            is_compiled: language
                .split([',', ' '])
                .map(str::trim)
                .filter(|word| !word.is_empty())
                .all(|word| COMPILED.contains(&word)),
            code: String::new(),
        })
    }

    fn is_closed_by(&self, line: &str) -> bool {
        let line = line.trim();
        line.starts_with(&self.fence) && line.chars().all(|c| self.fence.starts_with(c))
    }

    fn add(&mut self, line: &str) {
        let shown = line.trim_start();
        let is_hidden = shown == "#" || shown.starts_with("# ");
        if self.is_compiled && !is_hidden {
            self.code.push_str(line);
            self.code.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(page: &str) -> Used {
        let mut used = Used::default();
        used.add_page(page);
        used
    }

    /// The names that code uses as the only block of a page.
    fn names(code: &str) -> Vec<String> {
        let used = used(&format!("Text.\n\n```\n{code}\n```\n"));
        used.names.into_iter().collect()
    }

    #[test]
    fn calls_and_paths_are_used_and_other_words_are_not() {
        assert_eq!(names("let a = open(b).read(c);"), ["open", "read"]);
        assert_eq!(
            names("a.map(Cid::from).then::<B>()"),
            ["from", "map", "then"]
        );
        assert_eq!(
            names("let open = a.open; read!(open); Cid { read: 1 };"),
            [""; 0]
        );
    }

    #[test]
    fn what_stands_in_comments_strings_and_hidden_lines_is_not_used() {
        assert_eq!(
            names("// open()\nlet a = \"read()\";\n# hidden();\n#\n  # too();"),
            [""; 0]
        );
        assert_eq!(names("#[must_use]\nfn f() { g() }"), ["g"]);
    }

    #[test]
    fn a_definition_is_no_call_but_an_implementation() {
        let used = used("```\nimpl A for B { fn apply(&self) {} }\n```");
        assert!(used.implements("apply") && !used.calls("apply"));
    }

    #[test]
    fn only_blocks_that_rustdoc_compiles_count() {
        for language in [
            "",
            "rust",
            "no_run",
            "rust,no_run",
            "should_panic",
            "rust, no_run",
        ] {
            assert!(
                used(&format!("```{language}\na()\n```")).calls("a"),
                "{language}"
            );
        }
        for language in [
            "text",
            "json",
            "sh",
            "toml",
            "ignore",
            "rust,ignore",
            "compile_fail",
        ] {
            assert!(
                !used(&format!("```{language}\na()\n```")).calls("a"),
                "{language}"
            );
        }
    }

    #[test]
    fn text_around_blocks_does_not_count() {
        let used = used("a()\n\n```\nb()\n```\n\nc() and ```d()```\n\n~~~\ne()\n~~~\n");
        assert_eq!(used.names.into_iter().collect::<Vec<_>>(), ["b", "e"]);
    }

    #[test]
    fn a_longer_fence_holds_shorter_ones() {
        let used = used("````text\n```\na()\n```\n````\n```\nb()\n```\n");
        assert!(used.calls("b") && !used.calls("a"));
    }

    #[test]
    fn documentation_of_items_and_modules_is_read_each_for_itself() {
        let mut used = Used::default();
        used.add_source(
            "//! Doc.\n//!\n//! ```\n//! a();\n//! ```\n\n/// ```\n/// b();\nfn c() { d() }\n/// e();\n",
        );
        assert!(used.calls("a"));
        assert!(!["b", "c", "d", "e"].iter().any(|name| used.calls(name)));
    }
}
