//! Puts, names, marks and sweeps at the same time: what was said to be stored is there, and what
//! was named stays.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use cim_conformance::{FaultLayer, FaultPlan};
use cim_domain::persistence::content::{ContentError, ContentStore, PutOptions};
use cim_domain::store::{ManualClock, SequentialIds, Store};
use futures_util::{StreamExt as _, stream};

use super::gate::{Gate, Gated};
use super::{HOUR, SMALL, blocks, ctx, get, leaf, put, small};
use crate::hooked_bucket::Step;
use crate::stores::open_at_noon;

/// A content store behind a gate, one past it on the same buckets, and their clock.
async fn gated() -> (ContentStore, ContentStore, Gate, ManualClock) {
    let (store, clock) = open_at_noon("memory:").await;
    let free = small(&store, &clock).await;
    let gate = Gate::default();
    let behind: Arc<dyn Store> = Arc::new(Gated {
        inner: store,
        gate: gate.clone(),
    });
    (small(&behind, &clock).await, free, gate, clock)
}

/// A leaf that was marked and whose grace is over.
async fn due(free: &ContentStore, clock: &ManualClock) -> String {
    let stored = put(free, b"due").await;
    assert_eq!(free.mark(&ctx()).await.unwrap().marked, 1);
    clock.advance(HOUR);
    stored.cid.to_string()
}

#[tokio::test]
async fn a_sweep_leaves_a_block_that_was_put_after_it_looked() {
    let (behind, free, gate, clock) = gated().await;
    let due = due(&free, &clock).await;
    let mut purge = gate.stop(Step::Purge, format!("content/{due}"));
    let sweep = tokio::spawn(async move { behind.sweep(&ctx()).await.unwrap() });
    purge.reached().await;

    let stored = put(&free, b"due").await;
    assert!(!stored.is_new());
    purge.go();
    assert_eq!(sweep.await.unwrap().spared, 1);
    assert_eq!(get(&free, &stored.cid).await.unwrap(), b"due");
    assert_eq!(free.mark(&ctx()).await.unwrap().marked, 1, "garbage, anew");
    assert_eq!(free.sweep(&ctx()).await.unwrap().waiting, 1);
}

#[tokio::test]
async fn a_put_that_meets_a_sweep_at_any_of_its_steps_stores_its_block() {
    let steps = [
        (Step::Create, "content/"),
        (Step::Get, "content-records/mark."),
        (Step::Get, "content/"),
        (Step::Update, "content/"),
    ];
    for (step, place) in steps {
        let (behind, free, gate, clock) = gated().await;
        let due = due(&free, &clock).await;
        let mut stop = gate.stop(step, format!("{place}{due}"));
        let putting = tokio::spawn(async move { put(&behind, b"due").await });
        stop.reached().await;
        assert_eq!(free.sweep(&ctx()).await.unwrap().removed, 1);
        assert!(blocks(&free).await.is_empty());
        stop.go();
        let stored = putting.await.unwrap();
        assert!(stored.is_new(), "at {step:?} {place}");
        assert_eq!(get(&free, &stored.cid).await.unwrap(), b"due");
    }
}

#[tokio::test]
async fn a_pin_that_meets_a_sweep_holds_everything_or_says_what_is_not_there() {
    let steps = [
        (Step::Get, "content-records/mark."),
        (Step::Get, "content/"),
        (Step::Update, "content/"),
    ];
    for (step, place) in steps {
        let (behind, free, gate, clock) = gated().await;
        let due = due(&free, &clock).await;
        let cid = leaf(b"due");
        let mut stop = gate.stop(step, format!("{place}{due}"));
        let pinning = tokio::spawn(async move { behind.pin(&ctx(), "it", &cid).await });
        stop.reached().await;
        free.sweep(&ctx()).await.unwrap();
        stop.go();
        assert!(pinning.await.unwrap().unwrap_err().is_not_found());
        assert!(free.pins(&ctx()).await.unwrap().is_empty());
    }
    // The other way round: the sweep looked before the name was there.
    let (behind, free, gate, clock) = gated().await;
    let due = due(&free, &clock).await;
    let mut purge = gate.stop(Step::Purge, format!("content/{due}"));
    let sweep = tokio::spawn(async move { behind.sweep(&ctx()).await.unwrap() });
    purge.reached().await;
    free.pin(&ctx(), "it", &leaf(b"due")).await.unwrap();
    purge.go();
    assert_eq!(sweep.await.unwrap().spared, 1);
    assert_eq!(get(&free, &leaf(b"due")).await.unwrap(), b"due");
}

#[tokio::test]
async fn a_name_that_comes_too_late_for_the_grace_is_no_name_of_what_is_gone() {
    // The block is put; it is marked; the grace passes; a sweep that saw no name takes it away.
    for swept in [false, true] {
        let (behind, free, gate, clock) = gated().await;
        let pinned = PutOptions::pinned("late");
        let before = free.put_bytes(&ctx(), "before", pinned).await.unwrap().cid;
        let mut naming = gate.stop(Step::Put, "content-records/pin.");
        let putting = tokio::spawn(async move {
            let options = PutOptions::pinned("late");
            behind.put_bytes(&ctx(), "01234567", options).await
        });
        naming.reached().await;
        assert_eq!(free.mark(&ctx()).await.unwrap().marked, 3);
        clock.advance(HOUR);
        if swept {
            assert_eq!(free.sweep(&ctx()).await.unwrap().removed, 3);
        }
        naming.go();
        let put = putting.await.unwrap();
        if swept {
            let error = put.unwrap_err();
            assert!(matches!(error, ContentError::Missing { .. }), "{error:?}");
            let pins = free.pins(&ctx()).await.unwrap();
            assert_eq!(pins[0].root, before, "what had the name has it");
        } else {
            // It is held once more, although its marks are due.
            let stored = put.unwrap();
            assert_eq!(free.sweep(&ctx()).await.unwrap().spared, 3);
            assert_eq!(get(&free, &stored.cid).await.unwrap(), b"01234567");
        }
    }
}

#[tokio::test]
async fn a_sweep_that_looked_before_a_late_name_meets_blocks_that_are_held() {
    let (behind, free, gate, clock) = gated().await;
    let stored = put(&free, b"01234567").await;
    free.mark(&ctx()).await.unwrap();
    clock.advance(HOUR);
    let mut purges = Vec::new();
    let first = gate.stop(Step::Purge, "content/");
    let sweeping = {
        let behind = behind.clone();
        tokio::spawn(async move { behind.sweep(&ctx()).await.unwrap() })
    };
    purges.push(first);
    purges[0].reached().await;
    let reach = free.pin(&ctx(), "it", &stored.cid).await.unwrap();
    assert_eq!((reach.blocks, reach.is_whole()), (3, true));
    purges.remove(0).go();
    assert_eq!(sweeping.await.unwrap().removed, 0);
    assert_eq!(get(&free, &stored.cid).await.unwrap(), b"01234567");
}

#[tokio::test]
async fn a_put_takes_no_more_of_a_stream_than_it_can_store() {
    let (behind, _, gate, _) = gated().await;
    let mut first = gate.stop(Step::Create, "content/");
    let drawn = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&drawn);
    let parts = stream::iter(0..1_000_u32).map(move |number| {
        count.fetch_add(1, Ordering::SeqCst);
        Ok::<_, std::convert::Infallible>(number.to_be_bytes().to_vec().into())
    });
    let putting = tokio::spawn(async move {
        let options = PutOptions::default();
        behind.put_stream(&ctx(), parts, options).await.unwrap()
    });
    first.reached().await;
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    let ahead = drawn.load(Ordering::SeqCst);
    assert!(ahead <= 9, "{ahead} parts are in memory");
    first.go();
    assert_eq!(putting.await.unwrap().size, 4_000);
}

/// Writers put, pin, read and unpin the same few contents while marks and sweeps run without a
/// pause and time flies. Whatever a pin was acknowledged for is whole until it is taken away.
async fn everybody_at_once(store: Arc<dyn Store>, clock: ManualClock, rounds: usize) {
    let content = small(&store, &clock).await;
    let bytes = |which: usize| vec![b'a' + which as u8; 5 + 7 * which];
    let writers = (0..4_usize).map(|writer| {
        let content = content.clone();
        tokio::spawn(async move {
            let mut pinned = 0;
            for round in 0..rounds {
                let which = (writer + round * 7) % 5;
                let name = format!("writer-{writer}");
                let result = if round % 2 == 0 {
                    let options = PutOptions::pinned(&name);
                    let put = content.put_bytes(&ctx(), bytes(which), options).await;
                    put.map(|stored| stored.cid)
                } else {
                    let stored = put(&content, &bytes(which)).await;
                    let pin = content.pin(&ctx(), &name, &stored.cid).await;
                    pin.map(|_| stored.cid)
                };
                match result {
                    Ok(cid) => {
                        pinned += 1;
                        for _ in 0..3 {
                            assert_eq!(get(&content, &cid).await.unwrap(), bytes(which));
                            tokio::task::yield_now().await;
                        }
                    }
                    // It took longer than half the grace, and said so.
                    Err(error) => assert!(
                        matches!(
                            error,
                            ContentError::Missing { .. } | ContentError::NotFound { .. }
                        ),
                        "{error:?}"
                    ),
                }
                content.unpin(&ctx(), &name).await.unwrap();
            }
            pinned
        })
    });
    let writers: Vec<_> = writers.collect();
    let over = Arc::new(AtomicBool::new(false));
    let collector = {
        let (content, clock, over) = (content.clone(), clock.clone(), Arc::clone(&over));
        tokio::spawn(async move {
            let mut removed = 0;
            // A name that came too late stands for a moment for what is gone.
            let missing = |error: ContentError| match error {
                ContentError::Missing { .. } => 0,
                error => panic!("{error:?}"),
            };
            while !over.load(Ordering::SeqCst) {
                content
                    .mark(&ctx())
                    .await
                    .map_or_else(missing, |marked| marked.marked);
                clock.advance(HOUR);
                removed += content
                    .sweep(&ctx())
                    .await
                    .map_or_else(missing, |swept| swept.removed);
                tokio::task::yield_now().await;
            }
            removed
        })
    };
    let mut pinned = 0;
    for writer in writers {
        pinned += writer.await.unwrap();
    }
    over.store(true, Ordering::SeqCst);
    let removed = collector.await.unwrap();
    assert!(
        pinned > 0 && removed > 0,
        "{pinned} pinned, {removed} removed"
    );

    content.mark(&ctx()).await.unwrap();
    clock.advance(HOUR);
    content.sweep(&ctx()).await.unwrap();
    assert!(
        blocks(&content).await.is_empty(),
        "nothing is named any more"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_was_named_is_whole_while_everybody_is_at_it_in_memory() {
    let (store, clock) = open_at_noon("memory:").await;
    everybody_at_once(store, clock, 300).await;
}

#[cfg(feature = "embedded")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_was_named_is_whole_while_everybody_is_at_it_embedded() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("embedded:{}", directory.path().display());
    let (store, clock) = open_at_noon(&url).await;
    everybody_at_once(store, clock, 30).await;
}

#[cfg(feature = "nats")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_was_named_is_whole_while_everybody_is_at_it_on_nats() {
    let (store, clock) = crate::stores::open_on_nats().await;
    everybody_at_once(store, clock, 20).await;
}

#[tokio::test]
async fn lost_calls_and_lost_answers_lose_nothing_and_keep_nothing() {
    for seed in 0..40 {
        let (store, clock) = open_at_noon("memory:").await;
        let honest = small(&store, &clock).await;
        let layer = FaultLayer::new(
            FaultPlan::random(seed, 6),
            Arc::new(SequentialIds::new(seed)),
        );
        let faulty = loop {
            let store = layer.store(Arc::clone(&store));
            if let Ok(content) = ContentStore::open(&*store, &ctx(), "content", SMALL).await {
                break content.with_clock(Arc::new(clock.clone()));
            }
        };
        let bytes = b"0123456789abcdef";
        let cid = loop {
            let options = PutOptions::pinned("it");
            let put = faulty.put_bytes(&ctx(), &bytes[..], options).await;
            if let Ok(stored) = put {
                break stored.cid;
            }
        };
        let other = put(&honest, b"garbage!").await;
        while faulty.mark(&ctx()).await.is_err() {}
        clock.advance(HOUR);
        while faulty.sweep(&ctx()).await.is_err() {}
        assert_eq!(get(&honest, &cid).await.unwrap(), bytes, "seed {seed}");
        let gone = get(&honest, &other.cid).await.unwrap_err();
        assert!(gone.is_not_found(), "seed {seed}");
        while faulty.unpin(&ctx(), "it").await.is_err() {}
        clock.advance(Duration::from_secs(1));
        while faulty.mark(&ctx()).await.is_err() {}
        clock.advance(HOUR);
        while faulty.sweep(&ctx()).await.is_err() {}
        assert!(blocks(&honest).await.is_empty(), "seed {seed}");
    }
}
