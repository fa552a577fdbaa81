//! Commits that were stored: their results, read back.

use cim_store::staging::ContentDigest;
use cim_store::{Appended, CommitId, Head, Position};

use crate::error::EngineError;
use crate::events::record::{CARRIED_COMMIT, decode, misled};
use crate::events::truncate::decode_commit;
use crate::index::key::IndexKey;
use crate::index::{COMMIT, Index, Slot};
use crate::journal::Journal;
use crate::journal::record::{LAST_OF_COMMIT, Place};

/// A commit as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredCommit {
    pub(crate) result: Appended,
    /// What its events say.
    pub(crate) content: ContentDigest,
}

/// The commit with this id, if it was stored.
pub(crate) fn find(
    journal: &Journal,
    index: &Index,
    id: CommitId,
) -> Result<Option<StoredCommit>, EngineError> {
    let key = IndexKey::commit(id.as_bytes());
    let Some(slot) = index.get(key)? else {
        return Ok(None);
    };
    let commit = match read(journal, slot, id) {
        // A truncation took the records away after the index was asked; it knows by now where the
        // result was carried to.
        Err(_) if journal.has_given_up(slot.place) => match index.get(key)? {
            Some(slot) => read(journal, slot, id),
            None => return Ok(None),
        },
        commit => commit,
    };
    commit.map(Some).map_err(|error| index.condemn(error))
}

/// Reads the commit that an entry of the index leads to.
pub(crate) fn read(
    journal: &Journal,
    slot: Slot,
    id: CommitId,
) -> Result<StoredCommit, EngineError> {
    let mut place = slot.place;
    let mut result = Appended {
        commit_id: id,
        position: Position::NONE,
        stored_at: None,
        heads: Vec::new(),
    };
    let mut events = Vec::new();
    loop {
        let mut arena = Vec::new();
        let header = journal.read_into(place, &mut arena)?;
        let body = arena.into();
        if header.kind == CARRIED_COMMIT {
            let commit = decode_commit(journal, &header, &body)?;
            let right = commit.result.commit_id == id;
            return if right {
                Ok(commit)
            } else {
                Err(misled(journal, place))
            };
        }
        let event = decode(journal, &header, &body)?;
        if slot.kind != COMMIT || event.commit_id != id {
            return Err(misled(journal, place));
        }
        let head = Head {
            stream: event.stream.clone(),
            version: event.version,
            position: event.position,
            cid: event.cid,
        };
        match result.heads.last_mut() {
            Some(last) if last.stream == head.stream => *last = head,
            _ => result.heads.push(head),
        }
        result.position = event.position;
        result.stored_at = Some(event.stored_at);
        events.push(event);
        if header.has(LAST_OF_COMMIT) {
            let content = ContentDigest::of_recorded(&events);
            return Ok(StoredCommit { result, content });
        }
        place = Place::new(place.segment(), place.offset() + header.span() as u32);
    }
}
