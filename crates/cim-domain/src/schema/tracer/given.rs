//! A JSON value as what a type reads, with the refusals of the tracer.
//!
//! It hands values out as serde_json does: whole numbers that are not negative as unsigned ones,
//! `null` as none.

use serde::Deserializer;
use serde::de::value::{MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, EnumAccess, IntoDeserializer, VariantAccess, Visitor};
use serde_json::Value;

use super::refusal::Refusal;

/// A JSON value that is read.
#[derive(Clone, Copy)]
pub(super) struct Given<'v>(pub(super) &'v Value);

impl<'de> IntoDeserializer<'de, Refusal> for Given<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Given<'_> {
    type Error = Refusal;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(number), _, _) => visitor.visit_u64(number),
                (None, Some(number), _) => visitor.visit_i64(number),
                (None, None, Some(number)) => visitor.visit_f64(number),
                (None, None, None) => Err(Refusal::new("the number is out of range")),
            },
            Value::String(text) => visitor.visit_str(text),
            Value::Array(elements) => {
                visitor.visit_seq(SeqDeserializer::new(elements.iter().map(Given)))
            }
            Value::Object(entries) => visitor.visit_map(MapDeserializer::new(
                entries
                    .iter()
                    .map(|(key, value)| (StrDeserializer::new(key), Given(value))),
            )),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let (name, held) = variant(self.0)?;
        visitor.visit_enum(GivenVariant { name, held })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// The name of the variant that a value is, and what it holds.
pub(super) fn variant(value: &Value) -> Result<(&str, Option<&Value>), Refusal> {
    match value {
        Value::String(name) => Ok((name, None)),
        Value::Object(entries) if entries.len() == 1 => entries
            .iter()
            .next()
            .map(|(name, held)| (name.as_str(), Some(held)))
            .ok_or_else(|| Refusal::new("a variant has a name")),
        _ => Err(Refusal::new(
            "a variant is its name, or an object with that as its only key",
        )),
    }
}

struct GivenVariant<'v> {
    name: &'v str,
    held: Option<&'v Value>,
}

impl<'v, 'de> EnumAccess<'de> for GivenVariant<'v> {
    type Error = Refusal;
    type Variant = Held<'v>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Held<'v>), Refusal> {
        let name = seed.deserialize(StrDeserializer::<Refusal>::new(self.name))?;
        Ok((name, Held(self.held)))
    }
}

/// What a variant holds.
struct Held<'v>(Option<&'v Value>);

impl<'v> Held<'v> {
    fn value(self) -> Result<Given<'v>, Refusal> {
        let missing = || Refusal::new("the variant stands there without what it holds");
        self.0.map(Given).ok_or_else(missing)
    }
}

impl<'de> VariantAccess<'de> for Held<'_> {
    type Error = Refusal;

    fn unit_variant(self) -> Result<(), Refusal> {
        match self.0 {
            None | Some(Value::Null) => Ok(()),
            Some(_) => Err(Refusal::new("the variant holds nothing")),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Refusal> {
        seed.deserialize(self.value()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Refusal> {
        self.value()?.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.value()?.deserialize_any(visitor)
    }
}
