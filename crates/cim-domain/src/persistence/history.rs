//! The events of an aggregate as they were stored.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use cim_store::{EventStream, RecordedEvent};
use futures_core::Stream;
use futures_util::{StreamExt, TryStreamExt as _};

use super::checked_loads::StreamCheck;
use super::{RepositoryError, replay};
use crate::Aggregate;

/// An event and everything that is known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recorded<E> {
    /// The event, lifted to its schema version of today.
    pub event: E,
    /// What was stored: version, position, times, commit, correlation, metadata, CID and the
    /// payload as it was written.
    pub recorded: RecordedEvent,
}

/// Events of one aggregate in order, or the error that ends them.
///
/// A [`Stream`], for those who use the `futures` crates; [`next`](Self::next) and
/// [`all`](Self::all) need neither.
#[must_use = "a history reads nothing until it is asked for events"]
pub struct History<A> {
    events: EventStream,
    check: StreamCheck,
    aggregate: PhantomData<fn() -> A>,
}

impl<A: Aggregate> History<A> {
    pub(super) fn new(events: EventStream, check: StreamCheck) -> Self {
        Self {
            events,
            check,
            aggregate: PhantomData,
        }
    }

    /// The next event; `None` after the last one.
    ///
    /// # Errors
    /// `Decode` for an event that is not understood; `Integrity` for one that is not what was
    /// stored; `Store`.
    pub async fn next(&mut self) -> Option<Result<Recorded<A::Event>, RepositoryError<A::Error>>> {
        StreamExt::next(self).await
    }

    /// All events that are left. For histories that fit into memory.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn all(self) -> Result<Vec<Recorded<A::Event>>, RepositoryError<A::Error>> {
        self.try_collect().await
    }
}

impl<A: Aggregate> Stream for History<A> {
    type Item = Result<Recorded<A::Event>, RepositoryError<A::Error>>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        self.events.poll_next_unpin(task).map(|next| {
            let recorded = match next? {
                Ok(recorded) => recorded,
                Err(error) => return Some(Err(error.into())),
            };
            if let Err(fault) = self.check.check(&recorded) {
                return Some(Err(RepositoryError::integrity(&recorded, fault)));
            }
            let event = replay::decode(&recorded).map_err(RepositoryError::from);
            Some(event.map(|event| Recorded { event, recorded }))
        })
    }
}

impl<A> fmt::Debug for History<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("History")
    }
}
