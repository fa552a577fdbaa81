//! CAR files: blocks in a row, to carry histories and content from one place to another.
//!
//! A CARv1 (<https://ipld.io/specs/transport/car/carv1/>) is a header that names root CIDs, and
//! then *sections*: a length, a CID and the block's bytes. [`CarWriter`] writes one to any
//! [`Write`](std::io::Write) and [`CarReader`] reads one from any [`Read`](std::io::Read), a section
//! at a time, so files of any size need little memory. The reader also takes the CARv1 inside a
//! CARv2 (<https://ipld.io/specs/transport/car/carv2/>); it ignores the index there, because an
//! index can say anything and the blocks prove themselves.
//!
//! What a reader accepts is narrow: the shortest form of every number, canonical headers, lengths
//! within the limits below, and blocks that hash to their CIDs. Three things a CARv1 cannot show by
//! itself: that whole sections are missing at its end, that sections were exchanged, and that the
//! codec in a CID was changed. Links from a root find all three, and
//! [`CarReader::missing_roots`] finds the first if the root comes last.
//!
//! Neither opens files or buffers output; give the writer a [`BufWriter`](std::io::BufWriter).
//!
//! ```
//! use cim_ipld::car::{CarReader, CarWriter};
//! use cim_ipld::{Block, HashFunction};
//!
//! let block = Block::new(0x55, HashFunction::Sha2_256, &b"hello"[..]);
//! let mut writer = CarWriter::new(Vec::new(), &[block.cid])?;
//! writer.write_block(&block.cid, &block.bytes)?;
//! let file = writer.finish()?;
//!
//! let mut reader = CarReader::new(&file[..])?;
//! assert_eq!(reader.roots(), [block.cid]);
//! while let Some(found) = reader.next_block()? {
//!     assert_eq!((found.cid, found.bytes), (block.cid, &b"hello"[..]));
//! }
//! assert!(reader.missing_roots().is_empty());
//! # Ok::<(), cim_ipld::car::CarError>(())
//! ```

mod error;
mod header;
mod reader;
mod window;
mod writer;

pub use self::error::{CarError, CarErrorKind};
pub use self::header::{ONE_ROOT_HEADER_LEN, encode_header};
pub use self::reader::{CarBlock, CarReader};
pub use self::writer::{CarWriter, encode_section_head};

use crate::binary_cid::MAX_CID_LEN;

/// The longest header that is read or written, in bytes without its length: 1 MiB, room for more
/// than 25 000 roots.
pub const MAX_HEADER_LEN: usize = 1 << 20;

/// The longest block that is read or written, in bytes: 2 MiB, as for every codec of this crate.
pub const MAX_BLOCK_LEN: usize = crate::dag_cbor::MAX_LEN;

/// The longest section in bytes, without its length: a block and the longest CID.
const MAX_SECTION_LEN: usize = MAX_BLOCK_LEN + MAX_CID_LEN;
