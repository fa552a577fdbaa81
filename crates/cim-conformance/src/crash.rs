//! What a test needs to kill a writing process and to judge what it left.
//!
//! The test starts a child process that opens the store and writes through a [`Recorder`] whose
//! sink is the child's standard output. Each line of that journal is written before the child goes
//! on: a call before it is carried out, an acknowledgement before it is relied on. So when the
//! child is killed, the lines that the parent has received say what was asked and what was
//! promised. The parent opens the store again and hands both to [`check_after_crash`].
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use cim_conformance::crash::{Journal, check_after_crash};
//! # use cim_conformance::history::Recorder;
//! # use cim_store::{memory::MemoryStore, *};
//! // In the child, until it is killed:
//! # let store = MemoryStore::new();
//! let recorder = Recorder::new(store.log(), Arc::new(SystemIds)).with_sink(std::io::stdout());
//! let writer = recorder.client();
//!
//! // In the parent, after each kill:
//! # async fn parent(store: MemoryStore, mut journal: Journal, received: &str) -> Result<(), Box<dyn std::error::Error>> {
//! journal.add_run(received)?;
//! let report = check_after_crash(&*store.log(), &mut journal).await;
//! # Ok(())
//! # }
//! ```

use std::collections::HashMap;

use cim_store::{Context, EventId, EventLog, StreamId, Version};

use crate::history::{
    AppendCall, Call, FinalState, History, HistoryError, Outcome, Report, Violation, Written, check,
};

#[cfg(doc)]
use crate::history::Recorder;

/// What was asked of a store and promised by it, over all its runs so far.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    history: History,
    runs: u64,
}

/// What a store held after a crash, when all of it was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashReport {
    /// How many runs the journal has.
    pub runs: u64,
    /// Commits of the last run that were under way when it ended, and were stored.
    pub settled_as_stored: usize,
    /// Commits of the last run that were under way when it ended, and were not stored.
    pub settled_as_lost: usize,
    /// All runs together.
    pub history: Report,
}

impl Journal {
    /// No run yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what a run wrote to its sink before it ended. A torn last line is ignored.
    ///
    /// # Errors
    /// When a whole line is not one that a recorder writes.
    pub fn add_run(&mut self, lines: &str) -> Result<(), HistoryError> {
        self.history.then(History::from_json_lines(lines)?);
        self.runs += 1;
        Ok(())
    }

    /// All that happened, to be kept when a check fails.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// From now on, commits that were under way count as what the store says: what was found
    /// stays, what was not found never comes.
    fn settle(&mut self, left: &FinalState) -> (usize, usize) {
        let places: HashMap<EventId, (&StreamId, Version)> = left
            .events
            .iter()
            .map(|event| (event.id, (&event.stream, event.version)))
            .collect();
        let (mut stored, mut lost) = (0, 0);
        let end = self.history.end;
        for operation in &mut self.history.operations {
            let (Call::Append(call), Outcome::Unknown) = (&operation.call, &operation.outcome)
            else {
                continue;
            };
            operation.completed = Some(end);
            operation.outcome = match found(call, &places) {
                written if written.is_empty() => {
                    lost += 1;
                    Outcome::Failed
                }
                written => {
                    stored += 1;
                    Outcome::Appended(written)
                }
            };
        }
        self.history.end += 1;
        (stored, lost)
    }
}

/// Where the commit's events are.
fn found(call: &AppendCall, places: &HashMap<EventId, (&StreamId, Version)>) -> Vec<Written> {
    let writes = call.writes.iter().filter_map(|write| {
        let (_, first) = places.get(write.events.first()?)?;
        let (_, last) = places.get(write.events.last()?)?;
        Some(Written {
            stream: write.stream.clone(),
            first: *first,
            last: *last,
        })
    });
    writes.collect()
}

/// Reads the whole log and checks it against what was asked and promised: acknowledged commits are
/// there, once, at their versions; those that were under way are there whole or not at all; nothing
/// else is; versions have no gaps, positions increase, chains verify.
///
/// Where all holds, what was under way is settled: from then on the journal expects it to stay as
/// it was found.
///
/// # Errors
/// Everything that does not hold.
pub async fn check_after_crash(
    log: &dyn EventLog,
    journal: &mut Journal,
) -> Result<CrashReport, Vec<Violation>> {
    let left = FinalState::read(log, &Context::new())
        .await
        .map_err(|error| vec![Violation::Unreadable(error)])?;
    judge(&left, journal)
}

fn judge(left: &FinalState, journal: &mut Journal) -> Result<CrashReport, Vec<Violation>> {
    let report = check(&journal.history, left)?;
    let (settled_as_stored, settled_as_lost) = journal.settle(left);
    Ok(CrashReport {
        runs: journal.runs,
        settled_as_stored,
        settled_as_lost,
        history: report,
    })
}
