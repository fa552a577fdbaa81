//! The heads of streams, from an index and a log of which either may lack something.

use std::sync::Arc;

use cim_ipld::EventBlock;
use cim_store::{
    EventCid, EventLogError, Examined, Head, Position, StreamId, StreamPattern, Version,
};

use super::Inspected;
use crate::error::EngineError;
use crate::events::examination::Examiner;
use crate::events::record::{CARRIED_HEAD, DIGEST_BYTES, EVENT};
use crate::index::cursor::HeadCursor;
use crate::index::key::{IndexKey, KeyMap};
use crate::index::{Index, Slot};
use crate::journal::record::Place;
use crate::journal::survey::record_in;

/// What stands where the index leads to.
pub(super) enum HeadAt {
    /// The last event of the stream.
    Here(Head),
    /// That event, but altered, so that it does not tell its stream.
    Nameless(Position, EventCid),
    /// Not that event.
    Gone,
}

/// A head of which only the index knows, or an event that does not tell its name.
#[derive(Clone, Copy, Debug)]
pub(super) struct LostHead {
    pub(super) version: Version,
    pub(super) place: Place,
    /// Where the event is there.
    known: Option<(Position, EventCid)>,
}

impl LostHead {
    pub(super) fn of(slot: Slot, known: Option<(Position, EventCid)>) -> Self {
        Self {
            version: Version::new(slot.number),
            place: slot.place,
            known,
        }
    }

    /// The head, by its stream's name. What nobody knows is zero.
    fn named(self, stream: StreamId) -> Head {
        let nowhere = (Position::NONE, EventCid::from_digest([0; 32]));
        let (position, cid) = self.known.unwrap_or(nowhere);
        Head {
            stream,
            version: self.version,
            position,
            cid,
        }
    }
}

impl Inspected {
    /// What stands where an entry of the index leads to.
    pub(super) fn head_at(&self, key: IndexKey, slot: Slot) -> Result<HeadAt, EngineError> {
        let Some(file) = self.files.file(slot.place.segment()) else {
            return Ok(HeadAt::Gone);
        };
        let found = record_in(file, slot.place, self.files.setting.salt)?;
        let Some((header, body)) = found.filter(|(header, _)| header.number == slot.number) else {
            return Ok(HeadAt::Gone);
        };
        let Some((digest, rest)) = body.split_first_chunk::<DIGEST_BYTES>() else {
            return Ok(HeadAt::Gone);
        };
        let name = match header.kind {
            EVENT => EventBlock::decode(rest).ok().map(|block| block.stream),
            CARRIED_HEAD => str::from_utf8(rest).ok(),
            _ => return Ok(HeadAt::Gone),
        };
        let stream = name
            .and_then(|name| StreamId::parse(name.to_owned()).ok())
            .filter(|stream| IndexKey::stream(stream.as_str()) == key);
        let (position, cid) = (
            Position::new(header.sequence),
            EventCid::from_digest(*digest),
        );
        Ok(match stream {
            Some(stream) => HeadAt::Here(Head {
                stream,
                version: Version::new(header.number),
                position,
                cid,
            }),
            None if crc32c::crc32c(&body) != header.body_crc => HeadAt::Nameless(position, cid),
            None => HeadAt::Gone,
        })
    }
}

/// Goes over all heads. An item is `None` where there is nothing to hand out yet.
pub(super) struct HeadList {
    inspected: Arc<Inspected>,
    pattern: StreamPattern,
    phase: Phase,
    /// The heads of what the index does not reach.
    fresh: KeyMap<Head>,
    lost: KeyMap<LostHead>,
}

enum Phase {
    /// Reads what the index does not reach.
    CatchUp(Box<Examiner>),
    Index(HeadCursor),
    Fresh(std::vec::IntoIter<Head>),
    /// Goes over the whole log for the names of heads that were lost.
    Names(Box<Examiner>),
    Lost(std::vec::IntoIter<Head>),
    Over,
}

impl HeadList {
    pub(super) fn new(
        inspected: Arc<Inspected>,
        pattern: StreamPattern,
    ) -> Result<Self, EventLogError> {
        let index = inspected.index.as_ref().map_err(EngineError::again)?;
        let reached = index.reached();
        let files = &inspected.files;
        // What the index reaches beyond the end is told by the examination.
        let examiner = files.examiner_from(reached.end, reached.sequence, reached.sequence);
        Ok(Self {
            phase: Phase::CatchUp(Box::new(examiner)),
            pattern,
            fresh: KeyMap::default(),
            lost: KeyMap::default(),
            inspected,
        })
    }

    fn step(&mut self) -> Result<Option<Head>, EventLogError> {
        match &mut self.phase {
            Phase::CatchUp(examiner) => match examiner.next() {
                Some(found) => self.note(found.transpose()?),
                None => {
                    let index = self.inspected.index.as_ref();
                    let cursor = index.map(Index::head_cursor).map_err(EngineError::again)?;
                    self.phase = Phase::Index(cursor);
                }
            },
            Phase::Index(cursor) => match cursor.next()? {
                Some((key, slot)) => return self.head(key, slot),
                None => {
                    let fresh: Vec<Head> = self.fresh.drain().map(|(_, head)| head).collect();
                    self.phase = Phase::Fresh(fresh.into_iter());
                }
            },
            Phase::Fresh(heads) => match heads.next() {
                Some(head) => return Ok(Some(head)),
                None if self.lost.is_empty() => self.phase = Phase::Over,
                None => self.phase = Phase::Names(Box::new(self.inspected.files.examiner(0))),
            },
            Phase::Names(examiner) => match examiner.next() {
                Some(found) => {
                    if let Some(Examined::Event(event)) = found.transpose()? {
                        let key = IndexKey::stream(event.stream.as_str());
                        let lost = self.lost.get_mut(&key);
                        // It is not where the index leads to, but says that it belongs there.
                        if let Some(head) = lost.filter(|head| {
                            head.place == examiner.last_place() && head.version == event.version
                        }) {
                            head.known = Some((event.position, event.cid));
                        }
                    }
                }
                None => {
                    let named = named(examiner, &mut self.lost);
                    self.phase = Phase::Lost(named.into_iter());
                }
            },
            Phase::Lost(heads) => match heads.next() {
                Some(head) => return Ok(Some(head)),
                None => self.phase = Phase::Over,
            },
            Phase::Over => {}
        }
        Ok(None)
    }

    /// Notes an event that the index does not reach.
    fn note(&mut self, found: Option<Examined>) {
        let Some(Examined::Event(event)) = found else {
            return;
        };
        let key = IndexKey::stream(event.stream.as_str());
        let before = self.fresh.get(&key);
        if before.is_none_or(|head| head.version <= event.version) {
            let head = Head {
                stream: event.stream,
                version: event.version,
                position: event.position,
                cid: event.cid,
            };
            self.fresh.insert(key, head);
        }
    }

    fn head(&mut self, key: IndexKey, slot: Slot) -> Result<Option<Head>, EventLogError> {
        let later = self.fresh.remove(&key);
        if let Some(head) = later.filter(|head| head.version.get() >= slot.number) {
            return Ok(Some(head));
        }
        let known = match self.inspected.head_at(key, slot)? {
            HeadAt::Here(head) => return Ok(Some(head)),
            HeadAt::Nameless(position, cid) => Some((position, cid)),
            HeadAt::Gone => None,
        };
        self.lost.insert(key, LostHead::of(slot, known));
        Ok(None)
    }
}

/// The lost heads whose streams were seen; they are taken away from the others.
pub(super) fn named(examiner: &Examiner, lost: &mut KeyMap<LostHead>) -> Vec<Head> {
    let named = examiner.streams().filter_map(|stream| {
        let head = lost.remove(&IndexKey::stream(stream.as_str()))?;
        Some(head.named(stream.clone()))
    });
    named.collect()
}

impl Iterator for HeadList {
    type Item = Option<Result<Head, EventLogError>>;

    fn next(&mut self) -> Option<Self::Item> {
        if matches!(self.phase, Phase::Over) {
            return None;
        }
        let found = self.step();
        if found.is_err() {
            self.phase = Phase::Over;
        }
        let pattern = &self.pattern;
        let found = found.map(|head| head.filter(|head| pattern.matches(&head.stream)));
        Some(found.transpose())
    }
}
