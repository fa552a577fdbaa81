//! One way through an aggregate: a beginning, and commands one after another.
//!
//! A script is a value that can be run again and made shorter, so that a violation is shown with
//! no more history than it needs.

use std::collections::BTreeSet;
use std::fmt;

use super::twin::{Restore, Twin};
use super::violation::Violation;
use crate::{Aggregate, DomainEvent};

/// What is checked: the histories and commands that were given.
pub(super) struct Subject<A: Aggregate> {
    pub(super) histories: Vec<Vec<A::Event>>,
    pub(super) commands: Vec<A::Command>,
    /// How a state comes back from a snapshot, where that is to be checked.
    pub(super) restore: Option<Restore<A>>,
}

/// One way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Script {
    /// The number of a history, and how many of its events come first.
    pub(super) start: Option<(usize, usize)>,
    /// The numbers of the commands that follow.
    pub(super) commands: Vec<usize>,
}

/// What was looked at.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) decisions: u64,
    pub(super) refusals: u64,
    pub(super) events: u64,
    pub(super) event_types: BTreeSet<&'static str>,
}

impl Seen {
    fn event(&mut self, event: &impl DomainEvent) {
        self.events += 1;
        self.event_types.insert(event.event_type());
    }
}

impl Script {
    /// Scripts with less in them, the shortest first.
    pub(super) fn shorter(&self) -> Vec<Self> {
        let mut shorter = Vec::new();
        if let Some((history, events)) = self.start {
            let starts = std::iter::once(None).chain((0..events).map(|n| Some((history, n))));
            shorter.extend(starts.map(|start| Self {
                start,
                commands: self.commands.clone(),
            }));
        }
        let count = self.commands.len();
        // Halves, quarters, … down to single commands.
        let mut length = count.div_ceil(2);
        while length > 0 {
            for from in (0..count).step_by(length) {
                let mut commands = self.commands.clone();
                commands.drain(from..(from + length).min(count));
                shorter.push(Self {
                    start: self.start,
                    commands,
                });
            }
            length = if length > 1 { length.div_ceil(2) } else { 0 };
        }
        shorter
    }
}

impl<A> Subject<A>
where
    A: Aggregate + fmt::Debug + PartialEq,
    A::Event: fmt::Debug + PartialEq,
    A::Command: fmt::Debug,
{
    /// Replays every prefix of a history and asks every command after each of them.
    pub(super) fn every_prefix(&self, history: usize, seen: &mut Seen) -> Result<(), Violation> {
        let mut twin = Twin::new(self.restore);
        let events = self.histories.get(history).map_or(&[][..], Vec::as_slice);
        for replayed in 0..=events.len() {
            if let Some(event) = replayed.checked_sub(1).and_then(|last| events.get(last)) {
                seen.event(event);
                twin.apply(event)?;
            }
            for command in &self.commands {
                let outcome = twin.ask(command)?;
                seen.decisions += 1;
                seen.refusals += u64::from(outcome.is_err());
            }
        }
        twin.replay_again(events.iter())
    }

    /// Runs a script; what follows from a command happens before the next one is asked.
    pub(super) fn run(&self, script: &Script, seen: &mut Seen) -> Result<(), Violation> {
        let mut twin = Twin::new(self.restore);
        let start = script.start.and_then(|(history, events)| {
            let history = self.histories.get(history)?;
            history.get(..events)
        });
        for event in start.unwrap_or_default() {
            seen.event(event);
            twin.apply(event)?;
        }
        let mut followed = Vec::new();
        for command in &script.commands {
            let Some(command) = self.commands.get(*command) else {
                continue;
            };
            seen.decisions += 1;
            let Ok(events) = twin.ask(command)? else {
                seen.refusals += 1;
                continue;
            };
            for event in events {
                seen.event(&event);
                twin.apply(&event)?;
                followed.push(event);
            }
        }
        twin.replay_again(start.unwrap_or_default().iter().chain(&followed))
    }
}
