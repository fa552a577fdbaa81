//! CAR files: what is written reads back, broken files are refused at their byte, and no file costs
//! more memory than its bytes.

use std::io::{self, Read, Write};

use cim_ipld::car::{
    CarBlock, CarError, CarErrorKind, CarReader, CarWriter, MAX_BLOCK_LEN, MAX_HEADER_LEN,
    ONE_ROOT_HEADER_LEN, encode_header, encode_section_head,
};
use cim_ipld::dag_cbor::{self, Ipld};
use cim_ipld::{Block, Cid, CidFault, EventCid, HashFunction, VarintFault, VerifyError};
use multihash::Multihash;
use proptest::prelude::*;

const RAW: u64 = 0x55;

fn raw(bytes: impl Into<Vec<u8>>) -> Block {
    Block::new(RAW, HashFunction::Sha2_256, bytes.into())
}

/// A block of any kind that a CAR may hold.
fn block() -> impl Strategy<Value = Block> {
    let bytes = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..200),
        1 => (any::<u8>(), 16_000..140_000_usize).prop_map(|(byte, len)| vec![byte; len]),
    ];
    (bytes, 0..5_u8, 0..300_u64).prop_map(|(bytes, kind, codec)| match kind {
        0 => Block::new(codec, HashFunction::Blake3, bytes),
        1 => {
            let digest = HashFunction::Sha2_256.digest(&bytes);
            let cid = Cid::new_v0(Multihash::wrap(0x12, &digest).unwrap()).unwrap();
            Block {
                cid,
                bytes: bytes.into(),
            }
        }
        2 if bytes.len() <= 64 => Block {
            cid: Cid::new_v1(codec, Multihash::wrap(0, &bytes).unwrap()),
            bytes: bytes.into(),
        },
        _ => Block::new(codec, HashFunction::Sha2_256, bytes),
    })
}

fn car(roots: &[Cid], blocks: &[Block]) -> Vec<u8> {
    let mut writer = CarWriter::new(Vec::new(), roots).unwrap();
    for block in blocks {
        writer.write_block(&block.cid, &block.bytes).unwrap();
    }
    let written = writer.bytes_written();
    let file = writer.finish().unwrap();
    assert_eq!(file.len() as u64, written);
    file
}

fn read_to_end<R: Read>(read: R) -> Result<(CarReader<R>, Vec<Block>), CarError> {
    let mut reader = CarReader::new(read)?;
    let mut blocks = Vec::new();
    while let Some(block) = reader.next_block()? {
        blocks.push(block.to_block());
    }
    Ok((reader, blocks))
}

fn read_all(read: impl Read) -> Result<(Vec<Cid>, Vec<Block>), CarError> {
    let (reader, blocks) = read_to_end(read)?;
    Ok((reader.roots().to_vec(), blocks))
}

fn refused(file: &[u8]) -> (u64, CarErrorKind) {
    let error = read_all(file).unwrap_err();
    let offset = error.offset();
    assert!(offset <= file.len() as u64);
    assert!(
        error
            .to_string()
            .starts_with(&format!("CAR, byte {offset}: "))
    );
    (offset, error.into_kind())
}

/// The same CARv1 inside a CARv2, with `padding` before it and `index` after it.
fn car_v2(v1: &[u8], padding: usize, index: &[u8]) -> Vec<u8> {
    let start = 51 + padding;
    let end = start + v1.len();
    let mut file = b"\x0a\xa1\x67version\x02".to_vec();
    file.extend([0; 16]);
    for number in [start, v1.len(), if index.is_empty() { 0 } else { end }] {
        file.extend((number as u64).to_le_bytes());
    }
    file.extend(vec![0xaa; padding]);
    file.extend(v1);
    file.extend(index);
    file
}

/// Gives a byte or a few at a time, and an interruption now and then.
struct Trickle<'a> {
    bytes: &'a [u8],
    step: usize,
    calls: usize,
}

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.calls += 1;
        if self.calls.is_multiple_of(3) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let count = self.step.min(buffer.len()).min(self.bytes.len());
        buffer[..count].copy_from_slice(&self.bytes[..count]);
        self.bytes = &self.bytes[count..];
        Ok(count)
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back(
        blocks in prop::collection::vec(block(), 0..12),
        extra in prop::collection::vec(block(), 0..3),
        step in 1..300_usize,
        padding in 0..200_usize,
        index in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        let roots: Vec<_> = extra.iter().map(|block| block.cid).collect();
        let file = car(&roots, &blocks);
        prop_assert_eq!(&read_all(&file[..]).unwrap(), &(roots.clone(), blocks.clone()));
        let trickle = Trickle { bytes: &file, step, calls: 0 };
        prop_assert_eq!(&read_all(trickle).unwrap(), &(roots.clone(), blocks.clone()));
        let v2 = car_v2(&file, padding, &index);
        prop_assert_eq!(read_all(&v2[..]).unwrap(), (roots, blocks));
    }

    #[test]
    fn offsets_and_lengths_lead_to_the_blocks(
        blocks in prop::collection::vec(block(), 0..8),
        padding in 0..100_usize,
    ) {
        let file = car_v2(&car(&[], &blocks), padding, b"index");
        let mut reader = CarReader::new(&file[..]).unwrap();
        let mut next = reader.position();
        while let Some(CarBlock { offset, length, bytes, .. }) = reader.next_block().unwrap() {
            prop_assert_eq!(offset, next);
            next = offset + length;
            let end = next as usize;
            prop_assert_eq!(&file[end - bytes.len()..end], bytes);
        }
        prop_assert_eq!(next as usize, file.len() - b"index".len());
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_read_in_peace(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        keep in 0..120_usize,
    ) {
        let _ = read_all(&bytes[..]);
        let mut file = car(&[raw("root").cid], &[raw("root")]);
        file.truncate(keep);
        file.extend(bytes);
        let _ = read_all(&file[..]);
    }
}

#[test]
fn a_file_cut_anywhere_is_refused_or_is_a_true_beginning() {
    let blocks = [raw("one"), raw(vec![7; 300]), raw(""), raw("root")];
    let root = blocks[3].cid;
    let v1 = car(&[root], &blocks);
    let v2 = car_v2(&v1, 5, b"index");
    let v2_data = v2.len() - b"index".len();

    for cut in 0..v1.len() {
        let mut reader = match CarReader::new(&v1[..cut]) {
            Ok(reader) => reader,
            Err(error) => {
                assert!(cut < ONE_ROOT_HEADER_LEN);
                assert!(matches!(error.kind(), CarErrorKind::Cut { .. }));
                continue;
            }
        };
        for block in &blocks {
            match reader.next_block() {
                Ok(Some(found)) => assert_eq!(found.to_block(), *block),
                Ok(None) => break,
                Err(error) => {
                    let CarErrorKind::Cut { missing } = error.kind() else {
                        panic!("{error}")
                    };
                    assert!(*missing > 0 && cut as u64 + missing <= v1.len() as u64);
                    break;
                }
            }
        }
        // Even where whole sections are missing, the root is.
        assert_eq!(reader.missing_roots(), [root]);
    }
    for cut in 0..v2_data {
        assert!(read_all(&v2[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn a_changed_byte_is_refused_or_leaves_what_is_hashed_alone() {
    let blocks = [raw("one"), raw(""), raw("root")];
    let root = blocks[2].cid;
    let hashed = |blocks: &[Block]| {
        let part = |block: &Block| (*block.cid.hash(), block.bytes.clone());
        blocks.iter().map(part).collect::<Vec<_>>()
    };
    let v1 = car(&[root], &blocks);
    let v2 = car_v2(&v1, 3, b"");
    // The size in the header of a CARv2 can be made to end between two sections.
    for (file, size) in [(v1, 0..0), (v2, 35..43)] {
        let mut read = 0;
        for place in 0..file.len() {
            for change in 1..=255 {
                let mut changed = file.clone();
                changed[place] ^= change;
                let Ok((reader, found)) = read_to_end(&changed[..]) else {
                    continue;
                };
                read += 1;
                if size.contains(&place) {
                    assert!(hashed(&blocks).starts_with(&hashed(&found)));
                    assert_eq!(reader.missing_roots(), [root]);
                } else {
                    assert_eq!(hashed(&found), hashed(&blocks), "byte {place}");
                }
            }
        }
        // The root in the header, and the codecs in the CIDs.
        assert!(read >= 33 * 127);
    }
}

#[test]
fn an_altered_block_is_named_and_the_reader_goes_on() {
    let blocks = [raw("one"), raw("two"), raw("three")];
    let mut file = car(&[], &blocks);
    let place = file.windows(3).position(|part| part == b"two").unwrap();
    file[place] = b'T';

    let mut reader = CarReader::new(&file[..]).unwrap();
    let first = reader.next_block().unwrap().unwrap();
    let second = first.offset + first.length;
    assert_eq!(first.to_block(), blocks[0]);
    let error = reader.next_block().unwrap_err();
    assert_eq!(error.offset(), second);
    let CarErrorKind::Unverified(VerifyError::WrongDigest { claimed, actual }) = error.kind()
    else {
        panic!("{error}")
    };
    assert_eq!((**claimed, **actual), (blocks[1].cid, raw("Two").cid));
    assert_eq!(reader.next_block().unwrap().unwrap().to_block(), blocks[2]);
    assert_eq!(reader.next_block().unwrap(), None);

    let mut reader = CarReader::new(&file[..]).unwrap().without_verification();
    reader.next_block().unwrap();
    let altered = reader.next_block().unwrap().unwrap();
    assert_eq!((altered.cid, altered.bytes), (blocks[1].cid, &b"Two"[..]));
}

#[test]
fn hash_functions_that_are_not_known_are_refused_unless_verification_is_off() {
    let sha2_512 = Cid::new_v1(RAW, Multihash::wrap(0x13, &[7; 64]).unwrap());
    let short = Cid::new_v1(RAW, Multihash::wrap(0x12, &[7; 20]).unwrap());
    for (cid, expected) in [
        (sha2_512, VerifyError::UnknownHash { found: 0x13 }),
        (short, VerifyError::DigestLength { found: 20 }),
    ] {
        let bytes = b"content".as_slice().into();
        let file = car(&[], &[Block { cid, bytes }]);
        let (offset, kind) = refused(&file);
        assert_eq!(offset, encode_header(&[]).unwrap().len() as u64);
        assert!(matches!(kind, CarErrorKind::Unverified(error) if error == expected));
        let mut reader = CarReader::new(&file[..]).unwrap().without_verification();
        assert_eq!(reader.next_block().unwrap().unwrap().cid, cid);
    }
}

#[test]
fn an_identity_cid_spells_out_the_block() {
    let cid = Cid::new_v1(RAW, Multihash::wrap(0, b"abc").unwrap());
    let bytes = b"abd".as_slice().into();
    let (_, kind) = refused(&car(&[], &[Block { cid, bytes }]));
    assert!(matches!(
        kind,
        CarErrorKind::Unverified(VerifyError::NotIdentity { claimed }) if *claimed == cid
    ));
}

#[test]
fn a_file_without_roots_or_without_blocks_is_read() {
    let block = raw("alone");
    let (roots, blocks) = read_all(&car(&[], std::slice::from_ref(&block))[..]).unwrap();
    assert_eq!((roots, blocks), (vec![], vec![block.clone()]));
    let file = car(&[block.cid], &[]);
    let mut reader = CarReader::new(&file[..]).unwrap();
    assert_eq!(reader.next_block().unwrap(), None);
    assert_eq!(reader.next_block().unwrap(), None);
    assert_eq!(reader.missing_roots(), [block.cid]);
}

#[test]
fn a_root_can_be_written_over_once_it_is_known() {
    let root = EventCid::of(b"\xa0").to_cid();
    let placeholder = EventCid::from_digest([0; 32]).to_cid();
    let mut file = car(&[placeholder], &[raw("one")]);
    file[..ONE_ROOT_HEADER_LEN].copy_from_slice(&encode_header(&[root]).unwrap());
    assert_eq!(read_all(&file[..]).unwrap(), (vec![root], vec![raw("one")]));
}

#[test]
fn the_header_is_what_the_general_codec_writes() {
    let roots = [raw("a").cid, EventCid::of(b"b").to_cid()];
    for roots in [&roots[..0], &roots[..1], &roots] {
        let links = roots.iter().copied().map(Ipld::Link).collect();
        let map = [("roots", Ipld::List(links)), ("version", Ipld::Integer(1))]
            .map(|(key, value)| (key.to_owned(), value));
        let map = dag_cbor::to_vec(&Ipld::Map(map.into())).unwrap();
        let header = encode_header(roots).unwrap();
        assert_eq!(header[0] as usize, map.len());
        assert_eq!(header[1..], map);
    }
}

/// A file whose header is this value.
fn headed(value: &Ipld) -> Vec<u8> {
    let map = dag_cbor::to_vec(value).unwrap();
    [&[u8::try_from(map.len()).unwrap()][..], &map].concat()
}

#[test]
fn another_header_is_refused() {
    let map = |pairs: &[(&str, Ipld)]| {
        let pairs = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()));
        headed(&Ipld::Map(pairs.collect()))
    };
    let (none, one) = (Ipld::List(vec![]), Ipld::Integer(1));
    for file in [
        map(&[]),
        map(&[("version", one.clone())]),
        map(&[("roots", none.clone())]),
        map(&[("roots", Ipld::Null), ("version", one.clone())]),
        map(&[
            ("roots", Ipld::List(vec![one.clone()])),
            ("version", one.clone()),
        ]),
        map(&[
            ("roots", none.clone()),
            ("version", Ipld::String("1".into())),
        ]),
        map(&[
            ("roots", none.clone()),
            ("version", one.clone()),
            ("x", one),
        ]),
        headed(&none),
    ] {
        assert!(matches!(refused(&file), (1, CarErrorKind::HeaderShape)));
    }
    for version in [0, 3, 42, -1] {
        let version = Ipld::Integer(version);
        for file in [
            map(&[("version", version.clone())]),
            map(&[("roots", none.clone()), ("version", version.clone())]),
        ] {
            let (offset, CarErrorKind::Version { found }) = refused(&file) else {
                panic!("a version")
            };
            assert_eq!((offset, Ipld::Integer(found)), (1, version.clone()));
        }
    }
    // Keys the other way round, and a length in the long form.
    let unsorted = b"\x11\xa2\x67version\x01\x65roots\x80";
    assert!(matches!(
        refused(unsorted),
        (1, CarErrorKind::HeaderCbor(_))
    ));
    let long = b"\x12\xa2\x65roots\x98\x00\x67version\x01";
    assert!(matches!(refused(long), (1, CarErrorKind::HeaderCbor(_))));
}

#[test]
fn what_is_no_car_is_refused_at_once() {
    let limit = MAX_HEADER_LEN as u64;
    for (file, expected) in [
        (&b""[..], "Cut"),
        (b"\x00", "HeaderLength"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "Length"),
        (b"\xba\x00", "Length"),
        (
            b"PK\x03\x04 and so on, much longer than an archive's magic",
            "Cut",
        ),
        (
            b"{\"a json text of more than one hundred and twenty-three bytes, to \
           have a header of the length that the brace is the code of\": true, \"x\": 1}",
            "HeaderCbor",
        ),
        (b"\x80\x80\x80\x80\x80\x80\x80\x80\x01", "HeaderLength"),
    ] {
        let (offset, kind) = refused(file);
        assert!(offset <= 1);
        let name = format!("{kind:?}");
        assert!(name.starts_with(expected), "{name} for {file:?}");
        if let CarErrorKind::HeaderLength { limit: said, .. } = kind {
            assert_eq!(said, limit);
        }
    }
}

#[test]
fn broken_sections_are_refused_at_their_byte() {
    let whole = car(&[], &[raw("one")]);
    let at = whole.len() as u64;
    let section = |bytes: &[u8]| [&whole, bytes].concat();

    assert!(matches!(refused(&section(&[0])), (o, CarErrorKind::EmptySection) if o == at));
    assert!(matches!(
        refused(&section(&[0x80, 0])),
        (o, CarErrorKind::Length(VarintFault::NonMinimal)) if o == at
    ));
    assert!(matches!(
        refused(&section(&[0x80; 9])),
        (o, CarErrorKind::Length(VarintFault::TooLong)) if o == at
    ));
    assert!(matches!(
        refused(&section(&[0x80; 8])),
        (o, CarErrorKind::Cut { missing: 1 }) if o == at
    ));
    assert!(matches!(
        refused(&section(&[5, 1, 0x55])),
        (o, CarErrorKind::Cut { missing: 3 }) if o == at
    ));
    for (bytes, fault) in [
        (&[3, 1, 0x55, 0x12][..], CidFault::Truncated),
        (&[4, 1, 0x55, 0x12, 0x20], CidFault::Truncated),
        (&[3, 0x12, 0x20, 7], CidFault::Truncated),
        (&[4, 2, 0x55, 0, 0], CidFault::Version { found: 2 }),
        (&[4, 1, 0x55, 0, 65], CidFault::DigestTooLong { len: 65 }),
        (
            &[5, 0x81, 0, 0x55, 0, 0],
            CidFault::Varint(VarintFault::NonMinimal),
        ),
    ] {
        let (offset, CarErrorKind::Cid(found)) = refused(&section(bytes)) else {
            panic!("a CID's fault")
        };
        assert_eq!((offset, found), (at + 1, fault));
    }
}

#[test]
fn after_an_error_there_is_no_end_of_the_file() {
    let mut file = car(&[], &[]);
    file.push(0);
    let mut reader = CarReader::new(&file[..]).unwrap();
    assert!(reader.next_block().is_err());
    let again = reader.next_block().unwrap_err();
    assert!(matches!(again.kind(), CarErrorKind::AfterError));
}

#[test]
fn blocks_are_read_and_written_up_to_the_limit_and_not_beyond() {
    let largest = raw(vec![1; MAX_BLOCK_LEN]);
    let file = car(&[largest.cid], std::slice::from_ref(&largest));
    assert_eq!(read_all(&file[..]).unwrap().1, [largest]);

    let over = raw(vec![1; MAX_BLOCK_LEN + 1]);
    let mut writer = CarWriter::new(Vec::new(), &[]).unwrap();
    let error = writer.write_block(&over.cid, &over.bytes).unwrap_err();
    assert!(matches!(
        error.kind(),
        CarErrorKind::BlockTooLong { len, .. } if *len == MAX_BLOCK_LEN as u64 + 1
    ));
    // Nothing of it was written, and the writer goes on.
    writer.write_block(&raw("x").cid, b"x").unwrap();
    let mut file = writer.finish().unwrap();
    assert_eq!(read_all(&file[..]).unwrap().1, [raw("x")]);

    // The same by hand: one byte too many.
    let at = file.len() as u64;
    let mut section = Vec::new();
    encode_section_head(&over.cid, MAX_BLOCK_LEN, &mut section).unwrap();
    section[0] += 1;
    file.extend(section);
    file.extend(&over.bytes[..]);
    assert!(matches!(
        refused(&file),
        (o, CarErrorKind::BlockTooLong { .. }) if o == at
    ));
}

#[test]
fn an_announced_length_costs_no_memory_and_no_time() {
    struct Counted(u64);
    impl Read for Counted {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            buffer[0] = if self.0 < 9 { 0xff } else { 0x7f };
            Ok(1)
        }
    }
    // An endless stream: the reader stops at the length.
    let mut endless = Counted(0);
    let error = CarReader::new(&mut endless).unwrap_err();
    assert!(
        matches!(error.kind(), CarErrorKind::HeaderLength { len, .. } if *len == u64::MAX >> 1)
    );
    assert!(endless.0 <= 10);

    let mut file = car(&[], &[]);
    file.extend(b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f");
    assert!(matches!(
        refused(&file).1,
        CarErrorKind::BlockTooLong { .. }
    ));
}

#[test]
fn deep_nesting_in_a_header_costs_no_stack() {
    let mut file = vec![0x80, 0x80, 0x40]; // 1 MiB
    file.extend(vec![0x81; MAX_HEADER_LEN]);
    assert!(matches!(refused(&file), (3, CarErrorKind::HeaderCbor(_))));
}

#[test]
fn a_car_v2_that_contradicts_itself_is_refused() {
    let v1 = car(&[], &[raw("one")]);
    let with = |at: usize, number: u64| {
        let mut file = car_v2(&v1, 0, b"index");
        file[at..at + 8].copy_from_slice(&number.to_le_bytes());
        file
    };
    let (start, size, index) = (27, 35, 43);
    for file in [
        with(start, 50),
        with(start, 0),
        with(start, u64::MAX),
        with(size, u64::MAX),
        with(index, 51),
        with(index, 50 + v1.len() as u64),
    ] {
        assert!(matches!(refused(&file), (11, CarErrorKind::DataPlace)));
    }
    // The data ends inside the header, or inside a section.
    assert!(matches!(
        refused(&with(size, 0)).1,
        CarErrorKind::BeyondData { end: 51 }
    ));
    let less = v1.len() as u64 - 1;
    assert!(matches!(
        refused(&with(size, less)),
        (o, CarErrorKind::BeyondData { end }) if end == 51 + less && o == 51 + 17 + 1
    ));
    // The data begins where the file ends.
    assert!(matches!(
        refused(&{
            let mut file = with(start, 10_000);
            file[index..index + 8].fill(0);
            file
        })
        .1,
        CarErrorKind::Cut { .. }
    ));
    // A CARv2 inside a CARv2.
    assert!(matches!(
        refused(&car_v2(&car_v2(&v1, 0, b""), 0, b"")).1,
        CarErrorKind::Version { found: 2 }
    ));
}

#[test]
fn a_full_disk_breaks_the_writer_for_good() {
    #[derive(Debug)]
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let count = self.0.min(bytes.len());
            self.0 -= count;
            Ok(count)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let one = raw("one");
    let all = car(&[], std::slice::from_ref(&one)).len();
    let header = car(&[], &[]).len();
    for room in 0..header {
        let error = CarWriter::new(Full(room), &[]).unwrap_err();
        assert!(matches!(error.kind(), CarErrorKind::Write(_)));
    }
    for room in header..all {
        let mut writer = CarWriter::new(Full(room), &[]).unwrap();
        let error = writer.write_block(&one.cid, &one.bytes).unwrap_err();
        assert!(matches!(error.kind(), CarErrorKind::Write(_)));
        assert_eq!(error.offset(), header as u64);
        let error = writer.write_block(&one.cid, &one.bytes).unwrap_err();
        assert!(matches!(error.kind(), CarErrorKind::AfterError));
        let error = writer.finish().unwrap_err();
        assert!(matches!(error.kind(), CarErrorKind::AfterError));
    }
}

#[test]
fn a_failing_read_is_passed_on() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }
    let file = car(&[], &[raw("one")]);
    let cut = file.len() - 1;
    let error = read_all(file[..cut].chain(Failing)).unwrap_err();
    assert!(matches!(
        error.kind(),
        CarErrorKind::Read(error) if error.kind() == io::ErrorKind::PermissionDenied
    ));
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn too_many_roots_are_refused() {
    let root = EventCid::of(b"").to_cid();
    let fits = (MAX_HEADER_LEN - 18) / 41;
    assert!(encode_header(&vec![root; fits]).is_ok());
    let error = CarWriter::new(Vec::new(), &vec![root; fits + 1]).unwrap_err();
    assert!(matches!(error.kind(), CarErrorKind::HeaderLength { .. }));
    let file = encode_header(&vec![root; fits]).unwrap();
    assert_eq!(CarReader::new(&file[..]).unwrap().roots().len(), fits);
}
