//! Giving up old events, and what is carried over of them.
//!
//! A stream keeps its version and a commit its result when their events are gone. So before
//! segments are removed, the heads and commits that only they know are written to a segment of
//! their own, which takes the place of the one before.

use std::sync::Arc;

use bytes::Bytes;
use cim_store::staging::ContentDigest;
use cim_store::{
    Appended, CommitId, EventCid, EventLogError, Head, Position, StreamId, Timestamp, Version,
};
use serde::{Deserialize, Serialize};

use crate::error::EngineError;
use crate::events::commits::{StoredCommit, read};
use crate::events::record::{CARRIED_COMMIT, CARRIED_HEAD, DIGEST_BYTES, EVENT, read_head};
use crate::index::Index;
use crate::journal::record::{
    FIRST_OF_COMMIT, HEADER_BYTES, Header, LAST_OF_COMMIT, Place, span, write_header,
};
use crate::journal::scan::Scan;
use crate::journal::segment::{FIRST_OFFSET, LastRecord, Segment, SegmentHeader};
use crate::journal::{CARRIED, Journal, Setting, State};

/// A commit as it is carried: JSON.
#[derive(Serialize, Deserialize)]
struct CarriedCommit {
    commit: CommitId,
    position: u64,
    /// Microseconds since 1970.
    stored_at: i64,
    heads: Vec<CarriedHead>,
    /// SHA-256 over what its events say.
    content: [u8; 32],
}

#[derive(Serialize, Deserialize)]
struct CarriedHead {
    stream: StreamId,
    version: u64,
    position: u64,
    cid: EventCid,
}

/// Stream and CID of a carried head.
pub(crate) fn decode_head(
    journal: &Journal,
    header: &Header,
    body: &Bytes,
) -> Result<(StreamId, EventCid), EngineError> {
    let parts = body
        .split_first_chunk::<DIGEST_BYTES>()
        .and_then(|(digest, name)| {
            let stream = StreamId::parse(str::from_utf8(name).ok()?.to_owned()).ok()?;
            Some((stream, EventCid::from_digest(*digest)))
        });
    parts.ok_or_else(|| unreadable(journal, header))
}

/// A carried commit.
pub(crate) fn decode_commit(
    journal: &Journal,
    header: &Header,
    body: &Bytes,
) -> Result<StoredCommit, EngineError> {
    let decoded = serde_json::from_slice::<CarriedCommit>(body)
        .ok()
        .map(|carried| {
            let heads = carried.heads.into_iter().map(|head| Head {
                stream: head.stream,
                version: Version::new(head.version),
                position: Position::new(head.position),
                cid: head.cid,
            });
            StoredCommit {
                result: Appended {
                    commit_id: carried.commit,
                    position: Position::new(carried.position),
                    stored_at: Some(Timestamp::from_micros(carried.stored_at)),
                    heads: heads.collect(),
                },
                content: ContentDigest::from_bytes(carried.content),
            }
        });
    decoded.ok_or_else(|| unreadable(journal, header))
}

fn encode_commit(commit: &StoredCommit) -> Vec<u8> {
    let carried = CarriedCommit {
        commit: commit.result.commit_id,
        position: commit.result.position.get(),
        stored_at: commit.result.stored_at.unwrap_or_default().as_micros(),
        heads: commit
            .result
            .heads
            .iter()
            .map(|head| CarriedHead {
                stream: head.stream.clone(),
                version: head.version.get(),
                position: head.position.get(),
                cid: head.cid,
            })
            .collect(),
        content: *commit.content.as_bytes(),
    };
    // Texts and numbers always have a JSON form.
    serde_json::to_vec(&carried).unwrap_or_default()
}

fn unreadable(journal: &Journal, header: &Header) -> EngineError {
    let path = carried_path(&journal.setting, header.place.segment());
    EngineError::damage(
        "a carried record is unreadable",
        &path,
        u64::from(header.place.offset()),
    )
}

fn carried_name(number: u32) -> String {
    format!("carried-{:06}.seg", number - CARRIED)
}

/// The number of the file with this name.
pub(crate) fn carried_number(name: &str) -> u32 {
    let digits = name
        .strip_prefix("carried-")
        .and_then(|rest| rest.strip_suffix(".seg"));
    let number = digits.and_then(|digits| digits.parse::<u32>().ok());
    CARRIED.saturating_add(number.unwrap_or_default())
}

fn carried_path(setting: &Setting, number: u32) -> std::path::PathBuf {
    setting.path(&carried_name(number))
}

/// Opens the file that carries what is known of what was given up, and removes any other.
pub(crate) fn open_carried(journal: &Journal, state: &State) -> Result<(), EngineError> {
    let setting = &journal.setting;
    let disk = &*setting.disk;
    let names = disk
        .list(&setting.directory)
        .map_err(EngineError::io("list", &setting.directory))?;
    for name in names.iter().filter(|name| name.starts_with("carried-")) {
        if state.carried.as_ref() != Some(name) {
            let path = setting.path(name);
            disk.remove(&path)
                .map_err(EngineError::io("remove", &path))?;
        }
    }
    let Some(name) = &state.carried else {
        return Ok(());
    };
    let path = setting.path(name);
    let file = disk
        .open(&path, false)
        .map_err(EngineError::opening(&path))?;
    let segment = Segment::open(
        &path,
        file,
        setting.family.code,
        carried_number(name),
        setting.salt,
    )?;
    if !segment.take_footer()? {
        return Err(EngineError::damage(
            "the file's footer does not check",
            &path,
            0,
        ));
    }
    journal.set_carried(segment.into());
    Ok(())
}

/// Prepares to give up everything up to position `through`: writes, durably, what must be carried
/// over, and returns the state that makes it so. Nothing that is there is changed yet.
pub(crate) fn prepare(
    journal: &Journal,
    index: &Index,
    state: &State,
    through: u64,
) -> Result<State, EngineError> {
    let segments = journal.segments();
    let gone = |segment: &&Arc<Segment>| {
        segment
            .footer()
            .is_some_and(|footer| footer.last_sequence <= through)
    };
    let count = segments
        .iter()
        .take_while(gone)
        .count()
        .min(segments.len() - 1);
    let first = segments
        .get(count)
        .map_or(state.first_segment, |segment| segment.number());
    if first == state.first_segment {
        return Ok(State {
            truncated_through: through,
            ..state.clone()
        });
    }
    let number = journal
        .carried()
        .map_or(CARRIED, |carried| carried.number() + 1);
    let mut file = CarriedFile::create(journal, number, first)?;
    let mut cursor = index.head_cursor();
    while let Some((_, slot)) = cursor.next()? {
        let place = slot.place.segment();
        if place < first || place >= CARRIED {
            let (stream, head) = read_head(journal, slot)?;
            let record = (CARRIED_HEAD, head.position.get(), head.version.get());
            let body = [head.cid.digest().as_slice(), stream.as_str().as_bytes()].concat();
            file.push(record, &body)?;
        }
    }
    if let Some(carried) = journal.carried() {
        let (start, end) = (carried.place(FIRST_OFFSET), carried.place(carried.end()));
        let mut scan = Scan::new(vec![carried].into(), start, end);
        while let Some((header, body)) = scan.next_record()? {
            if header.kind == CARRIED_COMMIT {
                file.push((header.kind, header.sequence, header.number), &body)?;
            }
        }
    }
    let start = Place::new(state.first_segment, FIRST_OFFSET as u32);
    let end = Place::new(first, FIRST_OFFSET as u32);
    let mut scan = Scan::new(segments, start, end);
    while let Some((header, body)) = scan.next_record()? {
        if header.kind == EVENT && header.has(FIRST_OF_COMMIT) {
            let event = super::record::decode(journal, &header, &body)?;
            let slot = super::catch_up::commit_slot(header.place, u64::from(event.commit_count));
            let commit = read(journal, slot, event.commit_id)?;
            let record = (CARRIED_COMMIT, commit.result.position.get(), slot.number);
            file.push(record, &encode_commit(&commit))?;
        }
    }
    file.finish()?;
    Ok(State {
        first_segment: first,
        truncated_through: through,
        carried: Some(carried_name(number)),
    })
}

/// Opens what a prepared truncation carries; returns what had been carried before. `state` is
/// durable already.
pub(crate) fn take_carried(
    journal: &Journal,
    state: &State,
) -> Result<Option<Arc<Segment>>, EngineError> {
    let before = journal.carried();
    open_carried(journal, state)?;
    Ok(before)
}

/// Removes the files that a truncation gave up. Those that can't be removed go at the next opening.
pub(crate) fn remove_given_up(journal: &Journal, state: &State, before: Option<Arc<Segment>>) {
    let gone = journal.drop_segments_before(state.first_segment);
    for segment in gone.iter().chain(&before) {
        if let Err(error) = journal.setting.disk.remove(&segment.path) {
            let path = segment.path.display();
            tracing::warn!(%error, %path, "a file that was given up could not be removed");
        }
    }
}

/// Checks that a truncation ends with a commit.
pub(crate) fn check_ends_a_commit(
    journal: &Arc<Journal>,
    through: u64,
) -> Result<(), EventLogError> {
    let query = cim_store::LogQuery::all()
        .after(Position::new(through - 1))
        .limit(1);
    let event = super::log_read::LogRead::new(Arc::clone(journal), query)?
        .next()
        .transpose()?;
    match event {
        Some(event) if event.position.get() != through => Err(EventLogError::not_found(
            "there is no event at this position",
        )
        .with("position", through)),
        Some(event) if event.commit_index + 1 == event.commit_count => Ok(()),
        Some(event) => Err(
            EventLogError::invalid("a truncation ends with a whole commit")
                .with("position", through)
                .with("last position of that commit", {
                    through + u64::from(event.commit_count - event.commit_index - 1)
                }),
        ),
        None => Err(
            EventLogError::not_found("there is no event at this position")
                .with("position", through),
        ),
    }
}

/// The file that carries heads and commits, while it is written.
struct CarriedFile<'a> {
    journal: &'a Journal,
    segment: Segment,
    buffer: Vec<u8>,
    /// Where the buffer goes.
    offset: u64,
    records: u64,
    last: Option<Header>,
}

impl<'a> CarriedFile<'a> {
    fn create(journal: &'a Journal, number: u32, first: u32) -> Result<Self, EngineError> {
        let setting = &journal.setting;
        let header = SegmentHeader {
            family: setting.family.code,
            number,
            first_sequence: 0,
            first_group: 1,
            previous_end: 0,
            stored_at: i64::from(first),
        };
        let path = carried_path(setting, number);
        let create = || {
            setting.disk.remove(&path)?;
            let file = setting.disk.open(&path, true)?;
            file.write_at(&header.encode(&setting.store, setting.salt), 0)?;
            Ok(file)
        };
        let file = create().map_err(EngineError::io("make", &path))?;
        let segment = Segment::new(header, path, file, setting.salt, FIRST_OFFSET);
        Ok(Self {
            journal,
            segment,
            buffer: Vec::new(),
            offset: FIRST_OFFSET,
            records: 0,
            last: None,
        })
    }

    fn push(
        &mut self,
        (kind, sequence, number): (u8, u64, u64),
        body: &[u8],
    ) -> Result<(), EngineError> {
        let start = self.buffer.len();
        let place = self.segment.place(self.offset + start as u64);
        let header = Header {
            kind,
            flags: FIRST_OF_COMMIT | LAST_OF_COMMIT,
            body_len: body.len() as u32,
            body_crc: crc32c::crc32c(body),
            place,
            group: 1,
            sequence,
            stored_at: 0,
            previous: Place::NONE,
            number,
        };
        self.buffer.resize(start + span(body.len()), 0);
        self.buffer[start + HEADER_BYTES..][..body.len()].copy_from_slice(body);
        write_header(
            &header,
            self.journal.setting.salt,
            &mut self.buffer[start..],
        );
        self.records += 1;
        self.last = Some(header);
        if self.buffer.len() >= 1 << 20 {
            self.write()
        } else {
            Ok(())
        }
    }

    fn write(&mut self) -> Result<(), EngineError> {
        if self.offset + self.buffer.len() as u64 > u64::from(u32::MAX) {
            let full = std::io::ErrorKind::FileTooLarge;
            return Err(EngineError::io(
                "write more than 4 GiB to",
                &self.segment.path,
            )(full.into()));
        }
        let written = self.segment.file.write_at(&self.buffer, self.offset);
        written.map_err(EngineError::io("write", &self.segment.path))?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<(), EngineError> {
        self.write()?;
        self.segment.set_end(self.offset);
        self.segment.seal(LastRecord {
            records: self.records,
            sequence: self.last.map_or(0, |header| header.sequence),
            group: 1,
            stored_at: 0,
        })?;
        let directory = &self.journal.setting.directory;
        let synced = self.journal.setting.disk.sync_dir(directory);
        synced.map_err(EngineError::io("flush", directory))
    }
}
