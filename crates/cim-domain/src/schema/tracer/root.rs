//! The payload of an event: the fields of one variant, without the variant's name.

use serde::Deserializer;
use serde::de::value::U32Deserializer;
use serde::de::{DeserializeSeed, EnumAccess, IntoDeserializer, VariantAccess, Visitor};

use super::reading::At;
use super::refusal::Refusal;

/// What an event is read from: for an enum the payload of one variant, for a struct its own.
pub(super) struct EventPayload<'t> {
    /// The variant's place in the enum, from 0.
    pub(super) index: u32,
    pub(super) at: At<'t>,
}

macro_rules! as_it_is {
    ($($method:ident($($argument:ident: $type:ty),*),)*) => {
        $(fn $method<V: Visitor<'de>>(
            self,
            $($argument: $type,)*
            visitor: V,
        ) -> Result<V::Value, Refusal> {
            self.at.$method($($argument,)* visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for EventPayload<'_> {
    type Error = Refusal;

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        visitor.visit_enum(self)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.at.no_fields()?;
        visitor.visit_unit()
    }

    as_it_is! {
        deserialize_any(),
        deserialize_bool(),
        deserialize_i8(),
        deserialize_i16(),
        deserialize_i32(),
        deserialize_i64(),
        deserialize_i128(),
        deserialize_u8(),
        deserialize_u16(),
        deserialize_u32(),
        deserialize_u64(),
        deserialize_u128(),
        deserialize_f32(),
        deserialize_f64(),
        deserialize_char(),
        deserialize_str(),
        deserialize_string(),
        deserialize_bytes(),
        deserialize_byte_buf(),
        deserialize_option(),
        deserialize_unit(),
        deserialize_newtype_struct(name: &'static str),
        deserialize_seq(),
        deserialize_tuple(len: usize),
        deserialize_tuple_struct(name: &'static str, len: usize),
        deserialize_map(),
        deserialize_struct(name: &'static str, fields: &'static [&'static str]),
        deserialize_identifier(),
        deserialize_ignored_any(),
    }
}

impl<'t, 'de> EnumAccess<'de> for EventPayload<'t> {
    type Error = Refusal;
    type Variant = Fields<'t>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Fields<'t>), Refusal> {
        let index: U32Deserializer<Refusal> = self.index.into_deserializer();
        Ok((seed.deserialize(index)?, Fields(self.at)))
    }
}

/// The fields of the variant.
pub(super) struct Fields<'t>(At<'t>);

impl<'de> VariantAccess<'de> for Fields<'_> {
    type Error = Refusal;

    fn unit_variant(self) -> Result<(), Refusal> {
        self.0.no_fields()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Refusal> {
        seed.deserialize(self.0)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Refusal> {
        self.0.deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.0.deserialize_fields(fields, visitor)
    }
}
