//! CAR files published by the IPLD project, and what they hold.
//!
//! The files are facts from the CAR specification's fixtures `carv1-basic` and `carv2-basic`
//! (as packaged in the crate `rs-car` 0.5.0, `tests/spec_fixtures`); offsets, lengths and CIDs are
//! those of the descriptions beside them (`carv1-basic.json`, `carv2-basic.json`).

use cim_ipld::Cid;
use cim_ipld::car::{CarReader, CarWriter};

use crate::hex::from_hex;

#[test]
fn the_published_car_v1_is_read_as_described() {
    let file = from_hex(V1);
    let mut reader = CarReader::new(&file[..]).unwrap();
    assert_eq!(reader.version(), 1);
    assert_eq!(texts(reader.roots()), V1_ROOTS);
    assert_eq!(blocks(&mut reader), described(V1_BLOCKS));
    assert_eq!(reader.missing_roots(), []);
}

#[test]
fn the_published_car_v2_is_read_as_described_without_its_index() {
    let file = from_hex(V2);
    let mut reader = CarReader::new(&file[..]).unwrap();
    assert_eq!(reader.version(), 2);
    assert_eq!(texts(reader.roots()), V2_ROOTS);
    assert_eq!(blocks(&mut reader), described(V2_BLOCKS));
    assert_eq!(reader.missing_roots(), []);
    assert_eq!(reader.position(), 499);

    let without_index = &file[..499];
    let mut reader = CarReader::new(without_index).unwrap();
    assert_eq!(blocks(&mut reader), described(V2_BLOCKS));
}

#[test]
fn the_published_car_v1_is_written_again_byte_by_byte() {
    let file = from_hex(V1);
    let mut reader = CarReader::new(&file[..]).unwrap();
    let mut writer = CarWriter::new(Vec::new(), reader.roots()).unwrap();
    while let Some(block) = reader.next_block().unwrap() {
        let offset = writer.write_block(&block.cid, block.bytes).unwrap();
        assert_eq!(offset, block.offset);
    }
    assert_eq!(writer.bytes_written(), file.len() as u64);
    assert_eq!(writer.finish().unwrap(), file);
}

/// A block's CID, offset and length of its section, offset and length of its bytes.
type Described<T> = (T, u64, u64, u64, usize);

fn texts(cids: &[Cid]) -> Vec<String> {
    cids.iter().map(Cid::to_string).collect()
}

fn described(blocks: &[Described<&str>]) -> Vec<Described<String>> {
    let owned = |block: &Described<&str>| {
        let (cid, offset, length, block_offset, block_length) = *block;
        (cid.to_owned(), offset, length, block_offset, block_length)
    };
    blocks.iter().map(owned).collect()
}

fn blocks(reader: &mut CarReader<&[u8]>) -> Vec<Described<String>> {
    let mut blocks = Vec::new();
    while let Some(block) = reader.next_block().unwrap() {
        blocks.push((
            block.cid.to_string(),
            block.offset,
            block.length,
            block.block_offset(),
            block.bytes.len(),
        ));
    }
    blocks
}

const V1_ROOTS: &[&str] = &[
    "bafyreihyrpefhacm6kkp4ql6j6udakdit7g3dmkzfriqfykhjw6cad5lrm",
    "bafyreidj5idub6mapiupjwjsyyxhyhedxycv4vihfsicm2vt46o7morwlm",
];

const V1_BLOCKS: &[Described<&str>] = &[
    (
        "bafyreihyrpefhacm6kkp4ql6j6udakdit7g3dmkzfriqfykhjw6cad5lrm",
        100,
        92,
        137,
        55,
    ),
    (
        "QmNX6Tffavsya4xgBi2VJQnSuqy9GsxongxZZ9uZBqp16d",
        192,
        133,
        228,
        97,
    ),
    (
        "bafkreifw7plhl6mofk6sfvhnfh64qmkq73oeqwl6sloru6rehaoujituke",
        325,
        41,
        362,
        4,
    ),
    (
        "QmWXZxVQ9yZfhQxLD35eDR8LiMRsYtHxYqTFCBbJoiJVys",
        366,
        130,
        402,
        94,
    ),
    (
        "bafkreiebzrnroamgos2adnbpgw5apo3z4iishhbdx77gldnbk57d4zdio4",
        496,
        41,
        533,
        4,
    ),
    (
        "QmdwjhxpxzcMsR3qUuj7vUL8pbA7MgR3GAxWi2GLHjsKCT",
        537,
        82,
        572,
        47,
    ),
    (
        "bafkreidbxzk2ryxwwtqxem4l3xyyjvw35yu4tcct4cqeqxwo47zhxgxqwq",
        619,
        41,
        656,
        4,
    ),
    (
        "bafyreidj5idub6mapiupjwjsyyxhyhedxycv4vihfsicm2vt46o7morwlm",
        660,
        55,
        697,
        18,
    ),
];

const V2_ROOTS: &[&str] = &["QmfEoLyB5NndqeKieExd1rtJzTduQUPEV8TwAYcUiy3H5Z"];

const V2_BLOCKS: &[Described<&str>] = &[
    (
        "QmfEoLyB5NndqeKieExd1rtJzTduQUPEV8TwAYcUiy3H5Z",
        108,
        82,
        143,
        47,
    ),
    (
        "QmczfirA7VEH7YVvKPTPoU69XM3qY4DC39nnTsWd4K3SkM",
        190,
        135,
        226,
        99,
    ),
    (
        "Qmcpz2FHJD7VAhg1fxFXdYJKePtkx1BsHuCrAgWVnaHMTE",
        325,
        89,
        360,
        54,
    ),
    (
        "bafkreifuosuzujyf4i6psbneqtwg2fhplc2wxptc5euspa2gn3bwhnihfu",
        414,
        41,
        451,
        4,
    ),
    (
        "bafkreifc4hca3inognou377hfhvu2xfchn2ltzi7yu27jkaeujqqqdbjju",
        455,
        44,
        492,
        7,
    ),
];

const V1: &str = "\
    63a265726f6f747382d82a58250001711220f88bc853804cf294fe417e4fa83028689fcdb1b1592c5102e147\
    4dbc200fab8bd82a5825000171122069ea0740f9807a28f4d932c62e7c1c83be055e55072c90266ab3e79df6\
    3a365b6776657273696f6e015b01711220f88bc853804cf294fe417e4fa83028689fcdb1b1592c5102e1474d\
    bc200fab8ba2646c696e6bd82a582300122002acecc5de2438ea4126a3010ecb1f8a599c8eff22fff1a1dcff\
    e999b27fd3de646e616d6564626c69708301122002acecc5de2438ea4126a3010ecb1f8a599c8eff22fff1a1\
    dcffe999b27fd3de122e0a2401551220b6fbd675f98e2abd22d4ed29fdc83150fedc48597e92dd1a7a24381d\
    44a274511204626561721804122f0a22122079a982de3c9907953d4d323cee1d0fb1ed8f45f8ef02870c0cb9\
    e09246bd530a12067365636f6e641895012801551220b6fbd675f98e2abd22d4ed29fdc83150fedc48597e92\
    dd1a7a24381d44a27451636363638001122079a982de3c9907953d4d323cee1d0fb1ed8f45f8ef02870c0cb9\
    e09246bd530a122d0a240155122081cc5b17018674b401b42f35ba07bb79e211239c23bffe658da1577e3e64\
    68771203646f671804122d0a221220e7dc486e97e6ebe5cdabab3e392bdad128b6e09acc94bb4e2aa2af7b98\
    6d24d0120566697273741833280155122081cc5b17018674b401b42f35ba07bb79e211239c23bffe658da157\
    7e3e64687762626262511220e7dc486e97e6ebe5cdabab3e392bdad128b6e09acc94bb4e2aa2af7b986d24d0\
    122d0a240155122061be55a8e2f6b4e172338bddf184d6dbee29c98853e0a0485ecee7f27b9af0b412036361\
    741804280155122061be55a8e2f6b4e172338bddf184d6dbee29c98853e0a0485ecee7f27b9af0b461616161\
    360171122069ea0740f9807a28f4d932c62e7c1c83be055e55072c90266ab3e79df63a365ba2646c696e6bf6\
    646e616d65656c696d626f";

const V2: &str = "\
    0aa16776657273696f6e02000000000000000000000000000000003300000000000000c001000000000000f3\
    0100000000000038a265726f6f747381d82a5823001220fb16f5083412ef1371d031ed4aa239903d84efdadf\
    1ba3cd678e6475b1a232f86776657273696f6e01511220fb16f5083412ef1371d031ed4aa239903d84efdadf\
    1ba3cd678e6475b1a232f8122d0a221220d9c0d5376d26f1931f7ad52d7acc00fc1090d2edb0808bf61eeb0a\
    152826f6261204f09f8da418a40185011220d9c0d5376d26f1931f7ad52d7acc00fc1090d2edb0808bf61eeb\
    0a152826f62612310a221220d745b7757f5b4593eeab7820306c7bc64eb496a7410a0d07df7a34ffec4b97f1\
    120962617272656c657965183a122e0a2401551220a2e1c40da1ae335d4dffe729eb4d5ca23b74b9e51fc535\
    f4a804a261080c294d1204f09f90a11807581220d745b7757f5b4593eeab7820306c7bc64eb496a7410a0d07\
    df7a34ffec4b97f112340a2401551220b474a99a2705e23cf905a484ec6d14ef58b56bbe62e9292783466ec3\
    63b5072d120a666973686d6f6e67657218042801551220b474a99a2705e23cf905a484ec6d14ef58b56bbe62\
    e9292783466ec363b5072d666973682b01551220a2e1c40da1ae335d4dffe729eb4d5ca23b74b9e51fc535f4\
    a804a261080c294d6c6f62737465720100000028000000c800000000000000a2e1c40da1ae335d4dffe729eb\
    4d5ca23b74b9e51fc535f4a804a261080c294d9401000000000000b474a99a2705e23cf905a484ec6d14ef58\
    b56bbe62e9292783466ec363b5072d6b01000000000000d745b7757f5b4593eeab7820306c7bc64eb496a741\
    0a0d07df7a34ffec4b97f11201000000000000d9c0d5376d26f1931f7ad52d7acc00fc1090d2edb0808bf61e\
    eb0a152826f6268b00000000000000fb16f5083412ef1371d031ed4aa239903d84efdadf1ba3cd678e6475b1\
    a232f83900000000000000";
