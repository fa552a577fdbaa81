//! Reads `#[event(…)]`, and refuses serde attributes under which a payload would hold anything
//! but the fields of its event.

use proc_macro2::Span;
use syn::meta::ParseNestedMeta;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Attribute, Error, ExprPath, LitInt, LitStr, Path, Result, Token, Type, parenthesized};

use crate::names;

/// A name, and where it stands.
pub(crate) type Name = (String, Span);

/// What `#[event(…)]` says about one event type: a variant or a struct.
#[derive(Default)]
pub(crate) struct TypeAttributes {
    pub(crate) name: Option<Name>,
    pub(crate) aliases: Vec<Name>,
    pub(crate) version: Option<u32>,
    pub(crate) upcast: Option<Upcast>,
}

/// How payloads of older schema versions are lifted.
pub(crate) enum Upcast {
    /// `upcast = function`: all by one.
    All(ExprPath),
    /// `upcast(1 = function, …)`: each to the next.
    Steps(Vec<Step>, Span),
}

/// `1 = function`: from this schema version to the next.
pub(crate) struct Step {
    pub(crate) from: u32,
    pub(crate) place: Span,
    pub(crate) function: ExprPath,
}

/// `split(name = "…", until = 1, into("…", …), by = function)`.
pub(crate) struct Split {
    pub(crate) name: Name,
    pub(crate) until: Option<(u32, Span)>,
    pub(crate) into: Vec<Name>,
    pub(crate) by: ExprPath,
}

/// What `#[event(…)]` says about the whole type.
#[derive(Default)]
pub(crate) struct ContainerAttributes {
    pub(crate) prefix: Option<String>,
    pub(crate) library: Option<Path>,
    pub(crate) codec: Option<Type>,
    pub(crate) splits: Vec<Split>,
    pub(crate) retired: Vec<Name>,
}

/// Reads the attributes of a variant.
pub(crate) fn of_variant(attributes: &[Attribute]) -> Result<TypeAttributes> {
    let mut found = TypeAttributes::default();
    each_event_key(attributes, |meta| {
        if found.take(meta)? {
            return Ok(());
        }
        Err(unknown(
            meta,
            "a variant has `name`, `alias`, `version` and `upcast`",
        ))
    })?;
    refuse_serde(
        attributes,
        &["skip", "skip_serializing", "skip_deserializing"],
        "an event that can't be stored and loaded is no event; remove the attribute or the variant",
    )?;
    refuse_serde(
        attributes,
        &["other", "untagged"],
        "the event type alone says which variant a payload is for; remove the attribute",
    )?;
    Ok(found)
}

/// Reads the attributes of an enum.
pub(crate) fn of_enum(attributes: &[Attribute]) -> Result<ContainerAttributes> {
    let mut found = ContainerAttributes::default();
    each_event_key(attributes, |meta| {
        if found.take(meta)? {
            return Ok(());
        }
        if meta.path.is_ident("prefix") {
            let prefix: LitStr = meta.value()?.parse()?;
            let prefix = names::check_given(&prefix)?;
            return set(&mut found.prefix, prefix, meta);
        }
        Err(unknown(
            meta,
            "an enum has `prefix`, `codec`, `split`, `retired` and `crate`; `name`, `alias`, \
             `version` and `upcast` belong to its variants",
        ))
    })?;
    refuse_serde(
        attributes,
        &["tag", "content", "untagged"],
        "a payload holds the variant's fields alone and the event type says which variant it is \
         for; remove the attribute",
    )?;
    refuse_conversions(attributes)?;
    Ok(found)
}

/// Reads the attributes of a struct.
pub(crate) fn of_struct(attributes: &[Attribute]) -> Result<(ContainerAttributes, TypeAttributes)> {
    let mut container = ContainerAttributes::default();
    let mut event = TypeAttributes::default();
    each_event_key(attributes, |meta| {
        if container.take(meta)? || event.take(meta)? {
            return Ok(());
        }
        Err(unknown(
            meta,
            "a struct has `name`, `alias`, `version`, `upcast`, `codec`, `split`, `retired` and \
             `crate`",
        ))
    })?;
    refuse_serde(
        attributes,
        &["tag"],
        "a payload holds the fields alone; remove the attribute",
    )?;
    refuse_conversions(attributes)?;
    Ok((container, event))
}

impl TypeAttributes {
    /// Takes the key if it is one of an event type.
    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> Result<bool> {
        if meta.path.is_ident("name") {
            let name = read_name(meta.value()?)?;
            set(&mut self.name, name, meta)?;
        } else if meta.path.is_ident("alias") {
            self.aliases.push(read_name(meta.value()?)?);
        } else if meta.path.is_ident("version") {
            let version = schema_version(&meta.value()?.parse()?)?;
            set(&mut self.version, version, meta)?;
        } else if meta.path.is_ident("upcast") {
            let upcast = if meta.input.peek(syn::token::Paren) {
                let steps = in_parentheses(meta.input, Step::parse)?;
                Upcast::Steps(
                    steps,
                    meta.path
                        .get_ident()
                        .map_or_else(Span::call_site, syn::Ident::span),
                )
            } else {
                Upcast::All(meta.value()?.parse()?)
            };
            set(&mut self.upcast, upcast, meta)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}

impl ContainerAttributes {
    /// Takes the key if it is one of every container.
    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> Result<bool> {
        if meta.path.is_ident("crate") {
            // A path, not a name: `crate` itself is where this library tests itself.
            let library = meta.value()?.call(Path::parse_mod_style)?;
            set(&mut self.library, library, meta)?;
        } else if meta.path.is_ident("codec") {
            let codec = meta.value()?.parse()?;
            set(&mut self.codec, codec, meta)?;
        } else if meta.path.is_ident("split") {
            self.splits.push(Split::read(meta)?);
        } else if meta.path.is_ident("retired") {
            self.retired.extend(in_parentheses(meta.input, read_name)?);
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}

impl Parse for Step {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let from: LitInt = input.parse()?;
        let _: Token![=] = input.parse()?;
        Ok(Self {
            from: schema_version(&from)?,
            place: from.span(),
            function: input.parse()?,
        })
    }
}

impl Split {
    fn read(meta: &ParseNestedMeta<'_>) -> Result<Self> {
        let (mut name, mut until, mut into, mut by) = (None, None, None, None);
        meta.parse_nested_meta(|part| {
            if part.path.is_ident("name") {
                set(&mut name, read_name(part.value()?)?, &part)
            } else if part.path.is_ident("until") {
                let version: LitInt = part.value()?.parse()?;
                set(
                    &mut until,
                    (schema_version(&version)?, version.span()),
                    &part,
                )
            } else if part.path.is_ident("into") {
                set(&mut into, in_parentheses(part.input, read_name)?, &part)
            } else if part.path.is_ident("by") {
                set(&mut by, part.value()?.parse()?, &part)
            } else {
                Err(unknown(
                    &part,
                    "a split has `name`, `until`, `into` and `by`",
                ))
            }
        })?;
        let (Some(name), Some(into), Some(by)) = (name, into, by) else {
            return Err(meta.error(
                "a split says of which type, what its events become, and by which function: \
                 split(name = \"…\", into(\"…\", \"…\"), by = function)",
            ));
        };
        Ok(Self {
            name,
            until,
            into,
            by,
        })
    }
}

fn in_parentheses<T>(
    input: ParseStream<'_>,
    read: fn(ParseStream<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let inside;
    parenthesized!(inside in input);
    let parts = Punctuated::<T, Token![,]>::parse_terminated_with(&inside, read)?;
    Ok(parts.into_iter().collect())
}

fn read_name(input: ParseStream<'_>) -> Result<Name> {
    let name: LitStr = input.parse()?;
    Ok((names::check_given(&name)?, name.span()))
}

fn schema_version(literal: &LitInt) -> Result<u32> {
    match literal.base10_parse::<u32>() {
        Ok(0) => Err(Error::new(
            literal.span(),
            "schema versions are counted from 1",
        )),
        other => other,
    }
}

fn each_event_key(
    attributes: &[Attribute],
    mut take: impl FnMut(&ParseNestedMeta<'_>) -> Result<()>,
) -> Result<()> {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("event"))
        .try_for_each(|attribute| attribute.parse_nested_meta(|meta| take(&meta)))
}

fn set<T>(slot: &mut Option<T>, value: T, meta: &ParseNestedMeta<'_>) -> Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(meta.error("this is said twice")),
    }
}

fn unknown(meta: &ParseNestedMeta<'_>, known: &str) -> Error {
    meta.error(format!("unknown attribute; {known}"))
}

/// Conversions hide the variants from serde, which then can't be told which one a payload is for.
fn refuse_conversions(attributes: &[Attribute]) -> Result<()> {
    refuse_serde(
        attributes,
        &["from", "try_from", "into"],
        "an event is stored as it is; convert it before it is stored and remove the attribute",
    )
}

fn refuse_serde(attributes: &[Attribute], refused: &[&str], why: &str) -> Result<()> {
    for attribute in attributes {
        if !attribute.path().is_ident("serde") {
            continue;
        }
        attribute.parse_nested_meta(|meta| {
            if refused.iter().any(|name| meta.path.is_ident(name)) {
                return Err(meta.error(why));
            }
            skip_value(&meta)
        })?;
    }
    Ok(())
}

/// Reads over what a key of another macro is given: `= value`, `(…)` or nothing.
fn skip_value(meta: &ParseNestedMeta<'_>) -> Result<()> {
    if meta.input.peek(Token![=]) {
        let _: syn::Expr = meta.value()?.parse()?;
    } else if meta.input.peek(syn::token::Paren) {
        let inside;
        syn::parenthesized!(inside in meta.input);
        let _: proc_macro2::TokenStream = inside.parse()?;
    }
    Ok(())
}
