//! Values of a shape: so many that every field, variant and extreme occurs in one of them.

use serde_json::{Map, Value, json};

use super::{Field, Scalar, Shape};

/// A shape has no more samples than this; what is left out are combinations.
const MOST_SAMPLES: usize = 1024;

/// A text that no format in use takes by chance: white space, capitals, letters outside ASCII.
pub(crate) const ODD_TEXT: &str = "Ab é ~1";

impl Scalar {
    /// What a type of this kind has to take: both ends of its range, or something unusual.
    pub(crate) fn extremes(self) -> Vec<Value> {
        if let Some((least, greatest)) = self.integer_range() {
            return vec![greatest, least];
        }
        match self {
            Self::Bool => vec![json!(true), json!(false)],
            // Not exact in fewer bits; and whole.
            Self::F64 => vec![json!(0.1), json!(-1.5e300), json!(2.0)],
            Self::F32 => vec![json!(0.5), json!(-1.5e30), json!(2.0)],
            Self::Char => vec![json!("é"), json!("a")],
            Self::Text => vec![json!(ODD_TEXT), json!("")],
            _ => vec![json!([0, 255]), json!([])],
        }
    }

    /// Values that nobody wonders about.
    fn usual(self) -> Vec<Value> {
        match self {
            Self::F32 | Self::F64 => vec![json!(1.5)],
            Self::Char | Self::Text => vec![json!("a")],
            Self::Bytes => vec![json!([1])],
            Self::Bool => self.extremes(),
            _ => vec![json!(1), json!(2)],
        }
    }
}

/// The values of a leaf.
type Leaves = fn(Scalar) -> Vec<Value>;

impl Shape {
    /// Values that together show everything the shape takes.
    pub(crate) fn samples(&self) -> Vec<Value> {
        self.covered(Scalar::extremes)
    }

    /// Values that show every part of the shape, and are not out of the ordinary: code that
    /// calculates with them has no reason to refuse them.
    pub(crate) fn usual_samples(&self) -> Vec<Value> {
        self.covered(Scalar::usual)
    }

    fn covered(&self, leaves: Leaves) -> Vec<Value> {
        let mut samples = cover(self, leaves, &Vec::new());
        samples.dedup();
        samples
    }
}

/// The shapes around, for their labels; the innermost is the last.
type Labels<'a> = Vec<(u32, &'a Shape)>;

fn cover<'a>(shape: &'a Shape, leaves: Leaves, labels: &Labels<'a>) -> Vec<Value> {
    let mut samples = match shape {
        Shape::Any => vec![json!({ "any": [1, "x"] }), Value::Null],
        Shape::Null => vec![Value::Null],
        Shape::Scalar(_, Some(example)) => vec![example.clone()],
        Shape::Scalar(kind, None) => leaves(*kind),
        Shape::Option(inner) => {
            let mut samples = cover(inner, leaves, labels);
            samples.push(Value::Null);
            samples
        }
        Shape::List(inner) => {
            let elements = cover(inner, leaves, labels);
            let mut samples: Vec<Value> = elements.iter().map(|e| json!([e])).collect();
            samples.push(elements.into());
            samples.push(json!([]));
            samples
        }
        Shape::Tuple(parts) => {
            let columns: Vec<_> = parts
                .iter()
                .map(|part| cover(part, leaves, labels))
                .collect();
            rows(&columns).map(Value::from).collect()
        }
        Shape::Map(key, value) => {
            let columns = [cover(key, leaves, labels), cover(value, leaves, labels)];
            let entries = rows(&columns).filter_map(|row| match &row[..] {
                [key, value] => Some((key_text(key)?, value.clone())),
                _ => None,
            });
            let mut samples: Vec<Value> = entries
                .map(|(key, value)| Map::from_iter([(key, value)]).into())
                .collect();
            samples.push(json!({}));
            samples
        }
        Shape::Object(fields) => {
            let columns: Vec<_> = fields
                .values()
                .map(|field| cover(&field.shape, leaves, labels))
                .collect();
            let whole = |row: Vec<Value>| Map::from_iter(fields.keys().cloned().zip(row));
            let mut samples: Vec<Map<String, Value>> = rows(&columns).map(whole).collect();
            if fields.values().any(|field| !field.required)
                && let Some(mut least) = samples.first().cloned()
            {
                least.retain(|name, _| fields.get(name).is_some_and(|field| field.required));
                samples.push(least);
            }
            samples.into_iter().map(Value::from).collect()
        }
        Shape::Enum(variants) => variants
            .iter()
            .flat_map(|(name, held)| match held {
                None => vec![Value::from(name.as_str())],
                Some(held) => {
                    let held = cover(held, leaves, labels).into_iter();
                    held.map(|held| Map::from_iter([(name.clone(), held)]).into())
                        .collect()
                }
            })
            .collect(),
        Shape::Either(parts) => parts
            .iter()
            .flat_map(|part| cover(part, leaves, labels))
            .collect(),
        Shape::Sampled(inner) => cover(inner, leaves, labels),
        Shape::Label(number, inner) => {
            let mut labels = labels.clone();
            labels.push((*number, inner));
            cover(inner, leaves, &labels)
        }
        Shape::Again(number) => {
            let around = labels.iter().rev().find(|(label, _)| label == number);
            let least = around.and_then(|(_, shape)| least(shape, leaves));
            least.into_iter().collect()
        }
    };
    samples.truncate(MOST_SAMPLES);
    samples
}

/// Each column's values in turn, until the longest has been used up. Without a value in one of the
/// columns there is no row.
fn rows(columns: &[Vec<Value>]) -> impl Iterator<Item = Vec<Value>> {
    let count = match columns.iter().any(Vec::is_empty) {
        true => 0,
        false => columns.iter().map(Vec::len).max().unwrap_or(1),
    };
    (0..count).map(move |row| {
        columns
            .iter()
            .filter_map(|column| column.get(row % column.len()).cloned())
            .collect()
    })
}

/// A value that ends, of a shape that goes on inside itself.
fn least(shape: &Shape, leaves: Leaves) -> Option<Value> {
    match shape {
        Shape::Any | Shape::Null | Shape::Option(_) => Some(Value::Null),
        Shape::Scalar(_, Some(example)) => Some(example.clone()),
        Shape::Scalar(kind, None) => leaves(*kind).into_iter().next(),
        Shape::List(_) => Some(json!([])),
        Shape::Map(..) => Some(json!({})),
        Shape::Tuple(parts) => parts
            .iter()
            .map(|part| least(part, leaves))
            .collect::<Option<Vec<_>>>()
            .map(Value::from),
        Shape::Object(fields) => {
            let required = fields
                .iter()
                .filter(|(_, Field { required, .. })| *required);
            required
                .map(|(name, field)| Some((name.clone(), least(&field.shape, leaves)?)))
                .collect::<Option<Map<_, _>>>()
                .map(Value::from)
        }
        Shape::Enum(variants) => variants.iter().find_map(|(name, held)| match held {
            None => Some(Value::from(name.as_str())),
            Some(held) => Some(Map::from_iter([(name.clone(), least(held, leaves)?)]).into()),
        }),
        Shape::Either(parts) => parts.iter().find_map(|part| least(part, leaves)),
        Shape::Sampled(inner) | Shape::Label(_, inner) => least(inner, leaves),
        Shape::Again(_) => None,
    }
}

fn key_text(key: &Value) -> Option<String> {
    match key {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(key.to_string()),
        _ => None,
    }
}
