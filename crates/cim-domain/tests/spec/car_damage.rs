//! Files that were cut, altered or put together by somebody: all are refused with the place, and
//! what is stored of them is a true beginning.

use std::io::Cursor;
use std::sync::Arc;

use cim_domain::persistence::car::{HistoryFileError, ImportError, ImportOptions, check};
use cim_domain::store::{CommitId, EventLog, RecordedEvent};
use cim_ipld::EventCid;
use cim_ipld::car::{CarReader, CarWriter};

use crate::car_histories::{cids, empty, exported, log_with, try_import};
use crate::rewritten_store::RewrittenLog;

async fn small() -> Arc<dyn EventLog> {
    log_with(&[vec![(1, 2)], vec![(2, 1), (1, 1)], vec![(3, 1)]]).await
}

fn file_error(error: ImportError) -> HistoryFileError {
    match error {
        ImportError::File(error) => error,
        error => panic!("{error}"),
    }
}

/// What becomes of an import of this file into an empty log; nothing of it may be stored.
async fn refused(file: &[u8]) -> HistoryFileError {
    let there = empty();
    let error = file_error(try_import(&there, file).await.unwrap_err());
    assert_eq!(cids(&there).await, [], "{error}");
    let checked = check(Cursor::new(file.to_vec()), ImportOptions::default(), |_| {}).await;
    checked.unwrap_err();
    error
}

#[tokio::test]
async fn a_small_file_that_is_cut_anywhere_is_refused_whole() {
    let (_, bytes) = exported(&small().await).await;
    for cut in 0..bytes.len() {
        let error = refused(&bytes[..cut]).await;
        let told = matches!(
            error,
            HistoryFileError::Car(_) | HistoryFileError::Cut { .. }
        );
        assert!(told, "cut at {cut}: {error}");
    }
}

#[tokio::test]
async fn a_small_file_with_any_byte_changed_is_refused_whole() {
    let (_, bytes) = exported(&small().await).await;
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        refused(&changed).await;
    }
}

#[tokio::test]
async fn more_after_the_root_is_refused() {
    let (_, bytes) = exported(&small().await).await;
    let more = |tail: &[u8]| [&bytes[..], tail].concat();
    assert!(matches!(
        refused(&more(&[0])).await,
        HistoryFileError::Car(_)
    ));
    let (_, again) = blocks(&bytes).pop().unwrap();
    let mut parts = blocks(&bytes);
    parts.push((EventCid::of(&again), again));
    let error = refused(&file_of(&parts)).await;
    assert!(
        error
            .to_string()
            .ends_with("a block follows after the root"),
        "{error}"
    );
}

/// The blocks of a file.
fn blocks(file: &[u8]) -> Vec<(EventCid, Vec<u8>)> {
    let mut car = CarReader::new(file).unwrap();
    let mut blocks = Vec::new();
    while let Some(block) = car.next_block().unwrap() {
        let cid = EventCid::try_from(&block.cid).unwrap();
        blocks.push((cid, block.bytes.to_vec()));
    }
    blocks
}

/// A file of these blocks, whose root is the last one.
fn file_of(blocks: &[(EventCid, Vec<u8>)]) -> Vec<u8> {
    let (root, _) = blocks.last().unwrap();
    let mut car = CarWriter::new(Vec::new(), &[root.to_cid()]).unwrap();
    for (cid, bytes) in blocks {
        car.write_block(&cid.to_cid(), bytes).unwrap();
    }
    car.finish().unwrap()
}

#[tokio::test]
async fn an_event_that_was_left_out_is_missed_by_its_chain_or_its_page() {
    let (_, bytes) = exported(&small().await).await;
    for event in 0..5 {
        let mut parts = blocks(&bytes);
        parts.remove(event);
        let error = refused(&file_of(&parts)).await;
        let told = match event {
            0 | 1 => matches!(&error, HistoryFileError::Chain { .. }),
            _ => matches!(&error, HistoryFileError::Layout { .. }),
        };
        assert!(told, "{event}: {error}");
    }
}

#[tokio::test]
async fn events_of_two_streams_that_were_swapped_are_missed_by_their_page() {
    let (_, bytes) = exported(&log_with(&[vec![(1, 1)], vec![(2, 1)], vec![(3, 1)]]).await).await;
    let mut parts = blocks(&bytes);
    parts.swap(1, 2);
    let error = refused(&file_of(&parts)).await;
    let said = error.to_string();
    assert!(said.contains("event 2 of the file is "), "{said}");
    assert!(said.contains("but the page names "), "{said}");
}

#[tokio::test]
async fn a_block_under_another_cid_is_named_with_both() {
    let (_, bytes) = exported(&small().await).await;
    let mut parts = blocks(&bytes);
    let (claimed, block) = &mut parts[2];
    let at = block.len() - 3;
    block[at] ^= 1;
    let (expected, is) = (*claimed, EventCid::of(block));
    let error = refused(&file_of(&parts)).await;
    let HistoryFileError::Altered {
        claimed, actual, ..
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!((claimed, actual), (expected, is));
}

#[tokio::test]
async fn a_car_file_of_something_else_is_refused() {
    let block = b"\xa0".to_vec();
    let cid = EventCid::of(&block);
    let error = refused(&file_of(&[(cid, block.clone())])).await;
    assert!(matches!(error, HistoryFileError::Layout { .. }), "{error}");
    let mut car = CarWriter::new(Vec::new(), &[cid.to_cid(), cid.to_cid()]).unwrap();
    car.write_block(&cid.to_cid(), &block).unwrap();
    let error = refused(&car.finish().unwrap()).await;
    assert!(
        matches!(error, HistoryFileError::Roots { found: 2 }),
        "{error}"
    );
    let error = refused(b"not a CAR file").await;
    assert!(matches!(error, HistoryFileError::Car(_)), "{error}");
}

#[tokio::test]
async fn a_newer_layout_is_refused_by_its_number() {
    let block = b"\xa1\x61v\x02".to_vec();
    let error = refused(&file_of(&[(EventCid::of(&block), block)])).await;
    let HistoryFileError::Version { found: 2, .. } = error else {
        panic!("{error}");
    };
    assert!(error.is_not_importable());
}

/// A sound file of these events, made without any store.
fn made_up(events: &[Vec<u8>]) -> Vec<u8> {
    let mut parts: Vec<_> = events
        .iter()
        .map(|block| (EventCid::of(block), block.clone()))
        .collect();
    parts.push((EventCid::of(b"\xa0"), b"\xa0".to_vec()));
    file_of(&parts)
}

#[tokio::test]
async fn an_event_of_a_newer_format_is_refused_by_its_number_and_is_no_damage() {
    let (_, bytes) = exported(&log_with(&[vec![(1, 1)]]).await).await;
    let (_, event) = blocks(&bytes).swap_remove(0);
    for (version, found) in [
        (&[2][..], 2),
        (&[0x18, 24], 24),
        (&[0x1b, 1, 0, 0, 0, 0, 0, 0, 0], 1 << 56),
    ] {
        let newer = [&event[..3], version, &event[4..]].concat();
        let error = refused(&made_up(&[newer])).await;
        let HistoryFileError::EventVersion {
            event: 1,
            found: is,
            ..
        } = error
        else {
            panic!("{error}");
        };
        assert_eq!(is, found);
        assert!(error.is_not_importable());
        assert!(error.to_string().contains("a newer one may read it"));
    }
    let none = [&event[..3], &[0], &event[4..]].concat();
    let error = refused(&made_up(&[none])).await;
    assert!(
        matches!(error, HistoryFileError::Malformed { event: 1, .. }),
        "{error}"
    );
}

/// A file of so many commits, each in a stream of its own, which somebody made up: what `alter` makes
/// of the events.
async fn of_commits(commits: usize, alter: fn(&mut RecordedEvent)) -> Vec<u8> {
    let commits: Vec<_> = (0..commits).map(|number| vec![(number, 1)]).collect();
    let log = RewrittenLog::altering(log_with(&commits).await, alter);
    let log: Arc<dyn EventLog> = log;
    exported(&log).await.1
}

/// Gives the commit at this position the id of the one at the first.
fn repeat_at(position: u64, event: &mut RecordedEvent) {
    if [1, position].contains(&event.position.get()) {
        event.commit_id = CommitId::from_bytes([7; 16]);
        let mut block = Vec::new();
        event.block().encode_into(&mut block);
        event.cid = EventCid::of(&block);
    }
}

#[tokio::test]
async fn a_commit_id_that_comes_twice_is_blamed_on_the_file() {
    let error = refused(&of_commits(5, |event| repeat_at(4, event)).await).await;
    let HistoryFileError::RepeatedCommit { event: 4, .. } = error else {
        panic!("{error}");
    };
    assert!(!error.is_not_importable());
}

#[tokio::test]
async fn a_commit_id_that_comes_again_much_later_is_not_stored_twice() {
    let file = of_commits(20_000, |event| repeat_at(19_001, event)).await;
    let there = empty();
    let error = file_error(try_import(&there, &file).await.unwrap_err());
    let told = matches!(
        error,
        HistoryFileError::RepeatedCommit { event: 19_001, .. }
    );
    assert!(told, "{error}");
    let stored = cids(&there).await.len();
    assert!((8_192..19_000).contains(&stored), "{stored}");
}

#[tokio::test]
async fn of_a_long_file_that_is_damaged_a_true_beginning_is_stored_and_a_sound_copy_goes_on() {
    let commits: Vec<_> = (0..3_300)
        .map(|n| vec![(n % 300, 3), (300 + n % 7, 1)])
        .collect();
    let here = log_with(&commits).await;
    let (file, bytes) = exported(&here).await;
    let whole = cids(&here).await;
    let there = empty();
    for place in [
        bytes.len() / 20,
        bytes.len() / 2,
        bytes.len() * 9 / 10,
        bytes.len() - 5,
    ] {
        let held = cids(&there).await.len();
        let mut changed = bytes.clone();
        changed[place] ^= 4;
        file_error(try_import(&there, &changed).await.unwrap_err());
        file_error(try_import(&there, &bytes[..place]).await.unwrap_err());
        let now = cids(&there).await;
        assert!(now.len() >= held);
        assert_eq!(now, whole[..now.len()]);
        assert!((now.len() as u64) < file.events);
    }
    let held = cids(&there).await.len() as u64;
    assert!(held >= 8_192, "{held}");
    let imported = try_import(&there, &bytes).await.unwrap();
    assert_eq!(
        (imported.found, imported.stored),
        (held, file.events - held)
    );
    assert_eq!(exported(&there).await.1, bytes);
}
