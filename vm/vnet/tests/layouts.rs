//! Layouts: frames pass both ways whatever the driver's descriptors look like, and the frame log
//! names the bytes of the file behind guest memory.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use support::frames::{self, is_arp_reply, needle};
use support::ring::Layout;
use support::{
    BUFFERS, BUFFERS_IN_FILE, EVENT_IDX, Guest, INDIRECT, MRG_RXBUF, Net, SOON, VERSION_1,
};
use vnet::{Direction, FileId, Filter, hash};

const LAYOUTS: [Layout; 4] = [Layout::Joined, Layout::Split, Layout::Odd, Layout::Indirect];

#[test]
fn frames_pass_with_every_layout_and_feature() {
    for layout in LAYOUTS {
        for event_idx in [0, EVENT_IDX] {
            for modern in [0, VERSION_1, VERSION_1 | MRG_RXBUF] {
                let net = Net::start();
                let features = INDIRECT | event_idx | modern;
                let mut guest = Guest::boot(&net.socket(), features, layout);
                for _ in 0..100 {
                    assert!(is_arp_reply(&guest.arp()), "{layout:?} {features:#x}");
                }
                assert_eq!(net.vnet.counters().bad_chains, 0);
            }
        }
    }
}

#[test]
fn a_long_frame_fills_several_small_buffers_at_once() {
    let net = Net::start();
    let features = VERSION_1 | MRG_RXBUF | EVENT_IDX;
    let mut guest = Guest::boot_receiving(&net.socket(), features, Layout::Small);
    assert!(is_arp_reply(&guest.arp()));
    let request = frames::echo_request(&needle(1, 1400));
    for _ in 0..50 {
        guest.send(&request);
        let reply = guest.receive();
        assert_eq!(reply.len(), request.len());
        assert_eq!(reply[42..], request[42..], "the data of the echo");
    }
    assert_eq!(net.vnet.counters().too_small, 0);
}

#[test]
fn a_buffer_too_small_for_a_frame_loses_the_frame_not_the_ring() {
    let net = Net::start();
    let mut guest = Guest::boot_receiving(&net.socket(), VERSION_1, Layout::Small);
    assert!(is_arp_reply(&guest.arp()));
    guest.send(&frames::echo_request(&needle(1, 1400)));
    assert!(is_arp_reply(&guest.arp()), "the next small frame arrives");
    assert_eq!(net.vnet.counters().too_small, 1);
}

#[test]
fn the_observer_names_the_bytes_of_the_file() {
    for layout in LAYOUTS {
        let net = Net::start();
        let mut guest = Guest::boot(&net.socket(), VERSION_1 | INDIRECT | EVENT_IDX, layout);
        let payload = needle(7, 600);
        guest.send(&frames::udp(&payload));
        let filter = Filter::new().direction(Direction::FromGuest).dst_port(9).payload_only();
        let frame = net.vnet.frame_log().wait(&filter, SOON).unwrap();
        assert_eq!((frame.payload_len, frame.payload_hash), (600, hash(&payload)));
        assert_eq!(frame.flow.unwrap().src, "10.0.7.2:7000".parse().unwrap());
        assert_eq!(frame.tcp_seq, None);
        let mut seen = Vec::new();
        for range in &frame.payload {
            let file = range.file.unwrap();
            assert_eq!(file.file(), FileId::of_file(guest.buffers.file()).unwrap());
            assert_eq!(file.offset, range.guest.0 - BUFFERS + BUFFERS_IN_FILE);
            seen.extend(guest.file_bytes(file.offset, range.len));
        }
        assert_eq!(seen, payload, "{layout:?}: bytes of the file at the observed offsets");
        let found = net.vnet.census(&payload[..32]).unwrap();
        let places: Vec<_> = found.iter().map(|place| (place.guest, place.file)).collect();
        assert_eq!(places, [(frame.payload[0].guest, frame.payload[0].file)]);
    }
}

#[test]
fn a_partial_checksum_is_completed_before_anybody_reads_it() {
    let net = Net::start();
    let mut guest = Guest::boot(&net.socket(), VERSION_1 | support::CSUM, Layout::Split);
    // The ICMP checksum is left to the device: it starts at byte 34, its field is 2 behind that.
    let mut request = frames::echo_request(&needle(3, 99));
    request[36..38].copy_from_slice(&[0, 0]);
    let header = [1, 0, 0, 0, 0, 0, 34, 0, 2, 0, 0, 0];
    assert!(is_arp_reply(&guest.arp()));
    guest.tx.send_with(&header, &request);
    guest.tx.wait_used();
    assert_eq!(guest.receive()[42..], request[42..]);
    // Without the flag the stack sees the wrong checksum and says nothing.
    guest.send(&request);
    assert!(is_arp_reply(&guest.arp()));
}

#[test]
fn event_idx_saves_kicks_and_calls_without_losing_any() {
    let net = Net::start();
    let mut guest = Guest::boot(&net.socket(), VERSION_1 | EVENT_IDX, Layout::Split);
    for _ in 0..200 {
        for _ in 0..16 {
            guest.tx.send(&frames::arp_request());
        }
        for _ in 0..16 {
            assert!(is_arp_reply(&guest.receive()));
            guest.tx.wait_used();
        }
    }
    assert_eq!(net.vnet.counters().to_guest, 3200);
    assert!(guest.tx.kicks < 3200, "{} kicks for 3200 frames", guest.tx.kicks);
}

#[test]
fn an_idle_network_does_not_wake_up() {
    let net = Net::start();
    let mut guest = Guest::boot(&net.socket(), VERSION_1 | EVENT_IDX, Layout::Split);
    assert!(is_arp_reply(&guest.arp()));
    let before = net.vnet.counters().wakeups;
    assert!(guest.rx.wait_used_within(std::time::Duration::from_millis(300)).is_none());
    let after = net.vnet.counters().wakeups;
    assert!(after - before <= 1, "{} wake-ups while idle", after - before);
}
