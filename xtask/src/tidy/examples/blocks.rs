//! The names that compiled examples use: those of calls and of paths.
//!
//! Examples are the code blocks of documentation that rustdoc compiles. Lines that it hides from
//! readers (`# …`) show nobody how to call a function, so they don't count.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};

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

    /// Adds what a page of Markdown uses.
    pub(super) fn add_page(&mut self, page: &str) {
        let mut block: Option<String> = None;
        for event in Parser::new(page) {
            match (event, &mut block) {
                (Event::Start(Tag::CodeBlock(kind)), _) if is_compiled(&kind) => {
                    block = Some(String::new());
                }
                (Event::Text(text), Some(code)) => code.push_str(&text),
                (Event::End(TagEnd::CodeBlock), _) => {
                    self.add_block(&block.take().unwrap_or_default());
                }
                _ => {}
            }
        }
    }

    /// Adds what the lines that readers see use. The others are read with them, since brackets may
    /// open in one and close in the other.
    fn add_block(&mut self, block: &str) {
        let (mut code, mut hidden) = (String::new(), BTreeSet::new());
        for (line, number) in block.lines().zip(1..) {
            match line.trim().strip_prefix('#') {
                Some(rest) if rest.is_empty() || rest.starts_with(' ') => {
                    hidden.insert(number);
                    code.push_str(rest);
                }
                _ => code.push_str(line),
            }
            code.push('\n');
        }
        // What is no Rust fails as a test of the documentation.
        if let Ok(code) = code.parse() {
            self.add_code(code, &hidden);
        }
    }

    fn add_code(&mut self, code: TokenStream, hidden: &BTreeSet<usize>) {
        let tokens: Vec<TokenTree> = code.into_iter().collect();
        for (at, token) in tokens.iter().enumerate() {
            let (before, after) = (&tokens[..at], &tokens[at + 1..]);
            match token {
                TokenTree::Group(group) => self.add_code(group.stream(), hidden),
                TokenTree::Ident(name) if hidden.contains(&name.span().start().line) => {}
                TokenTree::Ident(name) if is_defined(before) => {
                    self.defined.insert(name.to_string());
                }
                TokenTree::Ident(name) if is_used(before, after) => {
                    self.names.insert(name.to_string());
                }
                _ => {}
            }
        }
    }
}

fn is_defined(before: &[TokenTree]) -> bool {
    matches!(before, [.., TokenTree::Ident(word)] if word == "fn")
}

/// True for a name within a path, one with parameters, and one that is called.
fn is_used(before: &[TokenTree], after: &[TokenTree]) -> bool {
    match (before, after) {
        // A lifetime.
        ([.., quote], _) if is(quote, '\'') => false,
        ([.., a, b], _) if is(a, ':') && is(b, ':') => true,
        (_, [a, b, c, ..]) if is(a, ':') && is(b, ':') && is(c, '<') => true,
        (_, [TokenTree::Group(next), ..]) => next.delimiter() == Delimiter::Parenthesis,
        _ => false,
    }
}

fn is(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

fn is_compiled(block: &CodeBlockKind<'_>) -> bool {
    match block {
        CodeBlockKind::Indented => true,
        CodeBlockKind::Fenced(language) => language
            .split([',', ' '])
            .filter(|word| !word.is_empty())
            .all(|word| COMPILED.contains(&word)),
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
        assert_eq!(names("fn f<'read>(a: &'read (A, B)) {}"), [""; 0]);
    }

    #[test]
    fn a_bracket_may_open_in_a_hidden_line_and_close_in_a_shown_one() {
        assert_eq!(
            names("# if hidden() {\n  open();\n}\nread();"),
            ["open", "read"]
        );
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
        let used =
            used("a()\n\n```\nb()\n```\n\nc() and ```d()```\n\n~~~\ne()\n~~~\n\nF:\n\n    f()\n");
        assert_eq!(used.names.into_iter().collect::<Vec<_>>(), ["b", "e", "f"]);
    }

    #[test]
    fn a_longer_fence_holds_shorter_ones() {
        let used = used("````text\n```\na()\n```\n````\n```\nb()\n```\n");
        assert!(used.calls("b") && !used.calls("a"));
    }
}
