//! Reading an event's block: exactly the bytes that the encoder writes, nothing else.
//!
//! The fields come in one order, so the reader asks at each place whether the expected key stands
//! there. Only when it does not, a slower path finds out why, to name the fault.

use super::error::{BlockError, BlockErrorKind, excerpt};
use super::fields::{self, BYTES_16, Field, LINK_HEAD};
use super::{BLOCK_FORMAT_VERSION, EventBlock, MetadataRef, metadata};
use crate::EventCid;
use crate::cbor::{self, CborFault, Head};

impl<'a> EventBlock<'a> {
    /// Decodes a block, borrowing texts and payload from it; allocates nothing.
    ///
    /// Accepts the canonical bytes only: what decodes, encodes back to the same bytes. It does not
    /// hash; compare [`EventCid::of`] with the CID that you expect.
    ///
    /// # Errors
    /// A [`BlockError`] with the field and the byte, for anything else, however broken.
    pub fn decode(block: &'a [u8]) -> Result<Self, BlockError> {
        let mut reader = Reader::start(block)?;
        reader.format_version()?;
        let id = reader.required_id(&fields::ID)?;
        let data = reader.required_string(&fields::DATA, cbor::BYTES)?;
        let metadata = reader.metadata()?;
        let previous = reader.link(&fields::PREV)?;
        let time = reader.time()?;
        let event_type = reader.required_text(&fields::TYPE)?;
        let count = reader.required_u32(&fields::COUNT, 1)?;
        let index_at = reader.at;
        let index = reader.required_u32(&fields::INDEX, 0)?;
        if index >= count {
            let kind = BlockErrorKind::IndexNotBelowCount { index, count };
            return Err(fault(
                index_at + fields::INDEX.key.len(),
                &fields::INDEX,
                kind,
            ));
        }
        let trace = reader.optional_text(&fields::TRACE)?;
        let commit = reader.required_id(&fields::COMMIT)?;
        let schema_version = reader.required_u32(&fields::SCHEMA, 1)?;
        let stream = reader.required_text(&fields::STREAM)?;
        let version = reader.version()?;
        let content_type = reader.required_text(&fields::DATATYPE)?;
        let causation = reader.optional_id(&fields::CAUSATION)?;
        let principal = reader.optional_text(&fields::PRINCIPAL)?;
        let correlation = reader.optional_id(&fields::CORRELATION)?;
        reader.finish()?;
        Ok(Self {
            id,
            event_type,
            schema_version,
            stream,
            version,
            time,
            content_type,
            data,
            commit,
            index,
            count,
            correlation,
            causation,
            principal,
            trace,
            metadata,
            previous,
        })
    }
}

struct Reader<'a> {
    block: &'a [u8],
    /// The next byte to read; never beyond the block's end.
    at: usize,
    /// Entries of the map that were announced and not read yet.
    left: u64,
    /// The ranks of the fields read, as bits.
    seen: u32,
}

impl<'a> Reader<'a> {
    fn start(block: &'a [u8]) -> Result<Self, BlockError> {
        let not_a_map = |kind| BlockError::at(0, None, kind);
        let head =
            cbor::read_head(block).map_err(|cbor| not_a_map(BlockErrorKind::NotCanonical(cbor)))?;
        if head.major != cbor::MAP {
            return Err(not_a_map(BlockErrorKind::WrongType { expected: "a map" }));
        }
        Ok(Self {
            block,
            at: head.len,
            left: head.value,
            seen: 0,
        })
    }

    fn rest(&self) -> &'a [u8] {
        self.block.get(self.at..).unwrap_or_default()
    }

    /// Steps over the field's key if it stands here.
    #[inline(always)]
    fn key(&mut self, field: &Field) -> bool {
        let here = self.left > 0 && self.rest().starts_with(field.key);
        if here {
            self.at += field.key.len();
            self.left -= 1;
            self.seen |= 1 << field.rank;
        }
        here
    }

    #[inline(always)]
    fn required(&mut self, field: &Field) -> Result<(), BlockError> {
        if self.key(field) {
            Ok(())
        } else {
            Err(self.missing(field))
        }
    }

    #[inline(always)]
    fn head(&self, field: &Field) -> Result<Head, BlockError> {
        cbor::read_head(self.rest())
            .map_err(|cbor| fault(self.at, field, BlockErrorKind::NotCanonical(cbor)))
    }

    fn format_version(&mut self) -> Result<(), BlockError> {
        self.required(&fields::FORMAT)?;
        let at = self.at;
        match self.uint(&fields::FORMAT)? {
            BLOCK_FORMAT_VERSION => Ok(()),
            found => Err(fault(
                at,
                &fields::FORMAT,
                BlockErrorKind::UnsupportedVersion { found },
            )),
        }
    }

    #[inline(always)]
    fn uint(&mut self, field: &Field) -> Result<u64, BlockError> {
        let head = self.head(field)?;
        if head.major != cbor::UINT {
            let kind = BlockErrorKind::WrongType {
                expected: "an unsigned integer",
            };
            return Err(fault(self.at, field, kind));
        }
        self.at += head.len;
        Ok(head.value)
    }

    #[inline(always)]
    fn required_u32(&mut self, field: &Field, least: u32) -> Result<u32, BlockError> {
        self.required(field)?;
        let at = self.at;
        let value = self.uint(field)?;
        match u32::try_from(value) {
            Ok(value) if value >= least => Ok(value),
            _ => {
                let allowed = if least == 0 {
                    "0 to 4294967295"
                } else {
                    "1 to 4294967295"
                };
                let kind = BlockErrorKind::OutOfRange {
                    found: value.into(),
                    allowed,
                };
                Err(fault(at, field, kind))
            }
        }
    }

    #[inline(always)]
    fn version(&mut self) -> Result<u64, BlockError> {
        self.required(&fields::VERSION)?;
        let at = self.at;
        match self.uint(&fields::VERSION)? {
            0 => {
                let kind = BlockErrorKind::OutOfRange {
                    found: 0,
                    allowed: "1 and above",
                };
                Err(fault(at, &fields::VERSION, kind))
            }
            version => Ok(version),
        }
    }

    #[inline(always)]
    fn time(&mut self) -> Result<i64, BlockError> {
        let field = &fields::TIME;
        self.required(field)?;
        let at = self.at;
        let head = self.head(field)?;
        if head.major != cbor::UINT && head.major != cbor::NEGATIVE {
            return Err(fault(
                at,
                field,
                BlockErrorKind::WrongType {
                    expected: "an integer",
                },
            ));
        }
        let negative = head.major == cbor::NEGATIVE;
        let Ok(number) = i64::try_from(head.value) else {
            let found = i128::from(head.value);
            let found = if negative { -1 - found } else { found };
            let kind = BlockErrorKind::OutOfRange {
                found,
                allowed: "a signed 64-bit integer",
            };
            return Err(fault(at, field, kind));
        };
        self.at += head.len;
        Ok(if negative { !number } else { number })
    }

    #[inline(always)]
    fn required_string(&mut self, field: &Field, major: u8) -> Result<&'a [u8], BlockError> {
        self.required(field)?;
        self.string(field, major)
    }

    #[inline(always)]
    fn string(&mut self, field: &Field, major: u8) -> Result<&'a [u8], BlockError> {
        let head = self.head(field)?;
        if head.major != major {
            let expected = if major == cbor::TEXT {
                "a text"
            } else {
                "a byte string"
            };
            return Err(fault(
                self.at,
                field,
                BlockErrorKind::WrongType { expected },
            ));
        }
        let string = usize::try_from(head.value)
            .ok()
            .and_then(|len| self.rest().get(head.len..)?.get(..len));
        match string {
            Some(string) => {
                self.at += head.len + string.len();
                Ok(string)
            }
            None => Err(truncated(self.at, field)),
        }
    }

    #[inline(always)]
    fn text(&mut self, field: &Field) -> Result<&'a str, BlockError> {
        let at = self.at;
        let bytes = self.string(field, cbor::TEXT)?;
        std::str::from_utf8(bytes).map_err(|_| {
            fault(
                at,
                field,
                BlockErrorKind::NotCanonical(CborFault::InvalidUtf8),
            )
        })
    }

    #[inline(always)]
    fn required_text(&mut self, field: &Field) -> Result<&'a str, BlockError> {
        self.required(field)?;
        self.text(field)
    }

    #[inline(always)]
    fn optional_text(&mut self, field: &Field) -> Result<Option<&'a str>, BlockError> {
        if self.key(field) {
            self.text(field).map(Some)
        } else {
            Ok(None)
        }
    }

    #[inline(always)]
    fn id(&mut self, field: &Field) -> Result<[u8; 16], BlockError> {
        if let Some([BYTES_16, id @ ..]) = self.rest().first_chunk::<17>() {
            self.at += 17;
            return Ok(*id);
        }
        let at = self.at;
        let found = self.string(field, cbor::BYTES)?.len() as u64;
        Err(fault(
            at,
            field,
            BlockErrorKind::WrongLength {
                expected: 16,
                found,
            },
        ))
    }

    #[inline(always)]
    fn required_id(&mut self, field: &Field) -> Result<[u8; 16], BlockError> {
        self.required(field)?;
        self.id(field)
    }

    #[inline(always)]
    fn optional_id(&mut self, field: &Field) -> Result<Option<[u8; 16]>, BlockError> {
        if self.key(field) {
            self.id(field).map(Some)
        } else {
            Ok(None)
        }
    }

    #[inline(always)]
    fn metadata(&mut self) -> Result<MetadataRef<'a>, BlockError> {
        if !self.key(&fields::META) {
            return Ok(MetadataRef::EMPTY);
        }
        let (metadata, end) = metadata::metadata_at(self.block, self.at)?;
        self.at = end;
        Ok(metadata)
    }

    #[inline(always)]
    fn link(&mut self, field: &Field) -> Result<Option<EventCid>, BlockError> {
        if !self.key(field) {
            return Ok(None);
        }
        let digest = self
            .rest()
            .strip_prefix(&LINK_HEAD)
            .and_then(|digest| digest.first_chunk());
        match digest {
            Some(digest) => {
                self.at += LINK_HEAD.len() + digest.len();
                Ok(Some(EventCid::from_digest(*digest)))
            }
            None => Err(self.link_fault(field)),
        }
    }

    #[cold]
    fn link_fault(&mut self, field: &Field) -> BlockError {
        let at = self.at;
        let tag = match self.head(field) {
            Ok(tag) => tag,
            Err(error) => return error,
        };
        if tag.major != cbor::TAG {
            return fault(
                at,
                field,
                BlockErrorKind::WrongType {
                    expected: "a CID link (tag 42)",
                },
            );
        }
        if tag.value != cbor::LINK_TAG {
            let kind = BlockErrorKind::NotCanonical(CborFault::Tag { found: tag.value });
            return fault(at, field, kind);
        }
        self.at += tag.len;
        match self.string(field, cbor::BYTES) {
            Ok(_) => fault(at, field, BlockErrorKind::NotAnEventLink),
            Err(error) => error,
        }
    }

    fn finish(&self) -> Result<(), BlockError> {
        if self.left > 0 {
            return Err(self.stray_key(None));
        }
        if self.at < self.block.len() {
            let kind = BlockErrorKind::NotCanonical(CborFault::TrailingBytes);
            return Err(BlockError::at(self.at, None, kind));
        }
        Ok(())
    }

    /// Why the key of a required field does not stand here.
    #[cold]
    fn missing(&self, field: &Field) -> BlockError {
        if self.left == 0 {
            return fault(self.at, field, BlockErrorKind::Missing);
        }
        self.stray_key(Some(field))
    }

    /// What is wrong with the key that stands where `expected`, or no further key, should.
    #[cold]
    fn stray_key(&self, expected: Option<&Field>) -> BlockError {
        let kind = match self.key_text() {
            Err(kind) => kind,
            Ok(key) => match fields::ALL.iter().find(|field| field.name == key) {
                None => BlockErrorKind::UnknownKey { key: excerpt(key) },
                Some(known) if self.seen & (1 << known.rank) != 0 => {
                    BlockErrorKind::DuplicateKey { key: key.into() }
                }
                Some(known) => match expected {
                    Some(expected) if known.rank > expected.rank => {
                        return fault(self.at, expected, BlockErrorKind::Missing);
                    }
                    _ => BlockErrorKind::UnsortedKey { key: key.into() },
                },
            },
        };
        BlockError::at(self.at, None, kind)
    }

    fn key_text(&self) -> Result<&'a str, BlockErrorKind> {
        let rest = self.rest();
        let head = cbor::read_head(rest).map_err(BlockErrorKind::NotCanonical)?;
        if head.major != cbor::TEXT {
            return Err(BlockErrorKind::NotCanonical(CborFault::KeyNotText));
        }
        let key = usize::try_from(head.value)
            .ok()
            .and_then(|len| rest[head.len..].get(..len))
            .ok_or(BlockErrorKind::NotCanonical(CborFault::Truncated))?;
        std::str::from_utf8(key).map_err(|_| BlockErrorKind::NotCanonical(CborFault::InvalidUtf8))
    }
}

#[cold]
fn fault(at: usize, field: &Field, kind: BlockErrorKind) -> BlockError {
    BlockError::at(at, Some(field.name), kind)
}

#[cold]
fn truncated(at: usize, field: &Field) -> BlockError {
    fault(
        at,
        field,
        BlockErrorKind::NotCanonical(CborFault::Truncated),
    )
}
