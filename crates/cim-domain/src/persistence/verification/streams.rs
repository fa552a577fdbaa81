//! Verification by reading streams, each the way an application reads it: what does not need the
//! whole log, and what shows that the store's index leads to the events.

use std::sync::Arc;

use cim_ipld::{ChainHead, ChainVerifier};
use cim_store::{
    Context, EventLog, EventLogError, Fault, Head, RecordedEvent, StreamId, StreamRange, Version,
};
use futures_util::TryStreamExt;

use super::fault::{VerificationFault, VerificationFaultKind};
use super::heads::VerifiedHead;

/// What a walk along one stream found.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) stream: StreamId,
    pub(super) events: u64,
    /// The last event that is verified.
    pub(super) head: Option<ChainHead>,
    /// What was verified before.
    known: Option<VerifiedHead>,
    pub(super) fault: Option<VerificationFault>,
    /// Whether the log has to be examined to say what exactly is wrong.
    pub(super) unclear: bool,
}

/// Walks along one stream from what is known of it to the head that the store lists. An error is
/// one of being unable to look.
pub(super) async fn walk(
    log: Arc<dyn EventLog>,
    ctx: Context,
    listed: Head,
    known: Option<VerifiedHead>,
    from_the_beginning: bool,
) -> Result<Walk, EventLogError> {
    let mut walk = Walk {
        stream: listed.stream.clone(),
        events: 0,
        head: known
            .filter(|_| !from_the_beginning)
            .map(|known| known.chain()),
        known,
        fault: None,
        unclear: false,
    };
    match walk.go(&*log, &ctx, &listed).await {
        Ok(()) => Ok(walk),
        Err(error) if error.is_integrity() => {
            let version = walk.next();
            let (stream, kind) = (&walk.stream, VerificationFaultKind::Index);
            let message = error.to_string();
            walk.fault = Some(VerificationFault::of(stream, version, None, kind, message));
            walk.unclear = true;
            Ok(walk)
        }
        // A store that is only inspected reads no streams.
        Err(error) if error.fault() == Some(Fault::Unsupported) => {
            walk.unclear = true;
            Ok(walk)
        }
        Err(error) => Err(error),
    }
}

impl Walk {
    fn next(&self) -> Version {
        Version::new(self.head.map_or(0, |head| head.version)).next()
    }

    async fn go(
        &mut self,
        log: &dyn EventLog,
        ctx: &Context,
        listed: &Head,
    ) -> Result<(), EventLogError> {
        let next = self.next();
        if let Some(known) = self
            .known
            .filter(|known| known.version > listed.version.get())
        {
            let ends = listed.version.get();
            self.fault = Some(VerificationFault::of_shorter(&self.stream, &known, ends));
            return Ok(());
        }
        if next <= listed.version {
            self.read(log, ctx, listed, next).await?;
        }
        if self.fault.is_none() {
            self.compare(listed);
        }
        Ok(())
    }

    async fn read(
        &mut self,
        log: &dyn EventLog,
        ctx: &Context,
        listed: &Head,
        mut from: Version,
    ) -> Result<(), EventLogError> {
        let range = |from| StreamRange::from(from).to(listed.version);
        let mut events = match log.read_stream(ctx, &self.stream, range(from)).await {
            Err(error) if error.fault() == Some(Fault::NotFound) => {
                let Some(first) = first_after_truncation(log, ctx, listed).await? else {
                    self.fault = self.known.and_then(|known| {
                        VerificationFault::of_truncated(&self.stream, &known, Some(listed))
                    });
                    self.head = Some(ChainHead {
                        version: listed.version.get(),
                        cid: listed.cid,
                    });
                    return Ok(()); // every event of it was truncated
                };
                from = first.version;
                self.head = first.previous.map(|cid| ChainHead {
                    version: from.get() - 1,
                    cid,
                });
                let known = self.known.map(|known| known.chain());
                let rival = known.zip(self.head).filter(|(known, before)| {
                    known.version == before.version && known.cid != before.cid
                });
                if let Some((known, before)) = rival {
                    let message = format!(
                        "it follows {}, but {} was verified before",
                        before.cid, known.cid
                    );
                    let (kind, at) = (VerificationFaultKind::Forked, Some(first.position));
                    let fault = VerificationFault::of(&self.stream, from, at, kind, message);
                    self.fault = Some(fault);
                    return Ok(());
                }
                log.read_stream(ctx, &self.stream, range(from)).await?
            }
            events => events?,
        };
        let mut chain = match self.head {
            Some(head) => ChainVerifier::resume(self.stream.as_str(), head),
            None => ChainVerifier::start(self.stream.as_str()),
        };
        let mut block = Vec::new();
        while let Some(event) = events.try_next().await? {
            block.clear();
            event.block().encode_into(&mut block);
            match chain.push(&block, &event.cid) {
                Ok(head) => {
                    let known = self.known.filter(|known| known.version == head.version);
                    if let Some(known) = known.filter(|known| known.cid != head.cid) {
                        let (stream, at) = (&self.stream, event.position);
                        self.fault =
                            Some(VerificationFault::of_replaced(stream, at, &known, head.cid));
                        return Ok(());
                    }
                    self.head = Some(head);
                }
                Err(fault) => {
                    let fault = VerificationFault::of_chain(&self.stream, event.position, &fault);
                    self.fault = Some(fault);
                    return Ok(());
                }
            }
            self.events += 1;
        }
        Ok(())
    }

    fn compare(&mut self, listed: &Head) {
        let expected = ChainHead {
            version: listed.version.get(),
            cid: listed.cid,
        };
        if self.head == Some(expected) {
            return;
        }
        let reached = self.head.map_or(0, |head| head.version);
        let (version, kind, message) = match self.head {
            Some(head) if head.version == expected.version => {
                let (kind, whose) = if self.events > 0 {
                    (VerificationFaultKind::Index, "the event itself is")
                } else {
                    (
                        VerificationFaultKind::Forked,
                        "what was verified before was",
                    )
                };
                let message = format!("the head names {}, but {whose} {}", listed.cid, head.cid);
                (head.version, kind, message)
            }
            _ => {
                let message = format!(
                    "the stream ends with version {reached}, but its head says version {} at \
                     position {}",
                    listed.version, listed.position
                );
                (reached + 1, VerificationFaultKind::Cut, message)
            }
        };
        let (stream, version) = (&self.stream, Version::new(version));
        let position = (kind != VerificationFaultKind::Cut).then_some(listed.position);
        self.fault = Some(VerificationFault::of(
            stream, version, position, kind, message,
        ));
    }
}

/// The first event that a truncation left of a stream; `None` when it left nothing.
async fn first_after_truncation(
    log: &dyn EventLog,
    ctx: &Context,
    head: &Head,
) -> Result<Option<RecordedEvent>, EventLogError> {
    let (mut low, mut high) = (Version::new(1), head.version.next());
    let mut found = None;
    // Versions below `low` are gone, those from `high` are there.
    while low < high {
        let middle = Version::new(low.get() + (high.get() - low.get()) / 2);
        let one = StreamRange::from(middle).to(middle);
        let read = match log.read_stream(ctx, &head.stream, one).await {
            Ok(mut events) => events.try_next().await,
            Err(error) => Err(error),
        };
        match read {
            Ok(Some(event)) => {
                high = middle;
                found = Some(event);
            }
            Ok(None) => low = middle.next(),
            Err(error) if error.fault() == Some(Fault::NotFound) => low = middle.next(),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}
