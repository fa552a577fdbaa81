//! Schemes: rendering and parsing are inverse, and whatever does not fit is named.

use std::error::Error as _;

use cim_subject::{SchemeError, Subject, SubjectError, SubjectScheme, TokenError, encode_token};
use proptest::prelude::*;

fn template_error(template: &str) -> SchemeError {
    SubjectScheme::from_template(template).unwrap_err()
}

const ORDER: [(&str, &str); 5] = [
    ("context", "sales"),
    ("aggregate", "order"),
    ("id", "42"),
    ("event", "order_placed"),
    ("version", "1"),
];

#[test]
fn a_template_without_fields_is_one_subject() {
    let scheme = SubjectScheme::from_template("cim.health").unwrap();
    assert_eq!(scheme.fields().len(), 0);
    let subject = scheme.render(&[]).unwrap();
    assert_eq!(subject, "cim.health");
    assert_eq!(scheme.parse(&subject).unwrap().iter().len(), 0);
    assert!(scheme.pattern_all().is_literal());
}

#[test]
fn a_template_follows_the_grammar_of_subjects() {
    for template in [
        "",
        "cim.",
        "cim..{id}",
        "cim.*.{id}",
        "cim.>",
        "cim.é",
        "cim. {id}",
    ] {
        let error = template_error(template);
        let SchemeError::Template { source, .. } = &error else {
            panic!("{template:?}: {error}")
        };
        assert_eq!(Subject::new(template), Err(source.clone()));
    }
}

#[test]
fn a_template_has_at_most_255_bytes() {
    let template = format!("{}.{{id}}", "a".repeat(250));
    assert_eq!(template.len(), 255);
    assert!(SubjectScheme::from_template(&template).is_ok());
    let error = template_error(&format!("a{template}"));
    let SchemeError::Template {
        source: SubjectError::TooLong { length: 256, .. },
        ..
    } = error
    else {
        panic!("{error}")
    };
}

#[test]
fn a_field_is_a_whole_token_in_braces() {
    for token in [
        "{", "}", "{}", "{id", "id}", "v{id}", "{id}v", "{{id}}", "{Id}", "{1d}", "{i-d}", "{_}",
    ] {
        let template = format!("cim.{token}.x");
        let expected = SchemeError::FieldSyntax {
            template: template.clone(),
            token: token.to_owned(),
            position: 4,
        };
        assert_eq!(template_error(&template), expected);
    }
}

#[test]
fn a_template_names_each_field_once() {
    let expected = SchemeError::DuplicateField {
        template: "{id}.x.{id}".into(),
        field: "id".into(),
        position: 7,
    };
    assert_eq!(template_error("{id}.x.{id}"), expected);
}

#[test]
fn values_may_come_in_any_order() {
    let scheme = SubjectScheme::events();
    let mut values = ORDER;
    let expected = scheme.render(&values).unwrap();
    values.reverse();
    assert_eq!(scheme.render(&values).unwrap(), expected);
    values.swap(1, 3);
    assert_eq!(scheme.render(&values).unwrap(), expected);
}

#[test]
fn a_missing_value_is_named() {
    let scheme = SubjectScheme::events();
    for (missing, _) in ORDER {
        let values: Vec<_> = ORDER
            .into_iter()
            .filter(|(field, _)| *field != missing)
            .collect();
        let expected = SchemeError::MissingField {
            template: scheme.template().into(),
            field: missing.into(),
        };
        assert_eq!(scheme.render(&values), Err(expected));
    }
}

#[test]
fn an_unknown_field_is_named() {
    let scheme = SubjectScheme::events();
    let mut values = ORDER.to_vec();
    values.push(("colour", "red"));
    let expected = SchemeError::UnknownField {
        template: scheme.template().into(),
        field: "colour".into(),
    };
    assert_eq!(scheme.render(&values), Err(expected.clone()));
    assert_eq!(scheme.pattern(&values), Err(expected));
}

#[test]
fn a_value_given_twice_is_named() {
    let scheme = SubjectScheme::events();
    let mut values = ORDER.to_vec();
    values[4] = ("id", "42");
    let expected = SchemeError::RepeatedField {
        template: scheme.template().into(),
        field: "id".into(),
    };
    assert_eq!(scheme.render(&values), Err(expected.clone()));
    assert_eq!(scheme.pattern(&values), Err(expected));
}

#[test]
fn an_empty_value_is_refused_with_its_field() {
    let scheme = SubjectScheme::events();
    let mut values = ORDER;
    values[2].1 = "";
    let expected = SchemeError::Value {
        template: scheme.template().into(),
        field: "id".into(),
        source: TokenError::Empty,
    };
    assert_eq!(scheme.render(&values), Err(expected.clone()));
    assert_eq!(scheme.pattern(&values), Err(expected));
}

#[test]
fn a_subject_beyond_the_limit_is_refused_and_leaves_the_buffer_empty() {
    let scheme = SubjectScheme::from_template("a.{id}").unwrap();
    let fits = "x".repeat(253);
    assert_eq!(scheme.render(&[("id", &fits)]).unwrap().as_str().len(), 255);
    let mut buffer = "before".to_owned();
    let error = scheme
        .render_into(&[("id", &format!("x{fits}"))], &mut buffer)
        .unwrap_err();
    assert!(matches!(
        &error,
        SchemeError::Rendered {
            source: SubjectError::TooLong { length: 256, .. },
            ..
        }
    ));
    assert_eq!(buffer, "");
    assert!(scheme.pattern(&[("id", &format!("x{fits}"))]).is_err());
}

#[test]
fn an_error_leaves_the_buffer_empty_whatever_it_is() {
    let scheme = SubjectScheme::snapshots();
    for values in [
        &[("aggregate", "order")][..],
        &[("colour", "red")],
        &[("aggregate", "order"), ("id", ""), ("version", "1")],
    ] {
        let mut buffer = "before".to_owned();
        assert!(scheme.render_into(values, &mut buffer).is_err());
        assert_eq!(buffer, "");
    }
}

#[test]
fn a_subject_of_another_length_is_of_another_scheme() {
    let scheme = SubjectScheme::snapshots();
    for (text, count) in [
        ("cim.snapshots.order.42", 4),
        ("cim.snapshots.order.42.1.x", 6),
    ] {
        let expected = SchemeError::TokenCount {
            template: scheme.template().into(),
            subject: text.into(),
            expected: 5,
            actual: count,
        };
        assert_eq!(scheme.parse(&Subject::new(text).unwrap()), Err(expected));
    }
}

#[test]
fn a_subject_with_another_fixed_token_is_of_another_scheme() {
    let scheme = SubjectScheme::aggregates();
    let text = "cim.aggregates.sales.order.42.status.1";
    let expected = SchemeError::TokenMismatch {
        template: scheme.template().into(),
        subject: text.into(),
        position: 30,
        expected: "state".into(),
        actual: "status".into(),
    };
    assert_eq!(scheme.parse(&Subject::new(text).unwrap()), Err(expected));
}

#[test]
fn a_value_that_is_not_canonically_spelled_is_refused_with_its_place() {
    let scheme = SubjectScheme::snapshots();
    let text = "cim.snapshots.order.=61.1";
    let error = scheme.parse(&Subject::new(text).unwrap()).unwrap_err();
    let source = TokenError::NeedlessEscape {
        token: "=61".into(),
        character: 'a',
        position: 0,
    };
    assert_eq!(
        error.source().map(ToString::to_string),
        Some(source.to_string())
    );
    let expected = SchemeError::Token {
        template: scheme.template().into(),
        subject: text.into(),
        field: "id".into(),
        position: 20,
        source,
    };
    assert_eq!(error, expected);
}

#[test]
fn a_message_does_not_repeat_its_source() {
    let scheme = SubjectScheme::snapshots();
    let errors = [
        template_error("cim..{id}"),
        scheme
            .render(&[("aggregate", "a"), ("id", ""), ("version", "1")])
            .unwrap_err(),
        scheme.pattern(&[("id", &"x".repeat(300))]).unwrap_err(),
        scheme
            .parse(&Subject::new("cim.snapshots.order.=61.1").unwrap())
            .unwrap_err(),
    ];
    for error in errors {
        let source = error.source().unwrap().to_string();
        assert!(!error.to_string().contains(&source), "{error}: {source}");
    }
}

#[test]
fn a_pattern_of_values_is_as_long_as_the_scheme() {
    let scheme = SubjectScheme::events();
    for (values, expected) in [
        (&[][..], "cim.events.*.*.*.*.*"),
        (&[("context", "sales")], "cim.events.sales.*.*.*.*"),
        (&[("version", "1"), ("id", "*")], "cim.events.*.*.=2A.*.1"),
    ] {
        assert_eq!(scheme.pattern(values).unwrap(), expected);
    }
    assert_eq!(
        scheme.pattern(&ORDER).unwrap(),
        *scheme.render(&ORDER).unwrap().as_str()
    );
}

/// A template of fixed tokens and fields, with a value for each field.
fn template_and_values() -> impl Strategy<Value = (String, Vec<(String, String)>)> {
    let value = prop_oneof![
        any::<String>(),
        "[a-z0-9]{1,6}",
        "[.*>= ]{1,3}",
        "\\PC{1,4}"
    ]
    .prop_filter("empty", |value| !value.is_empty());
    proptest::collection::vec((any::<bool>(), "[!-)+\\-/-=?-z]{1,5}", value), 1..7).prop_map(
        |parts| {
            let mut tokens = Vec::new();
            let mut values = Vec::new();
            for (index, (field, fixed, value)) in parts.into_iter().enumerate() {
                if field {
                    tokens.push(format!("{{f{index}}}"));
                    values.push((format!("f{index}"), value));
                } else {
                    tokens.push(fixed);
                }
            }
            (tokens.join("."), values)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn parsing_gives_back_any_values((template, values) in template_and_values()) {
        let scheme = SubjectScheme::from_template(&template).unwrap();
        prop_assert_eq!(scheme.template(), &template);
        let pairs: Vec<_> = values.iter().map(|(f, v)| (f.as_str(), v.as_str())).collect();
        let length = values.iter().fold(template.len(), |length, (field, value)| {
            length - field.len() - 2 + encode_token(value).unwrap().len()
        });
        match scheme.render(&pairs) {
            Ok(subject) => {
                prop_assert_eq!(subject.as_str().len(), length);
                prop_assert_eq!(Subject::new(subject.as_str()).unwrap(), subject.clone());
                let parsed = scheme.parse(&subject).unwrap();
                prop_assert_eq!(parsed.iter().collect::<Vec<_>>(), pairs.clone());
                for (field, value) in &pairs {
                    prop_assert_eq!(parsed.get(field), Some(*value));
                }
                prop_assert!(scheme.pattern_all().matches(&subject));
            }
            Err(SchemeError::Rendered { source: SubjectError::TooLong { length: named, .. }, .. }) => {
                prop_assert!(named == length && length > Subject::MAX_LEN);
            }
            Err(error) => prop_assert!(false, "{}", error),
        }
    }

    #[test]
    fn rendering_gives_back_any_subject_that_parses(
        text in "(cim|cmi)\\.snapshots(\\.([a-z]{1,3}|=2[0-9A-Ea-e]|=C3=BC|é|=)){2,4}"
    ) {
        let scheme = SubjectScheme::snapshots();
        if let Ok(subject) = Subject::new(&*text)
            && let Ok(values) = scheme.parse(&subject)
        {
            prop_assert_eq!(scheme.render(&values.iter().collect::<Vec<_>>()).unwrap(), subject);
        }
    }

    #[test]
    fn a_pattern_matches_exactly_the_subjects_with_its_values(
        values in proptest::collection::vec("[ab.*]", 5),
        others in proptest::collection::vec("[ab.*]", 5),
        given in proptest::collection::vec(any::<bool>(), 5),
    ) {
        let scheme = SubjectScheme::events();
        let values: Vec<_> = scheme.fields().zip(values.iter().map(String::as_str)).collect();
        let others: Vec<_> = scheme.fields().zip(others.iter().map(String::as_str)).collect();
        let chosen: Vec<_> =
            values.iter().zip(given).filter(|(_, given)| *given).map(|(pair, _)| *pair).collect();
        let pattern = scheme.pattern(&chosen).unwrap();
        let subject = scheme.render(&others).unwrap();
        let same = chosen.iter().all(|pair| others.contains(pair));
        prop_assert_eq!(pattern.matches(&subject), same);
    }
}
