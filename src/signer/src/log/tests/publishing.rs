//! What readers see, and when.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use jit_ssh_core::log::tile::push_entry;
use jit_ssh_core::log::{BundleId, HashSource as _, TileId};

use super::*;

fn files(dir: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(next) = dirs.pop() {
        for item in fs::read_dir(next).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                found.insert(path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found
}

#[test]
fn one_publish_writes_exactly_the_files_the_specification_asks_for() {
    for size in [1, 255, 256, 257, 511, 512, 65_536 + 3] {
        let folders = Folders::new();
        let (mut store, _) = folders.breaking(LONG).unwrap();
        while store.size() < size {
            let first = store.size();
            store.append(&batch(first, 10_000.min(size - first))).unwrap();
        }
        store.publish().unwrap();
        let tree = model(size);
        let mut wanted = BTreeSet::from(["checkpoint".to_owned()]);
        for level in 0..8 {
            for index in 0.. {
                let Some(id) = TileId::in_tree(level, index, size) else {
                    break;
                };
                let hash = |place| tree.node(level * 8, index * 256 + place).unwrap().0;
                let bytes: Vec<u8> = (0..u64::from(id.width())).flat_map(hash).collect();
                assert!(fs::read(folders.log().join(id.path())).unwrap() == bytes, "{id}");
                wanted.insert(id.path());
            }
        }
        for index in 0.. {
            let Some(id) = BundleId::in_tree(index, size) else {
                break;
            };
            let mut bytes = Vec::new();
            for place in 0..u64::from(id.width()) {
                push_entry(&mut bytes, &entry(index * 256 + place)).unwrap();
            }
            assert!(fs::read(folders.log().join(id.path())).unwrap() == bytes, "{id}");
            wanted.insert(id.path());
        }
        // Where an append published by itself, partial forms may be left beside these.
        let there = files(&folders.log());
        assert!(there.is_superset(&wanted));
        assert!(there.difference(&wanted).all(|extra| extra.contains(".p/")));
    }
}

#[test]
fn the_newest_eight_partial_forms_stay_until_the_tile_is_full() {
    let folders = Folders::new();
    let mut store = folders.store();
    for first in 0..255 {
        store.append(&batch(first, 1)).unwrap();
        store.publish().unwrap();
    }
    let widths = |path: &str| folders.tiles().widths(path).unwrap();
    let newest: Vec<u16> = (248..256).collect();
    assert_eq!(widths("tile/0/000.p"), newest);
    assert_eq!(widths("tile/entries/000.p"), newest);
    drop(store);
    let mut store = folders.store();
    assert_eq!(widths("tile/0/000.p"), newest, "and over a restart");
    store.append(&batch(255, 1)).unwrap();
    store.publish().unwrap();
    assert_eq!(
        files(&folders.log()),
        BTreeSet::from(
            ["checkpoint", "tile/0/000", "tile/1/000.p/1", "tile/entries/000"].map(String::from),
        )
    );
}

#[test]
fn the_partial_form_a_base_rests_on_stays_until_the_next_base() {
    let folders = Folders::new();
    let (mut store, _) = folders.breaking(SHORT).unwrap();
    store.append(&batch(0, 100)).unwrap();
    store.publish().unwrap();
    assert_eq!(store.journal.base, 100);
    store.segment_limit = LONG;
    for first in 100..260 {
        store.append(&batch(first, 1)).unwrap();
        store.publish().unwrap();
        assert!(folders.log().join("tile/0/000.p/100").exists());
        assert!(folders.log().join("tile/entries/000.p/100").exists());
    }
    // Nothing else is durable: with all unsynced files lost, base and journal suffice.
    let copy = folders.copy();
    for file in files(&copy.log()).iter().filter(|file| !file.ends_with(".p/100")) {
        fs::remove_file(copy.log().join(file)).unwrap();
    }
    assert_eq!(copy.store().size(), 260);
    assert_published(&copy, 260);

    store.segment_limit = SHORT;
    store.publish().unwrap();
    assert_eq!(store.journal.base, 260);
    assert!(!folders.log().join("tile/0/000.p").exists());
    assert!(!folders.log().join("tile/entries/000.p").exists());
}

#[test]
fn whoever_holds_an_old_checkpoint_finds_its_tree_while_publishing_goes_on() {
    let folders = Folders::new();
    let (mut store, _) = folders.breaking(SHORT).unwrap();
    let mut held = Vec::new();
    for first in 0..600 {
        store.append(&batch(first, 1)).unwrap();
        store.publish().unwrap();
        if first % 37 == 0 {
            let checkpoint = folders.tiles().checkpoint(key(1).verifier()).unwrap();
            held.push((checkpoint.checkpoint().size(), checkpoint.checkpoint().root()));
        }
        if first % 100 == 99 {
            for (size, root) in &held {
                assert_readable(&folders.tiles(), *size, *root);
            }
        }
    }
}

#[test]
fn rotation_keeps_every_entry_and_one_segment() {
    let folders = Folders::new();
    let (mut store, orders) = folders.breaking(SHORT).unwrap();
    let mut first = 0;
    for step in 0..200u64 {
        let count = 1 + step * 7 % 23;
        store.append(&batch(first, count)).unwrap();
        first += count;
        if step % 3 == 0 {
            store.publish().unwrap();
        }
    }
    store.publish().unwrap();
    assert!(orders.count("start_segment") > 20, "{}", orders.count("start_segment"));
    assert_published(&folders, first);
    folders.segment();
    drop(store);
    let (store, opened) = folders.open().unwrap();
    assert_eq!((store.size(), opened.repaired), (first, vec![]));
    assert!(opened.base > 0);
    assert_published(&folders, first);
}

#[test]
fn an_append_publishes_by_itself_before_much_waits_in_memory() {
    let folders = Folders::new();
    let (mut store, orders) = folders.breaking(LONG).unwrap();
    for _ in 0..20 {
        store.append(&vec![vec![b'x'; 1_000]; 256]).unwrap();
    }
    assert!(orders.count("place_checkpoint") >= 2);
    assert!(store.shelf.waiting() < 2 * 1024 * 1024);
}

#[test]
fn the_public_folder_is_readable_and_the_journal_is_not() {
    let folders = Folders::new();
    let mut store = folders.store();
    store.append(&batch(0, 1)).unwrap();
    store.publish().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    for dir in ["", "tile", "tile/0", "tile/0/000.p", "tile/entries/000.p"] {
        assert_eq!(mode(&folders.log().join(dir)), 0o755, "{dir}");
    }
    for file in files(&folders.log()) {
        assert_eq!(mode(&folders.log().join(&file)), 0o644, "{file}");
    }
    assert_eq!(mode(&folders.journal()), 0o700);
    assert_eq!(mode(&folders.segment()), 0o600);
}

#[test]
fn an_empty_log_has_a_checkpoint_too() {
    let folders = Folders::new();
    let (store, opened) = folders.open().unwrap();
    assert!(opened.created);
    assert_published(&folders, 0);
    drop(store);
    let (_, opened) = folders.open().unwrap();
    assert!(!opened.created);
}
