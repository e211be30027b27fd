//! Files as crashes and other programs leave them.

use super::*;

#[test]
fn a_file_whose_very_first_transaction_was_cut_off_is_an_empty_one() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("events.db");
    let database = rusqlite::Connection::open(&path).unwrap();
    database.pragma_update(None, "journal_mode", "wal").unwrap();
    database.close().unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 4096);
    // The journal of a transaction that began with an empty file: the magic number, no pages, a
    // seed for checksums, a file of 0 pages before, sectors of 512 bytes and pages of 4096.
    let mut journal = vec![0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
    for word in [0_u32, 1, 0, 512, 4096] {
        journal.extend(word.to_be_bytes());
    }
    journal.resize(512, 0);
    std::fs::write(folder.path().join("events.db-journal"), journal).unwrap();

    let store = open(path);
    assert_eq!(append(&store, vec![event("T", &[])], None), Ok(1));
}

#[test]
fn a_file_that_others_are_just_making_a_store_of_is_waited_for() {
    for _ in 0..100 {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("events.db");
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| open(path.clone()).close());
            }
        });
    }
}
