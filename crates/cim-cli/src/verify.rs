//! Proof that the store holds what was stored.
//!
//! Two passes, each by a way of its own. The first reads every stream and checks its chain: each
//! event's bytes hash to its CID and name the event before it, up to the stream's head. The second
//! reads the log once and checks positions, times and commits, and that it holds the very events
//! that the streams hold. Memory is one head per stream.

use std::sync::Arc;

use cim_ipld::{ChainFault, ChainFaultKind, ChainHead, ChainVerifier};
use cim_store::{
    Context, Direction, EventCid, EventLog, EventLogError, Fault, Head, LogQuery, Position,
    RecordedEvent, StreamPattern, StreamRange, Timestamp, Version,
};
use futures_util::TryStreamExt;
use serde::Serialize;

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct VerifyFault {
    /// The stream; `None` where it is the log as a whole.
    pub(crate) stream: Option<String>,
    /// The version at which it shows.
    pub(crate) version: Option<u64>,
    /// The position at which it shows.
    pub(crate) position: Option<u64>,
    /// One word for what is wrong; `docs/cli.md` lists them.
    pub(crate) kind: &'static str,
    /// A sentence.
    pub(crate) message: String,
}

/// What was verified so far.
#[derive(Debug, Default)]
pub(crate) struct Verification {
    pub(crate) streams: u64,
    pub(crate) events: u64,
    /// Events of the log pass.
    pub(crate) log_events: u64,
    pub(crate) faults: Vec<VerifyFault>,
    /// The sum over the CIDs of all events that the streams hold: order does not matter to it.
    sum: u128,
}

/// The heads of the streams to verify, by name.
pub(crate) async fn heads(
    log: &Arc<dyn EventLog>,
    pattern: &StreamPattern,
) -> Result<Vec<Head>, EventLogError> {
    let heads = log.streams(&Context::new(), pattern).await?;
    let mut heads: Vec<Head> = heads.try_collect().await?;
    heads.sort_by(|one, other| one.stream.cmp(&other.stream));
    Ok(heads)
}

impl Verification {
    /// Verifies one stream up to this head. Damage is noted; any other error ends the work.
    pub(crate) async fn stream(
        &mut self,
        log: &Arc<dyn EventLog>,
        head: &Head,
    ) -> Result<(), EventLogError> {
        self.streams += 1;
        let mut chain = ChainVerifier::start(head.stream.as_str());
        let walked = self.walk(log, head, &mut chain).await;
        let version = chain.head().map_or(0, |verified| verified.version) + 1;
        match walked {
            Ok(None) => {}
            Ok(Some(fault)) => self.faults.push(fault),
            Err(error) if error.is_integrity() => self.faults.push(VerifyFault {
                stream: Some(head.stream.to_string()),
                version: Some(version),
                position: None,
                kind: "damaged",
                message: error.to_string(),
            }),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn walk(
        &mut self,
        log: &Arc<dyn EventLog>,
        head: &Head,
        chain: &mut ChainVerifier,
    ) -> Result<Option<VerifyFault>, EventLogError> {
        let ctx = Context::new();
        let whole = StreamRange::all().to(head.version);
        let mut events = match log.read_stream(&ctx, &head.stream, whole).await {
            Ok(events) => events,
            Err(error) if error.fault() == Some(Fault::NotFound) => {
                let Some(first) = first_after_truncation(log, head).await? else {
                    return Ok(None); // every event of it was truncated
                };
                if let Some(previous) = first.previous {
                    let before = ChainHead {
                        version: first.version.get() - 1,
                        cid: previous,
                    };
                    *chain = ChainVerifier::resume(head.stream.as_str(), before);
                }
                let rest = StreamRange::from(first.version).to(head.version);
                log.read_stream(&ctx, &head.stream, rest).await?
            }
            Err(error) => return Err(error),
        };
        let mut block = Vec::new();
        while let Some(event) = events.try_next().await? {
            block.clear();
            event.block().encode_into(&mut block);
            if let Err(fault) = chain.push(&block, &event.cid) {
                return Ok(Some(chain_fault(&fault, &event)));
            }
            self.events += 1;
            self.sum = self.sum.wrapping_add(share(&event.cid));
        }
        let last = ChainHead {
            version: head.version.get(),
            cid: head.cid,
        };
        Ok((chain.head() != Some(last)).then(|| VerifyFault {
            stream: Some(head.stream.to_string()),
            version: Some(head.version.get()),
            position: Some(head.position.get()),
            kind: "head",
            message: match chain.head() {
                Some(found) => format!(
                    "the head names version {} and {}, but the events end with version {} and {}",
                    head.version, head.cid, found.version, found.cid
                ),
                None => format!(
                    "the head names version {}, but there are no events",
                    head.version
                ),
            },
        }))
    }

    /// Reads the log once. `all` says that every stream was verified before, so that both must
    /// hold the same events.
    pub(crate) async fn log(
        &mut self,
        log: &Arc<dyn EventLog>,
        mut each: impl FnMut(u64),
    ) -> Result<(), EventLogError> {
        let mut order = LogOrder::default();
        let read = async {
            let ctx = Context::new();
            let begin = log.stats(&ctx).await?.truncated_through;
            let mut events = log.read_log(&ctx, LogQuery::all().after(begin)).await?;
            while let Some(event) = events.try_next().await? {
                order.push(&event, &mut self.faults);
                self.log_events = order.events;
                each(order.events);
            }
            Ok(())
        };
        let read: Result<(), EventLogError> = read.await;
        match read {
            Ok(()) => {}
            Err(error) if error.is_integrity() => {
                self.faults.push(VerifyFault {
                    stream: None,
                    version: None,
                    position: Some(order.position.get()),
                    kind: "damaged",
                    message: format!("after position {}: {error}", order.position),
                });
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        order.finish(&mut self.faults);
        if (order.events, order.sum) != (self.events, self.sum) && self.faults.is_empty() {
            self.faults.push(VerifyFault {
                stream: None,
                version: None,
                position: None,
                kind: "index",
                message: format!(
                    "the log holds {} events and the streams {}, and they are not the same",
                    order.events, self.events
                ),
            });
        }
        Ok(())
    }
}

/// The first event that a truncation left of a stream; `None` when it left nothing.
async fn first_after_truncation(
    log: &Arc<dyn EventLog>,
    head: &Head,
) -> Result<Option<RecordedEvent>, EventLogError> {
    let ctx = Context::new();
    let (mut low, mut high) = (Version::new(1), head.version.next());
    let mut found = None;
    // Versions below `low` are gone, those from `high` are there.
    while low < high {
        let middle = Version::new(low.get() + (high.get() - low.get()) / 2);
        let one = StreamRange {
            from: middle,
            to: Some(middle),
            direction: Direction::Forwards,
            limit: None,
        };
        let read = match log.read_stream(&ctx, &head.stream, one).await {
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

/// What one event adds to a sum that is to tell two sets of events apart.
fn share(cid: &EventCid) -> u128 {
    let mut half = [0; 16];
    half.copy_from_slice(&cid.digest()[..16]);
    u128::from_be_bytes(half)
}

fn chain_fault(fault: &ChainFault, event: &RecordedEvent) -> VerifyFault {
    let kind = match fault.kind {
        ChainFaultKind::Altered { .. } => "altered",
        ChainFaultKind::Malformed(_) => "malformed",
        ChainFaultKind::WrongStream { .. } => "wrong_stream",
        ChainFaultKind::Gap { .. } => "gap",
        ChainFaultKind::Repeated { .. } => "repeated",
        ChainFaultKind::Reordered { .. } => "reordered",
        ChainFaultKind::Rival { .. } => "rival",
        ChainFaultKind::Forked { .. } => "forked",
        ChainFaultKind::MissingPrevious { .. } => "missing_previous",
        ChainFaultKind::UnexpectedPrevious { .. } => "unexpected_previous",
        _ => "chain",
    };
    VerifyFault {
        stream: Some(fault.stream.clone()),
        version: Some(fault.version),
        position: Some(event.position.get()),
        kind,
        message: fault.to_string(),
    }
}

/// What must hold from one event of the log to the next.
#[derive(Debug, Default)]
struct LogOrder {
    events: u64,
    sum: u128,
    position: Position,
    stored_at: Option<Timestamp>,
    /// The commit that is being read, and how many of its events there must still be.
    open: Option<(cim_store::CommitId, u32, u32)>,
}

impl LogOrder {
    fn push(&mut self, event: &RecordedEvent, faults: &mut Vec<VerifyFault>) {
        let mut fault = |kind, message: String| {
            faults.push(VerifyFault {
                stream: Some(event.stream.to_string()),
                version: Some(event.version.get()),
                position: Some(event.position.get()),
                kind,
                message,
            });
        };
        if event.position <= self.position {
            let message = format!("position {} follows {}", event.position, self.position);
            fault("order", message);
        }
        if self
            .stored_at
            .is_some_and(|before| event.stored_at < before)
        {
            fault(
                "order",
                format!("stored at {}, before the event before it", event.stored_at),
            );
        }
        if !event.has_its_cid() {
            fault(
                "altered",
                format!("the event does not hash to its CID {}", event.cid),
            );
        }
        let this = (event.commit_id, event.commit_index, event.commit_count);
        let fits = match self.open {
            Some(next) => this == next,
            None => event.commit_index == 0 && event.commit_count > 0,
        };
        if !fits {
            fault(
                "commit",
                format!(
                    "event {} of {} of commit {} does not follow the events before it",
                    event.commit_index + 1,
                    event.commit_count,
                    event.commit_id
                ),
            );
        }
        let next = event.commit_index + 1;
        self.open = (next < event.commit_count).then_some((this.0, next, this.2));
        self.events += 1;
        self.sum = self.sum.wrapping_add(share(&event.cid));
        self.position = event.position;
        self.stored_at = Some(event.stored_at);
    }

    fn finish(&self, faults: &mut Vec<VerifyFault>) {
        if let Some((commit, next, count)) = self.open {
            faults.push(VerifyFault {
                stream: None,
                version: None,
                position: Some(self.position.get()),
                kind: "commit",
                message: format!("the log ends after {next} of {count} events of commit {commit}"),
            });
        }
    }
}
