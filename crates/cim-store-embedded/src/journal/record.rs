//! A record: the unit of the segment files, checksummed and bound to its place.
//!
//! `docs/format/segments.md` has the table of bytes. A record knows the store, the file and the
//! offset it belongs to, so one that was moved, duplicated or taken from elsewhere does not check;
//! whoever looks at what is left of a damaged log still recognizes it as one of the store.

use std::fmt;

/// Bytes of a record before its body.
pub(crate) const HEADER_BYTES: usize = 72;
/// Records begin at multiples of this.
pub(crate) const ALIGNMENT: usize = 8;
/// The largest body: an event's largest block with room to spare, and nothing that a damaged
/// length could turn into a huge read.
pub(crate) const MAX_BODY_BYTES: usize = 2 << 20;

const MAGIC: [u8; 4] = *b"CIMr";

/// Where a record is: the number of its segment and the offset in that segment's file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Place(u64);

impl Place {
    /// No place; what the first record of a key names as the one before it.
    pub(crate) const NONE: Self = Self(0);

    pub(crate) fn new(segment: u32, offset: u32) -> Self {
        Self(u64::from(segment) << 32 | u64::from(offset))
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    pub(crate) fn segment(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(crate) fn offset(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.segment(), self.offset())
    }
}

/// The record is the first of its commit.
pub(crate) const FIRST_OF_COMMIT: u8 = 1;
/// The record is the last of its commit.
pub(crate) const LAST_OF_COMMIT: u8 = 2;
/// The record is the last of the group that was flushed together.
pub(crate) const LAST_OF_GROUP: u8 = 4;
/// The record was written before, at a place that has been given up since.
pub(crate) const MOVED: u8 = 8;
const ALL_FLAGS: u8 = FIRST_OF_COMMIT | LAST_OF_COMMIT | LAST_OF_GROUP | MOVED;

/// What a record says before its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// What the body is; each family of segments has kinds of its own.
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) body_len: u32,
    pub(crate) body_crc: u32,
    pub(crate) place: Place,
    /// The number of the flush that made it durable.
    pub(crate) group: u64,
    /// Its position, or its revision.
    pub(crate) sequence: u64,
    pub(crate) stored_at: i64,
    /// The record before it of the same key.
    pub(crate) previous: Place,
    /// An event's version in its stream.
    pub(crate) number: u64,
}

impl Header {
    /// Bytes from this record's beginning to the next one's.
    pub(crate) fn span(&self) -> usize {
        span(self.body_len as usize)
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Bytes that a record with a body of this length takes.
pub(crate) fn span(body_len: usize) -> usize {
    (HEADER_BYTES + body_len).next_multiple_of(ALIGNMENT)
}

/// Why bytes are not the record that belongs at their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// Only zeros: nothing was ever written here.
    Blank,
    /// Fewer bytes than the record needs.
    Short,
    /// Not the beginning of a record.
    Magic,
    /// The header does not match its checksum.
    Header,
    /// It is a record of another place.
    Elsewhere,
    /// The body does not match its checksum.
    Body,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blank => "nothing is written",
            Self::Short => "a record is cut off",
            Self::Magic => "no record begins",
            Self::Header => "a record's header does not match its checksum",
            Self::Elsewhere => "a record stands that belongs elsewhere",
            Self::Body => "a record's content does not match its checksum",
        })
    }
}

/// Checksums of one store: the salt keeps records of other stores out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Salt(pub(crate) u32);

impl Salt {
    pub(crate) fn crc(self, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(self.0, bytes)
    }
}

/// Writes a header in front of a body that stands in the buffer already.
pub(crate) fn write_header(header: &Header, salt: Salt, bytes: &mut [u8]) {
    bytes[0..4].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&header.body_len.to_le_bytes());
    bytes[12..16].copy_from_slice(&header.body_crc.to_le_bytes());
    bytes[16..24].copy_from_slice(&header.place.bits().to_le_bytes());
    bytes[24..32].copy_from_slice(&header.group.to_le_bytes());
    bytes[32..40].copy_from_slice(&header.sequence.to_le_bytes());
    bytes[40..48].copy_from_slice(&header.stored_at.to_le_bytes());
    bytes[48..56].copy_from_slice(&header.previous.bits().to_le_bytes());
    bytes[56..64].copy_from_slice(&header.number.to_le_bytes());
    bytes[64] = header.kind;
    bytes[65] = header.flags;
    bytes[66..72].fill(0);
    let crc = salt.crc(&bytes[8..HEADER_BYTES]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
}

/// Reads and checks the header of the record that belongs at `place`.
pub(crate) fn read_header(bytes: &[u8], place: Place, salt: Salt) -> Result<Header, Mismatch> {
    let header = read_header_anywhere(bytes, salt)?;
    if header.place != place {
        return Err(Mismatch::Elsewhere);
    }
    Ok(header)
}

/// Reads and checks the header of a record of the store, wherever it belongs.
#[inline]
pub(crate) fn read_header_anywhere(bytes: &[u8], salt: Salt) -> Result<Header, Mismatch> {
    let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else {
        return Err(if bytes.iter().all(|byte| *byte == 0) {
            Mismatch::Blank
        } else {
            Mismatch::Short
        });
    };
    if bytes[0..4] != MAGIC {
        let blank = bytes.iter().all(|byte| *byte == 0);
        return Err(if blank {
            Mismatch::Blank
        } else {
            Mismatch::Magic
        });
    }
    if u32_at(bytes, 4) != salt.crc(&bytes[8..]) {
        return Err(Mismatch::Header);
    }
    let header = Header {
        kind: bytes[64],
        flags: bytes[65],
        body_len: u32_at(bytes, 8),
        body_crc: u32_at(bytes, 12),
        place: Place(u64_at(bytes, 16)),
        group: u64_at(bytes, 24),
        sequence: u64_at(bytes, 32),
        stored_at: u64_at(bytes, 40) as i64,
        previous: Place(u64_at(bytes, 48)),
        number: u64_at(bytes, 56),
    };
    if header.body_len as usize > MAX_BODY_BYTES || header.flags & !ALL_FLAGS != 0 {
        return Err(Mismatch::Header);
    }
    Ok(header)
}

/// Whether a record may begin with these bytes.
pub(crate) fn begins(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// Reads and checks the whole record that belongs at `place`; also returns its body.
pub(crate) fn read_record(
    bytes: &[u8],
    place: Place,
    salt: Salt,
) -> Result<(Header, &[u8]), Mismatch> {
    let header = read_header(bytes, place, salt)?;
    let end = HEADER_BYTES + header.body_len as usize;
    let body = bytes.get(HEADER_BYTES..end).ok_or(Mismatch::Short)?;
    if crc32c::crc32c(body) != header.body_crc {
        return Err(Mismatch::Body);
    }
    Ok((header, body))
}

/// Where in `bytes`, which begin at `start`, a whole record of a later flush than `group` begins.
/// It proves that everything before it had been flushed.
pub(crate) fn find_later(bytes: &[u8], start: Place, group: u64, salt: Salt) -> Option<Place> {
    let mut offset = 0;
    while offset + HEADER_BYTES <= bytes.len() {
        let rest = &bytes[offset..];
        if rest[0..4] == MAGIC {
            let place = Place(start.bits() + offset as u64);
            if let Ok((header, _)) = read_record(rest, place, salt)
                && header.group > group
            {
                return Some(place);
            }
        }
        offset += ALIGNMENT;
    }
    None
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(value)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: Salt = Salt(7);

    fn record(place: Place, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; span(body.len())];
        bytes[HEADER_BYTES..HEADER_BYTES + body.len()].copy_from_slice(body);
        let header = Header {
            kind: 1,
            flags: FIRST_OF_COMMIT | LAST_OF_COMMIT,
            body_len: body.len() as u32,
            body_crc: crc32c::crc32c(body),
            place,
            group: 3,
            sequence: 9,
            stored_at: -5,
            previous: Place::new(1, 128),
            number: 4,
        };
        write_header(&header, SALT, &mut bytes);
        bytes
    }

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        let place = Place::new(2, 4096);
        let bytes = record(place, b"body");
        let (header, body) = read_record(&bytes, place, SALT).unwrap();
        assert_eq!(body, b"body");
        assert_eq!(
            (header.sequence, header.stored_at, header.number),
            (9, -5, 4)
        );
        assert_eq!(header.span(), bytes.len());
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let place = Place::new(2, 4096);
        let bytes = record(place, b"some body");
        let end = HEADER_BYTES + b"some body".len();
        for bit in 0..end * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(read_record(&bytes, place, SALT).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_record_of_another_place_or_store_does_not_check() {
        let place = Place::new(2, 4096);
        let bytes = record(place, b"body");
        let other = Place::new(2, 4104);
        assert_eq!(read_record(&bytes, other, SALT), Err(Mismatch::Elsewhere));
        assert_eq!(read_record(&bytes, place, Salt(8)), Err(Mismatch::Header));
    }

    #[test]
    fn zeros_are_blank_and_not_damage() {
        assert_eq!(
            read_record(&[0; 100], Place::new(1, 0), SALT),
            Err(Mismatch::Blank)
        );
        assert_eq!(
            read_record(&[0; 10], Place::new(1, 0), SALT),
            Err(Mismatch::Blank)
        );
    }

    #[test]
    fn a_later_record_behind_garbage_is_found() {
        let mut bytes = vec![0xAB; 64];
        bytes.extend(record(Place::new(2, 4096 + 64), b"body"));
        let start = Place::new(2, 4096);
        assert_eq!(
            find_later(&bytes, start, 2, SALT),
            Some(Place::new(2, 4160))
        );
        assert_eq!(find_later(&bytes, start, 3, SALT), None);
    }
}
