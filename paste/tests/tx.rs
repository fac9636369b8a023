//! TX test: what a port sends over the loopback, who owns the buffers, and what it is told.
#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap as tests do")]

use std::{
    fs::File,
    io::Write,
    os::fd::{AsFd, AsRawFd},
};

use paste_net::{
    Batch, Blank, ConnFd, Error, Event, FURTHEST_START, Log, Loopback, Packet, Pool, PoolSpec,
    Port, PortSpec, Unsent,
};

const SLOTS: u32 = 8;

/// A whole port with one registered socket.
struct Rig {
    log: Log,
    device: Loopback,
    port: Port,
    socket: File,
}

impl Rig {
    fn new() -> Self {
        Self::with(PortSpec::events)
    }

    fn with(change: impl FnOnce(PortSpec) -> PortSpec) -> Self {
        let spec = PoolSpec::new("memory").size(1 << 18).log_entries(64);
        let log = Log::open(&Pool::volatile(&spec).unwrap()).unwrap();
        let device = Loopback::new();
        let spec = PortSpec::new("pst:0", log.buffers()).extra(16).slots(SLOTS).tx_slots(SLOTS);
        let mut port = Port::open(device.clone(), &change(spec)).unwrap();
        port.attach("eth0").unwrap();
        let socket = tempfile::tempfile().unwrap();
        port.register(socket.as_fd()).unwrap();
        Self { log, device, port, socket }
    }

    fn conn(&self) -> ConnFd {
        ConnFd::of(&self.socket)
    }

    fn blank(&self, bytes: &[u8]) -> Blank {
        let mut blank = self.log.buffers().blank().unwrap();
        blank.write_all(bytes).unwrap();
        blank
    }

    fn receive(&mut self, bytes: &[u8], headers: u16) -> Packet {
        assert!(self.device.inject(self.conn().raw(), bytes, headers));
        self.port.rxsync().unwrap();
        let spare = self.log.buffers().spare().unwrap();
        self.port.rx().unwrap().next().unwrap().unwrap().keep(spare)
    }

    fn store(&mut self, bytes: &[u8], headers: u16) {
        let packet = self.receive(bytes, headers);
        let mut batch = Batch::new();
        batch.record([packet]);
        self.log.append(batch).unwrap();
    }

    fn send_stored(&mut self) -> Result<(), Error> {
        let record = self.log.records().next().unwrap();
        let conn = ConnFd::of(&self.socket);
        let mut tx = self.port.tx()?;
        record.stored().try_for_each(|part| tx.send_stored(conn, part))
    }

    fn events(&mut self) -> Vec<Option<Event>> {
        self.port.rxsync().unwrap();
        let (mut rx, mut events) = (self.port.rx().unwrap(), Vec::new());
        while let Some(slot) = rx.next().unwrap() {
            events.push(slot.event());
        }
        events
    }
}

#[test]
fn a_packet_is_sent_from_its_buffer() {
    let mut rig = Rig::new();
    let packet = rig.receive(b"echo", 66);
    let (conn, index, location) = (rig.conn(), packet.index(), packet.location());
    rig.port.tx().unwrap().send(conn, packet).unwrap();
    assert!(rig.device.sent().is_empty(), "nothing before a sync");
    rig.port.txsync().unwrap();
    let sent = rig.device.sent();
    assert_eq!((sent[0].conn, &sent[0].bytes[..]), (conn, &b"echo"[..]));
    assert_eq!((sent[0].index, sent[0].location, sent[0].kept), (index, location, false));
    assert_eq!(rig.port.copies().sent, 0);
}

#[test]
fn what_came_in_can_be_sent_on_while_looking_at_it() {
    let mut rig = Rig::new();
    for text in [&b"one"[..], b"two", b"three"] {
        assert!(rig.device.inject(rig.conn().raw(), text, 66));
    }
    rig.port.rxsync().unwrap();
    let spares = rig.log.buffers().spares();
    let (mut rx, mut tx) = rig.port.both().unwrap();
    while let Some(slot) = rx.next().unwrap() {
        let conn = slot.fd();
        tx.send(conn, slot.keep(rig.log.buffers().spare().unwrap())).unwrap();
    }
    drop((rx, tx));
    rig.port.poll(&[], None).unwrap();
    let sent: Vec<_> = rig.device.sent().into_iter().map(|sent| sent.bytes).collect();
    assert_eq!(sent, [&b"one"[..], b"two", b"three"]);
    assert_eq!(rig.log.buffers().spares(), spares, "a spare in, a spare out");
}

#[test]
fn a_stored_packet_is_sent_and_stays() {
    let mut rig = Rig::new();
    rig.store(b"a record", 66);
    let (index, location) = {
        let record = rig.log.records().next().unwrap();
        (record.locations().next().unwrap(), record.sequence())
    };
    for _ in 0..20 {
        rig.send_stored().unwrap();
        rig.port.txsync().unwrap();
    }
    let sent = rig.device.sent();
    assert_eq!(sent.len(), 20);
    assert!(sent.iter().all(|sent| sent.kept && sent.bytes == b"a record"));
    assert!(sent.iter().all(|sent| sent.location == index));
    assert_eq!(rig.log.record(location).unwrap().to_vec(), b"a record");
}

#[test]
fn nobody_writes_into_what_may_still_be_sent() {
    let mut rig = Rig::new();
    rig.store(b"a record", 66);
    rig.send_stored().unwrap();
    rig.port.txsync().unwrap();
    let index = rig.device.sent()[0].index;
    rig.log.reset().unwrap();
    let buffers = rig.log.buffers().clone();
    let spares = buffers.spares();
    let blanks: Vec<_> = std::iter::from_fn(|| buffers.blank()).collect();
    assert_eq!(blanks.len(), spares - 1);
    let worn = buffers.spare().unwrap();
    assert_eq!(worn.index(), index, "it can be given away, though");
    drop((worn, blanks));
    let mut renewed = false;
    for _ in 0..200 {
        let packet = rig.receive(b"x", 66);
        renewed |= packet.index() == index;
        assert!(rig.log.buffers().spares() > 0);
    }
    assert!(renewed, "the kernel has lent it anew");
    assert_eq!(std::iter::from_fn(|| buffers.blank()).collect::<Vec<_>>().len(), spares);
}

#[test]
fn a_thousand_sends_of_both_kinds_lose_no_buffer() {
    let mut rig = Rig::new();
    rig.store(b"stored", 66);
    for round in 0..3u32 {
        for number in 0..1000u32 {
            let conn = rig.conn();
            if (number + round) % 3 == 0 {
                rig.send_stored().unwrap();
            } else {
                let packet = rig.blank(&number.to_le_bytes()).packet();
                rig.port.tx().unwrap().send(conn, packet).unwrap();
            }
            rig.port.txsync().unwrap();
            let sent = rig.device.sent();
            assert_eq!(sent.len(), 1);
            assert_eq!(sent[0].kept, (number + round) % 3 == 0);
        }
        // A slot whose last send was a stored one has no buffer of its own.
        let bare = rig.log.buffers().held().len() - rig.device.user_buffers();
        assert!(bare < SLOTS as usize, "{bare}");
        assert_eq!(rig.log.buffers().spares(), 16 - 1 + bare, "the log has one");
    }
}

#[test]
fn payload_that_no_slot_can_name_is_copied_and_counted() {
    let mut rig = Rig::new();
    let conn = rig.conn();
    let far = |rig: &Rig, start: usize| {
        let mut blank = rig.log.buffers().blank().unwrap().start_at(start);
        blank.write_all(b"far").unwrap();
        blank.packet()
    };
    let packet = far(&rig, FURTHEST_START);
    rig.port.tx().unwrap().send(conn, packet).unwrap();
    assert_eq!(rig.port.copies().sent, 0);
    let packet = far(&rig, FURTHEST_START + 1);
    rig.port.tx().unwrap().send(conn, packet).unwrap();
    assert_eq!(rig.port.copies().sent, 3);
    rig.port.txsync().unwrap();
    assert!(rig.device.sent().iter().all(|sent| sent.bytes == b"far"));
    let packet = far(&rig, FURTHEST_START + 1);
    let all: Vec<_> = std::iter::from_fn(|| rig.log.buffers().blank()).collect();
    let unsent = rig.port.tx().unwrap().send(conn, packet).unwrap_err();
    assert!(matches!(unsent, Unsent { error: Error::NoSpare, .. }));
    assert_eq!(unsent.packet.bytes(), b"far");
    drop(all);
}

#[test]
fn a_full_socket_holds_back_its_own_slots() {
    let mut rig = Rig::new();
    let other = tempfile::tempfile().unwrap();
    let quick = rig.port.register(other.as_fd()).unwrap();
    let conn = rig.conn();
    // What waits then does not begin at the ring's first slot.
    let packet = rig.blank(b"ahead").packet();
    rig.port.tx().unwrap().send(quick, packet).unwrap();
    rig.port.txsync().unwrap();
    assert_eq!(rig.device.sent().len(), 1);
    rig.device.set_full(conn.raw(), true);
    for number in 0..u8::try_from(SLOTS - 1).unwrap() {
        let packet = rig.blank(&[number]).packet();
        let to = if number % 2 == 0 { conn } else { quick };
        rig.port.tx().unwrap().send(to, packet).unwrap();
    }
    let waiting = |port: &mut Port| {
        let tx = port.tx().unwrap();
        [conn, quick].map(|conn| tx.unsent(conn))
    };
    assert_eq!(waiting(&mut rig.port), [4, 3]);
    rig.port.txsync().unwrap();
    assert_eq!(waiting(&mut rig.port), [4, 3], "the first slot waits, so none comes back");
    let sent: Vec<_> = rig.device.sent().iter().map(|sent| sent.bytes[0]).collect();
    assert_eq!(sent, [1, 3, 5]);
    assert_eq!(rig.port.tx().unwrap().room(), 0);
    assert!(!rig.port.poll_both(&[], None).unwrap().tx());
    assert_eq!(rig.port.tx().unwrap().oldest(), Some(conn));
    let packet = rig.blank(b"no slot").packet();
    let unsent = rig.port.tx().unwrap().send(quick, packet).unwrap_err();
    assert!(matches!(unsent.error, Error::TxFull));
    rig.device.set_full(conn.raw(), false);
    assert!(rig.port.poll_both(&[], None).unwrap().tx());
    assert_eq!(rig.port.tx().unwrap().oldest(), None);
    assert_eq!(waiting(&mut rig.port), [0, 0]);
    let sent: Vec<_> = rig.device.sent().iter().map(|sent| sent.bytes[0]).collect();
    assert_eq!(sent, [0, 2, 4, 6]);
    assert_eq!(rig.port.tx().unwrap().room(), SLOTS as usize - 1);
    rig.port.tx().unwrap().send(quick, unsent.packet).unwrap();
}

#[test]
fn events_are_told_to_those_who_asked() {
    let mut rig = Rig::new();
    let fd = rig.socket.as_raw_fd();
    let packet = rig.blank(b"to nobody").packet();
    rig.port.tx().unwrap().send(ConnFd::of(std::io::stdin()), packet).unwrap();
    rig.port.txsync().unwrap();
    assert!(rig.device.sent().is_empty());
    assert!(rig.device.end_stream(fd) && rig.device.reset(fd, 104));
    let told = [Event::SendFailed(107), Event::End, Event::Reset(104)].map(Some);
    assert_eq!(rig.events(), told);

    let mut rig = Rig::with(|spec| spec);
    let fd = rig.socket.as_raw_fd();
    let packet = rig.blank(b"to nobody").packet();
    rig.port.tx().unwrap().send(ConnFd::of(std::io::stdin()), packet).unwrap();
    rig.port.txsync().unwrap();
    assert!(rig.device.reset(fd, 104));
    assert_eq!(rig.events(), [Some(Event::End)], "a reset is an end, a failed send nothing");
}

#[test]
fn an_unregistered_socket_is_an_ordinary_one() {
    let mut rig = Rig::new();
    let fd = rig.socket.as_raw_fd();
    assert!(rig.device.inject(fd, b"x", 66));
    rig.port.unregister(rig.socket.as_fd()).unwrap();
    assert!(!rig.device.inject(fd, b"x", 66));
    assert_eq!(rig.events(), []);
    let error = rig.port.unregister(rig.socket.as_fd()).unwrap_err();
    assert!(matches!(error, Error::Refused { request: "unregister socket", .. }));
    rig.port.register(rig.socket.as_fd()).unwrap();
}

#[test]
fn slots_of_a_closed_socket_come_back() {
    let mut rig = Rig::new();
    let conn = rig.conn();
    rig.device.set_full(conn.raw(), true);
    let packet = rig.blank(b"nobody took it").packet();
    rig.port.tx().unwrap().send(conn, packet).unwrap();
    rig.port.txsync().unwrap();
    assert_eq!(rig.port.tx().unwrap().unsent(conn), 1);
    let socket = std::mem::replace(&mut rig.socket, tempfile::tempfile().unwrap());
    rig.port.close(socket).unwrap();
    rig.port.txsync().unwrap();
    assert_eq!(rig.port.tx().unwrap().unsent(conn), 0);
    assert_eq!((rig.device.sent(), rig.events()), (vec![], vec![Some(Event::SendFailed(107))]));
    let other = tempfile::tempfile().unwrap();
    assert!(rig.port.close(other).is_err(), "it is not registered");
}

#[test]
fn a_descriptor_tells_that_something_waits() {
    let mut rig = Rig::new();
    let readable = |port: &Port| {
        let mut fds = [nix::poll::PollFd::new(port.as_fd(), nix::poll::PollFlags::POLLIN)];
        nix::poll::poll(&mut fds, nix::poll::PollTimeout::ZERO).unwrap() == 1
    };
    assert!(!readable(&rig.port));
    assert!(rig.device.inject(rig.socket.as_raw_fd(), b"x", 66));
    assert!(readable(&rig.port));
    rig.port.rxsync().unwrap();
    assert!(!readable(&rig.port));
}

#[test]
fn packets_of_another_pool_are_not_sent() {
    let mut rig = Rig::new();
    let mut other = Rig::new();
    other.store(b"theirs", 66);
    let packet = other.blank(b"theirs").packet();
    let conn = rig.conn();
    let unsent = rig.port.tx().unwrap().send(conn, packet).unwrap_err();
    assert!(matches!(unsent.error, Error::OtherPool));
    let record = other.log.records().next().unwrap();
    let part = record.stored().next().unwrap();
    let error = rig.port.tx().unwrap().send_stored(conn, part).unwrap_err();
    assert!(matches!(error, Error::OtherPool));
}

#[test]
fn scribbled_tx_rings_are_errors_not_panics() {
    let mut state = 7u64;
    let mut random = move |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(state >> 33).unwrap() % bound
    };
    // The TX ring lies behind the RX ring, see `Books::open`.
    let (start, len) = (128 + 256 + 128, 256 + 16 * SLOTS as usize);
    let (mut errors, mut sends) = (0, 0);
    for _ in 0..2000 {
        let mut rig = Rig::new();
        rig.store(b"stored", 66);
        for _ in 0..=random(4) {
            let interesting = [0, 1, 2, 7, 8, 20, 0x7fff_ffff, 0xffff_ffff];
            let value = interesting[random(interesting.len())];
            rig.device.scribble(start + random(len) / 4 * 4, value);
        }
        for number in 0..SLOTS {
            let packet = rig.log.buffers().blank().map(|mut blank| {
                blank.write_all(b"moved").unwrap();
                blank.packet()
            });
            let conn = rig.conn();
            let result = match packet {
                Some(packet) if number % 2 == 0 => {
                    rig.port.tx().and_then(|mut tx| Ok(tx.send(conn, packet)?))
                }
                _ => rig.send_stored(),
            };
            match result {
                Ok(()) => sends += 1,
                Err(Error::Ring { .. } | Error::TxFull) => errors += 1,
                Err(error) => panic!("{error}"),
            }
        }
        // The log's buffer is nobody else's, whatever the ring says.
        assert_eq!(rig.log.records().next().unwrap().to_vec(), b"stored");
    }
    assert!(errors > 1000 && sends > 4000, "{errors} errors, {sends} sends");
}
