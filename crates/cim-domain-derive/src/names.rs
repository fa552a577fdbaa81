//! Names of event types: made of Rust names, and checked where they are given.

use syn::{Error, LitStr, Result};

/// As `cim_store::EventType::MAX_BYTES`, which is the one that counts: stores check it again.
const MAX_BYTES: usize = 128;

/// `OrderPlaced` as `order_placed`. A run of capitals is one word: `HTTPCalled` is `http_called`.
/// Digits belong to the word before them.
pub(crate) fn snake_case(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut snake = String::with_capacity(name.len() + 4);
    for (index, letter) in letters.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|index| letters.get(index));
        let after = letters.get(index + 1);
        let begins_a_word = letter.is_uppercase()
            && match before {
                None | Some('_') => false,
                Some(before) if before.is_uppercase() => after.is_some_and(|c| c.is_lowercase()),
                Some(_) => true,
            };
        if begins_a_word {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

/// The type of the event that ends an aggregate's life. As `cim_domain::persistence`, which writes
/// it, says it.
const RESERVED: &str = "aggregate_deleted";

/// Checks a part of a name that stands in an attribute.
pub(crate) fn check_given(given: &LitStr) -> Result<String> {
    let name = given.value();
    let wrong = match () {
        () if name.is_empty() => "it is empty".to_owned(),
        () if name.chars().any(char::is_control) => "it has a control character".to_owned(),
        () if name.len() > MAX_BYTES => {
            format!(
                "it has {} bytes, at most {MAX_BYTES} are possible",
                name.len()
            )
        }
        () => return Ok(name),
    };
    Err(Error::new(
        given.span(),
        format!("this can't be the name of an event type: {wrong}"),
    ))
}

/// Checks a whole name, at the place where its last part comes from.
pub(crate) fn check_whole(name: &str, place: proc_macro2::Span) -> Result<()> {
    if name == RESERVED {
        return Err(Error::new(
            place,
            format!(
                "`{RESERVED}` is the event that repositories store when an aggregate is deleted; \
                 choose another name"
            ),
        ));
    }
    if name.len() <= MAX_BYTES {
        return Ok(());
    }
    Err(Error::new(
        place,
        format!(
            "the event type `{name}` has {} bytes, at most {MAX_BYTES} are possible; give it a \
             shorter one with #[event(name = \"…\")]",
            name.len()
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_rust_name_are_joined_by_underscores() {
        for (rust, event) in [
            ("OrderPlaced", "order_placed"),
            ("Placed", "placed"),
            ("HTTPRequestSent", "http_request_sent"),
            ("SentViaHTTP", "sent_via_http"),
            ("V2Created", "v2_created"),
            ("Item3Removed", "item3_removed"),
            ("A", "a"),
            ("ABTested", "ab_tested"),
            ("already_snake", "already_snake"),
            ("Mixed_Case", "mixed_case"),
            ("ÄnderungGebucht", "änderung_gebucht"),
        ] {
            assert_eq!(snake_case(rust), event);
        }
    }

    #[test]
    fn names_that_no_store_takes_are_refused() {
        let literal = |text: &str| LitStr::new(text, proc_macro2::Span::call_site());
        for text in ["", "a\nb", &"x".repeat(129)] {
            assert!(check_given(&literal(text)).is_err(), "{text:?}");
        }
        assert_eq!(
            check_given(&literal("order_placed")).unwrap(),
            "order_placed"
        );
    }
}
