//! Power fails at the worst moment.

use std::fs;

use super::super::LogError;
use super::super::record::SEGMENT_HEADER;
use super::*;

/// Appends batches of these sizes without publishing; gives the journal's bytes and the length
/// it had after each batch, the empty one first.
fn journal_of(sizes: &[u64]) -> (Vec<u8>, Vec<(usize, u64)>) {
    let folders = Folders::new();
    let mut store = folders.store();
    let mut ends = vec![(SEGMENT_HEADER, 0)];
    for size in sizes {
        let first = store.size();
        store.append(&batch(first, *size)).unwrap();
        ends.push((fs::read(folders.segment()).unwrap().len(), store.size()));
    }
    (fs::read(folders.segment()).unwrap(), ends)
}

/// A folder with only this journal, as after a crash before the first publish.
fn folders_with(journal: &[u8]) -> Folders {
    let folders = Folders::new();
    fs::create_dir(folders.journal()).unwrap();
    fs::write(folders.journal().join(format!("segment-{:020}", 0)), journal).unwrap();
    folders
}

#[test]
fn a_crash_at_every_byte_keeps_all_batches_that_were_done_and_nothing_of_the_torn_one() {
    let (journal, ends) = journal_of(&[1, 3, 2]);
    for cut in SEGMENT_HEADER..=journal.len() {
        let folders = folders_with(&journal[..cut]);
        let (end, size) = *ends.iter().rev().find(|(end, _)| *end <= cut).unwrap();
        let (mut store, opened) = folders.open().unwrap();
        assert_eq!((store.size(), opened.size), (size, size), "cut at {cut}");
        assert_eq!(opened.torn_bytes, (cut - end) as u64);
        assert_published(&folders, size);
        // And it goes on from there.
        store.append(&batch(size, 2)).unwrap();
        drop(store);
        let (store, opened) = folders.open().unwrap();
        assert_eq!((store.size(), opened.torn_bytes), (size + 2, 0));
        assert_published(&folders, size + 2);
    }
}

#[test]
fn a_tail_of_zeros_or_old_bytes_is_a_torn_batch_too() {
    let (journal, ends) = journal_of(&[2, 2]);
    let (end, size) = ends[1];
    for fill in [0, 0xff, b'x'] {
        let mut torn = journal.clone();
        torn[end + 7..].fill(fill);
        let (store, opened) = folders_with(&torn).open().unwrap();
        assert_eq!((store.size(), opened.torn_bytes), (size, (journal.len() - end) as u64));
    }
}

#[test]
fn a_journal_without_its_whole_header_is_refused() {
    let (journal, _) = journal_of(&[1]);
    for cut in 0..SEGMENT_HEADER {
        assert!(matches!(folders_with(&journal[..cut]).open(), Err(LogError::Corrupt(_))));
    }
    assert_eq!(folders_with(&journal[..SEGMENT_HEADER]).store().size(), 0);
}

#[test]
fn a_crash_between_any_two_steps_of_publishing_harms_neither_readers_nor_the_log() {
    let mut steps = 0;
    loop {
        let folders = Folders::new();
        let (mut store, orders) = folders.breaking(LONG).unwrap();
        store.append(&batch(0, 250)).unwrap();
        store.publish().unwrap();
        store.append(&batch(250, 300)).unwrap();
        orders.forget();
        orders.die_after(steps);
        let done = store.publish();
        let size = if done.is_ok() || orders.count("discard") > 0 { 550 } else { 250 };
        assert_published(&folders, size);
        // What was never synced may also be gone.
        let copy = folders.copy();
        fs::remove_dir_all(copy.log()).unwrap();
        assert_eq!(copy.store().size(), 550);
        assert_published(&copy, 550);

        drop(store);
        assert_eq!(folders.store().size(), 550);
        assert_published(&folders, 550);
        if done.is_ok() {
            break;
        }
        steps += 1;
    }
    assert!(steps > 5, "the control: publishing takes several steps ({steps})");
}

#[test]
fn a_crash_between_any_two_steps_of_rotation_keeps_everything() {
    let mut steps = 0;
    loop {
        let folders = Folders::new();
        let (mut store, orders) = folders.breaking(SHORT).unwrap();
        store.append(&batch(0, 100)).unwrap();
        store.publish().unwrap();
        assert_eq!(orders.count("start_segment"), 1, "the control: it rotates");
        store.append(&batch(100, 300)).unwrap();
        orders.die_after(steps);
        let done = store.publish();
        // The dead machine takes nothing more, and comes back with what it had.
        assert!(done.is_ok() || store.append(&batch(400, 1)).is_err());
        drop(store);
        let (mut store, opened) = folders.open().unwrap();
        assert_eq!(store.size(), 400, "after {steps} steps");
        assert!([100, 400].contains(&opened.base));
        assert_published(&folders, 400);
        folders.segment();
        // No partial form of a full tile is left once the base has moved on.
        if opened.base == 400 {
            assert!(!folders.log().join("tile/entries/000.p").exists(), "after {steps} steps");
        }
        store.append(&batch(400, 1)).unwrap();
        if done.is_ok() {
            break;
        }
        steps += 1;
    }
    assert!(steps > 8, "the control: rotation takes several steps ({steps})");
}
