//! A run: an immutable, sorted, checksummed file of index entries.
//!
//! ```text
//! 0        4096                                    filter_offset
//! | header | block | block | block | … | (hole) … | filter line | filter line | … |
//! ```
//!
//! A block has 512 bytes: up to 14 entries, and the range of keys that it answers for, so that a
//! block that checks proves both what is in the run and what is not. Filter lines of 64 bytes say
//! quickly that a key is not in the run. `docs/format/index.md` has the table of bytes. Keys are
//! evenly spread, so a key's block is found by its value.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::error::EngineError;
use crate::index::key::IndexKey;
use crate::journal::record::{Place, Salt, u32_at, u64_at};
use crate::mapping::Mapping;

const MAGIC: [u8; 8] = *b"CIMRUN\0\x01";
const HEADER_BYTES: u64 = 4096;
const BLOCK_BYTES: usize = 512;
const BLOCK_HEAD: usize = 64;
const ENTRY_BYTES: usize = 32;
const ENTRIES_PER_BLOCK: usize = (BLOCK_BYTES - BLOCK_HEAD) / ENTRY_BYTES;
const LINE_BYTES: usize = 64;
const LINE_BITS: u32 = 480;
/// Entries that share a filter line: ten bits each.
const ENTRIES_PER_LINE: u64 = 48;
const PROBES: u32 = 6;

/// One entry: a key leads to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunEntry {
    pub(crate) key: IndexKey,
    pub(crate) place: Place,
    /// What kind of entry it is.
    pub(crate) kind: u8,
    /// The version or revision of what stands there; up to 56 bits.
    pub(crate) number: u64,
}

/// A run, open for reading.
#[derive(Debug)]
pub(crate) struct Run {
    path: PathBuf,
    map: Mapping,
    id: u64,
    salt: Salt,
    pub(crate) entries: u64,
    blocks: u64,
    filter_offset: u64,
    lines: u64,
}

impl Run {
    /// Opens a run and checks its header. Blocks are checked when they are read.
    pub(crate) fn open(
        disk: &dyn Disk,
        path: &Path,
        id: u64,
        salt: Salt,
    ) -> Result<Self, EngineError> {
        let file = disk
            .open(path, false)
            .map_err(EngineError::io("open", path))?;
        let len = file.len().map_err(EngineError::io("read", path))?;
        let mut bytes = [0; 64];
        let count = file
            .read_at(&mut bytes, 0)
            .map_err(EngineError::io("read", path))?;
        if count < bytes.len()
            || bytes[0..8] != MAGIC
            || u32_at(&bytes, 60) != salt.crc(&bytes[..60])
            || u64_at(&bytes, 8) != id
        {
            return Err(EngineError::index(
                "a run's header does not match its checksum",
                path,
            ));
        }
        let run = Self {
            id,
            salt,
            entries: u64_at(&bytes, 16),
            blocks: u64_at(&bytes, 24),
            filter_offset: u64_at(&bytes, 32),
            lines: u64_at(&bytes, 40),
            map: file
                .map(usize::try_from(len).unwrap_or(usize::MAX))
                .map_err(EngineError::io("map", path))?,
            path: path.to_owned(),
        };
        let blocks_end = HEADER_BYTES + run.blocks * BLOCK_BYTES as u64;
        if blocks_end > run.filter_offset
            || run.filter_offset + run.lines * LINE_BYTES as u64 != len
        {
            return Err(EngineError::index("a run has the wrong length", path));
        }
        Ok(run)
    }

    fn damage(&self, what: &str) -> EngineError {
        EngineError::index(what, &self.path)
    }

    /// The entry under `key`, if there is one.
    pub(crate) fn get(&self, key: IndexKey) -> Result<Option<RunEntry>, EngineError> {
        if self.blocks == 0 || !self.may_hold(key)? {
            return Ok(None);
        }
        let block = self.checked_block(self.find_block(key)?)?;
        // The block itself says that it answers for the key, so going astray on the way to it
        // can't hide an entry.
        if key < block.lower() || key > block.upper() {
            return Err(self.damage("a block does not answer for its keys"));
        }
        Ok(block.entries().find(|entry| entry.key == key))
    }

    fn may_hold(&self, key: IndexKey) -> Result<bool, EngineError> {
        let line = share(key, self.lines);
        let start = (self.filter_offset + line * LINE_BYTES as u64) as usize;
        let bytes = self
            .map
            .get(start..start + LINE_BYTES)
            .ok_or_else(|| self.damage("a filter line is missing"))?;
        if u32_at(bytes, 60) != line_crc(self.salt, self.id, line, &bytes[..60]) {
            return Err(self.damage("a filter line does not match its checksum"));
        }
        Ok(probes(key).all(|bit| bytes[(bit / 8) as usize] & (1 << (bit % 8)) != 0))
    }

    /// The block that answers for `key`, found by following what the blocks say of themselves.
    fn find_block(&self, key: IndexKey) -> Result<u64, EngineError> {
        let (mut low, mut high) = (0, self.blocks - 1);
        let mut guess = share(key, self.blocks);
        let mut width = 1;
        while low < high {
            let block = self.raw_block(guess)?;
            if key < block.lower() {
                high = guess.max(1) - 1;
                guess = guess.saturating_sub(width).max(low);
            } else if key > block.upper() {
                low = guess + 1;
                guess = (guess + width).min(high);
            } else {
                return Ok(guess);
            }
            width *= 2;
            if width > 16 || guess < low || guess > high {
                guess = low + (high.max(low) - low) / 2;
            }
        }
        Ok(low.min(self.blocks - 1))
    }

    fn raw_block(&self, number: u64) -> Result<Block<'_>, EngineError> {
        let start = (HEADER_BYTES + number * BLOCK_BYTES as u64) as usize;
        let bytes = self.map.get(start..start + BLOCK_BYTES);
        bytes
            .map(Block)
            .ok_or_else(|| self.damage("a block is missing"))
    }

    fn checked_block(&self, number: u64) -> Result<Block<'_>, EngineError> {
        let block = self.raw_block(number)?;
        let bytes = block.0;
        let right = u32_at(bytes, 0) == self.salt.crc(&bytes[4..])
            && u64_at(bytes, 8) == self.id
            && u64_at(bytes, 16) == number
            && block.count() <= ENTRIES_PER_BLOCK;
        if right {
            Ok(block)
        } else {
            Err(self.damage("a block does not match its checksum"))
        }
    }

    /// The entries of one block, checked.
    pub(crate) fn block_entries(&self, number: u64) -> Result<Vec<RunEntry>, EngineError> {
        Ok(self.checked_block(number)?.entries().collect())
    }

    pub(crate) fn block_count(&self) -> u64 {
        self.blocks
    }
}

struct Block<'a>(&'a [u8]);

impl<'a> Block<'a> {
    fn count(&self) -> usize {
        u32_at(self.0, 4) as usize
    }

    fn lower(&self) -> IndexKey {
        key_at(self.0, 32)
    }

    fn upper(&self) -> IndexKey {
        key_at(self.0, 48)
    }

    fn entries(&self) -> impl Iterator<Item = RunEntry> + use<'a> {
        let entries = self.0[BLOCK_HEAD..]
            .chunks_exact(ENTRY_BYTES)
            .take(self.count());
        entries.map(|bytes| {
            let packed = u64_at(bytes, 24);
            RunEntry {
                key: key_at(bytes, 0),
                place: Place::from_bits(u64_at(bytes, 16)),
                kind: (packed >> 56) as u8,
                number: packed & NUMBER_MASK,
            }
        })
    }
}

const NUMBER_MASK: u64 = (1 << 56) - 1;

fn key_at(bytes: &[u8], at: usize) -> IndexKey {
    let mut key = [0; 16];
    key.copy_from_slice(&bytes[at..at + 16]);
    IndexKey(u128::from_be_bytes(key))
}

/// Which of `parts` equal parts of all keys a key belongs to.
fn share(key: IndexKey, parts: u64) -> u64 {
    let top = (key.0 >> 64) as u64;
    ((u128::from(top) * u128::from(parts)) >> 64) as u64
}

fn probes(key: IndexKey) -> impl Iterator<Item = u32> {
    let (one, other) = (key.0 as u32, (key.0 >> 32) as u32 | 1);
    (0..PROBES).map(move |probe| one.wrapping_add(probe.wrapping_mul(other)) % LINE_BITS)
}

fn line_crc(salt: Salt, id: u64, line: u64, bits: &[u8]) -> u32 {
    let mut crc = salt.crc(&id.to_le_bytes());
    crc = crc32c::crc32c_append(crc, &line.to_le_bytes());
    crc32c::crc32c_append(crc, bits)
}

/// Writes a run from entries in the order of their keys, with bounded memory.
pub(crate) struct RunWriter {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    id: u64,
    salt: Salt,
    entries: u64,
    block: Vec<RunEntry>,
    /// The key that the next block's range begins with.
    lower: IndexKey,
    blocks: u64,
    block_buffer: Vec<u8>,
    block_at: u64,
    filter_offset: u64,
    lines: u64,
    line: u64,
    bits: [u8; LINE_BYTES - 4],
    line_buffer: Vec<u8>,
    line_at: u64,
}

const BUFFER_BYTES: usize = 256 << 10;

impl RunWriter {
    /// A new file for at most `most` entries.
    pub(crate) fn create(
        disk: &dyn Disk,
        path: &Path,
        id: u64,
        salt: Salt,
        most: u64,
    ) -> Result<Self, EngineError> {
        let create = || {
            disk.remove(path)?;
            disk.open(path, true)
        };
        let file = create().map_err(EngineError::io("make", path))?;
        let blocks = most.div_ceil(ENTRIES_PER_BLOCK as u64).max(1);
        let filter_offset = HEADER_BYTES + blocks * BLOCK_BYTES as u64;
        Ok(Self {
            file,
            path: path.to_owned(),
            id,
            salt,
            entries: 0,
            block: Vec::with_capacity(ENTRIES_PER_BLOCK),
            lower: IndexKey::MIN,
            blocks: 0,
            block_buffer: Vec::new(),
            block_at: HEADER_BYTES,
            filter_offset,
            lines: most.div_ceil(ENTRIES_PER_LINE).max(1),
            line: 0,
            bits: [0; LINE_BYTES - 4],
            line_buffer: Vec::new(),
            line_at: filter_offset,
        })
    }

    /// Adds the next entry; its key is greater than all before.
    pub(crate) fn push(&mut self, entry: RunEntry) -> Result<(), EngineError> {
        if self.block.len() == ENTRIES_PER_BLOCK {
            self.finish_block(IndexKey(entry.key.0 - 1))?;
        }
        self.block.push(entry);
        self.entries += 1;
        let line = share(entry.key, self.lines);
        while self.line < line {
            self.finish_line()?;
        }
        for bit in probes(entry.key) {
            self.bits[(bit / 8) as usize] |= 1 << (bit % 8);
        }
        Ok(())
    }

    fn finish_block(&mut self, upper: IndexKey) -> Result<(), EngineError> {
        let mut bytes = [0; BLOCK_BYTES];
        bytes[4..8].copy_from_slice(&(self.block.len() as u32).to_le_bytes());
        bytes[8..16].copy_from_slice(&self.id.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.blocks.to_le_bytes());
        bytes[32..48].copy_from_slice(&self.lower.0.to_be_bytes());
        bytes[48..64].copy_from_slice(&upper.0.to_be_bytes());
        for (entry, at) in self.block.iter().zip((BLOCK_HEAD..).step_by(ENTRY_BYTES)) {
            let packed = u64::from(entry.kind) << 56 | (entry.number & NUMBER_MASK);
            bytes[at..at + 16].copy_from_slice(&entry.key.0.to_be_bytes());
            bytes[at + 16..at + 24].copy_from_slice(&entry.place.bits().to_le_bytes());
            bytes[at + 24..at + 32].copy_from_slice(&packed.to_le_bytes());
        }
        let crc = self.salt.crc(&bytes[4..]);
        bytes[0..4].copy_from_slice(&crc.to_le_bytes());
        self.block_buffer.extend_from_slice(&bytes);
        self.blocks += 1;
        self.lower = IndexKey(upper.0.saturating_add(1));
        self.block.clear();
        if self.block_buffer.len() >= BUFFER_BYTES {
            self.write_blocks()?;
        }
        Ok(())
    }

    fn write_blocks(&mut self) -> Result<(), EngineError> {
        self.file
            .write_at(&self.block_buffer, self.block_at)
            .map_err(EngineError::io("write", &self.path))?;
        self.block_at += self.block_buffer.len() as u64;
        self.block_buffer.clear();
        Ok(())
    }

    fn finish_line(&mut self) -> Result<(), EngineError> {
        self.line_buffer.extend_from_slice(&self.bits);
        let crc = line_crc(self.salt, self.id, self.line, &self.bits);
        self.line_buffer.extend_from_slice(&crc.to_le_bytes());
        self.bits = [0; LINE_BYTES - 4];
        self.line += 1;
        if self.line_buffer.len() >= BUFFER_BYTES {
            self.write_lines()?;
        }
        Ok(())
    }

    fn write_lines(&mut self) -> Result<(), EngineError> {
        self.file
            .write_at(&self.line_buffer, self.line_at)
            .map_err(EngineError::io("write", &self.path))?;
        self.line_at += self.line_buffer.len() as u64;
        self.line_buffer.clear();
        Ok(())
    }

    /// Writes what is left and the header, durably. Returns the number of entries.
    pub(crate) fn finish(mut self) -> Result<u64, EngineError> {
        if !self.block.is_empty() || self.blocks == 0 {
            self.finish_block(IndexKey::MAX)?;
        }
        self.write_blocks()?;
        while self.line < self.lines {
            self.finish_line()?;
        }
        self.write_lines()?;
        let mut header = [0; 64];
        header[0..8].copy_from_slice(&MAGIC);
        header[8..16].copy_from_slice(&self.id.to_le_bytes());
        header[16..24].copy_from_slice(&self.entries.to_le_bytes());
        header[24..32].copy_from_slice(&self.blocks.to_le_bytes());
        header[32..40].copy_from_slice(&self.filter_offset.to_le_bytes());
        header[40..48].copy_from_slice(&self.lines.to_le_bytes());
        let crc = self.salt.crc(&header[..60]);
        header[60..64].copy_from_slice(&crc.to_le_bytes());
        let write = || {
            self.file.write_at(&header, 0)?;
            self.file.sync()
        };
        write().map_err(EngineError::io("write", &self.path))?;
        Ok(self.entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn write(path: &Path, entries: &BTreeMap<u128, u64>) -> Run {
        let salt = Salt(3);
        let mut writer =
            RunWriter::create(&RealDisk, path, 9, salt, entries.len() as u64 * 2).unwrap();
        for (key, number) in entries {
            let entry = RunEntry {
                key: IndexKey(*key),
                place: Place::from_bits(*number),
                kind: 1,
                number: *number,
            };
            writer.push(entry).unwrap();
        }
        assert_eq!(writer.finish().unwrap(), entries.len() as u64);
        Run::open(&RealDisk, path, 9, salt).unwrap()
    }

    proptest! {
        #[test]
        fn a_run_answers_as_a_map_does(
            entries in proptest::collection::btree_map(any::<u128>(), 0..1_u64 << 56, 0..400),
            others in proptest::collection::vec(any::<u128>(), 50),
        ) {
            let directory = tempfile::tempdir().unwrap();
            let run = write(&directory.path().join("run"), &entries);
            for (key, number) in &entries {
                let found = run.get(IndexKey(*key)).unwrap().map(|entry| entry.number);
                prop_assert_eq!(found, Some(*number));
            }
            for key in others {
                let found = run.get(IndexKey(key)).unwrap().map(|entry| entry.number);
                prop_assert_eq!(found, entries.get(&key).copied());
            }
        }

        #[test]
        fn a_flipped_bit_is_found_or_harmless(
            keys in proptest::collection::btree_set(any::<u128>(), 1..200),
            at in any::<proptest::sample::Index>(),
            bit in 0..8,
        ) {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("run");
            let entries = keys.iter().map(|key| (*key, (*key as u64) >> 8)).collect();
            drop(write(&path, &entries));
            let mut bytes = std::fs::read(&path).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            std::fs::write(&path, &bytes).unwrap();
            let Ok(run) = Run::open(&RealDisk, &path, 9, Salt(3)) else { return Ok(()) };
            for (key, number) in &entries {
                if let Ok(found) = run.get(IndexKey(*key)) {
                    prop_assert_eq!(found.map(|entry| entry.number), Some(*number));
                }
            }
        }
    }
}
