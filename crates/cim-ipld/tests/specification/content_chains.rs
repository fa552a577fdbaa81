//! Chains of content: what they prove, and how each way to break one is told.

use std::collections::HashMap;
use std::error::Error;

use bytes::Bytes;
use cim_ipld::dag_cbor::{self, Ipld};
use cim_ipld::{
    AppendedContent, Block, Cid, ContentChain, ContentChainError, ContentChainFault,
    ContentChainFaultKind as Kind, ContentChainVerifier, ContentHead, ContentLink, DAG_CBOR_CODE,
    EventCid, HashFunction, LinkError, Since, TypedContent, TypedContentError,
};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::hex::{from_hex, to_hex};

const GOLDEN: &str = include_str!("../golden/content-chain-v1.txt");

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Price(u64);

impl TypedContent for Price {
    const NAME: &'static str = "shop.price";
}

/// A chain with everything that was stored for it.
#[derive(Clone, Default)]
struct Stored {
    chain: ContentChain<Price>,
    blocks: HashMap<Cid, Bytes>,
    appended: Vec<AppendedContent>,
}

impl Stored {
    fn of(prices: impl IntoIterator<Item = u64>) -> Self {
        let mut stored = Self::default();
        stored.extend(prices);
        stored
    }

    fn extend(&mut self, prices: impl IntoIterator<Item = u64>) {
        for price in prices {
            let appended = self.chain.append(&Price(price)).unwrap();
            for block in [&appended.content, &appended.link] {
                self.blocks.insert(block.cid, block.bytes.clone());
            }
            self.appended.push(appended);
        }
    }

    fn link(&self, seq: usize) -> &Block {
        &self.appended[seq - 1].link
    }

    fn content(&self, seq: usize) -> &Block {
        &self.appended[seq - 1].content
    }

    fn head(&self, seq: usize) -> ContentHead {
        self.appended[seq - 1].head
    }

    fn since(&self, since: Since) -> Result<Vec<ContentLink>, ContentChainError<()>> {
        self.chain
            .since(since, |cid| Ok(self.blocks.get(cid).cloned()))
    }

    fn verify(&self, since: Since) -> Result<Option<ContentHead>, ContentChainError<()>> {
        self.chain
            .verify(since, |cid| Ok(self.blocks.get(cid).cloned()))
    }

    fn fault(&self, since: Since) -> ContentChainFault {
        match self.verify(since).unwrap_err() {
            ContentChainError::Fault(fault) => fault,
            other => panic!("{other}"),
        }
    }
}

/// Verifies links in the order given.
fn in_order<'a>(
    mut verifier: ContentChainVerifier,
    links: impl IntoIterator<Item = &'a Block>,
) -> Result<Option<ContentHead>, ContentChainFault> {
    for link in links {
        verifier.push(&link.cid, &link.bytes)?;
    }
    verifier.finish()
}

fn start() -> ContentChainVerifier {
    ContentChainVerifier::start::<Price>()
}

/// A link's block with whatever is wanted in it.
fn link_block(fields: &[(&str, Ipld)]) -> Block {
    let fields = fields
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()));
    let bytes = dag_cbor::to_vec(&Ipld::Map(fields.collect())).unwrap();
    Block::new(DAG_CBOR_CODE, HashFunction::Sha2_256, bytes)
}

fn link_with(seq: i128, prev: Option<Cid>, name: &str, content: Cid) -> Block {
    let mut fields = vec![
        ("v", Ipld::Integer(1)),
        ("seq", Ipld::Integer(seq)),
        ("type", Ipld::String(name.into())),
        ("content", Ipld::Link(content)),
    ];
    fields.extend(prev.map(|prev| ("prev", Ipld::Link(prev))));
    link_block(&fields)
}

proptest! {
    #[test]
    fn a_chain_gives_back_what_was_appended_in_order(
        prices in prop::collection::vec(any::<u64>(), 0..20),
        from in 0..25_usize,
    ) {
        let stored = Stored::of(prices.iter().copied());
        let links = stored.since(Since::Seq(from as u64)).unwrap();
        let read: Vec<_> = links
            .iter()
            .map(|link| {
                let bytes = stored.blocks.get(&link.content).map(|bytes| &bytes[..]);
                link.content_from::<Price>(bytes).unwrap().0
            })
            .collect();
        prop_assert_eq!(&read[..], prices.get(from..).unwrap_or_default());
        prop_assert_eq!(stored.verify(Since::Beginning).unwrap(), stored.chain.head());
        let links: Vec<_> = stored.appended.iter().map(|appended| &appended.link).collect();
        prop_assert_eq!(in_order(start(), links).unwrap(), stored.chain.head());
    }

    #[test]
    fn a_changed_byte_anywhere_is_found_at_its_link(
        len in 1..8_usize,
        at in any::<prop::sample::Index>(),
        byte in any::<prop::sample::Index>(),
        change in 1..=255_u8,
        in_content: bool,
    ) {
        let mut stored = Stored::of(0..len as u64);
        let seq = at.index(len) + 1;
        let block = if in_content { stored.content(seq) } else { stored.link(seq) }.clone();
        let mut bytes = block.bytes.to_vec();
        let byte = byte.index(bytes.len());
        bytes[byte] ^= change;
        stored.blocks.insert(block.cid, bytes.clone().into());
        let fault = stored.fault(Since::Beginning);
        prop_assert_eq!(fault.seq, seq as u64);
        if in_content {
            prop_assert!(matches!(fault.kind, Kind::ContentAltered(_)));
        } else {
            prop_assert!(matches!(fault.kind, Kind::Altered(_)));
            let mut verifier = start();
            for before in 1..seq {
                let link = stored.link(before);
                verifier.push(&link.cid, &link.bytes).unwrap();
            }
            let fault = verifier.push(&block.cid, &bytes).unwrap_err();
            prop_assert_eq!(fault.seq, seq as u64);
            prop_assert!(matches!(fault.kind, Kind::Altered(_)));
        }
    }
}

/// Version 1 of the link format. If this fails, the format was changed: give it a new version.
#[test]
fn the_bytes_of_links_stay_as_they_are() {
    let stored = Stored::of([300, 320]);
    let mut golden = GOLDEN.lines().filter(|line| !line.starts_with('#'));
    for (name, blocks) in [
        ("content", [stored.content(1), stored.content(2)]),
        ("link", [stored.link(1), stored.link(2)]),
    ] {
        for (number, block) in (1..).zip(blocks) {
            let line = format!("{name} {number} = {} {}", block.cid, to_hex(&block.bytes));
            assert_eq!(golden.next(), Some(&*line));
        }
    }
    assert_eq!(golden.next(), None);
}

#[test]
fn the_golden_chain_is_whole() {
    let mut verifier = start();
    for line in GOLDEN.lines().filter(|line| line.starts_with("link")) {
        let (_, block) = line.split_once(" = ").unwrap();
        let (cid, hex) = block.split_once(' ').unwrap();
        let link = verifier
            .push(&Cid::try_from(cid).unwrap(), &from_hex(hex))
            .unwrap();
        assert_eq!(link.name, Price::NAME);
    }
    assert_eq!(verifier.head().map(|head| head.seq), Some(2));
}

#[test]
fn a_chain_is_continued_from_its_head() {
    let mut stored = Stored::of([1, 2]);
    stored.chain = ContentChain::at(stored.chain.head()).with_hash(HashFunction::Blake3);
    stored.extend([3]);
    assert_eq!(stored.link(3).cid.hash().code(), 0x1e);
    assert_eq!(stored.chain.head(), Some(stored.head(3)));
    assert_eq!(
        stored.verify(Since::Beginning).unwrap(),
        Some(stored.head(3))
    );
}

#[test]
fn an_empty_chain_has_nothing_and_is_whole() {
    let stored = Stored::default();
    assert_eq!(stored.since(Since::Beginning).unwrap(), []);
    assert_eq!(stored.since(Since::Seq(0)).unwrap(), []);
    assert_eq!(stored.verify(Since::Beginning).unwrap(), None);
    assert_eq!(start().finish().unwrap(), None);
}

#[test]
fn reading_begins_after_a_number_a_cid_or_a_verified_head() {
    let stored = Stored::of([1, 2, 3, 4]);
    for (since, expected) in [
        (Since::Beginning, 1..=4),
        (Since::Seq(0), 1..=4),
        (Since::Seq(3), 4..=4),
        (Since::Cid(stored.link(2).cid), 3..=4),
        (Since::Head(stored.head(2)), 3..=4),
    ] {
        let links = stored.since(since).unwrap();
        let numbers: Vec<_> = links.iter().map(|link| link.seq).collect();
        assert_eq!(numbers, expected.collect::<Vec<_>>());
    }
    for since in [
        Since::Seq(4),
        Since::Seq(9),
        Since::Cid(stored.link(4).cid),
        Since::Head(stored.head(4)),
    ] {
        assert_eq!(stored.since(since).unwrap(), []);
    }
}

#[test]
fn what_was_verified_is_not_read_again() {
    let mut stored = Stored::of([1, 2, 3]);
    let verified = stored.verify(Since::Beginning).unwrap().unwrap();
    stored.extend([4, 5]);
    for seq in 1..=3 {
        let (link, content) = (stored.link(seq).cid, stored.content(seq).cid);
        stored.blocks.remove(&link);
        stored.blocks.remove(&content);
    }
    assert_eq!(
        stored.verify(Since::Head(verified)).unwrap(),
        stored.chain.head()
    );
    assert!(matches!(
        stored.fault(Since::Beginning),
        ContentChainFault { seq: 3, kind: Kind::Missing { cid }, .. } if *cid == stored.link(3).cid
    ));
}

#[test]
fn a_removed_block_is_found_at_its_link() {
    for seq in 1..=3 {
        let mut stored = Stored::of([1, 2, 3]);
        let (link, content) = (stored.link(seq).cid, stored.content(seq).cid);
        let removed = stored.blocks.remove(&content).unwrap();
        assert!(matches!(
            stored.fault(Since::Beginning),
            ContentChainFault { seq: at, kind: Kind::ContentMissing { cid }, .. }
                if at == seq as u64 && *cid == content
        ));
        stored.blocks.insert(content, removed);
        stored.blocks.remove(&link);
        assert!(matches!(
            stored.fault(Since::Beginning),
            ContentChainFault { seq: at, kind: Kind::Missing { cid }, .. }
                if at == seq as u64 && *cid == link
        ));
    }
}

#[test]
fn links_in_another_order_or_number_are_told_apart() {
    let stored = Stored::of([1, 2, 3, 4]);
    let order = |numbers: &[usize]| in_order(start(), numbers.iter().map(|&n| stored.link(n)));
    let at = |fault: ContentChainFault| (fault.seq, fault.kind);

    assert_eq!(order(&[1, 2, 3, 4]).unwrap(), Some(stored.head(4)));
    assert!(matches!(
        at(order(&[2]).unwrap_err()),
        (1, Kind::Gap { found: 2 })
    ));
    assert!(matches!(
        at(order(&[1, 2, 4]).unwrap_err()),
        (3, Kind::Gap { found: 4 })
    ));
    assert!(matches!(
        at(order(&[1, 2, 2]).unwrap_err()),
        (3, Kind::Repeated { found: 2 })
    ));
    assert!(matches!(
        at(order(&[1, 2, 3, 1]).unwrap_err()),
        (4, Kind::Reordered { found: 1 })
    ));
    assert!(matches!(
        at(order(&[1, 3, 2, 4]).unwrap_err()),
        (2, Kind::Gap { found: 3 })
    ));
}

#[test]
fn verifying_goes_on_from_a_verified_head_and_after_a_fault() {
    let stored = Stored::of([1, 2, 3, 4]);
    let mut verifier = ContentChainVerifier::resume::<Price>(stored.head(2));
    let four = stored.link(4);
    assert!(verifier.push(&four.cid, &four.bytes).is_err());
    assert_eq!(verifier.head(), Some(stored.head(2)));
    assert_eq!(
        in_order(verifier, [stored.link(3), four]).unwrap(),
        Some(stored.head(4))
    );
}

#[test]
fn a_fork_is_told_by_the_link_that_follows_another_history() {
    let ours = Stored::of([1, 2, 3, 4]);
    let theirs = Stored::of([1, 9, 3, 4]);
    // Two links of one number.
    let fault = in_order(start(), [ours.link(1), ours.link(2), theirs.link(2)]).unwrap_err();
    assert!(matches!(
        (fault.seq, fault.kind),
        (3, Kind::Rival { first, second })
            if *first == ours.link(2).cid && *second == theirs.link(2).cid
    ));
    // A link that follows theirs.
    let fault = in_order(start(), [ours.link(1), ours.link(2), theirs.link(3)]).unwrap_err();
    assert!(matches!(
        (fault.seq, fault.kind),
        (3, Kind::Forked { expected, found })
            if *expected == ours.link(2).cid && *found == theirs.link(2).cid
    ));
    // The same, seen from their head: ours was verified up to 2, or to the end.
    assert_eq!(
        theirs.verify(Since::Head(ours.head(1))).unwrap(),
        theirs.chain.head()
    );
    let fault = theirs.fault(Since::Head(ours.head(2)));
    assert!(matches!(
        (fault.seq, fault.kind),
        (3, Kind::Forked { expected, found })
            if *expected == ours.link(2).cid && *found == theirs.link(2).cid
    ));
    let fault = theirs.fault(Since::Head(ours.head(4)));
    assert!(matches!((fault.seq, fault.kind), (4, Kind::Forked { .. })));
}

#[test]
fn a_chain_that_was_cut_or_replaced_is_told_by_a_head_kept_elsewhere() {
    let whole = Stored::of([1, 2, 3]);
    let other = Stored::of([1, 7, 3]);
    let links = |stored: &Stored, n: usize| -> Vec<Block> {
        (1..=n).map(|seq| stored.link(seq).clone()).collect()
    };
    let expecting = |n| start().expecting(whole.head(n));

    assert!(in_order(expecting(3), &links(&whole, 3)).is_ok());
    assert!(in_order(expecting(2), &links(&whole, 3)).is_ok());
    for n in 0..3 {
        let fault = in_order(expecting(3), &links(&whole, n)).unwrap_err();
        assert!(matches!(
            (fault.seq, fault.kind),
            (at, Kind::Cut { expected }) if at == n as u64 + 1 && *expected == whole.head(3)
        ));
    }
    let fault = in_order(expecting(2), &links(&other, 3)).unwrap_err();
    assert!(matches!((fault.seq, fault.kind), (2, Kind::Forked { .. })));
    let resumed = ContentChainVerifier::resume::<Price>(other.head(2)).expecting(whole.head(2));
    let fault = resumed.finish().unwrap_err();
    assert!(matches!((fault.seq, fault.kind), (2, Kind::Forked { .. })));

    let cut = Stored::of([1, 2]);
    let fault = cut.fault(Since::Head(whole.head(3)));
    assert!(matches!(
        (fault.seq, fault.kind),
        (3, Kind::Cut { expected }) if *expected == whole.head(3)
    ));
    let fault = Stored::default().fault(Since::Head(whole.head(1)));
    assert!(matches!((fault.seq, fault.kind), (1, Kind::Cut { .. })));
}

#[test]
fn a_cid_of_another_chain_is_no_place_to_begin() {
    let stored = Stored::of([1, 2]);
    let stranger = Stored::of([8]).link(1).cid;
    for chain in [stored, Stored::default()] {
        let fault = chain.fault(Since::Cid(stranger));
        assert!(matches!(fault.kind, Kind::NotInChain { cid } if *cid == stranger));
    }
}

#[test]
fn a_chain_has_contents_of_one_type() {
    #[derive(Serialize, Deserialize)]
    struct Other(u64);
    impl TypedContent for Other {
        const NAME: &'static str = "shop.other";
    }
    let stored = Stored::of([1]);
    let link = stored.link(1);
    let fault = ContentChainVerifier::start::<Other>()
        .push(&link.cid, &link.bytes)
        .unwrap_err();
    assert!(matches!(
        fault.kind,
        Kind::WrongType { expected: "shop.other", found } if found == "shop.price"
    ));
    let chain = ContentChain::<Other>::at(stored.chain.head());
    let error = chain
        .verify(Since::Beginning, |cid| {
            Ok::<_, ()>(stored.blocks.get(cid).cloned())
        })
        .unwrap_err();
    assert!(matches!(
        error,
        ContentChainError::Fault(ContentChainFault {
            seq: 1,
            kind: Kind::WrongType { .. },
            ..
        })
    ));
}

/// A chain whose only link is this block.
fn chain_of(link: &Block, seq: u64) -> Stored {
    let head = ContentHead { seq, cid: link.cid };
    Stored {
        chain: ContentChain::at(Some(head)),
        blocks: [(link.cid, link.bytes.clone())].into(),
        appended: Vec::new(),
    }
}

#[test]
fn links_that_no_store_writes_are_refused() {
    let content = EventCid::of(b"content").to_cid();
    let before = EventCid::of(b"before").to_cid();
    let name = Price::NAME;

    let without = link_with(2, None, name, content);
    assert!(matches!(
        chain_of(&without, 2).fault(Since::Beginning).kind,
        Kind::MissingPrevious
    ));
    let one = Stored::of([1]);
    assert!(matches!(
        in_order(start(), [one.link(1), &without]).unwrap_err().kind,
        Kind::MissingPrevious
    ));

    let first = link_with(1, Some(before), name, content);
    for fault in [
        chain_of(&first, 1).fault(Since::Beginning),
        in_order(start(), [&first]).unwrap_err(),
    ] {
        assert!(matches!(
            (fault.seq, fault.kind),
            (1, Kind::UnexpectedPrevious { found }) if *found == before
        ));
    }

    let third = link_with(3, Some(before), name, content);
    assert!(matches!(
        chain_of(&third, 4).fault(Since::Beginning),
        ContentChainFault {
            seq: 4,
            kind: Kind::WrongNumber { found: 3 },
            ..
        }
    ));
}

#[test]
fn blocks_that_are_no_links_are_refused() {
    let content = Ipld::Link(EventCid::of(b"content").to_cid());
    let good = [
        ("v", Ipld::Integer(1)),
        ("seq", Ipld::Integer(1)),
        ("type", Ipld::String(Price::NAME.into())),
        ("content", content.clone()),
    ];
    let with = |key: &'static str, value: Ipld| {
        let mut fields = good.to_vec();
        fields.retain(|field| field.0 != key);
        fields.push((key, value));
        link_block(&fields)
    };
    let malformed = |block: &Block| {
        for fault in [
            chain_of(block, 1).fault(Since::Beginning),
            in_order(start(), [block]).unwrap_err(),
        ] {
            assert_eq!(fault.seq, 1);
            assert!(fault.source().is_some());
            assert!(matches!(fault.kind, Kind::Malformed(_)), "{fault}");
        }
        ContentLink::decode(&block.cid, &block.bytes).unwrap_err()
    };
    assert!(ContentLink::decode(&link_block(&good).cid, &link_block(&good).bytes).is_ok());

    assert!(matches!(
        malformed(&with("v", Ipld::Integer(2))),
        LinkError::Version { found: 2 }
    ));
    assert!(matches!(
        malformed(&with("seq", Ipld::Integer(0))),
        LinkError::Number
    ));
    assert!(matches!(
        malformed(&with("prev", Ipld::Null)),
        LinkError::NullPrevious
    ));
    for block in [
        with("seq", Ipld::Integer(-1)),
        with("type", Ipld::Null),
        with("content", Ipld::Null),
        with("more", Ipld::Null),
        link_block(&good[..3]),
        link_block(&good[1..]),
        Block::new(DAG_CBOR_CODE, HashFunction::Sha2_256, vec![0x81; 100_000]),
        Block::new(DAG_CBOR_CODE, HashFunction::Sha2_256, vec![]),
    ] {
        assert!(matches!(malformed(&block), LinkError::Cbor(_)));
    }
    let raw = Block::new(0x55, HashFunction::Sha2_256, link_block(&good).bytes);
    assert!(matches!(malformed(&raw), LinkError::Codec { found: 0x55 }));
}

#[test]
fn content_of_another_kind_is_refused() {
    let text = Block::new(
        DAG_CBOR_CODE,
        HashFunction::Sha2_256,
        dag_cbor::to_vec("text").unwrap(),
    );
    let raw = Block::new(0x55, HashFunction::Sha2_256, vec![1]);
    for content in [text, raw] {
        let link = link_with(1, None, Price::NAME, content.cid);
        let mut stored = chain_of(&link, 1);
        stored.blocks.insert(content.cid, content.bytes);
        let fault = stored.fault(Since::Beginning);
        assert_eq!(fault.seq, 1);
        assert!(matches!(
            fault.kind,
            Kind::ContentMalformed(
                TypedContentError::Decode { .. } | TypedContentError::WrongCodec { .. }
            )
        ));
    }
}

#[test]
fn a_lookup_that_fails_is_passed_on() {
    let stored = Stored::of([1]);
    let error = stored
        .chain
        .since(Since::Beginning, |_| {
            Err::<Option<Bytes>, _>("no connection")
        })
        .unwrap_err();
    assert!(matches!(error, ContentChainError::Lookup("no connection")));
}

#[test]
fn a_walk_says_what_it_wants_and_ends_only_when_it_has_it() {
    let stored = Stored::of([1, 2]);
    let mut walk = stored.chain.walk(Since::Beginning).unwrap();
    assert_eq!(walk.wanted(), Some(&stored.link(2).cid));
    // The wrong block changes nothing.
    assert!(walk.supply(Some(&stored.link(1).bytes)).is_err());
    assert!(walk.supply(None).is_err());
    assert_eq!(walk.wanted(), Some(&stored.link(2).cid));
    walk.supply(Some(&stored.link(2).bytes)).unwrap();
    assert_eq!(walk.wanted(), Some(&stored.link(1).cid));
    assert!(matches!(
        walk.clone().finish().unwrap_err(),
        ContentChainFault {
            seq: 1,
            kind: Kind::Missing { .. },
            ..
        }
    ));
    walk.supply(Some(&stored.link(1).bytes)).unwrap();
    assert_eq!(walk.wanted(), None);
    walk.supply(None).unwrap();
    assert_eq!(walk.finish().unwrap().len(), 2);
}

#[test]
fn what_cannot_be_written_is_not_appended() {
    #[derive(Serialize, Deserialize)]
    struct Ratio(f64);
    impl TypedContent for Ratio {
        const NAME: &'static str = "shop.ratio";
    }
    let mut chain = ContentChain::<Ratio>::new();
    assert!(chain.append(&Ratio(f64::NAN)).is_err());
    assert_eq!(chain.head(), None);

    let full = ContentHead {
        seq: u64::MAX,
        cid: EventCid::of(b"last").to_cid(),
    };
    let mut chain = ContentChain::<Price>::at(Some(full));
    assert!(chain.append(&Price(1)).is_err());
    assert_eq!(chain.head(), Some(full));
}

#[test]
fn a_fault_says_where_and_what_in_one_sentence() {
    let stored = Stored::of([1, 2, 3]);
    let fault = in_order(start(), [stored.link(1), stored.link(3)]).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "content chain, link 2: the next link has number 3, those before it are missing; restore \
         them"
    );
}
