//! Writing a CARv1, a section at a time.

use std::fmt;
use std::io::Write;

use cid::Cid;

use super::MAX_BLOCK_LEN;
use super::error::{CarError, CarErrorKind};
use super::header::encode_header;
use crate::varint::write_varint;

/// Writes a CARv1 to a stream of bytes; see [the module](super) for an example.
///
/// It writes each section with two calls and keeps nothing, so give it a
/// [`BufWriter`](std::io::BufWriter). The blocks are not hashed: whoever has a block has its CID,
/// and the reader checks it.
///
/// ```
/// use cim_ipld::car::{CarWriter, encode_section_head};
/// use cim_ipld::{Block, HashFunction, RAW_CODE};
///
/// let poem = Block::new(RAW_CODE, HashFunction::Sha2_256, "a poem");
/// let mut writer = CarWriter::new(Vec::new(), &[poem.cid])?;
/// let header = writer.bytes_written();
/// assert_eq!(writer.write_block(&poem.cid, &poem.bytes)?, header); // where its section is
///
/// // The section: its length and the CID, then the block.
/// let mut section = Vec::new();
/// encode_section_head(&poem.cid, poem.bytes.len(), &mut section)?;
/// section.extend_from_slice(&poem.bytes);
/// assert_eq!(writer.bytes_written(), header + section.len() as u64);
/// assert!(writer.finish()?.ends_with(&section));
/// # Ok::<(), cim_ipld::car::CarError>(())
/// ```
pub struct CarWriter<W> {
    write: W,
    /// The length and CID of the section under way; kept for its memory.
    head: Vec<u8>,
    written: u64,
    broken: bool,
}

impl<W: Write> CarWriter<W> {
    /// Writes the header. The roots are the CIDs that a reader starts from; one is best, and some
    /// readers refuse a file without any.
    ///
    /// # Errors
    /// [`CarErrorKind::HeaderLength`] if there are too many roots, [`CarErrorKind::Write`].
    pub fn new(write: W, roots: &[Cid]) -> Result<Self, CarError> {
        let header = encode_header(roots)?;
        let mut writer = Self {
            write,
            head: Vec::with_capacity(super::MAX_SECTION_LEN - MAX_BLOCK_LEN),
            written: 0,
            broken: false,
        };
        writer.put(|write, _| write.write_all(&header))?;
        writer.written = header.len() as u64;
        Ok(writer)
    }

    /// Writes a block, and returns the byte of the file at which its section starts.
    ///
    /// Blocks may come in any order; writing one twice is allowed, and the file has it twice.
    ///
    /// # Errors
    /// [`CarErrorKind::BlockTooLong`], after which the writer goes on; [`CarErrorKind::Write`],
    /// after which it cannot.
    pub fn write_block(&mut self, cid: &Cid, bytes: &[u8]) -> Result<u64, CarError> {
        let offset = self.written;
        self.head.clear();
        encode_section_head(cid, bytes.len(), &mut self.head)
            .map_err(|error| CarError::at(offset, error.into_kind()))?;
        self.put(|write, head| {
            write.write_all(head)?;
            write.write_all(bytes)
        })?;
        self.written += (self.head.len() + bytes.len()) as u64;
        Ok(offset)
    }

    /// Flushes, and returns what was written to. Dropping the writer instead writes nothing more;
    /// a CARv1 has no end of its own.
    ///
    /// # Errors
    /// [`CarErrorKind::Write`], or [`CarErrorKind::AfterError`] if an earlier write failed.
    pub fn finish(mut self) -> Result<W, CarError> {
        self.put(|write, _| write.flush())?;
        Ok(self.write)
    }

    fn put(
        &mut self,
        put: impl FnOnce(&mut W, &[u8]) -> std::io::Result<()>,
    ) -> Result<(), CarError> {
        if self.broken {
            return Err(CarError::at(self.written, CarErrorKind::AfterError));
        }
        put(&mut self.write, &self.head).map_err(|error| {
            self.broken = true;
            CarError::at(self.written, CarErrorKind::Write(error))
        })
    }
}

impl<W> CarWriter<W> {
    /// How many bytes the file has so far.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.written
    }
}

impl<W> fmt::Debug for CarWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CarWriter")
            .field("written", &self.written)
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

/// Appends what stands before a block of `len` bytes in a CAR: the section's length and the CID.
///
/// # Errors
/// [`CarErrorKind::BlockTooLong`]; `out` is then unchanged.
pub fn encode_section_head(cid: &Cid, len: usize, out: &mut Vec<u8>) -> Result<(), CarError> {
    if len > MAX_BLOCK_LEN {
        return Err(CarError::at(0, super::error::too_long(len as u64)));
    }
    write_varint(out, (cid.encoded_len() + len) as u64);
    // Writing to memory does not fail.
    let _ = cid.write_bytes(out);
    Ok(())
}
