//! An examination of a store that is inspected: what its log holds, what is wrong with its files
//! beside, and what its index knows of that the log holds no more.

use std::collections::HashSet;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use cim_store::{Damage, EventLogError, Examined, Position};

use super::Inspected;
use super::heads::{HeadAt, LostHead, named};
use crate::error::EngineError;
use crate::events::examination::Examiner;
use crate::index::cursor::HeadCursor;
use crate::index::key::{IndexKey, KeyHasher, KeyMap};

type Keys = HashSet<IndexKey, BuildHasherDefault<KeyHasher>>;

/// Hands out everything. An item is `None` where there is nothing to hand out yet.
pub(super) struct Report {
    inspected: Arc<Inspected>,
    /// Whether all events are looked at that there are.
    whole: bool,
    phase: Phase,
    lost: KeyMap<LostHead>,
}

enum Phase {
    Log(Box<Examiner>),
    Files(std::vec::IntoIter<Damage>, Box<Examiner>),
    /// Compares the index with the streams that were seen.
    Index(HeadCursor, Keys),
    /// Goes over what was passed over, for the names of heads that were lost.
    Names(Box<Examiner>),
    Lost(std::vec::IntoIter<Damage>),
    Over,
}

impl Report {
    pub(super) fn new(inspected: Arc<Inspected>, after: Position) -> Self {
        let files = &inspected.files;
        let examiner = Box::new(files.examiner(after.get()));
        Self {
            whole: after.get() <= files.truncated_through,
            phase: Phase::Log(examiner),
            lost: KeyMap::default(),
            inspected,
        }
    }

    fn step(&mut self) -> Result<Option<Examined>, EventLogError> {
        let phase = std::mem::replace(&mut self.phase, Phase::Over);
        let (phase, found) = match phase {
            Phase::Log(mut examiner) => match examiner.next() {
                Some(found) => (Phase::Log(examiner), found.transpose()?),
                None => {
                    let damage = self.inspected.files.damage.clone();
                    (Phase::Files(damage.into_iter(), examiner), None)
                }
            },
            Phase::Files(mut damage, examiner) => match damage.next() {
                Some(one) => (Phase::Files(damage, examiner), Some(Examined::Damage(one))),
                None => (self.compare(&examiner), None),
            },
            Phase::Index(mut cursor, seen) => match cursor.next() {
                Ok(Some((key, slot))) => {
                    if !seen.contains(&key)
                        && matches!(self.inspected.head_at(key, slot)?, HeadAt::Gone)
                    {
                        self.lost.insert(key, LostHead::of(slot, None));
                    }
                    (Phase::Index(cursor, seen), None)
                }
                Ok(None) => (self.name(), None),
                // The index is no history: listing the streams says that it is damaged.
                Err(EngineError::IndexDamage { .. }) => (self.name(), None),
                Err(error) => return Err(error.into()),
            },
            Phase::Names(mut examiner) => match examiner.next() {
                Some(found) => {
                    found.transpose()?;
                    (Phase::Names(examiner), None)
                }
                None => {
                    // Whose name is known is listed among the streams.
                    named(&examiner, &mut self.lost);
                    (self.tell(), None)
                }
            },
            Phase::Lost(mut damage) => match damage.next() {
                Some(one) => (Phase::Lost(damage), Some(Examined::Damage(one))),
                None => (Phase::Over, None),
            },
            Phase::Over => (Phase::Over, None),
        };
        self.phase = phase;
        Ok(found)
    }

    fn compare(&self, examiner: &Examiner) -> Phase {
        let Ok(index) = &self.inspected.index else {
            return Phase::Over;
        };
        let seen = examiner
            .streams()
            .map(|stream| IndexKey::stream(stream.as_str()));
        Phase::Index(index.head_cursor(), seen.collect())
    }

    fn name(&self) -> Phase {
        if self.lost.is_empty() || self.whole {
            return self.tell();
        }
        Phase::Names(Box::new(self.inspected.files.examiner(0)))
    }

    fn tell(&self) -> Phase {
        let mut lost: Vec<_> = self.lost.values().copied().collect();
        lost.sort_unstable_by_key(|head| head.place);
        let damage = lost.into_iter().map(|head| {
            let (place, setting) = (head.place, &self.inspected.files.setting);
            let message = format!(
                "all events of a stream that the index knows at version {} are gone, the last one \
                 from byte {} of {}",
                head.version,
                place.offset(),
                setting.segment_path(place.segment()).display()
            );
            Damage {
                position: None,
                stream: None,
                version: Some(head.version),
                missing: true,
                message,
            }
        });
        Phase::Lost(damage.collect::<Vec<_>>().into_iter())
    }
}

impl Iterator for Report {
    type Item = Option<Result<Examined, EventLogError>>;

    fn next(&mut self) -> Option<Self::Item> {
        if matches!(self.phase, Phase::Over) {
            return None;
        }
        // An error leaves the phase at its end.
        Some(self.step().transpose())
    }
}
