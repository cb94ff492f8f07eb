//! Logs as they lie on the disk, written by the signer's own store.

use std::fs;
use std::path::{Path, PathBuf};

use jit_ssh_core::digest::RootFingerprint;
use jit_ssh_signer::log::LogStore;
use jit_ssh_signer::protocol::Signed;
use tempfile::TempDir;

use super::super::export::export;
use super::super::fault::LogFault;
use super::super::folder::Folder;
use super::super::verify::verify;
use super::*;

/// The log of a scene, with root and bundles.
fn written(scene: &Scene, key: LogKey) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut store =
        LogStore::open(&dir.path().join("log"), &dir.path().join("journal"), key).unwrap().0;
    store.append(&scene.entries).unwrap();
    store.publish().unwrap();
    fs::write(dir.path().join("root.json"), scene.root.to_bytes()).unwrap();
    fs::create_dir(dir.path().join("bundles")).unwrap();
    for (digest, content) in &scene.files {
        fs::write(dir.path().join("bundles").join(digest.to_string()), content).unwrap();
    }
    dir
}

fn judge(dir: &Path, pin: Option<RootFingerprint>) -> anyhow::Result<Counts> {
    let folder = Folder::at(dir);
    let root = folder.root()?.0;
    verify(&folder, &root, pin)
}

fn fault(dir: &Path) -> LogFault {
    judge(dir, None).expect_err("this log is bad").downcast().unwrap()
}

fn flip(path: &Path, place: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[place] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_log_on_the_disk_passes_under_its_root_only() {
    let scene = good();
    let dir = written(&scene, log_key());
    let pin = scene.root.fingerprint();
    assert_eq!(judge(dir.path(), Some(pin)).unwrap(), good().judge().unwrap());
    assert_eq!(judge(dir.path(), None).unwrap().entries, 7);
    let other = RootFingerprint(Digest([1; 32]));
    let error = judge(dir.path(), Some(other)).unwrap_err();
    assert!(error.to_string().contains("another CA"), "{error}");
}

#[test]
fn a_flipped_byte_in_entry_tile_or_checkpoint_is_found() {
    let scene = good();
    let dir = written(&scene, log_key());
    let log = dir.path().join("log");
    let entries = log.join("tile/entries/000.p/7");
    let place = 2 + scene.entries[0].len() + 2 + 40;
    flip(&entries, place);
    assert!(matches!(fault(dir.path()), LogFault::Entry { index: 1, fault: Fault::Leaf(_) }));
    flip(&entries, place);
    assert!(judge(dir.path(), None).is_ok());

    let tile = log.join("tile/0/000.p/7");
    flip(&tile, 4 * 32 + 3);
    assert!(matches!(fault(dir.path()), LogFault::Entry { index: 4, fault: Fault::Leaf(_) }));
    flip(&tile, 4 * 32 + 3);

    let checkpoint = log.join("checkpoint");
    let note = fs::read(&checkpoint).unwrap();
    for place in 0..note.len() {
        flip(&checkpoint, place);
        assert!(judge(dir.path(), None).is_err(), "byte {place} of the checkpoint");
        flip(&checkpoint, place);
    }
    assert!(judge(dir.path(), None).is_ok());
}

#[test]
fn a_whole_tree_over_a_changed_entry_needs_the_log_key_and_even_then_is_found() {
    let other = LogKey::from_seed(ORIGIN, &[61; 32]).unwrap();
    let dir = written(&good(), other);
    assert!(matches!(fault(dir.path()), LogFault::Checkpoint(_)));

    let mut scene = good();
    let text = String::from_utf8(scene.entries[1].clone()).unwrap();
    scene.entries[1] = text.replace("disk full", "disk fine").into_bytes();
    let dir = written(&scene, log_key());
    let found = fault(dir.path());
    assert!(matches!(found, LogFault::Entry { index: 1, fault: Fault::Statement(_) }), "{found}");
}

/// More entries than one tile holds.
fn long() -> Scene {
    let mut scene = Scene::new();
    scene.add_bundle(0, 1, &[ANN]);
    for number in 0..300u32 {
        let mut request = scene.request(10, 0);
        request.reason = format!("INC-42 number {number}");
        scene.add(10, ALICE, &request);
    }
    scene
}

#[test]
fn tiles_above_the_leaves_are_checked_too() {
    let dir = written(&long(), log_key());
    assert_eq!(judge(dir.path(), None).unwrap().requests, 300);
    let tile = dir.path().join("log/tile/1/000.p/1");
    flip(&tile, 5);
    assert_eq!(fault(dir.path()), LogFault::Tile { path: "tile/1/000.p/1".to_owned() });
    flip(&tile, 5);
    fs::remove_file(dir.path().join("log/tile/entries/000")).unwrap();
    assert!(matches!(fault(dir.path()), LogFault::Files(_)));
}

#[test]
fn a_log_of_an_unnamed_signer_is_not_fine() {
    let stranger = LogKey::from_seed("jit-ssh/test/2", &[60; 32]).unwrap();
    let mut scene = Scene::new();
    scene.add_bundle(0, 1, &[ANN]);
    let dir = written(&scene, stranger);
    assert_eq!(fault(dir.path()), LogFault::UnknownLog("jit-ssh/test/2".to_owned()));
}

#[test]
fn a_log_that_is_gone_is_found_and_a_ca_that_never_served_is_fine() {
    let scene = Scene::new();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("root.json"), scene.root.to_bytes()).unwrap();
    let state = Folder::of_state(dir.path());
    let judge_state = || verify(&state, &scene.root, None);
    let gone = || judge_state().unwrap_err().downcast::<LogFault>().unwrap();
    assert_eq!(judge_state().unwrap(), Counts::default());
    // A copy without a log is none.
    assert_eq!(fault(dir.path()), LogFault::Gone);
    assert!(export(&state, &dir.path().join("copy")).is_err());
    // A journal, or a bundle in force, says that there was a log.
    let journal = dir.path().join("signer/journal");
    fs::create_dir_all(&journal).unwrap();
    assert_eq!(judge_state().unwrap(), Counts::default());
    let segment = journal.join("segment-00000000000000000000");
    fs::write(&segment, "").unwrap();
    assert_eq!(gone(), LogFault::Gone);
    fs::remove_file(&segment).unwrap();
    fs::create_dir(dir.path().join("bundles")).unwrap();
    let current = dir.path().join("bundles/current.json");
    fs::write(&current, r#"{"statement":"x","signatures":[]}"#).unwrap();
    assert_eq!(gone(), LogFault::Gone);
    fs::write(&current, "x").unwrap();
    assert!(matches!(gone(), LogFault::Files(_)));
}

#[test]
fn a_log_behind_the_signers_journal_is_found_in_a_state_and_not_looked_for_in_a_copy() {
    let scene = good();
    let dir = written(&scene, log_key());
    let journal = dir.path().join("signer/journal");
    fs::create_dir_all(&journal).unwrap();
    let state = Folder::of_state(dir.path());
    let Entry::Statement(bundle) = Entry::parse(&scene.entries[0]).unwrap() else { unreachable!() };
    let (statement, signatures) = (bundle.statement, bundle.signatures);
    let current = serde_json::to_vec(&Signed { statement, signatures }).unwrap();
    let place = dir.path().join("bundles/current.json");
    // A state names its bundle in force; a copy may.
    let fault = verify(&state, &scene.root, None).unwrap_err().downcast::<LogFault>().unwrap();
    assert!(matches!(fault, LogFault::InForce { named: None, newest: Some(_) }), "{fault}");
    fs::write(place, current).unwrap();
    let segment = |base: u64| journal.join(format!("segment-{base:020}"));
    fs::write(segment(0), "").unwrap();
    fs::write(segment(7), "").unwrap();
    assert_eq!(verify(&state, &scene.root, None).unwrap().entries, 7);
    fs::write(segment(8), "").unwrap();
    let fault = verify(&state, &scene.root, None).unwrap_err().downcast::<LogFault>().unwrap();
    assert_eq!(fault, LogFault::Behind { size: 7, base: 8 });
    assert_eq!(judge(dir.path(), None).unwrap().entries, 7);
}

#[test]
fn an_export_is_enough_to_verify_and_overwrites_nothing() {
    let scene = long();
    let dir = written(&scene, log_key());
    let to: PathBuf = dir.path().join("exported");
    // The log grows while it is exported: files of another size lie around.
    let store = LogStore::open(&dir.path().join("log"), &dir.path().join("journal"), log_key());
    let mut store = store.unwrap().0;
    assert_eq!(export(&Folder::at(dir.path()), &to).unwrap(), 301);
    store.append(&scene.entries[1..3]).unwrap();
    store.publish().unwrap();

    let pin = scene.root.fingerprint();
    assert_eq!(judge(&to, Some(pin)).unwrap().entries, 301);
    let error = export(&Folder::at(dir.path()), &to).unwrap_err();
    assert!(error.to_string().contains("exists already"), "{error}");
    assert_eq!(judge(&to, Some(pin)).unwrap().entries, 301);
    let left = fs::read_dir(dir.path()).unwrap();
    assert!(left.flatten().all(|item| !item.file_name().to_string_lossy().contains(".new-")));
}
