//! Running one case: in a runtime of its own, with a limit on real time, and a report that names
//! the case.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::time::Duration;

use cim_store::{Clock, SystemClock};
use futures_util::future::{Either, select};

use crate::Harness;
use crate::trial::Trial;

/// What a case ends with.
pub(crate) type CaseResult = Result<(), CaseFailure>;

/// A case under way.
pub(crate) type CaseFuture = Pin<Box<dyn Future<Output = Result<(), CaseFailure>> + Send>>;

/// One behaviour that every adapter has.
#[derive(Clone, Copy)]
pub struct Case {
    /// Its name, which is also the name of its test.
    pub name: &'static str,
    /// The line of the contract that it tests.
    pub contract: &'static str,
    /// The module it is written in.
    pub group: &'static str,
    /// What it does.
    pub(crate) run: fn(Trial) -> CaseFuture,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Case({}: {})", self.contract, self.name)
    }
}

/// Why a case failed: an error that should not have happened, and where.
pub struct CaseFailure {
    error: Box<dyn Error + Send + Sync>,
    location: &'static Location<'static>,
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for CaseFailure {
    #[track_caller]
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            location: Location::caller(),
        }
    }
}

impl fmt::Debug for CaseFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:#}", self.location, self.error)?;
        let mut cause = self.error.source();
        while let Some(error) = cause {
            write!(f, "\n  because {error:#}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// How long a case may take. None comes near it; one that reaches it waits for what never comes.
const LONGEST: Duration = Duration::from_secs(180);

/// Runs the case of this name, of either port, against a store of the harness. The macros
/// [`event_log_tests!`](crate::event_log_tests) and [`bucket_tests!`](crate::bucket_tests) make a
/// test of each case that calls this.
///
/// # Panics
/// When the store does not behave as the case says, when the case takes longer than three
/// minutes, and when there is no such case.
pub fn run(name: &str, harness: impl Harness) {
    run_within(LONGEST, name, harness);
}

/// Runs a case as [`run`] does, with a limit of one's own on its real time.
///
/// # Panics
/// As [`run`].
pub fn run_within(limit: Duration, name: &str, harness: impl Harness) {
    let case = crate::cases().find(|case| case.name == name);
    let case = case.unwrap_or_else(|| panic!("there is no case `{name}`"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap_or_else(|error| panic!("`{name}`: there is no runtime for it: {error}"));
    let finished = runtime.block_on(async {
        // In a task of its own, so that the limit holds even where the case blocks its thread.
        let task = tokio::spawn(async move {
            let trial = Trial::open(harness).await?;
            (case.run)(trial).await
        });
        match select(task, SystemClock.sleep(limit)).await {
            Either::Left((ended, _)) => Some(ended),
            Either::Right(_) => None,
        }
    });
    runtime.shutdown_background();
    match finished {
        Some(Ok(Ok(()))) => {}
        Some(Ok(Err(failure))) => panic!("`{name}` ({}) failed at {failure:?}", case.contract),
        Some(Err(error)) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => panic!("`{name}` ended early: {error}"),
        },
        None => panic!("`{name}` did not end within {limit:?}: it hangs"),
    }
}
