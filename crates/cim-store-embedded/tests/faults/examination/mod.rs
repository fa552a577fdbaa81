//! Damage, and what an examination of the store hands out of it: every event that is there, the
//! altered ones under the stream and version that they were stored under, and a word about
//! everything else.

mod cuts;
mod displaced;
mod forger;
mod live;
mod places;
mod random;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cim_store::{
    Append, CommitId, Context, Damage, EventCid, EventLog, Examined, ExaminedEvent,
    ExpectedVersion, Head, NewEvent, Position, Store, StreamId, StreamPattern,
};
use cim_store_embedded::{EmbeddedSettings, EmbeddedStore, Inspection};
use futures_util::TryStreamExt;
use tempfile::TempDir;

pub(crate) fn stream(id: &str) -> StreamId {
    StreamId::new("audit", "thing", id).unwrap()
}

/// What an examination handed out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) events: Vec<ExaminedEvent>,
    pub(crate) damage: Vec<Damage>,
}

impl Report {
    pub(crate) async fn of(log: &dyn EventLog, after: u64) -> Self {
        let ctx = Context::new();
        let examination = log.examine(&ctx, Position::new(after)).await;
        let mut examination = examination.unwrap();
        let mut report = Self::default();
        while let Some(found) = examination.try_next().await.unwrap() {
            match found {
                Examined::Event(event) => report.events.push(event),
                Examined::Damage(damage) => report.damage.push(damage),
            }
        }
        report
    }

    /// Events whose blocks are not what they are filed under.
    pub(crate) fn altered(&self) -> Vec<(String, u64)> {
        let altered = self.events.iter().filter(|event| !is_sound(event));
        altered.map(filed).collect()
    }
}

pub(crate) fn is_sound(event: &ExaminedEvent) -> bool {
    EventCid::of(&event.block) == event.cid
}

/// The id of the stream, and the version, that an event is filed under.
pub(crate) fn filed(event: &ExaminedEvent) -> (String, u64) {
    (event.stream.id().to_owned(), event.version.get())
}

/// Where damage is said to be: position, stream, version, and whether there is nothing at all.
pub(crate) fn said(damage: &Damage) -> (u64, Option<&str>, u64, bool) {
    (
        damage.position.map_or(0, Position::get),
        damage.stream.as_ref().map(StreamId::id),
        damage.version.map_or(0, |version| version.get()),
        damage.missing,
    )
}

/// A store that was closed, and what it held.
pub(crate) struct Closed {
    pub(crate) place: TempDir,
    pub(crate) events: Vec<ExaminedEvent>,
    pub(crate) heads: BTreeMap<StreamId, Head>,
}

pub(crate) async fn open(path: &Path) -> EmbeddedStore {
    EmbeddedStore::open(path, EmbeddedSettings::default())
        .await
        .unwrap()
}

pub(crate) async fn inspect(path: &Path) -> Inspection {
    EmbeddedStore::inspect(path, EmbeddedSettings::default())
        .await
        .unwrap()
}

/// What an inspection of a directory hands out.
pub(crate) async fn report(path: &Path) -> Report {
    Report::of(&*inspect(path).await.log(), 0).await
}

pub(crate) async fn heads(store: &dyn Store) -> BTreeMap<StreamId, Head> {
    let (log, ctx) = (store.log(), Context::new());
    let heads = log.streams(&ctx, &StreamPattern::all()).await.unwrap();
    let heads: Vec<Head> = heads.try_collect().await.unwrap();
    heads
        .into_iter()
        .map(|head| (head.stream.clone(), head))
        .collect()
}

/// Stores so many commits of one event each, to streams in turn; closes the store.
pub(crate) async fn closed(commits: u64, streams: &[&str], settings: EmbeddedSettings) -> Closed {
    let place = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(place.path(), settings).await.unwrap();
    fill(&*store.log(), commits, streams).await;
    let events = Report::of(&*store.log(), 0).await.events;
    let heads = heads(&store).await;
    store.close().await.unwrap();
    assert_eq!(events.len() as u64, commits);
    Closed {
        place,
        events,
        heads,
    }
}

/// Stores so many commits of one event each, to streams in turn. All records have the same length
/// but for the first of a stream.
pub(crate) async fn fill(log: &dyn EventLog, commits: u64, streams: &[&str]) {
    for number in 0..commits {
        let to = stream(streams[number as usize % streams.len()]);
        let event = NewEvent::json("noted", &format!("number {number:05}")).unwrap();
        let append = Append::new()
            .with_commit_id(CommitId::from_bytes(
                (number as u128 | 1 << 120).to_be_bytes(),
            ))
            .write(to, ExpectedVersion::Any, vec![event]);
        log.append(&Context::new(), append).await.unwrap();
    }
}

impl Closed {
    pub(crate) fn path(&self) -> &Path {
        self.place.path()
    }

    /// The file of a segment.
    pub(crate) fn segment(&self, number: u32) -> PathBuf {
        self.path().join(format!("events/{number:010}.seg"))
    }

    /// Changes the bytes of a segment's file.
    pub(crate) fn change(&self, number: u32, change: impl FnOnce(&mut Vec<u8>)) {
        let path = self.segment(number);
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
    }

    /// Where the records of a segment begin and end, without padding.
    pub(crate) fn records(&self, number: u32) -> Vec<std::ops::Range<usize>> {
        records(&std::fs::read(self.segment(number)).unwrap())
    }

    /// The events that were stored, but for those at these positions.
    pub(crate) fn without(&self, positions: &[u64]) -> Vec<ExaminedEvent> {
        let kept = self.events.iter();
        let kept = kept.filter(|event| !positions.contains(&event.position.get()));
        kept.cloned().collect()
    }
}

/// Where the records of a segment begin and end, without padding.
pub(crate) fn records(segment: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut records = Vec::new();
    let mut at = 128;
    while segment.len() >= at + 72 && segment[at..at + 4] == *b"CIMr" {
        let body = u32::from_le_bytes(segment[at + 8..at + 12].try_into().unwrap()) as usize;
        records.push(at..at + 72 + body);
        at = (at + 72 + body).next_multiple_of(8);
    }
    records
}

/// All files under a directory with their bytes.
pub(crate) fn image(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut image = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            image.extend(self::image(&path));
        } else {
            image.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    image
}
