//! A window onto a stream of bytes: what was read and not used yet, and where in the stream it
//! stands.
//!
//! The buffer grows only as fast as bytes arrive, so an announced length costs no memory.

use std::io::{self, Read};

/// How many bytes are read at once while sections are small.
const CHUNK: usize = 64 << 10;

pub(super) struct Window<R> {
    read: R,
    buffer: Vec<u8>,
    /// The bytes that were read and not used are `buffer[start..end]`.
    start: usize,
    end: usize,
    /// Where in the stream `buffer[start]` stands.
    position: u64,
}

impl<R: Read> Window<R> {
    pub(super) fn new(read: R) -> Self {
        Self {
            read,
            buffer: vec![0; CHUNK],
            start: 0,
            end: 0,
            position: 0,
        }
    }

    /// Reads until `need` bytes are there, or the stream ends; says whether they are.
    #[inline]
    pub(super) fn fill(&mut self, need: usize) -> io::Result<bool> {
        if self.end - self.start >= need {
            return Ok(true);
        }
        self.read_more(need)
    }

    #[cold]
    fn read_more(&mut self, need: usize) -> io::Result<bool> {
        if self.start + need > self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        while self.end - self.start < need {
            if self.end == self.buffer.len() {
                self.buffer.resize(2 * self.buffer.len(), 0);
            }
            let free = &mut self.buffer[self.end..];
            let room = free.len();
            match self.read.read(free) {
                Ok(0) => return Ok(false),
                // `min`, because a wrong `Read` could say more than it was given room for.
                Ok(read) => self.end += read.min(room),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Skips `count` bytes; says whether the stream had them.
    pub(super) fn skip(&mut self, mut count: u64) -> io::Result<bool> {
        while count > 0 {
            let step = usize::try_from(count).unwrap_or(CHUNK).min(CHUNK);
            if !self.fill(step)? {
                return Ok(false);
            }
            self.advance(step);
            count -= step as u64;
        }
        Ok(true)
    }
}

impl<R> Window<R> {
    /// The bytes that were read and not used.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Where in the stream [`Window::bytes`] starts.
    #[inline]
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Uses the first `count` bytes up, and returns them.
    #[inline]
    pub(super) fn advance(&mut self, count: usize) -> &[u8] {
        let from = self.start;
        self.start = (from + count).min(self.end);
        self.position += (self.start - from) as u64;
        &self.buffer[from..self.start]
    }
}
