//! The suite finds stores that break a line of the contract: each kind of break makes the cases
//! fail that are there for it.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;

use bytes::Bytes;
use cim_conformance::{Harness, HarnessError, Setup};
use cim_store::bucket::KeyStream;
use cim_store::memory::MemoryStore;
use cim_store::ordered::one_by_one;
use cim_store::{
    Append, Appended, AppendedInOrder, Bucket, BucketCapabilities, BucketError, BucketName,
    BucketSettings, CommitId, Context, Entry, EntryStream, EventFilter, EventLog, EventLogError,
    EventLogErrorKind, EventStream, Examination, Examined, ExpectedVersion, Fault, Head,
    HeadStream, Health, Key, LogCapabilities, LogQuery, LogStats, OrderedAppend, Position,
    RecordedEvent, Resolution, Revision, SharedSubscriptions, Store, StreamId, StreamPattern,
    StreamRange, SubjectPattern, Truncation, WatchFrom, WriteOptions,
};
use futures_util::{StreamExt, TryStreamExt, stream};

/// What a store does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Break {
    IgnoresExpectations,
    IgnoresChecks,
    ForgetsCommitIds,
    SplitsCommits,
    StoresBackwards,
    GoesOnAfterAnError,
    SharesContexts,
    ReadsShort,
    SortsPositions,
    ReadsPositionsOnce,
    PassesOverGaps,
    ReadsAnyNumberOfPositions,
    ExaminesShort,
    ExaminesOtherBytes,
    FilesUnderTheNextVersion,
    SkipsInSubscriptions,
    RepeatsInSubscriptions,
    IgnoresDeadlines,
    StaysOpen,
    LiesAboutConflicts,
    LeavesOutPrincipals,
    IgnoresTypesInFilters,
    IgnoresPositions,
    TruncatesAnything,
    ResolvesNothing,
    IgnoresRevisions,
    IgnoresTimesToLive,
    KeepsWhatIsPurged,
    SkipsInWatches,
    MixesBuckets,
}

#[derive(Debug)]
struct Broken<T: ?Sized> {
    inner: Arc<T>,
    how: Break,
}

struct BrokenHarness(Break);

#[cim_conformance::async_trait]
impl Harness for BrokenHarness {
    type Place = ();

    async fn place(&self) -> Result<(), HarnessError> {
        Ok(())
    }

    async fn open(&self, _: &(), setup: Setup) -> Result<Arc<dyn Store>, HarnessError> {
        Ok(Arc::new(Broken {
            inner: Arc::new(MemoryStore::with(setup.clock, setup.ids)),
            how: self.0,
        }))
    }

    fn persistent(&self) -> bool {
        false
    }
}

#[cim_conformance::async_trait]
impl Store for Broken<MemoryStore> {
    fn log(&self) -> Arc<dyn EventLog> {
        Arc::new(Broken {
            inner: self.inner.log(),
            how: self.how,
        })
    }

    fn shared_subscriptions(&self) -> Option<Arc<dyn SharedSubscriptions>> {
        self.inner.shared_subscriptions()
    }

    async fn bucket(
        &self,
        ctx: &Context,
        name: &BucketName,
        settings: BucketSettings,
    ) -> Result<Arc<dyn Bucket>, BucketError> {
        let one_for_all = BucketName::new("one").unwrap();
        let mixes = self.how == Break::MixesBuckets;
        let name = if mixes { &one_for_all } else { name };
        Ok(Arc::new(Broken {
            inner: self.inner.bucket(ctx, name, settings).await?,
            how: self.how,
        }))
    }

    async fn buckets(
        &self,
        ctx: &Context,
    ) -> Result<Vec<(BucketName, BucketSettings)>, BucketError> {
        self.inner.buckets(ctx).await
    }

    async fn health(&self, ctx: &Context) -> Result<Health, EventLogError> {
        self.inner.health(ctx).await
    }

    async fn close(&self) -> Result<(), EventLogError> {
        match self.how {
            Break::StaysOpen => Ok(()),
            _ => self.inner.close().await,
        }
    }
}

impl Broken<dyn EventLog> {
    fn subscribed(&self, events: EventStream) -> EventStream {
        let how = self.how;
        let broken = events.enumerate().flat_map(move |(number, event)| {
            let events = match (how, event) {
                (Break::SkipsInSubscriptions, _) if number % 7 == 6 => Vec::new(),
                (Break::RepeatsInSubscriptions, Ok(event)) if number % 7 == 6 => {
                    vec![Ok(event.clone()), Ok(event)]
                }
                (_, event) => vec![event],
            };
            stream::iter(events)
        });
        broken.boxed()
    }
}

#[cim_conformance::async_trait]
impl EventLog for Broken<dyn EventLog> {
    async fn append(&self, ctx: &Context, mut append: Append) -> Result<Appended, EventLogError> {
        let mut ctx = ctx.clone();
        match self.how {
            Break::IgnoresExpectations => {
                for write in &mut append.writes {
                    write.expected = ExpectedVersion::Any;
                }
            }
            Break::IgnoresChecks => append.checks.clear(),
            Break::ForgetsCommitIds => append.commit_id = None,
            Break::IgnoresDeadlines | Break::LeavesOutPrincipals => ctx = Context::new(),
            Break::SplitsCommits if append.writes.len() > 1 => {
                let mut last = None;
                for write in append.writes {
                    let one = Append {
                        writes: vec![write],
                        ..Append::new()
                    };
                    last = Some(self.inner.append(&ctx, one).await?);
                    tokio::task::yield_now().await;
                }
                return Ok(last.unwrap());
            }
            _ => {}
        }
        let result = self.inner.append(&ctx, append).await;
        match (self.how, &result) {
            (Break::LiesAboutConflicts, Err(error)) => match error.kind() {
                EventLogErrorKind::VersionConflict {
                    stream,
                    expected,
                    actual,
                } => Err(EventLogError::version_conflict(
                    stream.clone(),
                    *expected,
                    actual.next(),
                )),
                _ => result,
            },
            _ => result,
        }
    }

    async fn append_in_order(
        &self,
        ctx: &Context,
        mut commits: Vec<OrderedAppend>,
    ) -> AppendedInOrder {
        match self.how {
            Break::StoresBackwards => {
                commits.reverse();
                let mut done = one_by_one(self, ctx, commits).await;
                done.appended.reverse();
                done
            }
            Break::GoesOnAfterAnError => {
                let mut done = AppendedInOrder::default();
                for commit in commits {
                    let one = one_by_one(self, ctx, vec![commit]).await;
                    done.error = done.error.or(one.error);
                    if done.error.is_none() {
                        done.appended.extend(one.appended);
                    }
                }
                done
            }
            Break::SharesContexts => {
                commits
                    .iter_mut()
                    .for_each(|commit| commit.ctx = ctx.clone());
                one_by_one(self, ctx, commits).await
            }
            _ => one_by_one(self, ctx, commits).await,
        }
    }

    async fn read_at(
        &self,
        ctx: &Context,
        positions: &[Position],
    ) -> Result<Vec<RecordedEvent>, EventLogError> {
        let mut positions = positions.to_vec();
        match self.how {
            Break::SortsPositions => positions.sort_unstable(),
            Break::ReadsPositionsOnce => {
                let mut seen = std::collections::BTreeSet::new();
                positions.retain(|position| seen.insert(*position));
            }
            Break::PassesOverGaps => {
                let mut found = Vec::new();
                for position in positions {
                    match self.inner.read_at(ctx, &[position]).await {
                        Err(error) if error.fault() == Some(Fault::NotFound) => {}
                        one => found.extend(one?),
                    }
                }
                return Ok(found);
            }
            Break::ReadsAnyNumberOfPositions => {
                let mut found = Vec::new();
                for some in positions.chunks(100) {
                    found.extend(self.inner.read_at(ctx, some).await?);
                }
                return Ok(found);
            }
            _ => {}
        }
        self.inner.read_at(ctx, &positions).await
    }

    async fn examine(
        &self,
        ctx: &Context,
        mut after: Position,
    ) -> Result<Examination, EventLogError> {
        let how = self.how;
        if how == Break::IgnoresPositions {
            after = Position::NONE;
        }
        let most = if how == Break::ExaminesShort {
            50
        } else {
            usize::MAX
        };
        let found = self.inner.examine(ctx, after).await?.take(most);
        let found = found.map_ok(move |found| match found {
            Examined::Event(mut event) if how == Break::ExaminesOtherBytes => {
                event.block = event.block.iter().map(|byte| byte ^ 1).collect();
                Examined::Event(event)
            }
            Examined::Event(mut event) if how == Break::FilesUnderTheNextVersion => {
                event.version = event.version.next();
                Examined::Event(event)
            }
            found => found,
        });
        Ok(found.boxed())
    }

    async fn read_stream(
        &self,
        ctx: &Context,
        id: &StreamId,
        mut range: StreamRange,
    ) -> Result<EventStream, EventLogError> {
        if self.how == Break::ReadsShort && range.limit.is_none() {
            range = range.limit(100);
        }
        self.inner.read_stream(ctx, id, range).await
    }

    async fn read_log(
        &self,
        ctx: &Context,
        mut query: LogQuery,
    ) -> Result<EventStream, EventLogError> {
        match self.how {
            Break::ReadsShort if query.limit.is_none() => query.limit = Some(100),
            Break::IgnoresTypesInFilters => query.filter.types.clear(),
            Break::IgnoresPositions => query.after = Position::NONE,
            _ => {}
        }
        self.inner.read_log(ctx, query).await
    }

    async fn subscribe(
        &self,
        ctx: &Context,
        mut filter: EventFilter,
        mut after: Position,
    ) -> Result<EventStream, EventLogError> {
        match self.how {
            Break::IgnoresTypesInFilters => filter.types.clear(),
            Break::IgnoresPositions => after = Position::NONE,
            _ => {}
        }
        let events = self.inner.subscribe(ctx, filter, after).await?;
        Ok(self.subscribed(events))
    }

    async fn head(&self, ctx: &Context, id: &StreamId) -> Result<Option<Head>, EventLogError> {
        self.inner.head(ctx, id).await
    }

    async fn streams(
        &self,
        ctx: &Context,
        pattern: &StreamPattern,
    ) -> Result<HeadStream, EventLogError> {
        self.inner.streams(ctx, pattern).await
    }

    async fn resolve(&self, ctx: &Context, commit: CommitId) -> Result<Resolution, EventLogError> {
        match self.how {
            Break::ResolvesNothing => Ok(Resolution::NotCommitted),
            _ => self.inner.resolve(ctx, commit).await,
        }
    }

    async fn stats(&self, ctx: &Context) -> Result<LogStats, EventLogError> {
        self.inner.stats(ctx).await
    }

    async fn truncate(&self, ctx: &Context, truncation: Truncation) -> Result<(), EventLogError> {
        match self.how {
            Break::TruncatesAnything => Ok(()),
            _ => self.inner.truncate(ctx, truncation).await,
        }
    }

    fn capabilities(&self) -> LogCapabilities {
        self.inner.capabilities()
    }
}

#[cim_conformance::async_trait]
impl Bucket for Broken<dyn Bucket> {
    fn name(&self) -> &BucketName {
        self.inner.name()
    }

    fn settings(&self) -> BucketSettings {
        self.inner.settings()
    }

    async fn get(&self, ctx: &Context, key: &Key) -> Result<Option<Entry>, BucketError> {
        self.inner.get(ctx, key).await
    }

    async fn put(
        &self,
        ctx: &Context,
        key: &Key,
        value: Bytes,
        mut options: WriteOptions,
    ) -> Result<Revision, BucketError> {
        if self.how == Break::IgnoresTimesToLive {
            options.ttl = Some(std::time::Duration::from_secs(1_000));
        }
        self.inner.put(ctx, key, value, options).await
    }

    async fn create(
        &self,
        ctx: &Context,
        key: &Key,
        value: Bytes,
        options: WriteOptions,
    ) -> Result<Revision, BucketError> {
        match self.how {
            Break::IgnoresRevisions => self.inner.put(ctx, key, value, options).await,
            _ => self.inner.create(ctx, key, value, options).await,
        }
    }

    async fn update(
        &self,
        ctx: &Context,
        key: &Key,
        value: Bytes,
        expected: Revision,
        options: WriteOptions,
    ) -> Result<Revision, BucketError> {
        match self.how {
            Break::IgnoresRevisions => self.inner.put(ctx, key, value, options).await,
            _ => self.inner.update(ctx, key, value, expected, options).await,
        }
    }

    async fn delete(
        &self,
        ctx: &Context,
        key: &Key,
        expected: Option<Revision>,
    ) -> Result<Revision, BucketError> {
        self.inner.delete(ctx, key, expected).await
    }

    async fn purge(
        &self,
        ctx: &Context,
        key: &Key,
        expected: Option<Revision>,
    ) -> Result<Revision, BucketError> {
        match self.how {
            Break::KeepsWhatIsPurged => self.inner.delete(ctx, key, expected).await,
            _ => self.inner.purge(ctx, key, expected).await,
        }
    }

    async fn keys(
        &self,
        ctx: &Context,
        pattern: &SubjectPattern,
    ) -> Result<KeyStream, BucketError> {
        self.inner.keys(ctx, pattern).await
    }

    async fn entries(
        &self,
        ctx: &Context,
        pattern: &SubjectPattern,
    ) -> Result<EntryStream, BucketError> {
        self.inner.entries(ctx, pattern).await
    }

    async fn history(&self, ctx: &Context, key: &Key) -> Result<Vec<Entry>, BucketError> {
        self.inner.history(ctx, key).await
    }

    async fn watch(
        &self,
        ctx: &Context,
        pattern: &SubjectPattern,
        from: WatchFrom,
    ) -> Result<EntryStream, BucketError> {
        let changes = self.inner.watch(ctx, pattern, from).await?;
        if self.how != Break::SkipsInWatches {
            return Ok(changes);
        }
        let broken = changes
            .enumerate()
            .filter_map(|(number, change)| async move { (number % 3 != 1).then_some(change) });
        Ok(broken.boxed())
    }

    fn capabilities(&self) -> BucketCapabilities {
        self.inner.capabilities()
    }
}

/// Cases that wait in vain for what a break leaves out.
const FOUND_BY_WAITING: &[(Break, &str)] = &[
    (
        Break::SkipsInSubscriptions,
        "history_and_live_join_without_gap_or_repeat",
    ),
    (
        Break::SkipsInWatches,
        "a_watch_from_now_delivers_what_changes",
    ),
];

/// Which cases a break must make fail.
const FOUND_BY: &[(Break, &[&str])] = &[
    (
        Break::IgnoresExpectations,
        &[
            "append_with_stale_version_conflicts",
            "the_first_commit_that_conflicts_ends_commits_in_order",
            "of_two_writers_of_the_same_version_one_wins",
            "of_two_writers_that_create_a_stream_one_wins",
            "a_commit_with_one_stale_stream_stores_nothing",
            "counting_up_by_retries_loses_no_count",
            "random_histories_equal_the_model",
            "concurrent_clients_leave_a_history_that_checks",
        ],
    ),
    (
        Break::IgnoresChecks,
        &[
            "a_check_that_fails_stores_nothing",
            "two_decisions_that_rest_on_each_other_do_not_both_pass",
            "random_histories_equal_the_model",
            "concurrent_clients_leave_a_history_that_checks",
        ],
    ),
    (
        Break::ForgetsCommitIds,
        &[
            "the_commit_id_given_is_kept",
            "the_same_commit_again_returns_the_first_result",
            "a_cancelled_append_is_stored_whole_or_not_at_all",
            "the_same_commits_in_order_again_are_stored_once",
            "a_commit_that_stands_twice_among_commits_in_order_is_stored_once",
            "a_cancelled_call_leaves_a_beginning_of_its_commits_in_order",
        ],
    ),
    (
        Break::StoresBackwards,
        &[
            "commits_in_order_are_stored_in_their_order",
            "commits_in_order_are_what_they_are_one_by_one",
            "random_histories_equal_the_model",
        ],
    ),
    (
        Break::GoesOnAfterAnError,
        &[
            "the_first_commit_that_conflicts_ends_commits_in_order",
            "a_check_that_fails_ends_commits_in_order",
            "a_commit_that_is_too_large_ends_commits_in_order",
            "an_invalid_commit_ends_commits_in_order",
            "a_commit_id_used_for_other_events_ends_commits_in_order",
            "random_histories_equal_the_model",
        ],
    ),
    (
        Break::SharesContexts,
        &["every_commit_in_order_has_a_context_of_its_own"],
    ),
    (
        Break::ExaminesShort,
        &[
            "everything_that_is_stored_is_examined",
            "a_long_log_is_examined_whole",
            "an_examination_is_as_of_its_begin",
        ],
    ),
    (
        Break::ExaminesOtherBytes,
        &[
            "everything_that_is_stored_is_examined",
            "the_largest_event_is_examined",
        ],
    ),
    (
        Break::FilesUnderTheNextVersion,
        &[
            "everything_that_is_stored_is_examined",
            "an_examination_shows_what_was_acknowledged_before_it",
        ],
    ),
    (
        Break::SplitsCommits,
        &[
            "a_commit_with_one_stale_stream_stores_nothing",
            "readers_of_the_log_never_see_a_part_of_a_commit",
            "readers_of_streams_never_see_a_part_of_a_commit",
            "every_event_says_its_place_in_its_commit",
        ],
    ),
    (
        Break::ReadsShort,
        &[
            "a_long_stream_is_read_whole",
            "a_commit_of_a_thousand_events_is_stored_whole",
            "a_read_of_the_log_is_as_of_its_begin",
        ],
    ),
    (
        Break::SortsPositions,
        &[
            "events_come_in_the_order_of_the_positions_asked_for",
            "a_thousand_positions_are_read_at_once",
            "the_largest_events_are_read_at_their_positions",
            "random_histories_equal_the_model",
        ],
    ),
    (
        Break::ReadsPositionsOnce,
        &[
            "a_position_asked_for_twice_is_delivered_twice",
            "random_histories_equal_the_model",
        ],
    ),
    (
        Break::PassesOverGaps,
        &[
            "a_position_where_no_event_stands_is_not_found",
            "every_position_has_its_event_or_none",
            "positions_before_the_cut_are_not_found",
            "random_histories_equal_the_model",
        ],
    ),
    (
        Break::ReadsAnyNumberOfPositions,
        &["one_position_more_than_a_thousand_is_too_large"],
    ),
    (
        Break::RepeatsInSubscriptions,
        &[
            "every_subscriber_sees_what_concurrent_writers_store",
            "history_and_live_join_without_gap_or_repeat",
            "a_slow_subscriber_misses_nothing",
        ],
    ),
    (
        Break::IgnoresDeadlines,
        &[
            "an_append_after_its_deadline_stores_nothing",
            "commits_in_order_after_the_deadline_store_nothing",
        ],
    ),
    (
        Break::StaysOpen,
        &[
            "every_operation_of_a_closed_log_is_refused",
            "every_operation_of_a_closed_bucket_is_refused",
        ],
    ),
    (
        Break::LiesAboutConflicts,
        &[
            "append_with_stale_version_conflicts",
            "concurrent_clients_leave_a_history_that_checks",
        ],
    ),
    (
        Break::LeavesOutPrincipals,
        &[
            "the_context_is_recorded_with_the_event",
            "every_commit_in_order_has_a_context_of_its_own",
            "the_same_event_has_the_same_cid_in_every_store",
        ],
    ),
    (
        Break::IgnoresTypesInFilters,
        &[
            "the_log_can_be_read_by_type",
            "a_subscription_delivers_only_what_its_filter_means",
        ],
    ),
    (
        Break::IgnoresPositions,
        &[
            "after_a_position_does_not_include_it",
            "an_examination_begins_after_its_position",
            "a_subscription_starts_after_its_position",
            "a_subscription_resumes_from_the_last_position_seen",
        ],
    ),
    (
        Break::TruncatesAnything,
        &[
            "truncation_with_the_digest_of_other_events_is_invalid",
            "truncation_in_the_middle_of_a_commit_is_invalid",
            "reads_that_begin_before_the_cut_are_refused",
        ],
    ),
    (
        Break::ResolvesNothing,
        &[
            "resolve_says_committed_with_the_result",
            "random_histories_equal_the_model",
        ],
    ),
    (
        Break::IgnoresRevisions,
        &[
            "a_key_that_has_a_value_can_not_be_created",
            "update_from_a_stale_revision_conflicts",
            "of_two_creators_of_a_key_one_wins",
            "of_two_updates_from_a_revision_one_wins",
            "random_histories_of_a_bucket_equal_the_model",
        ],
    ),
    (
        Break::IgnoresTimesToLive,
        &[
            "a_value_is_gone_after_the_buckets_time_to_live",
            "a_key_can_have_a_time_to_live_of_its_own",
            "random_histories_of_a_bucket_equal_the_model",
        ],
    ),
    (Break::KeepsWhatIsPurged, &["purge_takes_the_history_away"]),
    (Break::MixesBuckets, &["buckets_are_separate"]),
];

#[test]
fn every_break_is_found_by_the_cases_that_are_there_for_it() {
    let mut missed = Vec::new();
    for (how, cases) in FOUND_BY {
        for case in *cases {
            let passed =
                std::panic::catch_unwind(|| cim_conformance::run(case, BrokenHarness(*how)));
            if passed.is_ok() {
                missed.push((how, case));
            }
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn a_case_that_waits_in_vain_fails_by_name() {
    for (how, case) in FOUND_BY_WAITING {
        let limit = std::time::Duration::from_secs(2);
        let run = || cim_conformance::run_within(limit, case, BrokenHarness(*how));
        let panic = std::panic::catch_unwind(run).unwrap_err();
        let message = panic.downcast_ref::<String>().unwrap();
        assert_eq!(
            *message,
            format!("`{case}` did not end within 2s: it hangs")
        );
    }
}
