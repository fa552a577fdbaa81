//! Whether a stored value has a shape, and where it has not.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use super::{Field, Scalar, Shape};

/// Bytes that are shown of a value that does not fit.
const SHOWN_BYTES: usize = 60;

/// Where a value has another shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub struct Misfit {
    /// Where in the value, such as `lines[0].price`; empty for the whole.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "at `{path}`: {}", self.message),
        }
    }
}

impl Misfit {
    fn new(message: impl Into<String>) -> Self {
        Self {
            path: String::new(),
            message: message.into(),
        }
    }

    fn inside(mut self, step: &str) -> Self {
        let separator = match self.path.as_str() {
            "" => "",
            rest if rest.starts_with('[') => "",
            _ => ".",
        };
        self.path = format!("{step}{separator}{}", self.path);
        self
    }
}

/// The shapes around, each with the value that it was last compared with.
type Labels<'a> = BTreeMap<u32, (&'a Shape, *const Value)>;

impl Shape {
    /// Whether a value has this shape. A key that the shape does not know is a misfit, too.
    ///
    /// # Errors
    /// The first place where it has another one.
    pub fn check(&self, value: &Value) -> Result<(), Misfit> {
        check(self, value, &Labels::new())
    }
}

fn check<'a>(shape: &'a Shape, value: &Value, labels: &Labels<'a>) -> Result<(), Misfit> {
    match shape {
        Shape::Any => Ok(()),
        Shape::Null if value.is_null() => Ok(()),
        Shape::Null => Err(is_not(value, "null")),
        Shape::Scalar(kind, _) if fits(*kind, value) => Ok(()),
        Shape::Scalar(kind, _) => Err(is_not(value, kind.as_str())),
        Shape::Option(_) if value.is_null() => Ok(()),
        Shape::Option(inner) | Shape::Sampled(inner) => check(inner, value, labels),
        Shape::List(inner) => {
            let elements = value.as_array().ok_or_else(|| is_not(value, "a list"))?;
            for (index, element) in elements.iter().enumerate() {
                check(inner, element, labels).map_err(|e| e.inside(&format!("[{index}]")))?;
            }
            Ok(())
        }
        Shape::Tuple(parts) => {
            let elements = value.as_array().ok_or_else(|| is_not(value, "a list"))?;
            if elements.len() != parts.len() {
                let (found, wanted) = (elements.len(), parts.len());
                let message = format!("the list has {found} elements, not {wanted}");
                return Err(Misfit::new(message));
            }
            for (index, (part, element)) in parts.iter().zip(elements).enumerate() {
                check(part, element, labels).map_err(|e| e.inside(&format!("[{index}]")))?;
            }
            Ok(())
        }
        Shape::Map(key_shape, value_shape) => {
            let object = value.as_object().ok_or_else(|| is_not(value, "a map"))?;
            for (key, value) in object {
                check_key(key_shape, key, labels).map_err(|e| e.inside(key))?;
                check(value_shape, value, labels).map_err(|e| e.inside(key))?;
            }
            Ok(())
        }
        Shape::Object(fields) => {
            let object = value
                .as_object()
                .ok_or_else(|| is_not(value, "an object"))?;
            check_fields(fields, object, labels)
        }
        Shape::Enum(variants) => check_variant(variants, value, labels),
        Shape::Either(parts) => {
            let mut first = None;
            for part in parts {
                match check(part, value, labels) {
                    Ok(()) => return Ok(()),
                    Err(misfit) => _ = first.get_or_insert(misfit),
                }
            }
            // Of several the reasons would contradict each other.
            match (first, parts.len()) {
                (Some(only), 1) => Err(only),
                _ => Err(Misfit::new(format!(
                    "{} is none of what is possible here",
                    shown(value)
                ))),
            }
        }
        Shape::Label(number, inner) => {
            let mut labels = labels.clone();
            labels.insert(*number, (inner, value));
            check(inner, value, &labels)
        }
        Shape::Again(number) => match labels.get(number) {
            // Without a step into the value it would go on for ever: nothing ever fits.
            Some((_, around)) if std::ptr::eq(*around, value) => {
                let message = "the shape goes on inside itself without an end here";
                Err(Misfit::new(message))
            }
            Some((shape, _)) => {
                let shape = *shape;
                let mut labels = labels.clone();
                labels.insert(*number, (shape, value));
                check(shape, value, &labels)
            }
            None => Err(Misfit::new(format!(
                "the shape's label {number} is missing"
            ))),
        },
    }
}

fn check_fields<'a>(
    fields: &'a BTreeMap<String, Field>,
    object: &Map<String, Value>,
    labels: &Labels<'a>,
) -> Result<(), Misfit> {
    for (name, field) in fields {
        match object.get(name) {
            Some(value) => check(&field.shape, value, labels).map_err(|e| e.inside(name))?,
            None if field.required => return Err(Misfit::new(format!("`{name}` is missing"))),
            None => {}
        }
    }
    match object.keys().find(|key| !fields.contains_key(*key)) {
        Some(key) => Err(Misfit::new(format!("`{key}` is not in the shape"))),
        None => Ok(()),
    }
}

fn check_variant<'a>(
    variants: &'a BTreeMap<String, Option<Shape>>,
    value: &Value,
    labels: &Labels<'a>,
) -> Result<(), Misfit> {
    let (name, held) = match value {
        Value::String(name) => (name, None),
        Value::Object(object) if object.len() == 1 => match object.iter().next() {
            Some((name, held)) => (name, Some(held)),
            None => return Err(is_not(value, "a variant")),
        },
        _ => return Err(is_not(value, "a variant")),
    };
    match (variants.get(name), held) {
        (None, _) => Err(Misfit::new(format!("`{name}` is none of the variants"))),
        (Some(None), None) => Ok(()),
        // serde reads a variant that holds nothing from its name and from `null`.
        (Some(None), Some(held)) if held.is_null() => Ok(()),
        (Some(None), Some(_)) => Err(Misfit::new(format!("the variant `{name}` holds nothing"))),
        (Some(Some(shape)), Some(held)) => check(shape, held, labels).map_err(|e| e.inside(name)),
        (Some(Some(_)), None) => Err(Misfit::new(format!(
            "the variant `{name}` stands there without what it holds"
        ))),
    }
}

/// Keys of JSON objects are texts, whatever the map has for keys.
fn check_key<'a>(shape: &'a Shape, key: &str, labels: &Labels<'a>) -> Result<(), Misfit> {
    let text = Value::from(key);
    let Err(misfit) = check(shape, &text, labels) else {
        return Ok(());
    };
    match serde_json::from_str(key) {
        Ok(value) if check(shape, &value, labels).is_ok() => Ok(()),
        _ => Err(misfit),
    }
}

fn fits(kind: Scalar, value: &Value) -> bool {
    if let Some((least, greatest)) = kind.integer_range() {
        // A number that needs 128 bits is none that a JSON value can tell from a float.
        let is_wide = matches!(kind, Scalar::U128 | Scalar::I128 | Scalar::Integer);
        return match (value.as_u64(), value.as_i64()) {
            (Some(number), _) => greatest.as_u64().is_some_and(|greatest| number <= greatest),
            (None, Some(number)) => least.as_i64().is_some_and(|least| number >= least),
            (None, None) => is_wide && value.as_f64().is_some_and(|float| float.fract() == 0.0),
        };
    }
    match kind {
        Scalar::Bool => value.is_boolean(),
        Scalar::F32 | Scalar::F64 => value.is_number(),
        Scalar::Char => value.as_str().is_some_and(|text| text.chars().count() == 1),
        Scalar::Text => value.is_string(),
        _ => value.as_array().is_some_and(|bytes| {
            bytes
                .iter()
                .all(|byte| byte.as_u64().is_some_and(|byte| byte <= u8::MAX.into()))
        }),
    }
}

fn is_not(value: &Value, what: &str) -> Misfit {
    Misfit::new(format!("{} is not {what}", shown(value)))
}

/// A value as people see it, cut where it is long.
pub(super) fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().find(|(at, _)| *at >= SHOWN_BYTES) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}
