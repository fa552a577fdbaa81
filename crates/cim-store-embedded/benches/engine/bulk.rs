//! Bringing a history in, commit by commit in order, and examining what is there: what import and
//! verification can be made of.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use cim_store::{
    Append, CommitId, ContentType, Context, EventId, EventLogExt, EventType, Examined,
    ExpectedVersion, NewEvent, OrderedAppend, Position, Store, Timestamp, Version,
};
use cim_store_embedded::{EmbeddedSettings, EmbeddedStore};
use futures_util::StreamExt;

use crate::appends::directory_bytes;
use crate::measure::{Result, Stopwatch, median};
use crate::options::Options;
use crate::random::Random;
use crate::report::{Figure, Report, Row};
use crate::workload::stream;

/// Commits of an import, and bytes of their payloads.
const IMPORTED: usize = 100_000;
const IMPORTED_BYTES: usize = 1 << 10;
/// Commits in one call: about what a window of an import holds.
const CALL: usize = 10_000;
const STREAMS: usize = 1_000;
/// What one flush of the raw limit writes: the engine's group.
const GROUP_BYTES: usize = 4 << 20;
/// Events that are examined, and bytes of their payloads.
const EXAMINED: usize = 1_000_000;
const EXAMINED_BYTES: usize = 256;
/// What is asked of an import at least, in bytes of blocks a second; half the raw limit is enough,
/// too.
const IMPORT_BAR: f64 = 150e6;

pub(crate) async fn run(options: &Options, data: &Path, report: &mut Report) -> Result<()> {
    report.begin("Commits in order of one event, and examining the log; bytes are those of blocks");
    let (mut ours, mut raw, mut commits) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let directory = data.join("import");
        let (bytes, seconds) = import(&directory, IMPORTED, IMPORTED_BYTES).await?;
        let log_bytes = directory_bytes(&directory.join("events"))?;
        ours.push(bytes / seconds);
        commits.push(IMPORTED as f64 / seconds);
        raw.push(bytes / plain(&data.join("raw"), log_bytes as usize)?);
        std::fs::remove_dir_all(&directory)?;
    }
    let bar = IMPORT_BAR.min(median(raw.clone()) / 2.0);
    report.row(
        Row::new(
            "append in order, 1 KiB payloads",
            Figure::Rate(median(ours), "B/s"),
        )
        .at_least(Some(bar))
        .note(format!("{:.0} commits/s", median(commits))),
    );
    report.row(Row::new(
        "raw: the same log, fdatasync every 4 MiB",
        Figure::Rate(median(raw), "B/s"),
    ));
    let directory = data.join("examined");
    import(&directory, EXAMINED, EXAMINED_BYTES).await?;
    let store = EmbeddedStore::open(&directory, EmbeddedSettings::default()).await?;
    let mut rates = Vec::new();
    for _ in 0..options.rounds {
        let watch = Stopwatch::start();
        let mut examination = store.log().examine(&Context::new(), Position::NONE).await?;
        let mut events = 0;
        while let Some(found) = examination.next().await {
            match found? {
                Examined::Event(event) => events += usize::from(!event.block.is_empty()),
                Examined::Damage(damage) => return Err(damage.message.into()),
            }
        }
        if events != EXAMINED {
            return Err(format!("{events} events were examined").into());
        }
        rates.push(EXAMINED as f64 / watch.seconds());
    }
    report.row(
        Row::new(
            "examine 1 M events of 256 bytes",
            Figure::Rate(median(rates), "events/s"),
        )
        .at_least(Some(3e6)),
    );
    store.close().await?;
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}

/// Stores so many commits of one event in order. Returns the bytes of their blocks, and how many
/// seconds it took.
async fn import(directory: &Path, commits: usize, payload: usize) -> Result<(f64, f64)> {
    let store = EmbeddedStore::open(directory, EmbeddedSettings::default()).await?;
    let (log, ctx) = (store.log(), Context::new());
    let mut random = Random::new(11);
    let payload: Vec<u8> = (0..payload).map(|_| random.next() as u8).collect();
    let payload = bytes::Bytes::from(payload);
    let event_type = EventType::new("imported")?;
    let mut streams = Vec::with_capacity(STREAMS);
    for number in 0..STREAMS {
        streams.push((stream("imported", number)?, Version::NONE));
    }
    let mut seconds = 0.0;
    let mut number = 0;
    while number < commits {
        let mut call = Vec::with_capacity(CALL);
        for number in number..(number + CALL).min(commits) {
            let (stream, version) = &mut streams[number % STREAMS];
            let id = (number as u128 | 1 << 120).to_be_bytes();
            let event = NewEvent::new(event_type.clone(), ContentType::BYTES, payload.clone())
                .with_id(EventId::from_bytes(id))
                .with_time(Timestamp::from_micros(number as i64));
            let expected = ExpectedVersion::Exact(*version);
            let append = Append::new()
                .with_commit_id(CommitId::from_bytes(id))
                .write(stream.clone(), expected, vec![event]);
            call.push(OrderedAppend::new(Context::new(), append));
            *version = version.next();
        }
        number += call.len();
        let watch = Stopwatch::start();
        let done = log.append_in_order(&ctx, call).await;
        seconds += watch.seconds();
        if let Some(error) = done.error {
            return Err(error.into());
        }
    }
    // All blocks are about as long as the first of a stream that has a link.
    let (stream, _) = &streams[0];
    let events = log.read_all(&ctx, stream).await?;
    let mut block = Vec::new();
    let linked = events.get(1).ok_or("an event is missing")?;
    linked.block().encode_into(&mut block);
    store.close().await?;
    Ok(((block.len() * commits) as f64, seconds))
}

/// Writes so many bytes to a file, with a flush after every group. Returns the seconds it took.
fn plain(path: &Path, bytes: usize) -> Result<f64> {
    let mut random = Random::new(7);
    let group: Vec<u8> = (0..GROUP_BYTES).map(|_| random.next() as u8).collect();
    let mut file = File::create(path)?;
    let watch = Stopwatch::start();
    let mut left = bytes;
    while left > 0 {
        let count = left.min(group.len());
        file.write_all(&group[..count])?;
        file.sync_data()?;
        left -= count;
    }
    let seconds = watch.seconds();
    std::fs::remove_file(path)?;
    Ok(seconds)
}
