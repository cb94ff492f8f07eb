//! The reference tree of the certificate-transparency project (`merkletree/merkle_tree_test.cc`),
//! and a note of the Go implementation (`sumdb/note`).

use super::super::*;
use super::tree_of;

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

const A: &str = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
const B: &str = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e";
const C: &str = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4";
const D: &str = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b";
const E: &str = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0";
const F: &str = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a";

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn hash(text: &str) -> Hash {
    Hash(unhex(text).try_into().unwrap())
}

#[test]
fn roots_are_those_published() {
    let mut edge = RightEdge::empty();
    assert_eq!(edge.root(), EMPTY_ROOT);
    for (leaf, root) in LEAVES.iter().zip(ROOTS) {
        edge.push(leaf_hash(&unhex(leaf)));
        assert_eq!(edge.root(), hash(root));
    }
}

#[test]
fn inclusion_paths_are_those_published() {
    let tree = tree_of(&LEAVES.map(unhex));
    let published: [(u64, u64, &[&str]); 5] = [
        (0, 1, &[]),
        (0, 8, &[A, B, C]),
        (5, 8, &[D, E, ROOTS[3]]),
        (2, 3, &[ROOTS[1]]),
        (1, 5, &[ROOTS[0], B, D]),
    ];
    for (index, size, path) in published {
        let path: Vec<Hash> = path.iter().copied().map(hash).collect();
        assert_eq!(inclusion_proof(&tree, index, size), Ok(path.clone()), "{index} in {size}");
        let leaf = leaf_hash(&unhex(LEAVES[index as usize]));
        let root = hash(ROOTS[size as usize - 1]);
        assert_eq!(verify_inclusion(&path, index, size, leaf, root), Ok(()));
    }
}

#[test]
fn consistency_paths_are_those_published() {
    let tree = tree_of(&LEAVES.map(unhex));
    let published: [(u64, u64, &[&str]); 4] =
        [(1, 1, &[]), (1, 8, &[A, B, C]), (6, 8, &[F, E, ROOTS[3]]), (2, 5, &[B, D])];
    for (old, new, path) in published {
        let path: Vec<Hash> = path.iter().copied().map(hash).collect();
        assert_eq!(consistency_proof(&tree, old, new), Ok(path.clone()), "{old} to {new}");
        let (old_root, new_root) = (hash(ROOTS[old as usize - 1]), hash(ROOTS[new as usize - 1]));
        assert_eq!(verify_consistency(&path, old, old_root, new, new_root), Ok(()));
    }
}

#[test]
fn the_note_of_the_go_implementation_verifies_and_another_text_does_not() {
    let key: VerifierKey =
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse().unwrap();
    let note = "If you think cryptography is the answer to your problem,\n\
                then you don't know what your problem is.\n\n\
                \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    let good = Note::parse(note.as_bytes()).unwrap();
    assert_eq!(good.signed_by(&key), Ok(()));
    assert_eq!(good.to_string(), note);
    let other = Note::parse(note.replace("If you", "If I").as_bytes()).unwrap();
    assert_eq!(other.signed_by(&key), Err(NoteError::BadSignature("PeterNeumann".into())));
}

#[test]
fn the_example_of_tlog_checkpoint_reads_and_writes_the_same() {
    let text =
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    let checkpoint: Checkpoint = text.parse().unwrap();
    assert_eq!(checkpoint.origin(), "example.com/behind-the-sofa");
    assert_eq!(checkpoint.size(), 20_852_163);
    assert_eq!(checkpoint.to_string(), text);
}
