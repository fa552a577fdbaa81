//! The first bytes of a CBOR item: reading and writing them in the one form DAG-CBOR allows.
//!
//! Every CBOR item starts with a head: three bits of major type, five bits of additional
//! information and up to eight bytes of argument (RFC 8949, section 3). DAG-CBOR wants the argument
//! in its shortest form and of definite length (IPLD's DAG-CBOR specification, "Strictness").

/// Major type of an unsigned integer.
pub(crate) const UINT: u8 = 0;
/// Major type of a negative integer; its argument `n` stands for `-1 - n`.
pub(crate) const NEGATIVE: u8 = 1;
/// Major type of a byte string.
pub(crate) const BYTES: u8 = 2;
/// Major type of a text string.
pub(crate) const TEXT: u8 = 3;
/// Major type of an array.
pub(crate) const ARRAY: u8 = 4;
/// Major type of a map.
pub(crate) const MAP: u8 = 5;
/// Major type of a tag.
pub(crate) const TAG: u8 = 6;
/// Tag of a CID, the only tag DAG-CBOR has.
pub(crate) const LINK_TAG: u64 = 42;

/// Longest head in bytes: one byte and an argument of eight.
pub(crate) const MAX_HEAD_LEN: usize = 9;

/// How bytes break the rules of canonical DAG-CBOR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CborFault {
    /// The bytes end inside an item, or before an item that was announced.
    #[error("the bytes end too early; the block was cut off")]
    Truncated,
    /// Bytes follow after the end of the one item that a block is.
    #[error("more bytes follow after the end; a block is exactly one item")]
    TrailingBytes,
    /// A string, array or map of indefinite length, or its "break".
    #[error("an item of indefinite length; only definite lengths are allowed")]
    IndefiniteLength,
    /// Additional information 28, 29 or 30, which CBOR reserves.
    #[error("a reserved first byte; this is no CBOR item")]
    ReservedHead,
    /// An integer, length or tag that fits a shorter form.
    #[error("an integer or length is not in its shortest form")]
    NonMinimal,
    /// A text string that is not UTF-8.
    #[error("a text is not valid UTF-8")]
    InvalidUtf8,
    /// A map key of another type than text.
    #[error("a map key is not a text")]
    KeyNotText,
    /// A map key that belongs before the one it follows: shorter keys first, then bytewise.
    #[error("a map key is out of order; shorter keys come first, then bytewise")]
    UnsortedKey,
    /// The same map key twice.
    #[error("a map key appears twice")]
    DuplicateKey,
    /// Another tag than 42.
    #[error("tag {found}; the only tag allowed is 42, a CID")]
    Tag {
        /// The tag found.
        found: u64,
    },
    /// Tag 42 over something else than a byte string of 0x00 and one CID.
    #[error("tag 42 without a CID; it holds a byte string of 0x00 and then one CID")]
    BadLink,
    /// A floating-point number of 16 or 32 bits, a NaN or an infinity.
    #[error("a float is not a finite number of 64 bits")]
    Float,
    /// A simple value other than false, true and null, such as `undefined`.
    #[error("a simple value other than false, true and null")]
    Simple,
}

/// The head of one item.
#[derive(Clone, Copy)]
pub(crate) struct Head {
    /// Major type, 0 to 7.
    pub(crate) major: u8,
    /// Additional information, 0 to 27.
    pub(crate) info: u8,
    /// The argument: the integer, the length, the tag or the float's bits.
    pub(crate) value: u64,
    /// How many bytes the head takes: 1, 2, 3, 5 or 9.
    pub(crate) len: usize,
}

/// Reads the head at the start of `bytes`.
///
/// The shortest form is not demanded of major type 7, whose argument is not a number.
#[inline]
pub(crate) fn read_head(bytes: &[u8]) -> Result<Head, CborFault> {
    let Some((&first, rest)) = bytes.split_first() else {
        return Err(CborFault::Truncated);
    };
    let (major, info) = (first >> 5, first & 0x1f);
    // `floor` is the smallest argument that needs this form.
    let (value, len, floor) = match info {
        0..=23 => (u64::from(info), 1, 0),
        24 => (u64::from(u8::from_be_bytes(argument(rest)?)), 2, 24),
        25 => (u64::from(u16::from_be_bytes(argument(rest)?)), 3, 1 << 8),
        26 => (u64::from(u32::from_be_bytes(argument(rest)?)), 5, 1 << 16),
        27 => (u64::from_be_bytes(argument(rest)?), 9, 1 << 32),
        31 => return Err(CborFault::IndefiniteLength),
        _ => return Err(CborFault::ReservedHead),
    };
    if value < floor && major != 7 {
        return Err(CborFault::NonMinimal);
    }
    Ok(Head {
        major,
        info,
        value,
        len,
    })
}

#[inline]
fn argument<const N: usize>(rest: &[u8]) -> Result<[u8; N], CborFault> {
    rest.first_chunk().copied().ok_or(CborFault::Truncated)
}

/// Appends the shortest head for `value`; `major` is 0 to 6.
#[inline]
pub(crate) fn write_head(out: &mut Vec<u8>, major: u8, value: u64) {
    let major = major << 5;
    // Each arm's range makes the narrowing exact: the dropped high bytes are zero.
    let [.., b4, b5, b6, b7] = value.to_be_bytes();
    match value {
        0..=23 => out.push(major | b7),
        24..=0xff => out.extend_from_slice(&[major | 24, b7]),
        0x100..=0xffff => out.extend_from_slice(&[major | 25, b6, b7]),
        0x1_0000..=0xffff_ffff => out.extend_from_slice(&[major | 26, b4, b5, b6, b7]),
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_form_changes_exactly_where_the_argument_no_longer_fits() {
        for (value, len) in [
            (0, 1),
            (23, 1),
            (24, 2),
            (0xff, 2),
            (0x100, 3),
            (0xffff, 3),
            (0x1_0000, 5),
            (0xffff_ffff, 5),
            (0x1_0000_0000, 9),
            (u64::MAX, 9),
        ] {
            let mut out = Vec::new();
            write_head(&mut out, UINT, value);
            assert_eq!(out.len(), len, "{value}");
        }
    }

    #[test]
    fn every_longer_form_of_a_value_is_refused() {
        for longer in [
            &[0x18, 23][..],
            &[0x19, 0, 255],
            &[0x1a, 0, 0, 255, 255],
            &[0x1b, 0, 0, 0, 0, 255, 255, 255, 255],
        ] {
            assert_eq!(
                read_head(longer).err(),
                Some(CborFault::NonMinimal),
                "{longer:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_head_reads_back_as_it_was_written(
            major in 0_u8..=6,
            value in prop_oneof![any::<u64>(), 0_u64..1000, 65_000_u64..66_000],
        ) {
            let mut out = Vec::new();
            write_head(&mut out, major, value);
            let head = read_head(&out).expect("the shortest head is read");
            prop_assert_eq!((head.major, head.value, head.len), (major, value, out.len()));
        }
    }
}
