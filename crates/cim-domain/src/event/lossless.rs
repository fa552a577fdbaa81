//! Refuses what a codec would alter without saying so.
//!
//! JSON has no number for infinity or "not a number", and one `null` for both "nothing" and
//! "something that is nothing". serde_json writes `null` for all of them, and another value comes
//! back, or none. DAG-CBOR has one `null` as well, and one zero, so −0.0 comes back as 0.0. An event
//! is the only record of a fact, so writing it fails instead. The rules are the same for every codec,
//! the zero aside: what can be written can be lifted later, which passes through JSON's values.

use std::marker::PhantomData;

use serde::Serialize;
use serde::ser::{
    Error, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::codec::Codec;

/// A value that is written whole by the codec `C`, or not at all.
pub(super) struct Whole<'a, C, T: ?Sized> {
    value: &'a T,
    codec: PhantomData<C>,
}

impl<'a, C, T: ?Sized> Whole<'a, C, T> {
    pub(super) fn new(value: &'a T) -> Self {
        Self {
            value,
            codec: PhantomData,
        }
    }
}

impl<C: Codec, T: Serialize + ?Sized> Serialize for Whole<'_, C, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Lossless {
            inner: serializer,
            place: Place {
                keeps_negative_zero: C::KEEPS_NEGATIVE_ZERO,
                in_option: false,
            },
        })
    }
}

/// Writes what it is given to `S`, unless it would be altered.
pub(super) struct Lossless<S> {
    inner: S,
    place: Place,
}

/// Where a value stands.
#[derive(Clone, Copy)]
struct Place {
    /// Whether −0.0 may be written.
    keeps_negative_zero: bool,
    /// Whether the value is what an `Option` holds.
    in_option: bool,
}

/// A value inside another one.
struct Checked<'a, T: ?Sized> {
    value: &'a T,
    place: Place,
}

/// The parts of a value.
pub(super) struct Parts<S> {
    inner: S,
    place: Place,
}

impl Place {
    fn part(self) -> Self {
        Self {
            in_option: false,
            ..self
        }
    }

    fn check_float<E: Error>(self, float: f64) -> Result<(), E> {
        if !float.is_finite() {
            return Err(E::custom("a payload has no number for infinity or NaN"));
        }
        if !self.keeps_negative_zero && float == 0.0 && float.is_sign_negative() {
            return Err(E::custom("the codec has no negative zero"));
        }
        Ok(())
    }
}

impl<T: Serialize + ?Sized> Serialize for Checked<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Lossless {
            inner: serializer,
            place: self.place,
        })
    }
}

impl<S: Serializer> Lossless<S> {
    fn unless_in_option(self) -> Result<S, S::Error> {
        if self.place.in_option {
            return Err(S::Error::custom(
                "an option that holds nothing inside another option can't be told from none",
            ));
        }
        Ok(self.inner)
    }
}

macro_rules! forward {
    ($($method:ident($($argument:ident: $type:ty),*) -> $output:ty,)*) => {
        $(fn $method(self, $($argument: $type),*) -> Result<$output, S::Error> {
            self.inner.$method($($argument),*)
        })*
    };
}

macro_rules! forward_parts {
    ($($method:ident($($argument:ident: $type:ty),*) -> $output:ty,)*) => {
        $(fn $method(self, $($argument: $type),*) -> Result<Parts<$output>, S::Error> {
            let place = self.place.part();
            let inner = self.inner.$method($($argument),*)?;
            Ok(Parts { inner, place })
        })*
    };
}

impl<S: Serializer> Serializer for Lossless<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Parts<S::SerializeSeq>;
    type SerializeTuple = Parts<S::SerializeTuple>;
    type SerializeTupleStruct = Parts<S::SerializeTupleStruct>;
    type SerializeTupleVariant = Parts<S::SerializeTupleVariant>;
    type SerializeMap = Parts<S::SerializeMap>;
    type SerializeStruct = Parts<S::SerializeStruct>;
    type SerializeStructVariant = Parts<S::SerializeStructVariant>;

    forward! {
        serialize_bool(value: bool) -> S::Ok,
        serialize_i8(value: i8) -> S::Ok,
        serialize_i16(value: i16) -> S::Ok,
        serialize_i32(value: i32) -> S::Ok,
        serialize_i64(value: i64) -> S::Ok,
        serialize_i128(value: i128) -> S::Ok,
        serialize_u8(value: u8) -> S::Ok,
        serialize_u16(value: u16) -> S::Ok,
        serialize_u32(value: u32) -> S::Ok,
        serialize_u64(value: u64) -> S::Ok,
        serialize_u128(value: u128) -> S::Ok,
        serialize_char(value: char) -> S::Ok,
        serialize_str(value: &str) -> S::Ok,
        serialize_bytes(value: &[u8]) -> S::Ok,
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str) -> S::Ok,
    }

    forward_parts! {
        serialize_seq(len: Option<usize>) -> S::SerializeSeq,
        serialize_tuple(len: usize) -> S::SerializeTuple,
        serialize_tuple_struct(name: &'static str, len: usize) -> S::SerializeTupleStruct,
        serialize_tuple_variant(
            name: &'static str, index: u32, variant: &'static str, len: usize
        ) -> S::SerializeTupleVariant,
        serialize_map(len: Option<usize>) -> S::SerializeMap,
        serialize_struct(name: &'static str, len: usize) -> S::SerializeStruct,
        serialize_struct_variant(
            name: &'static str, index: u32, variant: &'static str, len: usize
        ) -> S::SerializeStructVariant,
    }

    fn serialize_f32(self, value: f32) -> Result<S::Ok, S::Error> {
        self.place.check_float(value.into())?;
        self.inner.serialize_f32(value)
    }

    fn serialize_f64(self, value: f64) -> Result<S::Ok, S::Error> {
        self.place.check_float(value)?;
        self.inner.serialize_f64(value)
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.unless_in_option()?.serialize_none()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        let place = Place {
            in_option: true,
            ..self.place
        };
        self.inner.serialize_some(&Checked { value, place })
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.unless_in_option()?.serialize_unit()
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<S::Ok, S::Error> {
        self.unless_in_option()?.serialize_unit_struct(name)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        // The value is written alone, so what is around the struct is around the value.
        let place = self.place;
        self.inner
            .serialize_newtype_struct(name, &Checked { value, place })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let place = self.place.part();
        self.inner
            .serialize_newtype_variant(name, index, variant, &Checked { value, place })
    }

    fn collect_str<T: std::fmt::Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! forward_elements {
    ($($part:ident::$method:ident,)*) => {
        $(impl<S: $part> $part for Parts<S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
                let place = self.place;
                self.inner.$method(&Checked { value, place })
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.inner.end()
            }
        })*
    };
}

forward_elements! {
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field,
}

macro_rules! forward_fields {
    ($($part:ident,)*) => {
        $(impl<S: $part> $part for Parts<S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), S::Error> {
                let place = self.place;
                self.inner.serialize_field(key, &Checked { value, place })
            }

            fn skip_field(&mut self, key: &'static str) -> Result<(), S::Error> {
                self.inner.skip_field(key)
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.inner.end()
            }
        })*
    };
}

forward_fields! { SerializeStruct, SerializeStructVariant, }

impl<S: SerializeMap> SerializeMap for Parts<S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        self.inner.serialize_key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        let place = self.place;
        self.inner.serialize_value(&Checked { value, place })
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.inner.end()
    }
}
