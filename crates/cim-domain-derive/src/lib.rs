//! `#[derive(DomainEvent)]`: gives plain serde types the names and schema versions of events.
//!
//! Applications use it through `cim_domain`, which re-exports it beside the trait of the same
//! name; the trait's documentation has the examples. What it generates refers to `::cim_domain`.
//!
//! The path of an event type through this crate: [`attributes`] reads `#[event(…)]` and refuses
//! what serde attributes would spoil, [`names`] makes `order_placed` of `OrderPlaced`, [`model`]
//! puts both together, [`evolution`] finds contradictions between the types of today and those of
//! the past, [`expand`] writes the implementation.

mod attributes;
mod evolution;
mod expand;
mod model;
mod names;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Implements `cim_domain::DomainEvent` for an enum, whose variants are event types, or for a
/// struct, which is one event type. The type also derives serde's `Serialize` and `Deserialize`.
///
/// # Attributes
/// | where | attribute | meaning |
/// |---|---|---|
/// | variant, struct | `#[event(name = "order_placed")]` | the event type, instead of the Rust name in `snake_case` |
/// | variant, struct | `#[event(alias = "order_created")]` | a name it was stored under before; may be given several times. Its versions are counted on across the rename |
/// | variant, struct | `#[event(version = 3)]` | the schema version, from 1 (the default) |
/// | variant, struct | `#[event(upcast(1 = first, 2 = second))]` | lifts payloads from each older schema version to the next: `fn(Value) -> Result<Value, UpcastError>`, or `Result<Option<Value>, …>` where some events become none |
/// | variant, struct | `#[event(upcast = path::to::function)]` | lifts payloads of every older schema version to the one of today: `fn(u32, Value) -> Result<Value, UpcastError>`, or with `Option<Value>` |
/// | enum | `#[event(prefix = "order_")]` | stands before every name that is not given by `name`; aliases and the names below are given whole |
/// | enum, struct | `#[event(codec = Cbor)]` | how payloads are written, a `Codec`; JSON if it is not said |
/// | enum, struct | `#[event(split(name = "order_placed_and_paid", into("order_placed", "order_paid"), by = function))]` | events of a type that is written no more become others: `fn(PastEvent) -> Result<Vec<PastEvent>, UpcastError>` |
/// | enum, struct | `#[event(split(name = "order_placed", until = 1, into(…), by = function))]` | the same for the first versions of a type that is written still |
/// | enum, struct | `#[event(retired("order_viewed", …))]` | events of these types become none |
/// | enum, struct | `#[event(crate = path)]` | where `cim_domain` is found, if it was renamed |
///
/// `Value` is `serde_json::Value`, whatever the codec is.
///
/// # What is refused
/// Two event types with one name, be it of today, an old one, a retired or a split one; chains of
/// upcasts with a step missing or too many; splits into types that there are not, or in a circle;
/// the reserved name `aggregate_deleted`; version 0; names that are empty, longer than 128 bytes or
/// hold control characters; lifetimes; unions; enums without variants; and serde attributes under
/// which a payload would not be the variant's fields alone (`tag`, `untagged`, `skip` of a variant,
/// …). Each error points at its place.
#[proc_macro_derive(DomainEvent, attributes(event))]
pub fn derive_domain_event(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    match model::EventDefinition::of(&input) {
        Ok(definition) => expand::implementation(&definition).into(),
        Err(error) => error.into_compile_error().into(),
    }
}
