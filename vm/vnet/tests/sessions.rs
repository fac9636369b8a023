//! Sessions: frontends come, negotiate, reset and vanish, and the network goes on.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::net::SocketAddrV4;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use support::frames::is_arp_reply;
use support::ring::{Layout, Ring};
use support::{
    BUFFERS, BUFFERS_IN_FILE, EVENT_IDX, GUEST_IP, Guest, INDIRECT, MRG_RXBUF, Net, SOON,
    VERSION_1, addresses, config,
};
use vhost::VhostBackend;
use vhost::vhost_user::VhostUserFrontend;
use vnet::{Error, GuestAddress, Vnet};

const AT_ONCE: Duration = Duration::ZERO;

#[test]
fn the_link_is_up_when_the_driver_has_set_up_both_queues() {
    let net = Net::start();
    assert!(matches!(net.vnet.wait_link(AT_ONCE), Err(Error::NoLink { .. })));
    let mut guest = Guest::connect(&net.socket(), VERSION_1, Layout::Split);
    guest.add_memory();
    assert!(matches!(net.vnet.wait_link(AT_ONCE), Err(Error::NoLink { .. })));
    guest.drive([0, 0]);
    net.vnet.wait_link(SOON).unwrap();
    let regions = net.vnet.regions();
    assert_eq!(regions[1].guest, GuestAddress(BUFFERS));
    assert_eq!(regions[1].file.offset, BUFFERS_IN_FILE);
    assert!(is_arp_reply(&guest.arp()));
}

#[test]
fn a_memory_table_does_as_well_as_single_regions() {
    let net = Net::start();
    let mut guest = Guest::connect(&net.socket(), VERSION_1, Layout::Split);
    guest.set_memory_table();
    guest.drive([0, 0]);
    assert!(is_arp_reply(&guest.arp()));
    // Sent again while the rings run, as on a memory hotplug.
    guest.set_memory_table();
    assert!(is_arp_reply(&guest.arp()));
}

#[test]
fn a_new_driver_with_other_features_takes_over() {
    let net = Net::start();
    let mut guest = Guest::boot(&net.socket(), VERSION_1 | MRG_RXBUF | EVENT_IDX, Layout::Joined);
    for _ in 0..3 {
        assert!(is_arp_reply(&guest.arp()));
    }
    assert_eq!(guest.reset(), (3, 3), "three frames each way");
    assert!(!net.vnet.is_up());
    guest.renew(VERSION_1 | INDIRECT, Layout::Indirect);
    guest.drive([0, 0]);
    net.vnet.wait_link(SOON).unwrap();
    assert!(is_arp_reply(&guest.arp()));
    assert_eq!(net.vnet.counters().sessions, 1);
}

#[test]
fn a_killed_frontend_makes_room_for_the_next() {
    let net = Net::start();
    for round in 1..=20 {
        let mut guest = Guest::boot(&net.socket(), VERSION_1 | EVENT_IDX, Layout::Split);
        assert!(is_arp_reply(&guest.arp()), "round {round}");
        assert_eq!(net.vnet.counters().sessions, round);
        drop(guest);
    }
}

#[test]
fn the_next_frontend_waits_until_the_first_is_gone() {
    let net = Net::start();
    let first = Guest::boot(&net.socket(), VERSION_1, Layout::Split);
    let socket = net.socket();
    let second = std::thread::spawn(move || Guest::boot(&socket, VERSION_1, Layout::Split));
    net.vnet.wait_link(SOON).unwrap();
    drop(first);
    assert!(is_arp_reply(&second.join().unwrap().arp()));
}

#[test]
fn a_restarted_backend_goes_on_in_the_same_rings() {
    let net = Net::start();
    let mut guest = Guest::boot(&net.socket(), VERSION_1 | EVENT_IDX, Layout::Split);
    for _ in 0..5 {
        assert!(is_arp_reply(&guest.arp()));
    }
    let Net { vnet, dir } = net;
    drop(vnet);
    let socket = dir.path().join("nic");
    let vnet = Vnet::start(config(&socket)).unwrap();
    let fresh = Guest::connect(&socket, VERSION_1 | EVENT_IDX, Layout::Split);
    // QEMU connects anew, with the memory and rings of the guest that lived on.
    guest.frontend = fresh.frontend;
    guest.stream = fresh.stream;
    guest.add_memory();
    guest.drive([5, 5]);
    vnet.wait_link(SOON).unwrap();
    for _ in 0..5 {
        assert!(is_arp_reply(&guest.arp()));
    }
}

#[test]
fn a_refused_request_does_not_end_the_session() {
    let net = Net::start();
    let mut guest = Guest::connect(&net.socket(), VERSION_1, Layout::Split);
    guest.add_memory();
    guest.frontend.set_features(VERSION_1 | 1 << 30).unwrap();
    assert!(guest.frontend.set_features(1 << 40).is_err(), "a feature that was not offered");
    let size = guest.rx.size;
    assert!(guest.frontend.set_vring_num(0, 3).is_err(), "not a power of two");
    guest.frontend.set_vring_num(0, size).unwrap();
    for off in [0x2_0000_0000, 0x4_0000, 0x3_fff0, u64::MAX << 20] {
        let mut ring = addresses(&guest.rx);
        ring.desc_table_addr = ring.desc_table_addr.wrapping_add(off);
        assert!(guest.frontend.set_vring_addr(0, &ring).is_err(), "descriptors moved by {off:#x}");
    }
    guest.drive([0, 0]);
    assert!(is_arp_reply(&guest.arp()));
}

#[test]
fn garbage_on_the_socket_ends_only_that_session() {
    use std::io::Write;
    let net = Net::start();
    let mut stream = UnixStream::connect(net.socket()).unwrap();
    stream.write_all(&[0xa5; 64]).unwrap();
    drop(stream);
    let mut guest = Guest::boot(&net.socket(), VERSION_1, Layout::Split);
    assert!(is_arp_reply(&guest.arp()));
}

#[test]
fn removed_memory_stops_the_rings_and_comes_back() {
    let net = Net::start();
    let mut guest = Guest::boot(&net.socket(), VERSION_1, Layout::Split);
    assert!(is_arp_reply(&guest.arp()));
    guest.remove_buffers();
    // The chain points nowhere now: it is dropped, the ring lives.
    guest.send(&support::frames::arp_request());
    assert_eq!(net.vnet.regions().len(), 1);
    assert_eq!(net.vnet.counters().bad_chains, 1);
    guest.add_buffers();
    assert!(is_arp_reply(&guest.arp()));
}

#[test]
fn lost_links_end_connections_and_waiting_calls() {
    let net = Net::start();
    let host = net.vnet.host();
    let to = SocketAddrV4::new(GUEST_IP, 80);
    let guest = Guest::boot(&net.socket(), VERSION_1, Layout::Split);
    let waiting = std::thread::spawn(move || host.connect(to, SOON).map(drop));
    net.vnet.frame_log().wait(&vnet::Filter::new(), SOON).unwrap();
    drop(guest);
    assert!(matches!(waiting.join().unwrap(), Err(Error::LinkLost)));
    let host = net.vnet.host();
    let waiting = std::thread::spawn(move || host.connect(to, SOON).map(drop));
    let host = net.vnet.host();
    let pinging = std::thread::spawn(move || host.ping(GUEST_IP, SOON));
    let listener = net.vnet.host().listen(7).unwrap();
    drop(net);
    assert!(matches!(waiting.join().unwrap(), Err(Error::Gone)));
    assert!(matches!(pinging.join().unwrap(), Err(Error::Gone)));
    assert!(matches!(listener.accept(SOON), Err(Error::Gone)));
}

#[test]
fn the_socket_is_made_once_and_removed_at_the_end() {
    let net = Net::start();
    let socket = net.socket();
    assert!(matches!(Vnet::start(config(&socket)), Err(Error::Listen { .. })), "in use");
    let Net { vnet, dir } = net;
    drop(vnet);
    assert!(!socket.exists());
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    drop(Vnet::start(config(&socket)).expect("a socket nobody listens on is replaced"));
    let long = dir.path().join("x".repeat(108));
    assert!(matches!(Vnet::start(config(&long)), Err(Error::Listen { .. })), "too long");
    std::fs::write(&socket, "a file of somebody").unwrap();
    assert!(matches!(Vnet::start(config(&socket)), Err(Error::Listen { .. })), "not a socket");
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "a file of somebody");
}

#[test]
fn a_ring_size_changes_with_the_driver() {
    let net = Net::start();
    let mut guest = Guest::boot(&net.socket(), VERSION_1, Layout::Split);
    assert!(is_arp_reply(&guest.arp()));
    guest.reset();
    guest.rx = Ring::new(&guest.rings, &guest.buffers, 0, VERSION_1, Layout::Joined);
    guest.tx = Ring::new(&guest.rings, &guest.buffers, 1, VERSION_1, Layout::Joined);
    guest.drive([0, 0]);
    assert!(is_arp_reply(&guest.arp()));
    guest.frontend.set_vring_enable(1, false).unwrap();
    guest.tx.send(&support::frames::arp_request());
    assert!(guest.tx.wait_used_within(Duration::from_millis(50)).is_none(), "disabled");
    guest.frontend.set_vring_enable(1, true).unwrap();
    assert!(is_arp_reply(&guest.receive()));
}

#[test]
fn a_stopped_receive_queue_loses_no_frame() {
    let net = Net::start();
    let mut guest = Guest::boot(&net.socket(), VERSION_1, Layout::Split);
    guest.frontend.set_vring_enable(0, false).unwrap();
    for _ in 0..10 {
        guest.send(&support::frames::arp_request());
    }
    // What QEMU does when the guest is paused and resumed.
    let (rx, tx) = guest.reset();
    assert_eq!((rx, tx), (0, 10));
    guest.drive([rx, tx].map(|base| base.try_into().unwrap()));
    for _ in 0..10 {
        assert!(is_arp_reply(&guest.receive()));
    }
    assert!(is_arp_reply(&guest.arp()));
}
