//! Percent-encoding of header values, as the HTTP binding of CloudEvents has it: everything but
//! printable ASCII, and of that the space, `"` and `%`, becomes `%XX` for each byte of its UTF-8.

use std::borrow::Cow;
use std::fmt::Write as _;

fn is_plain(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && byte != b'"' && byte != b'%'
}

/// Encodes a text.
pub(crate) fn encode(text: &str) -> Cow<'_, str> {
    if text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut encoded = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if is_plain(byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String can't fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    Cow::Owned(encoded)
}

/// Decodes a value; `None` where it is not the encoding of a text.
pub(crate) fn decode(value: &str) -> Option<Cow<'_, str>> {
    if !value.contains('%') {
        return Some(Cow::Borrowed(value));
    }
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_comes_back(text in any::<String>()) {
            let encoded = encode(&text);
            prop_assert!(encoded.bytes().all(|byte| (b'!'..=b'~').contains(&byte)));
            let decoded = decode(&encoded);
            prop_assert_eq!(decoded.as_deref(), Some(&text[..]));
        }
    }

    #[test]
    fn the_specifications_example_is_encoded_as_it_says() {
        // HTTP Protocol Binding, section 3.1.3.2: "Euro € 😀".
        assert_eq!(encode("Euro € 😀"), "Euro%20%E2%82%AC%20%F0%9F%98%80");
    }

    #[test]
    fn what_is_no_encoding_is_refused() {
        for value in ["%", "%4", "%4g", "%FF", "%+1"] {
            assert_eq!(decode(value), None, "{value}");
        }
    }
}
