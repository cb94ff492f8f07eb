//! The crates `tlog_tiles` and `signed_note` judge us, and we judge them.

use base64ct::{Base64, Encoding as _};
use ed25519_dalek::{Signer as _, SigningKey};
use signed_note::{StandardVerifier, VerifierList};
use tlog_tiles::{HashReader, Tile, TileHashReader, TileReader};

use super::super::*;
use super::{EDGES, NUMBERED, TileMap};

type Theirs = tlog_tiles::Hash;

/// Our tree, read as they read one.
struct AsTheirs;

impl HashReader for AsTheirs {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Theirs>, tlog_tiles::Error> {
        let read = |index: &u64| {
            let (level, place) = tlog_tiles::split_stored_hash_index(*index);
            tlog_tiles::Hash(NUMBERED.node(level, place).unwrap().0)
        };
        Ok(indexes.iter().map(read).collect())
    }
}

/// Our tiles, read as they read them. Their paths carry the height, those of tlog-tiles do not.
struct TilesAsTheirs(TileMap);

impl TileReader for TilesAsTheirs {
    fn height(&self) -> u8 {
        tile::TILE_HEIGHT
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let read = |tile: &Tile| {
            let path = tile.path().replacen("tile/8/", "tile/", 1);
            let id: TileId = path.parse().unwrap();
            assert_eq!((id.level(), id.index()), (tile.level(), tile.level_index()));
            assert_eq!(u32::from(id.width()), tile.width());
            self.0.tile(id).unwrap()
        };
        Ok(tiles.iter().map(read).collect())
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

fn theirs(hash: Hash) -> Theirs {
    tlog_tiles::Hash(hash.0)
}

fn to_theirs(path: &[Hash]) -> Vec<Theirs> {
    path.iter().copied().map(theirs).collect()
}

fn to_ours(path: &[Theirs]) -> Vec<Hash> {
    path.iter().map(|hash| Hash(hash.0)).collect()
}

/// Entries worth asking about in a tree of this size.
fn some_below(size: u64) -> impl Iterator<Item = u64> {
    let near = [size / 2, size / 3, size.wrapping_sub(1), size.wrapping_sub(2)];
    let mut all: Vec<u64> = EDGES.iter().copied().chain(near).filter(|n| *n < size).collect();
    all.sort_unstable();
    all.dedup();
    all.into_iter()
}

#[test]
fn our_roots_and_inclusion_proofs_are_theirs_and_each_accepts_the_other() {
    let tree = &*NUMBERED;
    for size in EDGES.iter().copied() {
        let root = tree_root(tree, size).unwrap();
        assert_eq!(theirs(root), tlog_tiles::tree_hash(size, &AsTheirs).unwrap());
        for index in some_below(size) {
            let leaf = tree.node(0, index).unwrap();
            let ours = inclusion_proof(tree, index, size).unwrap();
            let their = tlog_tiles::prove_record(size, index, &AsTheirs).unwrap();
            assert_eq!(ours, to_ours(&their), "{index} in {size}");
            tlog_tiles::check_record(&to_theirs(&ours), size, theirs(root), index, theirs(leaf))
                .unwrap();
            assert_eq!(verify_inclusion(&to_ours(&their), index, size, leaf, root), Ok(()));
        }
    }
}

#[test]
fn our_consistency_proofs_are_theirs_and_each_accepts_the_other() {
    let tree = &*NUMBERED;
    for new in EDGES.iter().copied() {
        let new_root = tree_root(tree, new).unwrap();
        for old in some_below(new).filter(|old| *old > 0) {
            let old_root = tree_root(tree, old).unwrap();
            let ours = consistency_proof(tree, old, new).unwrap();
            let their = tlog_tiles::prove_tree(new, old, &AsTheirs).unwrap();
            assert_eq!(ours, to_ours(&their), "{old} to {new}");
            let path = to_theirs(&ours);
            tlog_tiles::check_tree(&path, new, theirs(new_root), old, theirs(old_root)).unwrap();
            let back = to_ours(&their);
            assert_eq!(verify_consistency(&back, old, old_root, new, new_root), Ok(()));
        }
    }
}

#[test]
fn they_read_our_tiles_and_we_prove_the_same_from_tiles() {
    for size in EDGES.iter().copied().filter(|size| *size > 0) {
        let map = TileMap::of(&NUMBERED, size);
        let root = tree_root(&*NUMBERED, size).unwrap();
        assert_eq!(tree_root(&TileHashes::new(&map, size), size).unwrap(), root);
        for index in some_below(size) {
            let ours = inclusion_proof(&TileHashes::new(&map, size), index, size).unwrap();
            assert_eq!(Ok(&ours), inclusion_proof(&*NUMBERED, index, size).as_ref());
            let ours = consistency_proof(&TileHashes::new(&map, size), index, size).unwrap();
            assert_eq!(Ok(&ours), consistency_proof(&*NUMBERED, index, size).as_ref());
        }
        let tiles = TilesAsTheirs(map);
        let reader = TileHashReader::new(size, theirs(root), &tiles);
        for index in some_below(size) {
            let path = tlog_tiles::prove_record(size, index, &reader).unwrap();
            assert_eq!(Ok(to_ours(&path)), inclusion_proof(&*NUMBERED, index, size));
        }
    }
}

fn key_pair() -> (SigningKey, VerifierKey) {
    let signing = SigningKey::from_bytes(&[7; 32]);
    let verifier = VerifierKey::new("ca.example/log", signing.verifying_key().as_bytes()).unwrap();
    (signing, verifier)
}

#[test]
fn their_note_accepts_our_checkpoint_and_refuses_it_under_another_key() {
    let (signing, key) = key_pair();
    let checkpoint = Checkpoint::new(key.name(), 8, leaf_hash(b"x")).unwrap();
    let ours = SignedCheckpoint::sign(checkpoint, &key, |text| signing.sign(text).to_bytes());
    let note = signed_note::Note::from_bytes(ours.unwrap().note().as_bytes()).unwrap();

    let known = |key: &VerifierKey| {
        VerifierList::new(vec![Box::new(StandardVerifier::new(&key.to_string()).unwrap())])
    };
    assert_eq!(note.verify(&known(&key)).unwrap().0.len(), 1);
    let text = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
    assert_eq!((text.origin(), text.size()), ("ca.example/log", 8));
    assert_eq!(text.hash(), &theirs(leaf_hash(b"x")));

    let other = SigningKey::from_bytes(&[8; 32]);
    let other = VerifierKey::new("ca.example/log", other.verifying_key().as_bytes()).unwrap();
    assert!(note.verify(&known(&other)).is_err());
}

#[test]
fn we_accept_the_note_they_sign() {
    let (signing, key) = key_pair();
    let id = u32::from_be_bytes(key.id());
    let typed = [&[1], signing.as_bytes().as_slice()].concat();
    let secret = Base64::encode_string(&typed);
    let signer =
        signed_note::StandardSigner::new(&format!("PRIVATE+KEY+{}+{id:08x}+{secret}", key.name()))
            .unwrap();
    let text = Checkpoint::new(key.name(), 3, EMPTY_ROOT).unwrap().to_string();
    let mut note = signed_note::Note::new(text.as_bytes(), &[]).unwrap();
    note.add_sigs(&[&signer]).unwrap();
    let opened = SignedCheckpoint::open(&note.to_bytes(), &key).unwrap();
    assert_eq!(opened.checkpoint().size(), 3);
    assert_eq!(opened.note().as_bytes(), note.to_bytes());
}
