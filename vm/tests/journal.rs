//! Journal: what the NIC's backend writes down is what the crash model reads.

use vm::crash::journal::{Error, HEAD, Head, Record, records};
use vm::vnet::{GuestAddress, Journal, Window};

const WINDOW: Window = Window { base: GuestAddress(1 << 32), len: 4096 };

fn head(end: u64, full: bool) -> Head {
    Head { end, full, base: WINDOW.base.0, len: WINDOW.len }
}

fn at(offset: u64) -> GuestAddress {
    GuestAddress(WINDOW.base.0 + offset)
}

fn record(offset: u64, bytes: &[u8]) -> Record<'_> {
    Record { offset: vm::crash::Offset(offset), bytes }
}

#[test]
fn the_crash_model_reads_what_the_backend_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let journal = Journal::create(&path, WINDOW, 1 << 16).unwrap();
    let empty = std::fs::read(&path).unwrap();
    assert_eq!(Head::parse(&empty).unwrap(), head(64, false));
    assert_eq!(Head::parse(&empty).unwrap().records(&empty).unwrap(), []);

    journal.add(at(7), &[b"head", b"", b"frame"]);
    let first = std::fs::read(&path).unwrap();
    journal.add(GuestAddress(WINDOW.base.0 - 2), &[b"a", b"bcd"]);
    journal.add(at(4094), &[b"wxyz"]);
    journal.add(at(4096), &[b"outside"]);
    let all = std::fs::read(&path).unwrap();
    let expected = [record(7, b"headframe"), record(0, b"cd"), record(4094, b"wx")];
    let (before, after) = (Head::parse(&first).unwrap(), Head::parse(&all).unwrap());
    assert_eq!(before.records(&first).unwrap(), expected[..1]);
    assert_eq!(after.records(&all).unwrap(), expected);
    let ends = [before.end, after.end].map(|end| usize::try_from(end).unwrap());
    let part = &all[ends[0]..ends[1]];
    assert_eq!(records(part, after.len).unwrap(), expected[1..], "the part since then");
}

#[test]
fn writes_of_every_length_fill_it_until_one_does_not_fit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let bytes: Vec<u8> = (0..64).collect();
    let lengths = 1..=bytes.len();
    let room: usize = lengths.clone().map(|len| 16 + len.next_multiple_of(8)).sum();
    let journal = Journal::create(&path, WINDOW, (HEAD + room) as u64).unwrap();
    for len in lengths.clone() {
        journal.add(at(0), &[&bytes[..len]]);
    }
    let file = std::fs::read(&path).unwrap();
    let found = Head::parse(&file).unwrap();
    assert_eq!(found, head(file.len() as u64, false));
    let written: Vec<_> = lengths.map(|len| record(0, &bytes[..len])).collect();
    assert_eq!(found.records(&file).unwrap(), written);

    journal.add(at(0), &[b"x"]);
    let file = std::fs::read(&path).unwrap();
    let found = Head::parse(&file).unwrap();
    assert_eq!(found, head(file.len() as u64, true));
    assert_eq!(found.records(&file).unwrap(), written);
    assert_eq!(Head::parse(&[0; HEAD]), Err(Error::NoJournal));
}
