//! The history checker accepts what a right log leaves and rejects everything else, by name.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;

use cim_conformance::history::{
    Call, FinalState, History, Operation, Outcome, PhantomOrigin, Recorder, Report, Violation,
    check,
};
use cim_store::memory::MemoryStore;
use cim_store::{
    Append, CommitId, Context, EventId, EventLogExt, ExpectedVersion, NewEvent, RecordedEvent,
    SequentialIds, Store, StreamId, Version,
};

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

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// What one client did, one call after the other:
///
/// | operation | stream `a` | stream `b` |
/// |---|---|---|
/// | 0 | appends 1, 2 | |
/// | 1 | appends 3 | appends 1 |
/// | 2 | reads to 3 | |
/// | 3 | conflicts: expected 1, is at 3 | |
/// | 4 | appends 4, 5 | checks that it is at 1 |
/// | 5 | head is 5 | |
/// | 6 | appends 6 | |
/// | 7 | | appends 2 |
fn sequential() -> (History, FinalState) {
    block_on(async {
        let log = MemoryStore::new().log();
        let recorder = Recorder::new(log.clone(), Arc::new(SequentialIds::new(1)));
        let (client, ctx) = (recorder.client(), Context::new());
        let (a, b) = (stream("a"), stream("b"));
        client
            .append_to(&ctx, &a, v(0).into(), events(2))
            .await
            .unwrap();
        let both =
            Append::new()
                .write(a.clone(), v(2), events(1))
                .write(b.clone(), v(0), events(1));
        client.append(&ctx, both).await.unwrap();
        assert_eq!(client.read_all(&ctx, &a).await.unwrap().len(), 3);
        let stale = client.append_to(&ctx, &a, v(1).into(), events(1)).await;
        assert!(stale.unwrap_err().is_conflict());
        let checked = Append::new()
            .write(a.clone(), v(3), events(2))
            .check(b.clone(), v(1));
        client.append(&ctx, checked).await.unwrap();
        client.head(&ctx, &a).await.unwrap().unwrap();
        client
            .append_to(&ctx, &a, v(5).into(), events(1))
            .await
            .unwrap();
        client
            .append_to(&ctx, &b, ExpectedVersion::Exists, events(1))
            .await
            .unwrap();
        let left = FinalState::read(&*log, &ctx).await.unwrap();
        (recorder.history(), left)
    })
}

/// The violations that a change of the history or of the log makes.
fn broken_by(change: impl FnOnce(&mut Vec<Operation>, &mut Vec<RecordedEvent>)) -> Vec<Violation> {
    let (mut history, left) = sequential();
    let mut log = left.events;
    change(&mut history.operations, &mut log);
    check(&history, &FinalState::new(log)).unwrap_err()
}

macro_rules! assert_found {
    ($violations:expr, $pattern:pat $(if $guard:expr)?) => {
        let violations = $violations;
        assert!(
            violations.iter().any(|violation| matches!(violation, $pattern $(if $guard)?)),
            "{violations:#?}"
        );
    };
}

#[test]
fn what_a_right_log_leaves_is_accepted() {
    let (history, left) = sequential();
    let expected = Report {
        acknowledged: 5,
        refused: 1,
        reads: 2,
        events: 8,
        streams: 2,
        ..Report::default()
    };
    assert_eq!(check(&history, &left).unwrap(), expected);
}

#[test]
fn an_empty_history_leaves_an_empty_log() {
    assert!(check(&History::default(), &FinalState::default()).is_ok());
}

#[test]
fn a_dropped_commit_is_lost() {
    let violations = broken_by(|_, log| {
        log.pop();
    });
    assert_found!(&violations, Violation::Lost { version, .. } if *version == v(2));
    assert_eq!(violations.len(), 1, "{violations:#?}");
}

#[test]
fn a_commit_that_is_there_in_part_is_torn() {
    let violations = broken_by(|_, log| {
        let last_of_four = log.iter().position(|e| e.version == v(5)).unwrap();
        log.remove(last_of_four);
    });
    assert_found!(
        &violations,
        Violation::Torn {
            found: 1,
            count: 2,
            ..
        }
    );
    assert_found!(violations, Violation::Lost { .. });
}

#[test]
fn an_unknown_commit_that_is_there_in_part_is_torn() {
    let violations = broken_by(|operations, log| {
        operations[4].outcome = Outcome::Unknown;
        log.retain(|event| event.stream == stream("b") || event.version < v(5));
        operations.truncate(5);
        log.retain(|event| event.commit_id != commit(&operations[4]) || event.commit_index == 0);
        let kept = operations.iter().map(commit_or_none).collect::<Vec<_>>();
        log.retain(|event| kept.contains(&Some(event.commit_id)));
    });
    assert_found!(
        violations,
        Violation::Torn {
            found: 1,
            count: 2,
            ..
        }
    );
}

fn commit_or_none(operation: &Operation) -> Option<CommitId> {
    match &operation.call {
        Call::Append(call) => Some(call.commit),
        _ => None,
    }
}

fn commit(operation: &Operation) -> CommitId {
    commit_or_none(operation).unwrap()
}

#[test]
fn a_duplicate_is_found() {
    let violations = broken_by(|_, log| log.push(log[7].clone()));
    assert_found!(&violations, Violation::Duplicate { .. });
    assert_found!(violations, Violation::PositionGoesBack { .. });
}

#[test]
fn a_duplicate_under_a_version_of_its_own_is_found() {
    let violations = broken_by(|_, log| {
        let mut again = log[7].clone();
        again.version = v(3);
        again.previous = Some(log[7].cid);
        again.position = again.position.next();
        log.push(with_its_cid(again));
    });
    assert_found!(violations, Violation::Duplicate { .. });
}

#[test]
fn a_changed_order_is_found() {
    let violations = broken_by(|_, log| log.swap(6, 7));
    assert_found!(violations, Violation::PositionGoesBack { .. });
    let violations = broken_by(|_, log| log.swap(0, 1));
    assert_found!(violations, Violation::VersionGap { .. });
}

#[test]
fn a_gap_of_versions_is_found() {
    let violations = broken_by(|_, log| log.retain(|event| event.version != v(6)));
    assert_found!(violations, Violation::Lost { .. });
    let violations = broken_by(|operations, log| {
        // Nobody knows of the commit any more, but its versions are missing.
        let gone = commit(&operations[4]);
        log.retain(|event| event.commit_id != gone);
        operations.remove(4);
    });
    assert_found!(
        violations,
        Violation::VersionGap { expected, found, .. } if expected.get() == 4 && found.get() == 6
    );
}

fn with_its_cid(mut event: RecordedEvent) -> RecordedEvent {
    let mut block = Vec::new();
    event.block().encode_into(&mut block);
    event.cid = cim_store::EventCid::of(&block);
    event
}

#[test]
fn an_altered_event_is_found() {
    let violations = broken_by(|_, log| log[1].payload = "9".into());
    assert_found!(violations, Violation::Chain(_));
}

#[test]
fn a_fork_is_found() {
    let violations = broken_by(|_, log| {
        // Sound in itself, but the next event follows another one.
        log[1].payload = "9".into();
        log[1] = with_its_cid(log[1].clone());
    });
    assert_found!(
        violations,
        Violation::Chain(fault) if matches!(fault.kind, cim_ipld::ChainFaultKind::Forked { .. })
    );
}

#[test]
fn an_acknowledgement_of_nothing_is_found() {
    let violations = broken_by(|operations, _| {
        // The conflict becomes an acknowledgement.
        let Call::Append(call) = &operations[3].call else {
            panic!("not an append");
        };
        operations[3].outcome = Outcome::Appended(vec![cim_conformance::history::Written {
            stream: call.writes[0].stream.clone(),
            first: v(2),
            last: v(2),
        }]);
    });
    assert_found!(violations, Violation::Lost { .. });
}

#[test]
fn an_acknowledgement_of_other_versions_is_found() {
    let violations = broken_by(|operations, _| {
        let Outcome::Appended(written) = &mut operations[6].outcome else {
            panic!("not acknowledged");
        };
        (written[0].first, written[0].last) = (v(7), v(7));
    });
    assert_found!(&violations, Violation::Misplaced { .. });
    assert_found!(violations, Violation::BrokenExpectation { .. });
}

#[test]
fn an_event_of_a_failed_append_is_a_phantom() {
    let violations = broken_by(|operations, _| operations[7].outcome = Outcome::Failed);
    assert_found!(
        violations,
        Violation::Phantom {
            origin: PhantomOrigin::Failed,
            ..
        }
    );
}

#[test]
fn an_event_that_nobody_appended_is_a_phantom() {
    let violations = broken_by(|operations, _| {
        operations.remove(7);
    });
    assert_found!(
        violations,
        Violation::Phantom {
            origin: PhantomOrigin::NeverAppended,
            ..
        }
    );
}

#[test]
fn an_unknown_outcome_may_be_stored_or_not() {
    let (mut history, left) = sequential();
    history.operations[7].outcome = Outcome::Unknown;
    let report = check(&history, &left).unwrap();
    assert_eq!((report.acknowledged, report.unknown_stored), (4, 1));
    let mut without = left.events;
    without.pop();
    let report = check(&history, &FinalState::new(without)).unwrap();
    assert_eq!((report.acknowledged, report.unknown_not_stored), (4, 1));
}

#[test]
fn a_stale_read_is_found() {
    let violations = broken_by(|operations, _| {
        let Outcome::Read(seen) = &mut operations[2].outcome else {
            panic!("not a read");
        };
        seen.pop();
    });
    assert_found!(&violations, Violation::StaleRead { version, .. } if *version == v(2));
    let violations = broken_by(|operations, _| {
        operations[2].outcome = Outcome::Read(Vec::new());
    });
    assert_found!(violations, Violation::StaleRead { .. });
    let violations = broken_by(|operations, _| operations[5].outcome = Outcome::Head(v(3)));
    assert_found!(violations, Violation::StaleRead { .. });
}

#[test]
fn a_read_that_goes_back_behind_another_is_found() {
    let violations = broken_by(|operations, _| {
        // Nothing was acknowledged, but the first reader saw it.
        operations[0].outcome = Outcome::Unknown;
        operations[1].outcome = Outcome::Unknown;
        operations[3].outcome = Outcome::Conflict {
            stream: stream("a"),
            expected: v(1).into(),
            actual: v(2),
        };
    });
    assert_found!(
        violations,
        Violation::ImpossibleConflict { actual, .. } if *actual == v(2)
    );
}

#[test]
fn a_read_of_the_future_is_found() {
    let violations = broken_by(|operations, _| operations[5].outcome = Outcome::Head(v(6)));
    assert_found!(violations, Violation::ReadOfTheFuture { .. });
}

#[test]
fn a_read_that_ends_in_a_commit_is_found() {
    let violations = broken_by(|operations, _| operations[5].outcome = Outcome::Head(v(4)));
    assert_found!(violations, Violation::PartialRead { .. });
}

#[test]
fn a_read_of_other_events_is_found() {
    let violations = broken_by(|operations, _| {
        let Outcome::Read(seen) = &mut operations[2].outcome else {
            panic!("not a read");
        };
        seen[1].id = EventId::from_bytes([0xEE; 16]);
    });
    assert_found!(
        violations,
        Violation::DifferentRead { version, .. } if *version == v(2)
    );
}

#[test]
fn a_conflict_that_could_not_be_is_found() {
    let says = |operations: &mut Vec<Operation>, expected, actual| {
        operations[3].outcome = Outcome::Conflict {
            stream: stream("a"),
            expected: v(expected).into(),
            actual: v(actual),
        };
    };
    // A version of the past, one of the future, one that never ended a commit, and the one that
    // was expected.
    for (expected, actual) in [(1, 2), (1, 5), (1, 4), (1, 900), (3, 3)] {
        let violations = broken_by(|operations, _| says(operations, expected, actual));
        assert_found!(violations, Violation::ImpossibleConflict { .. });
    }
}

#[test]
fn an_expectation_that_did_not_hold_is_found() {
    let violations = broken_by(|operations, _| {
        let Call::Append(call) = &mut operations[6].call else {
            panic!("not an append");
        };
        call.writes[0].expected = v(4).into();
    });
    assert_found!(violations, Violation::BrokenExpectation { .. });
}

#[test]
fn a_check_that_did_not_hold_is_found() {
    for version in [0, 2] {
        let violations = broken_by(|operations, _| {
            let Call::Append(call) = &mut operations[4].call else {
                panic!("not an append");
            };
            call.checks[0].version = v(version);
        });
        assert_found!(violations, Violation::ImpossibleCheck { .. });
    }
}

#[test]
fn an_order_against_time_is_found() {
    // The last append of `a` was acknowledged before the one that stands before it was called.
    let violations = broken_by(|operations, _| {
        let (early, late) = (operations[4].invoked, operations[6].invoked);
        operations.remove(5);
        operations[5].completed = operations[5].completed.map(|at| at - (late - early));
        operations[5].invoked = early;
        let at = &mut operations[4];
        (at.invoked, at.completed) = (at.invoked + 100, at.completed.map(|at| at + 100));
    });
    assert_found!(
        &violations,
        Violation::OutOfOrder {
            stream: Some(_),
            ..
        }
    );
    assert_found!(violations, Violation::OutOfOrder { stream: None, .. });
}

#[test]
fn an_order_of_the_log_against_time_is_found_also_between_streams() {
    let violations = broken_by(|operations, _| {
        // `b`'s last event, the last of the log, was acknowledged before `a`'s sixth was called.
        operations[6].invoked += 100;
        operations[6].completed = operations[6].completed.map(|at| at + 100);
    });
    assert_found!(&violations, Violation::OutOfOrder { stream: None, .. });
    assert_eq!(violations.len(), 1, "{violations:#?}");
}

#[test]
fn replicas_that_differ_are_found() {
    let (history, left) = sequential();
    let mut other = left.events.clone();
    other[4].payload = "9".into();
    let violations = check(&history, &left.with_replica(other)).unwrap_err();
    assert_found!(
        violations,
        Violation::ReplicasDiffer {
            replica: 2,
            index: 4
        }
    );
}

#[test]
fn a_history_comes_back_from_its_lines() {
    let (history, _) = sequential();
    let lines = history.to_json_lines();
    assert_eq!(lines.lines().count(), 16);
    assert_eq!(History::from_json_lines(&lines).unwrap(), history);
    // A torn last line is what a killed process leaves.
    let torn = &lines[..lines.len() - 5];
    let read = History::from_json_lines(torn).unwrap();
    assert_eq!(read.operations[7].outcome, Outcome::Unknown);
    assert_eq!(read.operations[..7], history.operations[..7]);
}

#[test]
fn lines_that_are_no_history_are_refused_by_number() {
    let error = History::from_json_lines("{\"called\":1}\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 1 of the history is not one that a recorder writes"
    );
    let answer = "{\"answered\":{\"operation\":4,\"outcome\":\"failed\"}}\n";
    let error = History::from_json_lines(answer).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 1 of the history answers a call that is not in it, or was answered"
    );
}

#[test]
fn violations_say_what_is_wrong() {
    let violations = broken_by(|operations, _| operations[5].outcome = Outcome::Head(v(3)));
    let texts: Vec<_> = violations.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        ["client 0 saw test.thing.a end at version 3, although more was there before it asked"]
    );
}

#[test]
fn an_unknown_commit_that_is_there_in_another_order_is_found() {
    let violations = broken_by(|operations, _| {
        operations[0].outcome = Outcome::Unknown;
        let Call::Append(call) = &mut operations[0].call else {
            panic!("not an append");
        };
        call.writes[0].events.swap(0, 1);
    });
    assert_found!(violations, Violation::Misplaced { .. });
}

#[test]
fn a_write_without_events_that_did_not_hold_is_found() {
    let with_empty_write = |version| {
        move |operations: &mut Vec<Operation>| {
            let Call::Append(call) = &mut operations[4].call else {
                panic!("not an append");
            };
            call.checks.clear();
            call.writes.push(cim_conformance::history::WriteCall {
                stream: stream("b"),
                expected: v(version).into(),
                events: Vec::new(),
            });
        }
    };
    let (mut history, left) = sequential();
    with_empty_write(1)(&mut history.operations);
    assert!(check(&history, &left).is_ok());
    let violations = broken_by(|operations, _| with_empty_write(0)(operations));
    assert_found!(violations, Violation::ImpossibleCheck { .. });
}

#[test]
fn a_commit_that_is_repeated_later_is_not_checked_again() {
    let (mut history, left) = sequential();
    // By then `b` is no longer where the commit checked that it is, and `a` is beyond it.
    let mut again = history.operations[4].clone();
    again.invoked += 1_000;
    again.completed = again.completed.map(|at| at + 1_000);
    history.operations.push(again);
    let report = check(&history, &left).unwrap();
    assert_eq!(report.acknowledged, 5);
}
