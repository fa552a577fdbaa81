//! Reading keys: the last change by the index, older ones by the links from each to the one before
//! it.

use std::sync::Arc;

use cim_store::{Key, Operation, Timestamp};

use crate::buckets::change::{Change, bucket_of, decode};
use crate::error::EngineError;
use crate::index::cursor::HeadCursor;
use crate::index::key::IndexKey;
use crate::index::{Index, Slot};
use crate::journal::Journal;
use crate::journal::record::Place;

/// What reading keys needs.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    pub(crate) journal: Arc<Journal>,
    pub(crate) index: Arc<Index>,
}

impl Reader {
    /// The key's last change, whatever it was; `None` when nothing is known of the key.
    pub(crate) fn last(&self, bucket: u16, key: &Key) -> Result<Option<Change>, EngineError> {
        let index_key = IndexKey::entry(u32::from(bucket), key.as_str());
        let Some(change) = self.follow(index_key, self.index.get(index_key)?)? else {
            return Ok(None);
        };
        if change.bucket != bucket || change.entry.key != *key {
            return Err(self.misled(change.place));
        }
        Ok(Some(change))
    }

    /// The change that an entry of the index leads to. What is left of a segment is moved before
    /// the segment is given up; an entry that leads there and stays is of a key that is gone.
    pub(crate) fn follow(
        &self,
        key: IndexKey,
        mut slot: Option<Slot>,
    ) -> Result<Option<Change>, EngineError> {
        while let Some(found) = slot {
            match self.read(found.place) {
                Ok(change) => return Ok(Some(change)),
                Err(_) if self.journal.has_given_up(found.place) => {
                    slot = self.index.get(key)?;
                    if slot == Some(found) {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// The change at a place.
    pub(crate) fn read(&self, place: Place) -> Result<Change, EngineError> {
        let mut body = Vec::new();
        let header = self.journal.read_into(place, &mut body)?;
        decode(&self.journal, &header, &body.into())
    }

    /// The change before `change` of the same key, unless it is gone.
    pub(crate) fn before(&self, change: &Change) -> Result<Option<Change>, EngineError> {
        let place = change.previous;
        if place == Place::NONE || self.journal.has_given_up(place) {
            return Ok(None);
        }
        match self.read(place) {
            Ok(older) if older.entry.key == change.entry.key => Ok(Some(older)),
            Ok(_) => Err(self.misled(place)),
            Err(_) if self.journal.has_given_up(place) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The changes that count of a key whose last change is `last`, newest first: at most
    /// `history`, none before a purge or the end of a time to live.
    pub(crate) fn kept(
        &self,
        last: Change,
        history: u8,
        now: Timestamp,
    ) -> Result<Vec<Change>, EngineError> {
        let mut kept = Vec::new();
        let mut next = Some(last);
        while let Some(change) = next {
            if change.is_over(now) {
                break;
            }
            let ends = change.entry.operation == Operation::Purge;
            next = if ends || kept.len() + 1 == usize::from(history) {
                None
            } else {
                self.before(&change)?
            };
            kept.push(change);
        }
        Ok(kept)
    }

    /// Goes over the last changes of all keys of a bucket.
    pub(crate) fn keys(&self, bucket: u16) -> Keys {
        Keys {
            reader: self.clone(),
            bucket,
            cursor: self.index.head_cursor(),
        }
    }

    fn misled(&self, place: Place) -> EngineError {
        let directory = self.journal.setting.path("index");
        EngineError::index(
            format!("it leads to another record, at {place:?}"),
            &directory,
        )
    }
}

/// The last changes of all keys of a bucket, each key once.
pub(crate) struct Keys {
    reader: Reader,
    bucket: u16,
    cursor: HeadCursor,
}

impl Keys {
    pub(crate) fn next(&mut self) -> Result<Option<Change>, EngineError> {
        while let Some((key, slot)) = self.cursor.next()? {
            if bucket_of(&slot) == self.bucket
                && let Some(change) = self.reader.follow(key, Some(slot))?
            {
                return Ok(Some(change));
            }
        }
        Ok(None)
    }
}
