//! Proofs and entries, from memory and from the disk.

use std::ops::ControlFlow;

use jit_ssh_core::log::{verify_consistency, verify_inclusion};

use super::super::Committed;
use super::*;

#[test]
fn proofs_made_in_memory_verify_and_are_those_made_from_tiles() {
    let folders = Folders::new();
    let (mut store, _) = folders.breaking(SHORT).unwrap();
    let mut before = store.checkpoint().clone();
    let mut first = 0;
    for count in [1, 1, 2, 250, 1, 1, 1, 255, 256, 3, 700] {
        let committed = store.append(&batch(first, count)).unwrap();
        store.publish().unwrap();
        let (size, root) = (committed.size(), committed.root());
        assert_eq!((committed.first(), size), (first, first + count));
        assert_eq!(committed.checkpoint(), &folders.tiles().checkpoint(key(1).verifier()).unwrap());
        for index in first..size {
            let proof = committed.inclusion_proof(index).unwrap();
            let leaf = leaf_hash(&entry(index));
            assert_eq!(verify_inclusion(&proof, index, size, leaf, root), Ok(()));
            assert_eq!(folders.tiles().inclusion_proof(index, size).unwrap(), proof);
            let other = leaf_hash(&entry(index + 1));
            assert!(verify_inclusion(&proof, index, size, other, root).is_err());
        }
        assert!(committed.inclusion_proof(size).is_err());
        assert!(first == 0 || committed.inclusion_proof(first - 1).is_err());

        let old = before.checkpoint();
        let proof = folders.tiles().consistency_proof(old.size(), size).unwrap();
        assert_eq!(verify_consistency(&proof, old.size(), old.root(), size, root), Ok(()));
        assert!(folders.tiles().consistency_proof(size + 1, size).is_err());
        before = committed.checkpoint().clone();
        first = size;
    }
}

#[test]
fn what_was_committed_can_go_to_another_thread() {
    fn moves<T: Send + Sync + 'static>() {}
    moves::<Committed>();
    let folders = Folders::new();
    let mut store = folders.store();
    let committed = store.append(&batch(0, 3)).unwrap();
    let later = std::thread::spawn(move || committed.inclusion_proof(1).unwrap().len());
    store.append(&batch(3, 3)).unwrap();
    assert_eq!(later.join().unwrap(), 2);
}

#[test]
fn entries_come_in_order_from_disk_and_memory_alike() {
    let folders = Folders::new();
    let mut store = folders.store();
    store.append(&batch(0, 400)).unwrap();
    store.publish().unwrap();
    store.append(&batch(400, 500)).unwrap();
    for (start, end) in [(0, 900), (0, 1), (255, 257), (399, 401), (512, 513), (899, 5000), (7, 7)]
    {
        let found: Vec<_> = store.entries(start..end).map(Result::unwrap).collect();
        let wanted: Vec<_> = (start..end.min(900)).map(|index| (index, entry(index))).collect();
        assert_eq!(found, wanted);
    }
    assert_eq!(store.entries(900..u64::MAX).count(), 0);
    assert_eq!(folders.tiles().entry(399, 400).unwrap(), entry(399));
    assert!(folders.tiles().entry(400, 400).is_err());
}

#[test]
fn scanning_back_shows_the_newest_first_and_stops_when_told() {
    let folders = Folders::new();
    let mut store = folders.store();
    let scan = |store: &LogStore, limit: usize| {
        let mut seen = Vec::new();
        let done = store.scan_back(|index, bytes| {
            assert_eq!(bytes, entry(index));
            seen.push(index);
            if seen.len() == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        done.unwrap();
        seen
    };
    assert!(scan(&store, 5).is_empty());
    store.append(&batch(0, 600)).unwrap();
    store.publish().unwrap();
    store.append(&batch(600, 3)).unwrap();
    assert_eq!(scan(&store, 5), [602, 601, 600, 599, 598]);
    assert_eq!(scan(&store, usize::MAX), (0..603).rev().collect::<Vec<_>>());
}

#[test]
fn a_bundle_that_does_not_hash_to_its_tile_is_not_believed() {
    let folders = Folders::new();
    let mut store = folders.store();
    store.append(&batch(0, 600)).unwrap();
    store.publish().unwrap();
    assert_eq!(store.entries(0..300).filter_map(Result::ok).count(), 300);
    let path = folders.log().join("tile/entries/000");
    let mut bytes = fs::read(&path).unwrap();
    bytes[10] ^= 1;
    fs::write(&path, bytes).unwrap();
    let mut read = store.entries(0..300);
    assert!(matches!(read.next(), Some(Err(LogError::Corrupt(_)))));
    assert!(read.next().is_none());
    assert_eq!(store.entries(256..300).filter_map(Result::ok).count(), 44);
}

#[test]
fn a_log_of_thousands_of_entries_opens_again_and_goes_on() {
    let folders = Folders::new();
    let mut size = 0;
    for round in 0..4 {
        let (mut store, opened) = folders.open().unwrap();
        assert_eq!((opened.size, opened.torn_bytes), (size, 0));
        assert!(opened.repaired.is_empty());
        for _ in 0..10 {
            let count = 150 + round;
            store.append(&batch(size, count)).unwrap();
            size += count;
        }
    }
    drop(folders.store());
    assert_published(&folders, size);
}
