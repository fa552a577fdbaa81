//! The functions of a source file that somebody outside of its crate can call.
//!
//! Read from the syntax alone, since `xtask` compiles in a moment and has no compiler at hand: what
//! is `pub` counts as reachable, because the lint `unreachable_pub` denies what is not. Functions
//! that macros make are not seen.

use syn::punctuated::Punctuated;
use syn::{
    Attribute, Ident, ImplItem, Item, ItemEnum, ItemStruct, ItemUnion, Meta, Token, TraitItem,
    Type, Visibility,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) line: usize,
    /// The type of the `impl` block it stands in, if it stands in one.
    pub(super) of_type: Option<String>,
    /// Declared in a trait, so whoever implements the trait uses its name too.
    pub(super) of_trait: bool,
}

/// What a source file declares.
#[derive(Debug, Default)]
pub(super) struct Declared {
    pub(super) functions: Vec<Function>,
    /// Types with `#[doc(hidden)]`: their methods are for macros.
    pub(super) hidden_types: Vec<String>,
    /// Modules in files of their own that are hidden or for tests.
    pub(super) modules_left_out: Vec<String>,
}

impl Declared {
    pub(super) fn by(items: &[Item]) -> Self {
        let mut declared = Self::default();
        declared.add_items(items);
        declared
    }

    fn add_items(&mut self, items: &[Item]) {
        for item in items {
            match item {
                Item::Fn(function) if is_shown(&function.vis, &function.attrs) => {
                    self.add(&function.sig.ident, None, false);
                }
                Item::Impl(block) if block.trait_.is_none() && !is_left_out(&block.attrs) => {
                    let of_type = name_of(&block.self_ty);
                    for item in &block.items {
                        if let ImplItem::Fn(method) = item
                            && is_shown(&method.vis, &method.attrs)
                        {
                            self.add(&method.sig.ident, of_type.clone(), false);
                        }
                    }
                }
                Item::Trait(declared) if is_shown(&declared.vis, &declared.attrs) => {
                    for item in &declared.items {
                        if let TraitItem::Fn(method) = item
                            && !is_left_out(&method.attrs)
                        {
                            self.add(&method.sig.ident, None, true);
                        }
                    }
                }
                Item::Mod(module) if is_left_out(&module.attrs) => {
                    self.modules_left_out.push(module.ident.to_string());
                }
                Item::Mod(module) => {
                    if let Some((_, items)) = &module.content {
                        self.add_items(items);
                    }
                }
                Item::Struct(ItemStruct { ident, attrs, .. })
                | Item::Enum(ItemEnum { ident, attrs, .. })
                | Item::Union(ItemUnion { ident, attrs, .. })
                    if is_left_out(attrs) =>
                {
                    self.hidden_types.push(ident.to_string());
                }
                _ => {}
            }
        }
    }

    fn add(&mut self, name: &Ident, of_type: Option<String>, of_trait: bool) {
        self.functions.push(Function {
            name: name.to_string(),
            line: name.span().start().line,
            of_type,
            of_trait,
        });
    }
}

fn is_shown(visibility: &Visibility, attributes: &[Attribute]) -> bool {
    matches!(visibility, Visibility::Public(_)) && !is_left_out(attributes)
}

/// True for what is hidden from the documentation or there for tests only.
fn is_left_out(attributes: &[Attribute]) -> bool {
    attributes
        .iter()
        .any(|attribute| leaves_out(&attribute.meta))
}

/// `doc(hidden)`, `cfg(test)`, `cfg(doctest)`, and an `all` with one of these within `cfg`.
fn leaves_out(meta: &Meta) -> bool {
    let is_one_of = |names: &[&str]| names.iter().any(|name| meta.path().is_ident(name));
    match meta {
        Meta::Path(_) => is_one_of(&["hidden", "test", "doctest"]),
        Meta::List(list) if is_one_of(&["doc", "cfg", "all"]) => list
            .parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
            .is_ok_and(|within| within.iter().any(leaves_out)),
        _ => false,
    }
}

/// The name of a type without its path and parameters.
fn name_of(of_type: &Type) -> Option<String> {
    match of_type {
        Type::Path(of_type) => Some(of_type.path.segments.last()?.ident.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(text: &str) -> Declared {
        Declared::by(&syn::parse_file(text).unwrap().items)
    }

    /// The names of the functions found, with `Type::` before those of a type.
    fn names(text: &str) -> Vec<String> {
        let name = |function: Function| match function.of_type {
            Some(of_type) => format!("{of_type}::{}", function.name),
            None => function.name,
        };
        declared(text).functions.into_iter().map(name).collect()
    }

    #[test]
    fn free_functions_and_methods_are_found_with_their_lines() {
        let text =
            "//! Doc.\n\npub fn open() {}\n\nimpl Log {\n    pub async fn read(&self) {}\n}\n";
        assert_eq!(names(text), ["open", "Log::read"]);
        let lines: Vec<usize> = declared(text).functions.iter().map(|f| f.line).collect();
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
        assert!(declared(text).functions.iter().all(|f| f.of_trait));
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
        let declared = declared(text);
        assert_eq!(declared.hidden_types, ["Machinery"]);
        assert_eq!(declared.modules_left_out, ["private", "tests"]);
    }
}
