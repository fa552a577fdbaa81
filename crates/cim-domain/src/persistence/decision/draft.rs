//! An aggregate as a decision sees it, with what the decision records for it.

use std::fmt;

use cim_store::Version;

use crate::Aggregate;

/// An aggregate in the middle of a decision over several: its state, and the events that the
/// decision has recorded for it so far.
///
/// What is recorded is taken into the state at once, so that the decision goes on from there. It is
/// stored only if the whole decision is.
pub struct Draft<A: Aggregate> {
    pub(super) state: A,
    pub(super) version: Version,
    pub(super) events: Vec<A::Event>,
}

impl<A: Aggregate> Draft<A> {
    /// The aggregate, with what was recorded so far.
    pub fn state(&self) -> &A {
        &self.state
    }

    /// The version that the aggregate is at, without what was recorded; [`Version::NONE`] where it
    /// does not exist.
    pub fn version(&self) -> Version {
        self.version
    }

    /// What was recorded so far.
    pub fn events(&self) -> &[A::Event] {
        &self.events
    }

    /// Lets the aggregate decide about a command, and records the events of its decision.
    ///
    /// # Errors
    /// The aggregate's own, where it refuses; then nothing was recorded.
    pub fn handle(&mut self, command: A::Command) -> Result<(), A::Error> {
        for event in self.state.handle(command)? {
            self.record(event);
        }
        Ok(())
    }

    /// Records an event that the decision means for this aggregate.
    pub fn record(&mut self, event: A::Event) {
        self.state.apply(&event);
        self.events.push(event);
    }
}

impl<A: Aggregate> fmt::Debug for Draft<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft")
            .field("type", &A::TYPE)
            .field("version", &self.version)
            .field("recorded", &self.events.len())
            .finish_non_exhaustive()
    }
}
