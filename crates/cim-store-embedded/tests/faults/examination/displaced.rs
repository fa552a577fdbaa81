//! Records are sound, but stand elsewhere than they were written: somebody cut bytes out of a file,
//! put some into it, or exchanged some. Every event is handed out; that records were moved is said
//! once for all that were moved alike; and what is missing is what is not there at all.

use std::ops::Range;

use cim_store::{
    Append, Context, Examined, ExaminedEvent, ExpectedVersion, NewEvent, Position, Store,
};
use cim_store_embedded::{EmbeddedSettings, EmbeddedStore};
use futures_util::TryStreamExt;

use super::{Closed, Report, closed, filed, heads, inspect, is_sound, open, report, said, stream};

/// Twenty-four events of three streams in turn; their records have several lengths.
async fn varied(settings: EmbeddedSettings) -> Closed {
    let place = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(place.path(), settings).await.unwrap();
    let log = store.log();
    for number in 0..24_usize {
        let to = stream(["a", "b", "c"][number % 3]);
        let text = format!("number {number:05} {}", "x".repeat(number * 37 % 101));
        let event = NewEvent::json("noted", &text).unwrap();
        let append = Append::new().write(to, ExpectedVersion::Any, vec![event]);
        log.append(&Context::new(), append).await.unwrap();
    }
    let events = Report::of(&*log, 0).await.events;
    let heads = heads(&store).await;
    drop(log);
    store.close().await.unwrap();
    Closed {
        place,
        events,
        heads,
    }
}

async fn small() -> Closed {
    varied(EmbeddedSettings::default().with_segment_bytes(2 << 10)).await
}

fn padded(record: &Range<usize>) -> Range<usize> {
    record.start..record.end.next_multiple_of(8)
}

/// The numbers of all segments, each with the position before its first.
fn segments(store: &Closed) -> Vec<(u32, usize)> {
    let mut before = 0;
    let numbers = (1..).take_while(|number| store.segment(*number).exists());
    let counted = numbers.map(|number| {
        let first = before;
        before += store.records(number).len();
        (number, first)
    });
    counted.collect()
}

/// The events at these positions, in this order.
fn at(store: &Closed, positions: impl IntoIterator<Item = usize>) -> Vec<ExaminedEvent> {
    let event = |position: usize| store.events[position - 1].clone();
    positions.into_iter().map(event).collect()
}

fn positions(report: &Report) -> Vec<u64> {
    let events = report.events.iter();
    events.map(|event| event.position.get()).collect()
}

/// As [`said`] gives it.
type Said<'a> = (u64, Option<&'a str>, u64, bool);

/// What is said of records that were moved; everything else that is said.
fn moves(report: &Report) -> (Vec<&str>, Vec<Said<'_>>) {
    let (moves, others): (Vec<_>, Vec<_>) = report
        .damage
        .iter()
        .partition(|damage| damage.message.contains("they were written for"));
    for damage in &moves {
        assert_eq!(said(damage), (0, None, 0, false));
    }
    let moves = moves.iter().map(|damage| damage.message.as_str());
    (moves.collect(), others.into_iter().map(said).collect())
}

fn moved(store: &Closed, segment: u32, from: usize, bytes: usize, side: &str) -> String {
    format!(
        "from byte {from} of {} on, records stand {bytes} bytes {side} the place they were written \
         for",
        store.segment(segment).display()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_cut_out_is_missing_and_nothing_else() {
    for store in [varied(EmbeddedSettings::default()).await, small().await] {
        for (number, before) in segments(&store) {
            let records = store.records(number);
            for (index, record) in records[..records.len() - 1].iter().enumerate() {
                // With and without its padding.
                for cut in [padded(record), record.clone()] {
                    let kept = std::fs::read(store.segment(number)).unwrap();
                    store.change(number, |bytes| drop(bytes.drain(cut.clone())));
                    let inspection = inspect(store.path()).await;
                    let found = Report::of(&*inspection.log(), 0).await;
                    let position = (before + index + 1) as u64;
                    assert_eq!(found.events, store.without(&[position]));
                    let next = padded(record).end - cut.len();
                    let (moves, others) = moves(&found);
                    let expected = moved(&store, number, next, cut.len(), "before");
                    assert_eq!(moves, [expected]);
                    assert_eq!(others, [(position, None, 0, true)]);
                    // Heads that were moved are found, too.
                    for (stream, head) in heads(&inspection).await {
                        let mut expected = store.heads[&stream].clone();
                        if expected.position.get() == position {
                            expected.position = Position::NONE;
                            expected.cid = head.cid;
                        }
                        assert_eq!(head, expected);
                    }
                    std::fs::write(store.segment(number), kept).unwrap();
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_record_of_a_file_that_was_cut_out_is_missing() {
    let store = small().await;
    let segments = segments(&store);
    assert!(segments.len() > 2);
    for (number, before) in &segments {
        let records = store.records(*number);
        let cut = padded(&records[records.len() - 1]);
        let kept = std::fs::read(store.segment(*number)).unwrap();
        store.change(*number, |bytes| drop(bytes.drain(cut)));
        let found = report(store.path()).await;
        let position = (before + records.len()) as u64;
        assert_eq!(found.events, store.without(&[position]));
        let told: Vec<_> = found.damage.iter().map(|damage| said(damage).0).collect();
        assert_eq!(told, [position], "{:?}", found.damage);
        std::fs::write(store.segment(*number), kept).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_cut_out_of_a_store_that_was_killed_is_missing_alone() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path()).await;
    super::fill(&*store.log(), 30, &["a", "b", "c"]).await;
    let there = Report::of(&*store.log(), 0).await.events;
    // What a kill leaves: the file goes on with zeros that are reserved.
    let copy = tempfile::tempdir().unwrap();
    crate::damage::copy(place.path(), copy.path());
    store.close().await.unwrap();
    let segment = copy.path().join("events/0000000001.seg");
    let kept = std::fs::read(&segment).unwrap();
    let records = super::records(&kept);
    for (index, record) in records[..29].iter().enumerate() {
        let mut bytes = kept.clone();
        drop(bytes.drain(padded(record)));
        std::fs::write(&segment, bytes).unwrap();
        let found = report(copy.path()).await;
        let mut expected = there.clone();
        expected.remove(index);
        assert_eq!(found.events, expected);
        let (moves, others) = moves(&found);
        assert_eq!(moves.len(), 1);
        assert_eq!(others, [(index as u64 + 1, None, 0, true)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_neighbours_that_were_swapped_are_both_there() {
    let store = varied(EmbeddedSettings::default()).await;
    let records = store.records(1);
    for index in 0..records.len() - 1 {
        let (one, other) = (padded(&records[index]), padded(&records[index + 1]));
        let kept = std::fs::read(store.segment(1)).unwrap();
        store.change(1, |bytes| {
            bytes[one.start..other.end].rotate_left(one.len());
        });
        let found = report(store.path()).await;
        let (first, count) = (index + 1, records.len());
        let order = (1..first)
            .chain([first + 1, first])
            .chain(first + 2..=count);
        assert_eq!(found.events, at(&store, order));
        let (moves, others) = moves(&found);
        let expected = [
            moved(&store, 1, one.start, one.len(), "before"),
            moved(&store, 1, one.start + other.len(), other.len(), "behind"),
        ];
        assert_eq!(moves, expected);
        assert_eq!(others, []);
        std::fs::write(store.segment(1), kept).unwrap();
    }
}

/// Puts two records of a segment into each other's place; what is between them moves.
fn swap(store: &Closed, number: u32, one: &Range<usize>, other: &Range<usize>) {
    let (one, other) = (padded(one), padded(other));
    store.change(number, |bytes| {
        let mut all = bytes[..one.start].to_vec();
        all.extend_from_slice(&bytes[other.clone()]);
        all.extend_from_slice(&bytes[one.end..other.start]);
        all.extend_from_slice(&bytes[one]);
        all.extend_from_slice(&bytes[other.end..]);
        *bytes = all;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn two_distant_records_of_a_stream_that_were_swapped_are_both_there() {
    let store = varied(EmbeddedSettings::default()).await;
    let records = store.records(1);
    let (one, other) = (padded(&records[4]), padded(&records[13])); // versions 2 and 5 of `b`
    let longer = other.len().checked_sub(one.len()).unwrap();
    assert!(longer > 0);
    swap(&store, 1, &records[4], &records[13]);
    let inspection = inspect(store.path()).await;
    let found = Report::of(&*inspection.log(), 0).await;
    let order = (1..=4).chain([14]).chain(6..=13).chain([5]).chain(15..=24);
    assert_eq!(found.events, at(&store, order));
    let (moves, others) = moves(&found);
    let expected = [
        moved(&store, 1, one.start, other.start - one.start, "before"),
        moved(&store, 1, one.start + other.len(), longer, "behind"),
        moved(
            &store,
            1,
            other.start + longer,
            other.start + longer - one.start,
            "behind",
        ),
    ];
    assert_eq!(moves, expected);
    assert_eq!(others, []);
    assert_eq!(heads(&inspection).await, store.heads);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_copied_to_the_end_is_handed_out_again() {
    let store = small().await;
    let segments = segments(&store);
    for (number, before) in segments {
        let records = store.records(number);
        let (copy, end) = (padded(&records[1]), padded(&records[records.len() - 1]).end);
        let kept = std::fs::read(store.segment(number)).unwrap();
        store.change(number, |bytes| {
            let copied = bytes[copy.clone()].to_vec();
            drop(bytes.splice(end..end, copied));
        });
        let found = report(store.path()).await;
        let (moves, others) = moves(&found);
        let expected = moved(&store, number, end, end - copy.start, "behind");
        assert_eq!(moves, [expected]);
        assert_eq!(others, []);
        let mut expected: Vec<u64> = (1..=24).collect();
        expected.insert(before + records.len(), before as u64 + 2);
        assert_eq!(positions(&found), expected);
        assert!(found.events.iter().all(is_sound));
        std::fs::write(store.segment(number), kept).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_put_in_twice_is_handed_out_three_times() {
    for store in [varied(EmbeddedSettings::default()).await, small().await] {
        for (number, before) in segments(&store) {
            let records = store.records(number);
            for (index, record) in records.iter().enumerate() {
                // With and without its padding.
                for copy in [padded(record), record.clone()] {
                    let at = padded(record).end;
                    let kept = std::fs::read(store.segment(number)).unwrap();
                    store.change(number, |bytes| {
                        let copied = bytes[copy.clone()].repeat(2);
                        drop(bytes.splice(at..at, copied));
                    });
                    let inspection = inspect(store.path()).await;
                    let found = Report::of(&*inspection.log(), 0).await;
                    let position = (before + index + 1) as u64;
                    let mut expected: Vec<u64> = (1..=24).collect();
                    let here = position as usize;
                    drop(expected.splice(here..here, [position; 2]));
                    assert_eq!(positions(&found), expected, "{number}: {copy:?}");
                    assert!(found.events.iter().all(is_sound));
                    let (moves, others) = moves(&found);
                    assert!((2..=3).contains(&moves.len()), "{moves:?}");
                    assert_eq!(others, []);
                    assert_eq!(heads(&inspection).await, store.heads);
                    std::fs::write(store.segment(number), kept).unwrap();
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_another_segment_is_handed_out_with_the_place_it_was_written_for() {
    let store = small().await;
    let bytes = std::fs::read(store.segment(2)).unwrap();
    let copy = padded(&store.records(2)[1]);
    let second = segments(&store)[1].1 as u64;
    let at = store.records(1)[3].start;
    store.change(1, |into| {
        drop(into.splice(at..at, bytes[copy.clone()].to_vec()))
    });
    let found = report(store.path()).await;
    let mut expected: Vec<u64> = (1..=24).collect();
    expected.insert(3, second + 2);
    assert_eq!(positions(&found), expected);
    let (moves, others) = moves(&found);
    assert_eq!(
        moves,
        [moved(&store, 1, at + copy.len(), copy.len(), "behind")]
    );
    assert_eq!(others, [(0, None, 0, false)]);
    let message = format!(
        "from byte {at} of {} on, records stand that were written for byte {} of {} on",
        store.segment(1).display(),
        copy.start,
        store.segment(2).display()
    );
    assert_eq!(found.damage[0].message, message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_another_store_is_no_record_and_moves_what_follows() {
    let store = varied(EmbeddedSettings::default()).await;
    let other = varied(EmbeddedSettings::default()).await;
    let bytes = std::fs::read(other.segment(1)).unwrap();
    let copy = padded(&other.records(1)[6]);
    let at = store.records(1)[3].start;
    store.change(1, |into| {
        drop(into.splice(at..at, bytes[copy.clone()].to_vec()))
    });
    let found = report(store.path()).await;
    assert_eq!(found.events, store.events);
    let (moves, others) = moves(&found);
    assert_eq!(
        moves,
        [moved(&store, 1, at + copy.len(), copy.len(), "behind")]
    );
    // Its block says whose it is.
    assert_eq!(others, [(0, Some("a"), 3, false)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_event_that_was_moved_is_filed_under_its_own_stream() {
    let store = closed(24, &["a", "b", "c"], EmbeddedSettings::default()).await;
    let records = store.records(1);
    // What is cut out is of the same stream, of another one, and the record right before.
    for (cut, altered, version) in [(4, 10, 4), (3, 7, 3), (9, 10, 4)] {
        let kept = std::fs::read(store.segment(1)).unwrap();
        store.change(1, |bytes| {
            let name = b"audit.thing.b";
            let body = &bytes[records[altered].clone()];
            let found = body.windows(name.len()).position(|window| window == name);
            bytes[records[altered].start + found.unwrap() + name.len() - 1] = b'a';
            drop(bytes.drain(padded(&records[cut])));
        });
        let found = report(store.path()).await;
        assert_eq!(found.altered(), [("b".to_owned(), version)]);
        let inspection = inspect(store.path()).await;
        let later = Report::of(&*inspection.log(), altered as u64).await;
        assert_eq!(later.altered(), [("b".to_owned(), version)]);
        std::fs::write(store.segment(1), kept).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_changes_nothing_about_the_events_that_follow_its_original() {
    let store = closed(24, &["a", "b", "c"], EmbeddedSettings::default()).await;
    let records = store.records(1);
    // Of `a`: an early one is copied between later ones, and a late one between earlier ones.
    for (copied, over, altered) in [(3, 10, 12), (15, 4, 6), (15, 7, 18)] {
        let kept = std::fs::read(store.segment(1)).unwrap();
        store.change(1, |bytes| {
            bytes.copy_within(records[copied].clone(), records[over].start);
            let name = b"audit.thing.a";
            let body = &bytes[records[altered].clone()];
            let found = body.windows(name.len()).position(|window| window == name);
            bytes[records[altered].start + found.unwrap() + name.len() - 1] = b'b';
        });
        let found = report(store.path()).await;
        let version = altered as u64 / 3 + 1;
        assert_eq!(found.altered(), [("a".to_owned(), version)]);
        let at = positions(&found)[over] as usize;
        assert_eq!(at, copied + 1);
        assert_eq!(
            filed(&found.events[over]),
            ("a".to_owned(), copied as u64 / 3 + 1)
        );
        let (moves, others) = moves(&found);
        assert_eq!(moves.len(), 1);
        assert_eq!(others, [(over as u64 + 1, None, 0, true)]);
        std::fs::write(store.segment(1), kept).unwrap();
    }
}

/// So many events are altered in a row that only links say whose they are.
#[tokio::test(flavor = "multi_thread")]
async fn altered_events_are_filed_by_links_also_where_a_copy_stands_between_them() {
    let store = closed(60, &["a", "b"], EmbeddedSettings::default()).await;
    let records = store.records(1);
    // A late event of `a` as it is, and an early one where everything was moved.
    for (copied, cut) in [(48, false), (4, true)] {
        let kept = std::fs::read(store.segment(1)).unwrap();
        store.change(1, |bytes| {
            bytes.copy_within(records[copied].clone(), records[35].start);
            for altered in (2..=36).step_by(2) {
                let name = b"audit.thing.a";
                let body = &bytes[records[altered].clone()];
                let found = body.windows(name.len()).position(|window| window == name);
                bytes[records[altered].start + found.unwrap() + name.len() - 1] = b'b';
            }
            if cut {
                drop(bytes.drain(padded(&records[1])));
            }
        });
        let found = report(store.path()).await;
        let expected: Vec<_> = (2..=19).map(|version| ("a".to_owned(), version)).collect();
        assert_eq!(found.altered(), expected);
        std::fs::write(store.segment(1), kept).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_beginning_of_a_record_that_was_copied_hides_none_that_follow() {
    let store = varied(EmbeddedSettings::default()).await;
    let records = store.records(1);
    let longest = records.iter().max_by_key(|record| record.len()).unwrap();
    let shorter = records.windows(2).position(|pair| {
        // Its body would reach into the next but one.
        pair[0].len() + 72 < longest.len() && pair[0].start > longest.end
    });
    let over = shorter.unwrap();
    store.change(1, |bytes| {
        bytes.copy_within(longest.start..longest.start + 80, records[over].start);
    });
    let found = report(store.path()).await;
    assert_eq!(found.events, store.without(&[over as u64 + 1]));
    assert_eq!(found.damage.len(), 1, "{:?}", found.damage);
    assert_eq!(said(&found.damage[0]).0, over as u64 + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn moves_are_said_before_the_first_event_that_was_moved_and_what_is_missing_at_the_end() {
    let store = varied(EmbeddedSettings::default()).await;
    store.change(1, |bytes| {
        let records = super::records(bytes);
        drop(bytes.drain(padded(&records[9])));
    });
    let inspection = inspect(store.path()).await;
    for after in 0..24 {
        let log = inspection.log();
        let found = log.examine(&Context::new(), Position::new(after)).await;
        let found: Vec<_> = found.unwrap().try_collect().await.unwrap();
        let found: Vec<u64> = found
            .iter()
            .map(|found| match found {
                Examined::Event(event) => event.position.get(),
                Examined::Damage(damage) if damage.missing => 100,
                Examined::Damage(_) => 0,
            })
            .collect();
        let mut expected: Vec<u64> = (after + 1..=24).filter(|at| *at != 10).collect();
        // Where the examination begins behind it, what was moved is moved nevertheless.
        let before = expected.iter().position(|at| *at > 10).unwrap();
        expected.insert(before, 0);
        if after < 10 {
            expected.push(100);
        }
        assert_eq!(found, expected, "after {after}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_moved_before_the_examination_begins_is_passed_over() {
    let store = varied(EmbeddedSettings::default()).await;
    let records = store.records(1);
    swap(&store, 1, &records[1], &records[4]);
    let inspection = inspect(store.path()).await;
    for after in 0..24 {
        let found = Report::of(&*inspection.log(), after).await;
        let mut order: Vec<u64> = vec![1, 5, 3, 4, 2];
        order.extend(6..=24);
        order.retain(|position| *position > after);
        assert_eq!(positions(&found), order, "after {after}");
        let (moves, others) = moves(&found);
        assert_eq!(moves.is_empty(), after >= 5, "after {after}");
        assert_eq!(others, [], "after {after}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_were_swapped_in_a_store_that_is_open_are_both_there() {
    for store in [varied(EmbeddedSettings::default()).await, small().await] {
        let held = open(store.path()).await;
        let records = store.records(1);
        swap(&store, 1, &records[1], &records[4]);
        let found = Report::of(&*held.log(), 0).await;
        let mut order: Vec<u64> = vec![1, 5, 3, 4, 2];
        order.extend(6..=24);
        assert_eq!(positions(&found), order);
        let (moves, others) = moves(&found);
        assert_eq!((moves.len(), others), (3, vec![]));
        held.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_stands_there_backwards_misses_nothing() {
    let store = varied(EmbeddedSettings::default()).await;
    store.change(1, |bytes| {
        let records = super::records(bytes);
        let mut all = bytes[..128].to_vec();
        for record in records.iter().rev() {
            all.extend_from_slice(&bytes[padded(record).start..record.end]);
            all.resize(all.len().next_multiple_of(8), 0);
        }
        *bytes = all;
    });
    let found = report(store.path()).await;
    assert_eq!(found.events, at(&store, (1..=24).rev()));
    let (_, others) = moves(&found);
    assert_eq!(others, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_were_put_into_a_record_hit_no_other_one() {
    for store in [varied(EmbeddedSettings::default()).await, small().await] {
        for (number, before) in segments(&store) {
            let records = store.records(number);
            for (index, record) in records.iter().enumerate() {
                for (at, len) in [(30, 1), (30, 700), (100, 3), (100, 8), (200, 500)] {
                    let kept = std::fs::read(store.segment(number)).unwrap();
                    let at = record.start + at;
                    store.change(number, |bytes| {
                        drop(bytes.splice(at..at, vec![0xAB; len]));
                    });
                    let found = report(store.path()).await;
                    let hit = (before + index + 1) as u64;
                    let sound: Vec<_> = found.events.into_iter().filter(is_sound).collect();
                    assert_eq!(sound, store.without(&[hit]), "{number}: {at}, {len}");
                    std::fs::write(store.segment(number), kept).unwrap();
                }
            }
        }
    }
}
