//! How a store is, in plain data: what there is to know, and what is wrong with what to do.
//!
//! Every adapter says it in the same shape, so a program can show the health of a store without
//! knowing which one it is. What is looked at is the adapter's own; nothing is changed by it.

use std::fmt;

/// How a store is.
///
/// ```
/// use cim_store::{Finding, Health, Severity};
///
/// let health = Health::new()
///     .with_fact("replicas", 3)
///     .with_finding(Finding::new(
///         Severity::Problem,
///         "replica n2 is offline",
///         "start the server again",
///     ));
/// assert!(!health.is_healthy());
/// assert_eq!(health.fact("replicas"), Some("3"));
/// assert_eq!(health.worst(), Some(Severity::Problem));
/// assert_eq!(health.findings[0].to_string(), "problem: replica n2 is offline");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// What there is to know, in the order to show it.
    pub facts: Vec<Fact>,
    /// What is wrong or could be better, the most serious first.
    pub findings: Vec<Finding>,
}

/// Something that there is to know of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fact {
    /// What it is, in a word or two. An adapter gives each fact another name.
    pub name: String,
    /// What it is like, for people. A count of bytes is a plain number.
    pub value: String,
}

/// Something that is wrong or could be better.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How serious it is.
    pub severity: Severity,
    /// What was found: one sentence without a full stop.
    pub what: String,
    /// What to do about it, likewise.
    pub advice: String,
}

/// How serious a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Good to know; nothing needs to be done.
    Note,
    /// Works, but promises less than it could: a power cut or one more failure may hurt.
    Warning,
    /// Does not work as it should. Somebody has to do something.
    Problem,
}

impl Health {
    /// Nothing known, nothing wrong.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds something to know, behind what is there.
    #[must_use]
    pub fn with_fact(mut self, name: impl Into<String>, value: impl fmt::Display) -> Self {
        self.facts.push(Fact {
            name: name.into(),
            value: value.to_string(),
        });
        self
    }

    /// Adds a finding, behind those that are as serious.
    #[must_use]
    pub fn with_finding(mut self, finding: Finding) -> Self {
        let place = self
            .findings
            .partition_point(|found| found.severity >= finding.severity);
        self.findings.insert(place, finding);
        self
    }

    /// The value of a fact.
    pub fn fact(&self, name: &str) -> Option<&str> {
        let fact = self.facts.iter().find(|fact| fact.name == name)?;
        Some(&fact.value)
    }

    /// Whether the store works as it should: there is no [`Problem`](Severity::Problem).
    pub fn is_healthy(&self) -> bool {
        self.worst() < Some(Severity::Problem)
    }

    /// How serious the most serious finding is; `None` where there is none.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|found| found.severity).max()
    }
}

impl Finding {
    /// A finding: what was found, and what to do about it, both without a full stop.
    pub fn new(severity: Severity, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            severity,
            what: what.into(),
            advice: advice.into(),
        }
    }
}

impl fmt::Display for Finding {
    /// What was found, without what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity, self.what)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_serious_finding_comes_first_and_equals_keep_their_order() {
        let health = [
            (Severity::Warning, "a"),
            (Severity::Note, "b"),
            (Severity::Problem, "c"),
            (Severity::Warning, "d"),
        ]
        .into_iter()
        .fold(Health::new(), |health, (severity, what)| {
            health.with_finding(Finding::new(severity, what, "do"))
        });
        let order: String = health.findings.iter().map(|f| f.what.as_str()).collect();
        assert_eq!(order, "cadb");
        assert_eq!(health.worst(), Some(Severity::Problem));
    }

    #[test]
    fn only_a_problem_is_unhealthy() {
        let with = |severity| Health::new().with_finding(Finding::new(severity, "x", "y"));
        assert!(Health::new().is_healthy());
        assert!(with(Severity::Note).is_healthy());
        assert!(with(Severity::Warning).is_healthy());
        assert!(!with(Severity::Problem).is_healthy());
    }
}
