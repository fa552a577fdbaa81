//! Unsigned varints: the numbers in front of sections and inside CIDs.
//!
//! Seven bits a byte, the lowest first, and the high bit set on every byte but the last. The
//! multiformats specification (`unsigned-varint`) allows nine bytes, so values below 2⁶³, and wants
//! the shortest form.

/// Longest varint in bytes.
pub(crate) const MAX_VARINT_LEN: usize = 9;

/// How bytes break the rules of varints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VarintFault {
    /// The bytes end inside the number.
    #[error("the bytes end inside a varint")]
    Truncated,
    /// The number goes on after nine bytes.
    #[error("a varint of more than 9 bytes")]
    TooLong,
    /// The number fits fewer bytes.
    #[error("a varint that is not in its shortest form")]
    NonMinimal,
}

/// Reads the varint at the start of `bytes`; returns it and its length.
#[inline]
pub(crate) fn read_varint(bytes: &[u8]) -> Result<(u64, usize), VarintFault> {
    let mut value = 0;
    for (place, &byte) in bytes.iter().take(MAX_VARINT_LEN).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            if byte == 0 && place > 0 {
                return Err(VarintFault::NonMinimal);
            }
            return Ok((value, place + 1));
        }
    }
    Err(if bytes.len() < MAX_VARINT_LEN {
        VarintFault::Truncated
    } else {
        VarintFault::TooLong
    })
}

/// Appends the varint of `value`, which is below 2⁶³.
#[inline]
pub(crate) fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_varint_reads_back_as_it_was_written(
            value in prop_oneof![0..1_u64 << 63, 0..70_000_u64],
            after: Vec<u8>,
        ) {
            let mut bytes = Vec::new();
            write_varint(&mut bytes, value);
            let len = bytes.len();
            for cut in 0..len {
                prop_assert_eq!(read_varint(&bytes[..cut]), Err(VarintFault::Truncated));
            }
            bytes.extend(after);
            prop_assert_eq!(read_varint(&bytes), Ok((value, len)));
        }

        #[test]
        fn what_is_read_is_the_shortest_form(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            if let Ok((value, len)) = read_varint(&bytes) {
                let mut again = Vec::new();
                write_varint(&mut again, value);
                prop_assert_eq!(&bytes[..len], again);
            }
        }
    }

    #[test]
    fn longer_forms_and_more_than_nine_bytes_are_refused() {
        assert_eq!(read_varint(&[0x80, 0]), Err(VarintFault::NonMinimal));
        assert_eq!(read_varint(&[0xff, 0x80, 0]), Err(VarintFault::NonMinimal));
        assert_eq!(read_varint(&[0x80; 9]), Err(VarintFault::TooLong));
        assert_eq!(read_varint(&[0xff; 20]), Err(VarintFault::TooLong));
        assert_eq!(
            read_varint(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
            Ok(((1 << 63) - 1, 9))
        );
    }
}
