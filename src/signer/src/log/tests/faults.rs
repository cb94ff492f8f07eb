//! The disk refuses for a while.

use std::fs;

use super::super::{Fault, LogError};
use super::*;

fn refused_for_now<T>(result: Result<T, LogError>) -> bool {
    result.is_err_and(|e| e.fault() == Fault::TryAgain)
}

#[test]
fn a_batch_is_one_write_and_one_fdatasync_however_many_entries() {
    let folders = Folders::new();
    let (mut store, orders) = folders.breaking(LONG).unwrap();
    for (first, count) in [(0, 1), (1, 500)] {
        orders.forget();
        store.append(&batch(first, count)).unwrap();
        assert_eq!((orders.count("append"), orders.count("sync")), (1, 1));
        assert_eq!(orders.changes(), 2, "and nothing else");
    }
    orders.forget();
    store.publish().unwrap();
    assert_eq!((orders.count("sync"), orders.count("sync_public")), (0, 0));
    assert_eq!(orders.count("place_checkpoint"), 1);
    orders.forget();
    store.publish().unwrap();
    assert_eq!(orders.changes(), 0, "publishing again is free");
}

#[test]
fn a_failed_fsync_refuses_the_batch_and_the_next_one_heals_first() {
    let folders = Folders::new();
    let (mut store, orders) = folders.breaking(LONG).unwrap();
    store.append(&batch(0, 2)).unwrap();
    let before = fs::read(folders.segment()).unwrap();

    orders.break_it("sync");
    let lost: Vec<Vec<u8>> = vec![b"lost".to_vec()];
    assert!(refused_for_now(store.append(&lost)));
    assert!(fs::read(folders.segment()).unwrap().len() > before.len(), "its bytes are there");
    // Still broken: refused again, and nothing new written, for healing must come first.
    orders.forget();
    assert!(refused_for_now(store.append(&lost)));
    assert_eq!((orders.count("append"), orders.count("truncate")), (0, 1));
    assert_eq!(fs::read(folders.segment()).unwrap(), before);
    assert_eq!(store.size(), 2);

    orders.mend();
    orders.forget();
    let committed = store.append(&batch(2, 1)).unwrap();
    assert_eq!((committed.first(), committed.size()), (2, 3));
    assert_eq!((orders.count("truncate"), orders.count("sync")), (1, 2));
    // The control: a disk that never failed holds the same bytes.
    let control = Folders::new();
    let mut good = control.store();
    good.append(&batch(0, 2)).unwrap();
    good.append(&batch(2, 1)).unwrap();
    assert_eq!(fs::read(folders.segment()).unwrap(), fs::read(control.segment()).unwrap());
    drop(store);
    assert_eq!(folders.store().size(), 3);
    assert_published(&folders, 3);
}

#[test]
fn a_half_written_batch_is_cut_off_before_the_next() {
    for bytes in [0, 1, 31, 32, 60] {
        let folders = Folders::new();
        let (mut store, orders) = folders.breaking(LONG).unwrap();
        store.append(&batch(0, 1)).unwrap();
        orders.break_writes_after(bytes);
        assert!(refused_for_now(store.append(&batch(1, 3))));
        orders.break_it("truncate");
        assert!(refused_for_now(store.append(&batch(1, 3))));
        orders.mend();
        store.append(&batch(1, 3)).unwrap();
        drop(store);
        let (store, opened) = folders.open().unwrap();
        assert_eq!((store.size(), opened.torn_bytes), (4, 0));
        assert_published(&folders, 4);
    }
}

#[test]
fn a_full_disk_under_the_tiles_stops_issuance_until_there_is_room() {
    for operation in ["place_tile", "place_checkpoint"] {
        let folders = Folders::new();
        let (mut store, orders) = folders.breaking(LONG).unwrap();
        store.append(&batch(0, 1)).unwrap();
        store.publish().unwrap();
        orders.break_it(operation);
        // The batch is durable; that it cannot be shown is found out afterwards.
        store.append(&batch(1, 400)).unwrap();
        assert!(refused_for_now(store.publish()));
        orders.forget();
        assert!(refused_for_now(store.append(&batch(401, 1))));
        assert_eq!(orders.count("append"), 0);
        assert_published(&folders, 1);

        orders.mend();
        let committed = store.append(&batch(401, 1)).unwrap();
        assert_eq!(committed.first(), 401);
        assert_published(&folders, 401);
        store.publish().unwrap();
        assert_published(&folders, 402);
    }
}

#[test]
fn after_a_lost_sync_all_tiles_since_the_base_are_written_again() {
    let folders = Folders::new();
    let (mut store, orders) = folders.breaking(SHORT).unwrap();
    store.append(&batch(0, 300)).unwrap();
    orders.break_it("sync_public");
    assert!(refused_for_now(store.publish()));
    // The kernel dropped what it could not write.
    let tile = folders.log().join("tile/0/000");
    let good = fs::read(&tile).unwrap();
    fs::write(&tile, vec![0; good.len()]).unwrap();
    assert!(refused_for_now(store.append(&batch(300, 1))));
    orders.mend();
    orders.forget();
    store.append(&batch(300, 1)).unwrap();
    assert_eq!(fs::read(&tile).unwrap(), good);
    assert_eq!(orders.count("start_segment"), 1);
    drop(store);
    assert_eq!(folders.open().unwrap().1.base, 300);
    assert_published(&folders, 301);
}

#[test]
fn a_new_segment_that_may_be_there_takes_no_batch_into_the_old_one() {
    let folders = Folders::new();
    let (mut store, orders) = folders.breaking(SHORT).unwrap();
    store.append(&batch(0, 100)).unwrap();
    orders.break_it("start_segment");
    assert!(refused_for_now(store.publish()));
    orders.forget();
    assert!(refused_for_now(store.append(&batch(100, 1))));
    assert_eq!(orders.count("append"), 0);
    orders.mend();
    store.append(&batch(100, 1)).unwrap();
    drop(store);
    assert_eq!(folders.store().size(), 101);
}

#[test]
fn batches_that_cannot_be_are_refused_and_change_nothing() {
    let folders = Folders::new();
    let (mut store, orders) = folders.breaking(LONG).unwrap();
    let mut refused = |entries: &[Vec<u8>]| {
        let refused = store.append(entries).err().map(|e| e.fault());
        assert_eq!(refused, Some(Fault::Caller));
    };
    refused(&[]);
    refused(&[vec![b'x'; 65_536]]);
    refused(&vec![vec![b'x'; 65_535]; 65]);
    assert_eq!(orders.changes(), 0);
    store.append(&[vec![b'x'; 65_535], Vec::new()]).unwrap();
    store.append(&vec![vec![b'x'; 65_535]; 60]).unwrap();
    assert_eq!(store.size(), 62);
    drop(store);
    assert_eq!(folders.store().size(), 62);
}
