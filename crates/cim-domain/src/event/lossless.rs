//! Refuses what JSON would alter without saying so.
//!
//! JSON has no number for infinity or "not a number", and one `null` for both "nothing" and
//! "something that is nothing". serde_json writes `null` for all of them, and another value comes
//! back, or none. An event is the only record of a fact, so writing it fails instead.

use serde::Serialize;
use serde::ser::{
    Error, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// Writes what it is given to `S`, unless JSON would alter it.
pub(super) struct Lossless<S> {
    inner: S,
    /// Whether the value is what an `Option` holds.
    in_option: bool,
}

/// A value inside another one.
struct Checked<'a, T: ?Sized> {
    value: &'a T,
    in_option: bool,
}

/// The parts of a value.
pub(super) struct Parts<S>(S);

impl<S> Lossless<S> {
    pub(super) fn new(inner: S) -> Self {
        Self {
            inner,
            in_option: false,
        }
    }
}

impl<'a, T: ?Sized> Checked<'a, T> {
    fn new(value: &'a T) -> Self {
        Self {
            value,
            in_option: false,
        }
    }
}

impl<T: Serialize + ?Sized> Serialize for Checked<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Lossless {
            inner: serializer,
            in_option: self.in_option,
        })
    }
}

impl<S: Serializer> Lossless<S> {
    fn unless_in_option(self) -> Result<S, S::Error> {
        if self.in_option {
            return Err(S::Error::custom(
                "an option that holds nothing inside another option can't be told from none in JSON",
            ));
        }
        Ok(self.inner)
    }
}

fn check_finite<E: Error>(is_finite: bool) -> Result<(), E> {
    match is_finite {
        true => Ok(()),
        false => Err(E::custom("JSON has no number for infinity or NaN")),
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
            self.inner.$method($($argument),*).map(Parts)
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
        check_finite(value.is_finite())?;
        self.inner.serialize_f32(value)
    }

    fn serialize_f64(self, value: f64) -> Result<S::Ok, S::Error> {
        check_finite(value.is_finite())?;
        self.inner.serialize_f64(value)
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.unless_in_option()?.serialize_none()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.serialize_some(&Checked {
            value,
            in_option: true,
        })
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
        // JSON writes the value alone, so what is around the struct is around the value.
        let in_option = self.in_option;
        self.inner
            .serialize_newtype_struct(name, &Checked { value, in_option })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.inner
            .serialize_newtype_variant(name, index, variant, &Checked::new(value))
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
                self.0.$method(&Checked::new(value))
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.0.end()
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
                self.0.serialize_field(key, &Checked::new(value))
            }

            fn skip_field(&mut self, key: &'static str) -> Result<(), S::Error> {
                self.0.skip_field(key)
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.0.end()
            }
        })*
    };
}

forward_fields! { SerializeStruct, SerializeStructVariant, }

impl<S: SerializeMap> SerializeMap for Parts<S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        self.0.serialize_key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        self.0.serialize_value(&Checked::new(value))
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.0.end()
    }
}
