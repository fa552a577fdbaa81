//! What must not grow with the number of events: the files of the index, the entries in memory, and
//! what an opening has to read.

use std::path::Path;

use cim_store::{Append, Context, ExpectedVersion, NewEvent, Store, StreamId};
use cim_store_embedded::{EmbeddedSettings, EmbeddedStore};

const FRESH: usize = 32;

fn settings() -> EmbeddedSettings {
    EmbeddedSettings::default()
        .with_segment_bytes(64 << 10)
        .with_fresh_entries(FRESH)
}

fn runs(directory: &Path) -> usize {
    let names = std::fs::read_dir(directory.join("events/index")).unwrap();
    names
        .filter(|entry| {
            entry
                .as_ref()
                .unwrap()
                .path()
                .extension()
                .is_some_and(|end| end == "run")
        })
        .count()
}

/// Appends commits that each add two entries to the index: a new stream, and the commit itself.
async fn append(store: &EmbeddedStore, streams: std::ops::Range<u32>) {
    for number in streams {
        let stream = StreamId::new("torture", "thing", &number.to_string()).unwrap();
        let event = NewEvent::json("made", &number).unwrap();
        let append = Append::new().write(stream, ExpectedVersion::NEW, vec![event]);
        store.log().append(&Context::new(), append).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_runs_grows_with_the_logarithm_of_what_they_hold() {
    let place = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(place.path(), settings()).await.unwrap();
    let mut most = 0;
    let mut written = 0;
    for step in [100, 200, 400, 800, 1_600] {
        append(&store, written..written + step).await;
        written += step;
        let full_runs = 2 * written as usize / FRESH;
        // Up to three of each level stay, and one merge is under way: four runs and its result.
        let levels = full_runs.ilog(4) as usize + 1;
        let found = runs(place.path());
        assert!(
            found <= 3 * levels + 5,
            "{found} runs after {written} commits"
        );
        most = most.max(found);
    }
    store.close().await.unwrap();
    assert!(most > 2, "no runs were written");
    assert!(
        2 * written as usize / FRESH > 10 * runs(place.path()),
        "runs are not merged"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opening_reads_no_more_than_what_the_index_had_in_memory() {
    let place = tempfile::tempdir().unwrap();
    let mut written = 0;
    for step in [50, 500, 1_500] {
        let store = EmbeddedStore::open(place.path(), settings()).await.unwrap();
        // Two batches can be in memory: one that is being written, and the new one, which is
        // full when the first is done. A commit has two entries and one record.
        let most = 2 * FRESH as u64;
        let caught_up = store.open_report().caught_up;
        assert!(
            caught_up <= most,
            "{caught_up} records were read after {written} commits"
        );
        assert!(store.open_report().is_quiet(), "{}", store.open_report());
        append(&store, written..written + step).await;
        written += step;
        store.close().await.unwrap();
    }
    let store = EmbeddedStore::open(place.path(), settings()).await.unwrap();
    assert!(store.open_report().caught_up <= 2 * FRESH as u64);
    let stats = store.log().stats(&Context::new()).await.unwrap();
    assert_eq!(
        (stats.streams, stats.events),
        (u64::from(written), u64::from(written))
    );
}
