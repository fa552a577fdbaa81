//! The tree against the published vectors of RFC 6962's first implementation, against another
//! implementation, and against its own definition.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use data_encoding::HEXLOWER;
use proptest::collection::vec;
use proptest::prelude::*;
use sha2::Sha256;

use super::*;

/// The leaves of the tests that came with Certificate Transparency, and the roots of the trees
/// of the first 1 to 8 of them (github.com/transparency-dev/merkle, `testonly/constants.go`).
const LEAVES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn hash(hex: &str) -> TreeHash {
    let bytes = HEXLOWER.decode(hex.as_bytes()).unwrap();
    TreeHash::from_bytes(bytes.try_into().unwrap())
}

fn published_leaves() -> Vec<Vec<u8>> {
    let decode = |hex: &&str| HEXLOWER.decode(hex.as_bytes()).unwrap();
    LEAVES.iter().map(decode).collect()
}

/// The hash of a part of a tree, straight from the definition in RFC 6962, section 2.1.
fn defined(leaves: &[Vec<u8>]) -> TreeHash {
    match leaves {
        [] => TreeHash::of_nothing(),
        [leaf] => TreeHash::of_leaf(leaf),
        _ => {
            let half = leaves.len().next_power_of_two() / 2;
            let (left, right) = leaves.split_at(half);
            TreeHash::of_node(defined(left), defined(right))
        }
    }
}

fn part(leaves: &[Vec<u8>], part: Subtree) -> TreeHash {
    defined(&leaves[part.start as usize..part.end as usize])
}

fn inclusion(leaves: &[Vec<u8>], index: u64) -> Vec<TreeHash> {
    let path = inclusion_path(index, leaves.len() as u64).unwrap();
    path.into_iter().map(|p| part(leaves, p)).collect()
}

fn consistency(leaves: &[Vec<u8>], old: u64) -> Vec<TreeHash> {
    let path = consistency_path(old, leaves.len() as u64).unwrap();
    path.into_iter().map(|p| part(leaves, p)).collect()
}

fn root(leaves: &[Vec<u8>]) -> TreeHash {
    let mut tree = TreeHasher::new();
    leaves.iter().for_each(|leaf| tree.push(leaf));
    assert_eq!(tree.size(), leaves.len() as u64);
    tree.root()
}

/// Another implementation's tree of the same leaves.
fn foreign(leaves: &[Vec<u8>]) -> MemoryBackedTree<Sha256, Vec<u8>> {
    let mut tree = MemoryBackedTree::new();
    leaves.iter().for_each(|leaf| tree.push(leaf.clone()));
    tree
}

fn bytes(proof: &[TreeHash]) -> Vec<u8> {
    proof.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

#[test]
fn roots_are_the_published_ones() {
    let leaves = published_leaves();
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(TreeHasher::new().root(), hash(empty));
    for (size, root_of_size) in (1..).zip(ROOTS) {
        assert_eq!(root(&leaves[..size]), hash(root_of_size), "{size} leaves");
    }
}

#[test]
fn inclusion_proofs_are_the_published_ones() {
    let leaves = published_leaves();
    let cases: [(u64, usize, &[&str]); 4] = [
        (0, 1, &[]),
        (
            0,
            8,
            &[
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            5,
            8,
            &[
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (
            2,
            3,
            &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
        ),
    ];
    for (index, size, published) in cases {
        let proof: Vec<TreeHash> = published.iter().map(|hex| hash(hex)).collect();
        assert_eq!(
            inclusion(&leaves[..size], index),
            proof,
            "{index} of {size}"
        );
        let leaf = TreeHash::of_leaf(&leaves[index as usize]);
        let root = hash(ROOTS[size - 1]);
        assert_eq!(
            verify_inclusion(leaf, index, size as u64, root, &proof),
            Ok(())
        );
    }
}

#[test]
fn consistency_proofs_are_the_published_ones() {
    let leaves = published_leaves();
    let cases: [(u64, usize, &[&str]); 4] = [
        (1, 1, &[]),
        (
            1,
            8,
            &[
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            6,
            8,
            &[
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (
            2,
            5,
            &[
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ];
    for (old, new, published) in cases {
        let proof: Vec<TreeHash> = published.iter().map(|hex| hash(hex)).collect();
        assert_eq!(consistency(&leaves[..new], old), proof, "{old} in {new}");
        let (old_root, new_root) = (hash(ROOTS[old as usize - 1]), hash(ROOTS[new - 1]));
        let verified = verify_consistency(old, old_root, new as u64, new_root, &proof);
        assert_eq!(verified, Ok(()));
    }
}

#[test]
fn sizes_that_do_not_fit_are_told() {
    assert_eq!(
        inclusion_path(3, 3),
        Err(ProofError::NoSuchLeaf { index: 3, size: 3 })
    );
    assert_eq!(
        consistency_path(4, 3),
        Err(ProofError::Shrunk { old: 4, new: 3 })
    );
    let nothing = TreeHash::of_nothing();
    let some = TreeHash::of_leaf(b"x");
    assert_eq!(verify_consistency(0, nothing, 1, some, &[]), Ok(()));
    assert_eq!(verify_consistency(0, nothing, 0, nothing, &[]), Ok(()));
    assert!(verify_consistency(0, some, 1, some, &[]).is_err());
    assert!(verify_consistency(0, nothing, 0, some, &[]).is_err());
    assert!(verify_consistency(1, some, 1, nothing, &[]).is_err());
}

#[test]
fn the_largest_sizes_are_no_trouble() {
    let max = u64::MAX;
    assert_eq!(inclusion_path(max - 1, max).unwrap().len(), 63);
    assert_eq!(inclusion_path(0, max).unwrap().len(), 64);
    assert_eq!(consistency_path(max - 1, max).unwrap().len(), 64);
    assert_eq!(Subtree::new(0, max).nodes().len(), 64);
    assert_eq!(Subtree::new(max - 1, max).nodes().len(), 1);
}

#[test]
fn a_hash_is_read_as_it_is_written_and_no_other_way() {
    let hash = TreeHash::of_leaf(b"x");
    assert_eq!(TreeHash::from_base64(&hash.to_string()), Some(hash));
    let text = hash.to_string();
    for other in [&text[1..], &format!("{text} "), &text.replace('=', "A"), ""] {
        assert_eq!(TreeHash::from_base64(other), None, "{other}");
    }
}

#[test]
fn a_leaf_is_the_binary_cid() {
    let cid = EventCid::of(b"block");
    assert_eq!(leaf_data(&cid)[..], cid.to_cid().to_bytes()[..]);
    assert_eq!(cid_of_leaf(&leaf_data(&cid)), Some(cid));
    assert_eq!(cid_of_leaf(&leaf_data(&cid)[1..]), None);
}

/// A tree, and two sizes within it, the first not larger than the second.
fn trees() -> impl Strategy<Value = (Vec<Vec<u8>>, u64, u64)> {
    vec(vec(any::<u8>(), 0..4), 1..300).prop_flat_map(|leaves| {
        let size = leaves.len() as u64;
        (Just(leaves), 1..=size).prop_flat_map(|(leaves, new)| (Just(leaves), 1..=new, Just(new)))
    })
}

proptest! {
    #[test]
    fn roots_are_those_of_the_definition_and_of_another_implementation(
        (leaves, _, size) in trees(),
    ) {
        let leaves = &leaves[..size as usize];
        let root = root(leaves);
        prop_assert_eq!(root, defined(leaves));
        let other = foreign(leaves).root();
        prop_assert_eq!(&root.as_bytes()[..], &other.as_bytes()[..]);
    }

    #[test]
    fn a_tree_goes_on_from_its_peaks((leaves, old, new) in trees()) {
        let mut tree = TreeHasher::new();
        leaves[..old as usize].iter().for_each(|leaf| tree.push(leaf));
        let nodes = Subtree::new(0, old).nodes();
        let peaks: Vec<TreeHash> = nodes
            .iter()
            .map(|node| part(&leaves, Subtree::new(node.index << node.height, (node.index + 1) << node.height)))
            .collect();
        prop_assert_eq!(tree.peaks(), &peaks[..]);
        prop_assert_eq!(TreeHasher::from_peaks(old + 1, [&peaks[..], &peaks[..1]].concat()).is_some(),
            (old + 1).count_ones() as usize == peaks.len() + 1);
        let mut again = TreeHasher::from_peaks(old, peaks).unwrap();
        leaves[old as usize..new as usize].iter().for_each(|leaf| again.push(leaf));
        prop_assert_eq!(again.root(), root(&leaves[..new as usize]));
    }

    #[test]
    fn parts_are_made_of_their_nodes((leaves, start, end) in trees()) {
        let whole = Subtree::new(start - 1, end);
        let mut next = whole.start;
        for node in whole.nodes() {
            prop_assert_eq!(node.index << node.height, next);
            next += 1 << node.height;
        }
        prop_assert_eq!(next, end);
        // Where a proof names a part, its hash is the root of its nodes' hashes.
        for named in consistency_path(start, end).unwrap() {
            let hashes: Vec<TreeHash> = named.nodes().iter().map(|node| {
                part(&leaves, Subtree::new(node.index << node.height, (node.index + 1) << node.height))
            }).collect();
            prop_assert_eq!(Subtree::root(&hashes), part(&leaves, named));
        }
    }

    #[test]
    fn every_inclusion_proof_verifies_here_and_elsewhere((leaves, index, size) in trees()) {
        let (leaves, index) = (&leaves[..size as usize], index - 1);
        let proof = inclusion(leaves, index);
        let leaf = &leaves[index as usize];
        let verified = verify_inclusion(TreeHash::of_leaf(leaf), index, size, root(leaves), &proof);
        prop_assert_eq!(verified, Ok(()));
        let foreign = foreign(leaves).prove_inclusion(index as usize);
        prop_assert_eq!(&bytes(&proof)[..], foreign.as_bytes());
    }

    #[test]
    fn every_consistency_proof_verifies_here_and_elsewhere((leaves, old, new) in trees()) {
        let leaves = &leaves[..new as usize];
        let proof = consistency(leaves, old);
        let old_root = root(&leaves[..old as usize]);
        let verified = verify_consistency(old, old_root, new, root(leaves), &proof);
        prop_assert_eq!(verified, Ok(()));
        // The other implementation has no empty proof for equal sizes.
        if old < new {
            let additions = (new - old) as usize;
            let foreign = foreign(leaves).prove_consistency(additions);
            prop_assert_eq!(&bytes(&proof)[..], foreign.as_bytes());
        }
    }

    #[test]
    fn no_altered_inclusion_proof_verifies(
        (leaves, index, size) in trees(),
        bit in 0..256_usize,
        chosen in any::<prop::sample::Index>(),
    ) {
        let (leaves, index) = (&leaves[..size as usize], index - 1);
        let (proof, root) = (inclusion(leaves, index), root(leaves));
        let leaf = TreeHash::of_leaf(&leaves[index as usize]);
        let verify = |leaf, index, size, root, proof: &[TreeHash]| {
            verify_inclusion(leaf, index, size, root, proof).is_ok()
        };
        prop_assert!(!verify(flip(leaf, bit), index, size, root, &proof));
        prop_assert!(!verify(leaf, index, size, flip(root, bit), &proof));
        prop_assert!(!verify(leaf, size, size, root, &proof));
        prop_assert!(!verify(leaf, index, size, root, &[&proof[..], &[root]].concat()));
        prop_assert!(!verify(leaf, index, size, root, &[&[leaf], &proof[..]].concat()));
        if let Some(shorter) = proof.get(1..) {
            prop_assert!(!verify(leaf, index, size, root, shorter));
            let mut altered = proof.clone();
            let place = chosen.index(proof.len());
            altered[place] = flip(altered[place], bit);
            prop_assert!(!verify(leaf, index, size, root, &altered));
            // At another place only an equal leaf with equal neighbours could stand.
            let other = chosen.index(size as usize) as u64;
            if leaves[other as usize] != leaves[index as usize] {
                prop_assert!(!verify(leaf, other, size, root, &inclusion(leaves, other)));
            }
        }
    }

    #[test]
    fn no_altered_consistency_proof_verifies(
        (leaves, old, new) in trees(),
        bit in 0..256_usize,
        chosen in any::<prop::sample::Index>(),
    ) {
        let leaves = &leaves[..new as usize];
        let proof = consistency(leaves, old);
        let (old_root, new_root) = (root(&leaves[..old as usize]), root(leaves));
        let verify = |old, old_root, new, new_root, proof: &[TreeHash]| {
            verify_consistency(old, old_root, new, new_root, proof).is_ok()
        };
        prop_assert!(!verify(old, flip(old_root, bit), new, new_root, &proof));
        prop_assert!(!verify(old, old_root, new, flip(new_root, bit), &proof));
        prop_assert!(!verify(old, old_root, new, new_root, &[&proof[..], &[old_root]].concat()));
        if !proof.is_empty() {
            prop_assert!(!verify(old, old_root, new, new_root, &proof[1..]));
            let mut altered = proof.clone();
            let place = chosen.index(proof.len());
            altered[place] = flip(altered[place], bit);
            prop_assert!(!verify(old, old_root, new, new_root, &altered));
            prop_assert!(!verify(new, old_root, old, new_root, &proof));
        }
    }

    /// A history in which one old event was replaced has no proof towards the old root.
    #[test]
    fn a_rewritten_history_is_not_consistent(
        (leaves, old, new) in trees(),
        chosen in any::<prop::sample::Index>(),
    ) {
        let old_root = root(&leaves[..old as usize]);
        let mut rewritten = leaves[..new as usize].to_vec();
        rewritten[chosen.index(old as usize)].push(0xff);
        let proof = consistency(&rewritten, old);
        let verified = verify_consistency(old, old_root, new, root(&rewritten), &proof);
        prop_assert!(verified.is_err());
    }
}

fn flip(hash: TreeHash, bit: usize) -> TreeHash {
    let mut bytes = *hash.as_bytes();
    bytes[bit / 8] ^= 1 << (bit % 8);
    TreeHash::from_bytes(bytes)
}
