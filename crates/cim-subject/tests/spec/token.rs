//! Tokens: any text has exactly one spelling, and decoding accepts no other.

use std::borrow::Cow;

use cim_subject::token::encode_token_into;
use cim_subject::{Subject, TokenError, decode_token, encode_token};
use proptest::prelude::*;

#[test]
fn letters_digits_dash_and_underscore_stand_as_they_are() {
    let plain = "ABCXYZabcxyz0189-_";
    assert!(matches!(encode_token(plain), Ok(Cow::Borrowed(token)) if token == plain));
    assert!(matches!(decode_token(plain), Ok(Cow::Borrowed(text)) if text == plain));
}

#[test]
fn every_other_byte_is_escaped_in_upper_case_hex() {
    for byte in 0..=127u8 {
        let text = char::from(byte).to_string();
        let plain = byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let token = if plain {
            text.clone()
        } else {
            format!("={byte:02X}")
        };
        assert_eq!(encode_token(&text).unwrap(), token);
        assert_eq!(decode_token(&token).unwrap(), text);
    }
    assert_eq!(encode_token("€=*").unwrap(), "=E2=82=AC=3D=2A");
}

#[test]
fn the_empty_text_has_no_token() {
    assert_eq!(encode_token(""), Err(TokenError::Empty));
    assert_eq!(decode_token(""), Err(TokenError::Empty));
    let mut buffer = "a.".to_owned();
    assert_eq!(encode_token_into("", &mut buffer), Err(TokenError::Empty));
    assert_eq!(buffer, "a.");
}

#[test]
fn an_incomplete_or_lower_case_escape_is_refused() {
    for (token, position) in [
        ("=", 0),
        ("a=", 1),
        ("a=4", 1),
        ("=2e", 0),
        ("=2Ea=g0", 4),
        ("==3D", 0),
        ("=é", 0),
    ] {
        let expected = TokenError::InvalidEscape {
            token: token.into(),
            position,
        };
        assert_eq!(decode_token(token), Err(expected));
    }
}

#[test]
fn an_escape_without_need_is_refused() {
    for (token, character, position) in [("=61", 'a', 0), ("a=2D", '-', 1), ("=2E=5F", '_', 3)] {
        let expected = TokenError::NeedlessEscape {
            token: token.into(),
            character,
            position,
        };
        assert_eq!(decode_token(token), Err(expected));
    }
}

#[test]
fn a_raw_character_that_needs_an_escape_is_refused() {
    for (token, character, position) in [("a.b", '.', 1), ("é", 'é', 0), ("=2E*", '*', 3)] {
        let expected = TokenError::Unescaped {
            token: token.into(),
            character,
            position,
        };
        assert_eq!(decode_token(token), Err(expected));
    }
}

#[test]
fn escapes_that_are_not_utf8_are_refused_at_the_first_bad_one() {
    for (token, position) in [
        ("=FF", 0),
        ("a=C3", 1),
        ("=2Ea=C3=BC=80", 10),
        ("=C3a", 0),
        ("=ED=A0=80", 0),
    ] {
        let expected = TokenError::NotUtf8 {
            token: token.into(),
            position,
        };
        assert_eq!(decode_token(token), Err(expected));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn decoding_gives_back_any_text(text in any::<String>().prop_filter("empty", |t| !t.is_empty())) {
        let token = encode_token(&text).unwrap();
        prop_assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=".contains(&b)));
        prop_assert_eq!(decode_token(&token).unwrap(), &*text);
        if token.len() <= Subject::MAX_LEN {
            prop_assert_eq!(Subject::new(&*token).unwrap().token_count(), 1);
        }
        let mut buffer = "kept.".to_owned();
        encode_token_into(&text, &mut buffer).unwrap();
        prop_assert_eq!(buffer, format!("kept.{token}"));
    }

    #[test]
    fn decoding_accepts_only_what_encoding_yields(token in "([a=]|=2E|=C3=BC|=[0-9A-F]{2}|=[0-9a-f]{2}|\\PC){0,6}") {
        if let Ok(text) = decode_token(&token) {
            prop_assert_eq!(encode_token(&text).unwrap(), &*token);
        }
    }
}
