//! The documentation of a source file, as pages of Markdown.
//!
//! It is read from the tokens and not from the items, because macros hold documentation too.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::{Expr, ExprLit, ExprMacro, Lit, LitStr, MetaNameValue};

/// Documentation that nothing else interrupts.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Page {
    Text(String),
    /// The path of `#[doc = include_str!("…")]`, as it is written there.
    Included(String),
}

/// All pages of the code, in their order.
pub(super) fn pages(code: TokenStream) -> Vec<Page> {
    let mut pages = Vec::new();
    add_pages(code, &mut pages);
    pages
}

fn add_pages(code: TokenStream, pages: &mut Vec<Page>) {
    let mut is_continued = false;
    for token in code {
        match token {
            // A line of documentation is `#[doc = "…"]` for the compiler, or `#![doc = "…"]`.
            TokenTree::Punct(sign) if matches!(sign.as_char(), '#' | '!') => {}
            TokenTree::Group(group) => {
                let page = documentation(group.delimiter(), group.stream());
                let is_text = matches!(page, Some(Page::Text(_)));
                match (page, pages.last_mut()) {
                    (Some(Page::Text(line)), Some(Page::Text(text))) if is_continued => {
                        text.push_str(&line);
                    }
                    (Some(page), _) => pages.push(page),
                    (None, _) => add_pages(group.stream(), pages),
                }
                is_continued = is_text;
            }
            _ => is_continued = false,
        }
    }
}

/// What these brackets document, if they are those of such an attribute.
fn documentation(brackets: Delimiter, within: TokenStream) -> Option<Page> {
    if brackets != Delimiter::Bracket {
        return None;
    }
    let attribute: MetaNameValue = syn::parse2(within).ok()?;
    match attribute.value {
        _ if !attribute.path.is_ident("doc") => None,
        Expr::Lit(ExprLit {
            lit: Lit::Str(line),
            ..
        }) => {
            // The space after the slashes belongs to no line.
            let line = line.value();
            let line = line.strip_prefix(' ').unwrap_or(&line);
            Some(Page::Text(format!("{line}\n")))
        }
        Expr::Macro(ExprMacro { mac, .. }) if mac.path.is_ident("include_str") => {
            let path: LitStr = mac.parse_body().ok()?;
            Some(Page::Included(path.value()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages_of(text: &str) -> Vec<Page> {
        pages(text.parse().unwrap())
    }

    fn text(lines: &str) -> Page {
        Page::Text(lines.to_owned())
    }

    #[test]
    fn documentation_of_items_and_modules_is_read_each_for_itself() {
        assert_eq!(
            pages_of(
                "//! A.\n//!\n//!   B.\nuse b;\n// No.\n/// C.\nfn c() { d() }\n/// E.\nstruct E;"
            ),
            [text("A.\n\n  B.\n"), text("C.\n"), text("E.\n")]
        );
    }

    #[test]
    fn documentation_in_every_form_and_place_is_read() {
        for code in [
            "/** A. */ fn f() {}",
            "#[doc = \"A. \"] fn f() {}",
            "struct S { /// A. \n a: u8 }",
            "impl S { /// A. \n fn f() {} }",
            "macro_rules! m { ($a:ident) => { /// A. \n pub struct $a; } }",
        ] {
            assert_eq!(pages_of(code), [text("A. \n")], "{code}");
        }
        for code in [
            "// A.",
            "const A: [&str; 1] = [\"A.\"];",
            "#[path = \"a.rs\"] mod a;",
        ] {
            assert_eq!(pages_of(code), [], "{code}");
        }
    }

    #[test]
    fn a_page_that_is_included_as_documentation_is_named() {
        assert_eq!(
            pages_of("/// A.\n#[doc = include_str!(\"a.md\")]\n/// B.\nmod guide {}"),
            [
                text("A.\n"),
                Page::Included("a.md".to_owned()),
                text("B.\n")
            ]
        );
        assert_eq!(pages_of("const A: &str = include_str!(\"a.md\");"), []);
    }
}
