//! Exporting a history and importing it elsewhere.

use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use cim_domain::persistence::car::{
    ExportError, HistoryFileError, ImportError, ImportOptions, ImportProgress, announced_root,
    check, export, import,
};
use cim_domain::persistence::checkpoint::tree::{TreeHash, TreeHasher};
use cim_domain::store::{ArchiveDigester, Context, EventLog, Position, Truncation, Version};
use cim_ipld::car::CarErrorKind;
use futures_util::FutureExt;
use proptest::prelude::*;

use crate::car_histories::{
    any_history, append, cids, commit_of, empty, events, exported, log_with, stream, try_export,
    try_import, version_in, without_place,
};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_history_comes_back_the_same_and_exports_to_the_same_bytes(history in any_history()) {
        block_on(async {
            let here = log_with(&history).await;
            let (file, bytes) = exported(&here).await;
            let there = empty();
            let imported = try_import(&there, &bytes).await.unwrap();
            assert_eq!(imported.file, file);
            assert_eq!((imported.found, imported.stored), (0, file.events));
            let place = |events: Vec<_>| events.into_iter().map(without_place).collect::<Vec<_>>();
            assert_eq!(place(events(&there).await), place(events(&here).await));
            assert_eq!(exported(&there).await, (file, bytes));
        });
    }

    #[test]
    fn an_import_goes_on_after_any_beginning_of_whole_commits(
        history in any_history(),
        beginning in 0_usize..12,
    ) {
        block_on(async {
            let here = log_with(&history).await;
            let (file, bytes) = exported(&here).await;
            let all = events(&here).await;
            let there = empty();
            // The first commits as an import stores them, cut at the end of a commit.
            let commits: Vec<_> = all.iter().filter(|event| event.commit_index == 0).collect();
            let cut = commits.get(beginning).map_or(all.len(), |first| {
                all.iter().position(|event| event.cid == first.cid).unwrap()
            });
            let (_, first_bytes) = exported(&log_of(&all[..cut]).await).await;
            try_import(&there, &first_bytes).await.unwrap();

            let imported = try_import(&there, &bytes).await.unwrap();
            assert_eq!((imported.found, imported.stored), (cut as u64, file.events - cut as u64));
            assert_eq!(exported(&there).await.1, bytes);
        });
    }
}

/// A log that holds these events, by the way of an import.
async fn log_of(events: &[cim_domain::store::RecordedEvent]) -> Arc<dyn EventLog> {
    use cim_domain::store::{Append, ExpectedVersion, NewEvent};
    let log = empty();
    for commit in events.chunk_by(|one, other| one.commit_id == other.commit_id) {
        let mut ctx = Context::new();
        if let Some(principal) = &commit[0].principal {
            ctx = ctx.with_principal(principal.clone());
        }
        if let Some(trace) = &commit[0].trace {
            ctx = ctx.with_trace(trace.clone());
        }
        let mut append = Append::new().with_commit_id(commit[0].commit_id);
        for of_stream in commit.chunk_by(|one, other| one.stream == other.stream) {
            let news = of_stream.iter().map(|event| NewEvent {
                id: Some(event.id),
                event_type: event.event_type.clone(),
                schema_version: event.schema_version,
                time: Some(event.time),
                content_type: event.content_type.clone(),
                payload: event.payload.clone(),
                metadata: event.metadata.clone(),
                correlation_id: event.correlation_id,
                causation_id: event.causation_id,
            });
            append = append.write(
                of_stream[0].stream.clone(),
                ExpectedVersion::Any,
                news.collect(),
            );
        }
        log.append(&ctx, append).await.unwrap();
    }
    log
}

#[tokio::test]
async fn a_log_without_events_is_a_root_alone() {
    let (file, bytes) = exported(&empty()).await;
    assert_eq!((file.events, file.streams), (0, 0));
    assert_eq!(file.tree, TreeHash::of_nothing());
    assert_eq!(bytes.len() as u64, file.bytes);
    let there = empty();
    assert_eq!(try_import(&there, &bytes).await.unwrap().file, file);
    assert_eq!(cids(&there).await, []);
}

/// Enough events for several windows, most of them several to a commit.
fn long_history() -> Vec<Vec<(usize, usize)>> {
    (0..5_000)
        .map(|n| vec![(n % 700, 3), (700 + n % 11, 1)])
        .collect()
}

#[tokio::test]
async fn the_tree_is_that_of_the_events_in_the_order_of_the_log() {
    let here = log_with(&long_history()).await;
    let (file, bytes) = exported(&here).await;
    assert_eq!((file.events, file.streams), (20_000, 711));
    let mut tree = TreeHasher::new();
    for cid in cids(&here).await {
        tree.push_event(&cid);
    }
    assert_eq!(file.tree, tree.root());
    assert_eq!(announced_root(&bytes[..]).unwrap(), file.root);
}

#[tokio::test]
async fn histories_whose_last_page_is_full_or_begins_anew_come_back() {
    for events in [4_095, 4_096, 4_097, 8_192] {
        let mut history = vec![vec![(1, 5)]; events / 5];
        history.push(vec![(2, 1); usize::from(events % 5 > 0)]);
        history.extend(vec![vec![(3, 1)]; (events % 5).saturating_sub(1)]);
        let here = log_with(&history).await;
        let (file, bytes) = exported(&here).await;
        assert_eq!(file.events, events as u64);
        let there = empty();
        try_import(&there, &bytes).await.unwrap();
        assert_eq!(exported(&there).await.1, bytes);
    }
}

#[tokio::test]
async fn an_import_that_was_stopped_goes_on_where_it_ended() {
    let here = log_with(&long_history()).await;
    let (file, bytes) = exported(&here).await;
    let there = empty();
    let mut held = 0;
    let mut windows = 0;
    let imported = loop {
        // Each run stops after the first window in which it stored something.
        let stop = |done: ImportProgress| match done.stored {
            0 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        };
        let options = ImportOptions {
            root: Some(file.root),
        };
        let input = Cursor::new(bytes.clone());
        match import(&*there, &Context::new(), input, options, stop).await {
            Ok(imported) => break imported,
            Err(ImportError::Stopped { events }) => {
                assert!(events > held);
                held = events;
                windows += 1;
                let whole = cids(&here).await;
                assert_eq!(cids(&there).await, whole[..held as usize]);
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert!(windows >= 2, "{windows}");
    assert_eq!(imported.found + imported.stored, file.events);
    assert_eq!(exported(&there).await.1, bytes);
    let again = try_import(&there, &bytes).await.unwrap();
    assert_eq!((again.found, again.stored), (file.events, 0));
}

#[tokio::test]
async fn a_log_that_holds_other_events_is_left_as_it_is() {
    let (_, bytes) = exported(&log_with(&[vec![(1, 1)], vec![(2, 2)]]).await).await;
    let other = log_with(&[vec![(3, 1)]]).await;
    let before = events(&other).await;
    let error = try_import(&other, &bytes).await.unwrap_err();
    assert!(
        matches!(error, ImportError::OtherHistory { event: 1, .. }),
        "{error}"
    );
    assert_eq!(events(&other).await, before);
}

#[tokio::test]
async fn a_log_that_goes_another_way_after_a_while_is_left_as_it_is() {
    let here = log_with(&[vec![(1, 1)], vec![(2, 2)]]).await;
    let there = empty();
    try_import(&there, &exported(&here).await.1).await.unwrap();
    append(&here, &[vec![(1, 1)]]).await;
    append(&there, &[vec![(2, 1)]]).await;
    let before = cids(&there).await;
    let error = try_import(&there, &exported(&here).await.1)
        .await
        .unwrap_err();
    let ImportError::OtherHistory {
        event,
        stream: named,
        version,
        ..
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!((event, named, version), (4, stream(2), Version::new(3)));
    assert_eq!(cids(&there).await, before);
}

#[tokio::test]
async fn a_log_that_holds_more_than_the_file_is_refused() {
    let here = log_with(&[vec![(1, 1)]]).await;
    let (_, bytes) = exported(&here).await;
    let there = empty();
    try_import(&there, &bytes).await.unwrap();
    append(&there, &[vec![(9, 1)]]).await;
    let error = try_import(&there, &bytes).await.unwrap_err();
    let ImportError::MoreThanFile {
        events: 1,
        stream: named,
        ..
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!(named, stream(9));
}

#[tokio::test]
async fn an_import_says_when_somebody_else_wrote_to_the_store_meanwhile() {
    let (file, bytes) = exported(&log_with(&long_history()).await).await;
    let there = empty();
    let mut first = true;
    let somebody = |_| {
        if std::mem::take(&mut first) {
            let other = [vec![(9_999, 1)]];
            append(&there, &other).now_or_never().unwrap();
        }
        ControlFlow::Continue(())
    };
    let input = Cursor::new(bytes);
    let done = import(
        &*there,
        &Context::new(),
        input,
        ImportOptions::default(),
        somebody,
    )
    .await;
    let error = done.unwrap_err();
    let ImportError::Mixed {
        file: of_file,
        found,
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!((of_file, found), (file.events, file.events + 1));
}

#[tokio::test]
async fn an_import_ends_with_a_conflict_where_somebody_else_wrote_to_the_same_stream() {
    let here = log_with(&long_history()).await;
    let (_, bytes) = exported(&here).await;
    let there = empty();
    let mut first = true;
    let somebody = |_| {
        if std::mem::take(&mut first) {
            let other = [vec![(700, 1)]];
            append(&there, &other).now_or_never().unwrap();
        }
        ControlFlow::Continue(())
    };
    let input = Cursor::new(bytes);
    let done = import(
        &*there,
        &Context::new(),
        input,
        ImportOptions::default(),
        somebody,
    )
    .await;
    let error = done.unwrap_err();
    let ImportError::Store {
        event,
        commit,
        source,
    } = error
    else {
        panic!("{error}");
    };
    assert!(source.is_conflict(), "{source}");
    let next = &events(&here).await[event as usize - 1];
    assert_eq!((next.commit_id, next.commit_index), (commit, 0));
    // What came before is stored, and nothing after it.
    let held = events(&there).await.len() as u64;
    assert_eq!(held, event);
}

#[tokio::test]
async fn another_root_than_the_one_asked_for_is_refused_before_anything_is_stored() {
    let (file, bytes) = exported(&log_with(&[vec![(1, 1)]]).await).await;
    let (other, _) = exported(&log_with(&[vec![(2, 1)]]).await).await;
    let there = empty();
    let options = ImportOptions {
        root: Some(other.root),
    };
    let go_on = |_| ControlFlow::Continue(());
    let input = Cursor::new(bytes);
    let error = import(&*there, &Context::new(), input, options, go_on)
        .await
        .unwrap_err();
    let ImportError::File(HistoryFileError::OtherRoot { expected, found }) = error else {
        panic!("{error}");
    };
    assert_eq!((*expected, *found), (other.root, file.root));
    assert_eq!(cids(&there).await, []);
}

#[tokio::test]
async fn a_pattern_exports_whole_streams_which_import_alone() {
    let here = log_with(&[
        vec![(1, 2)],
        vec![(2, 1)],
        vec![(1, 1), (12, 1)],
        vec![(3, 1)],
    ])
    .await;
    for pattern in ["shop.order.2", "*.*.2", "shop.order.3"] {
        let (file, bytes) = try_export(&here, Some(pattern)).await.unwrap();
        assert_eq!((file.events, file.streams, file.split_commits), (1, 1, 0));
        assert_eq!(file.pattern.as_deref(), Some(pattern));
        let there = empty();
        try_import(&there, &bytes).await.unwrap();
        let held = events(&there).await;
        assert_eq!(held.len(), 1);
        // A whole log of that one stream is another history than a part of a larger one.
        assert_ne!(exported(&there).await.0.root, file.root);
    }
    let (nothing, _) = try_export(&here, Some("shop")).await.unwrap();
    assert_eq!(nothing.events, 0);
    let (everything, _) = try_export(&here, Some(">")).await.unwrap();
    assert_eq!(everything, exported(&here).await.0);
}

#[tokio::test]
async fn a_commit_that_a_pattern_splits_is_counted_checked_and_not_imported() {
    let here = log_with(&[vec![(1, 1)], vec![(1, 1), (2, 1)], vec![(1, 1)]]).await;
    let (file, bytes) = try_export(&here, Some("shop.order.1")).await.unwrap();
    assert_eq!((file.events, file.split_commits), (3, 1));
    let split = file.first_split.unwrap();
    let commit = commit_of(&events(&here).await, 1);
    assert_eq!((split.commit, split.missing, split.count), (commit, 1, 2));

    let checked = check(Cursor::new(bytes.clone()), ImportOptions::default(), |_| {}).await;
    assert_eq!(checked.unwrap(), file);

    let there = empty();
    let error = try_import(&there, &bytes).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "commit {commit} is not whole in the file: event 2 of 2 is not there; it belongs to \
             another stream than shop.order.1"
        )
    );
    assert_eq!(cids(&there).await, []);
}

async fn truncate(log: &Arc<dyn EventLog>, through: usize) {
    let all = events(log).await;
    let mut digester = ArchiveDigester::new();
    all[..through].iter().for_each(|event| digester.push(event));
    let through = all[through - 1].position;
    let archived = digester.finish();
    let truncation = Truncation { through, archived };
    log.truncate(&Context::new(), truncation).await.unwrap();
}

#[tokio::test]
async fn a_truncated_log_is_not_exported_but_streams_that_it_holds_whole_are() {
    let here = log_with(&[vec![(1, 1)], vec![(2, 1)], vec![(2, 1)], vec![(3, 2)]]).await;
    truncate(&here, 2).await;
    for pattern in [
        None,
        Some("shop.order.1"),
        Some("shop.order.2"),
        Some("shop.>"),
    ] {
        let error = try_export(&here, pattern).await.unwrap_err();
        let through = Position::new(2);
        let expected = matches!(error, ExportError::Truncated { through: at } if at == through);
        assert!(expected, "{pattern:?}: {error}");
    }
    let (file, _) = try_export(&here, Some("shop.order.3")).await.unwrap();
    assert_eq!(file.events, 2);

    let there = empty();
    append(&there, &[vec![(1, 1)], vec![(1, 1)]]).await;
    let (_, bytes) = exported(&there).await;
    truncate(&there, 1).await;
    let error = try_import(&there, &bytes).await.unwrap_err();
    assert!(
        matches!(error, ImportError::TruncatedTarget { .. }),
        "{error}"
    );
}

/// A file that others see, on a disk with room for so many bytes.
#[derive(Clone, Debug)]
struct SmallDisk {
    file: Arc<Mutex<Cursor<Vec<u8>>>>,
    room: u64,
}

impl SmallDisk {
    fn with_room(room: u64) -> Self {
        let file = Arc::default();
        Self { file, room }
    }

    fn bytes(&self) -> Vec<u8> {
        self.file.lock().unwrap().get_ref().clone()
    }
}

impl Write for SmallDisk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut file = self.file.lock().unwrap();
        let room = self.room.saturating_sub(file.position());
        let fits = bytes.len().min(usize::try_from(room).unwrap());
        match file.write(&bytes[..fits])? {
            0 if !bytes.is_empty() => Err(io::ErrorKind::StorageFull.into()),
            written => Ok(written),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for SmallDisk {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.lock().unwrap().seek(to)
    }
}

#[tokio::test]
async fn a_full_disk_ends_the_export_and_leaves_a_file_that_says_so() {
    let here = log_with(&long_history()).await;
    let whole = exported(&here).await.0.bytes;
    for room in [0, 10, 100, whole / 2, whole - 1] {
        let disk = SmallDisk::with_room(room);
        let error = export(&*here, &Context::new(), None, disk.clone(), |_| {})
            .await
            .unwrap_err();
        let ExportError::Write(error) = error else {
            panic!("{room}: {error}");
        };
        let CarErrorKind::Write(error) = error.kind() else {
            panic!("{room}: {error}");
        };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(announced_root(&disk.bytes()[..]).is_err());
        if room >= 100 {
            let error = announced_root(&disk.bytes()[..]).unwrap_err();
            assert!(matches!(error, HistoryFileError::Unfinished), "{error}");
        }
    }
}

#[tokio::test]
async fn an_export_that_is_dropped_leaves_a_file_that_says_so() {
    let here = log_with(&long_history()).await;
    let disk = SmallDisk::with_room(u64::MAX);
    {
        let ctx = Context::new();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let mut stop = Some(stop);
        let exporting = export(&*here, &ctx, None, disk.clone(), |_| {
            stop.take().map(|stop| stop.send(()));
        });
        tokio::select! {
            biased;
            _ = stopped => {}
            _ = exporting => panic!("it was to be stopped"),
        }
    }
    // The writing thread ends when it finds out, and lets go of the file.
    while Arc::strong_count(&disk.file) > 1 {
        tokio::task::yield_now().await;
    }
    let bytes = disk.bytes();
    assert!(
        bytes.is_empty()
            || matches!(
                announced_root(&bytes[..]),
                Err(HistoryFileError::Unfinished)
            )
    );
}

/// Reads so much, and then fails.
struct Unreadable(Cursor<Vec<u8>>, u64);

impl Read for Unreadable {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.1 - self.0.position()).unwrap();
        if left == 0 {
            return Err(io::Error::other("the disk is gone"));
        }
        let some = buffer.len().min(left);
        self.0.read(&mut buffer[..some])
    }
}

#[tokio::test]
async fn a_file_that_can_not_be_read_to_its_end_leaves_a_beginning_that_goes_on() {
    let here = log_with(&long_history()).await;
    let (file, bytes) = exported(&here).await;
    let whole = cids(&here).await;
    let there = empty();
    let mut held = 0;
    for tenths in [0, 1, 6, 9] {
        let input = Unreadable(Cursor::new(bytes.clone()), file.bytes * tenths / 10);
        let go_on = |_| ControlFlow::Continue(());
        let done = import(
            &*there,
            &Context::new(),
            input,
            ImportOptions::default(),
            go_on,
        )
        .await;
        let error = done.unwrap_err();
        let ImportError::File(HistoryFileError::Car(error)) = error else {
            panic!("{error}");
        };
        assert!(matches!(error.kind(), CarErrorKind::Read(_)), "{error}");
        let now = cids(&there).await;
        assert!(now.len() >= held);
        assert_eq!(now, whole[..now.len()]);
        held = now.len();
    }
    assert!(held > 0);
    let imported = try_import(&there, &bytes).await.unwrap();
    assert_eq!(imported.found, held as u64);
    assert_eq!(exported(&there).await.1, bytes);
    assert_eq!(
        version_in(&events(&there).await, &stream(0)),
        Version::new(24)
    );
}

/// The history of one event that `docs/format/car.md` shows byte by byte.
async fn worked_example() -> Arc<dyn EventLog> {
    use cim_domain::store::{
        Append, CommitId, EventId, ExpectedVersion, NewEvent, StreamId, Timestamp,
    };
    let log = empty();
    let id = "01890a5d-ac96-774b-bcce-b302099a8057"
        .parse::<EventId>()
        .unwrap();
    let event = NewEvent::json("order_placed", &serde_json::json!({ "total": 12 }))
        .unwrap()
        .with_id(id)
        .with_time(Timestamp::from_seconds(1_700_000_000));
    let stream = StreamId::new("sales", "order", "0193").unwrap();
    let commit = "01890a5d-ac96-7ab2-80e2-4536629c90de"
        .parse::<CommitId>()
        .unwrap();
    let append =
        Append::new()
            .with_commit_id(commit)
            .write(stream, ExpectedVersion::NEW, vec![event]);
    log.append(&Context::new(), append).await.unwrap();
    log
}

#[tokio::test]
async fn the_worked_example_of_the_format_is_what_is_written() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/format/car.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (_, example) = page.split_once("```hex\n").unwrap();
    let (example, after) = example.split_once("```").unwrap();
    let shown: String = example
        .lines()
        .flat_map(|line| line.split('#').next().unwrap().split_whitespace())
        .collect();
    let (file, bytes) = exported(&worked_example().await).await;
    let written: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(shown, written);
    for told in [
        file.root.to_string(),
        file.tree.to_string(),
        format!("{} bytes", file.bytes),
    ] {
        assert!(after.contains(&told), "{told}");
    }
}
