//! Torn: the device stands still in the middle of a frame, at exactly the byte that was asked for.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::path::Path;
use std::time::Duration;

use support::frames::{self, is_arp_reply, needle};
use support::journal::{read, replay};
use support::ring::Layout;
use support::{BUFFERS, EVENT_IDX, Guest, MRG_RXBUF, Net, SOON, VERSION_1};
use vnet::{Direction, Error, Filter, GuestAddress, Journal, Tear, Torn, Window};

/// What the driver's receive buffers hold where nobody has written.
const UNTOUCHED: u8 = 0xa5;
/// Where they lie.
const RECEIVE: Window = Window { base: GuestAddress(BUFFERS), len: 0x2_0000 };
/// How long nothing must happen.
const A_WHILE: Duration = Duration::from_millis(100);

/// A network whose device keeps a journal of what it receives into.
fn net() -> Net {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::create(&dir.path().join("journal"), RECEIVE, 1 << 20).unwrap();
    Net::start_in(dir, |config| config.journal = Some(journal))
}

/// A guest that knows its host, with receive buffers that show what is written.
fn guest(net: &Net, layout: Layout) -> Guest {
    let features = VERSION_1 | MRG_RXBUF | EVENT_IDX;
    let mut guest = Guest::boot_receiving(&net.socket(), features, layout);
    guest.buffers.slice(BUFFERS, 0x2_0000).copy_from(&vec![UNTOUCHED; 0x2_0000]);
    assert!(is_arp_reply(&guest.arp()));
    guest
}

/// Tears the `nth` frame to the guest behind `bytes` bytes.
fn tear(net: &Net, nth: u64, bytes: usize) -> Torn {
    let filter = Filter::new().direction(Direction::ToGuest);
    net.vnet.tear(Tear { filter, nth, bytes })
}

fn received(guest: &Guest) -> Vec<u8> {
    let mut bytes = vec![0; 0x2_0000];
    guest.buffers.slice(BUFFERS, bytes.len()).copy_to(&mut bytes[..]);
    bytes
}

/// The bytes that changed from `before` to `after`: where, and what they are now.
fn changes(before: &[u8], after: &[u8]) -> Vec<(usize, u8)> {
    let pairs = before.iter().zip(after).enumerate();
    pairs.filter(|(_, (a, b))| a != b).map(|(at, (_, b))| (at, *b)).collect()
}

/// The journal over untouched memory.
fn journalled(dir: &Path) -> Vec<u8> {
    let (_, full, written) = read(&dir.join("journal"));
    assert!(!full);
    let touched: Vec<u8> = replay(&written, 0x2_0000);
    let mut mask = vec![UNTOUCHED; 0x2_0000];
    for write in &written {
        let at = usize::try_from(write.offset).unwrap();
        mask[at..at + write.bytes.len()].copy_from_slice(&touched[at..at + write.bytes.len()]);
    }
    mask
}

#[test]
fn a_frame_is_torn_at_exactly_this_byte() {
    // No byte is like those of untouched buffers, or the count below would miss it.
    let data = needle(5, 1400).iter().map(|byte| byte & 0x5f).collect::<Vec<_>>();
    let request = frames::echo_request(&data);
    let len = request.len();
    for layout in [Layout::Joined, Layout::Split, Layout::Odd, Layout::Small] {
        for cut in [0, 1, 13, 14, 52, 64, 243, 244, 245, 700, len - 1, len, len + 1] {
            let net = net();
            let mut guest = guest(&net, layout);
            let torn = tear(&net, 3, cut);
            let replies = [0, 1].map(|_| {
                guest.send(&request);
                guest.receive()
            });
            assert_eq!(replies[0], replies[1]);
            assert!(matches!(torn.wait(Duration::ZERO), Err(Error::Timeout(_))));
            let before = received(&guest);
            guest.send(&request);
            let frame = torn.wait(SOON).unwrap().frame;
            assert_eq!(frame.len, len);
            assert!(guest.rx.used().is_none(), "the guest is told of nothing");

            let after = received(&guest);
            let buffers = if layout == Layout::Small { 6 } else { 1 };
            let header = [&[0; 10][..], &[buffers, 0]].concat();
            let expected = [&header, &replies[0][..cut.min(len)]].concat();
            let changed: Vec<u8> = changes(&before, &after).into_iter().map(|(_, b)| b).collect();
            assert!(changed == expected, "{layout:?} {cut}: {} bytes changed", changed.len());
            assert!(journalled(net.dir.path()) == after, "{layout:?} {cut}: journal");
        }
    }
}

#[test]
fn a_torn_device_stands_still_until_its_frontend_leaves() {
    let net = net();
    let mut guest = guest(&net, Layout::Split);
    let torn = tear(&net, 1, 20);
    guest.tx.send(&frames::arp_request());
    torn.wait(SOON).unwrap();
    let (before, written) = (received(&guest), read(&net.dir.path().join("journal")).2.len());
    // A kick, and messages of the frontend, which are answered.
    guest.tx.send(&frames::arp_request());
    guest.tx.kick.write(1).unwrap();
    let (rx, tx) = guest.reset();
    guest.drive([rx, tx].map(|base| base.try_into().unwrap()));
    assert!(guest.rx.wait_used_within(A_WHILE).is_none(), "nothing is received");
    assert!(received(&guest) == before);
    assert_eq!(read(&net.dir.path().join("journal")).2.len(), written);
    let taken = std::iter::from_fn(|| guest.tx.used()).count();
    assert!(taken <= 1, "frames after the torn one were taken: {taken}");

    drop(guest);
    let mut guest = Guest::boot(&net.socket(), VERSION_1, Layout::Split);
    for _ in 0..3 {
        assert!(is_arp_reply(&guest.arp()), "the next guest's device works");
    }
}

#[test]
fn a_torn_frame_is_written_on_from_where_it_is() {
    let data = needle(5, 1400).iter().map(|byte| byte & 0x5f).collect::<Vec<_>>();
    let request = frames::echo_request(&data);
    for layout in [Layout::Joined, Layout::Split, Layout::Odd, Layout::Small] {
        let net = net();
        let mut guest = guest(&net, layout);
        guest.send(&request);
        let reply = guest.receive();
        let before = received(&guest);
        let torn = tear(&net, 1, 13);
        guest.send(&request);
        let stopped = torn.wait(SOON).unwrap();
        let header = changes(&before, &received(&guest)).len() - 13;
        for bytes in [13, 14, 14, 3, 244, 245, 700, reply.len() - 1, reply.len(), 9000] {
            let written = changes(&before, &received(&guest)).len() - header;
            stopped.write_on(bytes).unwrap();
            let changed = changes(&before, &received(&guest));
            let expected = bytes.min(reply.len()).max(written);
            assert_eq!(changed.len(), header + expected, "{layout:?} {bytes}");
            let bytes = changed[header..].iter().map(|(_, byte)| *byte);
            assert!(bytes.eq(reply[..expected].iter().copied()), "{layout:?} {expected}");
            assert!(guest.rx.used().is_none(), "the guest is told of nothing");
        }
        assert!(journalled(net.dir.path()) == received(&guest), "{layout:?}: journal");
        drop(guest);
        while stopped.write_on(0).is_ok() {
            std::thread::yield_now();
        }
        assert!(matches!(stopped.write_on(0), Err(Error::Gone)), "the frontend has left");
    }
}

#[test]
fn what_came_before_the_torn_frame_is_the_guests() {
    let net = net();
    let mut guest = guest(&net, Layout::Joined);
    let torn = tear(&net, 4, 0);
    // In one batch: the backend is told of the first only.
    let request = frames::echo_request(&needle(1, 100));
    for _ in 0..5 {
        guest.tx.send(&request);
    }
    torn.wait(SOON).unwrap();
    for number in 0..3 {
        assert_eq!(guest.receive().len(), request.len(), "reply {number}");
    }
    assert!(guest.rx.used().is_none());
}

#[test]
fn only_frames_of_the_filter_count() {
    let net = net();
    let mut guest = guest(&net, Layout::Joined);
    let filter = Filter::new().direction(Direction::ToGuest).payload_at_least(1);
    let torn = net.vnet.tear(Tear { filter, nth: 1, bytes: 0 });
    for _ in 0..5 {
        assert!(is_arp_reply(&guest.arp()), "a frame without payload");
    }
    assert!(matches!(torn.wait(Duration::ZERO), Err(Error::Timeout(_))));
    let filter = Filter::new().direction(Direction::ToGuest).len_at_least(43);
    let torn = net.vnet.tear(Tear { filter, nth: 1, bytes: 0 });
    assert!(is_arp_reply(&guest.arp()), "a frame of 42 bytes");
    guest.send(&frames::echo_request(b"a"));
    assert_eq!(torn.wait(SOON).unwrap().frame.len, 43);
}

#[test]
fn a_tear_that_nobody_waits_for_does_not_come() {
    let net = net();
    let mut guest = guest(&net, Layout::Joined);
    drop(tear(&net, 1, 0));
    assert!(is_arp_reply(&guest.arp()));
}

#[test]
fn a_tear_that_will_not_come_is_not_waited_for() {
    let net = net();
    let first = tear(&net, 1, 0);
    let second = tear(&net, 1, 0);
    assert!(matches!(first.wait(SOON), Err(Error::Gone)), "another took its place");
    drop(net);
    assert!(matches!(second.wait(SOON), Err(Error::Gone)), "the network has ended");
}
