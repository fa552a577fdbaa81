//! The keys of an event's block, in canonical order.
//!
//! Encoder and decoder both walk this list from first to last; its order is DAG-CBOR's (shorter
//! keys first, then bytewise) and a test keeps it so.

/// One field of the block.
#[derive(Debug)]
pub(super) struct Field {
    /// The key as text.
    pub(super) name: &'static str,
    /// The key as it stands in a block: a CBOR head of one byte, then the name.
    pub(super) key: &'static [u8],
    /// The field's place in the canonical order, from 0.
    pub(super) rank: u32,
}

macro_rules! fields {
    ($($field:ident = $rank:literal, $name:literal, $key:literal;)*) => {
        $(pub(super) const $field: Field = Field { name: $name, key: $key, rank: $rank };)*
        /// Every field, in canonical order.
        pub(super) const ALL: &[Field] = &[$($field),*];
    };
}

fields! {
    FORMAT = 0, "v", b"\x61v";
    ID = 1, "id", b"\x62id";
    DATA = 2, "data", b"\x64data";
    META = 3, "meta", b"\x64meta";
    PREV = 4, "prev", b"\x64prev";
    TIME = 5, "time", b"\x64time";
    TYPE = 6, "type", b"\x64type";
    COUNT = 7, "count", b"\x65count";
    INDEX = 8, "index", b"\x65index";
    TRACE = 9, "trace", b"\x65trace";
    COMMIT = 10, "commit", b"\x66commit";
    SCHEMA = 11, "schema", b"\x66schema";
    STREAM = 12, "stream", b"\x66stream";
    VERSION = 13, "version", b"\x67version";
    DATATYPE = 14, "datatype", b"\x68datatype";
    CAUSATION = 15, "causation", b"\x69causation";
    PRINCIPAL = 16, "principal", b"\x69principal";
    CORRELATION = 17, "correlation", b"\x6bcorrelation";
}

/// How many fields every block has; the others are left out where they have no value.
pub(super) const REQUIRED: u8 = 12;

/// The start of a link to an event: tag 42, a byte string of 37 bytes, the multibase prefix 0x00,
/// then CIDv1, dag-cbor, sha2-256 and the digest's length.
pub(super) const LINK_HEAD: [u8; 9] = [0xd8, 0x2a, 0x58, 0x25, 0x00, 0x01, 0x71, 0x12, 0x20];

/// The first byte of a byte string of 16 bytes.
pub(super) const BYTES_16: u8 = 0x50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_in_canonical_order() {
        let order = |field: &Field| (field.name.len(), field.name.as_bytes());
        assert!(ALL.windows(2).all(|two| order(&two[0]) < order(&two[1])));
        assert!(
            ALL.iter()
                .enumerate()
                .all(|(place, field)| field.rank as usize == place)
        );
    }

    #[test]
    fn keys_are_the_cbor_texts_of_the_names() {
        for field in ALL {
            let text = serde_ipld_dagcbor::to_vec(field.name).expect("a text encodes");
            assert_eq!(field.key, text);
        }
    }
}
