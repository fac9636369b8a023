//! Malformed: whatever a hostile driver puts into its rings, nothing outside its memory is touched,
//! nothing panics, and after a reset the network works.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use support::frames::{Random, arp_request, is_arp_reply};
use support::ring::{Layout, NEXT, SLOTS, TABLE, WRITE};
use support::{BUFFERS, EVENT_IDX, Guest, INDIRECT, MRG_RXBUF, Net, RINGS, VERSION_1};

const FEATURES: u64 = VERSION_1 | INDIRECT;

/// A descriptor: guest address, length, flags, next.
type Descriptor = (u64, u32, u16, u16);

/// Transmits the chain whose descriptors are these, from 100 on.
fn transmit(guest: &mut Guest, chain: &[Descriptor]) -> (u16, u32) {
    for (at, descriptor) in (100..).zip(chain) {
        guest.tx.describe(guest.tx.descriptors, at, *descriptor);
    }
    let old = guest.tx.next_avail();
    guest.tx.offer(100);
    guest.tx.notify(old);
    guest.tx.wait_used()
}

#[test]
fn each_bad_chain_is_dropped_and_counted() {
    let net = Net::start();
    let mut guest = Guest::boot(&net.socket(), FEATURES, Layout::Split);
    let table = BUFFERS + 0x20_0000;
    let chains: &[(&str, &[Descriptor])] = &[
        ("a loop of one", &[(BUFFERS, 64, NEXT, 100)]),
        ("a loop of two", &[(BUFFERS, 64, NEXT, 101), (BUFFERS, 64, NEXT, 100)]),
        ("an address outside", &[(0xdead_0000_0000, 64, 0, 0)]),
        ("the last address", &[(u64::MAX, 64, 0, 0)]),
        ("a buffer across the end", &[(BUFFERS + 0x3f_ffff, 2, 0, 0)]),
        ("a huge length", &[(BUFFERS, u32::MAX, 0, 0)]),
        ("no length", &[(BUFFERS, 0, 0, 0)]),
        ("a writable buffer", &[(BUFFERS, 64, WRITE, 0)]),
        ("a next outside the table", &[(BUFFERS, 64, NEXT, 60_000)]),
        ("a table of odd size", &[(table, 17, TABLE, 0)]),
        ("an empty table", &[(table, 0, TABLE, 0)]),
        ("a table outside", &[(0xdead_0000_0000, 16, TABLE, 0)]),
        ("a table at the last address", &[(u64::MAX - 3, 32, TABLE, 0)]),
        ("a table with a next", &[(table, 32, TABLE | NEXT, 101)]),
        ("a table in a table", &[(table + 0x1000, 16, TABLE, 0)]),
        ("a huge table that loops", &[(table + 0x2000, 0x10_0000, TABLE, 0)]),
    ];
    guest.tx.describe(table, 0, (BUFFERS, 64, 0, 0));
    guest.tx.describe(table + 0x1000, 0, (table, 16, TABLE, 0));
    guest.tx.describe(table + 0x2000, 0, (BUFFERS, 64, NEXT, 0));
    for (count, (what, chain)) in (1..).zip(chains) {
        assert_eq!(transmit(&mut guest, chain), (100, 0), "{what} is given back");
        assert_eq!(net.vnet.counters().bad_chains, count, "{what} is counted");
    }
    assert_eq!(net.vnet.counters().from_guest, 0);
    assert!(is_arp_reply(&guest.arp()), "the ring still works");
}

#[test]
fn frames_without_sense_are_dropped_and_counted() {
    let net = Net::start();
    let mut guest = Guest::boot(&net.socket(), FEATURES, Layout::Joined);
    let chains: &[&[Descriptor]] = &[
        &[(BUFFERS, 1, 0, 0)],
        &[(BUFFERS, 12, 0, 0)],
        &[(BUFFERS, 25, 0, 0)],
        &[(BUFFERS, 80_000, 0, 0)],
    ];
    for (count, chain) in (1..).zip(chains) {
        transmit(&mut guest, chain);
        assert_eq!(net.vnet.counters().bad_frames, count);
    }
    for header in [[1, 0, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]] {
        guest.tx.send_with(&header, &arp_request());
        guest.tx.wait_used();
    }
    assert_eq!(net.vnet.counters().bad_frames, 6);
    assert!(is_arp_reply(&guest.arp()));
}

#[test]
fn an_impossible_index_breaks_the_ring_until_it_is_set_up_anew() {
    for forged in [300, 0x8000, 0xffff] {
        let net = Net::start();
        let mut guest = Guest::boot(&net.socket(), FEATURES, Layout::Split);
        assert!(is_arp_reply(&guest.arp()));
        guest.tx.forge_index(forged);
        assert!(guest.tx.wait_used_within(std::time::Duration::from_millis(30)).is_none());
        assert_eq!(net.vnet.counters().broken_vrings, 1, "index {forged}");
        guest.reset();
        guest.renew(FEATURES, Layout::Split);
        guest.drive([0, 0]);
        assert!(is_arp_reply(&guest.arp()));
    }
}

#[test]
fn bad_receive_buffers_are_given_back_and_good_ones_used() {
    for features in [FEATURES, FEATURES | MRG_RXBUF, FEATURES | EVENT_IDX] {
        let net = Net::start();
        let mut guest = Guest::boot(&net.socket(), features, Layout::Joined);
        // The driver turns every second receive buffer into one that cannot be written.
        for slot in (0..SLOTS).step_by(2) {
            guest.rx.describe(guest.rx.descriptors, slot * 8, (BUFFERS, 64, 0, 0));
        }
        for _ in 0..4 {
            guest.send(&arp_request());
            let reply = loop {
                let frame = guest.receive();
                if !frame.is_empty() {
                    break frame;
                }
            };
            assert!(is_arp_reply(&reply));
        }
        assert!(net.vnet.counters().bad_chains >= 3);
    }
}

fn random_address(random: &mut Random) -> u64 {
    let near = random.pick(&[0, RINGS, RINGS + 0x4_0000, BUFFERS, BUFFERS + 0x40_0000, u64::MAX]);
    match random.below(4) {
        0 => random.next(),
        1 => BUFFERS + random.below(0x40_0000),
        _ => near.wrapping_add(random.below(64)).wrapping_sub(32),
    }
}

/// A random descriptor, sensible enough to get past the first check now and then.
fn random_descriptor(random: &mut Random, size: u16) -> Descriptor {
    let len = match random.below(4) {
        0 => u32::try_from(random.below(1 << 32)).unwrap(),
        1 => u32::try_from(random.below(8) * 16).unwrap(),
        _ => u32::try_from(random.below(3000)).unwrap(),
    };
    let flags = random.pick(&[0, NEXT, NEXT, WRITE, WRITE | NEXT, TABLE, TABLE | NEXT, 0xffff]);
    let next = u16::try_from(random.below(u64::from(size) + 2)).unwrap();
    (random_address(random), len, flags, next)
}

fn scribble(guest: &Guest, random: &mut Random) {
    for ring in [&guest.rx, &guest.tx] {
        for at in 0..ring.size {
            let descriptor = random_descriptor(random, ring.size);
            ring.describe(ring.descriptors, at, descriptor);
        }
        for at in 0..64 {
            let descriptor = random_descriptor(random, 64);
            ring.describe(BUFFERS + random.below(0x3000) * 16, at, descriptor);
        }
    }
}

#[test]
fn random_rings_never_stop_the_network() {
    let net = Net::start();
    let mut guest = Guest::boot(&net.socket(), FEATURES, Layout::Split);
    // The canary stands where the backend must never write: before and behind the buffers' region.
    for seed in 0..300 {
        let random = &mut Random(seed);
        let features = FEATURES | random.pick(&[0, MRG_RXBUF]) | random.pick(&[0, EVENT_IDX]);
        guest.reset();
        guest.renew(features, Layout::Split);
        scribble(&guest, random);
        guest.drive([0, 0]);
        for _ in 0..random.below(60) {
            let head = random.below(u64::from(guest.tx.size) + 1);
            guest.tx.offer(u16::try_from(head).unwrap());
            guest.rx.offer(u16::try_from(head).unwrap());
        }
        guest.tx.kick.write(1).unwrap();
        guest.rx.kick.write(1).unwrap();
        guest.reset();
        guest.renew(FEATURES, Layout::Split);
        guest.drive([0, 0]);
        let answered = (0..100).any(|_| {
            guest.tx.send(&arp_request());
            guest.tx.wait_used();
            is_arp_reply(&guest.receive())
        });
        assert!(answered, "no answer after the rings of seed {seed}");
    }
    let counters = net.vnet.counters();
    assert!(counters.bad_chains > 300, "{counters:?}");
}
