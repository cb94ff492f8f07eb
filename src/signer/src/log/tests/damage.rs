//! Someone or something changed the files.

use std::fs;
use std::path::Path;

use super::super::record::SEGMENT_HEADER;
use super::super::{Fault, LogError};
use super::*;

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

fn refusal(folders: &Folders) -> LogError {
    let Err(e) = folders.open() else { panic!("the log was opened") };
    assert_eq!(e.fault(), Fault::Stop, "{e}");
    e
}

/// A published log of 300 entries whose base is `base`.
fn log_with_base(base: u64) -> Folders {
    let folders = Folders::new();
    let (mut store, _) = folders.breaking(100).unwrap();
    if base > 0 {
        store.append(&batch(0, base)).unwrap();
        store.publish().unwrap();
    }
    store.segment_limit = LONG;
    for first in base..300 {
        store.append(&batch(first, 1)).unwrap();
    }
    store.publish().unwrap();
    assert_eq!(store.journal.base, base);
    folders
}

#[test]
fn a_flipped_bit_anywhere_before_the_last_batch_is_found() {
    let folders = Folders::new();
    let mut store = folders.store();
    store.append(&batch(0, 3)).unwrap();
    let end = fs::read(folders.segment()).unwrap().len();
    store.append(&batch(3, 1)).unwrap();
    drop(store);
    for at in 0..end {
        let copy = folders.copy();
        flip(&copy.segment(), at);
        assert!(matches!(refusal(&copy), LogError::Corrupt(_)), "byte {at}");
    }
    assert_eq!(folders.copy().store().size(), 4, "the control");
}

#[test]
fn a_flipped_bit_in_the_last_batch_looks_torn_but_not_once_it_was_published() {
    let folders = Folders::new();
    let mut store = folders.store();
    store.append(&batch(0, 3)).unwrap();
    let end = fs::read(folders.segment()).unwrap().len();
    store.append(&batch(3, 1)).unwrap();
    let unpublished = folders.copy();
    store.publish().unwrap();
    drop(store);
    flip(&unpublished.segment(), end + 40);
    assert!(unpublished.open().unwrap().1.torn_bytes > 0);
    flip(&folders.segment(), end + 40);
    assert!(matches!(refusal(&folders), LogError::Shrunk { published: 4, recovered: 3 }));
}

#[test]
fn flipped_bits_in_tiles_and_bundles_under_the_base_are_found() {
    for (base, files) in [
        (100, &["tile/0/000.p/100", "tile/entries/000.p/100"][..]),
        (256, &["tile/0/000", "tile/1/000.p/1", "tile/entries/000"]),
        (270, &["tile/0/001.p/14", "tile/1/000.p/1", "tile/entries/001.p/14"]),
    ] {
        let folders = log_with_base(base);
        assert_eq!(folders.copy().store().size(), 300, "the control");
        for file in files {
            let length = fs::read(folders.log().join(file)).unwrap().len();
            for at in [0, 1, length / 2, length - 1] {
                let copy = folders.copy();
                flip(&copy.log().join(file), at);
                assert!(matches!(refusal(&copy), LogError::Corrupt(_)), "{file} at {at}");
            }
        }
    }
}

#[test]
fn entries_changed_together_with_their_full_tile_are_found() {
    let folders = log_with_base(256);
    let bundle = folders.log().join("tile/entries/000");
    let tile = folders.log().join("tile/0/000");
    let write = |first: &[u8]| {
        let mut bytes = fs::read(&bundle).unwrap();
        bytes[2..2 + first.len()].copy_from_slice(first);
        fs::write(&bundle, bytes).unwrap();
        let mut bytes = fs::read(&tile).unwrap();
        bytes[..32].copy_from_slice(&leaf_hash(first).0);
        fs::write(&tile, bytes).unwrap();
    };
    let mut other = entry(0);
    other[5] ^= 1;
    write(&other);
    assert!(matches!(refusal(&folders), LogError::Corrupt(_)));
    write(&entry(0));
    assert_eq!(folders.store().size(), 300, "the control");
}

#[test]
fn damage_above_the_base_is_mended_from_the_journal_and_named() {
    let folders = log_with_base(270);
    for file in ["tile/0/001.p/44", "tile/entries/001.p/44"] {
        let good = fs::read(folders.log().join(file)).unwrap();
        flip(&folders.log().join(file), 5);
        let (store, opened) = folders.open().unwrap();
        assert_eq!(opened.repaired, [file]);
        assert_eq!(fs::read(folders.log().join(file)).unwrap(), good);
        drop(store);
    }
    // An earlier partial form that is wrong is removed: readers find a wider one.
    let earlier = folders.log().join("tile/0/001.p/14");
    assert!(earlier.exists(), "the base rests on it");
    let stray = folders.log().join("tile/0/001.p/20");
    fs::write(&stray, vec![1; 20 * 32]).unwrap();
    drop(folders.store());
    assert!(!stray.exists());
    assert_published(&folders, 300);
}

#[test]
fn a_log_that_shrank_is_refused() {
    let folders = Folders::new();
    let mut store = folders.store();
    store.append(&batch(0, 2)).unwrap();
    store.publish().unwrap();
    let old_journal = fs::read(folders.segment()).unwrap();
    store.append(&batch(2, 1)).unwrap();
    let unpublished = folders.copy();
    store.publish().unwrap();
    drop(store);
    fs::write(folders.segment(), &old_journal).unwrap();
    assert!(matches!(refusal(&folders), LogError::Shrunk { published: 3, recovered: 2 }));
    assert_eq!(fs::read(folders.segment()).unwrap(), old_journal, "nothing was touched");
    // The neighbour: the same journal under the checkpoint of its time.
    fs::write(unpublished.segment(), &old_journal).unwrap();
    assert_eq!(unpublished.store().size(), 2);
}

#[test]
fn an_older_checkpoint_of_the_same_log_is_fine_and_one_of_a_fork_is_not() {
    for (base, size) in [(0, 7), (100, 100), (100, 60), (270, 256)] {
        let folders = log_with_base(base);
        let older = |entries: &[Vec<u8>]| {
            let other = Folders::new();
            let mut store = other.store();
            store.append(entries).unwrap();
            store.publish().unwrap();
            fs::copy(other.log().join("checkpoint"), folders.log().join("checkpoint")).unwrap();
        };
        older(&batch(0, size));
        assert_eq!(folders.store().size(), 300);
        let mut forked = batch(0, size);
        forked[3] = b"something else".to_vec();
        older(&forked);
        assert!(matches!(refusal(&folders), LogError::Forked(at) if at == size));
    }
}

#[test]
fn another_key_another_origin_and_garbage_are_refused_and_an_emptied_checkpoint_is_not() {
    let folders = log_with_base(100);
    let open = |key: LogKey| LogStore::open(&folders.log(), &folders.journal(), key);
    assert!(open(key(1)).is_ok());
    assert!(matches!(open(key(2)), Err(LogError::OtherLog(_))));
    let renamed = LogKey::from_seed("ca.example/2", &[1; 32]).unwrap();
    assert!(matches!(open(renamed), Err(LogError::OtherLog(_))));

    fs::write(folders.log().join("checkpoint"), "garbage\n").unwrap();
    assert!(matches!(refusal(&folders), LogError::OtherLog(_)));
    for lost in [&b""[..], &[0; 200]] {
        // A power failure can do this, and the journal still has all.
        fs::write(folders.log().join("checkpoint"), lost).unwrap();
        assert_eq!(folders.store().size(), 300);
        assert_published(&folders, 300);
    }
}

#[test]
fn a_log_without_its_journal_is_refused_with_a_way_out() {
    let folders = log_with_base(0);
    let copy = folders.copy();
    fs::remove_dir_all(copy.journal()).unwrap();
    let refused = refusal(&copy);
    assert!(matches!(refused, LogError::JournalMissing { .. }));
    assert!(refused.to_string().contains("Restore the journal folder"));
    fs::remove_file(copy.log().join("checkpoint")).unwrap();
    assert!(matches!(refusal(&copy), LogError::JournalMissing { .. }), "tiles alone are enough");
    fs::remove_dir_all(copy.log()).unwrap();
    assert!(copy.open().unwrap().1.created, "the neighbour: both empty is a new log");
}

#[test]
fn missing_tiles_under_the_base_are_refused_and_above_it_written_again() {
    let folders = log_with_base(270);
    let copy = folders.copy();
    fs::remove_file(copy.log().join("tile/entries/001.p/44")).unwrap();
    assert_eq!(copy.store().size(), 300);
    assert_published(&copy, 300);
    fs::remove_dir_all(copy.log().join("tile/entries/001.p")).unwrap();
    assert!(matches!(refusal(&copy), LogError::Missing(_)));
}

#[test]
fn a_journal_that_is_not_the_continuation_is_refused() {
    // The second record of one log behind the header of another: valid, but it starts at 2.
    let folders = Folders::new();
    let mut store = folders.store();
    store.append(&batch(0, 2)).unwrap();
    let end = fs::read(folders.segment()).unwrap().len();
    store.append(&batch(2, 2)).unwrap();
    drop(store);
    let bytes = fs::read(folders.segment()).unwrap();
    let spliced = [&bytes[..SEGMENT_HEADER], &bytes[end..]].concat();
    fs::write(folders.segment(), spliced).unwrap();
    assert!(matches!(refusal(&folders), LogError::Corrupt(_)));
    fs::write(folders.segment(), &bytes).unwrap();
    assert_eq!(folders.store().size(), 4);
}

#[test]
fn two_signers_cannot_share_a_log() {
    let folders = Folders::new();
    let store = folders.store();
    assert!(matches!(folders.open(), Err(LogError::InUse(_))));
    drop(store);
    assert!(folders.open().is_ok());
}
