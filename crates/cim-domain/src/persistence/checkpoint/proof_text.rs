//! Proofs as text, for those who have nothing of the log: that an event is in it
//! (c2sp.org/tlog-proof), and that it only grew (the body that c2sp.org/tlog-witness takes).

use std::fmt;

use cim_store::EventCid;
use data_encoding::BASE64;

use super::note::{SignedNote, VerifierKey};
use super::text::{Checkpoint, CheckpointTextError, parse_decimal};
use super::tree::{
    ProofError, TreeHash, cid_of_leaf, leaf_data, verify_consistency, verify_inclusion,
};

/// The first line of a proof of inclusion.
const INCLUSION_MARK: &str = "c2sp.org/tlog-proof@v1";
/// What the first line of a proof of growth begins with.
const OLD_MARK: &str = "old ";
/// More lines of hashes than any proof has.
const MAX_HASHES: usize = 64;
/// More bytes than the lines before the checkpoint have.
const MAX_HEADER_BYTES: usize = 64 << 10;

/// Text that is no proof, or a proof of something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofTextError {
    /// It is not UTF-8, or larger than any proof.
    #[error("it is no text of a proof")]
    NotAProof,
    /// A line ends with a carriage return, as mail programs and some editors make it.
    #[error("line {line} ends with a carriage return (CRLF), which a proof's lines don't")]
    CarriageReturn {
        /// The line, from 1.
        line: usize,
    },
    /// A line is not what it should be.
    #[error("line {line} of the proof is not {expected}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What it should be.
        expected: &'static str,
    },
    /// The checkpoint in it is none, or not signed by whom it should be.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointTextError),
    /// It proves something else.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// It is about growth from another size.
    #[error(
        "the proof begins at a checkpoint of {found} events, and the old checkpoint has {expected}"
    )]
    OtherOld {
        /// How many events the old checkpoint has.
        expected: u64,
        /// How many it should have.
        found: u64,
    },
    /// It is about another event.
    #[error("the proof is about the event {found}, not about {expected}")]
    OtherEvent {
        /// The event that was asked for.
        expected: EventCid,
        /// The one that the proof names.
        found: EventCid,
    },
}

/// The proof that an event is in the log that a checkpoint speaks of. Whoever has the log's
/// verifier key can check it without the log.
///
/// ```
/// # use cim_domain::persistence::checkpoint::note::SigningKey;
/// # use cim_domain::persistence::checkpoint::tree::{TreeHash, TreeHasher};
/// # use cim_domain::persistence::checkpoint::Checkpoint;
/// # use cim_domain::store::EventCid;
/// use cim_domain::persistence::checkpoint::InclusionProof;
///
/// # let key = SigningKey::generate("example.com/sales")?;
/// # let (placed, paid) = (EventCid::from_digest([1; 32]), EventCid::from_digest([2; 32]));
/// // A log of two events. `Checkpoints` does this for the log of a store.
/// let mut tree = TreeHasher::new();
/// tree.push_event(&placed);
/// tree.push_event(&paid);
/// let checkpoint = Checkpoint::sign(tree.size(), tree.root(), &key)?;
/// let beside = vec![TreeHash::of_event(&placed)];
/// let text = InclusionProof::new(paid, 1, beside.clone(), checkpoint)?.to_string();
///
/// // Somebody who was sent the text, the event and the key for verifying.
/// assert!(InclusionProof::is_meant(text.as_bytes()));
/// let proof = InclusionProof::open(text.as_bytes(), &[key.verifier().clone()])?;
/// proof.check_event(paid)?;
/// assert_eq!((proof.cid(), proof.index(), proof.hashes()), (paid, 1, &beside[..]));
/// assert!(proof.check_event(placed).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionProof {
    cid: EventCid,
    index: u64,
    hashes: Vec<TreeHash>,
    checkpoint: Checkpoint,
}

impl InclusionProof {
    /// The proof with these hashes.
    ///
    /// # Errors
    /// Where they don't prove it.
    pub fn new(
        cid: EventCid,
        index: u64,
        hashes: Vec<TreeHash>,
        checkpoint: Checkpoint,
    ) -> Result<Self, ProofError> {
        let leaf = TreeHash::of_event(&cid);
        verify_inclusion(leaf, index, checkpoint.size(), checkpoint.root(), &hashes)?;
        Ok(Self {
            cid,
            index,
            hashes,
            checkpoint,
        })
    }

    /// Whether a text begins as a proof of inclusion does.
    #[must_use]
    pub fn is_meant(text: &[u8]) -> bool {
        first_line(text) == Some(INCLUSION_MARK.as_bytes())
    }

    /// Reads a proof and checks it: one of these keys has signed the checkpoint, and the event that
    /// the proof names is in the checkpoint's tree.
    ///
    /// # Errors
    /// Where it is no proof, or does not prove it.
    pub fn open(text: &[u8], keys: &[VerifierKey]) -> Result<Self, ProofTextError> {
        let mut lines = Lines::new(text)?;
        lines.exactly(INCLUSION_MARK, "`c2sp.org/tlog-proof@v1`")?;
        const EXTRA: &str = "`extra` and an event's CID, 36 bytes in base64";
        let cid = lines.after("extra ", EXTRA, |text| {
            cid_of_leaf(&BASE64.decode(text.as_bytes()).ok()?)
        })?;
        let index = lines.after("index ", "`index` and a decimal number", parse_decimal)?;
        let (hashes, checkpoint) = lines.hashes()?;
        let checkpoint = Checkpoint::open(checkpoint.as_bytes(), keys)?;
        Ok(Self::new(cid, index, hashes, checkpoint)?)
    }

    /// Checks that it is about this event.
    ///
    /// # Errors
    /// Where it is about another one.
    pub fn check_event(&self, expected: EventCid) -> Result<(), ProofTextError> {
        match self.cid {
            found if found == expected => Ok(()),
            found => Err(ProofTextError::OtherEvent { expected, found }),
        }
    }

    /// The event's CID.
    #[must_use]
    pub fn cid(&self) -> EventCid {
        self.cid
    }

    /// The event's place in the order of the log, from 0.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The hashes, from the event's sibling to the root's child.
    #[must_use]
    pub fn hashes(&self) -> &[TreeHash] {
        &self.hashes
    }

    /// The checkpoint that the event is proven to be in.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }
}

impl fmt::Display for InclusionProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{INCLUSION_MARK}")?;
        writeln!(f, "extra {}", BASE64.encode(&leaf_data(&self.cid)))?;
        writeln!(f, "index {}", self.index)?;
        write_hashes(f, &self.hashes)?;
        write!(f, "{}", self.checkpoint)
    }
}

/// The proof that the log of one checkpoint is the beginning of the log of another.
///
/// ```
/// # use cim_domain::persistence::checkpoint::Checkpoint;
/// # use cim_domain::persistence::checkpoint::note::SigningKey;
/// # use cim_domain::persistence::checkpoint::tree::{TreeHash, TreeHasher};
/// # use cim_domain::store::EventCid;
/// use cim_domain::persistence::checkpoint::ConsistencyProof;
///
/// # let key = SigningKey::generate("example.com/sales")?;
/// # let (placed, paid) = (EventCid::from_digest([1; 32]), EventCid::from_digest([2; 32]));
/// // A log of one event, and then of two. `Checkpoints` does this for the log of a store.
/// let mut tree = TreeHasher::new();
/// tree.push_event(&placed);
/// let old = Checkpoint::sign(tree.size(), tree.root(), &key)?;
/// tree.push_event(&paid);
/// let new = Checkpoint::sign(tree.size(), tree.root(), &key)?;
/// let text = ConsistencyProof::new(&old, new, vec![TreeHash::of_event(&paid)])?.to_string();
///
/// // Somebody who kept the old checkpoint.
/// assert!(ConsistencyProof::is_meant(text.as_bytes()));
/// let proof = ConsistencyProof::open(text.as_bytes(), &old, &[key.verifier().clone()])?;
/// assert_eq!((proof.checkpoint().size(), proof.hashes().len()), (2, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistencyProof {
    old_size: u64,
    hashes: Vec<TreeHash>,
    new: Checkpoint,
}

impl ConsistencyProof {
    /// The proof with these hashes.
    ///
    /// # Errors
    /// Where they don't prove it.
    pub fn new(
        old: &Checkpoint,
        new: Checkpoint,
        hashes: Vec<TreeHash>,
    ) -> Result<Self, ProofError> {
        verify_consistency(old.size(), old.root(), new.size(), new.root(), &hashes)?;
        Ok(Self {
            old_size: old.size(),
            hashes,
            new,
        })
    }

    /// Whether a text begins as a proof of growth does.
    #[must_use]
    pub fn is_meant(text: &[u8]) -> bool {
        let line = first_line(text).and_then(|line| std::str::from_utf8(line).ok());
        let size = line.and_then(|line| line.strip_prefix(OLD_MARK));
        size.and_then(parse_decimal).is_some()
    }

    /// Reads a proof and checks it: one of these keys has signed both checkpoints, and the log of
    /// the old one is the beginning of the log of the new one.
    ///
    /// # Errors
    /// Where it is no proof, or does not prove it.
    pub fn open(
        text: &[u8],
        old: &Checkpoint,
        keys: &[VerifierKey],
    ) -> Result<Self, ProofTextError> {
        old.verify(keys)?;
        let mut lines = Lines::new(text)?;
        const OLD: &str = "`old` and the size of the old checkpoint";
        let (expected, found) = (old.size(), lines.after(OLD_MARK, OLD, parse_decimal)?);
        if found != expected {
            return Err(ProofTextError::OtherOld { expected, found });
        }
        let (hashes, checkpoint) = lines.hashes()?;
        let new = Checkpoint::open(checkpoint.as_bytes(), keys)?;
        Ok(Self::new(old, new, hashes)?)
    }

    /// The hashes, as RFC 6962, section 2.1.2, orders them.
    #[must_use]
    pub fn hashes(&self) -> &[TreeHash] {
        &self.hashes
    }

    /// The new checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.new
    }
}

impl fmt::Display for ConsistencyProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{OLD_MARK}{}", self.old_size)?;
        write_hashes(f, &self.hashes)?;
        write!(f, "{}", self.new)
    }
}

fn write_hashes(f: &mut fmt::Formatter<'_>, hashes: &[TreeHash]) -> fmt::Result {
    hashes.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
    writeln!(f)
}

/// What is before the first end of a line, which may be one that makes the text none that is read.
fn first_line(text: &[u8]) -> Option<&[u8]> {
    let line = text.split(|byte| *byte == b'\n').next()?;
    Some(line.strip_suffix(b"\r").unwrap_or(line)).filter(|_| line.len() < text.len())
}

/// The lines of a proof, one after the other.
struct Lines<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Lines<'a> {
    fn new(text: &'a [u8]) -> Result<Self, ProofTextError> {
        if text.len() > MAX_HEADER_BYTES + SignedNote::MAX_BYTES {
            return Err(ProofTextError::NotAProof);
        }
        let rest = std::str::from_utf8(text).map_err(|_| ProofTextError::NotAProof)?;
        if let Some(before) = rest.split('\n').position(|line| line.ends_with('\r')) {
            return Err(ProofTextError::CarriageReturn { line: before + 1 });
        }
        Ok(Self { rest, line: 0 })
    }

    fn next(&mut self, expected: &'static str) -> Result<&'a str, ProofTextError> {
        self.line += 1;
        let (line, rest) = self.rest.split_once('\n').ok_or(ProofTextError::Line {
            line: self.line,
            expected,
        })?;
        self.rest = rest;
        Ok(line)
    }

    fn exactly(&mut self, text: &str, expected: &'static str) -> Result<(), ProofTextError> {
        self.after(text, expected, |rest| rest.is_empty().then_some(()))
    }

    /// What `parse` makes of the rest of a line that begins with `mark`.
    fn after<T>(
        &mut self,
        mark: &str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, ProofTextError> {
        let line = self.next(expected)?;
        let parsed = line.strip_prefix(mark).and_then(parse);
        parsed.ok_or(ProofTextError::Line {
            line: self.line,
            expected,
        })
    }

    /// Hashes up to an empty line, and what follows it.
    fn hashes(mut self) -> Result<(Vec<TreeHash>, &'a str), ProofTextError> {
        const EXPECTED: &str = "a hash, 32 bytes in base64, or the empty line after at most 64";
        let mut hashes = Vec::new();
        loop {
            let line = self.next(EXPECTED)?;
            if line.is_empty() {
                return Ok((hashes, self.rest));
            }
            match TreeHash::from_base64(line) {
                Some(hash) if hashes.len() < MAX_HASHES => hashes.push(hash),
                _ => {
                    return Err(ProofTextError::Line {
                        line: self.line,
                        expected: EXPECTED,
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::note::SigningKey;
    use super::super::tree::TreeHasher;
    use super::*;
    use proptest::prelude::*;

    fn key() -> SigningKey {
        SigningKey::from_seed("example.com/log", &[7; 32]).unwrap()
    }

    fn keys() -> [VerifierKey; 1] {
        [key().verifier().clone()]
    }

    fn cids() -> [EventCid; 3] {
        ["a", "b", "c"].map(|block| EventCid::of(block.as_bytes()))
    }

    fn checkpoint(size: usize) -> Checkpoint {
        let mut tree = TreeHasher::new();
        cids()[..size].iter().for_each(|cid| tree.push_event(cid));
        Checkpoint::sign(tree.size(), tree.root(), &key()).unwrap()
    }

    /// The third of three events: its only sibling is the node over the first two.
    fn inclusion() -> InclusionProof {
        let [a, b, c] = cids();
        let above = TreeHash::of_node(TreeHash::of_event(&a), TreeHash::of_event(&b));
        InclusionProof::new(c, 2, vec![above], checkpoint(3)).unwrap()
    }

    #[test]
    fn a_proof_of_inclusion_is_read_as_it_is_written() {
        let text = inclusion().to_string();
        let opened = InclusionProof::open(text.as_bytes(), &keys()).unwrap();
        assert_eq!(opened, inclusion());
        assert!(InclusionProof::is_meant(text.as_bytes()));
        assert!(!InclusionProof::is_meant(
            checkpoint(3).to_string().as_bytes()
        ));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "c2sp.org/tlog-proof@v1");
        assert!(lines[1].starts_with("extra AXESI"));
        assert_eq!(lines[2], "index 2");
        assert_eq!(lines[4], "");
        assert_eq!(lines[5], "example.com/log");
    }

    #[test]
    fn a_proof_speaks_of_one_event() {
        let [a, _, c] = cids();
        assert_eq!(inclusion().check_event(c), Ok(()));
        let (expected, found) = (a, c);
        let error = ProofTextError::OtherEvent { expected, found };
        assert_eq!(inclusion().check_event(a), Err(error));
    }

    #[test]
    fn a_proof_of_growth_is_read_as_it_is_written() {
        let c = TreeHash::of_event(&cids()[2]);
        let (old, new) = (checkpoint(2), checkpoint(3));
        let proof = ConsistencyProof::new(&old, new.clone(), vec![c]).unwrap();
        let text = proof.to_string();
        assert!(text.starts_with(&format!("old 2\n{c}\n\nexample.com/log\n3\n")));
        let opened = ConsistencyProof::open(text.as_bytes(), &old, &keys()).unwrap();
        assert_eq!(opened, proof);
        assert!(ConsistencyProof::is_meant(text.as_bytes()));
        assert!(!InclusionProof::is_meant(text.as_bytes()));
        assert!(!ConsistencyProof::is_meant(
            checkpoint(3).to_string().as_bytes()
        ));
        let other = ConsistencyProof::open(text.as_bytes(), &checkpoint(1), &keys());
        let (expected, found) = (1, 2);
        assert_eq!(other, Err(ProofTextError::OtherOld { expected, found }));
        assert!(ConsistencyProof::new(&new, old, vec![c]).is_err());
    }

    #[test]
    fn what_mail_makes_of_a_proof_is_told_and_refused() {
        let good = inclusion().to_string();
        let refused = |text: String| {
            assert!(InclusionProof::is_meant(text.as_bytes()));
            InclusionProof::open(text.as_bytes(), &keys()).unwrap_err()
        };
        let error = refused(good.replace('\n', "\r\n"));
        assert_eq!(error, ProofTextError::CarriageReturn { line: 1 });
        let error = refused(format!("{good}\n"));
        let end = CheckpointTextError::Note(super::super::note::NoteError::EmptyEnd);
        assert_eq!(error, ProofTextError::Checkpoint(end));
    }

    #[test]
    fn other_texts_are_refused_by_line() {
        let good = inclusion().to_string();
        for (from, to, line) in [
            ("tlog-proof@v1", "tlog-proof@v2", 1),
            ("extra AX", "extra AY", 2),
            ("extra", "extras", 2),
            ("index 2", "index 02", 3),
            ("index 2", "inclusion 2", 3),
            ("index 2\n", "index 2\nx\n", 4),
        ] {
            match InclusionProof::open(good.replacen(from, to, 1).as_bytes(), &keys()) {
                Err(ProofTextError::Line { line: found, .. }) => assert_eq!(found, line, "{to}"),
                other => panic!("{to}: {other:?}"),
            }
        }
        let hash = format!("{}\n", TreeHash::of_nothing());
        let many = good.replacen("index 2\n", &format!("index 2\n{}", hash.repeat(65)), 1);
        let error = InclusionProof::open(many.as_bytes(), &keys()).unwrap_err();
        assert!(
            matches!(error, ProofTextError::Line { line: 68, .. }),
            "{error}"
        );
        let large = vec![b'a'; MAX_HEADER_BYTES + SignedNote::MAX_BYTES + 1];
        let error = InclusionProof::open(&large, &keys());
        assert_eq!(error, Err(ProofTextError::NotAProof));
    }

    proptest! {
        #[test]
        fn no_altered_proof_opens(place in any::<prop::sample::Index>(), bit in 0..8_u32) {
            let mut text = inclusion().to_string().into_bytes();
            let place = place.index(text.len());
            text[place] ^= 1 << bit;
            prop_assert!(InclusionProof::open(&text, &keys()).is_err());
        }
    }
}
