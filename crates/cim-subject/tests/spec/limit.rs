//! The algebra at the limit of 255 bytes.
//!
//! A pattern is within the limit exactly if it matches something. Near the limit its wildcards have
//! little room: patterns without a common subject would have a common one if there were no limit,
//! and a `>` may have room for one token only.

use std::cmp::Ordering;

use cim_subject::{Subject, SubjectError, SubjectPattern};
use proptest::prelude::*;

fn pattern(text: impl Into<String>) -> SubjectPattern {
    SubjectPattern::new(text.into()).unwrap()
}

#[test]
fn a_subject_or_pattern_has_at_most_255_bytes() {
    for suffix in ["", ".x"] {
        let text = format!("{}{suffix}", "a".repeat(255 - suffix.len()));
        assert!(Subject::new(&*text).is_ok() && SubjectPattern::new(&*text).is_ok());
        let longer = format!("a{text}");
        let error = SubjectError::TooLong {
            text: longer.clone(),
            length: 256,
        };
        assert_eq!(Subject::new(&*longer), Err(error.clone()));
        assert_eq!(SubjectPattern::new(&*longer), Err(error));
    }
}

#[test]
fn a_subject_has_at_most_128_tokens() {
    let most = vec!["a"; 128].join(".");
    assert_eq!(Subject::new(&*most).unwrap().token_count(), 128);
    assert!(Subject::new(format!("{most}.a")).is_err());
}

#[test]
fn patterns_whose_common_subjects_would_be_too_long_do_not_intersect() {
    let (left, right) = ("x".repeat(200), "y".repeat(54));
    for (right, common) in [(right.clone(), true), (right + "y", false)] {
        let a = pattern(format!("{left}.*"));
        let b = pattern(format!("*.{right}"));
        assert_eq!(a.intersects(&b), common);
        assert_eq!(
            a.intersection(&b),
            common.then(|| pattern(format!("{left}.{right}")))
        );
    }
}

#[test]
fn a_rest_without_room_for_two_tokens_is_a_single_token() {
    for (length, single) in [(253, false), (254, true), (255, true)] {
        let head = "x".repeat(length - 2);
        let rest = pattern(format!("{head}.>"));
        let one = pattern(format!("{head}.*"));
        assert_eq!(one.contains(&rest), single, "{length}");
        assert_eq!(
            Subject::new(format!("{head}.a.b")).is_err(),
            single,
            "{length}"
        );
        let order = if single {
            Ordering::Equal
        } else {
            Ordering::Less
        };
        assert_eq!(rest.partial_cmp_specificity(&one), Some(order));
        assert!(rest.specificity() < one.specificity());
        assert_eq!(pattern("*.*").contains(&rest), single);
        assert!(!pattern("*.*.>").contains(&rest));
        assert_eq!(pattern("*.*.>").intersects(&rest), !single);
    }
}

/// Patterns of up to five tokens, often close to the limit.
fn near_limit() -> impl Strategy<Value = SubjectPattern> {
    let token = prop_oneof![
        4 => Just("*".to_owned()),
        2 => Just("x".to_owned()),
        1 => Just("y".to_owned()),
        2 => (115usize..130).prop_map(|n| "x".repeat(n)),
        2 => (238usize..=255).prop_map(|n| "x".repeat(n)),
    ];
    (proptest::collection::vec(token, 0..5), any::<bool>()).prop_filter_map(
        "too long",
        |(mut tokens, rest)| {
            tokens.extend(rest.then(|| ">".to_owned()));
            SubjectPattern::new(tokens.join(".")).ok()
        },
    )
}

/// Subjects that decide whether another pattern contains this one: wildcards are the shortest token
/// that no pattern here spells, `>` as many of them as asked for.
fn witness(pattern: &SubjectPattern, rest: usize) -> Option<Subject> {
    let tokens = pattern.tokens().flat_map(|token| match token {
        "*" => vec!["w"],
        ">" => vec!["w"; rest],
        token => vec![token],
    });
    Subject::new(tokens.collect::<Vec<_>>().join(".")).ok()
}

/// A subject that the pattern matches, its wildcards filled with the given tokens.
fn filled(pattern: &SubjectPattern, fill: &[String]) -> Option<Subject> {
    let mut fill = fill.iter().cycle();
    let tokens = pattern.tokens().flat_map(|token| match token {
        "*" => vec![fill.next().map_or("w", |token| token)],
        ">" => fill
            .by_ref()
            .take(1 + pattern.token_count() % 3)
            .map(String::as_str)
            .collect(),
        token => vec![token],
    });
    Subject::new(tokens.collect::<Vec<_>>().join(".")).ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_pattern_matches_a_subject_as_long_as_itself(a in near_limit()) {
        let shortest = witness(&a, 1).unwrap();
        prop_assert_eq!(shortest.as_str().len(), a.as_str().len());
        prop_assert!(a.matches(&shortest));
    }

    #[test]
    fn contains_holds_exactly_for_all_witnesses(a in near_limit(), b in near_limit()) {
        let holds = (1..=8).filter_map(|rest| witness(&b, rest)).all(|s| a.matches(&s));
        prop_assert_eq!(a.contains(&b), holds, "{} {}", a, b);
    }

    #[test]
    fn the_intersection_matches_what_both_match(
        a in near_limit(),
        b in near_limit(),
        fill in proptest::collection::vec("x|y|x{115,130}|x{238,250}", 1..4),
    ) {
        let both = a.intersection(&b);
        prop_assert_eq!(both.is_some(), a.intersects(&b));
        for subject in [&a, &b].into_iter().chain(&both).filter_map(|p| filled(p, &fill)) {
            let expected = a.matches(&subject) && b.matches(&subject);
            let matched = both.as_ref().is_some_and(|both| both.matches(&subject));
            prop_assert_eq!(matched, expected, "{} {} {:?}", a, b, subject);
        }
        if let Some(both) = both {
            prop_assert!(a.contains(&both) && b.contains(&both));
        }
    }

    #[test]
    fn the_sort_key_never_contradicts_specificity(a in near_limit(), b in near_limit()) {
        let strict = a.partial_cmp_specificity(&b).filter(|order| order.is_ne());
        if let Some(strict) = strict {
            prop_assert_eq!(a.specificity().cmp(&b.specificity()), strict, "{} {}", a, b);
        }
    }
}
