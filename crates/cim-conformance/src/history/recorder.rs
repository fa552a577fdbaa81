//! Writing down what concurrent clients ask of a log, and what they are told.

use std::fmt;
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use cim_store::ordered::one_by_one;
use cim_store::{
    Append, Appended, AppendedInOrder, CommitId, Context, Direction, EventFilter, EventId,
    EventLog, EventLogError, EventLogErrorKind, EventStream, Examination, Head, HeadStream,
    IdGenerator, LogCapabilities, LogQuery, LogStats, OrderedAppend, Position, RecordedEvent,
    Resolution, StreamId, StreamPattern, StreamRange, Truncation, Version,
};
use futures_util::{StreamExt, stream};

use super::operation::{
    AppendCall, Call, CheckCall, History, Line, Outcome, Seen, WriteCall, Written,
};

/// Writes down the calls of clients and their answers.
///
/// Appends, whole forward reads of streams, and heads are recorded; other operations pass. A
/// recorder with a [sink](Self::with_sink) also writes each line there before it goes on, so that
/// what a killed process was told can be known afterwards.
#[derive(Clone, Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
}

struct Shared {
    log: Arc<dyn EventLog>,
    ids: Arc<dyn IdGenerator>,
    tape: Mutex<Tape>,
    clients: AtomicU32,
}

#[derive(Default)]
struct Tape {
    lines: Vec<Line>,
    operations: u64,
    sink: Option<Box<dyn Write + Send>>,
}

impl Recorder {
    /// Records what is asked of `log`. Commits and events without an id get one from `ids`, so
    /// that they can be found again.
    pub fn new(log: Arc<dyn EventLog>, ids: Arc<dyn IdGenerator>) -> Self {
        Self {
            shared: Arc::new(Shared {
                log,
                ids,
                tape: Mutex::default(),
                clients: AtomicU32::new(0),
            }),
        }
    }

    /// Also writes each line to `sink` and flushes it, a call before it is carried out and an
    /// answer before it is given. Where the sink fails, nothing is asked any more.
    #[must_use]
    pub fn with_sink(self, sink: impl Write + Send + 'static) -> Self {
        self.shared.tape().sink = Some(Box::new(sink));
        self
    }

    /// A client: the log, as it is given to one caller. A client makes one call at a time.
    pub fn client(&self) -> Arc<dyn EventLog> {
        self.client_over(self.shared.log.clone())
    }

    /// A client that reaches the same log in another way: over a connection of its own, say.
    pub fn client_over(&self, log: Arc<dyn EventLog>) -> Arc<dyn EventLog> {
        Arc::new(Client {
            number: self.shared.clients.fetch_add(1, Ordering::Relaxed),
            shared: self.shared.clone(),
            log,
        })
    }

    /// What has happened so far.
    pub fn history(&self) -> History {
        // Every answer on the tape follows its call, once.
        History::from_lines(&self.shared.tape().lines).unwrap_or_default()
    }
}

impl Shared {
    fn tape(&self) -> MutexGuard<'_, Tape> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn called(&self, client: u32, call: Call) -> Result<u64, EventLogError> {
        let mut tape = self.tape();
        let operation = tape.operations;
        tape.operations += 1;
        tape.write(Line::Called {
            operation,
            client,
            call,
        })?;
        Ok(operation)
    }

    fn answered(&self, operation: u64, outcome: Outcome) -> Result<(), EventLogError> {
        self.tape().write(Line::Answered { operation, outcome })
    }
}

impl Tape {
    fn write(&mut self, line: Line) -> Result<(), EventLogError> {
        if let Some(sink) = &mut self.sink {
            let text = line.to_text();
            sink.write_all(text.as_bytes())
                .and_then(|()| sink.flush())
                .map_err(|error| {
                    EventLogError::unavailable("the history can't be written").with_source(error)
                })?;
        }
        self.lines.push(line);
        Ok(())
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a recorder of {:?}", self.log)
    }
}

#[derive(Debug)]
struct Client {
    number: u32,
    shared: Arc<Shared>,
    log: Arc<dyn EventLog>,
}

fn call_of(append: &Append, commit: CommitId) -> AppendCall {
    let write = |write: &cim_store::StreamWrite| WriteCall {
        stream: write.stream.clone(),
        expected: write.expected,
        events: write.events.iter().filter_map(|event| event.id).collect(),
    };
    let check = |check: &cim_store::Check| CheckCall {
        stream: check.stream.clone(),
        version: check.version,
    };
    AppendCall {
        commit,
        writes: append.writes.iter().map(write).collect(),
        checks: append.checks.iter().map(check).collect(),
    }
}

fn outcome_of(call: &AppendCall, result: &Result<Appended, EventLogError>) -> Outcome {
    match result {
        Ok(appended) => {
            let written = call.writes.iter().filter_map(|write| {
                let head = appended.head(&write.stream)?;
                let before = head.version.get().saturating_sub(write.events.len() as u64);
                Some(Written {
                    stream: write.stream.clone(),
                    first: Version::new(before + 1),
                    last: head.version,
                })
            });
            Outcome::Appended(written.collect())
        }
        Err(error) => match error.kind() {
            EventLogErrorKind::VersionConflict {
                stream,
                expected,
                actual,
            } => Outcome::Conflict {
                stream: stream.clone(),
                expected: *expected,
                actual: *actual,
            },
            EventLogErrorKind::Unknown { .. } => Outcome::Unknown,
            _ => Outcome::Failed,
        },
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl EventLog for Client {
    async fn append(&self, ctx: &Context, mut append: Append) -> Result<Appended, EventLogError> {
        let ids = &self.shared.ids;
        let commit = append.commit_id.unwrap_or_else(|| {
            append.fresh = true;
            CommitId::from_uuid(ids.next_uuid())
        });
        append.commit_id = Some(commit);
        for event in append.writes.iter_mut().flat_map(|write| &mut write.events) {
            event
                .id
                .get_or_insert_with(|| EventId::from_uuid(ids.next_uuid()));
        }
        let call = call_of(&append, commit);
        let operation = self
            .shared
            .called(self.number, Call::Append(call.clone()))?;
        let result = self.log.append(ctx, append).await;
        let outcome = outcome_of(&call, &result);
        if let Err(error) = self.shared.answered(operation, outcome) {
            // The answer could not be written down, so nobody may rely on it.
            return Err(
                EventLogError::unknown(commit, "the history can't be written").with_source(error),
            );
        }
        result
    }

    async fn append_in_order(&self, ctx: &Context, commits: Vec<OrderedAppend>) -> AppendedInOrder {
        one_by_one(self, ctx, commits).await
    }

    async fn read_at(
        &self,
        ctx: &Context,
        positions: &[Position],
    ) -> Result<Vec<RecordedEvent>, EventLogError> {
        self.log.read_at(ctx, positions).await
    }

    async fn examine(&self, ctx: &Context, after: Position) -> Result<Examination, EventLogError> {
        self.log.examine(ctx, after).await
    }

    async fn read_stream(
        &self,
        ctx: &Context,
        stream: &StreamId,
        range: StreamRange,
    ) -> Result<EventStream, EventLogError> {
        let whole = range.to.is_none() && range.limit.is_none();
        if !whole || range.direction == Direction::Backwards {
            return self.log.read_stream(ctx, stream, range).await;
        }
        let call = Call::Read {
            stream: stream.clone(),
            from: range.from,
        };
        let operation = self.shared.called(self.number, call)?;
        match self.log.read_stream(ctx, stream, range).await {
            Ok(events) => Ok(recorded(self.shared.clone(), operation, events)),
            Err(error) => {
                self.shared.answered(operation, Outcome::Failed)?;
                Err(error)
            }
        }
    }

    async fn read_log(&self, ctx: &Context, query: LogQuery) -> Result<EventStream, EventLogError> {
        self.log.read_log(ctx, query).await
    }

    async fn subscribe(
        &self,
        ctx: &Context,
        filter: EventFilter,
        after: Position,
    ) -> Result<EventStream, EventLogError> {
        self.log.subscribe(ctx, filter, after).await
    }

    async fn head(&self, ctx: &Context, stream: &StreamId) -> Result<Option<Head>, EventLogError> {
        let call = Call::Head {
            stream: stream.clone(),
        };
        let operation = self.shared.called(self.number, call)?;
        let result = self.log.head(ctx, stream).await;
        let outcome = match &result {
            Ok(head) => Outcome::Head(head.as_ref().map_or(Version::NONE, |head| head.version)),
            Err(_) => Outcome::Failed,
        };
        self.shared.answered(operation, outcome)?;
        result
    }

    async fn streams(
        &self,
        ctx: &Context,
        pattern: &StreamPattern,
    ) -> Result<HeadStream, EventLogError> {
        self.log.streams(ctx, pattern).await
    }

    async fn resolve(&self, ctx: &Context, commit: CommitId) -> Result<Resolution, EventLogError> {
        self.log.resolve(ctx, commit).await
    }

    async fn stats(&self, ctx: &Context) -> Result<LogStats, EventLogError> {
        self.log.stats(ctx).await
    }

    async fn truncate(&self, ctx: &Context, truncation: Truncation) -> Result<(), EventLogError> {
        self.log.truncate(ctx, truncation).await
    }

    fn capabilities(&self) -> LogCapabilities {
        self.log.capabilities()
    }
}

/// Notes what a read delivers, and records it when it ends. A read that is dropped before says
/// nothing.
fn recorded(shared: Arc<Shared>, operation: u64, events: EventStream) -> EventStream {
    let state = (shared, events, Vec::new());
    let noted = stream::try_unfold(state, move |(shared, mut events, mut seen)| async move {
        match events.next().await {
            Some(Ok(event)) => {
                seen.push(Seen {
                    version: event.version,
                    id: event.id,
                });
                Ok(Some((event, (shared, events, seen))))
            }
            Some(Err(error)) => {
                shared.answered(operation, Outcome::Failed)?;
                Err(error)
            }
            None => {
                shared.answered(operation, Outcome::Read(seen))?;
                Ok(None)
            }
        }
    });
    noted.boxed()
}
