//! Which texts are host names.

use cim_demo_inventory::host_name::{HostName, HostNameFault as Fault};
use proptest::prelude::*;

fn fault(name: &str) -> Fault {
    HostName::new(name).unwrap_err().fault
}

#[test]
fn letters_digits_and_hyphens_in_labels_make_a_host_name() {
    for name in [
        "a",
        "web-1",
        "3com.com",
        "1.2.3.4a",
        "xn--bcher-kva.example",
        "a.b.c.d.e.f",
    ] {
        assert_eq!(HostName::new(name).unwrap().as_str(), name);
    }
}

#[test]
fn names_that_differ_in_case_are_the_same() {
    assert_eq!(
        HostName::new("WEB.Example.Org"),
        HostName::new("web.example.org")
    );
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (name, expected) in [
        ("", Fault::Empty),
        (".", Fault::EmptyLabel { at: 0 }),
        ("a..b", Fault::EmptyLabel { at: 2 }),
        ("a.b.", Fault::EmptyLabel { at: 4 }),
        ("web_1", Fault::Character { found: '_', at: 3 }),
        ("büro", Fault::Character { found: 'ü', at: 1 }),
        ("a b", Fault::Character { found: ' ', at: 1 }),
        ("-a.b", Fault::Hyphen { at: 0 }),
        ("a.b-", Fault::Hyphen { at: 2 }),
        ("10.0.0.1", Fault::LooksLikeAddress),
        ("42", Fault::LooksLikeAddress),
    ] {
        assert_eq!(fault(name), expected, "{name}");
    }
}

#[test]
fn labels_have_63_bytes_and_names_253_at_most() {
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    assert_eq!(longest.len(), 253);
    assert!(HostName::new(&longest).is_ok());
    assert_eq!(fault(&format!("{longest}a")), Fault::TooLong { bytes: 254 });
    assert_eq!(
        fault(&format!("b.{label}a")),
        Fault::LabelTooLong { at: 2, bytes: 64 }
    );
}

#[test]
fn a_stored_text_that_is_no_host_name_is_refused_on_the_way_in() {
    let error = serde_json::from_str::<HostName>(r#""a..b""#).unwrap_err();
    assert!(
        error.to_string().contains("the label at byte 2 is empty"),
        "{error}"
    );
}

proptest! {
    #[test]
    fn any_text_is_a_host_name_by_the_grammar_or_refused(text in "[a-zA-Z0-9.-]{0,24}|.{0,12}") {
        let is_label = |label: &str| {
            let bytes = label.as_bytes();
            let alphanumeric = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
            (1..=63).contains(&bytes.len())
                && alphanumeric(bytes.first())
                && alphanumeric(bytes.last())
                && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
        };
        let last = text.rsplit('.').next().unwrap();
        let expected = text.split('.').all(is_label) && last.parse::<u64>().is_err()
            && !last.bytes().all(|byte| byte.is_ascii_digit());
        prop_assert_eq!(HostName::new(&text).is_ok(), expected);
    }
}
