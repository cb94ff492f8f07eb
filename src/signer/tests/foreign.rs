//! The foreign judge of the log on disk: `tlog_tiles` and `signed_note` read what the signer wrote.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use jit_ssh_signer::log::{LogKey, LogStore, TileDir};
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{
    Checkpoint, Error, Tile, TileHashReader, TileReader, check_record, prove_record, record_hash,
    tree_hash,
};

struct Files(std::path::PathBuf);
impl TileReader for Files {
    fn height(&self) -> u8 {
        8
    }
    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, Error> {
        Ok(tiles
            .iter()
            .map(|t| std::fs::read(self.0.join(t.path().replacen("tile/8/", "tile/", 1))).unwrap())
            .collect())
    }
    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

#[test]
fn foreign_crates_read_checkpoint_and_tiles() {
    let dir = tempfile::TempDir::new().unwrap();
    let (log, journal) = (dir.path().join("log"), dir.path().join("journal"));
    let key = LogKey::from_seed("ca.example/1", &[5; 32]).unwrap();
    let verifier = key.verifier().to_string();
    let (mut store, _) = LogStore::open(&log, &journal, key).unwrap();
    let mut size = 0u64;
    for count in [1u64, 254, 1, 1, 254, 300, 2_000, 63_000] {
        let entries: Vec<Vec<u8>> =
            (size..size + count).map(|index| index.to_string().into_bytes()).collect();
        for batch in entries.chunks(5_000) {
            store.append(batch).unwrap();
        }
        size += count;
        store.publish().unwrap();

        let note = Note::from_bytes(&std::fs::read(log.join("checkpoint")).unwrap()).unwrap();
        let known = StandardVerifier::new(&verifier).unwrap();
        note.verify(&VerifierList::new(vec![Box::new(known)])).unwrap();
        let checkpoint = Checkpoint::from_bytes(note.text()).unwrap();
        assert_eq!(checkpoint.size(), size);

        let files = Files(log.clone());
        let reader = TileHashReader::new(size, *checkpoint.hash(), &files);
        assert!(tree_hash(size, &reader).unwrap() == *checkpoint.hash());
        let ours = TileDir::new(&log);
        for index in [0, size / 2, size - 1] {
            let proof = prove_record(size, index, &reader).unwrap();
            let leaf = record_hash(index.to_string().as_bytes());
            check_record(&proof, size, *checkpoint.hash(), index, leaf).unwrap();
            let theirs: Vec<[u8; 32]> = proof.iter().map(|hash| hash.0).collect();
            let same = ours.inclusion_proof(index, size).unwrap();
            assert_eq!(theirs, same.iter().map(|hash| hash.0).collect::<Vec<_>>());
        }
    }
}
