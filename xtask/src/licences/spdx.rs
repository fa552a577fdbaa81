//! SPDX licence expressions, as far as crates use them.
//!
//! The grammar is that of the SPDX specification 2.3, annex D: `WITH` binds tighter than `AND`,
//! `AND` tighter than `OR`. Older crates write `/` for `OR`.

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expression {
    /// One licence, with its exception if it has one: `Apache-2.0 WITH LLVM-exception`.
    Licence(String),
    Or(Vec<Expression>),
    And(Vec<Expression>),
}

impl Expression {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let spaced = text
            .replace('(', " ( ")
            .replace(')', " ) ")
            .replace('/', " OR ");
        let mut words = Words {
            words: spaced.split_whitespace().collect(),
            next: 0,
        };
        let expression = words.expression()?;
        match words.take() {
            None => Ok(expression),
            Some(word) => Err(format!("unexpected {word:?}")),
        }
    }

    /// True if the licences that `allowed` accepts are enough to use what bears this expression.
    pub(super) fn is_satisfied(&self, allowed: &dyn Fn(&str) -> bool) -> bool {
        match self {
            Self::Licence(licence) => allowed(licence),
            Self::Or(any) => any.iter().any(|part| part.is_satisfied(allowed)),
            Self::And(all) => all.iter().all(|part| part.is_satisfied(allowed)),
        }
    }
}

struct Words<'a> {
    words: Vec<&'a str>,
    next: usize,
}

impl<'a> Words<'a> {
    fn take(&mut self) -> Option<&'a str> {
        let word = self.words.get(self.next).copied();
        self.next += 1;
        word
    }

    fn take_if(&mut self, wanted: &str) -> bool {
        let is_next = self.words.get(self.next) == Some(&wanted);
        self.next += usize::from(is_next);
        is_next
    }

    fn expression(&mut self) -> Result<Expression, String> {
        let mut parts = vec![self.all_of()?];
        while self.take_if("OR") {
            parts.push(self.all_of()?);
        }
        Ok(single_or(parts, Expression::Or))
    }

    fn all_of(&mut self) -> Result<Expression, String> {
        let mut parts = vec![self.one()?];
        while self.take_if("AND") {
            parts.push(self.one()?);
        }
        Ok(single_or(parts, Expression::And))
    }

    fn one(&mut self) -> Result<Expression, String> {
        if self.take_if("(") {
            let inner = self.expression()?;
            return if self.take_if(")") {
                Ok(inner)
            } else {
                Err("a `)` is missing".to_owned())
            };
        }
        let licence = self.name()?;
        if self.take_if("WITH") {
            let exception = self.name()?;
            return Ok(Expression::Licence(format!("{licence} WITH {exception}")));
        }
        Ok(Expression::Licence(licence.to_owned()))
    }

    fn name(&mut self) -> Result<&'a str, String> {
        let word = self.take().ok_or("it ends where a licence is due")?;
        let is_name = !["AND", "OR", "WITH", "(", ")"].contains(&word);
        if is_name {
            Ok(word)
        } else {
            Err(format!("{word:?} stands where a licence is due"))
        }
    }
}

fn single_or(mut parts: Vec<Expression>, several: fn(Vec<Expression>) -> Expression) -> Expression {
    if parts.len() == 1 {
        parts.remove(0)
    } else {
        several(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn satisfied(text: &str, allowed: &[&str]) -> bool {
        let expression = Expression::parse(text).unwrap();
        expression.is_satisfied(&|licence| allowed.contains(&licence))
    }

    #[test]
    fn one_of_several_is_enough_for_or() {
        assert!(satisfied("GPL-2.0-only OR MIT", &["MIT"]));
        assert!(satisfied("Unlicense/MIT", &["MIT"]));
        assert!(!satisfied("GPL-2.0-only OR AGPL-3.0-only", &["MIT"]));
    }

    #[test]
    fn all_are_needed_for_and() {
        assert!(satisfied("MIT AND BSD-3-Clause", &["MIT", "BSD-3-Clause"]));
        assert!(!satisfied("MIT AND BSD-3-Clause", &["MIT"]));
    }

    #[test]
    fn and_binds_tighter_than_or_and_parentheses_tighter_than_both() {
        assert!(satisfied("MIT OR ISC AND Zlib", &["MIT"]));
        assert!(!satisfied("(MIT OR ISC) AND Zlib", &["MIT"]));
        assert!(satisfied(
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            &["MIT", "Unicode-3.0"]
        ));
    }

    #[test]
    fn a_licence_with_an_exception_is_another_licence() {
        let text = "Apache-2.0 WITH LLVM-exception OR GPL-2.0-only";
        assert!(satisfied(text, &["Apache-2.0 WITH LLVM-exception"]));
        assert!(!satisfied(text, &["Apache-2.0"]));
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for text in [
            "",
            "MIT OR",
            "OR MIT",
            "MIT Apache-2.0",
            "(MIT",
            "MIT)",
            "MIT WITH",
            "()",
        ] {
            assert!(Expression::parse(text).is_err(), "{text:?}");
        }
    }
}
