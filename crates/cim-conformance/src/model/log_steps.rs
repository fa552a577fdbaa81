//! Random histories of a log.

use std::time::Duration;

use cim_store::{
    Append, Appended, Clock, CommitId, EventFilter, EventId, EventLogError, EventLogErrorKind,
    EventType, ExpectedVersion, Fault, Head, LogQuery, NewEvent, OrderedAppend, Position,
    RecordedEvent, Resolution, StreamId, StreamPattern, StreamRange, SubjectPattern, Version,
};
use futures_util::TryStreamExt;

use super::{LogModel, LogRefusal, ModelEvent, Rng, failed_at, same};
use crate::suite::{CaseFailure, CaseResult};
use crate::trial::{Trial, collect, stream, typed};

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    Append(Append),
    /// Appends several commits in order.
    AppendInOrder(Vec<Append>),
    /// Reads a stream.
    Read(StreamId, StreamRange),
    /// Reads the log after the end of so many commits (0: from the beginning).
    ReadLog {
        after: usize,
        limit: Option<u64>,
        id: Option<&'static str>,
        event_type: Option<&'static str>,
    },
    /// Reads the events with these numbers, from 0, at their positions; the number of events there
    /// are means the position behind the last one.
    ReadAt(Vec<usize>),
    Head(StreamId),
    Streams(&'static str),
    Resolve(CommitId),
    Stats,
    Pass(Duration),
    Reopen,
}

const IDS: [&str; 5] = ["a", "b", "c", "d", "e"];
const TYPES: [&str; 3] = ["opened", "changed", "closed"];
const PATTERNS: [&str; 4] = [">", "test.thing.*", "test.thing.c", "test.other.*"];

/// A commit id that only its number decides, so that steps show the same ids in every run.
fn commit_id(number: u64) -> CommitId {
    CommitId::from_bytes((u128::from(number) | 1 << 120).to_be_bytes())
}

struct Run {
    rng: Rng,
    model: LogModel,
    appends: Vec<Append>,
    /// The position of each commit's last event, in the order of the log.
    ends: Vec<(usize, Position)>,
    next_id: u64,
}

/// Runs one history of so many steps; every answer must be the model's.
pub(crate) async fn run_log_history(trial: Trial, seed: u64, steps: usize) -> CaseResult {
    let mut trial = Some(trial);
    let mut run = Run {
        rng: Rng::new(seed),
        model: LogModel::new(),
        appends: Vec::new(),
        ends: Vec::new(),
        next_id: 0,
    };
    let mut taken = Vec::new();
    for number in 0..steps {
        let Some(t) = trial.take() else { break };
        let step = if number + 1 == steps {
            // At the end, all of it.
            Step::ReadLog {
                after: 0,
                limit: None,
                id: None,
                event_type: None,
            }
        } else {
            run.next_step(&t)
        };
        taken.push(step.clone());
        match run.take_step(t, step).await {
            Ok(next) => trial = Some(next),
            Err(failure) => return Err(failed_at(seed, &taken, &failure)),
        }
    }
    Ok(())
}

impl Run {
    fn id(&mut self) -> StreamId {
        stream(self.rng.pick(&IDS).copied().unwrap_or("a"))
    }

    fn next_step(&mut self, t: &Trial) -> Step {
        match self.rng.below(22) {
            0..6 => Step::Append(self.next_append(t)),
            6..8 => {
                let count = self.rng.below(5);
                Step::AppendInOrder((0..count).map(|_| self.next_append(t)).collect())
            }
            8..12 => {
                let stream = self.id();
                let around = self.model.version(&stream).get() + 2;
                let mut range = StreamRange::from(Version::new(self.rng.below(around)));
                if self.rng.one_in(2) {
                    range = range.to(Version::new(self.rng.below(around)));
                }
                if self.rng.one_in(3) {
                    range = range.limit(self.rng.below(5));
                }
                if self.rng.one_in(3) {
                    range = range.backwards();
                }
                Step::Read(stream, range)
            }
            12..14 => Step::ReadLog {
                after: usize::try_from(self.rng.below(self.ends.len() as u64 + 1)).unwrap_or(0),
                limit: self.rng.one_in(2).then(|| self.rng.below(10)),
                id: self.rng.one_in(3).then(|| IDS[self.rng.below(5) as usize]),
                event_type: self
                    .rng
                    .one_in(3)
                    .then(|| TYPES[self.rng.below(3) as usize]),
            },
            14 => Step::Head(self.id()),
            15 => Step::Streams(self.rng.pick(&PATTERNS).copied().unwrap_or(">")),
            16 => Step::Resolve(commit_id(self.rng.below(self.next_id + 2))),
            17 => Step::Stats,
            18 | 19 => {
                // Now and then one of them is not there.
                let count = self.model.events().len() as u64 + u64::from(self.rng.one_in(3));
                let numbers = (0..self.rng.below(8).min(count)).map(|_| self.rng.below(count));
                Step::ReadAt(numbers.map(|n| usize::try_from(n).unwrap_or(0)).collect())
            }
            20 => Step::Pass(Duration::from_millis(self.rng.below(1_500))),
            _ => {
                if self.rng.one_in(4) {
                    Step::Reopen
                } else {
                    Step::Stats
                }
            }
        }
    }

    fn expected(&mut self, stream: &StreamId) -> ExpectedVersion {
        let actual = self.model.version(stream);
        match self.rng.below(8) {
            0 => ExpectedVersion::Any,
            1 => ExpectedVersion::Exists,
            2 => ExpectedVersion::Exact(Version::new(self.rng.below(actual.get() + 3))),
            _ => ExpectedVersion::Exact(actual),
        }
    }

    fn next_append(&mut self, t: &Trial) -> Append {
        if self.rng.one_in(6)
            && let Some(again) = self.rng.pick(&self.appends)
        {
            // The very same commit once more, or its id with other content.
            let mut again = again.clone();
            if self.rng.one_in(3) {
                again.writes.truncate(1);
            }
            return again;
        }
        let id = commit_id(self.next_id);
        self.next_id += 1;
        let mut append = Append::new().with_commit_id(id);
        for _ in 0..=self.rng.below(3) {
            let stream = self.id();
            let expected = self.expected(&stream);
            let mut events = Vec::new();
            for _ in 0..self.rng.below(4) {
                events.push(self.event(t));
            }
            append = append.write(stream, expected, events);
        }
        if self.rng.one_in(3) {
            let stream = self.id();
            let around = self.model.version(&stream).get() + u64::from(self.rng.one_in(5));
            append = append.check(stream, Version::new(around));
        }
        append
    }

    fn event(&mut self, t: &Trial) -> NewEvent {
        let number = self.next_id;
        self.next_id += 1;
        let bytes = (u128::from(number) | 1 << 121).to_be_bytes();
        typed(self.rng.pick(&TYPES).copied().unwrap_or("opened"), number)
            .with_id(EventId::from_bytes(bytes))
            .with_time(t.clock.now())
    }

    async fn take_step(&mut self, t: Trial, step: Step) -> Result<Trial, CaseFailure> {
        match step {
            Step::Append(append) => {
                let stored = t.log.append(&t.ctx, append.clone()).await;
                self.appended(append, stored)?;
            }
            Step::AppendInOrder(appends) => self.append_in_order(&t, appends).await?,
            Step::Read(stream, range) => {
                let read = collect(t.log.read_stream(&t.ctx, &stream, range).await).await?;
                equal(&self.model.read_stream(&stream, range), &read)?;
            }
            Step::ReadLog {
                after,
                limit,
                id,
                event_type,
            } => self.read_log(&t, after, limit, id, event_type).await?,
            Step::ReadAt(numbers) => self.read_at(&t, &numbers).await?,
            Step::Head(stream) => {
                let head = t.log.head(&t.ctx, &stream).await?;
                let version = head.map_or(Version::NONE, |head| head.version);
                same("head", &self.model.version(&stream), &version)?;
            }
            Step::Streams(pattern) => self.streams(&t, pattern).await?,
            Step::Resolve(commit) => {
                let stored = match t.log.resolve(&t.ctx, commit).await? {
                    Resolution::Committed(appended) => Some(versions(&appended.heads)),
                    Resolution::NotCommitted => None,
                };
                let model = self.model.commit(commit).map(|commit| commit.heads.clone());
                same("resolve", &model, &stored)?;
            }
            Step::Stats => {
                let stats = t.log.stats(&t.ctx).await?;
                let events = self.model.events().len() as u64;
                let streams = self.model.streams().count() as u64;
                same("events", &events, &stats.events)?;
                same("streams", &streams, &stats.streams)?;
                let last = self.ends.last().map_or(Position::NONE, |(_, last)| *last);
                same("last position", &last, &stats.last)?;
            }
            Step::Pass(duration) => t.pass(duration).await,
            Step::Reopen if t.persistent() => {
                let reopened = t.reopen().await?;
                return Ok(reopened.ok_or("the store can't be opened again")?);
            }
            Step::Reopen => {}
        }
        Ok(t)
    }

    /// The commits up to the first that the store could not store are what the model makes of
    /// them; the model does not see the rest.
    async fn append_in_order(&mut self, t: &Trial, appends: Vec<Append>) -> CaseResult {
        let commits = appends
            .iter()
            .map(|append| OrderedAppend::new(t.ctx.clone(), append.clone()))
            .collect();
        let done = t.log.append_in_order(&t.ctx, commits).await;
        let all = done.error.is_none();
        let results = done.appended.into_iter().map(Ok);
        let results: Vec<_> = results.chain(done.error.map(Err)).collect();
        if all {
            same("number of results", &appends.len(), &results.len())?;
        }
        for (append, stored) in appends.into_iter().zip(results) {
            self.appended(append, stored)?;
        }
        Ok(())
    }

    /// What the store made of an append is what the model makes of it.
    fn appended(&mut self, append: Append, stored: Result<Appended, EventLogError>) -> CaseResult {
        let model = self.model.append(&append);
        match (&model, stored) {
            (Ok(commit), Ok(stored)) => {
                same("heads", &commit.heads, &versions(&stored.heads))?;
                let last = self.ends.last().copied().unwrap_or_default();
                match commit.end {
                    None => same("position", &Position::NONE, &stored.position)?,
                    Some(end) if end > last.0 => {
                        let after = stored.position > last.1;
                        same("position after the last one", &true, &after)?;
                        self.ends.push((end, stored.position));
                        self.appends.push(append);
                    }
                    Some(end) => {
                        let first = self.ends.iter().find(|(first, _)| *first == end);
                        let first = first.map_or(Position::NONE, |(_, position)| *position);
                        same("position of the first time", &first, &stored.position)?;
                    }
                }
                Ok(())
            }
            (Err(refusal), Err(error)) => {
                let kind = match refusal {
                    LogRefusal::Conflict {
                        stream,
                        expected,
                        actual,
                    } => EventLogErrorKind::VersionConflict {
                        stream: stream.clone(),
                        expected: *expected,
                        actual: *actual,
                    },
                    LogRefusal::Invalid => Fault::Invalid.into(),
                };
                same("refusal", &kind, error.kind())
            }
            (model, stored) => {
                Err(format!("append: the model says {model:?}, the store says {stored:?}").into())
            }
        }
    }

    async fn read_log(
        &self,
        t: &Trial,
        after: usize,
        limit: Option<u64>,
        id: Option<&'static str>,
        event_type: Option<&'static str>,
    ) -> CaseResult {
        let before = after.checked_sub(1).and_then(|index| self.ends.get(index));
        let (skipped, position) = before.copied().unwrap_or_default();
        let mut filter = EventFilter::all();
        if let Some(id) = id {
            let pattern = format!("cim.events.test.thing.{id}.>");
            filter = filter.matching(SubjectPattern::new(pattern)?);
        }
        if let Some(event_type) = event_type {
            filter = filter.of_type(EventType::new(event_type)?);
        }
        let mut query = LogQuery::all().filter(filter).after(position);
        query.limit = limit;
        let read = collect(t.log.read_log(&t.ctx, query).await).await?;
        let limit = usize::try_from(limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        let model: Vec<&ModelEvent> = self.model.events()[skipped..]
            .iter()
            .filter(|event| id.is_none_or(|id| event.stream.id() == id))
            .filter(|event| event_type.is_none_or(|name| event.event_type.as_str() == name))
            .take(limit)
            .collect();
        equal(&model, &read)?;
        let increasing = read.windows(2).all(|w| w[0].position < w[1].position);
        same("positions increase", &true, &increasing)
    }

    async fn read_at(&self, t: &Trial, numbers: &[usize]) -> CaseResult {
        let all = collect(t.log.read_log(&t.ctx, LogQuery::all()).await).await?;
        let behind = all
            .last()
            .map_or(Position::new(1), |last| last.position.next());
        let position = |number: &usize| all.get(*number).map_or(behind, |event| event.position);
        let positions: Vec<_> = numbers.iter().map(position).collect();
        let read = t.log.read_at(&t.ctx, &positions).await;
        let model: Option<Vec<&ModelEvent>> = numbers
            .iter()
            .map(|number| self.model.events().get(*number))
            .collect();
        match (model, read) {
            (Some(model), Ok(read)) => {
                equal(&model, &read)?;
                let found: Vec<_> = read.iter().map(|event| event.position).collect();
                same("positions", &positions, &found)
            }
            (None, Err(error)) => same("refusal", &Some(Fault::NotFound), &error.fault()),
            (model, read) => {
                Err(format!("read_at: the model says {model:?}, the store says {read:?}").into())
            }
        }
    }

    async fn streams(&self, t: &Trial, pattern: &str) -> CaseResult {
        let matching: StreamPattern = pattern.parse()?;
        let heads = t.log.streams(&t.ctx, &matching).await?;
        let heads: Vec<Head> = heads.try_collect().await?;
        let mut found = versions(&heads);
        found.sort_unstable();
        let model: Vec<_> = self
            .model
            .streams()
            .filter(|(stream, _)| match pattern {
                ">" | "test.thing.*" => true,
                exact => stream.as_str() == exact,
            })
            .map(|(stream, version)| (stream.clone(), version))
            .collect();
        same("streams", &model, &found)
    }
}

fn versions(heads: &[Head]) -> Vec<(StreamId, Version)> {
    heads
        .iter()
        .map(|head| (head.stream.clone(), head.version))
        .collect()
}

/// The store's events are the model's, and have their CIDs.
fn equal(model: &[&ModelEvent], store: &[RecordedEvent]) -> CaseResult {
    let read: Vec<ModelEvent> = store
        .iter()
        .map(|event| ModelEvent {
            id: event.id,
            stream: event.stream.clone(),
            version: event.version,
            event_type: event.event_type.clone(),
            payload: event.payload.clone(),
            time: event.time,
            commit: event.commit_id,
            index: event.commit_index as usize,
            count: event.commit_count as usize,
        })
        .collect();
    same("number of events", &model.len(), &read.len())?;
    for (model, read) in model.iter().zip(&read) {
        same("event", *model, read)?;
    }
    let sound = store.iter().all(RecordedEvent::has_its_cid);
    same("CIDs", &true, &sound)
}
