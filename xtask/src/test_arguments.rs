//! From the words after `cargo xtask test` to the arguments of `cargo test`.
//!
//! `cargo test` takes one filter, the test programs take several; so filters are moved behind the
//! `--`. Options stay with cargo, and naming a package replaces `--workspace`.

/// Options of `cargo test` whose value is the next word.
const WITH_VALUE: &[&str] = &[
    "-F",
    "-Z",
    "-j",
    "-p",
    "--bench",
    "--bin",
    "--color",
    "--config",
    "--example",
    "--exclude",
    "--features",
    "--jobs",
    "--message-format",
    "--package",
    "--profile",
    "--target",
    "--target-dir",
    "--test",
];

/// The arguments for cargo. All test programs run, also after one of them failed.
pub(crate) fn cargo_test(words: &[String]) -> Vec<String> {
    let (own, mut for_tests) = match words.iter().position(|word| word == "--") {
        Some(dashes) => (&words[..dashes], words[dashes + 1..].to_vec()),
        None => (words, Vec::new()),
    };

    let mut options = Vec::new();
    let mut names_package = false;
    let mut own = own.iter();
    while let Some(word) = own.next() {
        if !word.starts_with('-') {
            for_tests.push(word.clone());
            continue;
        }
        names_package |= word.starts_with("-p") || word.starts_with("--package");
        options.push(word.clone());
        if WITH_VALUE.contains(&word.as_str()) {
            options.extend(own.next().cloned());
        }
    }

    let mut arguments = vec!["test".to_owned(), "--no-fail-fast".to_owned()];
    if !names_package {
        arguments.push("--workspace".to_owned());
    }
    arguments.append(&mut options);
    if !for_tests.is_empty() {
        arguments.push("--".to_owned());
        arguments.append(&mut for_tests);
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::cargo_test;

    fn arguments(line: &str) -> String {
        let words: Vec<String> = line.split_whitespace().map(String::from).collect();
        cargo_test(&words).join(" ")
    }

    #[test]
    fn without_words_everything_is_tested() {
        assert_eq!(arguments(""), "test --no-fail-fast --workspace");
    }

    #[test]
    fn several_filters_reach_the_test_programs() {
        assert_eq!(
            arguments("conflict torn_tail"),
            "test --no-fail-fast --workspace -- conflict torn_tail"
        );
    }

    #[test]
    fn a_named_package_replaces_the_workspace() {
        for option in ["-p cim-store", "--package cim-store", "-pcim-store"] {
            assert_eq!(arguments(option), format!("test --no-fail-fast {option}"));
        }
    }

    #[test]
    fn the_value_of_an_option_is_no_filter() {
        assert_eq!(
            arguments("--test crash -j 1 kill --release"),
            "test --no-fail-fast --workspace --test crash -j 1 --release -- kill"
        );
    }

    #[test]
    fn what_follows_the_dashes_reaches_the_test_programs() {
        assert_eq!(
            arguments("kill -- --nocapture"),
            "test --no-fail-fast --workspace -- --nocapture kill"
        );
    }
}
