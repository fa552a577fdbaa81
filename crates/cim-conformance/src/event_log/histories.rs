//! Random and concurrent histories.

use std::sync::Arc;

use cim_store::{Append, EventLogError, ExpectedVersion, SequentialIds, StreamRange, Version};
use futures_util::TryStreamExt;

use crate::history::{FinalState, Recorder, check};
use crate::model::{Rng, run_log_history, seeds};
use crate::suite::CaseResult;
use crate::trial::{Trial, event, stream};

pub(crate) const CONTRACT: &str = "1. to 7. together";

pub(crate) async fn random_histories_equal_the_model(t: Trial) -> CaseResult {
    for seed in seeds(12)? {
        run_log_history(t.another().await?, seed, 80).await?;
    }
    Ok(())
}

const STREAMS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// One client: 100 operations that its seed decides. It knows of each stream what it was told
/// last, so it is often wrong.
async fn client(
    log: Arc<dyn cim_store::EventLog>,
    ctx: cim_store::Context,
    seed: u64,
) -> Result<(), EventLogError> {
    let mut rng = Rng::new(seed);
    let mut known = [Version::NONE; STREAMS.len()];
    for number in 0..100 {
        if rng.one_in(2) {
            tokio::task::yield_now().await; // so that clients on one thread mix too
        }
        let n = rng.below(STREAMS.len() as u64) as usize;
        let id = stream(STREAMS[n]);
        match rng.below(10) {
            0 | 1 => {
                let range = StreamRange::from(Version::new(rng.below(known[n].get() + 2)));
                let read = log.read_stream(&ctx, &id, range).await?;
                let read: Vec<_> = read.try_collect().await?;
                known[n] = read.last().map_or(known[n], |event| event.version);
            }
            2 => {
                let head = log.head(&ctx, &id).await?;
                known[n] = head.map_or(Version::NONE, |head| head.version);
            }
            kind => {
                let expected = match kind {
                    3 => ExpectedVersion::Any,
                    _ => ExpectedVersion::Exact(known[n]),
                };
                let events = (0..=rng.below(3)).map(|_| event(number)).collect();
                let mut append = Append::new().write(id.clone(), expected, events);
                let other = (n + 1 + rng.below(4) as usize) % STREAMS.len();
                let other_id = stream(STREAMS[other]);
                match rng.below(4) {
                    0 => append = append.check(other_id, known[other]),
                    1 => append = append.write(other_id, known[other], vec![event(number)]),
                    _ => {}
                }
                match log.append(&ctx, append).await {
                    Ok(stored) => {
                        for (known, name) in known.iter_mut().zip(STREAMS) {
                            let head = stored.head(&stream(name));
                            *known = head.map_or(*known, |head| head.version);
                        }
                    }
                    Err(error) if error.is_conflict() => {
                        let head = log.head(&ctx, &id).await?;
                        known[n] = head.map_or(Version::NONE, |head| head.version);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(())
}

pub(crate) async fn concurrent_clients_leave_a_history_that_checks(t: Trial) -> CaseResult {
    for seed in seeds(3)? {
        let t = t.another().await?;
        let recorder = Recorder::new(t.log.clone(), Arc::new(SequentialIds::new(seed)));
        let clients: Vec<_> = (0..8)
            .map(|number| {
                let seed = seed.wrapping_mul(1_000).wrapping_add(number);
                tokio::spawn(client(recorder.client(), t.ctx.clone(), seed))
            })
            .collect();
        for client in clients {
            client.await??;
        }
        let history = recorder.history();
        let left = FinalState::read(&*t.log, &t.ctx).await?;
        match check(&history, &left) {
            Ok(report) => {
                assert!(report.acknowledged > 50, "{report}");
                assert!(report.reads > 100, "{report}");
            }
            Err(violations) => {
                let mut text = format!("seed {seed}: the history does not check");
                for violation in &violations {
                    text.push_str(&format!("\n- {violation}"));
                }
                text.push_str("\nthe history was\n");
                text.push_str(&history.to_json_lines());
                return Err(text.into());
            }
        }
    }
    Ok(())
}
