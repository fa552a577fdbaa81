//! Random histories.

use crate::model::{run_bucket_history, seeds};
use crate::suite::CaseResult;
use crate::trial::Trial;

pub(crate) const CONTRACT: &str = "Bucket: all of it together";

pub(crate) async fn random_histories_of_a_bucket_equal_the_model(t: Trial) -> CaseResult {
    for seed in seeds(12)? {
        run_bucket_history(t.another().await?, seed, 120).await?;
    }
    Ok(())
}
