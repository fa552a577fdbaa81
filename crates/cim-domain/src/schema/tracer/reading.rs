//! The deserializer that answers with made-up values and writes down what it was asked.

use std::cell::RefCell;

use serde::Deserializer;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};
use serde_json::Value;

use super::super::Scalar;
use super::given::{self, Given};
use super::learned::{FieldNode, Learned, Node, NodeId, Phase, VariantNode};
use super::refusal::Refusal;

/// A place in a type that is read.
#[derive(Clone, Copy)]
pub(crate) struct At<'t> {
    learned: &'t RefCell<Learned>,
    node: NodeId,
    /// The value to read, where it comes from a sample.
    given: Option<&'t Value>,
    /// Whether this is inside a type that is being read already, and has to come to an end.
    finishing: bool,
    /// The map whose key this is.
    key_of: Option<NodeId>,
}

impl<'t> At<'t> {
    pub(super) fn root(learned: &'t RefCell<Learned>, given: Option<&'t Value>) -> Self {
        Self {
            learned,
            node: NodeId::ROOT,
            given,
            finishing: false,
            key_of: None,
        }
    }

    fn inner(self, node: NodeId, given: Option<&'t Value>) -> Self {
        Self {
            node,
            given,
            key_of: None,
            ..self
        }
    }

    /// Reads a part, and remembers where if it is refused.
    fn read<'de, S: DeserializeSeed<'de>>(
        self,
        step: impl Into<String>,
        seed: S,
    ) -> Result<S::Value, Refusal> {
        self.read_with(step, |at| seed.deserialize(at))
    }

    fn read_with<T>(
        self,
        step: impl Into<String>,
        read: impl FnOnce(Self) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let before = self.learned.borrow_mut().step_in(step);
        let result = read(self);
        self.learned.borrow_mut().step_out(before, result.is_err());
        result
    }

    fn hidden(self) -> Result<Option<Value>, Refusal> {
        self.learned
            .borrow_mut()
            .hidden_value(self.node, self.given)
    }

    fn is_given(self) -> bool {
        self.learned.borrow().phase() == Phase::Given
    }

    fn leaf<'de, V: Visitor<'de>>(
        self,
        kind: Option<Scalar>,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        if let Some(value) = self.hidden()? {
            return Given(&value).deserialize_any(visitor);
        }
        // Keys of JSON objects are texts, whatever the type wants.
        let key = match (self.key_of, self.given, kind) {
            (Some(_), Some(Value::String(text)), Some(kind)) if kind != Scalar::Text => {
                serde_json::from_str::<Value>(text).ok()
            }
            _ => None,
        };
        let given = key.as_ref().or(self.given);
        let value = self.learned.borrow_mut().leaf(self.node, kind, given)?;
        Given(&value).deserialize_any(visitor)
    }

    /// The fields of an object; the node is the object's own.
    fn deserialize_fields<'de, V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        if let Some(value) = self.hidden()? {
            return Given(&value).deserialize_any(visitor);
        }
        let node = self.learned.borrow().target(self.node);
        let nodes = self.learned.borrow_mut().claim(
            node,
            |node| match node {
                Node::Object(fields) => Some(fields.clone()),
                _ => None,
            },
            |learned| {
                let fields = fields.iter().map(|name| FieldNode {
                    name,
                    node: learned.child(),
                    required: None,
                    is_alias: false,
                });
                Node::Object(fields.collect())
            },
        )?;
        let finishing = self.finishing || self.learned.borrow().is_around(node);
        let left_out = match finishing {
            true => None,
            false => self.learned.borrow_mut().field_to_leave_out(node),
        };
        let entries: Vec<Entry<'t>> = if self.is_given() {
            let Some(Value::Object(given)) = self.given else {
                return Err(Refusal::new("it is no object"));
            };
            let known = |name: &str| nodes.iter().find(|field| field.name == name);
            given
                .iter()
                .map(|(name, value)| Entry {
                    name,
                    node: known(name).map(|field| field.node),
                    given: Some(value),
                })
                .collect()
        } else {
            let fields = nodes.iter().enumerate();
            fields
                .filter(|(index, field)| !field.is_alias && Some(*index) != left_out)
                .map(|(_, field)| Entry {
                    name: field.name,
                    node: Some(field.node),
                    given: None,
                })
                .collect()
        };
        self.learned.borrow_mut().enter(node)?;
        let mut last = "";
        let result = visitor.visit_map(Object {
            at: Self { finishing, ..self },
            entries: entries.into_iter(),
            value: None,
            last: &mut last,
        });
        let mut learned = self.learned.borrow_mut();
        learned.leave();
        if let Err(Refusal {
            duplicate: Some(name),
            ..
        }) = &result
            && learned.phase() == Phase::MadeUp
        {
            learned.duplicate(node, last, name);
        }
        result
    }

    /// The node of a type that may be in several places, by what serde's generated code shows of
    /// it: its visitor is another Rust type for each of them.
    fn named<'de, V: Visitor<'de>>(self, name: &str, parts: &[&str]) -> Result<Self, Refusal> {
        let visitor = std::any::type_name::<V>();
        let identity = format!("{visitor} {name} {parts:?}");
        let node = self.learned.borrow_mut().link(self.node, identity)?;
        Ok(Self { node, ..self })
    }
}

macro_rules! leaves {
    ($($method:ident: $kind:ident,)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
            self.leaf(Some(Scalar::$kind), visitor)
        })*
    };
}

impl<'t, 'de> Deserializer<'de> for At<'t> {
    type Error = Refusal;

    leaves! {
        deserialize_bool: Bool,
        deserialize_i8: I8,
        deserialize_i16: I16,
        deserialize_i32: I32,
        deserialize_i64: I64,
        deserialize_i128: I128,
        deserialize_u8: U8,
        deserialize_u16: U16,
        deserialize_u32: U32,
        deserialize_u64: U64,
        deserialize_u128: U128,
        deserialize_f32: F32,
        deserialize_f64: F64,
        deserialize_char: Char,
        deserialize_str: Text,
        deserialize_string: Text,
        deserialize_bytes: Bytes,
        deserialize_byte_buf: Bytes,
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        // serde's own visitors that keep everything for later; a test notices if they are renamed.
        let name = std::any::type_name::<V>();
        let is_buffer = name.starts_with("serde::") && name.contains("Content");
        if is_buffer {
            let mut learned = self.learned.borrow_mut();
            learned.claim(
                self.node,
                |node| matches!(node, Node::Hidden(_)).then_some(()),
                |_| Node::Hidden(Vec::new()),
            )?;
        }
        self.leaf(None, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        if let Some(value) = self.hidden()? {
            return Given(&value).deserialize_option(visitor);
        }
        let inner = self.learned.borrow_mut().claim(
            self.node,
            |node| match node {
                Node::Option(inner) => Some(*inner),
                _ => None,
            },
            |learned| Node::Option(learned.child()),
        )?;
        match self.given {
            Some(Value::Null) => visitor.visit_none(),
            None if self.finishing => visitor.visit_none(),
            given => visitor.visit_some(self.inner(inner, given)),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        if let Some(value) = self.hidden()? {
            return Given(&value).deserialize_any(visitor);
        }
        self.learned.borrow_mut().claim(
            self.node,
            |node| matches!(node, Node::Null).then_some(()),
            |_| Node::Null,
        )?;
        match self.given {
            Some(given) => Given(given).deserialize_any(visitor),
            None => visitor.visit_unit(),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let at = self.named::<V>(name, &[])?;
        if let Some(value) = at.hidden()? {
            return Given(&value).deserialize_newtype_struct(name, visitor);
        }
        let inner = at.learned.borrow_mut().claim(
            at.node,
            |node| match node {
                Node::Wrapper(inner) => Some(*inner),
                _ => None,
            },
            |learned| Node::Wrapper(learned.child()),
        )?;
        let finishing = at.finishing || at.learned.borrow().is_around(at.node);
        at.learned.borrow_mut().enter(at.node)?;
        let at = Self { finishing, ..at };
        let result = visitor.visit_newtype_struct(at.inner(inner, at.given));
        at.learned.borrow_mut().leave();
        result
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        if let Some(value) = self.hidden()? {
            return Given(&value).deserialize_any(visitor);
        }
        let inner = self.learned.borrow_mut().claim(
            self.node,
            |node| match node {
                Node::List(inner) => Some(*inner),
                _ => None,
            },
            |learned| Node::List(learned.child()),
        )?;
        let elements = match self.given {
            Some(Value::Array(given)) => given.iter().map(|value| (inner, Some(value))).collect(),
            Some(_) => return Err(Refusal::new("it is no list")),
            None if self.finishing => Vec::new(),
            None => vec![(inner, None)],
        };
        visitor.visit_seq(Elements::of(self, elements))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        if let Some(value) = self.hidden()? {
            return Given(&value).deserialize_any(visitor);
        }
        let parts = self.learned.borrow_mut().claim(
            self.node,
            |node| match node {
                Node::Tuple(parts) if parts.len() == len => Some(parts.clone()),
                _ => None,
            },
            |learned| Node::Tuple((0..len).map(|_| learned.child()).collect()),
        )?;
        let elements = match self.given {
            Some(Value::Array(given)) => parts.into_iter().zip(given.iter().map(Some)).collect(),
            Some(_) => return Err(Refusal::new("it is no list")),
            None => parts.into_iter().map(|part| (part, None)).collect(),
        };
        visitor.visit_seq(Elements::of(self, elements))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        if let Some(value) = self.hidden()? {
            return Given(&value).deserialize_any(visitor);
        }
        let (key, value) = self.learned.borrow_mut().claim(
            self.node,
            |node| match node {
                Node::Map(key, value) => Some((*key, *value)),
                _ => None,
            },
            |learned| Node::Map(learned.child(), learned.child()),
        )?;
        let entries = match self.given {
            Some(Value::Object(given)) => {
                let entries = given.iter();
                entries
                    .map(|(name, value)| (Some(Value::from(name.as_str())), Some(value)))
                    .collect()
            }
            Some(_) => return Err(Refusal::new("it is no map")),
            None if self.finishing => Vec::new(),
            None => vec![(None, None)],
        };
        visitor.visit_map(Entries {
            at: self,
            key,
            value,
            entries: entries.into_iter(),
            given: None,
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.named::<V>(name, fields)?
            .deserialize_fields(fields, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let at = self.named::<V>(name, variants)?;
        if let Some(value) = at.hidden()? {
            return Given(&value).deserialize_enum(name, variants, visitor);
        }
        let nodes = at.learned.borrow_mut().claim(
            at.node,
            |node| match node {
                Node::Enum(variants) => Some(variants.clone()),
                _ => None,
            },
            |learned| {
                let nodes = variants.iter();
                Node::Enum(
                    nodes
                        .map(|name| VariantNode::new(name, learned.child()))
                        .collect(),
                )
            },
        )?;
        let finishing = at.finishing || at.learned.borrow().is_around(at.node);
        let (index, held) = match at.given {
            Some(given) => {
                let (name, held) = given::variant(given)?;
                let index = nodes.iter().position(|variant| variant.name == name);
                let unknown = || Refusal::new(format!("`{name}` is none of the variants"));
                (index.ok_or_else(unknown)?, held)
            }
            None => (
                at.learned.borrow().choose_variant(at.node, finishing)?,
                None,
            ),
        };
        let Some(variant) = nodes.get(index) else {
            return Err(Refusal::new("an enum without variants has no values"));
        };
        at.learned.borrow_mut().enter(at.node)?;
        at.learned.borrow_mut().enter_variant(at.node, index);
        let result = visitor.visit_enum(Variant {
            at: Self { finishing, ..at },
            index,
            variant,
            held,
        });
        let mut learned = at.learned.borrow_mut();
        learned.leave_variant();
        learned.leave();
        result
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self.key_of {
            // Only a struct asks for the names of its fields in a map: one with `flatten`.
            Some(map) => Err(self.learned.borrow_mut().hide(map)),
            None => self.deserialize_str(visitor),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        // Whatever else reads it says more.
        let claimed = self
            .learned
            .borrow_mut()
            .claim(self.node, |_| Some(()), |_| Node::Ignored);
        claimed.and_then(|()| visitor.visit_unit())
    }
}

/// The elements of a list.
struct Elements<'t> {
    at: At<'t>,
    elements: std::vec::IntoIter<(NodeId, Option<&'t Value>)>,
}

impl<'t> Elements<'t> {
    fn of(at: At<'t>, elements: Vec<(NodeId, Option<&'t Value>)>) -> Self {
        Self {
            at,
            elements: elements.into_iter(),
        }
    }
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Refusal;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refusal> {
        let Some((node, given)) = self.elements.next() else {
            return Ok(None);
        };
        self.at.inner(node, given).read("[]", seed).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.elements.len())
    }
}

/// The entries of a map.
struct Entries<'t> {
    at: At<'t>,
    key: NodeId,
    value: NodeId,
    entries: std::vec::IntoIter<(Option<Value>, Option<&'t Value>)>,
    given: Option<&'t Value>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Refusal;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refusal> {
        let Some((name, given)) = self.entries.next() else {
            return Ok(None);
        };
        self.given = given;
        let key = At {
            key_of: Some(self.at.node),
            ..self.at.inner(self.key, name.as_ref())
        };
        key.read("(key)", seed).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refusal> {
        self.at.inner(self.value, self.given).read("(value)", seed)
    }
}

/// A field that is handed out.
#[derive(Clone, Copy)]
struct Entry<'t> {
    name: &'t str,
    /// `None` where the type does not know the field.
    node: Option<NodeId>,
    given: Option<&'t Value>,
}

/// The fields of an object.
struct Object<'t, 'l> {
    at: At<'t>,
    entries: std::vec::IntoIter<Entry<'t>>,
    value: Option<Entry<'t>>,
    /// The last field whose name was read.
    last: &'l mut &'t str,
}

impl<'de> MapAccess<'de> for Object<'_, '_> {
    type Error = Refusal;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refusal> {
        let Some(entry) = self.entries.next() else {
            return Ok(None);
        };
        *self.last = entry.name;
        self.value = Some(entry);
        seed.deserialize(StrDeserializer::new(entry.name)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refusal> {
        let Some(entry) = self.value.take() else {
            return Err(Refusal::new("a value is read before its key"));
        };
        match (entry.node, entry.given) {
            (Some(node), given) => self.at.inner(node, given).read(entry.name, seed),
            (None, Some(given)) => seed.deserialize(Given(given)),
            (None, None) => seed.deserialize(Given(&Value::Null)),
        }
    }
}

/// One variant of an enum.
struct Variant<'t, 'n> {
    at: At<'t>,
    index: usize,
    variant: &'n VariantNode,
    held: Option<&'t Value>,
}

impl<'de> EnumAccess<'de> for Variant<'_, '_> {
    type Error = Refusal;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Refusal> {
        let name = seed.deserialize(StrDeserializer::<Refusal>::new(self.variant.name))?;
        Ok((name, self))
    }
}

impl<'t> Variant<'t, '_> {
    fn value(&self) -> Result<At<'t>, Refusal> {
        if self.at.is_given() && self.held.is_none() {
            return Err(Refusal::new(
                "the variant stands there without what it holds",
            ));
        }
        Ok(self.at.inner(self.variant.node, self.held))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, '_> {
    type Error = Refusal;

    fn unit_variant(self) -> Result<(), Refusal> {
        let mut learned = self.at.learned.borrow_mut();
        learned.set_unit(self.at.node, self.index);
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Refusal> {
        self.value()?.read(self.variant.name, seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Refusal> {
        let read = |at: At<'_>| at.deserialize_tuple(len, visitor);
        self.value()?.read_with(self.variant.name, read)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let read = |at: At<'_>| at.deserialize_fields(fields, visitor);
        self.value()?.read_with(self.variant.name, read)
    }
}
