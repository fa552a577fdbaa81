//! What is said where an aggregate breaks a rule.

use std::fmt;

/// What every aggregate keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    ReplayNeverPanics,
    ReplayRepeats,
    HandleNeverPanics,
    HandleChangesNothing,
    HandleRepeats,
    HandleKnowsOnlyEvents,
    SurvivesStorage,
    SurvivesSnapshot,
}

impl Rule {
    /// What is wrong, and what that leads to.
    const fn sentence(self) -> &'static str {
        match self {
            Self::ReplayNeverPanics => {
                "replaying a history panics: `apply` can't refuse what has happened, and an \
                 aggregate that can't be loaded can never be changed again"
            }
            Self::ReplayRepeats => {
                "the same history leads to different states: `apply` may use nothing but the state \
                 and the event"
            }
            Self::HandleNeverPanics => {
                "deciding panics: what can't be done is refused with an error"
            }
            Self::HandleChangesNothing => {
                "deciding changes the state: `handle` returns events, and `apply` alone takes them \
                 in; what it changed is lost with the next load"
            }
            Self::HandleRepeats => {
                "the same command on the same state has different outcomes: `handle` may use \
                 nothing but the state and the command"
            }
            Self::HandleKnowsOnlyEvents => {
                "a copy that was replayed decides otherwise: the decision rests on something that \
                 the events don't say"
            }
            Self::SurvivesStorage => "an event does not survive storage",
            Self::SurvivesSnapshot => {
                "the state does not survive a snapshot: what serde skips or alters is missing after \
                 the next load"
            }
        }
    }
}

/// A rule that is broken, and where.
#[derive(Clone, Debug)]
pub(super) struct Violation {
    pub(super) aggregate: String,
    pub(super) rule: Rule,
    pub(super) history: Vec<String>,
    pub(super) command: Option<String>,
    pub(super) what: String,
}

impl Violation {
    /// Whether it shows the same mistake, as far as can be told.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.rule == other.rule
    }
}

/// A violation, and what found it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) violation: Violation,
    pub(super) by: String,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation {
            aggregate,
            rule,
            history,
            command,
            what,
        } = &self.violation;
        writeln!(f, "{aggregate}: {}\n", rule.sentence())?;
        match history.as_slice() {
            [] => writeln!(f, "nothing has happened before")?,
            events => {
                writeln!(f, "what has happened, the shortest found:")?;
                for (index, event) in events.iter().enumerate() {
                    writeln!(f, "  {}. {event}", index + 1)?;
                }
            }
        }
        if let Some(command) = command {
            writeln!(f, "what is asked:\n  {command}")?;
        }
        writeln!(f, "what came of it:\n{}", what.trim_end())?;
        write!(f, "\nfound {}", self.by)
    }
}
