//! DAG-CBOR test vectors published by the IPLD project.
//!
//! Bytes and CIDs are facts from the repository `ipld/codec-fixtures` at commit
//! bf8ab059714b70e03c9ff7f1a49edef7fcdf47c1: `fixtures/<name>/<cid>.dag-cbor` for the valid ones,
//! `_fixtures_src/<name>.dag-cbor` and `negative-fixtures/dag-cbor/decode/duplicate-keys.json` for
//! those in a form that canonical DAG-CBOR forbids.

use std::collections::BTreeMap;

use cim_ipld::dag_cbor::{self, CodecError, Ipld};
use cim_ipld::{CborFault, Cid, EventCid, cid_of_dag_cbor};

use crate::hex::{from_hex, to_hex};

#[test]
fn bytes_have_the_published_cid() {
    for (name, hex, cid) in VALID {
        let bytes = from_hex(hex);
        assert_eq!(EventCid::of(&bytes).to_string(), *cid, "{name}");
        assert_eq!(
            cid_of_dag_cbor(&bytes),
            Cid::try_from(*cid).unwrap(),
            "{name}"
        );
        assert_eq!(
            cid.parse::<EventCid>().unwrap(),
            EventCid::of(&bytes),
            "{name}"
        );
    }
}

#[test]
fn bytes_decode_and_encode_back_to_the_same_bytes() {
    for (name, hex, _) in VALID {
        let value: Ipld = dag_cbor::from_slice(&from_hex(hex)).expect(name);
        assert_eq!(
            to_hex(&dag_cbor::to_vec(&value).expect(name)),
            *hex,
            "{name}"
        );
    }
}

#[test]
fn bytes_decode_to_the_published_values() {
    let link = |text: &str| Ipld::Link(Cid::try_from(text).unwrap());
    let keysort = [
        "f", "ee", "ddd", "cccc", "bbbbb", "aaaaaa", "aaaaab", "aaaaac", "aaaabb",
    ];
    let keysort = (1..)
        .zip(keysort)
        .map(|(n, key)| (key.to_owned(), Ipld::Integer(n)));
    for (name, value) in [
        ("true", Ipld::Bool(true)),
        ("false", Ipld::Bool(false)),
        ("null", Ipld::Null),
        ("int-0", Ipld::Integer(0)),
        ("int--1", Ipld::Integer(-1)),
        ("int-255", Ipld::Integer(255)),
        ("int--256", Ipld::Integer(-256)),
        ("int-65535", Ipld::Integer(65_535)),
        ("int-65536", Ipld::Integer(65_536)),
        ("int-9223372036854775807", Ipld::Integer(i64::MAX.into())),
        ("int--9223372036854775808", Ipld::Integer(i64::MIN.into())),
        ("int-18446744073709551615", Ipld::Integer(u64::MAX.into())),
        (
            "int--11959030306112471732",
            Ipld::Integer(-11_959_030_306_112_471_732),
        ),
        ("float--0.5", Ipld::Float(-0.5)),
        (
            "float-82497.63712086187",
            Ipld::Float(82_497.637_120_861_87),
        ),
        ("float-1e-323", Ipld::Float(1e-323)),
        ("string-empty", Ipld::String(String::new())),
        ("string-Hello world!", Ipld::String("Hello world!".into())),
        ("bytes-a1", Ipld::Bytes(vec![0xa1])),
        (
            "map-keysort",
            Ipld::Map(keysort.collect::<BTreeMap<_, _>>()),
        ),
        (
            "array-3,4,5,6",
            Ipld::List((3..=6).map(Ipld::Integer).collect()),
        ),
        // A CIDv0, a raw CIDv1 and a dag-cbor CIDv1.
        (
            "cid-QmRgutAxd8t7oGkSm4wmeuByG6M51wcTso6cubDdQtuEfL",
            link("QmRgutAxd8t7oGkSm4wmeuByG6M51wcTso6cubDdQtuEfL"),
        ),
        (
            "cid-bafkreiebzrnroamgos2adnbpgw5apo3z4iishhbdx77gldnbk57d4zdio4",
            link("bafkreiebzrnroamgos2adnbpgw5apo3z4iishhbdx77gldnbk57d4zdio4"),
        ),
        (
            "cid-bafyreidj5idub6mapiupjwjsyyxhyhedxycv4vihfsicm2vt46o7morwlm",
            link("bafyreidj5idub6mapiupjwjsyyxhyhedxycv4vihfsicm2vt46o7morwlm"),
        ),
    ] {
        let (_, hex, _) = VALID.iter().find(|vector| vector.0 == name).expect(name);
        let decoded: Ipld = dag_cbor::from_slice(&from_hex(hex)).expect(name);
        assert_eq!(decoded, value, "{name}");
    }
}

#[test]
fn forms_that_canonical_dag_cbor_forbids_are_refused() {
    for (name, hex, at, rule) in REFUSED {
        let error = dag_cbor::from_slice::<Ipld>(&from_hex(hex)).expect_err(name);
        match error {
            CodecError::NotCanonical { fault, offset } => {
                assert_eq!((fault, offset), (*rule, *at), "{name}");
            }
            other => panic!("{name}: {other}"),
        }
    }
}

/// Name, bytes, offset of the faulty item, the rule it breaks.
const REFUSED: &[(&str, &str, usize, CborFault)] = &[
    ("float--0.5 in 16 bits", "f9b800", 0, CborFault::Float),
    ("float-0.5 in 16 bits", "f93800", 0, CborFault::Float),
    (
        "float--8.940696716308594e-8 in 32 bits",
        "fab3c00000",
        0,
        CborFault::Float,
    ),
    (
        "float-8.940696716308594e-8 in 32 bits",
        "fa33c00000",
        0,
        CborFault::Float,
    ),
    (
        "duplicate map keys",
        "a3636261720363666f6f0163666f6f02",
        11,
        CborFault::DuplicateKey,
    ),
];

/// Name, bytes, CID.
pub(crate) const VALID: &[(&str, &str, &str)] = &[
    (
        "array-2",
        "8102",
        "bafyreihdb57fdysx5h35urvxz64ros7zvywshber7id6t6c6fek37jgyfe",
    ),
    (
        "array-255",
        "8118ff",
        "bafyreick3uapgoe63rizj6rptbqwl7pagin26fos32n37fu7uktzcadcdu",
    ),
    (
        "array-3,4,5,6",
        "8403040506",
        "bafyreid7y3kwce6omkwi4ziyisf5v2niknzjwab2ofigddwm3bq4xlnovy",
    ),
    (
        "array-5-nested",
        "8265617272617982626f66820582666e657374656482666172726179736121",
        "bafyreihmxfmn5wcpzpiqa6zfefgabxmd2jzr2bd4y2v7c2ss4plkgkabgq",
    ),
    (
        "array-500",
        "811901f4",
        "bafyreidasbkb6vj3obxxqqgiz2ahvw7iaxmj446bbnrroj3jt6vzpo5fhm",
    ),
    (
        "array-6433713753386423",
        "811b0016db6db6db6db7",
        "bafyreifflym5ibfezh3vwegpsh6hngjeczrjw35a7fsgsfqui4vgy2eawu",
    ),
    (
        "array-65536",
        "811a00010000",
        "bafyreiarke72vvg3sfs2nrpzpgnxs7dqcdu2e4ytixgo7snkyoq5w7oddu",
    ),
    (
        "array-9007199254740991",
        "811b001fffffffffffff",
        "bafyreifjs6kz3aq24pywi7mdrizazmzdsvu3jtd7uut64lvj3mblk2byaa",
    ),
    (
        "array-empty",
        "80",
        "bafyreidwx2fvfdiaox32v2mnn6sxu3j4qoxeqcuenhtgrv5qv6litfnmoe",
    ),
    (
        "array-mixed",
        "8c1b0016db6db6db6db71a000100001901f40200202238ff3aa5f702b33b0016db6db6db6db74261316fc48c6175657320c39f76c49b746521",
        "bafyreidufmzzejc3p7gmh6ivp4fjvca5jfazk57nu6vdkvki4c4vpja724",
    ),
    (
        "bytes-a1",
        "41a1",
        "bafyreidfn5bivgcww7slkgp7f5iiukoggxr542m4pzl3zn3oia7ozt7ffe",
    ),
    (
        "bytes-empty",
        "40",
        "bafyreigdmqpykrgxyaxtlafqpqhzrb7qy2rh75nldvfd4kok6gl47quzvy",
    ),
    (
        "cid-QmQg1v4o9xdT3Q14wh4S7dxZkDjyZ9ssFzFzyep1YrVJBY",
        "d82a582300122022ad631c69ee983095b5b8acd029ff94aff1dc6c48837878589a92b90dfea317",
        "bafyreidsrf4agofvag5iiksjc7jjehhdcjqggra7cxe3m2movopc7pomr4",
    ),
    (
        "cid-QmRgutAxd8t7oGkSm4wmeuByG6M51wcTso6cubDdQtuEfL",
        "d82a582300122031c3d57080d8463a3c63b2923df5a1d40ad7a73eae5a14af584213e5f504ac33",
        "bafyreidfkreyekhbpfbbau3o4aakvxk6ninfo7baileo7ezgjiunk66er4",
    ),
    (
        "cid-QmXg9Pp2ytZ14xgmQjYEiHjVjMFXzCVVEcRTWJBmLgR39V",
        "d82a58230012208ab7a6c5e74737878ac73863cb76739d15d4666de44e5756bf55a2f9e9ab5f44",
        "bafyreidqpmseqxbqp3fwb256fmqg4glepd4wfn5ubei7jlcvxpfy7bshge",
    ),
    (
        "cid-bafkqabiaaebagba",
        "d82a4a00015500050001020304",
        "bafyreihm764rs4lirtozq4d5d4pqext5b5akh6val7cyphu4aglvpha3xm",
    ),
    (
        "cid-bafkreiebzrnroamgos2adnbpgw5apo3z4iishhbdx77gldnbk57d4zdio4",
        "d82a5825000155122081cc5b17018674b401b42f35ba07bb79e211239c23bffe658da1577e3e646877",
        "bafyreic3yrxqeqgoi24fo3h43nfkfs4cntcx243g3lzv3n2hnmcm5ksnzu",
    ),
    (
        "cid-bafkreifw7plhl6mofk6sfvhnfh64qmkq73oeqwl6sloru6rehaoujituke",
        "d82a58250001551220b6fbd675f98e2abd22d4ed29fdc83150fedc48597e92dd1a7a24381d44a27451",
        "bafyreicsrmbdimdekusleiafgsuwpsvijhmqtecucyxysgcftnptepbb2m",
    ),
    (
        "cid-bafyreidj5idub6mapiupjwjsyyxhyhedxycv4vihfsicm2vt46o7morwlm",
        "d82a5825000171122069ea0740f9807a28f4d932c62e7c1c83be055e55072c90266ab3e79df63a365b",
        "bafyreihfnilmqbnwzcmqrspmmyik5qdocjdrf3rnkuxb2aanrh2qycf6wy",
    ),
    (
        "cid-bafyreiejkvsvdq4smz44yuwhfymcuvqzavveoj2at3utujwqlllspsqr6q",
        "d82a5825000171122089556551c3926679cc52c72e182a5619056a4727409ee93a26d05ad727ca11f4",
        "bafyreif4kmuaiu3fuqmdkb6e7vfdz7x6c2sqjybc5bz3l6b2vnj5e5xjl4",
    ),
    (
        "cid-bagcqcera73rupyla6bauseyk75rslfys3st25spm75ykhvgusqvv2zfqtucq",
        "d82a5826000185011220fee347e160f04149130aff63259712dca7aec9ecff70a3d4d4942b5d64b09d05",
        "bafyreidvvetydwcmpvymr34rqmz6cu4yhi7jluds6n5yyyqdllssa4jcom",
    ),
    (
        "cid-bagyacvradn6dsgl6sw2jwoh7s3d37hq5wsu7g22wtdwnmaaaaaaaaaaaaaaa",
        "d82a58260001b00156201b7c39197e95b49b38ff96c7bf9e1db4a9f36b5698ecd6000000000000000000",
        "bafyreicwwufftyxxvvbolsj2svwvc3zzo7u23j2hz27edffxzazlhistjy",
    ),
    (
        "cid-bagyqcvraypzcitp3hsbtyyxhfyc3p7i3226lullm2rkzqsqqlhnxus7tqnea",
        "d82a58260001b1015620c3f2244dfb3c833c62e72e05b7fd1bd6bcba2d6cd455984a1059db7a4bf38348",
        "bafyreigyego6qj7uxt5dtmpznwi3mtwz7l5hf7m3udmsvkd2ps2gbmjzs4",
    ),
    (
        "cid-bahaacvrabdhd3fzrwaambazyivoiustl2bo2c3rgweo2ug4rogcoz2apaqaa",
        "d82a58260001c001562008ce3d9731b000c08338455c8a4a6bd05da16e26b11daa1b917184ece80f0400",
        "bafyreias54gwjsb5z4v3amftdd5h6ufcpuk3zci7klphqoyyjmv52g4uie",
    ),
    (
        "cid-bahaacvrasyauh7rmlyrmyc7qzvktjv7x6q2h6ttvei6qon43tl3riaaaaaaa",
        "d82a58260001c0015620960143fe2c5e22cc0bf0cd5534d7f7f4347f4e75223d07379b9af71400000000",
        "bafyreiboefkuukdnjhy5sy2ekybhp73yheoy3uj5n36hal6tckhflmp2ye",
    ),
    (
        "cid-z8mWaJ1dZ9fH5EetPuRsj8jj26pXsgpsr",
        "d82a58190001781114c876ceeaa8b30123bc5fc99359e682a737308659",
        "bafyreiemoe3mh3uanvjypqyrousnwapnluxnmt5lorlhzguj5nvmgjdthi",
    ),
    (
        "cid-zdj7Wd8AMwqnhJGQCbFxBVodGSBG84TM7Hs1rcJuQMwTyfEDS",
        "d82a582500017012207252523e6591fb8fe553d67ff55a86f84044b46a3e4176e10c58fa529a4aabd5",
        "bafyreicrcxd4oefvax3uw7gshyen7bbj2vno3drylsnp3int5p6wdesoqq",
    ),
    (
        "cid-zdpuAtX7ZibcWdSKQwiDCkPjWwRvtcKCPku9H7LhgA4qJW4Wk",
        "d82a58250001711220785197229dc8bb1152945da58e2348f7e279eeded06cc2ca736d0e879858b501",
        "bafyreib6okxebjb65dd5i7nu2johcro6wpxxxvt5ykuusyky7763w2ypnq",
    ),
    (
        "false",
        "f4",
        "bafyreibac77tiyjzkzzkucve6zejj7jpswslcihcnehisulfnv423qxo2i",
    ),
    (
        "float--0.5",
        "fbbfe0000000000000",
        "bafyreidgf3tgrdkimspjianeb4i2ilrhwrd72drroivhom32cegkxisoay",
    ),
    (
        "float--0.9999999999999999",
        "fbbfefffffffffffff",
        "bafyreibmiakyxlz24yia56ipz27movs5zv6js456jvqhpyjluhycsitl34",
    ),
    (
        "float--1.1",
        "fbbff199999999999a",
        "bafyreibn43uo5yygsnzbdj6eey2mrcrmavhxgkzvgnmarkt3mo2efr4cfy",
    ),
    (
        "float--1e-323",
        "fb8000000000000002",
        "bafyreibg2jfpbjanaowwfpoamj2tjpo2ifhy5fbkln55b5mlhfiy747egq",
    ),
    (
        "float--8.940696716308594e-8",
        "fbbe78000000000000",
        "bafyreideyqdtlnfu53gvyrlg7fsqrx5bk4v2lxmgwzfnfxi23wlyxm43ta",
    ),
    (
        "float-0.5",
        "fb3fe0000000000000",
        "bafyreifwqkffcpzsyfigri7xm2kaf6bz7si5stsnf46jep5w5we7ngmgma",
    ),
    (
        "float-0.9999999999999999",
        "fb3fefffffffffffff",
        "bafyreigjp6bt6yhk2nxlvxhvy3mfoxs4sxslnnzzgbbxc2tailmnuic37i",
    ),
    (
        "float-1.1",
        "fb3ff199999999999a",
        "bafyreifeekgttrbqlvjqmvey2r7damal3kiqn5a6r7a2pijrx4jgdv5odi",
    ),
    (
        "float-1.1111111111111112",
        "fb3ff1c71c71c71c72",
        "bafyreifj6tfoswmsty24t4ittpwdnzaj6tka7637gdjrrly6q5msu6eooq",
    ),
    (
        "float-1e-323",
        "fb0000000000000002",
        "bafyreib6bigeneyagim45hjjzzn3ggyuthejspqqccplri2pmmek5bz2uq",
    ),
    (
        "float-8.940696716308594e-8",
        "fb3e78000000000000",
        "bafyreie6fuw4lkhwfiljun5k4y5srv6io7rcf4r766amlxtmx3it2hwg2e",
    ),
    (
        "float-82497.63712086187",
        "fb40f4241a31a5a515",
        "bafyreibybbnywxrykhqdulrhywkofxds5tw5fye6geudy2us3pgw2ptgnm",
    ),
    (
        "float-array_of_specials",
        "8501f5f4f620",
        "bafyreibqkv642umtthvkk4siz2x27eqwugyitsjsgbc65ffmtajiag4b64",
    ),
    (
        "int--1",
        "20",
        "bafyreibwvht7dsk3ql73tf2d4dc4jtuv3a6juqykvrm7qtxtzp5lmfcqna",
    ),
    (
        "int--100",
        "3863",
        "bafyreiek7xrdy2ej7xqapz2iofeuwo4yl43xrklokxd3k5jwpkcmos4os4",
    ),
    (
        "int--11959030306112471732",
        "3ba5f702b3a5f702b3",
        "bafyreieir43khjzemsmgahaozab2vjvtdxavszixhhurvdqg2xkhrwinyi",
    ),
    (
        "int--256",
        "38ff",
        "bafyreigdjo5suzljxlmtuj4eoohou6vadwznc4kkdfd4xsarc5sycz76oy",
    ),
    (
        "int--2784428724",
        "3aa5f702b3",
        "bafyreiegsmviy5gqtupkwtz7d4driei2jzbf4tg3yldpc6ralqjukiywru",
    ),
    (
        "int--3",
        "22",
        "bafyreiekgmp53zydf4z2ohq3fysx3aawny2i4ah4wf4rj5el3nl2drrqa4",
    ),
    (
        "int--501",
        "3901f4",
        "bafyreigwygio7woulumjyyylkawalinrei75k3ejc47mcnbnh2voqfikoy",
    ),
    (
        "int--6433713753386424",
        "3b0016db6db6db6db7",
        "bafyreickfy6hbb7xz6eiervs4n3jkmnzc2ndbh4flg2jmbz4whoflbdbnm",
    ),
    (
        "int--9007199254740991",
        "3b001ffffffffffffe",
        "bafyreifyx757rmvmwx42wig6lkhgpe2hikvsfu5d7ru55fyhugqoq2leii",
    ),
    (
        "int--9007199254740992",
        "3b001fffffffffffff",
        "bafyreictwassa7oj2p67275p5xztivqa3zcspn3zrilgohy3jwrv43klkm",
    ),
    (
        "int--9007199254740993",
        "3b0020000000000000",
        "bafyreicb5jhmhsjiazef7gbina6ozd2er7jugqaapmhvbhvubjc6ech2ie",
    ),
    (
        "int--9223372036854775808",
        "3b7fffffffffffffff",
        "bafyreidh4mvwi7pnv62beigtnibakkxpsgjzua5g7kdvu2deltah6kigay",
    ),
    (
        "int-0",
        "00",
        "bafyreidogqfzz75tpkmjzjke425xqcrmpcib2p5tg44hnbirumdbpl5adu",
    ),
    (
        "int-1000000",
        "1a000f4240",
        "bafyreiglx3aucayuplysf7vp6jazvwef2nznas75tufpc4kn2ig76jfw4m",
    ),
    (
        "int-11959030306112471731",
        "1ba5f702b3a5f702b3",
        "bafyreifystp4hw2d3psdtqoairwnsl4mmb2hyupopdp7wxvrxul2cdadbe",
    ),
    (
        "int-18446744073709551615",
        "1bffffffffffffffff",
        "bafyreibnpsyje7iwfx3smzlnofkxqdyeqz3a4qzhwu33ktibq7sxeckrpq",
    ),
    (
        "int-2",
        "02",
        "bafyreig3yg2msah74sgvow25uxddqbabex3f3mh6hysess3w5kmgiv6zqy",
    ),
    (
        "int-255",
        "18ff",
        "bafyreih4vluto2froiw457akazzjhcfm7y22juemxx6jsyyjufp227tcv4",
    ),
    (
        "int-2784428723",
        "1aa5f702b3",
        "bafyreiga5hy6mxnej7eankwq2zi7echorwp7wfkoeto6l3262rxn24r65m",
    ),
    (
        "int-500",
        "1901f4",
        "bafyreifvxhnllfzufgihevzlj62j34nmzrlzfdjb5pwyqe5675meqi6o7q",
    ),
    (
        "int-6433713753386423",
        "1b0016db6db6db6db7",
        "bafyreie2fdkdrtj4mmdpcryivf4uuvirpz6ehzgmt2w2ks6s6qsrlj4k3a",
    ),
    (
        "int-65535",
        "19ffff",
        "bafyreicft66te6utk6chakwkgyqxirmsh6dzjyi34c4kf2pzwpvjxaaose",
    ),
    (
        "int-65536",
        "1a00010000",
        "bafyreibjfaasdb7qgrdnd2pmg7noltevqzswyif5nyup6sktdanzgpft6a",
    ),
    (
        "int-9007199254740991",
        "1b001fffffffffffff",
        "bafyreiau6uboriydiauixhnjr3kv3hzdbsfjf3uggnqzrx3ndnhcpdz5dy",
    ),
    (
        "int-9223372036854775807",
        "1b7fffffffffffffff",
        "bafyreih2npqkh2altk6fydcmxj4kibc6qj5p44r7jnktdw22txixdi2qli",
    ),
    (
        "map-1_pair",
        "a1616101",
        "bafyreihltcnuuyqp2jm24aqydpnlj7b6w3ogwrplomrjtg5rifv44mmjey",
    ),
    (
        "map-1_pair_rev",
        "a161316161",
        "bafyreierz7t5y4xa635mndfb2i7wu2zxzfnpl6xvg5wr2kxeambtrgvsuy",
    ),
    (
        "map-empty",
        "a0",
        "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua",
    ),
    (
        "map-keysort",
        "a9616601626565026364646403646363636304656262626262056661616161616106666161616161620766616161616163086661616161626209",
        "bafyreifzcy56s5jog3scrc7c3rlaohrwu3recxgf5c7fddfjlnlhh6p6p4",
    ),
    (
        "map-nested",
        "a1666f626a656374a16477697468a26134666e6573746564676f626a65637473a161216121",
        "bafyreib7zq4mhl7fwtmftjn7d7mmlwf6gi32vimlsjkn25w2e5xlhz2deu",
    ),
    (
        "null",
        "f6",
        "bafyreifqwkmiw256ojf2zws6tzjeonw6bpd5vza4i22ccpcq4hjv2ts7cm",
    ),
    (
        "string-Hello world!",
        "6c48656c6c6f20776f726c6421",
        "bafyreigmgu7icw3p3lf3prtti7x3o7vsc6e5peltjinsa7zni2axvlz5cm",
    ),
    (
        "string-a",
        "6161",
        "bafyreiewdnw5h3pdzohmxkwl22g6aqgnpdvs5vmiseymz22mjeti5jgvay",
    ),
    (
        "string-empty",
        "60",
        "bafyreiengp2sbi6ez34a2jctv34bwyjl7yoliteleaswgcwtqzrhmpyt2m",
    ),
    (
        "string-Čaues ßvěte!",
        "6fc48c6175657320c39f76c49b746521",
        "bafyreigxqkzjak6m4vnenitdpwfryihbvy3wotdle2ldsfgkebeh56ruda",
    ),
    (
        "string-水",
        "63e6b0b4",
        "bafyreib4565nbj4j6mklcrwjqgdv3uw4i6fr5dqb4dpqcqtsgrzeyg7hmm",
    ),
    (
        "string-𐅑",
        "64f0908591",
        "bafyreihgpl6u5kyypvntwaijdv7wxeiuugo6ruujt652eigmp27zarclam",
    ),
    (
        "true",
        "f5",
        "bafyreibhvppn37ufanewvxvwendgzksh3jpwhk6sxrx2dh3m7s3t5t7noa",
    ),
];
