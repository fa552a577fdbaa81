//! What is known of an event before anything is generated.

use proc_macro2::Span;
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;
use syn::{
    Data, DeriveInput, Error, Fields, GenericParam, Generics, Ident, Path, Result, Type, Variant,
};

use crate::attributes::{self, ContainerAttributes, Name, Split, TypeAttributes, Upcast};
use crate::{evolution, names};

/// A Rust type and the event types it holds.
pub(crate) struct EventDefinition<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) generics: &'a Generics,
    /// Where `cim_domain` is found, if not at `::cim_domain`.
    pub(crate) library: Option<Path>,
    /// What payloads are written by, if not as JSON.
    pub(crate) codec: Option<Type>,
    pub(crate) form: Form<'a>,
    /// Event types whose events became others.
    pub(crate) splits: Vec<Split>,
    /// Event types whose events were given up.
    pub(crate) retired: Vec<Name>,
}

/// How the Rust type holds its event types.
pub(crate) enum Form<'a> {
    /// Each variant is one.
    Enum(Vec<(&'a Ident, EventType)>),
    /// It is one.
    Struct(EventType),
    /// It is one, without fields.
    UnitStruct(EventType),
}

/// One event type.
pub(crate) struct EventType {
    /// What Rust calls it.
    pub(crate) ident: Ident,
    pub(crate) name: String,
    pub(crate) aliases: Vec<Name>,
    pub(crate) version: u32,
    pub(crate) upcast: Option<Upcast>,
    /// Where its name comes from.
    pub(crate) place: Span,
}

impl<'a> EventDefinition<'a> {
    /// Reads a type and finds what can't be an event.
    pub(crate) fn of(input: &'a DeriveInput) -> Result<Self> {
        refuse_lifetimes(&input.generics)?;
        let (container, form) = match &input.data {
            Data::Enum(data) => {
                let container = attributes::of_enum(&input.attrs)?;
                let prefix = container.prefix.as_deref().unwrap_or_default();
                let event_types = data
                    .variants
                    .iter()
                    .map(|variant| Ok((&variant.ident, of_variant(variant, prefix)?)))
                    .collect::<Result<Vec<_>>>()?;
                if event_types.is_empty() {
                    return Err(Error::new_spanned(
                        &input.ident,
                        "an enum without variants has no event types",
                    ));
                }
                (container, Form::Enum(event_types))
            }
            Data::Struct(data) => {
                let (container, found) = attributes::of_struct(&input.attrs)?;
                let event_type = EventType::new(&input.ident, "", found)?;
                let form = match data.fields {
                    Fields::Unit => Form::UnitStruct(event_type),
                    _ => Form::Struct(event_type),
                };
                (container, form)
            }
            Data::Union(data) => {
                return Err(Error::new(
                    data.union_token.span(),
                    "a union can't be an event; use an enum whose variants are the event types",
                ));
            }
        };
        let ContainerAttributes {
            library,
            codec,
            splits,
            retired,
            ..
        } = container;
        let definition = Self {
            ident: &input.ident,
            generics: &input.generics,
            library,
            codec,
            form,
            splits,
            retired,
        };
        evolution::check(&definition)?;
        Ok(definition)
    }

    /// The event types of today, in the order of the variants.
    pub(crate) fn event_types(&self) -> Vec<&EventType> {
        match &self.form {
            Form::Enum(event_types) => event_types.iter().map(|(_, event)| event).collect(),
            Form::Struct(event_type) | Form::UnitStruct(event_type) => vec![event_type],
        }
    }

    /// The split of the first versions of an event type of today.
    pub(crate) fn split_of(&self, event_type: &EventType) -> Option<&Split> {
        self.splits
            .iter()
            .find(|split| split.name.0 == event_type.name)
    }

    /// The oldest schema version of an event type of today that upcasts lift.
    pub(crate) fn upcast_from(&self, event_type: &EventType) -> u32 {
        let until = self.split_of(event_type).and_then(|split| split.until);
        match event_type.upcast {
            Some(_) => until.map_or(1, |(until, _)| until + 1),
            None => event_type.version,
        }
    }
}

impl EventType {
    fn new(ident: &Ident, prefix: &str, found: TypeAttributes) -> Result<Self> {
        let (name, place) = found.name.unwrap_or_else(|| {
            let name = names::snake_case(&ident.unraw().to_string());
            (format!("{prefix}{name}"), ident.span())
        });
        names::check_whole(&name, place)?;
        Ok(Self {
            ident: ident.clone(),
            name,
            aliases: found.aliases,
            version: found.version.unwrap_or(1),
            upcast: found.upcast,
            place,
        })
    }
}

fn of_variant(variant: &Variant, prefix: &str) -> Result<EventType> {
    let found = attributes::of_variant(&variant.attrs)?;
    EventType::new(&variant.ident, prefix, found)
}

fn refuse_lifetimes(generics: &Generics) -> Result<()> {
    for parameter in &generics.params {
        if let GenericParam::Lifetime(lifetime) = parameter {
            return Err(Error::new_spanned(
                lifetime,
                "an event owns what it holds, because it outlives the bytes it is read from; use \
                 owned types such as String",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    fn refusal(input: DeriveInput) -> String {
        match EventDefinition::of(&input) {
            Ok(_) => panic!("it was accepted"),
            Err(error) => error.to_string(),
        }
    }

    fn refused(input: DeriveInput, because: &str) {
        let refusal = refusal(input);
        assert!(refusal.contains(because), "{refusal}");
    }

    #[test]
    fn two_variants_with_one_name_are_refused_with_both_variants() {
        assert_eq!(
            refusal(parse_quote! {
                enum E { Placed, #[event(name = "placed")] Ordered }
            }),
            "`Placed` and `Ordered` have the same event type `placed`; give one of them another \
             with #[event(name = \"…\")], or raise the version of a single variant"
        );
        refused(
            parse_quote!(
                enum E {
                    HTTPSent,
                    HttpSent,
                }
            ),
            "`HTTPSent` and `HttpSent`",
        );
    }

    #[test]
    fn versions_that_are_no_counting_numbers_are_refused() {
        refused(
            parse_quote!(
                enum E {
                    #[event(version = 0)]
                    A,
                }
            ),
            "schema versions are counted from 1",
        );
        refused(
            parse_quote!(
                enum E {
                    #[event(version = "2")]
                    A,
                }
            ),
            "expected integer literal",
        );
        refused(
            parse_quote!(
                enum E {
                    #[event(version = 5000000000)]
                    A,
                }
            ),
            "number too large",
        );
    }

    #[test]
    fn an_upcast_to_the_first_version_is_refused() {
        refused(
            parse_quote!(
                enum E {
                    #[event(upcast = lift)]
                    A,
                }
            ),
            "was `version = 2` forgotten?",
        );
        refused(
            parse_quote!(
                #[event(upcast = lift, version = 1)]
                struct E;
            ),
            "was `version = 2` forgotten?",
        );
    }

    #[test]
    fn unknown_misplaced_and_repeated_attributes_are_refused() {
        refused(
            parse_quote!(
                enum E {
                    #[event(nam = "a")]
                    A,
                }
            ),
            "a variant has `name`, `alias`, `version` and `upcast`",
        );
        refused(
            parse_quote!(
                #[event(name = "a")]
                enum E {
                    A,
                }
            ),
            "belong to its variants",
        );
        refused(
            parse_quote!(
                #[event(version = 2)]
                enum E {
                    A,
                }
            ),
            "belong to its variants",
        );
        refused(
            parse_quote!(
                #[event(prefix = "a")]
                struct E;
            ),
            "a struct has `name`, `alias`, `version`, `upcast`, `codec`",
        );
        refused(
            parse_quote!(
                enum E {
                    #[event(version = 2, version = 3)]
                    A,
                }
            ),
            "this is said twice",
        );
    }

    #[test]
    fn names_that_no_store_takes_are_refused() {
        refused(
            parse_quote!(
                enum E {
                    #[event(name = "")]
                    A,
                }
            ),
            "it is empty",
        );
        let prefix = "x".repeat(128);
        refused(
            parse_quote!(
                #[event(prefix = #prefix)]
                enum E {
                    A,
                }
            ),
            "has 129 bytes, at most 128 are possible",
        );
    }

    #[test]
    fn types_that_can_not_hold_events_are_refused() {
        refused(parse_quote!(union E { a: u8 }), "a union can't be an event");
        refused(
            parse_quote!(
                enum E {}
            ),
            "has no event types",
        );
        refused(
            parse_quote!(
                struct E<'a> {
                    name: &'a str,
                }
            ),
            "an event owns what it holds",
        );
    }

    #[test]
    fn serde_attributes_that_change_what_a_payload_is_are_refused() {
        let payload = "a payload holds the variant's fields alone";
        refused(
            parse_quote!(
                #[serde(tag = "t")]
                enum E {
                    A,
                }
            ),
            payload,
        );
        refused(
            parse_quote!(
                #[serde(rename_all = "x", tag = "t", content = "c")]
                enum E {
                    A,
                }
            ),
            payload,
        );
        refused(
            parse_quote!(
                #[serde(untagged)]
                enum E {
                    A,
                }
            ),
            payload,
        );
        refused(
            parse_quote!(
                #[serde(tag = "t")]
                struct E;
            ),
            "remove",
        );
        refused(
            parse_quote!(
                #[serde(from = "F")]
                enum E {
                    A,
                }
            ),
            "convert it",
        );
        refused(
            parse_quote!(
                #[serde(into = "F")]
                struct E;
            ),
            "convert it",
        );
        refused(
            parse_quote!(
                enum E {
                    A,
                    #[serde(skip)]
                    B,
                }
            ),
            "is no event",
        );
        refused(
            parse_quote!(
                enum E {
                    A,
                    #[serde(other)]
                    B,
                }
            ),
            "which variant",
        );
        refused(
            parse_quote!(
                enum E {
                    A,
                    #[serde(untagged)]
                    B(u8),
                }
            ),
            "which variant",
        );
    }

    #[test]
    fn other_serde_attributes_are_read_over() {
        let input: DeriveInput = parse_quote! {
            #[serde(rename_all = "camelCase", bound(serialize = "T: Clone"), deny_unknown_fields)]
            #[serde(expecting = "an order")]
            enum E<T> {
                #[serde(rename = "other", alias = "tag")]
                A { #[serde(skip, default = "f")] skip: T },
            }
        };
        assert!(EventDefinition::of(&input).is_ok());
    }
}
