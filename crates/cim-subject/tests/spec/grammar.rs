//! Which texts are subjects and patterns, and what the errors say about the others.

use std::collections::{BTreeSet, HashSet};

use cim_subject::{Subject, SubjectError, SubjectPattern};
use proptest::prelude::*;

#[test]
fn a_subject_holds_any_printable_ascii_but_dots_and_wildcards() {
    for byte in 0..=127u8 {
        let character = char::from(byte);
        let valid = matches!(character, '!'..='~') && !matches!(character, '.' | '*' | '>');
        assert_eq!(
            Subject::new(format!("a{character}b.c")).is_ok(),
            valid || character == '.'
        );
        assert_eq!(
            Subject::new(character.to_string()).is_ok(),
            valid,
            "{character:?}"
        );
    }
}

#[test]
fn an_empty_text_is_refused() {
    assert_eq!(Subject::new(""), Err(SubjectError::Empty));
    assert_eq!(SubjectPattern::new(""), Err(SubjectError::Empty));
}

#[test]
fn an_empty_token_is_named_by_its_place() {
    for (text, place) in [
        (".", 0),
        (".a", 0),
        ("a.", 2),
        ("a..b", 2),
        ("a.b.", 4),
        ("*..>", 2),
    ] {
        let expected = SubjectError::EmptyToken {
            text: text.into(),
            position: place,
        };
        assert_eq!(SubjectPattern::new(text), Err(expected.clone()));
        if !text.contains('*') {
            assert_eq!(Subject::new(text), Err(expected));
        }
    }
}

#[test]
fn a_character_beyond_the_grammar_is_named_with_its_place() {
    for (text, character, position) in [
        ("a b", ' ', 1),
        ("a.\u{7f}", '\u{7f}', 2),
        ("aü", 'ü', 1),
        ("\n", '\n', 0),
        ("a.b\0", '\0', 3),
    ] {
        let expected = SubjectError::Character {
            text: text.into(),
            character,
            position,
        };
        assert_eq!(Subject::new(text), Err(expected.clone()));
        assert_eq!(SubjectPattern::new(text), Err(expected));
    }
}

#[test]
fn a_subject_refuses_wildcards_by_name() {
    for (text, wildcard, position) in [("a.*", '*', 2), (">", '>', 0), ("a>", '>', 1)] {
        let expected = SubjectError::Wildcard {
            text: text.into(),
            wildcard,
            position,
        };
        assert_eq!(Subject::new(text), Err(expected));
    }
}

#[test]
fn a_pattern_refuses_wildcards_inside_a_token() {
    for (text, wildcard, position) in [
        ("a*", '*', 1),
        ("a.*b", '*', 2),
        ("**", '*', 0),
        ("*>", '*', 0),
        ("a.>>", '>', 2),
        ("b>.a", '>', 1),
    ] {
        let expected = SubjectError::PartialWildcard {
            text: text.into(),
            wildcard,
            position,
        };
        assert_eq!(SubjectPattern::new(text), Err(expected));
    }
}

#[test]
fn a_pattern_refuses_tokens_after_the_rest() {
    for (text, position) in [(">.a", 0), ("a.>.>", 2), ("*.>.", 2)] {
        let expected = SubjectError::RestNotLast {
            text: text.into(),
            position,
        };
        assert_eq!(SubjectPattern::new(text), Err(expected));
    }
}

#[test]
fn errors_keep_only_the_beginning_of_a_huge_text() {
    let error = Subject::new("a".repeat(1 << 20)).unwrap_err();
    let SubjectError::TooLong { text, length } = error else {
        panic!("{error}")
    };
    assert_eq!((text.len(), length), (300, 1 << 20));
}

#[test]
fn errors_quote_control_characters_instead_of_printing_them() {
    let message = Subject::new("a\u{1b}[31m").unwrap_err().to_string();
    assert!(!message.contains('\u{1b}'), "{message:?}");
}

#[test]
fn a_subject_prints_as_its_text_and_debugs_like_a_string() {
    let subject = Subject::new(r#"a."b"#).unwrap();
    assert_eq!(format!("{subject}"), r#"a."b"#);
    assert_eq!(format!("{subject:?}"), r#""a.\"b""#);
    assert_eq!(format!("[{subject:<6}]"), r#"[a."b  ]"#);
    let pattern = SubjectPattern::new("a.*").unwrap();
    assert_eq!(format!("{pattern} {pattern:?}"), r#"a.* "a.*""#);
}

#[test]
fn maps_by_subject_answer_to_a_text() {
    let subject = Subject::new("a.b").unwrap();
    assert!(HashSet::from([subject.clone()]).contains("a.b"));
    assert!(BTreeSet::from([subject]).contains("a.b"));
}

#[test]
fn every_way_to_make_a_subject_or_pattern_checks_it() {
    assert_eq!("a.b".parse::<Subject>().unwrap(), "a.b");
    assert_eq!(Subject::try_from("a.b").unwrap(), "a.b");
    assert_eq!(Subject::try_from("a.b".to_owned()).unwrap(), "a.b");
    assert!("a.*".parse::<Subject>().is_err());
    assert!(Subject::try_from("a.*").is_err());
    assert!(Subject::try_from("a.*".to_owned()).is_err());
    assert_eq!("a.*".parse::<SubjectPattern>().unwrap(), "a.*");
    assert_eq!(SubjectPattern::try_from("a.*".to_owned()).unwrap(), "a.*");
    assert!("a*".parse::<SubjectPattern>().is_err());
    assert!(SubjectPattern::try_from("a*").is_err());
    assert!(SubjectPattern::try_from("a*".to_owned()).is_err());
}

#[test]
fn a_literal_prefix_ends_before_the_first_wildcard() {
    for (text, prefix, literal) in [
        ("a.b", "a.b", true),
        ("a.*.b", "a", false),
        ("a.b.>", "a.b", false),
        ("*.b", "", false),
        (">", "", false),
    ] {
        let pattern = SubjectPattern::new(text).unwrap();
        assert_eq!(
            (pattern.literal_prefix(), pattern.is_literal()),
            (prefix, literal),
            "{text}"
        );
    }
}

/// The grammar, said a second time: by tokens instead of by bytes.
fn is_valid(text: &str, pattern: bool) -> bool {
    let tokens: Vec<&str> = text.split('.').collect();
    let plain = |token: &str| {
        !token.is_empty()
            && token
                .chars()
                .all(|c| c.is_ascii_graphic() && c != '*' && c != '>')
    };
    text.len() <= 255
        && tokens.iter().enumerate().all(|(index, &token)| {
            plain(token)
                || (pattern && (token == "*" || (token == ">" && index + 1 == tokens.len())))
        })
}

#[test]
fn no_pattern_matches_the_empty_text() {
    for text in ["a", "*", ">", "*.>"] {
        assert!(
            !SubjectPattern::new(text).unwrap().matches_str(""),
            "{text}"
        );
    }
}

proptest! {
    #[test]
    fn subjects_and_patterns_are_exactly_what_the_grammar_says(text in "[ab.*> é]{0,8}|\\PC{0,20}|(a\\.|\\*\\.|[ab]{1,90}\\.){0,5}[a>]") {
        prop_assert_eq!(Subject::new(&*text).is_ok(), is_valid(&text, false));
        prop_assert_eq!(SubjectPattern::new(&*text).is_ok(), is_valid(&text, true));
    }

    #[test]
    fn matching_any_text_does_not_panic(text in "[ab.*>é]{0,8}", pattern in "(a\\.|b\\.|\\*\\.){0,3}[a*>]") {
        let pattern = SubjectPattern::new(&*pattern).unwrap();
        let answer = pattern.matches_str(&text);
        if let Ok(subject) = Subject::new(&*text) {
            prop_assert_eq!(pattern.matches(&subject), answer);
        }
    }

    #[test]
    fn tokens_joined_by_dots_are_the_subject(tokens in proptest::collection::vec("[!-)+-\\-/-=?-~]{1,9}", 1..20)) {
        let subject = Subject::new(tokens.join(".")).unwrap();
        prop_assert_eq!(subject.token_count(), tokens.len());
        prop_assert!(subject.tokens().eq(tokens.iter()));
        let pattern = SubjectPattern::from(&subject);
        prop_assert!(pattern.is_literal() && pattern.matches(&subject));
        prop_assert_eq!(pattern.token_count(), tokens.len());
    }
}
