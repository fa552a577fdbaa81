//! What is particular to the memory adapter: paging, what is freed, what wakes whom. The contract
//! itself is tested by the conformance suite.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt};

use super::*;
use crate::*;

type TestResult = Result<(), Box<dyn std::error::Error>>;

const MANY: usize = 3 * SCAN + 7;

struct Setup {
    store: MemoryStore,
    log: Arc<dyn EventLog>,
    clock: ManualClock,
    ctx: Context,
}

fn setup() -> Setup {
    let clock = ManualClock::at(Timestamp::from_seconds(1_000));
    let store = MemoryStore::with(Arc::new(clock.clone()), Arc::new(SequentialIds::new(1)));
    Setup {
        log: store.log(),
        store,
        clock,
        ctx: Context::new(),
    }
}

fn stream(id: &str) -> StreamId {
    StreamId::new("test", "thing", id).unwrap()
}

fn event(number: usize) -> NewEvent {
    let kind = if number.is_multiple_of(700) {
        "rare"
    } else {
        "usual"
    };
    NewEvent::json(kind, &number).unwrap()
}

fn key(text: &str) -> Key {
    Key::new(text.to_owned()).unwrap()
}

impl Setup {
    /// Appends events with the numbers from 1, one commit each, turn by turn to two streams.
    async fn fill(&self, count: usize) -> TestResult {
        for number in 1..=count {
            let stream = stream(if number.is_multiple_of(2) {
                "even"
            } else {
                "odd"
            });
            self.log
                .append_to(
                    &self.ctx,
                    &stream,
                    ExpectedVersion::Any,
                    vec![event(number)],
                )
                .await?;
        }
        Ok(())
    }

    async fn bucket(&self, settings: BucketSettings) -> Result<Arc<dyn Bucket>, BucketError> {
        let name = BucketName::new("b").unwrap();
        self.store.bucket(&self.ctx, &name, settings).await
    }

    async fn archive(&self, through: Position) -> Result<Truncation, EventLogError> {
        let mut digester = ArchiveDigester::new();
        let after = self.log.stats(&self.ctx).await?.truncated_through;
        let mut read = self
            .log
            .read_log(&self.ctx, LogQuery::all().after(after))
            .await?;
        while let Some(event) = read.try_next().await? {
            if event.position <= through {
                digester.push(&event);
            }
        }
        Ok(Truncation {
            through,
            archived: digester.finish(),
        })
    }
}

fn numbers(events: &[RecordedEvent]) -> Vec<usize> {
    events.iter().map(|event| event.json().unwrap()).collect()
}

#[tokio::test]
async fn reads_longer_than_a_page_are_whole_in_both_directions() -> TestResult {
    let t = setup();
    t.fill(MANY).await?;
    let log: Vec<_> = t
        .log
        .read_log(&t.ctx, LogQuery::all())
        .await?
        .try_collect()
        .await?;
    assert!(numbers(&log).into_iter().eq(1..=MANY));

    let odd: Vec<_> = (1..=MANY).step_by(2).collect();
    assert_eq!(numbers(&t.log.read_all(&t.ctx, &stream("odd")).await?), odd);

    let range = StreamRange::all().backwards();
    let read = t.log.read_stream(&t.ctx, &stream("odd"), range).await?;
    let mut backwards = numbers(&read.try_collect::<Vec<_>>().await?);
    backwards.reverse();
    assert_eq!(backwards, odd);
    Ok(())
}

#[tokio::test]
async fn a_read_finds_rare_events_far_apart_and_stops_at_its_limit() -> TestResult {
    let t = setup();
    t.fill(MANY).await?;
    let rare = EventFilter::all().of_type(EventType::new("rare")?);
    let query = LogQuery::all().filter(rare.clone());
    let found: Vec<_> = t
        .log
        .read_log(&t.ctx, query.clone())
        .await?
        .try_collect()
        .await?;
    assert_eq!(numbers(&found), [700, 1_400, 2_100, 2_800]);
    let found: Vec<_> = t
        .log
        .read_log(&t.ctx, query.limit(3))
        .await?
        .try_collect()
        .await?;
    assert_eq!(numbers(&found), [700, 1_400, 2_100]);

    let subscription = t.log.subscribe(&t.ctx, rare, Position::NONE).await?;
    let found: Vec<_> = subscription.take(4).try_collect().await?;
    assert_eq!(numbers(&found), [700, 1_400, 2_100, 2_800]);
    Ok(())
}

#[tokio::test]
async fn times_of_storing_are_found_by_seeking() -> TestResult {
    let t = setup();
    for number in 1..=10 {
        t.clock.advance(Duration::from_secs(10));
        let any = ExpectedVersion::Any;
        t.log
            .append_to(
                &t.ctx,
                &stream("a"),
                any,
                vec![event(number), event(number)],
            )
            .await?;
    }
    let during = TimeRange {
        basis: TimeBasis::StoredAt,
        from: Some(Timestamp::from_seconds(1_030)),
        to: Some(Timestamp::from_seconds(1_050)),
    };
    let query = LogQuery::all().filter(EventFilter::all().during(during));
    let found: Vec<_> = t.log.read_log(&t.ctx, query).await?.try_collect().await?;
    assert_eq!(numbers(&found), [3, 3, 4, 4]);
    Ok(())
}

#[tokio::test]
async fn a_truncation_that_overtakes_a_read_ends_it_with_an_error() -> TestResult {
    let t = setup();
    t.fill(MANY).await?;
    let mut forwards = t.log.read_log(&t.ctx, LogQuery::all()).await?;
    let range = StreamRange::all().backwards();
    let mut backwards = t.log.read_stream(&t.ctx, &stream("odd"), range).await?;
    forwards.try_next().await?;
    backwards.try_next().await?;

    let cut = t.archive(Position::new(1_000)).await?;
    t.log.truncate(&t.ctx, cut).await?;

    // What was taken before the cut may still come; then the read is refused, not shortened.
    let error = forwards
        .try_for_each(|_| std::future::ready(Ok(())))
        .await
        .unwrap_err();
    assert_eq!(error.fault(), Some(Fault::NotFound));
    let error = backwards
        .try_for_each(|_| std::future::ready(Ok(())))
        .await
        .unwrap_err();
    assert_eq!(error.fault(), Some(Fault::NotFound));
    Ok(())
}

#[tokio::test]
async fn truncated_events_are_freed_and_the_rest_keeps_its_chain() -> TestResult {
    let t = setup();
    t.fill(10).await?;
    let before = t.log.stats(&t.ctx).await?;
    let cut = t.archive(Position::new(7)).await?;
    t.log.truncate(&t.ctx, cut).await?;

    let stats = t.log.stats(&t.ctx).await?;
    assert_eq!((stats.events, stats.streams), (3, 2));
    assert_eq!(stats.first, Position::new(8));
    assert_eq!(stats.last, before.last);
    assert!(stats.bytes > 0 && stats.bytes * 2 < before.bytes);

    let range = StreamRange::from(Version::new(4));
    let even = t.log.read_stream(&t.ctx, &stream("even"), range).await?;
    let even: Vec<_> = even.try_collect().await?;
    assert_eq!(numbers(&even), [8, 10]);
    assert_eq!(even[1].previous, Some(even[0].cid));

    let write = Append::new().write(stream("even"), Version::new(5), vec![event(12)]);
    let next = t.log.append(&t.ctx, write).await?;
    assert_eq!(next.position, Position::new(11));
    let error = t.log.read_all(&t.ctx, &stream("odd")).await.unwrap_err();
    assert!(
        error.context().any(|at| at == ("first version", "5")),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn everything_can_be_truncated_and_the_log_goes_on() -> TestResult {
    let t = setup();
    t.fill(4).await?;
    let cut = t.archive(Position::new(4)).await?;
    t.log.truncate(&t.ctx, cut).await?;
    assert_eq!(
        t.log.truncate(&t.ctx, cut).await.unwrap_err().fault(),
        Some(Fault::NotFound)
    );
    let stats = t.log.stats(&t.ctx).await?;
    assert_eq!(
        (stats.events, stats.bytes, stats.first),
        (0, 0, Position::NONE)
    );

    let subscription = t
        .log
        .subscribe(&t.ctx, EventFilter::all(), stats.last)
        .await?;
    t.fill(1).await?;
    let event = subscription
        .take(1)
        .try_collect::<Vec<_>>()
        .await?
        .remove(0);
    assert_eq!(
        (event.position, event.version),
        (Position::new(5), Version::new(3))
    );
    Ok(())
}

#[tokio::test]
async fn a_subscription_from_the_future_waits_for_it() -> TestResult {
    let t = setup();
    t.fill(2).await?;
    let mut subscription = t
        .log
        .subscribe(&t.ctx, EventFilter::all(), Position::new(4))
        .await?;
    assert!(subscription.next().now_or_never().is_none());
    t.fill(3).await?;
    let event = subscription.try_next().await?.ok_or("it ended")?;
    assert_eq!(event.position, Position::new(5));
    Ok(())
}

#[tokio::test]
async fn values_longer_than_a_page_are_listed_once_each_below_a_prefix() -> TestResult {
    let t = setup();
    let bucket = t.bucket(BucketSettings::default()).await?;
    for number in 0..MANY {
        let text = if number.is_multiple_of(2) {
            format!("a.{number:05}")
        } else {
            format!("a-b.{number:05}")
        };
        bucket.set(&t.ctx, &key(&text), Bytes::new()).await?;
    }
    bucket.set(&t.ctx, &key("a"), Bytes::new()).await?;
    let below: Vec<Key> = bucket
        .keys(&t.ctx, &"a.*".parse()?)
        .await?
        .try_collect()
        .await?;
    let expected = (0..MANY)
        .step_by(2)
        .map(|number| key(&format!("a.{number:05}")));
    assert!(below.into_iter().eq(expected));
    let literal: Vec<Entry> = bucket
        .entries(&t.ctx, &"a".parse()?)
        .await?
        .try_collect()
        .await?;
    assert_eq!(literal.len(), 1);
    assert_eq!(bucket.all_keys(&t.ctx).await?.len(), MANY + 1);
    Ok(())
}

#[tokio::test]
async fn a_waiting_watcher_wakes_when_a_time_to_live_is_over() -> TestResult {
    let t = setup();
    let bucket = t.bucket(BucketSettings::default()).await?;
    let ttl = WriteOptions::ttl(Duration::from_secs(5));
    bucket.put(&t.ctx, &key("a"), "1".into(), ttl).await?;
    let mut watch = bucket
        .watch(&t.ctx, &SubjectPattern::all(), WatchFrom::Now)
        .await?;
    assert!(watch.next().now_or_never().is_none());
    t.clock.advance(Duration::from_secs(4));
    assert!(watch.next().now_or_never().is_none());
    t.clock.advance(Duration::from_secs(1));
    let purge = watch.try_next().await?.ok_or("it ended")?;
    assert_eq!(
        (purge.operation, purge.revision),
        (Operation::Purge, Revision::new(2))
    );
    Ok(())
}

/// A clock that moves on by a second just before anyone falls asleep.
#[derive(Debug)]
struct RushingClock(ManualClock);

impl Clock for RushingClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn monotonic(&self) -> std::time::Instant {
        self.0.monotonic()
    }

    fn sleep(&self, duration: Duration) -> crate::clock::Sleep {
        self.0.advance(Duration::from_secs(1));
        self.0.sleep(duration)
    }
}

#[tokio::test]
async fn a_watcher_does_not_fall_asleep_past_the_end_of_a_value() -> TestResult {
    let clock = RushingClock(ManualClock::at(Timestamp::EPOCH));
    let store = MemoryStore::with(Arc::new(clock), Arc::new(SequentialIds::new(1)));
    let (ctx, name) = (Context::new(), BucketName::new("b")?);
    let ttl = BucketSettings::default().with_ttl(Duration::from_secs(1));
    let bucket = store.bucket(&ctx, &name, ttl).await?;
    let all = SubjectPattern::all();
    let mut watch = bucket.watch(&ctx, &all, WatchFrom::Now).await?;
    bucket.set(&ctx, &key("a"), Bytes::new()).await?;
    let operations = [(); 2].map(|()| {
        let next = watch.next().now_or_never().flatten();
        next.and_then(Result::ok).map(|entry| entry.operation)
    });
    assert_eq!(operations, [Some(Operation::Put), Some(Operation::Purge)]);
    Ok(())
}

#[tokio::test]
async fn a_watcher_that_is_late_still_sees_a_purge() -> TestResult {
    let t = setup();
    let bucket = t.bucket(BucketSettings::default()).await?;
    let all = SubjectPattern::all();
    let mut late = bucket.watch(&t.ctx, &all, WatchFrom::Now).await?;
    bucket.purge(&t.ctx, &key("a"), None).await?;
    t.clock.advance(Duration::from_secs(24 * 3_600));
    bucket.set(&t.ctx, &key("b"), Bytes::new()).await?;
    let purge = late.try_next().await?.ok_or("it ended")?;
    assert_eq!((purge.operation, purge.key), (Operation::Purge, key("a")));
    Ok(())
}

#[tokio::test]
async fn a_value_written_again_lives_by_its_new_time() -> TestResult {
    let t = setup();
    let bucket = t.bucket(BucketSettings::default().with_history(3)).await?;
    let ttl = WriteOptions::ttl(Duration::from_secs(5));
    bucket.put(&t.ctx, &key("a"), "old".into(), ttl).await?;
    bucket.set(&t.ctx, &key("a"), "new".into()).await?;
    t.clock.advance(Duration::from_secs(5));
    let history = bucket.history(&t.ctx, &key("a")).await?;
    assert_eq!(
        history.len(),
        1,
        "the old value is over, and no purge was recorded"
    );
    assert_eq!(history[0].value, "new");
    assert_eq!(
        bucket.get(&t.ctx, &key("a")).await?.as_ref(),
        history.first()
    );
    Ok(())
}

#[tokio::test]
async fn short_lived_keys_leave_nothing_behind() -> TestResult {
    let t = setup();
    let bucket = t
        .bucket(BucketSettings::default().with_ttl(Duration::from_secs(1)))
        .await?;
    for number in 0..1_000 {
        bucket
            .set(&t.ctx, &key(&number.to_string()), Bytes::new())
            .await?;
    }
    t.clock.advance(Duration::from_secs(1));
    let all = SubjectPattern::all();
    let kept = bucket
        .watch(&t.ctx, &all, WatchFrom::After(Revision::NONE))
        .await?;
    assert_eq!(kept.take(1_000).try_collect::<Vec<_>>().await?.len(), 1_000);

    t.clock.advance(Duration::from_secs(3_600));
    let mut kept = bucket
        .watch(&t.ctx, &all, WatchFrom::After(Revision::NONE))
        .await?;
    assert!(kept.next().now_or_never().is_none());
    let next = bucket.set(&t.ctx, &key("new"), Bytes::new()).await?;
    assert_eq!(next, Revision::new(2_001), "revisions go on");
    Ok(())
}

#[tokio::test]
async fn a_watch_of_current_values_does_not_lose_one_that_changes_meanwhile() -> TestResult {
    let t = setup();
    let bucket = t.bucket(BucketSettings::default().with_history(2)).await?;
    bucket.set(&t.ctx, &key("a"), "0".into()).await?;
    bucket.set(&t.ctx, &key("a"), "1".into()).await?;
    bucket.set(&t.ctx, &key("b"), "2".into()).await?;
    bucket.delete(&t.ctx, &key("b"), None).await?;
    let watch = bucket
        .watch(&t.ctx, &SubjectPattern::all(), WatchFrom::Current)
        .await?;
    bucket.set(&t.ctx, &key("a"), "3".into()).await?;
    let seen: Vec<Entry> = watch.take(2).try_collect().await?;
    assert_eq!([&seen[0].value, &seen[1].value], ["1", "3"]);
    Ok(())
}

#[tokio::test]
async fn after_closing_every_stream_and_every_call_says_closed() -> TestResult {
    let t = setup();
    t.fill(PAGE * 2).await?;
    let bucket = t.bucket(BucketSettings::default()).await?;
    let mut subscription = t
        .log
        .subscribe(&t.ctx, EventFilter::all(), Position::new(256))
        .await?;
    let mut watch = bucket
        .watch(&t.ctx, &SubjectPattern::all(), WatchFrom::Now)
        .await?;
    let waiting = tokio::spawn(async move { (subscription.next().await, watch.next().await) });
    tokio::task::yield_now().await;
    let read = t.log.read_log(&t.ctx, LogQuery::all()).await?;
    t.store.close().await?;
    t.store.close().await?;

    let (event, change) = waiting.await?;
    assert_eq!(
        event.ok_or("it ended")?.unwrap_err().fault(),
        Some(Fault::Closed)
    );
    assert_eq!(
        change.ok_or("it ended")?.unwrap_err().fault(),
        Some(Fault::Closed)
    );
    let error = read.try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.fault(), Some(Fault::Closed));
    let name = BucketName::new("other")?;
    let error = t
        .store
        .bucket(&t.ctx, &name, BucketSettings::default())
        .await
        .unwrap_err();
    assert_eq!(error.fault(), Some(Fault::Closed));
    let error = bucket
        .set(&t.ctx, &key("a"), Bytes::new())
        .await
        .unwrap_err();
    assert_eq!(error.fault(), Some(Fault::Closed));
    let error = t.log.append(&t.ctx, Append::new()).await.unwrap_err();
    assert_eq!(error.fault(), Some(Fault::Closed));
    Ok(())
}

#[tokio::test]
async fn other_settings_of_a_bucket_are_refused_by_name() -> TestResult {
    let t = setup();
    t.bucket(BucketSettings::default()).await?;
    t.bucket(BucketSettings::default()).await?;
    let other = BucketSettings::default()
        .with_history(4)
        .with_ttl(Duration::from_secs(60));
    let error = t.bucket(other).await.unwrap_err();
    expect_test::expect!["the bucket exists with other settings (bucket: b, history: 1, asked for 4, ttl: none, asked for 60s)"]
        .assert_eq(&error.to_string());
    Ok(())
}

#[tokio::test]
async fn a_deadline_that_passed_stores_nothing_and_ends_reads() -> TestResult {
    let t = setup();
    t.fill(PAGE * 3).await?;
    let short = t.ctx.clone().with_timeout(&t.clock, Duration::from_secs(1));
    let mut read = t.log.read_log(&short, LogQuery::all()).await?;
    let mut live = t
        .log
        .subscribe(&short, EventFilter::all(), Position::NONE)
        .await?;
    read.try_next().await?;
    t.clock.advance(Duration::from_secs(1));
    let error = read
        .try_for_each(|_| std::future::ready(Ok(())))
        .await
        .unwrap_err();
    assert_eq!(error.fault(), Some(Fault::Unavailable));
    assert!(
        live.try_next().await?.is_some(),
        "a deadline is for the beginning only"
    );
    let write = Append::new().write(stream("new"), ExpectedVersion::Any, vec![event(1)]);
    let error = t.log.append(&short, write).await.unwrap_err();
    assert_eq!(error.fault(), Some(Fault::Unavailable));
    assert_eq!(t.log.head(&t.ctx, &stream("new")).await?, None);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn subscribers_see_every_event_once_in_order_while_writers_race() -> TestResult {
    let t = setup();
    let readers = (0..3).map(|_| {
        let (log, ctx) = (t.log.clone(), t.ctx.clone());
        tokio::spawn(async move {
            let live = log
                .subscribe(&ctx, EventFilter::all(), Position::NONE)
                .await?;
            let seen: Vec<RecordedEvent> = live.take(1_200).try_collect().await?;
            Ok::<_, EventLogError>(seen)
        })
    });
    let readers: Vec<_> = readers.collect();
    let writers = (0..4).map(|writer: usize| {
        let (log, ctx) = (t.log.clone(), t.ctx.clone());
        tokio::spawn(async move {
            for number in 0..100 {
                let any = ExpectedVersion::Any;
                let write = Append::new()
                    .write(
                        stream(&writer.to_string()),
                        any,
                        vec![event(number), event(number)],
                    )
                    .write(stream("shared"), any, vec![event(number)]);
                log.append(&ctx, write).await?;
            }
            Ok::<_, EventLogError>(())
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await??;
    }
    for reader in readers {
        let seen = reader.await??;
        assert!(seen.iter().map(|event| event.position.get()).eq(1..=1_200));
        assert!(
            seen.chunks(3)
                .all(|commit| commit.iter().all(|e| e.commit_id == commit[0].commit_id))
        );
    }
    Ok(())
}
