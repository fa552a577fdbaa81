//! The difference of two values, line by line of their `Debug` text.

use std::fmt;

/// All lines of both: those of `expected` alone after `-`, those of `actual` alone after `+`.
pub(super) fn of(expected: &impl fmt::Debug, actual: &impl fmt::Debug) -> String {
    let (expected, actual) = (format!("{expected:#?}"), format!("{actual:#?}"));
    let expected: Vec<&str> = expected.lines().collect();
    let actual: Vec<&str> = actual.lines().collect();
    lines(&expected, &actual)
}

/// By the longest common subsequence of lines: a table of expected × actual lines is enough for
/// what a test states.
pub(crate) fn lines(expected: &[&str], actual: &[&str]) -> String {
    // common[i][j]: how many lines the rests from i and from j have in common at most.
    let mut common = vec![vec![0_u32; actual.len() + 1]; expected.len() + 1];
    for i in (0..expected.len()).rev() {
        for j in (0..actual.len()).rev() {
            common[i][j] = if expected[i] == actual[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let mut text = String::new();
    let (mut i, mut j) = (0, 0);
    while i < expected.len() || j < actual.len() {
        let (sign, line) = match (expected.get(i), actual.get(j)) {
            (Some(left), Some(right)) if left == right => {
                (i, j) = (i + 1, j + 1);
                (' ', left)
            }
            (Some(left), right) if right.is_none() || common[i + 1][j] >= common[i][j + 1] => {
                i += 1;
                ('-', left)
            }
            (_, Some(right)) => {
                j += 1;
                ('+', right)
            }
            // The loop ends before both are used up.
            (_, None) => break,
        };
        text.push(sign);
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_lines_that_differ_are_marked() {
        assert_eq!(
            of(&vec![1, 2, 3], &vec![1, 4, 3, 5]),
            " [\n     1,\n-    2,\n+    4,\n     3,\n+    5,\n ]\n"
        );
    }

    proptest! {
        #[test]
        fn each_side_can_be_read_off_the_difference(
            expected in prop::collection::vec("[ab]", 0..12),
            actual in prop::collection::vec("[ab]", 0..12),
        ) {
            let left: Vec<&str> = expected.iter().map(String::as_str).collect();
            let right: Vec<&str> = actual.iter().map(String::as_str).collect();
            let text = lines(&left, &right);
            let side = |other: char| -> Vec<&str> {
                text.lines().filter(|line| !line.starts_with(other)).map(|line| &line[1..]).collect()
            };
            prop_assert_eq!(side('+'), left);
            prop_assert_eq!(side('-'), right);
        }
    }
}
