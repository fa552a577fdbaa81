//! Finds the shape of a type by letting it read made-up values.
//!
//! serde's `Deserialize` tells a deserializer, call by call, what the type wants to see. So a
//! deserializer of our own answers with made-up values, writes down what was asked, and begins again
//! until every variant of every enum was taken, every field was left out once, and every leaf was
//! given both ends of its range. Nothing is derived for it, and every serde attribute that changes
//! what is read counts, because the type's own code reads.
//!
//! Where a type refuses what is made up (a UUID, a date), texts in common formats are tried in
//! turn. What serde first buffers (`untagged`, `tag`, `flatten`) it hides from any deserializer;
//! there the shape is that of samples, and without samples the type is refused.

mod given;
mod learned;
mod made_up;
mod reading;
mod refusal;
mod shapes;

use std::cell::RefCell;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Shape;
use crate::DomainEvent;
use learned::{Learned, Phase};
use reading::At;
use refusal::Refusal;

/// Runs that are made at most for one type: far more than any needs whose leaves are independent.
const MOST_RUNS: usize = 50_000;
/// Values that are kept at most, to see how they are written.
const MOST_VALUES: usize = 2_000;

/// What was found out about a type.
#[derive(Debug)]
pub(crate) struct Traced<T> {
    /// What it reads.
    pub(crate) shape: Shape,
    /// The values that it read while it was traced.
    pub(crate) values: Vec<T>,
}

/// Why the shape of a type can't be found out.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TraceError {
    /// Nothing that was made up is accepted.
    #[error("no made-up value is accepted at `{path}`: {refusal}")]
    Refused { path: String, refusal: String },
    /// serde buffers a part, so what it looks like can't be seen.
    #[error(
        "serde hides how `{path}` is read (by `untagged`, `tag` or `flatten`, or code of its own)"
    )]
    Hidden { path: String },
    /// Written out, it is too large for anybody to read.
    #[error("written out, the shape has more than {most} parts")]
    TooLarge { most: usize },
    /// A sample is refused by its own type.
    #[error("a sample can't be read at `{path}`: {refusal}")]
    Sample { path: String, refusal: String },
}

/// What is at hand when a type is traced.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hints {
    /// Values of the type, as they are written.
    pub(crate) samples: Vec<Value>,
    /// Texts to try where a text is wanted, before those in common formats.
    pub(crate) texts: Vec<String>,
}

/// Traces the payload of the event type `E::EVENT_TYPES[index]`.
pub(crate) fn trace_event<E: DomainEvent>(
    index: usize,
    hints: &Hints,
) -> Result<Traced<E>, TraceError> {
    trace(|at| E::deserialize_payload(index, at), hints)
}

/// Traces a value.
pub(crate) fn trace_value<T: DeserializeOwned>(hints: &Hints) -> Result<Traced<T>, TraceError> {
    trace(|at| T::deserialize(at), hints)
}

fn trace<T>(
    read: impl Fn(At<'_>) -> Result<T, Refusal>,
    hints: &Hints,
) -> Result<Traced<T>, TraceError> {
    let learned = RefCell::new(Learned::new(&hints.texts));
    let run = |phase: Phase, given: Option<&Value>| {
        learned.borrow_mut().begin(phase);
        read(At::root(&learned, given))
    };
    let mut runs = 0;
    // A part that turns out to be another one than it seemed is looked at anew from the beginning.
    let mut values = loop {
        if let Some(values) = explore(&learned, hints, &mut runs, &run)? {
            break values;
        }
    };
    loop {
        runs += 1;
        let result = run(Phase::Probing, None);
        if !learned.borrow_mut().conclude(result.as_ref().err()) || runs > MOST_RUNS {
            break;
        }
        if let Ok(value) = result
            && values.len() < MOST_VALUES
        {
            values.push(value);
        }
    }
    let learned = learned.borrow();
    if let Some(path) = learned.unseen_parts() {
        let path = path.to_owned();
        return Err(TraceError::Hidden { path });
    }
    let shape = learned.shape()?;
    Ok(Traced { shape, values })
}

/// Reads the samples, and then made-up values until nothing new shows. `None` if it has to begin
/// anew.
fn explore<T>(
    learned: &RefCell<Learned>,
    hints: &Hints,
    runs: &mut usize,
    run: &impl Fn(Phase, Option<&Value>) -> Result<T, Refusal>,
) -> Result<Option<Vec<T>>, TraceError> {
    let mut values = Vec::new();
    for sample in &hints.samples {
        let result = run(Phase::Given, Some(sample));
        let mut learned = learned.borrow_mut();
        if learned.takes_a_new_look() {
            return Ok(None);
        }
        match result {
            Ok(value) => values.push(value),
            Err(refusal) => {
                let path = learned.place();
                let refusal = refusal.to_string();
                return Err(TraceError::Sample { path, refusal });
            }
        }
    }
    loop {
        *runs += 1;
        let result = run(Phase::MadeUp, None);
        let mut learned = learned.borrow_mut();
        if learned.takes_a_new_look() {
            return Ok(None);
        }
        match result {
            Ok(value) => {
                if values.len() < MOST_VALUES {
                    values.push(value);
                }
                if !learned.settle() {
                    return Ok(Some(values));
                }
            }
            Err(refusal) => {
                if let Some(path) = learned.hidden() {
                    return Err(TraceError::Hidden { path });
                }
                if !learned.try_another(&refusal) || *runs > MOST_RUNS {
                    let (path, refusal) = learned.first_refusal(&refusal);
                    return Err(TraceError::Refused { path, refusal });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
