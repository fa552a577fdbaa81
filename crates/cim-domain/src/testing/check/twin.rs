//! Two of the same aggregate: one is asked, one is only rebuilt. They must never differ.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::panics::caught;
use super::violation::{Rule, Violation};
use crate::Aggregate;
use crate::event::codec::{Cbor, Codec, CodecError, Json};
use crate::testing::{difference, storage};

/// What a command led to.
type Outcome<A> = Result<Vec<<A as Aggregate>::Event>, <A as Aggregate>::Error>;

/// A state as it comes back from a snapshot, or why it does not.
pub(super) type Restore<A> = fn(&A) -> Result<A, String>;

/// Two of the same aggregate.
pub(super) struct Twin<A> {
    /// Is asked, and takes events as they were decided.
    asked: A,
    /// Takes events as they come back from storage, and begins with a snapshot each time, where
    /// there are some. It is asked too, but never first.
    rebuilt: A,
    restore: Option<Restore<A>>,
    /// What both took, for a message.
    history: Vec<String>,
}

impl<A> Twin<A>
where
    A: Aggregate + fmt::Debug + PartialEq,
    A::Event: fmt::Debug + PartialEq,
    A::Command: fmt::Debug,
{
    pub(super) fn new(restore: Option<Restore<A>>) -> Self {
        Self {
            asked: A::default(),
            rebuilt: A::default(),
            restore,
            history: Vec::new(),
        }
    }

    /// Lets both take in an event.
    pub(super) fn apply(&mut self, event: &A::Event) -> Result<(), Violation> {
        self.history.push(format!("{event:?}"));
        let read = storage::stored_and_read(event)
            .map_err(|loss| self.violation(Rule::SurvivesStorage, None, loss))?;
        let applied =
            caught(|| self.asked.apply(event)).and_then(|()| caught(|| self.rebuilt.apply(&read)));
        applied.map_err(|panic| self.violation(Rule::ReplayNeverPanics, None, panic))?;
        self.check_states(Rule::ReplayRepeats, None, "one replay", "the other")?;
        if let Some(restore) = self.restore {
            let rule = Rule::SurvivesSnapshot;
            let restored = restore(&self.rebuilt);
            self.rebuilt = restored.map_err(|loss| self.violation(rule, None, loss))?;
            self.check_states(rule, None, "as it was", "from the snapshot")?;
        }
        Ok(())
    }

    /// Asks both, the first of them twice.
    pub(super) fn ask(&self, command: &A::Command) -> Result<Outcome<A>, Violation> {
        let handle = |aggregate: &A| {
            caught(|| aggregate.handle(command.clone()))
                .map_err(|panic| self.violation(Rule::HandleNeverPanics, Some(command), panic))
        };
        let first = handle(&self.asked)?;
        let check_unchanged = || {
            let rule = Rule::HandleChangesNothing;
            self.check_states(rule, Some(command), "after `handle`", "before it")
        };
        check_unchanged()?;
        let second = handle(&self.asked)?;
        check_unchanged()?;
        let rule = Rule::HandleRepeats;
        self.check_outcomes(rule, command, &first, &second, "first time", "second time")?;
        let copy = handle(&self.rebuilt)?;
        let rule = Rule::HandleKnowsOnlyEvents;
        self.check_outcomes(rule, command, &first, &copy, "this one", "a replayed copy")?;
        Ok(first)
    }

    /// Replays once more from the beginning, when everything was asked.
    pub(super) fn replay_again<'e>(
        mut self,
        events: impl Iterator<Item = &'e A::Event>,
    ) -> Result<(), Violation>
    where
        A::Event: 'e,
    {
        self.rebuilt = A::default();
        let replayed = caught(|| events.for_each(|event| self.rebuilt.apply(event)));
        replayed.map_err(|panic| self.violation(Rule::ReplayNeverPanics, None, panic))?;
        self.check_states(Rule::ReplayRepeats, None, "as it came to be", "replayed")
    }

    fn check_states(
        &self,
        rule: Rule,
        command: Option<&A::Command>,
        asked: &str,
        rebuilt: &str,
    ) -> Result<(), Violation> {
        // A NaN in the state is equal to nothing, and maps of random order show equals in two ways.
        if self.asked == self.rebuilt || shown(&self.asked) == shown(&self.rebuilt) {
            return Ok(());
        }
        let difference = difference::of(&self.asked, &self.rebuilt);
        let text = format!("- {asked}, + {rebuilt}:\n{difference}");
        Err(self.violation(rule, command, text))
    }

    fn check_outcomes(
        &self,
        rule: Rule,
        command: &A::Command,
        one: &Outcome<A>,
        other: &Outcome<A>,
        one_is: &str,
        other_is: &str,
    ) -> Result<(), Violation> {
        let equal = match (one, other) {
            (Ok(one), Ok(other)) => one == other,
            _ => false,
        };
        if equal || shown(one) == shown(other) {
            return Ok(());
        }
        let difference = difference::of(one, other);
        let text = format!("- {one_is}, + {other_is}:\n{difference}");
        Err(self.violation(rule, Some(command), text))
    }

    fn violation(&self, rule: Rule, command: Option<&A::Command>, what: String) -> Violation {
        Violation {
            aggregate: format!("{}.{}", A::CONTEXT, A::TYPE),
            rule,
            history: self.history.clone(),
            command: command.map(|command| format!("{command:?}")),
            what,
        }
    }
}

/// The state after a snapshot of each codec.
pub(super) fn restored<A: Serialize + DeserializeOwned>(state: &A) -> Result<A, String> {
    through::<Json, A>(&through::<Cbor, A>(state)?)
}

fn through<C: Codec, A: Serialize + DeserializeOwned>(state: &A) -> Result<A, String> {
    let said = |what: &str, error: CodecError| {
        format!(
            "the state can't be {what} as {}: {error}\n{error:#?}",
            C::CONTENT_TYPE
        )
    };
    let snapshot = C::encode_whole(state).map_err(|error| said("written", error))?;
    C::decode(&snapshot).map_err(|error| said("read", error))
}

fn shown(value: &impl fmt::Debug) -> String {
    format!("{value:?}")
}
