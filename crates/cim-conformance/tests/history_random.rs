//! Random histories of concurrent clients: those of a right log check, those of a log that was
//! damaged afterwards don't.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;

use cim_conformance::history::{
    Call, FinalState, History, Operation, Outcome, Recorder, Violation, check,
};
use cim_conformance::model::Rng;
use cim_store::memory::MemoryStore;
use cim_store::{
    Append, CommitId, Context, EventId, EventLog, ExpectedVersion, NewEvent, SequentialIds, Store,
    StreamId, Version,
};
use proptest::prelude::*;

fn stream(id: &str) -> StreamId {
    StreamId::new("test", "thing", id).unwrap()
}

fn events(count: u64) -> Vec<NewEvent> {
    (0..count)
        .map(|n| NewEvent::json("happened", &n).unwrap())
        .collect()
}

fn v(version: u64) -> Version {
    Version::new(version)
}

fn commit(operation: &Operation) -> CommitId {
    match &operation.call {
        Call::Append(call) => call.commit,
        other => panic!("not an append: {other:?}"),
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// A random history of concurrent clients on a right log: each call takes its effect at a moment
/// between its begin and its end, and some answers are lost.
fn concurrent(seed: u64) -> (History, FinalState) {
    block_on(async {
        let mut rng = Rng::new(seed);
        let ids = Arc::new(SequentialIds::new(seed));
        let log = MemoryStore::new().log();
        let ctx = Context::new();
        let mut history = History::default();
        // What each client has under way: the recorder's lines of its call, already with its
        // answer if it took effect.
        let mut moment = 0;
        let mut under_way: Vec<Option<(usize, bool)>> = vec![None; 4];
        let mut pending: Vec<Option<Plan>> = (0..4).map(|_| None).collect();
        for _ in 0..150 {
            let client = rng.below(4) as usize;
            moment += 1;
            match under_way[client] {
                None => {
                    let plan = Plan::random(&mut rng, &*ids);
                    history.operations.push(Operation {
                        client: client as u32,
                        invoked: moment,
                        completed: None,
                        call: plan.call(),
                        outcome: Outcome::Unknown,
                    });
                    pending[client] = Some(plan);
                    under_way[client] = Some((history.operations.len() - 1, false));
                }
                Some((index, false)) => {
                    let plan = pending[client].take().unwrap();
                    let lost_before = rng.one_in(12);
                    if !lost_before {
                        let recorder = Recorder::new(log.clone(), ids.clone());
                        plan.run(&*recorder.client(), &ctx).await;
                        let outcome = recorder.history().operations[0].outcome.clone();
                        history.operations[index].outcome = outcome;
                    }
                    if lost_before || rng.one_in(12) {
                        history.operations[index].outcome = Outcome::Unknown;
                    }
                    under_way[client] = Some((index, true));
                }
                Some((index, true)) => {
                    history.operations[index].completed = Some(moment);
                    under_way[client] = None;
                }
            }
        }
        // Calls that were not answered say nothing, even if they took effect.
        for operation in &mut history.operations {
            if operation.completed.is_none() {
                operation.outcome = Outcome::Unknown;
            }
        }
        let left = FinalState::read(&*log, &ctx).await.unwrap();
        (history, left)
    })
}

#[derive(Clone, Debug)]
enum Plan {
    Append(Append),
    Read(StreamId, u64),
    Head(StreamId),
}

impl Plan {
    fn random(rng: &mut Rng, ids: &dyn cim_store::IdGenerator) -> Self {
        let name = |rng: &mut Rng| stream(["a", "b", "c"][rng.below(3) as usize]);
        let id = name(rng);
        match rng.below(5) {
            0 => Self::Read(id, rng.below(5)),
            1 => Self::Head(id),
            _ => {
                let expected = match rng.below(3) {
                    0 => ExpectedVersion::Any,
                    1 => ExpectedVersion::Exists,
                    _ => v(rng.below(6)).into(),
                };
                let numbered = |rng: &mut Rng| -> Vec<NewEvent> {
                    events(1 + rng.below(3))
                        .into_iter()
                        .map(|event| event.with_id(EventId::from_uuid(ids.next_uuid())))
                        .collect()
                };
                let mut append = Append::new()
                    .with_commit_id(CommitId::from_uuid(ids.next_uuid()))
                    .write(id.clone(), expected, numbered(rng));
                let other = name(rng);
                if other != id {
                    if rng.one_in(2) {
                        append = append.write(other, ExpectedVersion::Any, numbered(rng));
                    } else {
                        append = append.check(other, v(rng.below(4)));
                    }
                }
                Self::Append(append)
            }
        }
    }

    /// The call as a recorder writes it down.
    fn call(&self) -> Call {
        let log = MemoryStore::new().log();
        let recorder = Recorder::new(log, Arc::new(SequentialIds::new(0)));
        block_on_here(self.run(&*recorder.client(), &Context::new()));
        recorder.history().operations[0].call.clone()
    }

    async fn run(&self, log: &dyn EventLog, ctx: &Context) {
        match self {
            Self::Append(append) => {
                let _ = log.append(ctx, append.clone()).await;
            }
            Self::Read(stream, from) => {
                let range = cim_store::StreamRange::from(v(*from));
                let read = log.read_stream(ctx, stream, range).await.unwrap();
                let _: Vec<_> = futures_util::StreamExt::collect(read).await;
            }
            Self::Head(stream) => {
                log.head(ctx, stream).await.unwrap();
            }
        }
    }
}

/// Runs a future to its end on this thread, also inside a runtime.
fn block_on_here<T: Send>(future: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| scope.spawn(|| block_on(future)).join().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_history_of_a_right_log_is_accepted(seed in any::<u64>()) {
        let (history, left) = concurrent(seed);
        if let Err(violations) = check(&history, &left) {
            return Err(TestCaseError::fail(format!("{violations:#?}\n{}", history.to_json_lines())));
        }
    }

    #[test]
    fn every_history_whose_log_lost_an_acknowledged_commit_is_rejected(
        seed in any::<u64>(),
        which in any::<prop::sample::Index>(),
    ) {
        let (history, mut left) = concurrent(seed);
        let acknowledged: Vec<_> = history
            .operations
            .iter()
            .filter(|operation| matches!(&operation.outcome, Outcome::Appended(_)))
            .map(commit)
            .collect();
        prop_assume!(!acknowledged.is_empty());
        let lost = *which.get(&acknowledged);
        left.events.retain(|event| event.commit_id != lost);
        left.replicas.clear();
        let violations = check(&history, &left).unwrap_err();
        let named = violations
            .iter()
            .any(|violation| matches!(violation, Violation::Lost { commit, .. } if *commit == lost));
        prop_assert!(named);
    }

    #[test]
    fn every_history_whose_log_has_a_byte_changed_is_rejected(
        seed in any::<u64>(),
        which in any::<prop::sample::Index>(),
    ) {
        let (history, mut left) = concurrent(seed);
        prop_assume!(!left.events.is_empty());
        left.replicas.clear();
        let index = which.index(left.events.len());
        left.events[index].payload = "77".into();
        let violations = check(&history, &left).unwrap_err();
        let chain = violations.iter().any(|found| matches!(found, Violation::Chain(_)));
        prop_assert!(chain);
    }
}
