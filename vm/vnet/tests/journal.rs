//! Journal: what the device writes into guest memory is in the file, in order and in time.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::path::PathBuf;

use support::frames::{self, is_arp_reply, needle};
use support::journal::{read, replay};
use support::ring::{Layout, SLOTS};
use support::{BUFFERS, EVENT_IDX, Guest, MRG_RXBUF, Memory, Net, RINGS, VERSION_1};
use vnet::{GuestAddress, Journal, Window};

/// Where the driver receives: nobody but the device writes there.
const RECEIVE: Window = Window { base: GuestAddress(BUFFERS), len: 0x2_0000 };

/// A network whose device keeps a journal, and the journal's path.
fn net(window: Window, capacity: u64) -> (Net, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let journal = Journal::create(&path, window, capacity).unwrap();
    assert_eq!(journal.window(), window);
    (Net::start_in(dir, |config| config.journal = Some(journal)), path)
}

fn bytes(memory: &Memory, guest: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(len).unwrap()];
    memory.slice(guest, bytes.len()).copy_to(&mut bytes[..]);
    bytes
}

#[test]
fn the_journal_replayed_over_zeros_is_the_memory_that_was_received_into() {
    for layout in [Layout::Joined, Layout::Split, Layout::Odd, Layout::Small] {
        let (net, path) = net(RECEIVE, 1 << 20);
        let features = VERSION_1 | MRG_RXBUF | EVENT_IDX;
        let mut guest = Guest::boot_receiving(&net.socket(), features, layout);
        assert!(is_arp_reply(&guest.arp()));
        for number in 0..100 {
            let len = 1400 - number;
            guest.send(&frames::echo_request(&needle(number as u64, len)));
            assert_eq!(guest.receive().len(), len + 42);
            assert!(is_arp_reply(&guest.arp()));
        }
        let (window, full, written) = read(&path);
        assert_eq!((window, full), ((RECEIVE.base.0, RECEIVE.len), false));
        let memory = bytes(&guest.buffers, RECEIVE.base.0, RECEIVE.len);
        assert!(replay(&written, memory.len()) == memory, "{layout:?}");
    }
}

#[test]
fn rings_in_the_window_are_in_the_journal() {
    let window = Window { base: GuestAddress(RINGS), len: 0x2_0000 };
    for features in [VERSION_1, VERSION_1 | EVENT_IDX] {
        let (net, path) = net(window, 1 << 20);
        let mut guest = Guest::boot(&net.socket(), features, Layout::Split);
        for _ in 0..100 {
            assert!(is_arp_reply(&guest.arp()));
        }
        let Guest { rx, tx, rings, .. } = &guest;
        // Index and flags, the elements, and the index at which a kick is wanted.
        let used: Vec<_> = [rx, tx].map(|ring| (ring.used, 6 + u64::from(ring.size) * 8)).into();
        let Net { vnet, dir: _dir } = net;
        // The device may still be about to write at which index it wants a kick.
        drop(vnet);
        let memory = replay(&read(&path).2, 0x2_0000);
        for (guest, len) in used {
            let at = usize::try_from(guest - RINGS).unwrap();
            let in_ring = bytes(rings, guest, len);
            assert!(in_ring[2..4] == [100, 0], "100 frames went through the ring");
            assert!(memory[at..at + in_ring.len()] == in_ring, "features {features:#x}");
        }
    }
}

#[test]
fn what_the_guest_is_told_of_is_in_the_journal() {
    let window = Window { base: GuestAddress(RINGS), len: 1 << 33 };
    let (net, path) = net(window, 1 << 20);
    let mut guest = Guest::boot(&net.socket(), VERSION_1, Layout::Split);
    let index = guest.rx.used + 2 - RINGS;
    assert!(is_arp_reply(&guest.arp()));
    for number in 1..SLOTS * 2 {
        guest.send(&frames::echo_request(&needle(number.into(), 64)));
        let frame = guest.receive();
        let (_, _, written) = read(&path);
        let place = written.iter().position(|write| write.bytes == frame);
        let place = place.expect("the frame is there before the guest can know of it");
        let told = |write: &support::journal::Written| {
            write.offset == index && write.bytes == (number + 1).to_le_bytes()
        };
        assert!(!written[..place].iter().any(told), "the index stands behind the frame");
    }
}

#[test]
fn a_full_journal_says_so_and_the_network_works_on() {
    let (net, path) = net(RECEIVE, 64 + 9 * 72);
    let mut guest = Guest::boot(&net.socket(), VERSION_1, Layout::Joined);
    for number in 0..20 {
        assert!(is_arp_reply(&guest.arp()));
        let (_, full, written) = read(&path);
        // A record of a header and a reply, 12 and 42 bytes, takes 72.
        assert_eq!(written.len(), (number + 1).min(9));
        assert_eq!(full, number >= 9);
    }
    let (_, _, written) = read(&path);
    let reply = bytes(&guest.buffers, RECEIVE.base.0 + written[8].offset + 12, 42);
    assert_eq!(written[8].bytes[12..], reply);
}
