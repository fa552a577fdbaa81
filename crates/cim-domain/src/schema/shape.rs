//! What a stored value looks like: a small language of types, close to serde's data model as JSON
//! shows it.

use std::collections::BTreeMap;

use serde_json::Value;

/// What a stored value looks like.
///
/// ```
/// use cim_domain::schema::Shape;
/// use serde_json::json;
///
/// let shape: Shape = "{ cents: u64  note?: option text }".parse()?;
/// assert!(shape.check(&json!({ "cents": 700 })).is_ok());
/// let misfit = shape.check(&json!({ "cents": -1 })).unwrap_err();
/// assert_eq!(misfit.to_string(), "at `cents`: -1 is not u64");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Shape {
    /// Any JSON value.
    Any,
    /// `null`.
    Null,
    /// A number, a text or a truth value. With an example where not every value of the kind is
    /// taken, such as a text that must be a UUID.
    Scalar(Scalar, Option<Value>),
    /// `null` or the value.
    Option(Box<Shape>),
    /// A list of any length.
    List(Box<Shape>),
    /// A list of exactly these.
    Tuple(Vec<Shape>),
    /// An object with any keys.
    Map(Box<Shape>, Box<Shape>),
    /// An object with these keys.
    Object(BTreeMap<String, Field>),
    /// The name of a variant, or an object with one key, the variant's name, and what it holds.
    Enum(BTreeMap<String, Option<Shape>>),
    /// One of these.
    Either(Vec<Shape>),
    /// Known from samples alone: serde hides how it is read.
    Sampled(Box<Shape>),
    /// A shape that [`Again`](Self::Again) with this number stands for, somewhere inside it.
    Label(u32, Box<Shape>),
    /// The shape around this one that has this number.
    Again(u32),
}

/// A field of an object.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Field {
    /// Whether a payload without it is refused.
    pub required: bool,
    /// What it holds.
    pub shape: Shape,
}

/// A kind of value without parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // the names say it
#[non_exhaustive]
pub enum Scalar {
    Bool,
    U8,
    U16,
    U32,
    U64,
    U128,
    I8,
    I16,
    I32,
    I64,
    I128,
    /// An integer of unknown size.
    Integer,
    F32,
    F64,
    Char,
    Text,
    /// Bytes: in JSON a list of numbers from 0 to 255.
    Bytes,
}

impl Scalar {
    pub(super) const ALL: [Self; 17] = [
        Self::Bool,
        Self::U8,
        Self::U16,
        Self::U32,
        Self::U64,
        Self::U128,
        Self::I8,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::I128,
        Self::Integer,
        Self::F32,
        Self::F64,
        Self::Char,
        Self::Text,
        Self::Bytes,
    ];

    /// Its name in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::U128 => "u128",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::I128 => "i128",
            Self::Integer => "integer",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Char => "char",
            Self::Text => "text",
            Self::Bytes => "bytes",
        }
    }

    /// The least and the greatest integer; those of 128 bits as far as a JSON value can tell.
    pub(super) fn integer_range(self) -> Option<(Value, Value)> {
        let range = |least: i64, greatest: u64| Some((least.into(), greatest.into()));
        match self {
            Self::U8 => range(0, u8::MAX.into()),
            Self::U16 => range(0, u16::MAX.into()),
            Self::U32 => range(0, u32::MAX.into()),
            Self::U64 | Self::U128 => range(0, u64::MAX),
            Self::I8 => range(i8::MIN.into(), i8::MAX.unsigned_abs().into()),
            Self::I16 => range(i16::MIN.into(), i16::MAX.unsigned_abs().into()),
            Self::I32 => range(i32::MIN.into(), i32::MAX.unsigned_abs().into()),
            Self::I64 => range(i64::MIN, i64::MAX.unsigned_abs()),
            Self::I128 | Self::Integer => range(i64::MIN, u64::MAX),
            _ => None,
        }
    }
}

impl Shape {
    pub(crate) const fn scalar(kind: Scalar) -> Self {
        Self::Scalar(kind, None)
    }

    /// Whether both are the same shape. Examples are for people: which one stands there does not
    /// count, only whether one does.
    ///
    /// ```
    /// use cim_domain::schema::Shape;
    ///
    /// let known: Shape = r#"{ id: text = "ticket/7" }"#.parse()?;
    /// let other_example: Shape = r#"{ id: text = "ticket/8" }"#.parse()?;
    /// let any_text: Shape = "{ id: text }".parse()?;
    /// assert!(known.is_same_as(&other_example) && known != other_example);
    /// assert!(!known.is_same_as(&any_text));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.without_examples() == other.without_examples()
    }

    fn without_examples(&self) -> Self {
        match self {
            Self::Scalar(kind, Some(_)) => Self::Scalar(*kind, Some(Value::Null)),
            other => other.map_parts(Self::without_examples),
        }
    }

    /// The same with every direct part changed.
    pub(super) fn map_parts(&self, mut change: impl FnMut(&Self) -> Self) -> Self {
        match self {
            Self::Any | Self::Null | Self::Scalar(..) | Self::Again(_) => self.clone(),
            Self::Option(inner) => Self::Option(Box::new(change(inner))),
            Self::List(inner) => Self::List(Box::new(change(inner))),
            Self::Tuple(parts) => Self::Tuple(parts.iter().map(change).collect()),
            Self::Map(key, value) => {
                let key = Box::new(change(key));
                Self::Map(key, Box::new(change(value)))
            }
            Self::Object(fields) => Self::Object(
                fields
                    .iter()
                    .map(|(name, field)| {
                        let shape = change(&field.shape);
                        (name.clone(), Field { shape, ..*field })
                    })
                    .collect(),
            ),
            Self::Enum(variants) => Self::Enum(
                variants
                    .iter()
                    .map(|(name, held)| (name.clone(), held.as_ref().map(&mut change)))
                    .collect(),
            ),
            Self::Either(parts) => Self::Either(parts.iter().map(change).collect()),
            Self::Sampled(inner) => Self::Sampled(Box::new(change(inner))),
            Self::Label(number, inner) => Self::Label(*number, Box::new(change(inner))),
        }
    }

    /// Numbers labels from 1 in the order in which they stand, and leaves out those that nothing
    /// refers to, so that one type has one text.
    pub(super) fn with_labels_in_order(&self) -> Self {
        let mut used = Vec::new();
        self.collect_references(&mut used);
        let mut numbers = BTreeMap::new();
        self.renumbered(&used, &mut numbers)
    }

    fn collect_references(&self, used: &mut Vec<u32>) {
        if let Self::Again(number) = self {
            used.push(*number);
        }
        self.map_parts(|part| {
            part.collect_references(used);
            Self::Null
        });
    }

    fn renumbered(&self, used: &[u32], numbers: &mut BTreeMap<u32, u32>) -> Self {
        match self {
            Self::Label(number, inner) if !used.contains(number) => inner.renumbered(used, numbers),
            Self::Label(number, inner) => {
                let next = u32::try_from(numbers.len())
                    .unwrap_or(u32::MAX)
                    .saturating_add(1);
                // The same type in two places has one number in both.
                let new = *numbers.entry(*number).or_insert(next);
                Self::Label(new, Box::new(inner.renumbered(used, numbers)))
            }
            Self::Again(number) => Self::Again(numbers.get(number).copied().unwrap_or(0)),
            other => other.map_parts(|part| part.renumbered(used, numbers)),
        }
    }
}
