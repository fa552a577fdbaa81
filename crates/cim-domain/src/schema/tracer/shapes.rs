//! The shape of what was learned.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::samples::ODD_TEXT;
use super::super::{Field, Scalar, Shape};
use super::TraceError;
use super::learned::{FieldNode, Leaf, Learned, Node, NodeId, VariantNode};

/// Parts of a shape at most: it is written out in full, and read by people.
const MOST_PARTS: usize = 20_000;

impl Learned {
    /// The shape of the whole.
    pub(super) fn shape(&self) -> Result<Shape, TraceError> {
        let mut writer = Writer {
            learned: self,
            around: Vec::new(),
            parts: 0,
        };
        let shape = writer.shape(NodeId::ROOT)?;
        Ok(shape.with_labels_in_order())
    }
}

struct Writer<'a> {
    learned: &'a Learned,
    around: Vec<NodeId>,
    parts: usize,
}

impl Writer<'_> {
    fn shape(&mut self, id: NodeId) -> Result<Shape, TraceError> {
        self.parts += 1;
        if self.parts > MOST_PARTS {
            return Err(TraceError::TooLarge { most: MOST_PARTS });
        }
        let id = self.learned.target(id);
        Ok(match self.learned.node(id) {
            Node::Unseen | Node::Ignored | Node::Link(_) => Shape::Any,
            Node::Null => Shape::Null,
            Node::Leaf(leaf) => leaf.shape(),
            Node::Option(inner) => Shape::Option(Box::new(self.shape(*inner)?)),
            Node::List(inner) => Shape::List(Box::new(self.shape(*inner)?)),
            Node::Tuple(parts) => {
                let parts = parts.iter().map(|part| self.shape(*part));
                Shape::Tuple(parts.collect::<Result<_, _>>()?)
            }
            // Whatever is in it is read over: the payload of an event without fields.
            Node::Map(key, value) if self.is_ignored(*key) && self.is_ignored(*value) => {
                Shape::Object(BTreeMap::new())
            }
            Node::Map(key, value) => {
                let key = Box::new(self.shape(*key)?);
                Shape::Map(key, Box::new(self.shape(*value)?))
            }
            Node::Wrapper(inner) => self.labelled(id, |writer| writer.shape(*inner))?,
            Node::Object(fields) => self.labelled(id, |writer| writer.object(fields))?,
            Node::Enum(variants) => self.labelled(id, |writer| writer.variants(variants))?,
            Node::Hidden(seen) => {
                let shapes = seen.iter().map(Shape::of_json);
                Shape::Sampled(Box::new(shapes.reduce(Shape::or).unwrap_or(Shape::Any)))
            }
        })
    }

    fn is_ignored(&self, id: NodeId) -> bool {
        matches!(self.learned.node(id), Node::Ignored)
    }

    fn labelled(
        &mut self,
        id: NodeId,
        inner: impl FnOnce(&mut Self) -> Result<Shape, TraceError>,
    ) -> Result<Shape, TraceError> {
        let label = u32::try_from(id.0).unwrap_or(u32::MAX);
        if self.around.contains(&id) {
            return Ok(Shape::Again(label));
        }
        self.around.push(id);
        let inner = inner(self)?;
        self.around.pop();
        Ok(Shape::Label(label, Box::new(inner)))
    }

    fn object(&mut self, fields: &[FieldNode]) -> Result<Shape, TraceError> {
        let fields = fields.iter().filter(|field| !field.is_alias);
        let fields = fields.map(|field| {
            let shape = self.shape(field.node)?;
            // What could not be left out is taken for required.
            let required = field.required.unwrap_or(true);
            Ok((field.name.to_owned(), Field { required, shape }))
        });
        Ok(Shape::Object(fields.collect::<Result<_, _>>()?))
    }

    fn variants(&mut self, variants: &[VariantNode]) -> Result<Shape, TraceError> {
        let variants = variants.iter().map(|variant| {
            let held = match variant.is_unit {
                true => None,
                false => Some(self.shape(variant.node)?),
            };
            Ok((variant.name.to_owned(), held))
        });
        Ok(Shape::Enum(variants.collect::<Result<_, _>>()?))
    }
}

impl Leaf {
    fn shape(&self) -> Shape {
        match (self.kind, self.refused) {
            (Some(kind), false) => Shape::scalar(kind),
            (Some(kind), true) => Shape::Scalar(kind, self.accepted.first().cloned()),
            (None, false) => Shape::Any,
            (None, true) => self.kinds(),
        }
    }

    /// The kinds of values that were accepted, where some were and some were not.
    fn kinds(&self) -> Shape {
        let takes = |wanted: &Value| self.accepted.contains(wanted);
        let takes_negative = takes(&Value::from(-1));
        let takes_any_text = takes(&Value::from(ODD_TEXT));
        let shapes = self.accepted.iter().map(|value| match value {
            Value::Number(number) if number.is_u64() && !takes_negative => {
                Shape::scalar(Scalar::U64)
            }
            Value::String(_) if !takes_any_text => Shape::Scalar(Scalar::Text, Some(value.clone())),
            value => Shape::of_json(value),
        });
        let mut kinds: Vec<Shape> = Vec::new();
        for shape in shapes {
            if !kinds.iter().any(|kind| kind.is_same_as(&shape)) {
                kinds.push(shape);
            }
        }
        kinds.sort_by_cached_key(ToString::to_string);
        match kinds.len() {
            1 => kinds.remove(0),
            _ => Shape::Either(kinds),
        }
    }
}
