//! The algebra against sets of subjects, for every pair of short patterns.
//!
//! Patterns: all of 1 to 4 tokens over `a`, `b`, `*` and `>`. Subjects: all of 1 to 6 tokens over
//! `a`, `b` and `c`. Finite sets decide what holds for all subjects, for two reasons. A token other
//! than `a` and `b` is to these patterns like `c`. And a pattern of at most 4 tokens accepts or
//! refuses all subjects of more than 4 tokens by their first 4 tokens alone, so those of 5 tokens
//! (and of 6, one more than needed) speak for the longer ones.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use cim_subject::{Subject, SubjectPattern};

const PATTERN_TOKENS: usize = 4;
const SUBJECT_TOKENS: usize = 6;

/// All sequences of 1 to `length` of these tokens, joined by dots.
fn sequences(tokens: &[&str], length: usize) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut longest: Vec<String> = tokens.iter().map(|&token| token.to_owned()).collect();
    for _ in 1..length {
        let longer = longest
            .iter()
            .flat_map(|text| tokens.iter().map(move |token| format!("{text}.{token}")))
            .collect();
        all.extend(std::mem::replace(&mut longest, longer));
    }
    all.extend(longest);
    all
}

fn subjects() -> Vec<Subject> {
    let texts = sequences(&["a", "b", "c"], SUBJECT_TOKENS);
    texts
        .into_iter()
        .map(|text| Subject::new(text).unwrap())
        .collect()
}

/// Every short pattern; texts with a `>` that is not last are none.
fn patterns() -> Vec<SubjectPattern> {
    let texts = sequences(&["a", "b", "*", ">"], PATTERN_TOKENS);
    texts
        .into_iter()
        .filter_map(|text| SubjectPattern::new(text).ok())
        .collect()
}

/// What a pattern means, said as plainly as possible.
fn means(pattern: &[&str], subject: &[&str]) -> bool {
    match (pattern, subject) {
        ([], []) => true,
        ([">"], [_, ..]) => true,
        (["*", pattern @ ..], [_, subject @ ..]) => means(pattern, subject),
        ([token, pattern @ ..], [same, subject @ ..]) if token == same => means(pattern, subject),
        _ => false,
    }
}

/// A set of subjects, one bit for each.
#[derive(Clone, PartialEq, Eq)]
struct Set(Vec<u64>);

impl Set {
    fn of(subjects: &[Subject], member: impl Fn(&Subject) -> bool) -> Self {
        let word = |chunk: &[Subject]| {
            chunk
                .iter()
                .enumerate()
                .fold(0, |word, (bit, s)| word | u64::from(member(s)) << bit)
        };
        Self(subjects.chunks(64).map(word).collect())
    }

    fn and(&self, other: &Set) -> Set {
        Set(self.0.iter().zip(&other.0).map(|(a, b)| a & b).collect())
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    fn contains(&self, other: &Set) -> bool {
        self.and(other) == *other
    }
}

/// Calls `check` with every pair of short patterns and the sets they mean.
fn for_each_pair(mut check: impl FnMut((&SubjectPattern, &Set), (&SubjectPattern, &Set))) {
    let subjects = subjects();
    let patterns: Vec<_> = patterns()
        .into_iter()
        .map(|pattern| {
            let tokens: Vec<_> = pattern.tokens().collect();
            let set = Set::of(&subjects, |s| {
                means(&tokens, &s.tokens().collect::<Vec<_>>())
            });
            (pattern, set)
        })
        .collect();
    for (a, a_set) in &patterns {
        for (b, b_set) in &patterns {
            check((a, a_set), (b, b_set));
        }
    }
}

#[test]
fn the_enumeration_is_complete() {
    // 3^n patterns of n tokens without `>`, and 3^(n-1) with it.
    assert_eq!(patterns().len(), (3 + 1) + (9 + 3) + (27 + 9) + (81 + 27));
    assert_eq!(subjects().len(), 3 + 9 + 27 + 81 + 243 + 729);
}

#[test]
fn matches_is_what_the_pattern_means() {
    let subjects = subjects();
    for pattern in patterns() {
        let tokens: Vec<_> = pattern.tokens().collect();
        for subject in &subjects {
            let expected = means(&tokens, &subject.tokens().collect::<Vec<_>>());
            assert_eq!(pattern.matches(subject), expected, "{pattern} {subject}");
            assert_eq!(
                pattern.matches_str(subject.as_str()),
                expected,
                "{pattern} {subject}"
            );
        }
    }
}

#[test]
fn contains_is_the_subset_relation() {
    for_each_pair(|(a, a_set), (b, b_set)| {
        assert_eq!(a.contains(b), a_set.contains(b_set), "{a} contains {b}");
    });
}

#[test]
fn intersects_is_a_common_subject() {
    for_each_pair(|(a, a_set), (b, b_set)| {
        assert_eq!(
            a.intersects(b),
            !a_set.and(b_set).is_empty(),
            "{a} intersects {b}"
        );
    });
}

#[test]
fn the_intersection_is_one_pattern_or_nothing() {
    let subjects = subjects();
    for_each_pair(|(a, a_set), (b, b_set)| {
        let common = a_set.and(b_set);
        match a.intersection(b) {
            None => assert!(common.is_empty(), "{a} and {b} have no intersection"),
            Some(c) => {
                assert!(
                    c.token_count() <= PATTERN_TOKENS,
                    "{c} is too long for the enumeration"
                );
                assert!(
                    Set::of(&subjects, |s| c.matches(s)) == common,
                    "{a} and {b} give {c}"
                );
                assert!(!common.is_empty(), "{a} and {b} give {c}");
                assert_eq!(b.intersection(a), Some(c), "{a} and {b} in the other order");
            }
        }
    });
}

#[test]
fn specificity_compares_sets() {
    for_each_pair(|(a, a_set), (b, b_set)| {
        let expected = match (a_set.contains(b_set), b_set.contains(a_set)) {
            (true, true) => Some(Ordering::Equal),
            (false, true) => Some(Ordering::Greater),
            (true, false) => Some(Ordering::Less),
            (false, false) => None,
        };
        assert_eq!(a.partial_cmp_specificity(b), expected, "{a} {b}");
    });
}

#[test]
fn the_sort_key_never_contradicts_specificity() {
    for_each_pair(|(a, _), (b, _)| {
        let key = a.specificity().cmp(&b.specificity());
        match a.partial_cmp_specificity(b) {
            Some(Ordering::Equal) | None => {}
            strict => assert_eq!(Some(key), strict, "{a} {b}"),
        }
        assert_eq!(key == Ordering::Equal, a == b, "{a} {b}");
        assert_eq!(
            key.reverse(),
            b.specificity().cmp(&a.specificity()),
            "{a} {b}"
        );
    });
}

#[test]
fn routes_sort_the_same_from_whatever_order() {
    let mut sorted = patterns();
    sorted.sort_by_key(SubjectPattern::specificity);
    let mut reversed = patterns();
    reversed.reverse();
    reversed.sort_by_key(SubjectPattern::specificity);
    assert_eq!(sorted, reversed);
    // Transitive: in a sorted list each is below all that follow, not only its neighbour.
    for (index, low) in sorted.iter().enumerate() {
        assert!(
            sorted[index + 1..]
                .iter()
                .all(|high| low.specificity() < high.specificity())
        );
    }
}

#[test]
fn short_patterns_of_equal_sets_have_equal_texts() {
    let mut seen = BTreeSet::new();
    for_each_pair(|(a, a_set), (b, b_set)| {
        if a_set == b_set {
            assert_eq!(a, b);
            seen.insert(a.clone());
        }
    });
    assert_eq!(seen.len(), patterns().len());
}

#[test]
fn the_rest_needs_at_least_one_token() {
    let pattern = |text: &str| SubjectPattern::new(text).unwrap();
    assert!(pattern(">").contains(&pattern("*")));
    assert!(!pattern("*").contains(&pattern(">")));
    assert!(!pattern("*.>").contains(&pattern(">")));
    assert!(!pattern("a.>").intersects(&pattern("a")));
    assert_eq!(
        pattern(">").intersection(&pattern("*.>")),
        Some(pattern("*.>"))
    );
    assert_eq!(
        pattern("a.>").intersection(&pattern("*.*.>")),
        Some(pattern("a.*.>"))
    );
    assert_eq!(
        pattern("a.>").intersection(&pattern("*.*")),
        Some(pattern("a.*"))
    );
}

#[test]
fn specificity_puts_literals_above_wildcards_from_the_left() {
    let routes = [
        "orders.42.paid",
        "orders.42.*",
        "orders.42.>",
        "orders.*",
        "*.42",
        ">",
    ];
    let keys = routes.map(|route| SubjectPattern::new(route).unwrap().specificity());
    assert!(keys.is_sorted_by(|above, below| above > below), "{keys:?}");
}
