//! Files mapped for reading: the one place with `unsafe` in it.
//!
//! Loads of streams go through mappings because they are five times as fast as positioned reads
//! (docs/decisions/mapped-point-reads.md). Only bytes that were flushed are read, the engine never
//! changes bytes that were flushed, and lengths are compared with the file before they are
//! trusted. What a mapping can't give is an error: a disk that fails to deliver a page, or another
//! program that cuts the file meanwhile, ends the process instead of returning wrong bytes.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Deref;

use memmap2::{Advice, Mmap, MmapOptions};

/// Bytes of a file, readable as memory.
pub struct Mapping(Inner);

enum Inner {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl Mapping {
    /// Maps the first `len` bytes of a file.
    ///
    /// # Errors
    /// As the system reports them.
    pub fn of(file: &File, len: usize) -> io::Result<Self> {
        if len == 0 {
            return Ok(Self(Inner::Owned(Vec::new())));
        }
        #[allow(unsafe_code)]
        // SAFETY: the mapping is read only. The bytes that are read through it were flushed before
        // and are never written again by this process, and the store's lock keeps other processes
        // of ours out.
        let map = unsafe { MmapOptions::new().len(len).map(file)? };
        // Records lie scattered; reading ahead would only fill memory. Advice may be ignored.
        let _ = map.advise(Advice::Random);
        Ok(Self(Inner::Mapped(map)))
    }

    /// Bytes that are in memory already, for disks that are not the machine's own. They must not
    /// change any more.
    ///
    /// ```
    /// use cim_store_embedded::Mapping;
    ///
    /// let mapping = Mapping::owned(b"CIM1".to_vec());
    /// assert_eq!(&mapping[..3], b"CIM");
    /// ```
    pub fn owned(bytes: Vec<u8>) -> Self {
        Self(Inner::Owned(bytes))
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Inner::Mapped(map) => map,
            Inner::Owned(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mapping({} bytes)", self.len())
    }
}
