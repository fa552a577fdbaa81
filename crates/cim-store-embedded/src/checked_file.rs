//! Small files that are replaced whole: one line of JSON, then its checksum.
//!
//! They are text so that a person can read them, and checked so that a changed byte is found.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::disk::{Disk, read_whole, replace};
use crate::error::EngineError;

/// Writes `value` in place of what the file held: whole and durable, or not at all.
pub(crate) fn write(
    disk: &dyn Disk,
    path: &Path,
    value: &impl Serialize,
) -> Result<(), EngineError> {
    let io = |source: std::io::Error| EngineError::io("write", path)(source);
    let mut text = serde_json::to_string(value).map_err(|error| io(error.into()))?;
    let crc = crc32c::crc32c(text.as_bytes());
    text.push_str(&format!("\n{crc:08x}\n"));
    replace(disk, path, text.as_bytes()).map_err(io)
}

/// Reads what [`write()`] wrote.
pub(crate) fn read<T: DeserializeOwned>(disk: &dyn Disk, path: &Path) -> Result<T, EngineError> {
    let bytes = read_whole(disk, path).map_err(EngineError::opening(path))?;
    let damage = |what: &str| EngineError::damage(what, path, 0);
    let text = str::from_utf8(&bytes).map_err(|_| damage("a text is not UTF-8"))?;
    let (json, crc) = text
        .split_once('\n')
        .ok_or_else(|| damage("a line is missing"))?;
    if crc != format!("{:08x}\n", crc32c::crc32c(json.as_bytes())) {
        return Err(damage("a line does not match its checksum"));
    }
    serde_json::from_str(json).map_err(|_| damage("a line has an unknown form"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        write(&RealDisk, &path, &vec![1_u32, 22, 333]).unwrap();
        let good = std::fs::read(&path).unwrap();
        assert_eq!(read::<Vec<u32>>(&RealDisk, &path).unwrap(), [1, 22, 333]);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &bad).unwrap();
            assert!(read::<Vec<u32>>(&RealDisk, &path).is_err(), "bit {bit}");
        }
        for len in 0..good.len() {
            std::fs::write(&path, &good[..len]).unwrap();
            assert!(read::<Vec<u32>>(&RealDisk, &path).is_err(), "length {len}");
        }
    }
}
