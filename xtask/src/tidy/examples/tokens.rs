//! Rust text as words, signs, literals and lines of documentation.
//!
//! It is as much of the language's lexical grammar as the rule of examples needs: a name in a
//! string or a comment must not pass for code, nor a brace in one for the end of an item. Lifetimes
//! and comments are left out.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A keyword or a name.
    Word(&'a str),
    /// One character of punctuation.
    Sign(char),
    /// A number, a character or a string, as it is written.
    Literal(&'a str),
    /// What follows `///` or `//!` on its line.
    Documentation(&'a str),
}

/// A token and the line it begins on, counted from 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed<'a> {
    pub(super) token: Token<'a>,
    pub(super) line: usize,
}

pub(super) fn tokens(text: &str) -> Vec<Placed<'_>> {
    let mut reader = Reader {
        rest: text,
        line: 1,
    };
    let mut tokens = Vec::new();
    while let Some(first) = reader.rest.chars().next() {
        let line = reader.line;
        if let Some(token) = reader.next_token(first) {
            tokens.push(Placed { token, line });
        }
    }
    tokens
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Reader<'a> {
    /// Consumes at least `first`, the next character.
    fn next_token(&mut self, first: char) -> Option<Token<'a>> {
        if first.is_whitespace() {
            self.take(first.len_utf8());
            return None;
        }
        if self.rest.starts_with("//") {
            let comment = self.take(self.rest.find('\n').unwrap_or(self.rest.len()));
            let is_ruler = comment.starts_with("////");
            return comment
                .strip_prefix("///")
                .or_else(|| comment.strip_prefix("//!"))
                .filter(|_| !is_ruler)
                .map(Token::Documentation);
        }
        if self.rest.starts_with("/*") {
            self.take(length_of_comment(self.rest));
            return None;
        }
        if let Some(length) = length_of_string(self.rest) {
            return Some(Token::Literal(self.take(length)));
        }
        if first == '\'' {
            return self.character_or_lifetime();
        }
        if first.is_ascii_digit() {
            return Some(Token::Literal(self.take(length_of_word(self.rest))));
        }
        if is_in_word(first) {
            return Some(Token::Word(self.take(length_of_word(self.rest))));
        }
        self.take(first.len_utf8());
        Some(Token::Sign(first))
    }

    /// `'x'` and `'\''` are characters, `'x` without a second quote is a lifetime.
    fn character_or_lifetime(&mut self) -> Option<Token<'a>> {
        let mut characters = self.rest.char_indices().skip(1);
        let quote = match characters.next() {
            // The character after the backslash may be a quote itself.
            Some((_, '\\')) => characters.skip(1).find(|(_, c)| *c == '\''),
            _ => characters.next().filter(|(_, c)| *c == '\''),
        };
        if let Some((at, _)) = quote {
            return Some(Token::Literal(self.take(at + 1)));
        }
        self.take(1);
        self.take(length_of_word(self.rest));
        None
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }
}

fn is_in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn length_of_word(text: &str) -> usize {
    text.find(|c| !is_in_word(c)).unwrap_or(text.len())
}

/// The length of the string that `text` begins with, if it begins with one, of any kind.
fn length_of_string(text: &str) -> Option<usize> {
    let (prefix, rest) = text.split_at(length_of_word(text));
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    if !rest[hashes..].starts_with('"') {
        return None;
    }
    let after = prefix.len() + hashes + 1;
    if matches!(prefix, "r" | "br" | "cr") {
        let end = format!("\"{}", "#".repeat(hashes));
        let content = text[after..].find(&end);
        return Some(content.map_or(text.len(), |content| after + content + end.len()));
    }
    if hashes > 0 || !matches!(prefix, "" | "b" | "c") {
        return None;
    }
    let mut escaped = false;
    for (at, c) in text[after..].char_indices() {
        match c {
            '"' if !escaped => return Some(after + at + 1),
            c => escaped = c == '\\' && !escaped,
        }
    }
    Some(text.len())
}

/// The length of the block comment that `text` begins with; comments nest.
fn length_of_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(found) = text[at..].find(['/', '*']) {
        at += found;
        let open = text[at..].starts_with("/*");
        let close = text[at..].starts_with("*/");
        depth = depth + usize::from(open) - usize::from(close);
        at += if open || close { 2 } else { 1 };
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words and signs with a space between them; `""` for a literal, `///` for documentation.
    fn shown(text: &str) -> String {
        let show = |placed: &Placed<'_>| match placed.token {
            Token::Word(word) => word.to_owned(),
            Token::Sign(sign) => sign.to_string(),
            Token::Literal(_) => "\"\"".to_owned(),
            Token::Documentation(line) => format!("///{line}"),
        };
        tokens(text).iter().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn code_is_words_and_signs() {
        assert_eq!(shown("a::b(c_1)"), "a : : b ( c_1 )");
    }

    #[test]
    fn strings_of_every_kind_are_one_token() {
        for text in [
            r#""a { \" } b""#,
            r#"b"a""#,
            r##"r"a \""##,
            r###"r#"a " b"#"###,
            r###"br#"a"#"###,
            "\"two\nlines\"",
            r#""\\""#,
        ] {
            assert_eq!(shown(&format!("f({text}, x)")), "f ( \"\" , x )", "{text}");
        }
    }

    #[test]
    fn characters_are_literals_and_lifetimes_are_nothing() {
        assert_eq!(
            shown("['{', '\\'', 'ä', b'}', '\\u{7d}']")
                .matches("\"\"")
                .count(),
            5
        );
        assert_eq!(shown("fn f<'a>(a: &'a str)"), "fn f < > ( a : & str )");
        assert_eq!(shown("'{'"), "\"\"");
    }

    #[test]
    fn numbers_are_literals() {
        assert_eq!(shown("1_000u64 + 0x1f"), "\"\" + \"\"");
    }

    #[test]
    fn comments_are_left_out_and_documentation_is_kept() {
        assert_eq!(shown("a // b\n/* c /* d */ e */ f"), "a f");
        assert_eq!(
            shown("/// One.\n//! Two.\n//// Ruler.\n// No."),
            "/// One. /// Two."
        );
    }

    #[test]
    fn a_token_knows_the_line_it_begins_on() {
        let found = tokens("a\n\"b\nc\" d\n/*\n*/ e");
        let lines: Vec<usize> = found.iter().map(|placed| placed.line).collect();
        assert_eq!(lines, [1, 2, 3, 5]);
    }

    #[test]
    fn text_that_ends_too_early_is_read_to_its_end() {
        for text in ["\"a", "r#\"a", "/* a", "'", "'\\", "b"] {
            let _ = tokens(text);
        }
        assert_eq!(shown("\"a { b"), "\"\"");
    }
}
