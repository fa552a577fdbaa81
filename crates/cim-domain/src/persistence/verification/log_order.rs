//! What must hold from one event of the log to the next, whichever streams they belong to.

use cim_store::{CommitId, Position, Timestamp};

use super::fault::{VerificationFault, VerificationFaultKind};
use super::hashing::{BlockFinding, HashedEvent};

/// Faults of the log as a whole that are reported at most; one cause can have very many effects.
const MOST_FAULTS: usize = 100;

/// Checks positions, times and commits.
#[derive(Debug, Default)]
pub(super) struct LogOrder {
    /// The last position that was seen.
    pub(super) position: Position,
    stored_at: Option<Timestamp>,
    /// The commit that is being read: its id, the index that comes next, and its count.
    open: Option<([u8; 16], u32, u32)>,
    /// Whether something before could not be read, so that nothing is known of its commit.
    blind: bool,
    pub(super) faults: Vec<VerificationFault>,
}

impl LogOrder {
    /// Begins after a position, which may be in the middle of nothing known.
    pub(super) fn after(position: Position) -> Self {
        Self {
            position,
            ..Self::default()
        }
    }

    /// The next event.
    pub(super) fn push(&mut self, event: &HashedEvent) {
        if event.position <= self.position {
            let message = format!("position {} follows {}", event.position, self.position);
            self.fault(event, VerificationFaultKind::Order, message);
        }
        if self
            .stored_at
            .is_some_and(|before| event.stored_at < before)
        {
            let message = format!(
                "it was stored at {}, before the event before it",
                event.stored_at
            );
            self.fault(event, VerificationFaultKind::Order, message);
        }
        self.position = event.position;
        self.stored_at = Some(event.stored_at);
        let BlockFinding::Sound(block) = &event.block else {
            self.lost();
            return;
        };
        let this = (block.commit, block.index, block.count);
        let fits = match self.open {
            Some(next) => this == next,
            None => block.index == 0 || self.blind,
        };
        if !fits {
            let message = format!(
                "event {} of {} of commit {} does not follow the events before it",
                block.index + 1,
                block.count,
                CommitId::from_bytes(block.commit),
            );
            self.fault(event, VerificationFaultKind::Commit, message);
        }
        let next = block.index + 1;
        self.open = (next < block.count).then_some((block.commit, next, block.count));
        self.blind = false;
    }

    /// Something could not be read. Its own fault is reported where it belongs; what follows is
    /// not compared with it.
    pub(super) fn lost(&mut self) {
        self.open = None;
        self.blind = true;
    }

    /// The log ends here.
    pub(super) fn finish(&mut self) {
        if let Some((commit, next, count)) = self.open.take() {
            let message = format!(
                "the log ends after {next} of {count} events of commit {}",
                CommitId::from_bytes(commit)
            );
            let kind = VerificationFaultKind::Commit;
            self.note(VerificationFault::of_log(
                Some(self.position),
                kind,
                message,
            ));
        }
    }

    fn fault(&mut self, event: &HashedEvent, kind: VerificationFaultKind, message: String) {
        let (stream, position) = (&event.stream, Some(event.position));
        self.note(VerificationFault::of(
            stream,
            event.version,
            position,
            kind,
            message,
        ));
    }

    fn note(&mut self, fault: VerificationFault) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(fault);
        }
    }
}
