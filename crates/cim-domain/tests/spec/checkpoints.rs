//! Checkpoints prove that history only grew, and tell where it did not.

use std::sync::Arc;

use cim_conformance::{FaultLayer, FaultPlan};
use cim_domain::persistence::checkpoint::note::SigningKey;
use cim_domain::persistence::checkpoint::tree::TreeHasher;
use cim_domain::persistence::checkpoint::{
    Checkpoint, CheckpointError, Checkpoints, ConsistencyProof, EventAddress, Found,
    InclusionProof, Progress, Verdict,
};
use cim_domain::store::memory::MemoryStore;
use cim_domain::store::{
    ArchiveDigester, Bucket, BucketExt, BucketName, BucketSettings, Context, EventCid, EventLogExt,
    ExpectedVersion, Key, LogQuery, NewEvent, Position, RecordedEvent, Store, StreamId,
    SubjectPattern, SystemIds, Truncation, Version, WriteOptions,
};
use futures_util::TryStreamExt;

use crate::rewritten_store::{RewrittenStore, rewritten};
use crate::stores::on_every_store;

fn key() -> SigningKey {
    SigningKey::from_seed("example.com/shop", &[5; 32]).unwrap()
}

fn stream(number: u64) -> StreamId {
    StreamId::new("sales", "order", &number.to_string()).unwrap()
}

fn event(number: u64) -> NewEvent {
    NewEvent::json("noted", &number).unwrap()
}

/// Appends so many events, three a commit, to seven streams in turn.
async fn append(store: &Arc<dyn Store>, events: u64) {
    let (log, ctx) = (store.log(), Context::new());
    let mut left = events;
    while left > 0 {
        let count = left.min(3);
        let commit = (0..count).map(|n| event(left - n)).collect();
        let to = stream(left % 7);
        log.append_to(&ctx, &to, ExpectedVersion::Any, commit)
            .await
            .unwrap();
        left -= count;
    }
}

async fn history(store: &Arc<dyn Store>) -> Vec<RecordedEvent> {
    let (log, ctx) = (store.log(), Context::new());
    let begin = log.stats(&ctx).await.unwrap().truncated_through;
    let events = log.read_log(&ctx, LogQuery::all().after(begin)).await;
    events.unwrap().try_collect().await.unwrap()
}

async fn create(store: &Arc<dyn Store>) -> Result<Checkpoint, CheckpointError> {
    let checkpoints = Checkpoints::new(Arc::clone(store));
    checkpoints.create(&Context::new(), &key(), |_| {}).await
}

async fn verdict(store: &Arc<dyn Store>, checkpoint: &Checkpoint) -> Verdict {
    let checkpoints = Checkpoints::new(Arc::clone(store));
    let verified = checkpoints
        .verify(&Context::new(), checkpoint, |_| {})
        .await;
    verified.unwrap().verdict
}

/// The checkpoint that the log should have, computed in the simplest way.
async fn expected(store: &Arc<dyn Store>) -> Checkpoint {
    let mut tree = TreeHasher::new();
    for event in history(store).await {
        tree.push_event(&event.cid);
    }
    Checkpoint::sign(tree.size(), tree.root(), &key()).unwrap()
}

/// The same store with this event told in another way.
fn telling(
    store: &Arc<dyn Store>,
    position: Position,
    tell: impl Fn(RecordedEvent) -> Vec<RecordedEvent> + Send + Sync + 'static,
) -> Arc<dyn Store> {
    RewrittenStore::new(Arc::clone(store), move |event| {
        if event.position == position {
            tell(event)
        } else {
            vec![event]
        }
    })
}

on_every_store! {
    async fn a_checkpoint_has_every_event_of_the_log(store, _clock) {
        let empty = create(&store).await.unwrap();
        assert_eq!((empty.size(), empty), (0, expected(&store).await));
        for events in [1, 2, 300, 0, 260] {
            append(&store, events).await;
            let checkpoint = create(&store).await.unwrap();
            assert_eq!(checkpoint, expected(&store).await);
        }
        let checkpoints = Checkpoints::new(Arc::clone(&store));
        let covered = checkpoints.covered(&Context::new()).await.unwrap();
        let last = expected(&store).await;
        assert_eq!(covered, (563, last.root()));
        store.close().await.unwrap();
    }

    async fn a_history_that_grew_verifies_against_every_older_checkpoint(store, _clock) {
        let mut made = Vec::new();
        for events in [0, 5, 300, 7] {
            append(&store, events).await;
            made.push(create(&store).await.unwrap());
        }
        append(&store, 10).await;
        for checkpoint in &made {
            assert_eq!(verdict(&store, checkpoint).await, Verdict::Unchanged);
        }
        store.close().await.unwrap();
    }

    async fn every_event_is_proven_by_itself(store, _clock) {
        append(&store, 300).await;
        let checkpoint = create(&store).await.unwrap();
        append(&store, 3).await;
        let later = create(&store).await.unwrap();
        let (ctx, keys) = (Context::new(), [key().verifier().clone()]);
        let checkpoints = Checkpoints::new(Arc::clone(&store));
        for (index, event) in (0..).zip(history(&store).await) {
            let address = EventAddress::Version(event.stream, event.version);
            let proof = match checkpoints.prove(&ctx, &address, &checkpoint).await {
                Err(CheckpointError::AfterCheckpoint { index: found, size: 300 }) => {
                    assert_eq!(found, index);
                    assert!(index >= 300);
                    checkpoints.prove(&ctx, &address, &later).await.unwrap()
                }
                proof => proof.unwrap(),
            };
            // Nothing but the text and the key.
            let text = proof.to_string();
            let opened = InclusionProof::open(text.as_bytes(), &keys).unwrap();
            assert_eq!((opened.index(), opened.cid()), (index, event.cid));
            let by_cid = checkpoints.prove(&ctx, &EventAddress::Cid(event.cid), &later).await;
            assert_eq!(by_cid.unwrap().index(), index);
        }
        store.close().await.unwrap();
    }

    async fn any_two_checkpoints_are_proven_to_be_of_one_history(store, _clock) {
        let mut made = Vec::new();
        for events in [0, 1, 6, 250, 30] {
            append(&store, events).await;
            made.push(create(&store).await.unwrap());
        }
        let (ctx, keys) = (Context::new(), [key().verifier().clone()]);
        let checkpoints = Checkpoints::new(Arc::clone(&store));
        for (number, new) in made.iter().enumerate() {
            for old in &made[..=number] {
                let proof = checkpoints.consistency(&ctx, old, new).await.unwrap();
                let text = proof.to_string();
                let opened = ConsistencyProof::open(text.as_bytes(), old, &keys);
                assert_eq!(opened.unwrap(), proof);
            }
        }
        let backwards = checkpoints.consistency(&ctx, &made[2], &made[1]).await;
        assert!(matches!(backwards, Err(CheckpointError::Proof(_))));
        store.close().await.unwrap();
    }

    async fn whoever_only_looks_makes_no_bucket(store, _clock) {
        append(&store, 5).await;
        let ctx = Context::new();
        let checkpoint = expected(&store).await;
        assert_eq!(verdict(&store, &checkpoint).await, Verdict::Unchanged);
        let checkpoints = Checkpoints::new(Arc::clone(&store));
        let cid = history(&store).await[0].cid;
        let error = checkpoints.prove(&ctx, &EventAddress::Cid(cid), &checkpoint).await;
        let needed = CheckpointError::NotCovered { covered: 0, needed: 5 };
        assert_eq!(error.unwrap_err().to_string(), needed.to_string());
        assert_eq!(store.buckets(&ctx).await.unwrap(), []);
        store.close().await.unwrap();
    }

    async fn several_that_extend_the_tree_at_once_make_one_tree(store, _clock) {
        let mut made = Vec::new();
        for _ in 0..3 {
            append(&store, 300).await;
            let more = append(&store, 40);
            let all = futures_util::future::join_all((0..4).map(|_| create(&store)));
            let (checkpoints, ()) = futures_util::future::join(all, more).await;
            made.extend(checkpoints.into_iter().map(|made| made.unwrap()));
        }
        let (ctx, checkpoints) = (Context::new(), Checkpoints::new(Arc::clone(&store)));
        made.sort_by_key(Checkpoint::size);
        let last = create(&store).await.unwrap();
        assert_eq!(last, expected(&store).await);
        for checkpoint in &made {
            checkpoints.consistency(&ctx, checkpoint, &last).await.unwrap();
        }
        store.close().await.unwrap();
    }
}

/// The bucket that the tree is in.
async fn bucket(store: &Arc<dyn Store>) -> Arc<dyn Bucket> {
    let name = BucketName::new(Checkpoints::BUCKET).unwrap();
    let settings = BucketSettings::default();
    let bucket = store.bucket(&Context::new(), &name, settings).await;
    bucket.unwrap()
}

/// A memory store with so many events.
async fn with_events(events: u64) -> Arc<dyn Store> {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    append(&store, events).await;
    store
}

#[tokio::test]
async fn every_call_may_run_as_a_task_of_its_own() {
    let store = with_events(3).await;
    let task = tokio::spawn(async move {
        let (ctx, checkpoints) = (Context::new(), Checkpoints::new(store));
        let made = checkpoints.create(&ctx, &key(), |_| {}).await?;
        let cid = EventAddress::Version(stream(3), Version::new(1));
        checkpoints.prove(&ctx, &cid, &made).await?;
        checkpoints.consistency(&ctx, &made, &made).await?;
        checkpoints.tile_files(&ctx, &made).await?;
        let verified = checkpoints.verify(&ctx, &made, |_| {}).await?;
        Ok::<_, CheckpointError>(verified.verdict)
    });
    assert_eq!(task.await.unwrap().unwrap(), Verdict::Unchanged);
}

#[tokio::test]
async fn only_new_events_are_read() {
    let inner = with_events(500).await;
    let counting = RewrittenStore::counting(Arc::clone(&inner));
    let store: Arc<dyn Store> = Arc::<RewrittenStore>::clone(&counting);
    let mut seen = Vec::new();
    let checkpoints = Checkpoints::new(Arc::clone(&store));
    let progress = |progress: Progress| seen.push(progress);
    checkpoints
        .create(&Context::new(), &key(), progress)
        .await
        .unwrap();
    assert_eq!(counting.take_read(), 500);
    let last = Progress {
        done: 500,
        total: 500,
    };
    assert_eq!((seen.len(), seen.last()), (500, Some(&last)));

    append(&inner, 20).await;
    create(&store).await.unwrap();
    // The last one that was covered is read again: it has to be there still.
    assert_eq!(counting.take_read(), 21);
    create(&store).await.unwrap();
    assert_eq!(counting.take_read(), 1);
}

#[tokio::test]
async fn a_rewritten_event_is_named_with_its_stream_and_version() {
    let inner = with_events(600).await;
    let checkpoint = create(&inner).await.unwrap();
    append(&inner, 5).await;
    for index in [0, 1, 255, 256, 300, 511, 599] {
        let event = history(&inner).await[index].clone();
        let (cid, place) = (event.cid, event.position);
        // With another payload under the old CID, and as if it had always been so.
        let altered = telling(&inner, place, |mut event| {
            event.payload = b"\"altered\"".as_slice().into();
            vec![event]
        });
        let consistent = telling(&inner, place, |event| vec![rewritten(event)]);
        for (store, is_filed_under_its_own) in [(altered, false), (consistent, true)] {
            let Verdict::Rewritten { first: Some(first) } = verdict(&store, &checkpoint).await
            else {
                panic!("event {index} was rewritten");
            };
            assert_eq!((first.index, first.expected), (index as u64, cid));
            assert_eq!(first.position, Some(place));
            let Found::Event {
                stream,
                version,
                position,
                cid: found,
                filed,
            } = first.found
            else {
                panic!("an event was found");
            };
            assert_eq!(
                (stream, version, position),
                (event.stream.clone(), event.version, place)
            );
            assert_eq!(found == filed, is_filed_under_its_own);
            assert_ne!(found, cid);
        }
    }
    // One that came after the checkpoint is not its matter.
    let later = history(&inner).await[600].position;
    let store = telling(&inner, later, |event| vec![rewritten(event)]);
    assert_eq!(verdict(&store, &checkpoint).await, Verdict::Unchanged);
}

#[tokio::test]
async fn removed_repeated_and_swapped_events_are_found() {
    let inner = with_events(300).await;
    let checkpoint = create(&inner).await.unwrap();
    append(&inner, 300).await;
    let place = history(&inner).await[100].position;
    let twice = |event: RecordedEvent| vec![event.clone(), event];
    for (store, index) in [
        (telling(&inner, place, |_| Vec::new()), 100),
        (telling(&inner, place, twice), 101),
    ] {
        match verdict(&store, &checkpoint).await {
            Verdict::Rewritten { first: Some(first) } => assert_eq!(first.index, index),
            other => panic!("{other:?}"),
        }
    }
    let [one, other] = [100, 101].map(|index| history_of(&inner, index));
    let (one, other) = (one.await, other.await);
    let swapped: Arc<dyn Store> = RewrittenStore::new(Arc::clone(&inner), move |event| {
        if event.position == one.position {
            vec![other.clone()]
        } else if event.position == other.position {
            vec![one.clone()]
        } else {
            vec![event]
        }
    });
    match verdict(&swapped, &checkpoint).await {
        Verdict::Rewritten { first: Some(first) } => assert_eq!(first.index, 100),
        other => panic!("{other:?}"),
    }
}

async fn history_of(store: &Arc<dyn Store>, index: usize) -> RecordedEvent {
    history(store).await.swap_remove(index)
}

#[tokio::test]
async fn a_log_that_lost_its_end_is_cut() {
    let inner = with_events(300).await;
    let checkpoint = create(&inner).await.unwrap();
    for kept in [0, 1, 255, 256, 299] {
        let last = history(&inner).await[..kept]
            .last()
            .map(|event| event.position);
        let cut: Arc<dyn Store> = RewrittenStore::new(Arc::clone(&inner), move |event| {
            let is_kept = last.is_some_and(|last| event.position <= last);
            if is_kept { vec![event] } else { Vec::new() }
        });
        let (events, rest_is_unchanged) = (kept as u64, true);
        let expected = Verdict::Cut {
            events,
            rest_is_unchanged,
        };
        assert_eq!(verdict(&cut, &checkpoint).await, expected);
    }
}

#[tokio::test]
async fn what_a_log_can_not_hand_out_is_told() {
    let inner = with_events(300).await;
    let without_tree = expected(&inner).await;
    let place = history(&inner).await[270].position;
    let store: Arc<dyn Store> = RewrittenStore::damaged(Arc::clone(&inner), place);
    let (ctx, checkpoints) = (Context::new(), Checkpoints::new(Arc::clone(&store)));
    let verified = checkpoints
        .verify(&ctx, &without_tree, |_| {})
        .await
        .unwrap();
    assert_eq!(verified.verdict, Verdict::Rewritten { first: None });
    let damage = "a record does not check".to_owned();
    assert_eq!(verified.damage.as_ref(), Some(&damage));

    let checkpoint = create(&inner).await.unwrap();
    match verdict(&store, &checkpoint).await {
        Verdict::Rewritten { first: Some(first) } => {
            assert_eq!((first.index, first.position), (270, Some(place)));
            assert_eq!(first.found, Found::Damage(damage));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn without_the_tree_a_difference_is_seen_but_not_its_place() {
    let inner = with_events(30).await;
    let checkpoint = expected(&inner).await;
    let place = history(&inner).await[10].position;
    let store = telling(&inner, place, |event| vec![rewritten(event)]);
    assert_eq!(
        verdict(&store, &checkpoint).await,
        Verdict::Rewritten { first: None }
    );
    let store = telling(&inner, place, |_| Vec::new());
    let (events, rest_is_unchanged) = (29, false);
    let cut = Verdict::Cut {
        events,
        rest_is_unchanged,
    };
    assert_eq!(verdict(&store, &checkpoint).await, cut);
}

/// Whoever rewrites the log and makes the tree anew is found by what was kept elsewhere.
#[tokio::test]
async fn a_tree_that_was_made_again_over_a_rewritten_log_helps_nobody() {
    let inner = with_events(30).await;
    let checkpoint = expected(&inner).await;
    let place = history(&inner).await[10].position;
    let store = telling(&inner, place, |event| vec![rewritten(event)]);
    let forged = create(&store).await.unwrap();
    assert_eq!(verdict(&store, &forged).await, Verdict::Unchanged);
    assert_eq!(
        verdict(&store, &checkpoint).await,
        Verdict::Rewritten { first: None }
    );
    let checkpoints = Checkpoints::new(store);
    let error = checkpoints
        .consistency(&Context::new(), &checkpoint, &forged)
        .await;
    assert!(matches!(
        error,
        Err(CheckpointError::OtherTree { size: 30, .. })
    ));
}

#[tokio::test]
async fn a_tree_does_not_go_on_over_a_log_whose_covered_end_was_rewritten() {
    let inner = with_events(300).await;
    create(&inner).await.unwrap();
    append(&inner, 10).await;
    let last = history(&inner).await[299].clone();
    for store in [
        telling(&inner, last.position, |event| vec![rewritten(event)]),
        telling(&inner, last.position, |_| Vec::new()),
        RewrittenStore::new(Arc::clone(&inner), move |event| {
            let is_kept = event.position < last.position;
            if is_kept { vec![event] } else { Vec::new() }
        }),
    ] {
        let error = create(&store).await.unwrap_err();
        assert!(
            matches!(error, CheckpointError::Rewritten { index: 299, .. }),
            "{error}"
        );
        assert!(error.is_integrity());
    }
    assert_eq!(create(&inner).await.unwrap(), expected(&inner).await);
}

#[tokio::test]
async fn a_tree_that_was_forgotten_is_made_again() {
    let inner = with_events(5_000).await;
    create(&inner).await.unwrap();
    let (ctx, bucket) = (Context::new(), bucket(&inner).await);
    let forget = async |store: &Arc<dyn Store>| {
        let checkpoints = Checkpoints::new(Arc::clone(store));
        checkpoints.forget(&ctx).await
    };
    // Damaged, in every value.
    for key in bucket
        .keys(&ctx, &SubjectPattern::all())
        .await
        .unwrap()
        .try_collect::<Vec<_>>()
        .await
        .unwrap()
    {
        bucket
            .put(&ctx, &key, "damage".into(), WriteOptions::default())
            .await
            .unwrap();
    }
    create(&inner).await.unwrap_err();
    forget(&inner).await.unwrap();
    let again = create(&inner).await.unwrap();
    assert_eq!(again, expected(&inner).await);
    let of_first = EventAddress::Version(stream(3), Version::new(1));
    let checkpoints = Checkpoints::new(Arc::clone(&inner));
    checkpoints.prove(&ctx, &of_first, &again).await.unwrap();

    // Over a log that is not the one that was covered.
    let last = history(&inner).await[4_999].clone();
    let other = telling(&inner, last.position, |event| vec![rewritten(event)]);
    create(&other).await.unwrap_err();
    forget(&other).await.unwrap();
    assert_eq!(create(&other).await.unwrap(), expected(&other).await);

    // What only the tree knows is not forgotten.
    forget(&inner).await.unwrap();
    create(&inner).await.unwrap();
    truncate(&inner, 9).await;
    let refused = forget(&inner).await.unwrap_err();
    assert!(
        matches!(refused, CheckpointError::Truncated { .. }),
        "{refused}"
    );
    create(&inner).await.unwrap();
}

#[tokio::test]
async fn an_event_without_its_cid_gets_into_no_checkpoint() {
    let inner = with_events(10).await;
    let event = history(&inner).await[4].clone();
    let store = telling(&inner, event.position, |mut event| {
        event.payload = b"\"altered\"".as_slice().into();
        vec![event]
    });
    match create(&store).await.unwrap_err() {
        CheckpointError::Altered {
            stream, version, ..
        } => {
            assert_eq!((stream, version), (event.stream, event.version));
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn what_is_not_in_the_tree_is_not_proven() {
    let inner = with_events(30).await;
    let checkpoint = create(&inner).await.unwrap();
    let (ctx, checkpoints) = (Context::new(), Checkpoints::new(Arc::clone(&inner)));
    for address in [
        EventAddress::Version(stream(1), Version::new(1000)),
        EventAddress::Version(stream(99), Version::new(1)),
        EventAddress::Cid(EventCid::of(b"nothing")),
    ] {
        let error = checkpoints
            .prove(&ctx, &address, &checkpoint)
            .await
            .unwrap_err();
        assert!(
            matches!(error, CheckpointError::NoSuchEvent { .. }),
            "{error}"
        );
    }
    let event = history(&inner).await[10].clone();
    let store = telling(&inner, event.position, |event| vec![rewritten(event)]);
    let address = EventAddress::Version(event.stream, event.version);
    let error = Checkpoints::new(store)
        .prove(&ctx, &address, &checkpoint)
        .await
        .unwrap_err();
    assert!(
        matches!(error, CheckpointError::OtherEvent { .. }),
        "{error}"
    );
    // A checkpoint of another history.
    let other = create(&with_events(30).await).await.unwrap();
    let error = checkpoints.prove(&ctx, &address, &other).await.unwrap_err();
    assert!(
        matches!(error, CheckpointError::OtherTree { .. }),
        "{error}"
    );
}

/// Gives up the first events of a log.
async fn truncate(store: &Arc<dyn Store>, events: usize) {
    let mut digester = ArchiveDigester::new();
    let history = history(store).await;
    history[..events]
        .iter()
        .for_each(|event| digester.push(event));
    let truncation = Truncation {
        through: history[events - 1].position,
        archived: digester.finish(),
    };
    store
        .log()
        .truncate(&Context::new(), truncation)
        .await
        .unwrap();
}

#[tokio::test]
async fn truncated_events_count_with_the_hashes_that_the_tree_has() {
    let store = with_events(600).await;
    let old = create(&store).await.unwrap();
    append(&store, 30).await;
    let whole = expected(&store).await;
    truncate(&store, 300).await;
    assert_eq!(create(&store).await.unwrap(), whole);
    let (ctx, checkpoints) = (Context::new(), Checkpoints::new(Arc::clone(&store)));
    for checkpoint in [&old, &whole] {
        let verified = checkpoints.verify(&ctx, checkpoint, |_| {}).await.unwrap();
        assert_eq!(
            (verified.verdict, verified.from_tree),
            (Verdict::Unchanged, 300)
        );
    }
    let place = history(&store).await[57].position;
    let rewritten = telling(&store, place, |event| vec![rewritten(event)]);
    match verdict(&rewritten, &old).await {
        Verdict::Rewritten { first: Some(first) } => assert_eq!(first.index, 357),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_log_that_was_truncated_where_the_tree_ends_goes_on() {
    let store = with_events(300).await;
    create(&store).await.unwrap();
    append(&store, 30).await;
    let whole = expected(&store).await;
    truncate(&store, 300).await;
    assert_eq!(create(&store).await.unwrap(), whole);
    assert_eq!(verdict(&store, &whole).await, Verdict::Unchanged);
}

#[tokio::test]
async fn truncated_events_that_were_never_covered_have_no_checkpoint() {
    let store = with_events(30).await;
    let checkpoint = expected(&store).await;
    truncate(&store, 3).await;
    let error = create(&store).await.unwrap_err();
    assert!(
        matches!(error, CheckpointError::Truncated { .. }),
        "{error}"
    );
    let (ctx, checkpoints) = (Context::new(), Checkpoints::new(store));
    let error = checkpoints
        .verify(&ctx, &checkpoint, |_| {})
        .await
        .unwrap_err();
    assert!(
        matches!(error, CheckpointError::Truncated { .. }),
        "{error}"
    );
}

/// At each of its calls to the store, a run breaks off or does not learn what became of it; the
/// next one goes on to the same tree.
#[tokio::test]
async fn a_run_that_breaks_off_anywhere_is_gone_on_with() {
    let (first, more) = (600, 4_400);
    let layer = FaultLayer::new(FaultPlan::none(), Arc::new(SystemIds));
    let counted = layer.store(with_events(first).await);
    create(&counted).await.unwrap();
    let before = layer.calls();
    append(&counted, more).await;
    let appended = layer.calls();
    create(&counted).await.unwrap();
    let calls = layer.calls() - appended;
    assert!(before > 3 && calls > 20, "{before} {calls}");

    let store = with_events(first).await;
    create(&store).await.unwrap();
    append(&store, more).await;
    let whole = expected(&store).await;
    let ctx = Context::new();
    let bucket = bucket(&store).await;
    let edge = Key::new("edge").unwrap();
    let first_edge = bucket.get(&ctx, &edge).await.unwrap().unwrap().value;
    let faults = [FaultPlan::before, FaultPlan::after];
    for (fault, number) in faults.iter().flat_map(|f| (1..=calls).map(move |n| (f, n))) {
        // Back to where the tree was; half of the time with what the last run left behind.
        bucket.set(&ctx, &edge, first_edge.clone()).await.unwrap();
        if number % 2 == 0 {
            for key in bucket.all_keys(&ctx).await.unwrap() {
                let is_new =
                    !["edge", "tile/entries/000", "tile/entries/001"].contains(&key.as_str());
                if is_new {
                    bucket.delete(&ctx, &key, None).await.unwrap();
                }
            }
        }
        let layer = FaultLayer::new(fault(number), Arc::new(SystemIds));
        match create(&layer.store(Arc::clone(&store))).await {
            Ok(checkpoint) => assert_eq!(checkpoint, whole, "fault at call {number}"),
            Err(error) => assert!(!error.is_integrity(), "fault at call {number}: {error}"),
        }
        assert_eq!(
            create(&store).await.unwrap(),
            whole,
            "fault at call {number}"
        );
        let cid = history_of(&store, 4_000).await.cid;
        let checkpoints = Checkpoints::new(Arc::clone(&store));
        checkpoints
            .prove(&ctx, &EventAddress::Cid(cid), &whole)
            .await
            .unwrap();
    }
}

/// A run over another history broke off before its tree was there. Its tiles are no part of any
/// tree.
#[tokio::test]
async fn tiles_of_a_run_that_broke_off_are_replaced() {
    let store = with_events(300).await;
    let ctx = Context::new();
    let bucket = bucket(&store).await;
    let key = Key::new("tile/entries/000").unwrap();
    bucket.set(&ctx, &key, "left over".into()).await.unwrap();
    let checkpoint = create(&store).await.unwrap();
    assert_eq!(checkpoint, expected(&store).await);
    let checkpoints = Checkpoints::new(Arc::clone(&store));
    let cid = history_of(&store, 7).await.cid;
    checkpoints
        .prove(&ctx, &EventAddress::Cid(cid), &checkpoint)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_damaged_tree_is_told_and_the_log_is_verified_all_the_same() {
    let store = with_events(300).await;
    let checkpoint = create(&store).await.unwrap();
    let ctx = Context::new();
    let bucket = bucket(&store).await;
    let (checkpoints, cid) = (
        Checkpoints::new(Arc::clone(&store)),
        history_of(&store, 7).await.cid,
    );
    let place = history_of(&store, 7).await.position;
    let rewritten = telling(&store, place, |event| vec![rewritten(event)]);
    for key in ["tile/entries/000", "edge"] {
        bucket
            .set(&ctx, &Key::new(key).unwrap(), "damaged".into())
            .await
            .unwrap();
        let error = checkpoints
            .prove(&ctx, &EventAddress::Cid(cid), &checkpoint)
            .await;
        assert!(error.unwrap_err().is_integrity(), "{key}");
        assert_eq!(
            verdict(&store, &checkpoint).await,
            Verdict::Unchanged,
            "{key}"
        );
        let found = verdict(&rewritten, &checkpoint).await;
        assert_eq!(found, Verdict::Rewritten { first: None }, "{key}");
    }
    // It can be made again.
    for key in bucket.all_keys(&ctx).await.unwrap() {
        bucket.delete(&ctx, &key, None).await.unwrap();
    }
    assert_eq!(create(&store).await.unwrap(), checkpoint);
}

/// Where a log differs is found by whole blocks of 65 536 events first; and a long run that breaks
/// off keeps what it has done.
#[tokio::test]
async fn a_long_log_is_searched_by_blocks_and_covered_in_steps() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let ctx = Context::new();
    for commit in 0..140 {
        let (log, to) = (store.log(), stream(commit % 3));
        let events = (0..1000).map(event).collect();
        let appended = log.append_to(&ctx, &to, ExpectedVersion::Any, events).await;
        appended.unwrap();
    }
    let layer = FaultLayer::new(FaultPlan::none(), Arc::new(SystemIds));
    let checkpoint = create(&layer.store(Arc::clone(&store))).await.unwrap();
    assert_eq!(checkpoint.size(), 140_000);
    for index in [65_535, 131_072] {
        let place = Position::new(index + 1);
        let counting = RewrittenStore::new(Arc::clone(&store), move |event| {
            let is_meant = event.position == place;
            vec![if is_meant { rewritten(event) } else { event }]
        });
        let rewritten: Arc<dyn Store> = Arc::<RewrittenStore>::clone(&counting);
        match verdict(&rewritten, &checkpoint).await {
            Verdict::Rewritten { first: Some(first) } => assert_eq!(first.index, index),
            other => panic!("{other:?}"),
        }
        assert!(counting.take_read() <= 140_000 + 65_536);
    }

    // The last call of all, which saves the edge, fails.
    let bucket = bucket(&store).await;
    for key in bucket.all_keys(&ctx).await.unwrap() {
        bucket.purge(&ctx, &key, None).await.unwrap();
    }
    let layer = FaultLayer::new(FaultPlan::before(layer.calls()), Arc::new(SystemIds));
    let broken_off = create(&layer.store(Arc::clone(&store))).await;
    assert!(matches!(broken_off, Err(CheckpointError::Bucket(_))));
    let checkpoints = Checkpoints::new(Arc::clone(&store));
    assert_eq!(checkpoints.covered(&ctx).await.unwrap().0, 131_072);
    assert_eq!(create(&store).await.unwrap(), checkpoint);
}

#[tokio::test]
async fn the_files_of_a_tree_hold_every_event_and_hash() {
    let store = with_events(1_000).await;
    let checkpoint = create(&store).await.unwrap();
    append(&store, 300).await;
    create(&store).await.unwrap(); // the tree has grown beyond it
    let (ctx, checkpoints) = (Context::new(), Checkpoints::new(Arc::clone(&store)));
    let mut files = checkpoints.tile_files(&ctx, &checkpoint).await.unwrap();
    let (mut paths, mut entries) = (Vec::new(), Vec::new());
    for piece in files.pieces() {
        let bytes = files.bytes(&ctx, piece).await.unwrap();
        let path = piece.to_string();
        if path.starts_with("tile/entries/") {
            assert_eq!(bytes.len(), piece.width * 38, "{path}");
            entries.extend_from_slice(&bytes);
        } else {
            assert_eq!(bytes.len(), piece.width * 32, "{path}");
        }
        paths.push(path);
    }
    assert_eq!(paths[3], "tile/entries/003.p/232");
    assert_eq!(paths[7], "tile/0/003.p/232");
    assert_eq!(paths[8..], ["tile/1/000.p/3"]);
    let mut tree = TreeHasher::new();
    let (bundled, rest) = entries.as_chunks::<38>();
    assert!(rest.is_empty());
    bundled.iter().for_each(|entry| tree.push(&entry[2..]));
    assert_eq!((tree.size(), tree.root()), (1_000, checkpoint.root()));
}
