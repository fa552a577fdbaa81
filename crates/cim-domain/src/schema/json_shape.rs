//! Shapes of JSON values, for what is known from values alone.

use serde_json::Value;

use super::{Field, Scalar, Shape};

impl Shape {
    /// The shape of one value.
    pub(crate) fn of_json(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::scalar(Scalar::Bool),
            Value::Number(number) if number.is_f64() => Self::scalar(Scalar::F64),
            Value::Number(_) => Self::scalar(Scalar::Integer),
            Value::String(_) => Self::scalar(Scalar::Text),
            Value::Array(elements) => {
                let shapes = elements.iter().map(Self::of_json);
                let element = shapes.reduce(Self::or).unwrap_or(Self::Any);
                Self::List(Box::new(element))
            }
            Value::Object(fields) => Self::Object(
                fields
                    .iter()
                    .map(|(name, value)| (name.clone(), Field::required(Self::of_json(value))))
                    .collect(),
            ),
        }
    }

    /// What has either shape: objects become one whose fields need not all be there.
    pub(crate) fn or(self, other: Self) -> Self {
        match (self, other) {
            (one, other) if one == other => one,
            (Self::Any, _) | (_, Self::Any) => Self::Any,
            (Self::Null, Self::Option(inner)) | (Self::Option(inner), Self::Null) => {
                Self::Option(inner)
            }
            (Self::Null, other) | (other, Self::Null) => Self::Option(Box::new(other)),
            (Self::Option(one), Self::Option(other)) => Self::Option(Box::new(one.or(*other))),
            (Self::Option(one), other) | (other, Self::Option(one)) => {
                Self::Option(Box::new(one.or(other)))
            }
            (Self::Scalar(Scalar::Integer, _), Self::Scalar(Scalar::F64, _))
            | (Self::Scalar(Scalar::F64, _), Self::Scalar(Scalar::Integer, _)) => {
                Self::scalar(Scalar::F64)
            }
            (Self::List(one), Self::List(other)) => Self::List(Box::new(one.or(*other))),
            (Self::Object(mut one), Self::Object(other)) => {
                for (name, field) in &mut one {
                    field.required &= other.get(name).is_some_and(|field| field.required);
                }
                for (name, mut field) in other {
                    field.required &= one.contains_key(&name);
                    match one.remove(&name) {
                        Some(known) => {
                            field.required = known.required;
                            field.shape = known.shape.or(field.shape);
                        }
                        None => field.required = false,
                    }
                    one.insert(name, field);
                }
                Self::Object(one)
            }
            (Self::Either(parts), other) => other.among(parts),
            (one, Self::Either(parts)) => one.among(parts),
            (one, other) => other.among(vec![one]),
        }
    }

    fn among(self, mut parts: Vec<Self>) -> Self {
        let more = match self {
            Self::Either(more) => more,
            one => vec![one],
        };
        for one in more {
            if !parts.iter().any(|part| part.is_same_as(&one)) {
                parts.push(one);
            }
        }
        // Whatever was seen first, the file says the same.
        parts.sort_by_cached_key(ToString::to_string);
        Self::Either(parts)
    }

    /// The same, with room for what is written but never read: a field that is only written, or a
    /// value that is written another way than it is read.
    pub(crate) fn with_written(self, value: &Value) -> Self {
        if self.check(value).is_ok() {
            return self;
        }
        match (self, value) {
            (Self::Option(inner), value) => Self::Option(Box::new(inner.with_written(value))),
            (Self::Sampled(inner), value) => {
                Self::Sampled(Box::new(inner.or(Self::of_json(value))))
            }
            (Self::Label(number, inner), value) => {
                Self::Label(number, Box::new(inner.with_written(value)))
            }
            // What is there again was seen once already.
            (Self::Again(number), _) => Self::Again(number),
            (Self::List(inner), Value::Array(elements)) => Self::List(Box::new(
                elements
                    .iter()
                    .fold(*inner, |shape, element| shape.with_written(element)),
            )),
            (Self::Tuple(parts), Value::Array(elements)) if parts.len() == elements.len() => {
                let pairs = parts.into_iter().zip(elements);
                Self::Tuple(pairs.map(|(part, e)| part.with_written(e)).collect())
            }
            (Self::Map(key, inner), Value::Object(entries)) => Self::Map(
                key,
                Box::new(
                    entries
                        .values()
                        .fold(*inner, |shape, value| shape.with_written(value)),
                ),
            ),
            (Self::Object(mut fields), Value::Object(entries)) => {
                for (name, value) in entries {
                    let field = match fields.remove(name) {
                        Some(Field { required, shape }) => {
                            let shape = shape.with_written(value);
                            Field { required, shape }
                        }
                        None => Field {
                            required: false,
                            shape: Self::of_json(value),
                        },
                    };
                    fields.insert(name.clone(), field);
                }
                for (name, field) in &mut fields {
                    field.required &= entries.contains_key(name);
                }
                Self::Object(fields)
            }
            (Self::Enum(mut variants), Value::String(name)) if !variants.contains_key(name) => {
                variants.insert(name.clone(), None);
                Self::Enum(variants)
            }
            (Self::Enum(mut variants), Value::Object(entries)) if entries.len() == 1 => {
                for (name, value) in entries {
                    let held = match variants.remove(name) {
                        Some(Some(held)) => held.with_written(value),
                        _ => Self::of_json(value),
                    };
                    variants.insert(name.clone(), Some(held));
                }
                Self::Enum(variants)
            }
            (shape, value) => shape.or(Self::of_json(value)),
        }
    }
}

impl Field {
    pub(super) fn required(shape: Shape) -> Self {
        Self {
            required: true,
            shape,
        }
    }
}
