//! Checkpoints prove that history only grew, and tell where it did not.

use std::sync::Arc;

use cim_domain::persistence::checkpoint::note::SigningKey;
use cim_domain::persistence::checkpoint::tree::TreeHasher;
use cim_domain::persistence::checkpoint::{
    Checkpoint, CheckpointError, Checkpoints, ConsistencyProof, EventAddress, Found,
    InclusionProof, Progress, Verdict,
};
use cim_domain::store::memory::MemoryStore;
use cim_domain::store::{
    ArchiveDigester, Bucket, BucketName, BucketSettings, Context, EventCid, EventLogExt,
    ExpectedVersion, LogQuery, NewEvent, Position, RecordedEvent, Store, StreamId, SubjectPattern,
    Truncation, Version, WriteOptions,
};
use futures_util::TryStreamExt;

use crate::rewritten_store::{RewrittenStore, rewritten};
use crate::stores::on_every_store;

fn key() -> SigningKey {
    SigningKey::from_seed("example.com/shop", &[5; 32]).unwrap()
}

pub(crate) fn stream(number: u64) -> StreamId {
    StreamId::new("sales", "order", &number.to_string()).unwrap()
}

pub(crate) fn event(number: u64) -> NewEvent {
    NewEvent::json("noted", &number).unwrap()
}

/// Appends so many events, three a commit, to seven streams in turn.
pub(crate) async fn append(store: &Arc<dyn Store>, events: u64) {
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

pub(crate) async fn create(store: &Arc<dyn Store>) -> Result<Checkpoint, CheckpointError> {
    let checkpoints = Checkpoints::new(Arc::clone(store));
    checkpoints.create(&Context::new(), &key(), |_| {}).await
}

pub(crate) async fn verdict(store: &Arc<dyn Store>, checkpoint: &Checkpoint) -> Verdict {
    let checkpoints = Checkpoints::new(Arc::clone(store));
    let verified = checkpoints
        .verify(&Context::new(), checkpoint, |_| {})
        .await;
    verified.unwrap().verdict
}

/// The checkpoint that the log should have, computed in the simplest way.
pub(crate) async fn expected(store: &Arc<dyn Store>) -> Checkpoint {
    let mut tree = TreeHasher::new();
    for event in history(store).await {
        tree.push_event(&event.cid);
    }
    Checkpoint::sign(tree.size(), tree.root(), &key()).unwrap()
}

/// The same store with this event told in another way.
pub(crate) fn telling(
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
pub(crate) async fn bucket(store: &Arc<dyn Store>) -> Arc<dyn Bucket> {
    let name = BucketName::new(Checkpoints::BUCKET).unwrap();
    let settings = BucketSettings::default();
    let bucket = store.bucket(&Context::new(), &name, settings).await;
    bucket.unwrap()
}

/// A memory store with so many events.
pub(crate) async fn with_events(events: u64) -> Arc<dyn Store> {
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

pub(crate) async fn history_of(store: &Arc<dyn Store>, index: usize) -> RecordedEvent {
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
