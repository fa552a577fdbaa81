//! DAG-CBOR for any serde type, with limits.
//!
//! The field's codec does the work. Around it stands a check of the bytes that needs no recursion:
//! it enforces canonical form (IPLD's DAG-CBOR specification, "Strictness"), [`MAX_LEN`] and
//! [`MAX_NESTING`] before anything is built, so hostile bytes cost neither stack nor memory. Writing
//! passes the same check, so what was written can always be read.

use std::error::Error;

use cid::Cid;
use serde::{Deserialize, Serialize};

use crate::cbor::{self, CborFault, Head};

pub use ipld_core::ipld::Ipld;

/// How deep arrays and maps may stand inside one another: `[[1]]` is 2 deep.
pub const MAX_NESTING: usize = 64;

/// How many bytes a block may have: 2 MiB, the largest block that IPFS nodes exchange.
pub const MAX_LEN: usize = 2 << 20;

/// Why a value was not written to, or read from, DAG-CBOR.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The block is longer than [`MAX_LEN`].
    #[error("a DAG-CBOR block of {len} bytes is over the limit of {limit}; split the value")]
    TooLarge {
        /// The block's length in bytes.
        len: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The value is nested deeper than [`MAX_NESTING`].
    #[error("DAG-CBOR, byte {offset}: nested deeper than {limit} levels; flatten the value")]
    TooDeep {
        /// The limit in levels.
        limit: usize,
        /// The byte at which the first level beyond the limit starts.
        offset: usize,
    },
    /// The bytes are not canonical DAG-CBOR.
    #[error("DAG-CBOR, byte {offset}: {fault}")]
    NotCanonical {
        /// The rule that is broken.
        fault: CborFault,
        /// The byte at which the faulty item starts.
        offset: usize,
    },
    /// The bytes are DAG-CBOR, but of something else than the type asked for.
    #[error("this DAG-CBOR block does not hold a value of the type asked for")]
    Shape {
        /// What the codec says.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The value cannot be written, for example a map whose keys are not texts.
    #[error("this value has no DAG-CBOR form")]
    Unencodable {
        /// What the codec says.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// Encodes a value as canonical DAG-CBOR.
///
/// ```
/// use cim_ipld::dag_cbor;
///
/// let block = dag_cbor::to_vec(&("a", 1))?;
/// assert_eq!(block, [0x82, 0x61, b'a', 0x01]);
/// assert_eq!(dag_cbor::from_slice::<(String, u8)>(&block)?, ("a".to_owned(), 1));
/// # Ok::<(), dag_cbor::CodecError>(())
/// ```
///
/// # Errors
/// [`CodecError::Unencodable`], or whatever [`from_slice`] would refuse to read back.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
    let block = serde_ipld_dagcbor::to_vec(value).map_err(|error| CodecError::Unencodable {
        source: error.into(),
    })?;
    check(&block)?;
    Ok(block)
}

/// Decodes a value from canonical DAG-CBOR; [`Ipld`] takes any.
///
/// # Errors
/// [`CodecError::TooLarge`], [`CodecError::TooDeep`] and [`CodecError::NotCanonical`] before
/// anything is decoded; [`CodecError::Shape`] if the block holds another type.
pub fn from_slice<'a, T: Deserialize<'a>>(block: &'a [u8]) -> Result<T, CodecError> {
    check(block)?;
    serde_ipld_dagcbor::from_slice(block).map_err(|error| CodecError::Shape {
        source: error.into(),
    })
}

/// Checks that the bytes are one canonical DAG-CBOR item within the limits, without decoding it.
///
/// # Errors
/// [`CodecError::TooLarge`], [`CodecError::TooDeep`] or [`CodecError::NotCanonical`].
pub fn check(block: &[u8]) -> Result<(), CodecError> {
    scan(block, &mut |_| ())
}

/// The CIDs that a block links to, in the order in which they stand there, without decoding the
/// rest; one that stands there twice comes twice.
///
/// # Errors
/// As [`check`], which is done on the way.
pub fn links(block: &[u8]) -> Result<Vec<Cid>, CodecError> {
    let mut links = Vec::new();
    scan(block, &mut |cid| links.push(cid))?;
    Ok(links)
}

fn scan(block: &[u8], on_link: &mut dyn FnMut(Cid)) -> Result<(), CodecError> {
    if block.len() > MAX_LEN {
        return Err(CodecError::TooLarge {
            len: block.len(),
            limit: MAX_LEN,
        });
    }
    Scan {
        block,
        at: 0,
        open: Vec::new(),
        on_link,
    }
    .run()
}

/// An array or map whose items are being read.
struct Open<'a> {
    /// Items, or map entries, still to come.
    left: u64,
    /// For a map: the key of the entry before.
    key: Option<&'a [u8]>,
    map: bool,
}

/// A walk over the items of a block, with the open containers on a list instead of the stack.
struct Scan<'a, 'f> {
    block: &'a [u8],
    /// The next byte to read; never beyond the block's end.
    at: usize,
    open: Vec<Open<'a>>,
    on_link: &'f mut dyn FnMut(Cid),
}

impl<'a> Scan<'a, '_> {
    fn run(mut self) -> Result<(), CodecError> {
        loop {
            self.item()?;
            while self.open.last().is_some_and(|open| open.left == 0) {
                self.open.pop();
            }
            match self.open.last_mut() {
                Some(open) => open.left -= 1,
                None if self.at == self.block.len() => return Ok(()),
                None => return Err(fault(self.at, CborFault::TrailingBytes)),
            }
            if self.open.last().is_some_and(|open| open.map) {
                self.key()?;
            }
        }
    }

    fn head(&self) -> Result<Head, CodecError> {
        let rest = self.block.get(self.at..).unwrap_or_default();
        cbor::read_head(rest).map_err(|cbor| fault(self.at, cbor))
    }

    /// Reads a scalar or a link whole, of an array or map the head.
    fn item(&mut self) -> Result<(), CodecError> {
        let at = self.at;
        let head = self.head()?;
        match head.major {
            cbor::UINT | cbor::NEGATIVE => self.at += head.len,
            cbor::BYTES | cbor::TEXT => {
                self.string(head)?;
            }
            cbor::ARRAY | cbor::MAP => {
                if self.open.len() == MAX_NESTING {
                    return Err(CodecError::TooDeep {
                        limit: MAX_NESTING,
                        offset: at,
                    });
                }
                self.at += head.len;
                self.open.push(Open {
                    left: head.value,
                    key: None,
                    map: head.major == cbor::MAP,
                });
            }
            cbor::TAG => self.link(head)?,
            _ => self.simple(head)?,
        }
        Ok(())
    }

    fn key(&mut self) -> Result<(), CodecError> {
        let at = self.at;
        let head = self.head()?;
        if head.major != cbor::TEXT {
            return Err(fault(at, CborFault::KeyNotText));
        }
        let key = self.string(head)?;
        let Some(open) = self.open.last_mut() else {
            return Ok(());
        };
        if let Some(previous) = open.key {
            if key == previous {
                return Err(fault(at, CborFault::DuplicateKey));
            }
            if (key.len(), key) < (previous.len(), previous) {
                return Err(fault(at, CborFault::UnsortedKey));
            }
        }
        open.key = Some(key);
        Ok(())
    }

    fn string(&mut self, head: Head) -> Result<&'a [u8], CodecError> {
        let at = self.at;
        let string = usize::try_from(head.value)
            .ok()
            .and_then(|len| self.block.get(at + head.len..)?.get(..len))
            .ok_or_else(|| fault(at, CborFault::Truncated))?;
        if head.major == cbor::TEXT && std::str::from_utf8(string).is_err() {
            return Err(fault(at, CborFault::InvalidUtf8));
        }
        self.at += head.len + string.len();
        Ok(string)
    }

    fn link(&mut self, tag: Head) -> Result<(), CodecError> {
        let at = self.at;
        if tag.value != cbor::LINK_TAG {
            return Err(fault(at, CborFault::Tag { found: tag.value }));
        }
        self.at += tag.len;
        let head = self.head()?;
        if head.major != cbor::BYTES {
            return Err(fault(at, CborFault::BadLink));
        }
        // The codec would accept bytes after the CID and drop them.
        let Some((0, mut cid)) = self.string(head)?.split_first() else {
            return Err(fault(at, CborFault::BadLink));
        };
        match Cid::read_bytes(&mut cid) {
            Ok(link) if cid.is_empty() => {
                (self.on_link)(link);
                Ok(())
            }
            _ => Err(fault(at, CborFault::BadLink)),
        }
    }

    fn simple(&mut self, head: Head) -> Result<(), CodecError> {
        match head.info {
            20..=22 => {}
            25 | 26 => return Err(fault(self.at, CborFault::Float)),
            27 if f64::from_bits(head.value).is_finite() => {}
            27 => return Err(fault(self.at, CborFault::Float)),
            _ => return Err(fault(self.at, CborFault::Simple)),
        }
        self.at += head.len;
        Ok(())
    }
}

fn fault(offset: usize, fault: CborFault) -> CodecError {
    CodecError::NotCanonical { fault, offset }
}
