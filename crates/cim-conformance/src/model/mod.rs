//! Reference models: the contract of both ports in maps and lists, and random histories in which
//! every answer of a store is compared with the model's.
//!
//! A history is decided by its seed alone. When an answer differs, the failure shows the seed, the
//! step, and all steps up to it; `CIM_SEED=<seed>` runs that history again, and `CIM_SEEDS=<count>`
//! runs so many instead of the usual few.

mod bucket;
mod bucket_steps;
mod log;
mod log_steps;
mod rng;

use std::fmt::Debug;

use crate::CaseFailure;

pub use bucket::{BucketModel, BucketRefusal};
pub(crate) use bucket_steps::run_bucket_history;
pub use log::{LogModel, LogRefusal, ModelCommit, ModelEvent};
pub(crate) use log_steps::run_log_history;
pub use rng::Rng;

/// The seeds to run: the one that the environment names, or the first so many.
pub(crate) fn seeds(usual: u64) -> Result<Vec<u64>, CaseFailure> {
    if let Ok(seed) = std::env::var("CIM_SEED") {
        return Ok(vec![seed.parse()?]);
    }
    let count = match std::env::var("CIM_SEEDS") {
        Ok(count) => count.parse()?,
        Err(_) => usual,
    };
    Ok((1..=count).collect())
}

/// Fails, naming both, where the store's answer is not the model's.
fn same<T: PartialEq + Debug>(what: &str, model: &T, store: &T) -> Result<(), CaseFailure> {
    if model == store {
        return Ok(());
    }
    Err(format!("{what}: the model says {model:?}, the store says {store:?}").into())
}

/// The failure of a step, with all that is needed to see it again.
fn failed_at<S: Debug>(seed: u64, steps: &[S], failure: &CaseFailure) -> CaseFailure {
    let mut text = format!(
        "seed {seed}, step {}: {failure:?}\nrun it again with CIM_SEED={seed}; the steps were",
        steps.len()
    );
    for (number, step) in steps.iter().enumerate() {
        text.push_str(&format!("\n{:4}. {step:?}", number + 1));
    }
    text.into()
}
