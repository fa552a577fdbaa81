//! Reading a CAR, a section at a time.

use std::collections::HashSet;
use std::fmt;
use std::io::Read;

use cid::Cid;

use super::error::{CarError, CarErrorKind, too_long};
use super::header::{PRAGMA, V2_HEADER_LEN, decode_header, decode_v2_header, header_length};
use super::window::Window;
use super::{MAX_BLOCK_LEN, MAX_HEADER_LEN, MAX_SECTION_LEN};
use crate::binary_cid::read_cid;
use crate::varint::{MAX_VARINT_LEN, VarintFault, read_varint};
use crate::{Block, verify};

/// A block as it stands in a CAR. Its bytes are borrowed from the reader; [`CarBlock::to_block`]
/// copies them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarBlock<'a> {
    /// The CID that the file gives the block; checked unless
    /// [`without_verification`](CarReader::without_verification) was asked for.
    pub cid: Cid,
    /// The byte of the file, from 0, at which the block's section starts (its length).
    pub offset: u64,
    /// The length of the whole section in bytes: its length, the CID, the block.
    pub length: u64,
    /// The block's bytes.
    pub bytes: &'a [u8],
}

impl CarBlock<'_> {
    /// The byte of the file, from 0, at which the block's own bytes start.
    #[must_use]
    pub fn block_offset(&self) -> u64 {
        self.offset + self.length - self.bytes.len() as u64
    }

    /// The block with bytes of its own.
    #[must_use]
    pub fn to_block(&self) -> Block {
        Block {
            cid: self.cid,
            bytes: self.bytes.to_vec().into(),
        }
    }
}

/// Reads a CAR from a stream of bytes; see [the module](super) for an example and for what it
/// accepts.
///
/// It reads ahead into a buffer of 64 KiB, which grows where a section is longer: up to twice
/// [`MAX_BLOCK_LEN`], as bytes arrive, whatever the file says.
///
/// ```
/// # use cim_ipld::car::CarWriter;
/// use cim_ipld::car::CarReader;
/// use cim_ipld::{HashFunction, RAW_CODE, cid_of};
///
/// # let poem = b"a poem";
/// # let cid = cid_of(RAW_CODE, HashFunction::Sha2_256, poem);
/// # let mut writer = CarWriter::new(Vec::new(), &[cid])?;
/// # writer.write_block(&cid, poem)?;
/// # let file = writer.finish()?;
/// // An index of a file that was just checked: where each block's bytes are.
/// let mut reader = CarReader::new(&file[..])?.without_verification();
/// let mut index = Vec::new();
/// while let Some(block) = reader.next_block()? {
///     index.push((block.cid, block.block_offset(), block.bytes.len()));
/// }
/// assert_eq!(reader.position(), file.len() as u64);
///
/// let (found, start, length) = index[0];
/// let bytes = &file[start as usize..][..length];
/// assert_eq!(cid_of(RAW_CODE, HashFunction::Sha2_256, bytes), found);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct CarReader<R> {
    window: Window<R>,
    version: u8,
    roots: Vec<Cid>,
    /// The roots whose blocks have not come yet.
    missing: HashSet<Cid>,
    /// Where the data of a CARv2 ends; a CARv1 ends where the stream does.
    end: Option<u64>,
    verify: bool,
    broken: bool,
}

impl<R: Read> CarReader<R> {
    /// Reads the header. Blocks are verified as they are read.
    ///
    /// # Errors
    /// A [`CarError`] about the header, or from reading it.
    pub fn new(read: R) -> Result<Self, CarError> {
        let mut reader = Self {
            window: Window::new(read),
            version: 1,
            roots: Vec::new(),
            missing: HashSet::new(),
            end: None,
            verify: true,
            broken: false,
        };
        if reader.header(|map| (map != PRAGMA).then(|| decode_header(map)).transpose())? {
            return Ok(reader);
        }
        reader.version = 2;
        reader.enter_data()?;
        reader.header(|map| decode_header(map).map(Some))?;
        Ok(reader)
    }

    /// Turns the check of blocks against their CIDs off, for files that were just checked, or whose
    /// hash functions are not known here.
    #[must_use]
    pub fn without_verification(mut self) -> Self {
        self.verify = false;
        self
    }

    /// Reads the next block; `None` at the end of the file.
    ///
    /// # Errors
    /// A [`CarError`] with the byte. After [`CarErrorKind::Unverified`] the reader stands at the
    /// next section and can go on; after any other error it cannot.
    pub fn next_block(&mut self) -> Result<Option<CarBlock<'_>>, CarError> {
        let offset = self.window.position();
        if self.broken {
            return Err(CarError::at(offset, CarErrorKind::AfterError));
        }
        self.broken = true;
        let ended = match self.end {
            Some(end) => offset >= end,
            None => !self.fill(1)?,
        };
        if ended {
            self.broken = false;
            return Ok(None);
        }
        let (len, head) = self.length()?;
        let Some(section) = usize::try_from(len)
            .ok()
            .filter(|&section| section <= MAX_SECTION_LEN)
        else {
            return Err(CarError::at(offset, too_long(len)));
        };
        if section == 0 {
            return Err(CarError::at(offset, CarErrorKind::EmptySection));
        }
        self.require(head + section)?;
        let cid_at = offset + head as u64;
        let (cid, cid_len) = read_cid(&self.window.bytes()[head..head + section])
            .map_err(|fault| CarError::at(cid_at, CarErrorKind::Cid(fault)))?;
        if section - cid_len > MAX_BLOCK_LEN {
            return Err(CarError::at(offset, too_long((section - cid_len) as u64)));
        }
        self.broken = false;
        if !self.missing.is_empty() {
            self.missing.remove(&cid);
        }
        let bytes = &self.window.advance(head + section)[head + cid_len..];
        if self.verify {
            verify(&cid, bytes)
                .map_err(|error| CarError::at(offset, CarErrorKind::Unverified(error)))?;
        }
        Ok(Some(CarBlock {
            cid,
            offset,
            length: (head + section) as u64,
            bytes,
        }))
    }

    /// Reads a header at the window's start and gives its map to `decode`, which returns `None` if
    /// it is the pragma of a CARv2. Says whether there were roots.
    fn header(
        &mut self,
        decode: impl FnOnce(&[u8]) -> Result<Option<Vec<Cid>>, CarErrorKind>,
    ) -> Result<bool, CarError> {
        let offset = self.window.position();
        let (len, head) = self.length()?;
        let map = match usize::try_from(len) {
            Ok(map @ 1..=MAX_HEADER_LEN) => map,
            _ => return Err(CarError::at(offset, header_length(len))),
        };
        self.require(head + map)?;
        let map = &self.window.advance(head + map)[head..];
        let roots = decode(map).map_err(|kind| CarError::at(offset + head as u64, kind))?;
        let found = roots.is_some();
        self.roots = roots.unwrap_or_default();
        self.missing = self.roots.iter().copied().collect();
        Ok(found)
    }

    /// Steps from behind the pragma of a CARv2 to the CARv1 inside.
    fn enter_data(&mut self) -> Result<(), CarError> {
        let offset = self.window.position();
        self.require(V2_HEADER_LEN)?;
        let place = match self.window.advance(V2_HEADER_LEN).first_chunk() {
            Some(header) => decode_v2_header(header).map_err(|kind| CarError::at(offset, kind))?,
            None => return Err(CarError::at(offset, CarErrorKind::DataPlace)),
        };
        // Not negative: the place is after the header.
        let padding = place.start - self.window.position();
        if !self.skip(padding)? {
            let missing = place.start - self.window.position();
            return Err(self.cut(missing));
        }
        self.end = Some(place.end);
        Ok(())
    }

    /// The varint at the window's start and its length; reads no further than it needs to.
    #[inline]
    fn length(&mut self) -> Result<(u64, usize), CarError> {
        // What was read ahead may be beyond the data of a CARv2.
        let left = self
            .end
            .map_or(u64::MAX, |end| end.saturating_sub(self.window.position()));
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let ahead = self.window.bytes().len().min(left);
        let mut have = ahead.clamp(1, MAX_VARINT_LEN);
        loop {
            self.require(have)?;
            match read_varint(&self.window.bytes()[..have]) {
                Ok(length) => return Ok(length),
                Err(VarintFault::Truncated) => have += 1,
                Err(fault) => {
                    let kind = CarErrorKind::Length(fault);
                    return Err(CarError::at(self.window.position(), kind));
                }
            }
        }
    }

    /// Reads until `need` bytes are there.
    #[inline]
    fn require(&mut self, need: usize) -> Result<(), CarError> {
        let position = self.window.position();
        if let Some(end) = self.end
            && position.saturating_add(need as u64) > end
        {
            return Err(CarError::at(position, CarErrorKind::BeyondData { end }));
        }
        if self.fill(need)? {
            return Ok(());
        }
        Err(self.cut((need - self.window.bytes().len()) as u64))
    }

    #[inline]
    fn fill(&mut self, need: usize) -> Result<bool, CarError> {
        self.window
            .fill(need)
            .map_err(|error| CarError::at(self.window.position(), CarErrorKind::Read(error)))
    }

    fn skip(&mut self, count: u64) -> Result<bool, CarError> {
        self.window
            .skip(count)
            .map_err(|error| CarError::at(self.window.position(), CarErrorKind::Read(error)))
    }

    #[cold]
    fn cut(&self, missing: u64) -> CarError {
        CarError::at(self.window.position(), CarErrorKind::Cut { missing })
    }
}

impl<R> CarReader<R> {
    /// The version of the file: 1 or 2.
    #[must_use]
    pub fn version(&self) -> u8 {
        self.version
    }

    /// The roots that the header names, in its order; may be none. Nothing but the header says so,
    /// and it is not part of any hash.
    #[must_use]
    pub fn roots(&self) -> &[Cid] {
        &self.roots
    }

    /// The roots whose blocks have not been read yet. At the end of a file there should be none:
    /// otherwise it was cut off, or never had them.
    #[must_use]
    pub fn missing_roots(&self) -> Vec<Cid> {
        let missing = |root: &&Cid| self.missing.contains(*root);
        self.roots.iter().filter(missing).copied().collect()
    }

    /// How many bytes of the file have been used so far: where the next section starts. Good for
    /// showing progress.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.window.position()
    }
}

impl<R> fmt::Debug for CarReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CarReader")
            .field("version", &self.version)
            .field("roots", &self.roots)
            .field("position", &self.position())
            .field("verify", &self.verify)
            .finish_non_exhaustive()
    }
}
