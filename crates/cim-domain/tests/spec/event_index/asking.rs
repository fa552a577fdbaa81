//! Questions and answers.

use std::sync::Arc;
use std::time::Duration;

use cim_domain::persistence::event_index::{EventIndex, IndexError, IndexQuery, IndexSettings};
use cim_domain::persistence::{EventStore as _, Tags, TypedEventStore};
use cim_domain::store::{
    Append, EventFilter, EventLogExt as _, ExpectedVersion, Metadata, NewEvent, Store, StreamId,
    TimeBasis, TimeRange, Timestamp,
};
use futures_util::TryStreamExt as _;
use futures_util::future::join_all;

use super::counting::{ANCHOR, counting};
use super::{
    Event, all, append, conversation, ctx, event, in_memory, minutes, open, same, small, tag,
};
use crate::account::{AccountEvent, ID};
use crate::stores::{NOON, on_every_store, on_every_store_with_our_clock};

on_every_store! {
    async fn a_conversation_is_told_across_aggregates_in_the_order_of_the_log(store, _clock) {
        let index = open(&store).await;
        for number in [1, 2, 1, 3, 1] {
            append(&store.log(), &[event(number, number), event(number + 10, 1)]).await;
        }
        let found = index.read_by_correlation(&ctx(), conversation(1)).await.unwrap();
        let told: Vec<_> = found.iter().map(|event| event.stream.id()).collect();
        assert_eq!(told, ["1", "11", "12", "1", "11", "13", "1", "11"]);
        assert!(found.is_sorted_by_key(|event| event.position));
        assert!(index.read_by_correlation(&ctx(), conversation(7)).await.unwrap().is_empty());
    }

    async fn while_writers_write_answers_have_all_that_was_acknowledged_in_whole_commits(store, _clock) {
        let index = open(&store).await;
        let writers = (0..4_u8).map(|writer| {
            let (store, index) = (Arc::clone(&store), index.clone());
            async move {
                for round in 1..=12_usize {
                    let commit = [event(writer, 1), event(writer, 2), event(writer + 10, 1)];
                    append(&store.log(), &commit).await;
                    let found = index.read_by_correlation(&ctx(), conversation(1)).await.unwrap();
                    let own = found.iter().filter(|event| event.stream.id() == writer.to_string());
                    assert_eq!(own.count(), round);
                    assert!(found.is_sorted_by(|one, other| one.position < other.position));
                    // Each of these commits has two events of the conversation.
                    for pair in found.chunks(2) {
                        assert_eq!(pair[0].commit_id, pair[1].commit_id);
                    }
                }
            }
        });
        join_all(writers).await;
        let found = index.read_by_correlation(&ctx(), conversation(1)).await.unwrap();
        assert_eq!(found.len(), 4 * 12 * 2);
    }

    async fn tags_lead_to_events_and_streams_and_can_be_narrowed(store, _clock) {
        let index = open(&store).await;
        let tagged = |stream, tags: &[u8]| Event { tags: tags.to_vec(), ..event(stream, 1) };
        for stream in [4, 2, 4, 3] {
            append(&store.log(), &[tagged(stream, &[1, 2]), tagged(9, &[2])]).await;
        }
        let streams = index.streams_by_tag(&ctx(), &tag(1)).await.unwrap();
        let streams: Vec<_> = streams.iter().map(StreamId::id).collect();
        assert_eq!(streams, ["4", "2", "3"]);
        assert_eq!(index.read_by_tag(&ctx(), &tag(2)).await.unwrap().len(), 8);

        let both = IndexQuery::tag(&tag(2)).unwrap().tagged(Tags::new([tag(1)]).unwrap());
        let found = index.read_all(&ctx(), both.clone()).await.unwrap();
        assert_eq!(found.len(), 4);
        let of_four = EventFilter::all().matching("cim.events.shop.order.4.>".parse().unwrap());
        let query = both.clone().matching(of_four);
        assert_eq!(index.read_all(&ctx(), query).await.unwrap().len(), 2);
        let page = both.after(found[0].position).limit(2);
        same(&index.read_all(&ctx(), page).await.unwrap(), &found[1..3]);
    }

    async fn a_stream_of_events_ends_with_what_was_there_when_it_was_asked_for(store, _clock) {
        let index = open(&store).await;
        for number in 0..40 {
            append(&store.log(), &[event(number, 1)]).await;
        }
        let query = IndexQuery::correlation(conversation(1));
        let mut events = index.read(&ctx(), query).await.unwrap();
        let first = events.try_next().await.unwrap().unwrap();
        append(&store.log(), &[event(50, 1)]).await;
        index.persist(&ctx()).await.unwrap();
        let rest: Vec<_> = events.try_collect().await.unwrap();
        let before = &all(&store.log()).await[..40];
        same(&[vec![first], rest].concat(), before);
    }
}

on_every_store_with_our_clock! {
    async fn the_time_of_storing_is_found_by_the_log_itself(store, clock) {
        let index = open(&store).await;
        for number in 0..20 {
            append(&store.log(), &[event(number, 1), event(number, 2)]).await;
            clock.advance(Duration::from_secs(60));
        }
        let minute = |number: u64| Some(NOON.saturating_add(Duration::from_secs(60 * number)));
        let range = TimeRange { basis: TimeBasis::StoredAt, from: minute(5), to: minute(8) };
        let found = index.read_by_time_range(&ctx(), range).await.unwrap();
        let found: Vec<_> = found.try_collect().await.unwrap();
        same(&found, &all(&store.log()).await[10..16]);

        let query = IndexQuery::time(range)
            .tagged(Tags::new([tag(2)]).unwrap())
            .matching(EventFilter::all().during(minutes(Some(0), Some(9))))
            .limit(2);
        let found = index.read_all(&ctx(), query).await.unwrap();
        let positions: Vec<_> = found.iter().map(|event| event.position.get()).collect();
        assert_eq!(positions, [12, 14]);
        assert_eq!(index.status().position.get(), 0, "the index was not needed");
    }
}

#[tokio::test]
async fn times_before_1970_and_at_the_ends_of_time_are_found() {
    let (store, _) = in_memory().await;
    let stream = StreamId::new("shop", "order", "1").unwrap();
    let times = [i64::MIN, -1, 0, 1, i64::MAX].map(Timestamp::from_micros);
    for time in times {
        let new = NewEvent::json("it_happened", &()).unwrap().with_time(time);
        let append = store.log();
        append
            .append_to(&ctx(), &stream, ExpectedVersion::Any, vec![new])
            .await
            .unwrap();
    }
    let index = open(&store).await;
    let asked = |from, to| {
        let index = index.clone();
        let range = TimeRange {
            basis: TimeBasis::Time,
            from,
            to,
        };
        async move {
            let found = index.read_by_time_range(&ctx(), range).await.unwrap();
            let found: Vec<_> = found.try_collect().await.unwrap();
            found
                .iter()
                .map(|event| event.version.get())
                .collect::<Vec<_>>()
        }
    };
    assert_eq!(asked(None, None).await, [1, 2, 3, 4, 5]);
    assert_eq!(asked(None, Some(times[1])).await, [1]);
    assert_eq!(asked(Some(times[1]), Some(times[3])).await, [2, 3]);
    assert_eq!(asked(Some(times[3]), None).await, [4, 5]);
    assert!(asked(None, Some(times[0])).await.is_empty());
    assert!(asked(Some(times[4]), Some(times[4])).await.is_empty());
}

#[tokio::test]
async fn a_text_that_no_event_can_have_as_a_tag_is_refused() {
    let (store, _) = in_memory().await;
    let index = open(&store).await;
    for tag in ["", "a\nb", &"x".repeat(101)] {
        let refused = index.read_by_tag(&ctx(), tag).await.unwrap_err();
        assert!(matches!(refused, IndexError::InvalidTag(_)), "{refused:?}");
    }
}

#[tokio::test]
async fn metadata_under_the_name_of_tags_that_is_no_list_is_no_tag() {
    let (store, _) = in_memory().await;
    let metadata = Metadata::from_pairs([(Tags::NAME, "a")]).unwrap();
    let new = NewEvent::json("it_happened", &())
        .unwrap()
        .with_metadata(metadata);
    let stream = StreamId::new("shop", "order", "1").unwrap();
    let append = Append::new().write(stream, ExpectedVersion::Any, vec![new]);
    store.log().append(&ctx(), append).await.unwrap();
    let index = open(&store).await;
    assert!(index.read_by_tag(&ctx(), "a").await.unwrap().is_empty());
    let everything = index
        .read_by_time_range(&ctx(), minutes(None, None))
        .await
        .unwrap();
    assert_eq!(everything.try_collect::<Vec<_>>().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_closed_store_is_an_error_of_the_log_or_the_bucket() {
    let (store, _) = in_memory().await;
    let index = open(&store).await;
    append(&store.log(), &[event(1, 1)]).await;
    store.close().await.unwrap();
    let error = index
        .read_by_correlation(&ctx(), conversation(1))
        .await
        .unwrap_err();
    assert!(matches!(error, IndexError::Log(_)), "{error:?}");
    assert!(EventIndex::open(&*store, small()).await.is_err());
}

#[tokio::test]
async fn two_indexes_in_buckets_of_their_own_do_not_meet() {
    let (store, _) = in_memory().await;
    let settings = |name: &str| IndexSettings::default().in_bucket(name);
    let store: &Arc<dyn Store> = &store;
    append(&store.log(), &[event(1, 1)]).await;
    let one = EventIndex::open(&**store, settings("one")).await.unwrap();
    one.persist(&ctx()).await.unwrap();
    let other = EventIndex::open(&**store, settings("other")).await.unwrap();
    assert_eq!((one.status().entries, other.status().entries), (3, 0));
}

on_every_store! {
    async fn a_typed_event_store_finds_its_part_of_a_conversation_by_an_index(store, _clock) {
        let (log, bucket, counts) = counting(&store).await;
        let index = EventIndex::over(Arc::clone(&log), bucket, small()).await.unwrap();
        let accounts = TypedEventStore::<AccountEvent>::new(log, "bank", "account").unwrap();
        let scanning = accounts.clone();
        let accounts = accounts.with_index(index);
        assert!(scanning.index().is_none() && accounts.index().is_some());
        let talking = accounts.under(ctx().with_correlation_id(conversation(1)));
        for cents in 1..=3 {
            talking.append(ID, vec![AccountEvent::Deposited { cents }], None).await.unwrap();
            append(&store.log(), &[event(1, 1), event(2, 2)]).await;
        }
        let id = *conversation(1).as_uuid();
        let found = accounts.read_by_correlation(id).await.unwrap();
        assert_eq!(found, scanning.read_by_correlation(id).await.unwrap());
        assert_eq!(found.len(), 3);
        counts.take();
        accounts.read_by_correlation(id).await.unwrap();
        let [reads, events, positions, _] = counts.take();
        assert_eq!((reads, events, positions), (1, ANCHOR, 6));
    }
}
