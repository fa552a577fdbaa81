//! Writes the implementation of `DomainEvent`.
//!
//! Generated code is small on purpose: tables of names and versions, and one call for each way.
//! Everything that works lives in `cim_domain::event`, where it can be read and tested.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned as _;

use crate::attributes::{Split, Upcast};
use crate::model::{EventDefinition, EventType, Form};

/// The whole implementation.
pub(crate) fn implementation(definition: &EventDefinition<'_>) -> TokenStream {
    let library = match &definition.library {
        Some(path) => quote!(#path),
        None => quote!(::cim_domain),
    };
    let derive = quote!(#library::event::derive);
    let ident = definition.ident;
    let (parameters, arguments, conditions) = definition.generics.split_for_impl();
    let mut predicates = conditions.map_or_else(TokenStream::new, |conditions| {
        let predicates = conditions.predicates.iter();
        quote!(#(#predicates,)*)
    });
    if !definition.generics.params.is_empty() {
        // Only for generic types: elsewhere a missing serde trait is better reported where the
        // type is written.
        predicates.extend(quote! {
            Self: #derive::Serialize + #derive::DeserializeOwned
                + ::core::marker::Send + ::core::marker::Sync + 'static,
        });
    }

    let event_types = definition.event_types();
    let versions = event_types.iter().map(|event_type| {
        let (name, version) = (&event_type.name, event_type.version);
        let aliases = event_type.aliases.iter().map(|(alias, _)| alias);
        let upcast_from = definition.upcast_from(event_type);
        quote! {
            #library::event::EventVersion::new(#name, #version)
                .with_aliases(&[#(#aliases),*])
                .with_upcast_from(#upcast_from)
        }
    });
    let split_types = definition.splits.iter().map(|split| {
        let name = &split.name.0;
        let until = match split.until {
            Some((until, _)) => quote!(::core::option::Option::Some(#until)),
            None => quote!(::core::option::Option::None),
        };
        let into = split.into.iter().map(|(into, _)| into);
        quote!(#library::event::SplitType::new(#name, #until, &[#(#into),*]))
    });
    let retired = definition.retired.iter().map(|(name, _)| name);
    let name_of_self = definition.choose_by_self(|event_type| {
        let name = &event_type.name;
        quote!(#name)
    });
    let version_of_self = definition.choose_by_self(|event_type| {
        let version = event_type.version;
        quote!(#version)
    });
    let codec = match &definition.codec {
        Some(codec) => quote!(#codec),
        None => quote!(#library::event::Json),
    };
    let findings = findings(definition, &derive);
    let deserialize = match &definition.form {
        // serde numbers variants as they stand, as no variant can be skipped.
        Form::Enum(_) => quote!(deserialize_variant),
        Form::Struct(_) => quote!(deserialize_struct),
        Form::UnitStruct(_) => quote!(deserialize_unit_struct),
    };
    // Errors about a missing Serialize or Deserialize then point at the type.
    let serialize = quote_spanned!(ident.span()=> #derive::serialize(self, serializer));
    let deserialize = quote_spanned!(ident.span()=> #derive::#deserialize(index, deserializer));

    quote! {
        #[automatically_derived]
        impl #parameters #library::event::DomainEvent for #ident #arguments
        where
            #predicates
        {
            type Codec = #codec;

            const EVENT_TYPES: &'static [#library::event::EventVersion] = &[#(#versions),*];
            const SPLIT_TYPES: &'static [#library::event::SplitType] = &[#(#split_types),*];
            const RETIRED_TYPES: &'static [&'static str] = &[#(#retired),*];

            fn event_type(&self) -> &'static str {
                #name_of_self
            }

            fn schema_version(&self) -> u32 {
                #version_of_self
            }

            fn encode(
                &self,
            ) -> ::core::result::Result<#derive::Vec<u8>, #library::event::EncodeError> {
                #derive::encode(self)
            }

            fn decode(
                stored: #library::event::Encoded<'_>,
            ) -> ::core::result::Result<
                #library::event::Decoded<Self>,
                #library::event::DecodeError,
            > {
                #derive::decode(stored, |event_type| match event_type {
                    #(#findings,)*
                    _ => #derive::Found::Unknown,
                })
            }

            fn serialize_payload<__S: #derive::Serializer>(
                &self,
                serializer: __S,
            ) -> ::core::result::Result<__S::Ok, __S::Error> {
                #serialize
            }

            fn deserialize_payload<'de, __D: #derive::Deserializer<'de>>(
                index: usize,
                deserializer: __D,
            ) -> ::core::result::Result<Self, __D::Error> {
                #deserialize
            }
        }
    }
}

/// The arms that say what each name stands for.
fn findings(definition: &EventDefinition<'_>, derive: &TokenStream) -> Vec<TokenStream> {
    let split_at = |index: usize| {
        let by = definition.splits.get(index).map(|split| &split.by);
        quote!(&#derive::Split { info: &Self::SPLIT_TYPES[#index], by: #by })
    };
    let event_types = definition.event_types();
    let living = event_types.iter().enumerate().map(|(index, event_type)| {
        let names = event_type.aliases.iter().map(|(alias, _)| alias);
        let names = std::iter::once(&event_type.name).chain(names);
        let upcasts = match &event_type.upcast {
            None => quote!(#derive::Upcasts::None),
            Some(Upcast::All(function)) => {
                let call = quote_spanned!(function.span()=> #function(from, payload)?);
                quote!(#derive::Upcasts::All(|from, payload| {
                    ::core::result::Result::Ok(::core::convert::Into::into(#call))
                }))
            }
            Some(Upcast::Steps(steps, _)) => {
                let steps = steps.iter().map(|step| {
                    let function = &step.function;
                    let call = quote_spanned!(function.span()=> #function(payload)?);
                    quote!(|payload| {
                        ::core::result::Result::Ok(::core::convert::Into::into(#call))
                    })
                });
                quote!(#derive::Upcasts::Steps(&[#(#steps),*]))
            }
        };
        let is_its = |split: &Split| split.name.0 == event_type.name;
        let split = match definition.splits.iter().position(is_its) {
            Some(index) => {
                let split = split_at(index);
                quote!(::core::option::Option::Some(#split))
            }
            None => quote!(::core::option::Option::None),
        };
        quote! {
            #(#names)|* => #derive::Found::Living(const {
                &#derive::Living {
                    version: &Self::EVENT_TYPES[#index],
                    read: #derive::read::<Self, #index>,
                    upcasts: #upcasts,
                    split: #split,
                }
            })
        }
    });
    let is_of_today = |name: &str| event_types.iter().any(|event_type| event_type.name == name);
    let splits = definition.splits.iter().enumerate();
    let dead = splits.filter(|(_, split)| !is_of_today(&split.name.0));
    let dead = dead.map(|(index, split)| {
        let (name, split) = (&split.name.0, split_at(index));
        quote!(#name => #derive::Found::Split(const { #split }))
    });
    let retired = definition
        .retired
        .iter()
        .map(|(name, _)| quote!(#name => #derive::Found::Retired));
    living.chain(dead).chain(retired).collect()
}

impl EventDefinition<'_> {
    /// An expression that takes another value for each event type that `self` can be.
    fn choose_by_self(&self, value: impl Fn(&EventType) -> TokenStream) -> TokenStream {
        match &self.form {
            Form::Enum(event_types) => {
                let arms = event_types.iter().map(|(variant, event_type)| {
                    let value = value(event_type);
                    quote!(Self::#variant { .. } => #value)
                });
                quote!(match self { #(#arms,)* })
            }
            Form::Struct(event_type) | Form::UnitStruct(event_type) => value(event_type),
        }
    }
}
