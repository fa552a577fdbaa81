//! Whether payloads of an earlier shape survive a change: that they can still be read, and that
//! nothing in them is another value afterwards.
//!
//! Nothing is concluded from shapes. Payloads of the earlier shape are really read by the code of
//! today, and written again.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Field, Scalar, Shape};

/// What does not survive.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Loss {
    /// A payload can't be read any more.
    Refused { payload: Value, because: String },
    /// A value is read as another one.
    Altered { at: String, was: Value, is: Value },
    /// A field is not read any more while others came: most likely it has another name now.
    Renamed { gone: String, new: Vec<String> },
}

/// What the code of today makes of a payload: the events, each with its type and written again.
pub(crate) type Reread = Vec<(String, Value)>;

/// Finds what does not survive a change from one shape to another.
///
/// `same_type` is the event type that a payload stays, where it is to be compared; what became
/// another one was changed by somebody on purpose.
pub(crate) fn loss(
    payloads: &[Value],
    was: &Shape,
    now: &Shape,
    event_type: &str,
    is_last: bool,
    read: impl Fn(&Value) -> Result<Reread, String>,
) -> Option<Loss> {
    payloads.iter().find_map(|payload| {
        let events = match read(payload) {
            Ok(events) => events,
            Err(because) => {
                let payload = payload.clone();
                return Some(Loss::Refused { payload, because });
            }
        };
        match &events[..] {
            [(same, again)] if same == event_type => {
                let comparison = Comparison { is_last };
                comparison.loss(was, now, payload, again, "")
            }
            _ => None,
        }
    })
}

struct Comparison {
    /// Whether `was` is the shape that was locked last. Only then do a field that is gone and one
    /// that came belong to one change.
    is_last: bool,
}

impl Comparison {
    fn loss(
        &self,
        was: &Shape,
        now: &Shape,
        before: &Value,
        after: &Value,
        at: &str,
    ) -> Option<Loss> {
        // What has the same shape is read by the same type, as far as anybody can tell.
        if was.is_same_as(now) {
            return None;
        }
        let (was, now) = (core(was), core(now));
        match (was, now, before, after) {
            (_, _, Value::Null, _) if !matches!(now, Shape::Object(_)) => None,
            (
                Shape::Object(was),
                Shape::Object(now),
                Value::Object(before),
                Value::Object(after),
            ) => self.loss_in_object(was, now, before, after, at),
            (Shape::List(was), Shape::List(now), Value::Array(before), Value::Array(after))
                if before.len() == after.len() =>
            {
                let pairs = before.iter().zip(after).enumerate();
                let mut losses = pairs.filter_map(|(index, (before, after))| {
                    self.loss(was, now, before, after, &format!("{at}[{index}]"))
                });
                losses.next().filter(|_| !same_set(before, after))
            }
            (Shape::Tuple(was), Shape::Tuple(now), Value::Array(before), Value::Array(after))
                if was.len() == now.len() =>
            {
                let places = was
                    .iter()
                    .zip(now)
                    .zip(before.iter().zip(after))
                    .enumerate();
                places
                    .map(|(index, pair)| (format!("{at}[{index}]"), pair))
                    .find_map(|(at, ((was, now), (before, after)))| {
                        self.loss(was, now, before, after, &at)
                    })
            }
            (
                Shape::Map(_, was),
                Shape::Map(_, now),
                Value::Object(before),
                Value::Object(after),
            ) => before.iter().find_map(|(key, before)| {
                let at = inside(at, key);
                match after.get(key) {
                    Some(after) => self.loss(was, now, before, after, &at),
                    None => Some(Loss::Altered {
                        at,
                        was: before.clone(),
                        is: Value::Null,
                    }),
                }
            }),
            // Of what the earlier type took there is one example; what else it took is not known.
            (Shape::Scalar(was, Some(_)), Shape::Scalar(now, _), _, _) if narrows(*was, *now) => {
                Some(Loss::Refused {
                    payload: before.clone(),
                    because: format!(
                        "not every {} is {}, and which ones were stored is not known",
                        was.as_str(),
                        now.as_str()
                    ),
                })
            }
            (Shape::Enum(was), Shape::Enum(now), Value::Object(before), Value::Object(after)) => {
                before.iter().find_map(|(name, before)| {
                    match (was.get(name), now.get(name), after.get(name)) {
                        (Some(Some(was)), Some(Some(now)), Some(after)) => {
                            self.loss(was, now, before, after, &inside(at, name))
                        }
                        _ => None,
                    }
                })
            }
            _ if same(before, after) => None,
            _ => Some(Loss::Altered {
                at: at.to_owned(),
                was: before.clone(),
                is: after.clone(),
            }),
        }
    }

    fn loss_in_object(
        &self,
        was: &BTreeMap<String, Field>,
        now: &BTreeMap<String, Field>,
        before: &Map<String, Value>,
        after: &Map<String, Value>,
        at: &str,
    ) -> Option<Loss> {
        let new: Vec<&String> = now.keys().filter(|name| !was.contains_key(*name)).collect();
        before.iter().find_map(|(name, value)| {
            let inside = inside(at, name);
            match (was.get(name), now.get(name), after.get(name)) {
                (Some(was), Some(now), Some(again)) => {
                    self.loss(&was.shape, &now.shape, value, again, &inside)
                }
                (Some(_), None, _) if self.is_last && !new.is_empty() => {
                    let is_kept = new
                        .iter()
                        .any(|name| after.get(*name).is_some_and(|after| same(value, after)));
                    (!is_kept).then(|| Loss::Renamed {
                        gone: inside,
                        new: new.iter().map(|name| (*name).clone()).collect(),
                    })
                }
                _ => None,
            }
        })
    }
}

/// Whether a part that stayed may have another form in a format that is not JSON. Shapes are those
/// that JSON shows; a UUID and a text are the same there, and in CBOR they are not.
pub(crate) fn differs_in_a_leaf(was: &Shape, now: &Shape) -> bool {
    match (core(was), core(now)) {
        (was, now) if was.is_same_as(now) => false,
        (Shape::Object(was), Shape::Object(now)) => was.iter().any(|(name, was)| {
            now.get(name)
                .is_some_and(|now| differs_in_a_leaf(&was.shape, &now.shape))
        }),
        (Shape::Enum(was), Shape::Enum(now)) => {
            was.iter().any(|(name, was)| match (was, now.get(name)) {
                (Some(was), Some(Some(now))) => differs_in_a_leaf(was, now),
                (Some(_), Some(None)) | (None, Some(Some(_))) => true,
                _ => false,
            })
        }
        (Shape::List(was), Shape::List(now)) => differs_in_a_leaf(was, now),
        (Shape::Map(was_key, was), Shape::Map(now_key, now)) => {
            differs_in_a_leaf(was_key, now_key) || differs_in_a_leaf(was, now)
        }
        (Shape::Tuple(was), Shape::Tuple(now)) if was.len() == now.len() => was
            .iter()
            .zip(now)
            .any(|(was, now)| differs_in_a_leaf(was, now)),
        // Integers have one form, however wide their type is.
        (Shape::Scalar(was, None), Shape::Scalar(now, None)) => {
            was.integer_range().is_none() || now.integer_range().is_none()
        }
        _ => true,
    }
}

/// Whether integers of the one kind may be none of the other.
fn narrows(was: Scalar, now: Scalar) -> bool {
    let (Some((least, greatest)), Some((new_least, new_greatest))) =
        (was.integer_range(), now.integer_range())
    else {
        return false;
    };
    new_least.as_i64() > least.as_i64() || new_greatest.as_u64() < greatest.as_u64()
}

/// The shape without what JSON does not show.
fn core(shape: &Shape) -> &Shape {
    match shape {
        Shape::Label(_, inner) | Shape::Sampled(inner) | Shape::Option(inner) => core(inner),
        other => other,
    }
}

fn inside(at: &str, name: &str) -> String {
    match at {
        "" => name.to_owned(),
        at => format!("{at}.{name}"),
    }
}

/// Whether both are the same value; 1 and 1.0 are.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) if one != other => {
            let integer = |number: &serde_json::Number| {
                let wide = number.as_u64().map(i128::from);
                wide.or_else(|| number.as_i64().map(i128::from))
            };
            match (integer(one), integer(other)) {
                (Some(integer), None) => other.as_f64().is_some_and(|f| is_exactly(f, integer)),
                (None, Some(integer)) => one.as_f64().is_some_and(|f| is_exactly(f, integer)),
                _ => false,
            }
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| same(a, b))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(key, a)| other.get(key).is_some_and(|b| same(a, b)))
        }
        _ => one == other,
    }
}

/// Whether a float is this integer, and not only its neighbour.
fn is_exactly(float: f64, integer: i128) -> bool {
    /// Above 2^100 no JSON integer is.
    const MOST: f64 = 1_267_650_600_228_229_401_496_703_205_376.0;
    float.fract() == 0.0 && float.abs() < MOST && float as i128 == integer
}

/// Whether two lists hold the same elements in some order, as those of a set do.
fn same_set(one: &[Value], other: &[Value]) -> bool {
    let holds = |list: &[Value], value: &Value| list.iter().any(|element| same(element, value));
    one.iter().all(|value| holds(other, value)) && other.iter().all(|value| holds(one, value))
}
