//! Port test: a port on the loopback, from opening to a log that keeps what it received.
#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap as tests do")]

use std::{
    collections::HashSet,
    fs::File,
    io::{Write, pipe},
    os::fd::AsFd,
    time::Duration,
};

use paste_net::{
    Batch, Buf, BufSet, ConnFd, Error, Log, Loopback, Pool, PoolSpec, Port, PortSpec, RxView,
};

const SLOTS: u32 = 8;

struct Rig {
    pool: Pool,
    log: Log,
    device: Loopback,
    port: Port,
    socket: File,
}

impl Rig {
    fn new() -> Self {
        let spec = PoolSpec::new("memory").size(1 << 18).log_entries(256);
        Self::on(Pool::volatile(&spec).unwrap())
    }

    fn on(pool: Pool) -> Self {
        let log = Log::open(&pool).unwrap();
        let device = Loopback::new();
        let spec = PortSpec::new("pst:0", log.buffers()).extra(16).slots(SLOTS);
        let mut port = Port::open(device.clone(), &spec).unwrap();
        port.attach("eth0").unwrap();
        let socket = tempfile::tempfile().unwrap();
        port.register(socket.as_fd()).unwrap();
        Self { pool, log, device, port, socket }
    }

    fn fd(&self) -> i32 {
        ConnFd::of(&self.socket).raw()
    }

    fn inject(&self, payload: &[u8]) {
        assert!(self.device.inject(self.fd(), payload, 66));
    }

    fn spare(&self) -> Buf {
        self.log.buffers().spare().unwrap()
    }
}

fn payloads(mut rx: RxView<'_>) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    while let Some(slot) = rx.next().unwrap() {
        payloads.push(slot.payload().to_vec());
    }
    payloads
}

#[test]
fn payload_arrives_in_order_and_in_place() {
    let mut rig = Rig::new();
    rig.inject(b"one");
    assert!(rig.device.inject_at(rig.fd(), b"two", 56, 78));
    assert_eq!(rig.port.rx().unwrap().len(), 0, "nothing before a sync");
    rig.port.rxsync().unwrap();
    let image_of = |at: u64, pool: &Pool| {
        let at = usize::try_from(at).unwrap();
        pool.image()[at..at + 3].to_vec()
    };
    let mut rx = rig.port.rx().unwrap();
    let slot = rx.next().unwrap().unwrap();
    assert_eq!(slot.fd(), ConnFd::of(&rig.socket));
    assert_eq!(slot.payload(), b"one");
    assert_eq!(image_of(slot.location().0, &rig.pool), b"one", "where the slot says");
    drop(slot);
    let slot = rx.next().unwrap().unwrap();
    assert_eq!(slot.payload(), b"two");
    assert_eq!(slot.location().0 % 2048, 56 + 78);
    assert!(!slot.is_end_of_stream());
    drop(slot);
    assert!(rx.next().unwrap().is_none());
}

#[test]
fn the_end_of_a_stream_is_a_slot_without_payload() {
    let mut rig = Rig::new();
    rig.inject(b"last");
    assert!(rig.device.end_stream(rig.fd()));
    rig.port.rxsync().unwrap();
    let mut rx = rig.port.rx().unwrap();
    assert!(!rx.next().unwrap().unwrap().is_end_of_stream());
    assert!(rx.next().unwrap().unwrap().is_end_of_stream());
}

#[test]
fn only_registered_sockets_of_an_attached_nic_are_served() {
    let mut rig = Rig::new();
    assert!(!rig.device.inject(rig.fd() + 1000, b"x", 66));
    rig.port.detach("eth0").unwrap();
    assert!(!rig.device.inject(rig.fd(), b"x", 66));
    assert!(matches!(rig.port.detach("eth0"), Err(Error::Refused { request: "detach", .. })));
    let error = rig.port.register(rig.socket.as_fd()).unwrap_err();
    assert!(matches!(error, Error::Refused { request: "register socket", .. }));
}

#[test]
fn slots_that_were_not_looked_at_stay() {
    let mut rig = Rig::new();
    for text in [b"1", b"2", b"3"] {
        rig.inject(text);
    }
    rig.port.rxsync().unwrap();
    let mut rx = rig.port.rx().unwrap();
    assert_eq!(rx.next().unwrap().unwrap().payload(), b"1");
    drop(rx);
    rig.port.rxsync().unwrap();
    assert_eq!(payloads(rig.port.rx().unwrap()), [b"2", b"3"]);
}

#[test]
fn a_ring_goes_round_and_never_overtakes_its_reader() {
    let mut rig = Rig::new();
    let mut received = Vec::new();
    for round in 0..50u8 {
        (0..5).for_each(|number| rig.inject(&[round, number]));
        rig.port.rxsync().unwrap();
        assert!(rig.port.rx().unwrap().len() < SLOTS as usize);
        received.extend(payloads(rig.port.rx().unwrap()));
    }
    let expected = (0..50u8).flat_map(|round| (0..5).map(move |number| vec![round, number]));
    assert_eq!(received, expected.collect::<Vec<_>>());
}

#[test]
fn swap_keeps_every_buffer_in_one_place() {
    let mut rig = Rig::new();
    let user = rig.device.user_buffers();
    let mut kept = Vec::new();
    for round in 0..16u8 {
        rig.inject(&[round; 40]);
        rig.port.rxsync().unwrap();
        let spare = rig.spare();
        let (mut rx, given) = (rig.port.rx().unwrap(), spare.index());
        let slot = rx.next().unwrap().unwrap();
        let index = slot.index();
        let packet = slot.keep(spare);
        assert_eq!((packet.index(), packet.bytes()), (index, &[round; 40][..]));
        assert_ne!(packet.index(), given);
        kept.push(packet);
    }
    rig.port.rxsync().unwrap();
    assert_eq!(rig.device.user_buffers(), user, "as many as before");
    assert!(rig.log.buffers().spare().is_none(), "every spare was given");
    let indices: HashSet<_> = kept.iter().map(paste_net::Packet::index).collect();
    assert_eq!(indices.len(), kept.len());
    for (round, packet) in (0..16u8).zip(&kept) {
        assert_eq!(packet.bytes(), [round; 40], "nobody wrote into it");
    }
    drop(kept);
    assert_eq!(rig.log.buffers().spares(), 16);
}

#[test]
fn no_buffer_leaks_in_many_packets() {
    let mut rig = Rig::new();
    let before = (rig.device.user_buffers(), rig.log.buffers().spares());
    for number in 0..20_000u32 {
        rig.inject(&number.to_le_bytes());
        rig.port.rxsync().unwrap();
        let spare = (number % 3 == 0).then(|| rig.spare());
        let mut rx = rig.port.rx().unwrap();
        let slot = rx.next().unwrap().unwrap();
        assert_eq!(slot.payload(), number.to_le_bytes());
        if let Some(spare) = spare {
            drop(slot.swap(spare));
        }
    }
    rig.port.rxsync().unwrap();
    assert_eq!((rig.device.user_buffers(), rig.log.buffers().spares()), before);
}

#[test]
fn what_the_log_owns_is_not_lent_again() {
    let mut rig = Rig::new();
    rig.inject(b"to keep");
    rig.port.rxsync().unwrap();
    let spare = rig.spare();
    let mut batch = Batch::new();
    batch.record([rig.port.rx().unwrap().next().unwrap().unwrap().keep(spare)]);
    rig.log.append(batch).unwrap();
    let image = rig.pool.image();

    let mut rig = Rig::on(Pool::open_image(&image).unwrap());
    assert_eq!(rig.device.user_buffers(), 17, "16 extra ones and the record's");
    for _ in 0..200 {
        rig.inject(b"overwrites");
        rig.port.rxsync().unwrap();
        assert_eq!(payloads(rig.port.rx().unwrap()).len(), 1);
    }
    let kept: Vec<_> = rig.log.records().map(|record| record.to_vec()).collect();
    assert_eq!(kept, [b"to keep"]);
}

#[test]
fn a_port_without_the_reserve_is_found_out() {
    let mut rig = Rig::new();
    rig.inject(b"to keep");
    rig.port.rxsync().unwrap();
    let spare = rig.spare();
    let mut batch = Batch::new();
    batch.record([rig.port.rx().unwrap().next().unwrap().unwrap().keep(spare)]);
    rig.log.append(batch).unwrap();

    let log = Log::open(&Pool::open_image(&rig.pool.image()).unwrap()).unwrap();
    let spec = PortSpec::new("pst:0", log.buffers()).slots(SLOTS).extra(70);
    let spec = spec.reserve(BufSet::empty());
    let error = Port::open(Loopback::new(), &spec);
    // Whichever way it ends, the log's buffer is not in two places.
    let Err(Error::Ring { reason }) = error else { panic!("{error:?}") };
    assert!(reason.contains("holds buffer"), "{reason}");
}

#[test]
fn poll_tells_what_is_ready() {
    let mut rig = Rig::new();
    let (reader, mut writer) = pipe().unwrap();
    let moment = Some(Duration::from_millis(1));
    assert!(rig.port.poll(&[reader.as_fd()], moment).unwrap().timed_out());
    assert!(rig.port.poll(&[], None).unwrap().timed_out(), "nothing can ever arrive");
    rig.inject(b"x");
    let ready = rig.port.poll(&[reader.as_fd()], None).unwrap();
    assert!(ready.port() && !ready.other(0) && !ready.other(7));
    assert_eq!(payloads(rig.port.rx().unwrap()), [b"x"]);
    writer.write_all(b"x").unwrap();
    let ready = rig.port.poll(&[reader.as_fd()], None).unwrap();
    assert!(!ready.port() && ready.other(0));
}

#[test]
fn a_pool_has_one_port_at_a_time() {
    let Rig { log, port, .. } = Rig::new();
    let spec = PortSpec::new("pst:1", log.buffers()).slots(SLOTS);
    assert!(matches!(Port::open(Loopback::new(), &spec), Err(Error::Busy { .. })));
    drop(port);
    assert_eq!(log.buffers().spares(), 0, "the kernel took them back");
    assert!(Port::open(Loopback::new(), &spec).is_ok());
}

#[test]
fn another_version_is_refused_with_both_named() {
    let log = Log::open(&Pool::volatile(&PoolSpec::new("m").size(1 << 18).log_entries(9)).unwrap());
    let log = log.unwrap();
    let spec = PortSpec::new("pst:0", log.buffers());
    let error = Port::open(Loopback::with_version(11), &spec).unwrap_err().to_string();
    assert!(error.contains("library speaks 14") && error.contains("extension 11"), "{error}");
    let wrong = PortSpec::new("netmap:eth0", log.buffers());
    assert!(matches!(Port::open(Loopback::new(), &wrong), Err(Error::Refused { .. })));
    let large = PortSpec::new("pst:0", log.buffers()).slots(4096);
    assert!(matches!(Port::open(Loopback::new(), &large), Err(Error::Refused { .. })));
}

#[test]
fn scribbled_rings_are_errors_not_panics() {
    let mut state = 3u64;
    let mut random = move |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(state >> 33).unwrap() % bound
    };
    let (mut errors, mut slots) = (0, 0);
    for _ in 0..2000 {
        let mut rig = Rig::new();
        rig.inject(b"payload");
        rig.inject(b"payload");
        rig.port.rxsync().unwrap();
        for _ in 0..=random(4) {
            let interesting = [0, 1, 2, 7, 8, 0x7fff_ffff, 0xffff_ffff, 0x0800_0002];
            let value = interesting[random(interesting.len())];
            rig.device.scribble(random(128 + 256 + 64) / 4 * 4, value);
        }
        let seen = rig.port.rx().and_then(|mut rx| {
            let mut seen = 0;
            while let Some(slot) = rx.next()? {
                assert!(slot.payload().len() <= 2048);
                seen += 1;
            }
            Ok(seen)
        });
        match seen {
            Ok(seen) => slots += seen,
            Err(Error::Ring { .. }) => errors += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(errors > 100 && slots > 1000, "{errors} errors, {slots} slots");
}

#[test]
fn records_that_share_a_packet_get_buffers_of_their_own() {
    let mut rig = Rig::new();
    rig.inject(b"onetwothree");
    rig.port.rxsync().unwrap();
    let spare = rig.spare();
    let mut rx = rig.port.rx().unwrap();
    let slot = rx.next().unwrap().unwrap();
    let copies = [slot.copy(3..6), slot.copy(6..11)].map(Option::unwrap);
    let kept = slot.keep(spare).part(0..3).unwrap();
    drop(rx);
    let mut batch = Batch::new();
    for packet in [kept].into_iter().chain(copies) {
        batch.record(vec![packet]);
    }
    rig.log.append(batch).unwrap();
    let records: Vec<_> = rig.log.records().map(|record| record.to_vec()).collect();
    assert_eq!(records, [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
    let places: HashSet<_> = rig.log.records().flat_map(|record| record.locations()).collect();
    assert_eq!(places.len(), 3);
    assert_eq!(rig.port.copies().shared, 8);
    let blanks: Vec<_> = std::iter::from_fn(|| rig.log.buffers().blank()).collect();
    rig.inject(b"no buffer is left for a copy");
    rig.port.rxsync().unwrap();
    let mut rx = rig.port.rx().unwrap();
    assert!(rx.next().unwrap().unwrap().copy(0..2).is_none());
    drop((rx, blanks));
}
