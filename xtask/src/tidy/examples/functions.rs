//! The functions of a source file that somebody outside of its crate can call.
//!
//! Read from the text alone, since `xtask` compiles in a moment and has no compiler at hand: what
//! is `pub` counts as reachable, because the lint `unreachable_pub` denies what is not. Functions
//! that macros make are not seen.

use super::tokens::{Placed, Token, tokens};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) line: usize,
    /// The type of the `impl` block it stands in, if it stands in one.
    pub(super) of_type: Option<String>,
    /// Declared in a trait, so whoever implements the trait uses its name too.
    pub(super) of_trait: bool,
}

/// What a source file holds.
#[derive(Debug, Default)]
pub(super) struct Source {
    pub(super) functions: Vec<Function>,
    /// Types with `#[doc(hidden)]`: their methods are for macros.
    pub(super) hidden_types: Vec<String>,
    /// Modules in files of their own that are hidden or for tests.
    pub(super) modules_left_out: Vec<String>,
}

impl Source {
    pub(super) fn of(text: &str) -> Self {
        let mut reader = Reader::default();
        let tokens = tokens(text);
        let mut rest = tokens.as_slice();
        while let Some((first, after)) = rest.split_first() {
            rest = reader.read(first, after);
        }
        reader.found
    }
}

/// What the braces around a place belong to.
#[derive(Clone, Debug)]
enum Scope {
    Module,
    /// The methods of this type.
    Methods(String),
    Trait,
    /// Bodies, fields, trait implementations, and whatever is hidden or for tests.
    LeftOut,
}

#[derive(Default)]
struct Reader<'a> {
    found: Source,
    scopes: Vec<Scope>,
    /// The item so far, up to its body or its semicolon.
    header: Vec<Placed<'a>>,
    /// Brackets of any kind that are open within the header.
    depth: usize,
    is_left_out: bool,
}

impl<'a> Reader<'a> {
    /// Takes `first`, or with it what belongs to it, and returns what is left.
    fn read<'t>(&mut self, first: &Placed<'a>, after: &'t [Placed<'a>]) -> &'t [Placed<'a>] {
        let is_in_body = matches!(self.scopes.last(), Some(Scope::LeftOut));
        match first.token {
            Token::Documentation(_) => {}
            Token::Sign('{') if is_in_body => self.scopes.push(Scope::LeftOut),
            Token::Sign('}') if self.depth == 0 => {
                self.scopes.pop();
                self.begin_item();
            }
            _ if is_in_body => {}
            Token::Sign('#') if self.header.is_empty() => {
                let (attribute, after) = attribute(after);
                self.is_left_out |= leaves_out(&attribute);
                return after;
            }
            Token::Sign('{') if self.depth == 0 => {
                let scope = self.end_item();
                self.scopes.push(scope);
            }
            Token::Sign(';') if self.depth == 0 => {
                self.end_item();
            }
            Token::Sign('(' | '[' | '{') => {
                self.depth += 1;
                self.header.push(*first);
            }
            Token::Sign(')' | ']' | '}') => {
                self.depth = self.depth.saturating_sub(1);
                self.header.push(*first);
            }
            _ => self.header.push(*first),
        }
        after
    }

    fn begin_item(&mut self) {
        self.header.clear();
        self.depth = 0;
        self.is_left_out = false;
    }

    /// Notes the item, whose header is complete; returns what its braces hold, if it has some.
    fn end_item(&mut self) -> Scope {
        let header = std::mem::take(&mut self.header);
        let is_left_out = std::mem::take(&mut self.is_left_out);
        self.depth = 0;
        let (is_public, header) = visibility(&header);
        let (kind, name) = kind_and_name(header);
        match (kind, name) {
            ("fn", Some((name, line))) if !is_left_out => {
                let (of_type, of_trait) = match self.scopes.last() {
                    Some(Scope::Methods(of_type)) => (Some(of_type.clone()), false),
                    Some(Scope::Trait) => (None, true),
                    _ => (None, false),
                };
                if is_public || of_trait {
                    self.found.functions.push(Function {
                        name: name.to_owned(),
                        line,
                        of_type,
                        of_trait,
                    });
                }
                Scope::LeftOut
            }
            ("struct" | "enum" | "union", Some((name, _))) if is_left_out => {
                self.found.hidden_types.push(name.to_owned());
                Scope::LeftOut
            }
            ("mod", Some((name, _))) if is_left_out => {
                self.found.modules_left_out.push(name.to_owned());
                Scope::LeftOut
            }
            _ if is_left_out => Scope::LeftOut,
            ("mod", _) => Scope::Module,
            ("trait", _) if is_public => Scope::Trait,
            ("impl", _) => type_with_methods(header).map_or(Scope::LeftOut, Scope::Methods),
            _ => Scope::LeftOut,
        }
    }
}

/// The attribute whose `#` was just read, without spaces, and what follows it.
fn attribute<'t, 'a>(tokens: &'t [Placed<'a>]) -> (String, &'t [Placed<'a>]) {
    let (mut text, mut depth) = (String::new(), 0_usize);
    for (at, placed) in tokens.iter().enumerate() {
        match placed.token {
            Token::Sign('!') if depth == 0 => {}
            Token::Sign('[') => depth += 1,
            Token::Sign(']') if depth == 1 => return (text, &tokens[at + 1..]),
            Token::Sign(']') => depth = depth.saturating_sub(1),
            Token::Sign(sign) => text.push(sign),
            Token::Word(word) => text.push_str(word),
            Token::Literal(literal) => text.push_str(literal),
            Token::Documentation(_) => {}
        }
        if depth == 0 && placed.token != Token::Sign('!') {
            break;
        }
    }
    (text, tokens)
}

fn leaves_out(attribute: &str) -> bool {
    attribute == "doc(hidden)"
        || attribute == "cfg(test)"
        || attribute == "cfg(doctest)"
        || attribute.starts_with("cfg(all(test,")
        || attribute.starts_with("cfg(all(doctest,")
}

/// Whether the item is `pub` without a restriction, and what stands after that.
fn visibility<'t, 'a>(header: &'t [Placed<'a>]) -> (bool, &'t [Placed<'a>]) {
    let Some(rest) = after(header, Token::Word("pub")) else {
        return (false, header);
    };
    let Some(restriction) = after(rest, Token::Sign('(')) else {
        return (true, rest);
    };
    let end = position(restriction, Token::Sign(')')).map_or(restriction.len(), |at| at + 1);
    (false, &restriction[end..])
}

/// The keyword of the item, and the name behind it with its line.
fn kind_and_name<'a>(header: &[Placed<'a>]) -> (&'a str, Option<(&'a str, usize)>) {
    let mut tokens = header.iter().skip_while(|placed| {
        matches!(
            placed.token,
            Token::Word("async" | "const" | "default" | "extern" | "unsafe") | Token::Literal(_)
        )
    });
    let mut word = || match tokens.next() {
        Some(Placed {
            token: Token::Word(word),
            line,
        }) => Some((*word, *line)),
        _ => None,
    };
    let kind = word().map_or("", |(kind, _)| kind);
    (kind, word())
}

/// The type that an `impl` block gives methods; nothing if it implements a trait for one.
fn type_with_methods(header: &[Placed<'_>]) -> Option<String> {
    let mut rest = after(header, Token::Word("impl"))?;
    rest = &rest[..position(rest, Token::Word("where")).unwrap_or(rest.len())];
    let (mut name, mut depth, mut before) = (None, 0_usize, Token::Sign(' '));
    // The parameters of the block come before the type, so a name within brackets is never it.
    for placed in rest {
        match placed.token {
            Token::Sign('<') => depth += 1,
            Token::Sign('>') if before != Token::Sign('-') => depth = depth.saturating_sub(1),
            Token::Word("for") if depth == 0 => return None,
            Token::Word(word) if depth == 0 => name = Some(word.to_owned()),
            _ => {}
        }
        before = placed.token;
    }
    name
}

/// What follows `token`, if that comes first.
fn after<'t, 'a>(tokens: &'t [Placed<'a>], token: Token<'_>) -> Option<&'t [Placed<'a>]> {
    tokens
        .split_first()
        .filter(|(first, _)| first.token == token)
        .map(|(_, rest)| rest)
}

fn position(tokens: &[Placed<'_>], token: Token<'_>) -> Option<usize> {
    tokens.iter().position(|placed| placed.token == token)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the functions found, with `Type::` before those of a type.
    fn names(text: &str) -> Vec<String> {
        let name = |function: Function| match function.of_type {
            Some(of_type) => format!("{of_type}::{}", function.name),
            None => function.name,
        };
        Source::of(text).functions.into_iter().map(name).collect()
    }

    #[test]
    fn free_functions_and_methods_are_found_with_their_lines() {
        let text =
            "//! Doc.\n\npub fn open() {}\n\nimpl Log {\n    pub async fn read(&self) {}\n}\n";
        assert_eq!(names(text), ["open", "Log::read"]);
        let lines: Vec<usize> = Source::of(text).functions.iter().map(|f| f.line).collect();
        assert_eq!(lines, [3, 6]);
    }

    #[test]
    fn qualifiers_do_not_hide_a_function() {
        let text =
            "pub const fn a() {} pub unsafe extern \"C\" fn b() {} pub const unsafe fn c() {}";
        assert_eq!(names(text), ["a", "b", "c"]);
    }

    #[test]
    fn the_type_of_methods_is_found_behind_parameters_and_paths() {
        for header in [
            "impl Log",
            "impl<A: Fn(&str) -> Vec<A>, const N: usize> Log<A, N>",
            "impl<'a> super::Log<'a>",
            "impl<A> Log<A> where for<'a> A: Fn(&'a str) -> B",
        ] {
            let text = format!("{header} {{ pub fn read() {{}} }}");
            assert_eq!(names(&text), ["Log::read"], "{header}");
        }
    }

    #[test]
    fn what_is_not_public_is_left_out() {
        let text = "fn a() {} pub(crate) fn b() {} pub(in crate::x) fn c() {}
            impl Log { fn d() {} pub(super) fn e() {} }";
        assert_eq!(names(text), [""; 0]);
    }

    #[test]
    fn trait_implementations_are_left_out_and_public_traits_are_not() {
        let text = "impl<T> From<T> for Log { fn from() {} }
            pub trait Read { fn read(&self) -> [u8; 2]; fn all(&self) { { } } }
            trait Sealed { fn seal(&self); }
            pub(crate) trait Inner { fn inner(&self); }";
        assert_eq!(names(text), ["read", "all"]);
        assert!(Source::of(text).functions.iter().all(|f| f.of_trait));
    }

    #[test]
    fn functions_within_functions_constants_and_macros_are_left_out() {
        let text = "const A: B = B { c: [1; 2] };
            pub fn a(x: [u8; 2]) -> impl Fn() { impl B { pub fn inner() {} } || ({ 1 }) }
            macro_rules! m { () => { pub fn made() {} } }
            make!({ pub fn made() {} });
            use a::{b, c};
            pub struct S { a: u8 }
            pub fn z() {}";
        assert_eq!(names(text), ["a", "z"]);
    }

    #[test]
    fn tests_and_hidden_items_are_left_out() {
        let text = "#[cfg(test)] mod tests { pub fn a() {} }
            #[cfg(all(test, feature = \"nats\"))] mod tests { pub fn a() {} }
            #[doc(hidden)] #[must_use] pub fn b() {}
            impl Log { #[doc(hidden)] pub fn c() {} #[must_use] pub fn d() {} }
            #[doc(hidden)] impl Log { pub fn e() {} }
            #[doc(hidden)] pub trait Hidden { fn f(); }
            #[cfg(feature = \"nats\")] pub mod nats { pub fn g() {} }";
        assert_eq!(names(text), ["Log::d", "g"]);
    }

    #[test]
    fn hidden_types_and_modules_in_other_files_are_named() {
        let text = "#![doc(html_root_url = \"x\")]
            #[derive(Debug)] #[doc(hidden)] pub struct Machinery(u8);
            #[doc(hidden)] pub mod private;
            #[cfg(test)] mod tests;
            mod log;
            pub struct Log;";
        let source = Source::of(text);
        assert_eq!(source.hidden_types, ["Machinery"]);
        assert_eq!(source.modules_left_out, ["private", "tests"]);
    }

    #[test]
    fn text_that_ends_too_early_is_read_to_its_end() {
        for text in ["pub fn a(", "#[doc", "pub(", "impl", "}", "pub fn", "mod"] {
            let _ = Source::of(text);
        }
    }
}
