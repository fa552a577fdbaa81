//! Payloads as JSON values, for upcasts: nothing of them is lost on the way in or out.
//!
//! Upcasts work on [`serde_json::Value`] whatever the codec is. A `Value` has no bytes, no links, and
//! integers of 64 bits only. Bytes and links of binary codecs take the form that
//! [DAG-JSON](https://ipld.io/specs/codecs/dag-json/spec/) gives them, `{"/":{"bytes":"…"}}` in
//! base64 without padding and `{"/":"bafy…"}`, and become bytes and links again. What has no form is
//! an error instead of a neighbour: integers beyond 64 bits, numbers that are not finite, keys that
//! stand twice or are no texts.

use std::fmt;

use cim_ipld::Cid;
use data_encoding::BASE64_NOPAD;
use serde::de::{self, DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, SerializeMap as _, SerializeSeq as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Number, Value};

use super::codec::{Codec, CodecError, Form};

/// Reads a payload without its type.
pub(super) fn read<C: Codec>(form: Form, payload: &[u8]) -> Result<Value, CodecError> {
    let form = form.standard::<C>();
    if form == Form::Json
        && let Some(number) = rounded_integer(payload)
    {
        return Err(CodecError::new(format!(
            "the integer {number} has more than 64 bits, which no upcast can be given"
        )));
    }
    let Dynamic(value) = form.decode::<C, Dynamic>(payload)?;
    Ok(value)
}

/// Reads a value as the type of a payload, as if the codec had written it.
pub(super) fn into_typed<C: Codec, T: DeserializeOwned>(
    form: Form,
    value: Value,
) -> Result<T, CodecError> {
    match form.standard::<C>() {
        Form::Json => T::deserialize(value).map_err(CodecError::new),
        Form::Cbor => {
            let payload = super::codec::Cbor::encode(&Dynamic(value))?;
            Form::Cbor.decode::<C, T>(&payload)
        }
        Form::Own => C::decode(&C::encode(&Dynamic(value))?),
    }
}

/// The first integer of a JSON text that a [`Value`] would hold as a float.
fn rounded_integer(json: &[u8]) -> Option<&str> {
    let mut at = 0;
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => at = end_of_text(json, at),
            b'-' | b'0'..=b'9' => {
                let rest = &json[at..];
                let is_in_number = |byte: &u8| {
                    byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E')
                };
                let len = rest.iter().take_while(|byte| is_in_number(byte)).count();
                let (number, _) = rest.split_at(len);
                if let Ok(number) = std::str::from_utf8(number)
                    && !number.contains(['.', 'e', 'E'])
                    && number.parse::<i64>().is_err()
                    && number.parse::<u64>().is_err()
                {
                    return Some(number);
                }
                at += len;
            }
            _ => at += 1,
        }
    }
    None
}

/// The place after a text of JSON that begins at `start`.
fn end_of_text(json: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    json.len()
}

/// A [`Value`] that is read and written whole.
struct Dynamic(Value);

impl<'de> Deserialize<'de> for Dynamic {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let is_binary = !deserializer.is_human_readable();
        let value = deserializer.deserialize_any(Read { is_binary })?;
        Ok(Self(value))
    }
}

/// Takes whatever stands in a payload.
struct Read {
    is_binary: bool,
}

/// The only key of what stands for bytes or a link.
const RESERVED: &str = "/";

impl<'de> Visitor<'de> for Read {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything that has a form in JSON")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Value, E> {
        match (i64::try_from(value), u64::try_from(value)) {
            (Ok(value), _) => Ok(value.into()),
            (_, Ok(value)) => Ok(value.into()),
            _ => Err(too_many_bits(value)),
        }
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Value, E> {
        match u64::try_from(value) {
            Ok(value) => Ok(value.into()),
            Err(_) => Err(too_many_bits(value)),
        }
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        match Number::from_f64(value) {
            Some(number) => Ok(number.into()),
            None => Err(E::custom("an upcast can't be given infinity or NaN")),
        }
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_bytes<E: de::Error>(self, value: &[u8]) -> Result<Value, E> {
        Ok(reserved(reserved_bytes(value)))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        Dynamic::deserialize(inner).map(|Dynamic(value)| value)
    }

    /// Of the formats without types only DAG-CBOR comes here, with a link.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, link: D) -> Result<Value, D::Error> {
        let cid = link.deserialize_bytes(Link)?;
        Ok(reserved(cid.to_string().into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Dynamic(value)) = seq.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some((key, Dynamic(value))) = map.next_entry::<String, Dynamic>()? {
            if fields.contains_key(&key) {
                return Err(de::Error::custom(format_args!(
                    "the key `{key}` stands twice"
                )));
            }
            fields.insert(key, value);
        }
        if self.is_binary && is_reserved(&fields) {
            return Err(de::Error::custom(
                "a map with `/` as its only key stands for bytes or a link in an upcast",
            ));
        }
        Ok(Value::Object(fields))
    }
}

/// Takes the bytes of a link.
struct Link;

impl Visitor<'_> for Link {
    type Value = Cid;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes of a CID")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Cid, E> {
        Cid::try_from(bytes).map_err(E::custom)
    }
}

fn too_many_bits<E: de::Error>(value: impl fmt::Display) -> E {
    E::custom(format_args!(
        "the integer {value} has more than 64 bits, which no upcast can be given"
    ))
}

fn is_reserved(fields: &Map<String, Value>) -> bool {
    fields.len() == 1 && fields.contains_key(RESERVED)
}

fn reserved(value: Value) -> Value {
    Value::Object(Map::from_iter([(RESERVED.to_owned(), value)]))
}

fn reserved_bytes(bytes: &[u8]) -> Value {
    let text = BASE64_NOPAD.encode(bytes);
    Value::Object(Map::from_iter([("bytes".to_owned(), text.into())]))
}

impl Serialize for Dynamic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => self.0.serialize(serializer),
            false => Binary(&self.0).serialize(serializer),
        }
    }
}

/// A [`Value`] that is written in a binary format.
struct Binary<'a>(&'a Value);

impl Serialize for Binary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(values) => {
                let mut seq = serializer.serialize_seq(Some(values.len()))?;
                for value in values {
                    seq.serialize_element(&Binary(value))?;
                }
                seq.end()
            }
            Value::Object(fields) => match fields.get(RESERVED) {
                Some(value) if fields.len() == 1 => serialize_reserved(value, serializer),
                _ => {
                    let mut map = serializer.serialize_map(Some(fields.len()))?;
                    for (key, value) in fields {
                        map.serialize_entry(key, &Binary(value))?;
                    }
                    map.end()
                }
            },
            simple => simple.serialize(serializer),
        }
    }
}

fn serialize_reserved<S: Serializer>(value: &Value, serializer: S) -> Result<S::Ok, S::Error> {
    if let Some(text) = value.as_str() {
        let cid: Cid = text.parse().map_err(S::Error::custom)?;
        return cid.serialize(serializer);
    }
    match value.get("bytes").and_then(Value::as_str) {
        Some(text) => {
            let bytes = BASE64_NOPAD
                .decode(text.as_bytes())
                .map_err(S::Error::custom)?;
            serializer.serialize_bytes(&bytes)
        }
        None => Err(S::Error::custom(
            "a map with `/` as its only key is neither bytes nor a link",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::codec::{Cbor, Json};
    use cim_ipld::dag_cbor::{self, Ipld};
    use proptest::prelude::*;

    #[test]
    fn integers_beyond_64_bits_are_found_wherever_they_stand_and_nothing_else() {
        for (json, found) in [
            ("18446744073709551616", Some("18446744073709551616")),
            (
                r#"{"a":[-9223372036854775809]}"#,
                Some("-9223372036854775809"),
            ),
            (r#"["18446744073709551616"]"#, None),
            (r#"["\"18446744073709551616"]"#, None),
            (
                r#"["\\",18446744073709551616]"#,
                Some("18446744073709551616"),
            ),
            ("[18446744073709551615,-9223372036854775808]", None),
            ("[1e30,18446744073709551616.0,1E-3]", None),
            ("\"unclosed 18446744073709551616", None),
            ("\"\\", None),
        ] {
            assert_eq!(rounded_integer(json.as_bytes()), found, "{json}");
        }
    }

    #[test]
    fn bytes_and_links_are_written_as_dag_json_writes_them_and_come_back() {
        let link = dag_cbor::Ipld::Link(cim_ipld::cid_of_dag_cbor(b"\xa0"));
        let payload =
            dag_cbor::to_vec(&Ipld::List(vec![Ipld::Bytes(vec![0, 255]), link.clone()])).unwrap();
        let value = read::<Cbor>(Form::Own, &payload).unwrap();
        let Ipld::Link(cid) = link else {
            unreachable!()
        };
        assert_eq!(
            value,
            serde_json::json!([{ "/": { "bytes": "AP8" } }, { "/": cid.to_string() }])
        );
        assert_eq!(Cbor::encode(&Dynamic(value)).unwrap(), payload);
    }

    #[test]
    fn a_map_that_looks_like_bytes_is_refused_instead_of_becoming_bytes() {
        let map = Ipld::Map([("/".to_owned(), Ipld::Bool(true))].into());
        let payload = dag_cbor::to_vec(&map).unwrap();
        let error = read::<Cbor>(Form::Own, &payload).unwrap_err();
        let said = format!("{error:?}");
        assert!(said.contains("as its only key"), "{said}");
    }

    #[test]
    fn keys_that_stand_twice_are_refused() {
        let error = read::<Json>(Form::Own, br#"{"a":1,"a":2}"#).unwrap_err();
        assert!(error.to_string().contains("`a` stands twice"), "{error}");
    }

    #[test]
    fn a_json_map_with_a_slash_as_its_only_key_is_a_map() {
        let json = br#"{"/":{"bytes":"AP8"}}"#;
        let value = read::<Json>(Form::Own, json).unwrap();
        assert_eq!(serde_json::to_vec(&value).unwrap(), json);
    }

    fn any_ipld() -> impl Strategy<Value = Ipld> {
        let leaf = prop_oneof![
            Just(Ipld::Null),
            any::<bool>().prop_map(Ipld::Bool),
            (i128::from(i64::MIN)..=i128::from(u64::MAX)).prop_map(Ipld::Integer),
            (-1e300_f64..1e300).prop_map(|float| Ipld::Float(float + 0.0)),
            any::<String>().prop_map(Ipld::String),
            any::<Vec<u8>>().prop_map(Ipld::Bytes),
            any::<u8>().prop_map(|byte| Ipld::Link(cim_ipld::cid_of_dag_cbor(&[byte]))),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Ipld::List),
                prop::collection::btree_map("[a-z/]{0,3}", inner, 0..4)
                    .prop_filter("stands for something else", |map| {
                        !(map.len() == 1 && map.contains_key("/"))
                    })
                    .prop_map(Ipld::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_cbor_holds_comes_back_from_the_value_that_an_upcast_is_given(ipld in any_ipld()) {
            let payload = dag_cbor::to_vec(&ipld).unwrap();
            let value = read::<Cbor>(Form::Own, &payload).unwrap();
            prop_assert_eq!(Cbor::encode(&Dynamic(value)).unwrap(), payload);
        }

        #[test]
        fn no_bytes_make_reading_panic(bytes in any::<Vec<u8>>(), text in "[\\[\\]{}:,\"\\\\0-9.eE-]{0,40}") {
            let _ = read::<Json>(Form::Own, text.as_bytes());
            let _ = read::<Json>(Form::Own, &bytes);
            let _ = read::<Cbor>(Form::Own, &bytes);
        }
    }
}
