//! What ends a command early: a code, an error with its causes, and the way out.
//!
//! Errors are typed where they arise; this is the edge, where the chain is printed once and the
//! hint on a line of its own.

use std::error::Error;

use cim_domain::persistence::event_index::IndexError;
use cim_store::{BucketError, EventLogError};

use crate::exit_code::ExitCode;

/// What ends a command early.
#[derive(Debug)]
pub struct Failure {
    code: ExitCode,
    error: Option<Box<dyn Error + Send + Sync>>,
    hint: Option<String>,
}

impl Failure {
    /// An error that is yet to be printed.
    pub fn new(code: ExitCode, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            code,
            error: Some(error.into()),
            hint: None,
        }
    }

    /// The command has already said what is wrong.
    pub(crate) fn reported(code: ExitCode) -> Self {
        Self {
            code,
            error: None,
            hint: None,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// How the program ends.
    pub fn code(&self) -> ExitCode {
        self.code
    }

    /// What went wrong, outermost first: the error, then its causes.
    pub fn chain(&self) -> Vec<String> {
        let mut chain = Vec::new();
        let mut next: Option<&dyn Error> = self.error.as_ref().map(|error| &**error as _);
        while let Some(error) = next {
            chain.push(error.to_string());
            next = error.source();
        }
        chain
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl From<EventLogError> for Failure {
    fn from(error: EventLogError) -> Self {
        let hint = match error.unknown_commit() {
            Some(commit) => Some(format!(
                "run the same command again with `--commit-id {commit}`: it is never stored twice"
            )),
            None => error.hint().map(str::to_owned),
        };
        Self {
            code: ExitCode::of(&error),
            hint,
            error: Some(error.into()),
        }
    }
}

impl From<BucketError> for Failure {
    fn from(error: BucketError) -> Self {
        Self {
            code: ExitCode::of_bucket(&error),
            hint: error.hint().map(str::to_owned),
            error: Some(error.into()),
        }
    }
}

impl From<IndexError> for Failure {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Log(error) => error.into(),
            IndexError::Bucket(error) => error.into(),
            error => Self::new(ExitCode::Invalid, error),
        }
    }
}
