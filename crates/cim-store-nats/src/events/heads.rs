//! Heads of streams, through the leader.

use cim_store::{EventLogError, Head, RecordedEvent, StreamId};

use super::log::SharedLog;
use crate::api::{Get, StoredMessage};
use crate::budget::Budget;
use crate::doubt::Doubt;
use crate::subjects;
use crate::wire::{Arrived, commit_of, decode_event};

impl SharedLog {
    /// The last event whose subject matches.
    pub(super) async fn last_event(
        &self,
        subject: &str,
        budget: &Budget,
    ) -> Result<Option<RecordedEvent>, EventLogError> {
        let get = Get::Last {
            last_by_subj: subject,
        };
        let message = self.get(&get, budget).await?;
        message.as_ref().map(event_of).transpose()
    }

    /// One message, through the leader.
    pub(super) async fn get(
        &self,
        get: &Get<'_>,
        budget: &Budget,
    ) -> Result<Option<StoredMessage>, EventLogError> {
        let stream = self.session.log_stream();
        let mut doubt = Doubt::new(budget);
        let message = loop {
            match self.session.api.get(stream, get, budget).await {
                Err(failure) if doubt.again(&failure).await => {}
                answer => break answer,
            }
        };
        message.map_err(|failure| self.session.report(failure, "reading a message"))
    }

    /// The head of a stream as its leader has it, and remembers it.
    pub(super) async fn read_head(
        &self,
        stream: &StreamId,
        budget: &Budget,
    ) -> Result<Option<Head>, EventLogError> {
        // A server that was the leader may answer for a moment, and is behind. Streams never go back.
        let known = self.heads.get(stream).map(|head| head.version);
        let subject = subjects::stream(stream);
        let mut attempt = 0;
        let event = loop {
            let event = self.last_event(&subject, budget).await?;
            if event.as_ref().map(|event| event.version) >= known {
                break event;
            }
            attempt += 1;
            if !budget.pause(attempt).await {
                return Err(EventLogError::unavailable(
                    "the server that answered has less of the stream than there was",
                )
                .with("stream", stream));
            }
        };
        let Some(event) = event else {
            return Ok(None);
        };
        self.check_whole(&event, budget).await?;
        let head = head_of(&event);
        self.session.saw(head.position.get());
        self.heads.put(&head);
        Ok(Some(head))
    }

    /// Checks that the commit of a stream's last event is whole: its last event stands where it
    /// must.
    async fn check_whole(
        &self,
        event: &RecordedEvent,
        budget: &Budget,
    ) -> Result<(), EventLogError> {
        let missing = event.commit_count - 1 - event.commit_index;
        if missing == 0 {
            return Ok(());
        }
        let seq = event.position.get() + u64::from(missing);
        let last = self.get(&Get::Sequence { seq }, budget).await?;
        let whole = last.is_some_and(|last| commit_of(last.headers()) == Some(event.commit_id));
        if whole {
            Ok(())
        } else {
            Err(incomplete(event))
        }
    }
}

/// An event of a message that was read through the leader.
pub(super) fn event_of(message: &StoredMessage) -> Result<RecordedEvent, EventLogError> {
    let arrived = Arrived {
        subject: &message.subject,
        sequence: message.sequence,
        stored_at: message.stored_at,
        headers: message.headers(),
        payload: message.payload.clone(),
    };
    decode_event(arrived, &mut Vec::new())
}

/// The head that an event makes.
pub(super) fn head_of(event: &RecordedEvent) -> Head {
    Head {
        stream: event.stream.clone(),
        version: event.version,
        position: event.position,
        cid: event.cid,
    }
}

/// A commit of which events are missing.
#[cold]
pub(super) fn incomplete(event: &RecordedEvent) -> EventLogError {
    EventLogError::integrity("a commit is incomplete: some of its events are missing")
        .with("commit", event.commit_id)
        .with("stream", &event.stream)
        .with("position", event.position)
        .with(
            "event",
            format!("{} of {}", event.commit_index + 1, event.commit_count),
        )
        .with_hint(
            "a server lost a part of it in a power cut or with a full disk: restore the JetStream \
             stream from a backup or from a replica that has it",
        )
}
