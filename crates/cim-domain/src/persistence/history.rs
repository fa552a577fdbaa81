//! The events of an aggregate as they were stored.

use std::fmt;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use cim_store::{Cause, EventStream, RecordedEvent};
use futures_core::Stream;
use futures_util::{StreamExt, TryStreamExt as _};

use super::RepositoryError;
use super::checked_loads::StreamCheck;
use super::decoding::Reader;
use crate::Aggregate;
use crate::event::{Decoded, DecodedEvents};

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

impl<E> From<&Recorded<E>> for Cause {
    fn from(event: &Recorded<E>) -> Self {
        Self::from(&event.recorded)
    }
}

/// Events of one aggregate in the order that was asked for.
///
/// An event that is not understood, or not what was stored, is an error in its place, and the others
/// follow it; an error of the log ends the history.
///
/// A [`Stream`], for those who use the `futures` crates; [`next`](Self::next) and
/// [`all`](Self::all) need neither.
#[must_use = "a history reads nothing until it is asked for events"]
pub struct History<A: Aggregate> {
    events: EventStream,
    check: StreamCheck,
    reader: Reader,
    /// What is left of a stored event that is several events today.
    rest: Option<(DecodedEvents<A::Event>, RecordedEvent)>,
}

impl<A: Aggregate> History<A> {
    pub(super) fn new(events: EventStream, check: StreamCheck, reader: Reader) -> Self {
        Self {
            events,
            check,
            reader,
            rest: None,
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

    /// How many events were passed over so far, because their types are unknown and the repository
    /// [passes over them](super::UnknownEvents); 0 if it fails at them.
    pub fn skipped(&self) -> u64 {
        self.reader.skipped()
    }

    /// Those events, where the repository [keeps](super::UnknownEvents::KeepRaw) them. They stay in memory
    /// as long as the history does.
    pub fn unknown(&self) -> &[RecordedEvent] {
        self.reader.unknown()
    }

    /// All events that are left, or the first error. For histories that fit into memory.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn all(self) -> Result<Vec<Recorded<A::Event>>, RepositoryError<A::Error>> {
        self.try_collect().await
    }
}

/// Nothing in it is ever pinned, whatever the events are.
impl<A: Aggregate> Unpin for History<A> {}

impl<A: Aggregate> Stream for History<A> {
    type Item = Result<Recorded<A::Event>, RepositoryError<A::Error>>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some((rest, recorded)) = &mut self.rest {
                match rest.next() {
                    Some(event) => {
                        let recorded = recorded.clone();
                        return Poll::Ready(Some(Ok(Recorded { event, recorded })));
                    }
                    None => self.rest = None,
                }
            }
            let recorded = match ready!(self.events.poll_next_unpin(task)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                Some(Ok(recorded)) => recorded,
            };
            if let Err(fault) = self.check.check(&recorded) {
                let error = RepositoryError::integrity(&recorded, fault);
                return Poll::Ready(Some(Err(error)));
            }
            match self.reader.read(&recorded) {
                Ok(Decoded::One(event)) => {
                    return Poll::Ready(Some(Ok(Recorded { event, recorded })));
                }
                Ok(decoded) => self.rest = Some((decoded.into_iter(), recorded)),
                Err(fault) => return Poll::Ready(Some(Err(fault.into()))),
            }
        }
    }
}

impl<A: Aggregate> fmt::Debug for History<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("History")
    }
}
