//! Writes the implementation of `DomainEvent`.
//!
//! Generated code is small on purpose: tables of names and versions, and one call for each way.
//! Everything that works lives in `cim_domain::event`, where it can be read and tested.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};

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
    let infos = event_types.iter().map(|event_type| {
        let (name, version) = (&event_type.name, event_type.version);
        quote!(#library::event::EventTypeInfo { name: #name, version: #version })
    });
    let name_of_self = definition.choose_by_self(|event_type| {
        let name = &event_type.name;
        quote!(#name)
    });
    let version_of_self = definition.choose_by_self(|event_type| {
        let version = event_type.version;
        quote!(#version)
    });
    let decodings = event_types.iter().enumerate().map(|(index, event_type)| {
        let name = &event_type.name;
        let shape = match &definition.form {
            // serde numbers variants as they stand, as no variant can be skipped.
            Form::Enum(_) => {
                let index = u32::try_from(index).unwrap_or(u32::MAX);
                quote!(#derive::Shape::Variant(#index))
            }
            Form::Struct(_) => quote!(#derive::Shape::Struct),
            Form::UnitStruct(_) => quote!(#derive::Shape::UnitStruct),
        };
        let upcast = match &event_type.upcast {
            Some(function) => quote!(::core::option::Option::Some(#function)),
            None => quote!(::core::option::Option::None),
        };
        quote! {
            #name => #derive::decode(
                #shape,
                &Self::EVENT_TYPES[#index],
                #upcast,
                schema_version,
                payload,
            )
        }
    });
    // Errors about a missing Serialize or Deserialize then point at the type.
    let encode = quote_spanned!(ident.span()=> #derive::encode(self));

    quote! {
        #[automatically_derived]
        impl #parameters #library::event::DomainEvent for #ident #arguments
        where
            #predicates
        {
            const EVENT_TYPES: &'static [#library::event::EventTypeInfo] = &[#(#infos),*];

            fn event_type(&self) -> &'static str {
                #name_of_self
            }

            fn schema_version(&self) -> u32 {
                #version_of_self
            }

            fn encode(
                &self,
            ) -> ::core::result::Result<#derive::Vec<u8>, #library::event::EncodeError> {
                #encode
            }

            fn decode(
                event_type: &str,
                schema_version: u32,
                payload: &[u8],
            ) -> ::core::result::Result<Self, #library::event::DecodeError> {
                match event_type {
                    #(#decodings,)*
                    _ => ::core::result::Result::Err(#library::event::DecodeError::unknown_type(
                        event_type,
                        Self::EVENT_TYPES,
                    )),
                }
            }
        }
    }
}

impl EventDefinition<'_> {
    fn event_types(&self) -> Vec<&EventType> {
        match &self.form {
            Form::Enum(event_types) => event_types.iter().map(|(_, event)| event).collect(),
            Form::Struct(event_type) | Form::UnitStruct(event_type) => vec![event_type],
        }
    }

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
