//! The mark: up to where the log was flushed.
//!
//! It is written after every flush and before any acknowledgement, and not flushed itself. So it
//! survives the end of the process; a power cut may set it back, never ahead. At opening, a record
//! before the mark that does not check is damage: it had been flushed. Only what follows the mark
//! can be the torn end of a write that was never acknowledged.
//!
//! The file has two pages of 4 KiB; the mark stands at the beginning of one of them in turn. A
//! page that does not check is damage of the mark file itself; the other page is at most one flush
//! older.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::error::EngineError;
use crate::journal::record::{Place, Salt, u32_at, u64_at};

const MAGIC: [u8; 8] = *b"CIMMARK\x01";
const SLOT_BYTES: u64 = 4096;
const BYTES: usize = 64;

/// How far a log got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    /// Where the next record goes.
    pub(crate) end: Place,
    /// The number of the last flush.
    pub(crate) group: u64,
    /// The last position or revision.
    pub(crate) sequence: u64,
    /// The last record's time.
    pub(crate) stored_at: i64,
}

/// The mark file, open.
#[derive(Debug)]
pub(crate) struct MarkFile {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    salt: Salt,
    counter: u64,
}

impl MarkFile {
    /// Makes the file with a first mark, durably.
    pub(crate) fn create(
        disk: &dyn Disk,
        path: &Path,
        salt: Salt,
        reached: Reached,
    ) -> Result<Self, EngineError> {
        let io = EngineError::io("write", path);
        let write = || -> std::io::Result<_> {
            let file = disk.open(path, true)?;
            file.write_at(&encode(0, reached, salt), 0)?;
            file.write_at(&encode(1, reached, salt), SLOT_BYTES)?;
            file.set_len(2 * SLOT_BYTES)?;
            file.sync()?;
            Ok(file)
        };
        let file = write().map_err(io)?;
        Ok(Self {
            file,
            path: path.to_owned(),
            salt,
            counter: 1,
        })
    }

    /// Opens the file and returns the newest mark in it.
    pub(crate) fn open(
        disk: &dyn Disk,
        path: &Path,
        salt: Salt,
    ) -> Result<(Self, Reached), EngineError> {
        let file = disk.open(path, false).map_err(EngineError::opening(path))?;
        let mut newest: Option<(u64, Reached)> = None;
        for slot in 0..2 {
            let mut bytes = [0; BYTES];
            let count = file
                .read_at(&mut bytes, slot * SLOT_BYTES)
                .map_err(EngineError::io("read", path))?;
            let read = (count == BYTES).then(|| decode(&bytes, salt)).flatten();
            if let Some((counter, reached)) = read
                && newest.is_none_or(|(other, _)| counter > other)
            {
                newest = Some((counter, reached));
            }
        }
        let Some((counter, reached)) = newest else {
            return Err(EngineError::damage(
                "neither mark matches its checksum",
                path,
                0,
            ));
        };
        Ok((
            Self {
                file,
                path: path.to_owned(),
                salt,
                counter,
            },
            reached,
        ))
    }

    /// Records how far the log was flushed.
    pub(crate) fn write(&mut self, reached: Reached) -> Result<(), EngineError> {
        self.counter += 1;
        let slot = self.counter % 2;
        let bytes = encode(self.counter, reached, self.salt);
        self.file
            .write_at(&bytes, slot * SLOT_BYTES)
            .map_err(EngineError::io("write", &self.path))
    }

    /// Makes the mark durable.
    pub(crate) fn sync(&self) -> Result<(), EngineError> {
        self.file
            .sync()
            .map_err(EngineError::io("flush", &self.path))
    }
}

fn encode(counter: u64, reached: Reached, salt: Salt) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[0..8].copy_from_slice(&MAGIC);
    bytes[8..16].copy_from_slice(&counter.to_le_bytes());
    bytes[16..24].copy_from_slice(&reached.end.bits().to_le_bytes());
    bytes[24..32].copy_from_slice(&reached.group.to_le_bytes());
    bytes[32..40].copy_from_slice(&reached.sequence.to_le_bytes());
    bytes[40..48].copy_from_slice(&reached.stored_at.to_le_bytes());
    let crc = salt.crc(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8; BYTES], salt: Salt) -> Option<(u64, Reached)> {
    if bytes[0..8] != MAGIC || u32_at(bytes, 60) != salt.crc(&bytes[..60]) {
        return None;
    }
    let reached = Reached {
        end: Place::from_bits(u64_at(bytes, 16)),
        group: u64_at(bytes, 24),
        sequence: u64_at(bytes, 32),
        stored_at: u64_at(bytes, 40) as i64,
    };
    Some((u64_at(bytes, 8), reached))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    fn reached(sequence: u64) -> Reached {
        Reached {
            end: Place::new(1, 128),
            group: sequence,
            sequence,
            stored_at: 5,
        }
    }

    #[test]
    fn the_newest_mark_counts_and_the_other_page_stands_in_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mark");
        let salt = Salt(1);
        let mut mark = MarkFile::create(&RealDisk, &path, salt, reached(1)).unwrap();
        mark.write(reached(2)).unwrap();
        mark.write(reached(3)).unwrap();
        assert_eq!(
            MarkFile::open(&RealDisk, &path, salt).unwrap().1,
            reached(3)
        );

        let good = std::fs::read(&path).unwrap();
        for page in 0..2 {
            let mut bad = good.clone();
            bad[page * 4096 + 20] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            let sequence = MarkFile::open(&RealDisk, &path, salt).unwrap().1.sequence;
            assert!((2..=3).contains(&sequence));
        }
        std::fs::write(&path, vec![0; 8192]).unwrap();
        assert!(MarkFile::open(&RealDisk, &path, salt).is_err());
    }
}
