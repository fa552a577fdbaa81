//! Reads `#[event(…)]`, and refuses serde attributes under which a payload would hold anything
//! but the fields of its event.

use proc_macro2::Span;
use syn::meta::ParseNestedMeta;
use syn::{Attribute, Error, ExprPath, LitInt, LitStr, Path, Result, Token};

use crate::names;

/// What `#[event(…)]` says about one event type: a variant or a struct.
#[derive(Default)]
pub(crate) struct TypeAttributes {
    pub(crate) name: Option<(String, Span)>,
    pub(crate) version: Option<u32>,
    pub(crate) upcast: Option<ExprPath>,
}

/// What `#[event(…)]` says about the whole type.
#[derive(Default)]
pub(crate) struct ContainerAttributes {
    pub(crate) prefix: Option<String>,
    pub(crate) library: Option<Path>,
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
            "a variant has `name`, `version` and `upcast`",
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
    found.check_upcast()?;
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
            "an enum has `prefix` and `crate`; `name`, `version` and `upcast` belong to its variants",
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
            "a struct has `name`, `version`, `upcast` and `crate`",
        ))
    })?;
    refuse_serde(
        attributes,
        &["tag"],
        "a payload holds the fields alone; remove the attribute",
    )?;
    refuse_conversions(attributes)?;
    event.check_upcast()?;
    Ok((container, event))
}

impl TypeAttributes {
    /// Takes the key if it is one of an event type.
    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> Result<bool> {
        if meta.path.is_ident("name") {
            let name: LitStr = meta.value()?.parse()?;
            let name = (names::check_given(&name)?, name.span());
            set(&mut self.name, name, meta)?;
        } else if meta.path.is_ident("version") {
            let version = schema_version(&meta.value()?.parse()?)?;
            set(&mut self.version, version, meta)?;
        } else if meta.path.is_ident("upcast") {
            let upcast: ExprPath = meta.value()?.parse()?;
            set(&mut self.upcast, upcast, meta)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// An upcast of version 1 would never be called; most likely the version was forgotten.
    fn check_upcast(&self) -> Result<()> {
        match &self.upcast {
            Some(upcast) if self.version.unwrap_or(1) == 1 => Err(Error::new_spanned(
                upcast,
                "there is nothing to upcast: version 1 is the first; was `version = 2` forgotten?",
            )),
            _ => Ok(()),
        }
    }
}

impl ContainerAttributes {
    /// Takes the key if it is one of every container.
    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> Result<bool> {
        if !meta.path.is_ident("crate") {
            return Ok(false);
        }
        // A path, not a name: `crate` itself is where this library tests itself.
        let library = meta.value()?.call(Path::parse_mod_style)?;
        set(&mut self.library, library, meta)?;
        Ok(true)
    }
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
