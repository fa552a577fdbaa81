//! What was verified, to be kept by the verifier.
//!
//! Written as text, so that it can be read, compared and kept under version control:
//!
//! ```text
//! cim-verified-heads 1
//! first bafyrei…                      the log's first event; `-` where it had none
//! position 967                        everything up to here was verified
//! events 967                          so many events
//! sales.order.7 3 41 bafyrei…         a stream, its version, that event's position and CID
//! …                                   sorted by the streams' names
//! sha256 4ed0…                        of all lines before this one
//! ```

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

use cim_ipld::ChainHead;
use cim_store::{EventCid, Position, StreamId};
use sha2::{Digest, Sha256};

const TITLE: &str = "cim-verified-heads 1";
/// More than the longest line: a name of 255 bytes, a number, a CID.
const MOST_LINE_BYTES: u64 = 512;

/// Where every stream of a log ended when the log was verified.
///
/// Whoever keeps it somewhere else than the store can prove later that the history only grew.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # use cim_domain::persistence::verification::{VerifiedHeads, Verifier};
/// # use cim_domain::store::{Context, EventLogExt, ExpectedVersion, NewEvent, StreamId};
/// # let store = cim_domain::open("memory:").await?;
/// # let (log, ctx) = (store.log(), Context::new());
/// # let order = StreamId::new("sales", "order", "7")?;
/// # let placed = NewEvent::json("order_placed", &12)?;
/// # log.append_to(&ctx, &order, ExpectedVersion::NEW, vec![placed]).await?;
/// let heads = Verifier::new(log.clone()).verify(&ctx, |_| ()).await?.heads;
/// let mut file = Vec::new();
/// heads.write(&mut file)?;
///
/// let kept = VerifiedHeads::read(&file[..])?;
/// assert_eq!((kept.events(), kept.streams()), (1, 1));
/// assert_eq!(kept.position(), log.stats(&ctx).await?.last);
/// // By the first event one log is told from another.
/// assert_eq!(kept.first(), kept.head(&order).map(|head| head.cid));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifiedHeads {
    first: Option<EventCid>,
    position: Position,
    events: u64,
    heads: BTreeMap<StreamId, VerifiedHead>,
}

/// Where one stream ended when it was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedHead {
    /// The version of its last verified event, from 1.
    pub version: u64,
    /// The position of that event.
    pub position: Position,
    /// The CID of that event.
    pub cid: EventCid,
}

impl VerifiedHead {
    /// Its place in the chain.
    pub fn chain(&self) -> ChainHead {
        ChainHead {
            version: self.version,
            cid: self.cid,
        }
    }
}

/// A text that is not what [`VerifiedHeads::write`] wrote.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeadsFileError {
    /// It can't be read.
    #[error("the verified heads can't be read")]
    Read(#[source] io::Error),
    /// A line is not what it should be.
    #[error("line {line} of the verified heads is not {expected}")]
    Line {
        /// Its number, from 1.
        line: u64,
        /// What it should be.
        expected: &'static str,
    },
    /// It is something else altogether.
    #[error("the file does not hold verified heads")]
    Other,
    /// The lines are not the ones that the last line was made for.
    #[error("the verified heads were changed or cut: their last line does not fit the others")]
    Digest,
}

impl VerifiedHeads {
    /// The stream's last verified event.
    pub fn head(&self, stream: &StreamId) -> Option<VerifiedHead> {
        self.heads.get(stream).copied()
    }

    /// Everything up to this position was verified; [`Position::NONE`] where only some streams
    /// were.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The CID of the log's first event, by which a log is told from another one.
    pub fn first(&self) -> Option<EventCid> {
        self.first
    }

    /// How many events were verified.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// How many streams they belong to.
    pub fn streams(&self) -> usize {
        self.heads.len()
    }

    /// All streams by name, with their last verified events.
    pub fn iter(&self) -> impl Iterator<Item = (&StreamId, &VerifiedHead)> {
        self.heads.iter()
    }

    pub(super) fn put(&mut self, stream: StreamId, head: VerifiedHead) {
        self.heads.insert(stream, head);
    }

    /// Takes the log for verified up to a position.
    pub(super) fn reach(&mut self, position: Position, events: u64) {
        self.position = position;
        self.events = events;
    }

    /// The log begins with this event.
    pub(super) fn begin(&mut self, first: Option<EventCid>) {
        self.first = first.or(self.first);
    }

    /// Writes it as text.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut digest = Sha256::new();
        let mut line = String::new();
        let mut write = |line: &mut String, out: &mut dyn Write| {
            line.push('\n');
            digest.update(line.as_bytes());
            let written = out.write_all(line.as_bytes());
            line.clear();
            written
        };
        line.push_str(TITLE);
        write(&mut line, out)?;
        line = match &self.first {
            Some(first) => format!("first {first}"),
            None => "first -".to_owned(),
        };
        write(&mut line, out)?;
        line = format!("position {}", self.position);
        write(&mut line, out)?;
        line = format!("events {}", self.events);
        write(&mut line, out)?;
        for (stream, head) in &self.heads {
            line = format!("{stream} {} {} {}", head.version, head.position, head.cid);
            write(&mut line, out)?;
        }
        let digest: String = digest
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        writeln!(out, "sha256 {digest}")
    }

    /// Reads what [`write`](Self::write) wrote.
    ///
    /// # Errors
    /// [`HeadsFileError`]; nothing is taken from a text that is not whole and unchanged.
    pub fn read(input: impl BufRead) -> Result<Self, HeadsFileError> {
        let mut lines = Lines {
            input,
            digest: Sha256::new(),
            number: 0,
            line: Vec::new(),
        };
        let titled = lines.expect(TITLE, |line| (line == TITLE).then_some(()));
        titled.map_err(|error| match error {
            HeadsFileError::Line { .. } => HeadsFileError::Other,
            error => error,
        })?;
        let first = lines.expect("`first` and a CID or `-`", |line| {
            match line.strip_prefix("first ")? {
                "-" => Some(None),
                cid => Some(Some(cid.parse::<EventCid>().ok()?)),
            }
        })?;
        let number = |line: &str, name: &str| line.strip_prefix(name)?.parse::<u64>().ok();
        let position = lines.expect("`position` and a number", |line| number(line, "position "))?;
        let events = lines.expect("`events` and a number", |line| number(line, "events "))?;
        let mut heads = BTreeMap::new();
        loop {
            let before = lines.digest.clone();
            let next = lines.expect(
                "a stream, a version, a position and a CID, or `sha256`",
                |line| {
                    if let Some(digest) = line.strip_prefix("sha256 ") {
                        return Some(Err(digest.to_owned()));
                    }
                    let mut words = line.split(' ');
                    let stream: StreamId = words.next()?.parse().ok()?;
                    let version: u64 = words.next()?.parse().ok()?;
                    let position = Position::new(words.next()?.parse().ok()?);
                    let cid = words.next()?.parse().ok()?;
                    let whole = words.next().is_none() && version > 0;
                    let head = VerifiedHead {
                        version,
                        position,
                        cid,
                    };
                    whole.then_some(Ok((stream, head)))
                },
            )?;
            match next {
                Ok((stream, head)) => heads.insert(stream, head),
                Err(digest) => {
                    let actual = before.finalize();
                    let actual: String = actual.iter().map(|byte| format!("{byte:02x}")).collect();
                    if actual != digest {
                        return Err(HeadsFileError::Digest);
                    }
                    break;
                }
            };
        }
        Ok(Self {
            first,
            position: Position::new(position),
            events,
            heads,
        })
    }
}

struct Lines<R> {
    input: R,
    digest: Sha256,
    number: u64,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    /// Reads one line and takes from it what `parse` finds there.
    fn expect<T>(
        &mut self,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, HeadsFileError> {
        self.line.clear();
        self.number += 1;
        let mut limited = io::Read::take(&mut self.input, MOST_LINE_BYTES);
        limited
            .read_until(b'\n', &mut self.line)
            .map_err(HeadsFileError::Read)?;
        self.digest.update(&self.line);
        let line = self.line.strip_suffix(b"\n");
        line.and_then(|line| std::str::from_utf8(line).ok())
            .and_then(parse)
            .ok_or(HeadsFileError::Line {
                line: self.number,
                expected,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> VerifiedHeads {
        let mut heads = VerifiedHeads::default();
        for (id, version) in [("b", 3), ("a", 1), ("=C3=A4", 1_000_000)] {
            let stream = StreamId::parse(format!("sales.order.{id}")).unwrap();
            let cid = EventCid::of(id.as_bytes());
            let position = Position::new(version + 70);
            heads.put(
                stream,
                VerifiedHead {
                    version,
                    position,
                    cid,
                },
            );
        }
        heads.begin(Some(EventCid::of(b"first")));
        heads.reach(Position::new(77), 1_000_004);
        heads
    }

    fn text(heads: &VerifiedHeads) -> String {
        let mut text = Vec::new();
        heads.write(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        for heads in [sample(), VerifiedHeads::default()] {
            assert_eq!(VerifiedHeads::read(text(&heads).as_bytes()).unwrap(), heads);
        }
    }

    #[test]
    fn the_text_is_sorted_and_ends_with_its_digest() {
        expect_test::expect![[r#"
            cim-verified-heads 1
            first bafyreifhsn5wjogkuwhqg4q3w25m6xdyzmrv727a44frxbgntfkbiynary
            position 77
            events 1000004
            sales.order.=C3=A4 1000000 1000070 bafyreigoy6knr5riu4gqmt2hr33ushvkhaw7nij7dm4dw6izzxohvvncla
            sales.order.a 1 71 bafyreigks6arfsq3xxfpvqrrwonchxcnu6do76auprhhfomao6c273sixm
            sales.order.b 3 73 bafyreib6epubmabzlffdhckpmvsodmjuro6xuaei2qwevs3t52xnlhaatu
            sha256 e8f9666736993021910f9f7d4f415085980ff3b3a7a576269da8244ed796a9b2
        "#]]
        .assert_eq(&text(&sample()));
    }

    #[test]
    fn no_changed_or_cut_text_is_taken() {
        let whole = text(&sample());
        for cut in 0..whole.len() {
            assert!(
                VerifiedHeads::read(&whole.as_bytes()[..cut]).is_err(),
                "{cut}"
            );
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone().into_bytes();
            changed[at] ^= 1;
            assert!(VerifiedHeads::read(&changed[..]).is_err(), "{at}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_refused_and_not_read_to_its_end() {
        let error = VerifiedHeads::read(io::BufReader::new(io::repeat(b'x'))).unwrap_err();
        assert!(matches!(error, HeadsFileError::Other));
    }
}
