//! Reads shapes and lock files from text.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde_json::Value;

use super::lock_file::{LockFile, TITLE, Versions};
use super::{Field, Persisted, Scalar, Shape};

/// How deep a shape may be nested: far deeper than any that is stored, and no danger to the stack.
const MOST_DEPTH: usize = 128;
/// How many elements a list of fixed length may have.
const MOST_ELEMENTS: usize = 4096;
/// How many parts a shape may have when its lists of fixed length are written out: lists of lists
/// make a few bytes many, and no traced shape has as many.
const MOST_PARTS: usize = 65_536;

/// A text that is no lock file, or no shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
#[non_exhaustive]
pub struct LockFileError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

impl FromStr for Shape {
    type Err = LockFileError;

    fn from_str(text: &str) -> Result<Self, LockFileError> {
        let mut reader = Reader::new(text, 1)?;
        let shape = reader.shape(0)?;
        match reader.peek() {
            None => Ok(shape),
            Some(_) => Err(reader.unexpected("the end")),
        }
    }
}

impl LockFile {
    /// Reads the file's text.
    ///
    /// # Errors
    /// The first line that is not as it should be: another title or version, a shape that can't be
    /// understood, the same entry or version twice.
    pub fn parse(text: &str) -> Result<Self, LockFileError> {
        let mut lines = text.split_inclusive('\n');
        let title = lines.next().unwrap_or_default();
        if title.trim_end() != TITLE {
            return Err(LockFileError {
                line: 1,
                message: match title.strip_prefix("cim-schemas ") {
                    Some(version) => format!(
                        "version {} of the format is not known here; a newer cim wrote it",
                        version.trim_end()
                    ),
                    None => format!("the first line is not `{TITLE}`"),
                },
            });
        }
        let comments = lines.take_while(|line| line.starts_with('#')).count();
        let skipped = 1 + comments;
        let rest: String = text.split_inclusive('\n').skip(skipped).collect();
        let mut reader = Reader::new(&rest, skipped + 1)?;
        let mut file = Self::default();
        while reader.peek().is_some() {
            reader.entry(&mut file)?;
        }
        Ok(file)
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Quoted(String),
    Mark(char),
}

struct Reader {
    tokens: Vec<(usize, Token)>,
    next: usize,
    last_line: usize,
    /// The parts of the shape that is being read.
    parts: usize,
}

impl Reader {
    fn new(text: &str, first_line: usize) -> Result<Self, LockFileError> {
        let mut tokens = Vec::new();
        let mut line = first_line;
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let taken = match first {
                '\n' => {
                    line += 1;
                    1
                }
                white if white.is_whitespace() => white.len_utf8(),
                '"' => {
                    let (quoted, bytes) = quoted(rest, line)?;
                    tokens.push((line, Token::Quoted(quoted)));
                    bytes
                }
                '{' | '}' | '[' | ']' | '(' | ')' | ',' | ';' | ':' | '?' | '=' | '&' | '*' => {
                    tokens.push((line, Token::Mark(first)));
                    1
                }
                _ => {
                    let is_part =
                        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+');
                    let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
                    if end == 0 {
                        let message = format!("{first:?} means nothing here");
                        return Err(LockFileError { line, message });
                    }
                    let word = rest.get(..end).unwrap_or_default().to_owned();
                    tokens.push((line, Token::Word(word)));
                    end
                }
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
        Ok(Self {
            tokens,
            next: 0,
            last_line: line,
            parts: 0,
        })
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn line(&self) -> usize {
        let next = self.tokens.get(self.next);
        next.map_or(self.last_line, |(line, _)| *line)
    }

    fn take(&mut self) -> Option<Token> {
        let token = self.peek().cloned();
        self.next += 1;
        token
    }

    fn error(&self, message: impl Into<String>) -> LockFileError {
        LockFileError {
            line: self.line(),
            message: message.into(),
        }
    }

    fn unexpected(&self, wanted: &str) -> LockFileError {
        let found = match self.peek() {
            None => "the file ends".to_owned(),
            Some(Token::Word(word)) => format!("`{word}` stands"),
            Some(Token::Quoted(text)) => format!("{} stands", Value::from(text.as_str())),
            Some(Token::Mark(mark)) => format!("`{mark}` stands"),
        };
        self.error(format!("{found} where {wanted} is expected"))
    }

    fn take_mark(&mut self, mark: char) -> bool {
        let found = self.peek() == Some(&Token::Mark(mark));
        self.next += usize::from(found);
        found
    }

    fn expect_mark(&mut self, mark: char) -> Result<(), LockFileError> {
        match self.take_mark(mark) {
            true => Ok(()),
            false => Err(self.unexpected(&format!("`{mark}`"))),
        }
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(found)) if found == word);
        self.next += usize::from(found);
        found
    }

    fn name(&mut self) -> Result<String, LockFileError> {
        match self.peek().cloned() {
            Some(Token::Word(name) | Token::Quoted(name)) => {
                self.next += 1;
                Ok(name)
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    fn number<T: FromStr>(&mut self, what: &str) -> Result<T, LockFileError> {
        if let Some(Token::Word(word)) = self.peek()
            && let Ok(number) = word.parse()
        {
            self.next += 1;
            return Ok(number);
        }
        Err(self.unexpected(what))
    }

    fn entry(&mut self, file: &mut LockFile) -> Result<(), LockFileError> {
        let at = self.line();
        let what = if self.take_word("event") {
            let event_type = self.name()?;
            let aggregate = match self.take_word("of") {
                true => Some(self.name()?),
                false => None,
            };
            Persisted::Event {
                aggregate,
                event_type,
            }
        } else if self.take_word("snapshot") {
            Persisted::Snapshot {
                aggregate: self.name()?,
            }
        } else {
            return Err(self.unexpected("`event` or `snapshot`"));
        };
        let mut versions = Versions::new();
        while self.take_word("version") {
            let at = self.line();
            let version: u32 = self.number("a version from 1")?;
            let mut shapes = vec![self.shape(0)?];
            while self.take_word("also") {
                shapes.push(self.shape(0)?);
            }
            if version == 0 || versions.insert(version, shapes).is_some() {
                let message = match version {
                    0 => "versions are counted from 1".to_owned(),
                    _ => format!("version {version} of {what} stands there twice"),
                };
                return Err(LockFileError { line: at, message });
            }
        }
        if versions.is_empty() {
            return Err(self.unexpected("`version`"));
        }
        let twice = format!("{what} stands there twice");
        match file.insert(what, versions) {
            true => Ok(()),
            false => Err(LockFileError {
                line: at,
                message: twice,
            }),
        }
    }

    fn count_parts(&mut self, more: usize) -> Result<(), LockFileError> {
        self.parts = self.parts.saturating_add(more);
        match self.parts > MOST_PARTS {
            true => Err(self.error(format!("the shape has more than {MOST_PARTS} parts"))),
            false => Ok(()),
        }
    }

    fn shape(&mut self, depth: usize) -> Result<Shape, LockFileError> {
        if depth > MOST_DEPTH {
            return Err(self.error(format!("the shape is nested deeper than {MOST_DEPTH}")));
        }
        if depth == 0 {
            self.parts = 0;
        }
        self.count_parts(1)?;
        let before = self.parts;
        let inner = depth + 1;
        if self.take_mark('{') {
            return self.object(inner);
        }
        if self.take_mark('[') {
            let element = self.shape(inner)?;
            if !self.take_mark(';') {
                self.expect_mark(']')?;
                return Ok(Shape::List(Box::new(element)));
            }
            let count: usize = self.number("a number of elements")?;
            if count > MOST_ELEMENTS {
                return Err(self.error(format!("a list has at most {MOST_ELEMENTS} elements")));
            }
            self.expect_mark(']')?;
            let parts_of_one = self.parts - before;
            self.count_parts(parts_of_one.saturating_mul(count.saturating_sub(1)))?;
            return Ok(Shape::Tuple(vec![element; count]));
        }
        if self.take_mark('(') {
            let mut parts = Vec::new();
            while !self.take_mark(')') {
                if !parts.is_empty() {
                    self.expect_mark(',')?;
                }
                parts.push(self.shape(inner)?);
            }
            return Ok(Shape::Tuple(parts));
        }
        if self.take_mark('&') {
            let number = self.number("a label's number")?;
            return Ok(Shape::Label(number, Box::new(self.shape(inner)?)));
        }
        if self.take_mark('*') {
            return Ok(Shape::Again(self.number("a label's number")?));
        }
        let Some(Token::Word(word)) = self.peek().cloned() else {
            return Err(self.unexpected("a shape"));
        };
        if let Some(kind) = Scalar::ALL.iter().find(|kind| kind.as_str() == word) {
            self.next += 1;
            let example = match self.take_mark('=') {
                true => Some(self.example()?),
                false => None,
            };
            return Ok(Shape::Scalar(*kind, example));
        }
        self.next += 1;
        Ok(match word.as_str() {
            "any" => Shape::Any,
            "null" => Shape::Null,
            "option" => Shape::Option(Box::new(self.shape(inner)?)),
            "sampled" => Shape::Sampled(Box::new(self.shape(inner)?)),
            "map" => {
                let key = Box::new(self.shape(inner)?);
                if !self.take_word("to") {
                    return Err(self.unexpected("`to`"));
                }
                Shape::Map(key, Box::new(self.shape(inner)?))
            }
            "enum" => {
                self.expect_mark('{')?;
                self.variants(inner)?
            }
            "either" => {
                self.expect_mark('{')?;
                let mut parts = Vec::new();
                while !self.take_mark('}') {
                    parts.push(self.shape(inner)?);
                }
                Shape::Either(parts)
            }
            _ => {
                self.next -= 1;
                return Err(self.unexpected("a shape"));
            }
        })
    }

    fn object(&mut self, depth: usize) -> Result<Shape, LockFileError> {
        let mut fields = BTreeMap::new();
        while !self.take_mark('}') {
            let name = self.name()?;
            let required = !self.take_mark('?');
            self.expect_mark(':')?;
            let shape = self.shape(depth)?;
            if fields.contains_key(&name) {
                return Err(self.error(format!("the field `{name}` stands there twice")));
            }
            fields.insert(name, Field { required, shape });
        }
        Ok(Shape::Object(fields))
    }

    fn variants(&mut self, depth: usize) -> Result<Shape, LockFileError> {
        let mut variants = BTreeMap::new();
        while !self.take_mark('}') {
            let name = self.name()?;
            let held = match self.take_mark(':') {
                true => Some(self.shape(depth)?),
                false => None,
            };
            if variants.contains_key(&name) {
                return Err(self.error(format!("the variant `{name}` stands there twice")));
            }
            variants.insert(name, held);
        }
        Ok(Shape::Enum(variants))
    }

    fn example(&mut self) -> Result<Value, LockFileError> {
        let example = match self.peek() {
            Some(Token::Quoted(text)) => Some(Value::from(text.as_str())),
            Some(Token::Word(word)) => serde_json::from_str(word).ok(),
            _ => None,
        };
        match example {
            Some(example) => {
                self.take();
                Ok(example)
            }
            None => Err(self.unexpected("an example, as JSON")),
        }
    }
}

/// The JSON text that `rest` begins with, and how many bytes it has.
fn quoted(rest: &str, line: usize) -> Result<(String, usize), LockFileError> {
    let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<String>();
    match stream.next() {
        Some(Ok(text)) => Ok((text, stream.byte_offset())),
        _ => Err(LockFileError {
            line,
            message: "a text in quotes does not end, or is no JSON text".to_owned(),
        }),
    }
}
