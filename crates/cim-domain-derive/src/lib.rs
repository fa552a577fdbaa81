//! `#[derive(DomainEvent)]`: gives plain serde types the names and schema versions of events.
//!
//! Applications use it through `cim_domain`, which re-exports it beside the trait of the same
//! name; the trait's documentation has the examples. What it generates refers to `::cim_domain`.
//!
//! The path of an event type through this crate: [`attributes`] reads `#[event(…)]` and refuses
//! what serde attributes would spoil, [`names`] makes `order_placed` of `OrderPlaced`, [`model`]
//! puts both together and finds contradictions, [`expand`] writes the implementation.

mod attributes;
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
/// | variant, struct | `#[event(version = 2)]` | the schema version, from 1 (the default) |
/// | variant, struct | `#[event(upcast = path::to::function)]` | lifts payloads of older schema versions: `fn(u32, serde_json::Value) -> Result<serde_json::Value, UpcastError>` |
/// | enum | `#[event(prefix = "order_")]` | stands before every name that is not given by `name` |
/// | enum, struct | `#[event(crate = path)]` | where `cim_domain` is found, if it was renamed |
///
/// # What is refused
/// Two variants with one name; version 0; names that are empty, longer than 128 bytes or hold
/// control characters; lifetimes; unions; enums without variants; and serde attributes under which
/// a payload would not be the variant's fields alone (`tag`, `untagged`, `skip` of a variant, …).
/// Each error points at its place.
#[proc_macro_derive(DomainEvent, attributes(event))]
pub fn derive_domain_event(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    match model::EventDefinition::of(&input) {
        Ok(definition) => expand::implementation(&definition).into(),
        Err(error) => error.into_compile_error().into(),
    }
}
