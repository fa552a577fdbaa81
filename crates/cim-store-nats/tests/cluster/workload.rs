//! Clients that write and read at random while servers die, and note what they were told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cim_conformance::model::Rng;
use cim_store::{
    Append, Clock, CommitId, Context, EventLog, EventLogErrorKind, ExpectedVersion, NewEvent,
    StreamId, StreamRange, SystemClock, Version,
};
use futures_util::TryStreamExt;

const STREAMS: u64 = 12;

/// What a client saw besides what was recorded.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) stored: usize,
    /// Commits of which nobody said whether they were stored.
    pub(crate) unknown: Vec<CommitId>,
    /// Refusals because no server could do it then.
    pub(crate) unavailable: usize,
    pub(crate) slowest: Duration,
}

pub(crate) fn stream(number: u64) -> StreamId {
    StreamId::new("test", "thing", &number.to_string()).unwrap()
}

fn events(count: u64, n: u64) -> Vec<NewEvent> {
    (0..count)
        .map(|_| NewEvent::json("happened", &serde_json::json!({ "n": n })).unwrap())
        .collect()
}

/// Writes and reads until it is told to stop. It knows of each stream what it was told last, so it
/// is often wrong.
pub(crate) async fn client(log: Arc<dyn EventLog>, seed: u64, stop: Arc<AtomicBool>) -> Told {
    let mut rng = Rng::new(seed);
    let mut known = [Version::NONE; STREAMS as usize];
    let mut told = Told::default();
    for number in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let ctx = Context::new().with_timeout(&SystemClock, Duration::from_secs(12));
        let n = rng.below(STREAMS);
        let id = stream(n);
        let known_of = &mut known[n as usize];
        let begun = SystemClock.monotonic();
        match rng.below(12) {
            0 => {
                let head = log.head(&ctx, &id).await;
                if let Ok(head) = head {
                    *known_of = head.map_or(Version::NONE, |head| head.version);
                }
            }
            1 => {
                let range = StreamRange::from(Version::new(known_of.get().saturating_sub(5)));
                if let Ok(read) = log.read_stream(&ctx, &id, range).await {
                    let read: Result<Vec<_>, _> = read.try_collect().await;
                    if let Err(error) = read {
                        assert!(!error.is_integrity(), "{error:?}");
                    }
                }
            }
            kind => {
                let expected = match kind {
                    2 => ExpectedVersion::Any,
                    _ => ExpectedVersion::Exact(*known_of),
                };
                let count = if rng.one_in(3) { rng.below(6) + 2 } else { 1 };
                let mut append = Append::new().write(id.clone(), expected, events(count, number));
                if rng.one_in(5) {
                    let other = (n + 1 + rng.below(STREAMS - 1)) % STREAMS;
                    append = if rng.one_in(2) {
                        append.write(stream(other), ExpectedVersion::Any, events(1, number))
                    } else {
                        append.check(stream(other), known[other as usize])
                    };
                }
                match log.append(&ctx, append).await {
                    Ok(stored) => {
                        told.stored += 1;
                        for head in &stored.heads {
                            let n: usize = head.stream.id().parse().unwrap();
                            known[n] = head.version;
                        }
                    }
                    Err(error) => match error.kind() {
                        EventLogErrorKind::VersionConflict { stream, actual, .. } => {
                            let n: usize = stream.id().parse().unwrap();
                            known[n] = *actual;
                        }
                        EventLogErrorKind::Unknown { commit_id } => told.unknown.push(*commit_id),
                        _ => {
                            assert!(!error.is_integrity(), "{error:?}");
                            told.unavailable += 1;
                        }
                    },
                }
            }
        }
        let took = SystemClock.monotonic().saturating_duration_since(begun);
        told.slowest = told.slowest.max(took);
    }
    told
}
