//! Judging what a killed process left: right logs pass, wrong ones and wrong journals don't.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::Write;
use std::sync::{Arc, Mutex};

use cim_conformance::crash::{Journal, check_after_crash};
use cim_conformance::history::{Recorder, Violation};
use cim_store::memory::MemoryStore;
use cim_store::{
    Append, Context, EventLog, EventLogExt, ExpectedVersion, NewEvent, SequentialIds, Store,
    StreamId, Version,
};

/// A pipe that the parent reads.
#[derive(Clone, Default)]
struct Pipe(Arc<Mutex<Vec<u8>>>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Pipe {
    fn received(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn stream(id: &str) -> StreamId {
    StreamId::new("test", "thing", id).unwrap()
}

fn events(count: u64) -> Vec<NewEvent> {
    (0..count)
        .map(|n| NewEvent::json("happened", &n).unwrap())
        .collect()
}

/// One run that writes ten commits of three events to two streams; what it wrote to the pipe.
async fn run(log: &Arc<dyn EventLog>, seed: u64) -> String {
    let pipe = Pipe::default();
    let ids = Arc::new(SequentialIds::new(seed));
    let recorder = Recorder::new(log.clone(), ids).with_sink(pipe.clone());
    let (writer, ctx) = (recorder.client(), Context::new());
    for _ in 0..10 {
        let version = log.version(&ctx, &stream("a")).await.unwrap();
        let append = Append::new().write(stream("a"), version, events(2)).write(
            stream("b"),
            ExpectedVersion::Any,
            events(1),
        );
        writer.append(&ctx, append).await.unwrap();
    }
    pipe.received()
}

fn lines(text: &str, count: usize) -> String {
    text.split_inclusive('\n').take(count).collect()
}

#[tokio::test]
async fn what_was_acknowledged_and_is_there_passes() {
    let log = MemoryStore::new().log();
    let mut journal = Journal::new();
    for seed in 0..3 {
        journal.add_run(&run(&log, seed).await).unwrap();
        let report = check_after_crash(&*log, &mut journal).await.unwrap();
        assert_eq!(report.runs, seed + 1);
        assert_eq!(report.history.acknowledged as u64, 10 * (seed + 1));
        assert_eq!(report.history.events as u64, 30 * (seed + 1));
    }
}

#[tokio::test]
async fn what_was_under_way_may_be_there() {
    let log = MemoryStore::new().log();
    let received = run(&log, 0).await;
    let mut journal = Journal::new();
    // The last acknowledgement did not get through, not even half of it.
    journal.add_run(&received[..received.len() - 30]).unwrap();
    let report = check_after_crash(&*log, &mut journal).await.unwrap();
    assert_eq!((report.settled_as_stored, report.settled_as_lost), (1, 0));
    // From now on it has to stay.
    let report = check_after_crash(&*log, &mut journal).await.unwrap();
    assert_eq!(report.history.acknowledged, 10);
    let empty = MemoryStore::new().log();
    assert!(check_after_crash(&*empty, &mut journal).await.is_err());
}

#[tokio::test]
async fn what_was_under_way_may_be_missing_but_must_not_come_later() {
    let log = MemoryStore::new().log();
    let received = run(&log, 0).await;
    // An eleventh commit was called; nothing of it is there.
    let twice = run(&MemoryStore::new().log(), 9).await;
    let called = lines(&twice, 1).replace("\"operation\":0", "\"operation\":99");
    let mut journal = Journal::new();
    journal.add_run(&(received + &called)).unwrap();
    let report = check_after_crash(&*log, &mut journal).await.unwrap();
    assert_eq!((report.settled_as_stored, report.settled_as_lost), (0, 1));
    // Now it comes after all.
    let late = run(&log, 9).await;
    journal.add_run(&lines(&late, 0)).unwrap();
    let violations = check_after_crash(&*log, &mut journal).await.unwrap_err();
    assert!(
        violations
            .iter()
            .any(|violation| matches!(violation, Violation::Phantom { .. })),
        "{violations:#?}"
    );
}

#[tokio::test]
async fn acknowledged_commits_that_are_lost_are_found() {
    let received = run(&MemoryStore::new().log(), 0).await;
    let mut journal = Journal::new();
    journal.add_run(&received).unwrap();
    let without = MemoryStore::new().log();
    let violations = check_after_crash(&*without, &mut journal)
        .await
        .unwrap_err();
    let lost = violations
        .iter()
        .filter(|violation| matches!(violation, Violation::Lost { .. }))
        .count();
    assert_eq!(lost, 30);
}

#[tokio::test]
async fn an_acknowledgement_at_other_versions_is_found() {
    let log = MemoryStore::new().log();
    let received = run(&log, 0).await;
    let changed = received.replace("\"first\":3,\"last\":4", "\"first\":4,\"last\":5");
    assert_ne!(changed, received);
    let mut journal = Journal::new();
    journal.add_run(&changed).unwrap();
    let violations = check_after_crash(&*log, &mut journal).await.unwrap_err();
    assert!(
        violations
            .iter()
            .any(|violation| matches!(violation, Violation::Misplaced { .. })),
        "{violations:#?}"
    );
}

#[tokio::test]
async fn events_of_nobody_are_found() {
    let log = MemoryStore::new().log();
    let received = run(&log, 0).await;
    let mut journal = Journal::new();
    // The journal knows of nine commits only.
    journal.add_run(&lines(&received, 18)).unwrap();
    let violations = check_after_crash(&*log, &mut journal).await.unwrap_err();
    let phantoms = violations
        .iter()
        .filter(|violation| matches!(violation, Violation::Phantom { .. }))
        .count();
    assert_eq!(phantoms, 3);
}

#[tokio::test]
async fn a_log_that_can_not_be_read_does_not_pass() {
    let store = MemoryStore::new();
    let log = store.log();
    let mut journal = Journal::new();
    journal.add_run(&run(&log, 0).await).unwrap();
    store.close().await.unwrap();
    let violations = check_after_crash(&*log, &mut journal).await.unwrap_err();
    assert!(matches!(violations[..], [Violation::Unreadable(_)]));
}

#[tokio::test]
async fn nothing_is_asked_once_the_journal_can_not_be_written() {
    struct Broken;
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = MemoryStore::new().log();
    let recorder = Recorder::new(log.clone(), Arc::new(SequentialIds::new(0))).with_sink(Broken);
    let ctx = Context::new();
    let new = ExpectedVersion::NEW;
    let a = stream("a");
    let refused = recorder.client().append_to(&ctx, &a, new, events(1)).await;
    assert!(refused.is_err());
    assert_eq!(log.version(&ctx, &a).await.unwrap(), Version::NONE);
}
