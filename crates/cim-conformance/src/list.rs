//! The one list of all cases, and what is made of it: the table for programs, a test of each case
//! for `cargo test`.

/// Hands all cases of the port `EventLog` to another macro of this crate.
#[doc(hidden)]
#[macro_export]
macro_rules! __event_log_cases {
    ($then:ident $($argument:tt)*) => {
        $crate::$then! {
            { $($argument)* }
            atomicity {
                a_commit_of_one_stream_is_stored_whole
                a_commit_of_many_streams_is_stored_whole
                a_commit_with_one_stale_stream_stores_nothing
                a_commit_of_a_thousand_events_is_stored_whole
                every_event_says_its_place_in_its_commit
                readers_of_the_log_never_see_a_part_of_a_commit
                readers_of_streams_never_see_a_part_of_a_commit
                whole_commits_are_there_after_reopening
            }
            cancellation {
                a_cancelled_append_is_stored_whole_or_not_at_all
                an_append_that_is_never_polled_stores_nothing
                a_cancelled_append_does_not_hold_up_others
                a_cancelled_call_leaves_a_beginning_of_its_commits_in_order
                many_cancelled_appends_leave_a_whole_log
                an_append_after_its_deadline_stores_nothing
                an_append_before_its_deadline_is_stored
                every_operation_after_its_deadline_is_unavailable
            }
            chain {
                every_event_has_its_cid
                every_event_names_the_one_before_it
                every_stream_verifies_as_a_chain
                the_chain_goes_on_after_reopening
                the_same_event_has_the_same_cid_in_every_store
            }
            checks {
                a_check_that_holds_lets_the_commit_pass
                a_check_that_fails_stores_nothing
                a_check_can_require_that_a_stream_does_not_exist
                a_check_of_a_stream_that_does_not_exist_fails
                two_decisions_that_rest_on_each_other_do_not_both_pass
                an_append_without_events_only_checks
                an_append_of_checks_alone_stores_nothing
                an_append_of_nothing_passes
                a_write_without_events_checks_for_the_others
                a_stream_named_twice_is_invalid
                many_streams_can_be_written_and_checked_at_once
            }
            closing {
                every_operation_of_a_closed_log_is_refused
                closing_twice_is_no_error
                what_was_acknowledged_before_closing_is_there_after_it
            }
            commit_ids {
                the_commit_id_given_is_kept
                commits_without_an_id_get_one_each
                the_same_commit_again_returns_the_first_result
                the_same_commit_after_others_returns_the_first_result
                the_same_commit_with_other_expectations_returns_the_first_result
                the_same_commit_after_reopening_returns_the_first_result
                the_same_commit_at_the_same_time_is_stored_once
                a_commit_id_used_for_other_events_is_invalid
                resolve_says_committed_with_the_result
                resolve_says_not_committed_for_what_never_was
                a_commit_that_lost_is_not_committed_and_can_be_tried_again
            }
            examination {
                everything_that_is_stored_is_examined
                an_empty_log_has_nothing_to_examine
                an_examination_begins_after_its_position
                an_examination_shows_what_was_acknowledged_before_it
                an_examination_is_as_of_its_begin
                a_long_log_is_examined_whole
                the_largest_event_is_examined
                everything_is_examined_after_reopening
                a_log_is_examined_while_it_is_written
                an_examination_that_is_dropped_disturbs_nobody
                what_is_truncated_is_passed_over_by_an_examination
            }
            histories {
                random_histories_equal_the_model
                concurrent_clients_leave_a_history_that_checks
            }
            in_order {
                commits_in_order_are_stored_in_their_order
                what_commits_in_order_return_is_what_they_stored
                commits_in_order_see_the_heads_of_those_before_them
                commits_in_order_are_what_they_are_one_by_one
                the_first_commit_that_conflicts_ends_commits_in_order
                a_check_that_fails_ends_commits_in_order
                a_commit_that_is_too_large_ends_commits_in_order
                an_invalid_commit_ends_commits_in_order
                the_same_commits_in_order_again_are_stored_once
                commits_in_order_go_on_where_a_call_before_them_ended
                a_commit_that_stands_twice_among_commits_in_order_is_stored_once
                a_commit_id_used_for_other_events_ends_commits_in_order
                every_commit_in_order_gets_an_id_where_it_has_none
                every_commit_in_order_has_a_context_of_its_own
                commits_in_order_after_the_deadline_store_nothing
                the_deadline_of_the_call_is_that_of_every_commit_in_order
                no_commits_in_order_are_no_error
                commits_in_order_without_events_only_check
                many_commits_in_order_are_stored_whole
                large_commits_in_order_are_stored_whole
                commits_in_order_of_many_callers_keep_each_their_order
                of_two_callers_with_the_same_commits_in_order_both_store_them_once
                a_subscriber_sees_commits_in_order_in_their_order
                commits_in_order_are_there_after_reopening
                a_commit_in_order_said_to_be_fresh_is_stored
            }
            limits {
                every_store_has_the_contracts_limits
                the_largest_payload_is_stored
                a_payload_of_one_byte_more_is_too_large
                the_largest_metadata_is_stored
                metadata_of_one_byte_more_is_too_large
                a_commit_of_one_event_more_is_too_large
                the_largest_commit_in_bytes_is_stored
                a_commit_of_one_byte_more_is_too_large
                a_commit_with_one_stream_more_is_too_large
                the_longest_subject_is_stored
                a_subject_of_one_byte_more_is_too_large
                the_deepest_payload_is_stored
                a_payload_of_one_level_more_is_too_large
                what_was_too_large_can_be_appended_smaller
            }
            one_winner {
                append_with_the_right_version_succeeds
                append_with_stale_version_conflicts
                append_with_a_version_of_the_future_conflicts
                append_of_a_new_stream_conflicts_when_it_exists
                append_to_a_stream_that_should_exist_conflicts_when_it_does_not
                append_at_any_version_takes_what_is_there
                the_first_expectation_that_fails_is_the_one_reported
                a_writer_that_lost_can_decide_again_and_win
                of_two_writers_of_the_same_version_one_wins
                of_many_writers_of_the_same_version_one_wins
                of_two_writers_that_create_a_stream_one_wins
                commits_that_cross_each_other_do_not_both_win
                counting_up_by_retries_loses_no_count
                versions_go_on_after_reopening
            }
            order {
                versions_count_from_one_without_gaps
                positions_increase_along_the_log
                positions_of_concurrent_commits_do_not_mix
                what_was_acknowledged_before_has_the_smaller_positions
                the_log_and_the_streams_hold_the_same_events
                the_head_is_the_last_event
                what_an_append_returns_is_what_it_stored
                streams_are_listed_by_pattern_each_once
                the_stats_count_what_is_there
                positions_go_on_after_reopening
            }
            reading_at_positions {
                events_come_in_the_order_of_the_positions_asked_for
                a_position_asked_for_twice_is_delivered_twice
                where_no_positions_are_asked_for_there_are_no_events
                a_position_where_no_event_stands_is_not_found
                every_position_has_its_event_or_none
                a_thousand_positions_are_read_at_once
                one_position_more_than_a_thousand_is_too_large
                the_largest_events_are_read_at_their_positions
                what_was_acknowledged_is_read_at_its_position
                readers_at_positions_never_see_a_part_of_a_commit
                events_are_read_at_their_positions_after_reopening
                a_read_at_positions_that_is_dropped_disturbs_nobody
                positions_before_the_cut_are_not_found
            }
            reading_streams {
                a_stream_that_does_not_exist_has_no_events
                a_range_has_both_its_ends
                a_range_that_goes_beyond_the_head_ends_there
                an_empty_range_has_no_events
                backwards_is_from_newer_to_older
                a_limit_ends_a_read
                every_range_is_what_the_contract_says
                a_read_of_a_stream_is_as_of_its_begin
                a_read_sees_what_was_acknowledged_before_it
                a_long_stream_is_read_whole
                a_read_that_is_dropped_disturbs_nobody
            }
            reading_the_log {
                an_empty_log_has_no_events
                after_a_position_does_not_include_it
                a_limit_ends_a_read_of_the_log
                a_limit_counts_only_what_the_filter_means
                the_log_can_be_read_page_by_page
                the_log_can_be_read_by_subject
                the_log_can_be_read_by_type
                all_parts_of_a_filter_narrow_it
                a_read_of_the_log_is_as_of_its_begin
                the_log_shows_what_was_acknowledged_before_the_read
            }
            recorded {
                every_part_of_an_event_comes_back
                what_an_event_lacks_is_filled_in
                the_context_is_recorded_with_the_event
                the_events_own_correlation_overrides_the_contexts
                any_text_can_be_an_id
                any_printable_text_can_be_an_event_type
                metadata_comes_back_in_canonical_order
                an_empty_payload_is_a_payload
                everything_comes_back_after_reopening
            }
            shared_subscriptions {
                each_event_goes_to_one_member
                what_is_not_acknowledged_in_time_goes_to_another_member
                what_is_kept_stays_with_its_member
                what_is_handed_back_comes_again_after_its_time
                what_is_given_up_never_comes_again
                attempts_are_counted_and_exhausted_at_last
                one_in_flight_keeps_the_order
                the_place_survives_its_members_and_reopening
                only_what_the_filter_means_is_shared
                a_shared_subscription_begins_after_its_position
                joining_with_other_settings_is_invalid
                shared_settings_out_of_range_are_refused
                shared_subscriptions_are_listed_with_what_is_left
                a_deleted_shared_subscription_ends_and_begins_anew
                a_member_that_waits_is_woken
                what_a_member_leaves_goes_to_others
                a_member_ends_with_closed_when_the_store_is_closed
            }
            subscriptions {
                a_subscription_delivers_history_first
                a_subscription_delivers_what_is_stored_later
                a_waiting_subscription_is_woken
                history_and_live_join_without_gap_or_repeat
                every_subscriber_sees_what_concurrent_writers_store
                a_subscription_starts_after_its_position
                a_subscription_delivers_only_what_its_filter_means
                a_subscription_resumes_from_the_last_position_seen
                a_subscription_resumes_after_reopening
                a_slow_subscriber_misses_nothing
                a_subscription_outlives_its_deadline
                a_subscription_that_is_dropped_disturbs_nobody
                a_subscription_ends_with_closed_when_the_store_is_closed
                a_conflict_wakes_no_subscriber
            }
            time {
                stored_at_is_when_the_store_took_it
                stored_at_never_decreases_when_the_clock_is_set_back
                stored_at_never_decreases_after_reopening
                the_time_of_an_event_can_be_any_time
                the_log_can_be_read_by_when_events_happened
                the_log_can_be_read_by_when_events_were_stored
                reading_by_stored_at_holds_where_the_clock_was_set_back
                the_clocks_time_is_an_events_time_where_it_has_none
            }
            truncation {
                truncation_gives_up_what_the_archive_holds
                truncation_with_the_digest_of_other_events_is_invalid
                truncation_in_the_middle_of_a_commit_is_invalid
                truncation_through_a_position_that_is_not_there_is_not_found
                reads_that_begin_before_the_cut_are_refused
                reads_after_the_cut_go_on
                heads_and_commits_stay_known_after_truncation
                heads_and_commits_stay_known_after_truncation_and_reopening
                a_stream_that_lost_all_its_events_goes_on
                truncation_can_go_on_later
            }
        }
    };
}

/// Hands all cases of the port `Bucket` to another macro of this crate.
#[doc(hidden)]
#[macro_export]
macro_rules! __bucket_cases {
    ($then:ident $($argument:tt)*) => {
        $crate::$then! {
            { $($argument)* }
            expiry {
                a_value_is_gone_after_the_buckets_time_to_live
                a_value_is_there_until_its_time_to_live_is_over
                a_key_can_have_a_time_to_live_of_its_own
                a_keys_own_time_to_live_overrides_the_buckets
                a_new_value_has_a_new_time_to_live
                a_key_can_be_created_after_its_value_expired
                update_of_an_expired_value_conflicts
                an_older_value_does_not_come_back_when_a_newer_one_expires
                watchers_see_the_end_of_a_time_to_live_as_a_purge
                a_watcher_that_waits_is_woken_by_the_end_of_a_time_to_live
                times_to_live_hold_after_reopening
                a_time_to_live_that_ended_while_closed_has_ended
            }
            histories {
                random_histories_of_a_bucket_equal_the_model
            }
            history {
                history_is_kept_as_deep_as_the_settings_say
                a_key_that_never_was_has_no_history
                delete_keeps_the_history
                purge_takes_the_history_away
                purge_after_delete_takes_the_history_away
                a_change_that_conflicts_is_not_in_the_history
            }
            lifecycle {
                a_bucket_opened_twice_is_the_same_bucket
                a_bucket_with_other_settings_is_invalid
                settings_out_of_range_are_invalid
                buckets_are_listed_by_name
                a_bucket_keeps_everything_when_reopened
                a_watch_goes_on_after_reopening
                every_operation_of_a_closed_bucket_is_refused
                every_operation_of_a_bucket_after_its_deadline_is_unavailable
            }
            listing {
                keys_and_entries_are_listed_by_pattern_each_once
                keys_without_a_value_are_not_listed
                many_keys_are_listed_whole
                buckets_are_separate
            }
            races {
                of_two_creators_of_a_key_one_wins
                of_two_updates_from_a_revision_one_wins
                of_many_updates_from_a_revision_one_wins
                counting_up_by_updates_loses_no_count
            }
            values {
                a_value_that_was_put_can_be_got
                a_value_can_be_put_over_another
                an_empty_value_is_a_value
                every_change_increases_the_revision
                a_key_that_has_a_value_can_not_be_created
                a_key_can_be_created_after_it_was_deleted
                a_key_can_be_created_after_it_was_purged
                update_from_the_right_revision_succeeds
                update_from_a_stale_revision_conflicts
                update_of_a_key_without_a_value_conflicts
                delete_takes_the_value_away
                a_key_without_a_value_may_be_deleted
                delete_from_a_stale_revision_conflicts
                purge_from_a_stale_revision_conflicts
                the_largest_value_is_stored
                a_value_of_one_byte_more_is_too_large
                a_time_to_live_under_a_second_is_invalid
            }
            watch {
                a_watch_from_now_delivers_what_changes
                a_watch_from_the_present_begins_with_the_values
                a_watch_after_a_revision_begins_with_what_is_kept
                a_watch_delivers_only_keys_that_match
                a_watch_sees_each_change_of_concurrent_writers_once
                a_watch_goes_on_from_the_last_revision_seen
                a_waiting_watch_is_woken
                a_watch_skips_only_what_history_no_longer_keeps
                a_change_that_conflicts_is_not_seen
                a_watch_ends_with_closed_when_the_store_is_closed
            }
        }
    };
}

/// Makes a table of the cases of a port.
#[doc(hidden)]
#[macro_export]
macro_rules! __case_table {
    ({ $port:ident } $($group:ident { $($case:ident)* })*) => {
        &[$($(
            $crate::Case {
                name: stringify!($case),
                contract: $crate::$port::$group::CONTRACT,
                group: stringify!($group),
                run: |trial| Box::pin($crate::$port::$group::$case(trial)),
            },
        )*)*]
    };
}

/// Makes a test of each case.
#[doc(hidden)]
#[macro_export]
macro_rules! __case_tests {
    ({ $harness:expr } $($group:ident { $($case:ident)* })*) => {
        $($(
            #[test]
            fn $case() {
                $crate::run(stringify!($case), $harness);
            }
        )*)*
    };
}

/// Makes a module with one test for each case of the port `EventLog`, run against stores of this
/// harness.
///
/// ```
/// # use std::sync::Arc;
/// # use cim_conformance::{Harness, HarnessError, Setup};
/// # use cim_store::{Store, memory::MemoryStore};
/// # struct MyHarness;
/// # #[cim_conformance::async_trait]
/// # impl Harness for MyHarness {
/// #     type Place = ();
/// #     async fn place(&self) -> Result<(), HarnessError> { Ok(()) }
/// #     async fn open(&self, _: &(), setup: Setup) -> Result<Arc<dyn Store>, HarnessError> {
/// #         Ok(Arc::new(MemoryStore::with(setup.clock, setup.ids)))
/// #     }
/// #     fn persistent(&self) -> bool { false }
/// # }
/// // Makes `mine::append_with_stale_version_conflicts` and all the others.
/// cim_conformance::event_log_tests!(mine, MyHarness);
/// ```
#[macro_export]
macro_rules! event_log_tests {
    ($name:ident, $harness:expr) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $crate::__event_log_cases! { __case_tests $harness }
        }
    };
}

/// Makes a module with one test for each case of the port `Bucket`, run against stores of this
/// harness. Used as [`event_log_tests!`](crate::event_log_tests).
#[macro_export]
macro_rules! bucket_tests {
    ($name:ident, $harness:expr) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $crate::__bucket_cases! { __case_tests $harness }
        }
    };
}

/// Makes a module with one test for each case of both ports, run against stores of this harness.
/// Used as [`event_log_tests!`](crate::event_log_tests).
#[macro_export]
macro_rules! store_tests {
    ($name:ident, $harness:expr) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $crate::__event_log_cases! { __case_tests $harness }
            $crate::__bucket_cases! { __case_tests $harness }
        }
    };
}
