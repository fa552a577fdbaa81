//! The manifest: the one value of an index that changes. It says which runs there are, and on which
//! log they stand. `docs/format/event-index.md` has its bytes.

use cim_store::{EventCid, Position};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::block::Child;

/// What it begins with: a name, and the version of the format.
const MAGIC: [u8; 8] = *b"cimindx\x01";
/// Bytes of a run.
const RUN_BYTES: usize = 72;
/// Nodes have two children at least, but for the last one of each level: so many levels has no run.
const LEVELS: u64 = 100;

/// The last event that was taken in: where it stands, and which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Anchor {
    pub(super) position: Position,
    pub(super) cid: EventCid,
}

/// An immutable, sorted part of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RunInfo {
    pub(super) id: Uuid,
    pub(super) entries: u64,
    /// The largest position that it leads to.
    pub(super) last: Position,
    /// How many blocks it has, numbered from 0.
    pub(super) blocks: u32,
    pub(super) root: Child,
}

impl RunInfo {
    /// Whether there can be such a run: the root is written last, a leaf has an entry, and there are
    /// hardly more nodes than leaves.
    fn can_be(&self) -> bool {
        let most = self.entries.saturating_mul(2).saturating_add(LEVELS);
        self.entries > 0
            && self.blocks.checked_sub(1) == Some(self.root.number)
            && u64::from(self.blocks) <= most
    }
}

/// Which runs there are, and how far they reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    /// `None`: nothing was taken in yet.
    pub(super) anchor: Option<Anchor>,
    /// Events up to here are not in the index: a truncation gave them up before it was begun.
    pub(super) begins_after: Position,
    pub(super) runs: Vec<RunInfo>,
}

impl Manifest {
    /// Everything up to here is in the runs, or was truncated.
    pub(super) fn reached(&self) -> Position {
        self.anchor
            .map_or(self.begins_after, |anchor| anchor.position)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let position = self.anchor.map_or(0, |anchor| anchor.position.get());
        let cid = self.anchor.map_or([0; 32], |anchor| *anchor.cid.digest());
        bytes.extend_from_slice(&position.to_le_bytes());
        bytes.extend_from_slice(&cid);
        bytes.extend_from_slice(&self.begins_after.get().to_le_bytes());
        bytes.extend_from_slice(&(self.runs.len() as u32).to_le_bytes());
        for run in &self.runs {
            bytes.extend_from_slice(run.id.as_bytes());
            bytes.extend_from_slice(&run.entries.to_le_bytes());
            bytes.extend_from_slice(&run.last.get().to_le_bytes());
            bytes.extend_from_slice(&run.blocks.to_le_bytes());
            bytes.extend_from_slice(&run.root.number.to_le_bytes());
            bytes.extend_from_slice(&run.root.digest);
        }
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        bytes.extend_from_slice(&digest);
        bytes
    }

    /// `None`: it is damaged, or of a version that is not known here, or has numbers that can't be.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (content, digest) = bytes.split_last_chunk::<32>()?;
        let found: [u8; 32] = Sha256::digest(content).into();
        let mut rest = content.strip_prefix(&MAGIC)?;
        if found != *digest {
            return None;
        }
        let position = u64::from_le_bytes(take(&mut rest)?);
        let cid: [u8; 32] = take(&mut rest)?;
        let begins_after = Position::new(u64::from_le_bytes(take(&mut rest)?));
        let count = u32::from_le_bytes(take(&mut rest)?) as usize;
        if rest.len() / RUN_BYTES != count {
            return None;
        }
        let mut runs = Vec::with_capacity(count);
        for _ in 0..count {
            runs.push(RunInfo {
                id: Uuid::from_bytes(take(&mut rest)?),
                entries: u64::from_le_bytes(take(&mut rest)?),
                last: Position::new(u64::from_le_bytes(take(&mut rest)?)),
                blocks: u32::from_le_bytes(take(&mut rest)?),
                root: Child {
                    number: u32::from_le_bytes(take(&mut rest)?),
                    digest: take(&mut rest)?,
                },
            });
        }
        let anchor = (position > 0).then(|| Anchor {
            position: Position::new(position),
            cid: EventCid::from_digest(cid),
        });
        let mut entries = runs.iter().map(|run| run.entries);
        let in_all = entries.try_fold(0_u64, |sum, run| sum.checked_add(run));
        let can_be = in_all.is_some() && runs.iter().all(RunInfo::can_be);
        (rest.is_empty() && can_be).then_some(Self {
            anchor,
            begins_after,
            runs,
        })
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let run = |number: u8| RunInfo {
            id: Uuid::from_u128(u128::from(number) + 7),
            entries: 1_000 + u64::from(number),
            last: Position::new(99),
            blocks: 3,
            root: Child {
                number: 2,
                digest: [number; 32],
            },
        };
        Manifest {
            anchor: Some(Anchor {
                position: Position::new(99),
                cid: EventCid::of(b"event"),
            }),
            begins_after: Position::new(5),
            runs: vec![run(1), run(2)],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for manifest in [manifest(), Manifest::default()] {
            assert_eq!(Manifest::decode(&manifest.encode()), Some(manifest));
        }
    }

    #[test]
    fn numbers_that_can_not_be_are_no_manifest() {
        let altered: [fn(&mut RunInfo); 7] = [
            |run| run.entries = 0,
            |run| run.entries = u64::MAX,
            |run| run.blocks = 0,
            |run| run.blocks = 4,
            |run| run.blocks = u32::MAX,
            |run| run.root.number = 3,
            |run| (run.blocks, run.root.number) = (u32::MAX, u32::MAX - 1),
        ];
        for alter in altered {
            let mut manifest = manifest();
            manifest.runs.iter_mut().for_each(alter);
            assert_eq!(Manifest::decode(&manifest.encode()), None, "{manifest:?}");
        }
    }

    #[test]
    fn no_byte_can_be_changed_taken_away_or_added() {
        let bytes = manifest().encode();
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            assert_eq!(Manifest::decode(&changed), None, "byte {index}");
            assert_eq!(Manifest::decode(&bytes[..index]), None, "{index} bytes");
        }
        let mut longer = bytes;
        longer.push(0);
        assert_eq!(Manifest::decode(&longer), None);
    }
}
