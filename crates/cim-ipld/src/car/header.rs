//! Headers: of a CARv1, and the fixed bytes in front of a CARv2.

use cid::Cid;

use super::MAX_HEADER_LEN;
use super::error::{CarError, CarErrorKind};
use crate::cbor;
use crate::dag_cbor::{self, Ipld};
use crate::varint::write_varint;

/// Length in bytes of [`encode_header`] for one root that is a CIDv1 with a codec below 0x80 and a
/// digest of 32 bytes, such as every event's. So a writer that knows its root only at the end writes
/// a header for any such CID first and overwrites it later.
pub const ONE_ROOT_HEADER_LEN: usize = 59;

/// The header of a CARv1 with its length in front: the first bytes of the file.
///
/// ```
/// use cim_ipld::Cid;
/// use cim_ipld::car::{ONE_ROOT_HEADER_LEN, encode_header};
///
/// let root = Cid::try_from("bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua").unwrap();
/// assert_eq!(encode_header(&[root])?.len(), ONE_ROOT_HEADER_LEN);
/// # Ok::<(), cim_ipld::car::CarError>(())
/// ```
///
/// # Errors
/// [`CarErrorKind::HeaderLength`] if there are too many roots.
pub fn encode_header(roots: &[Cid]) -> Result<Vec<u8>, CarError> {
    let mut map = Vec::with_capacity(64 * (roots.len() + 1));
    cbor::write_head(&mut map, cbor::MAP, 2);
    write_text(&mut map, "roots");
    cbor::write_head(&mut map, cbor::ARRAY, roots.len() as u64);
    for root in roots {
        cbor::write_head(&mut map, cbor::TAG, cbor::LINK_TAG);
        cbor::write_head(&mut map, cbor::BYTES, 1 + root.encoded_len() as u64);
        map.push(0);
        map.extend_from_slice(&root.to_bytes());
    }
    write_text(&mut map, "version");
    cbor::write_head(&mut map, cbor::UINT, 1);
    if map.len() > MAX_HEADER_LEN {
        return Err(CarError::at(0, header_length(map.len() as u64)));
    }
    let mut header = Vec::with_capacity(map.len() + 3);
    write_varint(&mut header, map.len() as u64);
    header.append(&mut map);
    Ok(header)
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    cbor::write_head(out, cbor::TEXT, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// A header of a length that is not allowed.
pub(super) fn header_length(len: u64) -> CarErrorKind {
    CarErrorKind::HeaderLength {
        len,
        limit: MAX_HEADER_LEN as u64,
    }
}

/// The roots in the header of a CARv1, given without its length.
pub(super) fn decode_header(map: &[u8]) -> Result<Vec<Cid>, CarErrorKind> {
    let header = dag_cbor::from_slice(map).map_err(CarErrorKind::HeaderCbor)?;
    let Ipld::Map(mut header) = header else {
        return Err(CarErrorKind::HeaderShape);
    };
    match header.remove("version") {
        Some(Ipld::Integer(1)) => {}
        Some(Ipld::Integer(found)) => return Err(CarErrorKind::Version { found }),
        _ => return Err(CarErrorKind::HeaderShape),
    }
    let Some(Ipld::List(roots)) = header.remove("roots") else {
        return Err(CarErrorKind::HeaderShape);
    };
    if !header.is_empty() {
        return Err(CarErrorKind::HeaderShape);
    }
    roots
        .into_iter()
        .map(|root| match root {
            Ipld::Link(cid) => Ok(cid),
            _ => Err(CarErrorKind::HeaderShape),
        })
        .collect()
}

/// What a CARv2 has where a CARv1 has its header, without the length: the map `{"version": 2}`.
pub(super) const PRAGMA: &[u8] = b"\xa1\x67version\x02";

/// Length in bytes of what follows the pragma: characteristics, data offset, data size and index
/// offset.
pub(super) const V2_HEADER_LEN: usize = 40;

/// Where the CARv1 inside a CARv2 stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DataPlace {
    /// The first byte of the CARv1, counted from the file's first.
    pub(super) start: u64,
    /// The byte after its last.
    pub(super) end: u64,
}

/// Reads what follows the pragma. The characteristics say something about the index only.
pub(super) fn decode_v2_header(header: &[u8; V2_HEADER_LEN]) -> Result<DataPlace, CarErrorKind> {
    let number = |at: usize| {
        header
            .get(at..)
            .and_then(|rest| rest.first_chunk())
            .map_or(0, |bytes| u64::from_le_bytes(*bytes))
    };
    let (start, size, index) = (number(16), number(24), number(32));
    let end = start.checked_add(size).ok_or(CarErrorKind::DataPlace)?;
    let first = (1 + PRAGMA.len() + V2_HEADER_LEN) as u64;
    if start < first || (index != 0 && index < end) {
        return Err(CarErrorKind::DataPlace);
    }
    Ok(DataPlace { start, end })
}
