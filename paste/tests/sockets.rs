//! Sockets test: the same port over ordinary sockets, which says what it copies.
#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap as tests do")]

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::fd::AsFd,
    thread,
    time::Duration,
};

use paste_net::{Batch, Error, Event, Log, Pool, PoolSpec, Port, PortSpec, SocketDevice};

struct Rig {
    log: Log,
    port: Port,
    server: TcpStream,
    client: TcpStream,
}

impl Rig {
    fn new() -> Self {
        let spec = PoolSpec::new("memory").size(1 << 20).log_entries(64);
        let log = Log::open(&Pool::volatile(&spec).unwrap()).unwrap();
        let spec = PortSpec::new("pst:0", log.buffers()).extra(64).slots(32).tx_slots(32).events();
        let mut port = Port::open(SocketDevice::new().unwrap(), &spec).unwrap();
        port.attach("eth0").unwrap();
        let (server, client) = pair();
        port.register(server.as_fd()).unwrap();
        Self { log, port, server, client }
    }

    /// Waits for the next slot; its payload, or its event.
    fn next(&mut self) -> Result<Vec<u8>, Event> {
        loop {
            let ready = self.port.poll(&[], Some(Duration::from_secs(20))).unwrap();
            assert!(ready.port(), "something comes");
            let mut rx = self.port.rx().unwrap();
            if let Some(slot) = rx.next().unwrap() {
                return slot.event().map_or_else(|| Ok(slot.payload().to_vec()), Err);
            }
        }
    }
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, client)
}

#[test]
fn a_stream_arrives_whole_and_the_copies_are_counted() {
    let mut rig = Rig::new();
    let sent: Vec<u8> = (0..200_000u32).map(|number| number.to_le_bytes()[1]).collect();
    let (mut client, bytes) = (rig.client.try_clone().unwrap(), sent.clone());
    let writer = thread::spawn(move || {
        client.write_all(&bytes).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
    });
    let mut received = Vec::new();
    let event = loop {
        match rig.next() {
            Ok(payload) => received.extend(payload),
            Err(event) => break event,
        }
    };
    writer.join().unwrap();
    assert_eq!((received.len(), event), (sent.len(), Event::End));
    assert!(received == sent);
    assert_eq!(rig.port.copies().received, sent.len() as u64);
    assert!(rig.port.describe().contains("every byte is copied"));
    let ready = rig.port.poll(&[], Some(Duration::from_millis(5))).unwrap();
    assert!(ready.timed_out(), "an ended stream does not wake anybody");
}

#[test]
fn a_stored_record_is_sent_again_and_again() {
    let mut rig = Rig::new();
    rig.client.write_all(b"a record").unwrap();
    assert!(rig.port.poll(&[], None).unwrap().port());
    let spare = rig.log.buffers().spare().unwrap();
    let packet = rig.port.rx().unwrap().next().unwrap().unwrap().keep(spare);
    let mut batch = Batch::new();
    batch.record([packet]);
    let first = rig.log.append(batch).unwrap().first;
    let conn = paste_net::ConnFd::of(&rig.server);
    for round in 1..=100u64 {
        let record = rig.log.record(first).unwrap();
        let mut tx = rig.port.tx().unwrap();
        record.stored().try_for_each(|part| tx.send_stored(conn, part)).unwrap();
        drop(tx);
        rig.port.txsync().unwrap();
        assert_eq!(rig.port.copies().sent, round * 8);
    }
    let mut text = vec![0; 800];
    rig.client.read_exact(&mut text).unwrap();
    assert!(text.chunks(8).all(|record| record == b"a record"));
}

#[test]
fn a_peer_that_does_not_read_holds_back_its_slots_only() {
    let mut rig = Rig::new();
    let conn = paste_net::ConnFd::of(&rig.server);
    let mut sent = 0;
    while rig.port.poll_both(&[], Some(Duration::from_millis(20))).unwrap().tx() {
        let mut blank = rig.log.buffers().blank().unwrap();
        blank.write_all(&[7; 2048]).unwrap();
        rig.port.tx().unwrap().send(conn, blank.packet()).unwrap();
        rig.port.txsync().unwrap();
        sent += 2048;
    }
    let mut client = rig.client.try_clone().unwrap();
    let reader = thread::spawn(move || {
        let mut bytes = vec![0; sent];
        client.read_exact(&mut bytes).unwrap();
        bytes
    });
    while !reader.is_finished() {
        rig.port.poll(&[], Some(Duration::from_millis(1))).unwrap();
    }
    assert!(reader.join().unwrap() == vec![7; sent]);
}

#[test]
fn a_closed_socket_sends_what_was_taken_from_slots() {
    let mut rig = Rig::new();
    let conn = paste_net::ConnFd::of(&rig.server);
    let mut sent = Vec::new();
    // Until the system takes no more, and some pieces wait here.
    while rig.port.unregister(rig.server.as_fd()).is_ok() {
        rig.port.register(rig.server.as_fd()).unwrap();
        for _ in 0..16 {
            let bytes = [u8::try_from(sent.len() / 2048 % 251).unwrap(); 2048];
            let mut blank = rig.log.buffers().blank().unwrap();
            blank.write_all(&bytes).unwrap();
            rig.port.tx().unwrap().send(conn, blank.packet()).unwrap();
            sent.extend(bytes);
        }
        rig.port.txsync().unwrap();
        assert_eq!(rig.port.tx().unwrap().unsent(conn), 0);
    }
    let server = std::mem::replace(&mut rig.server, pair().0);
    rig.port.close(server).unwrap();
    let mut client = rig.client.try_clone().unwrap();
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).map(|_| bytes)
    });
    while !reader.is_finished() {
        rig.port.poll(&[], Some(Duration::from_millis(1))).unwrap();
    }
    assert!(reader.join().unwrap().unwrap() == sent);
}

#[test]
fn a_dead_peer_is_told() {
    let mut rig = Rig::new();
    let conn = paste_net::ConnFd::of(&rig.server);
    rig.client.set_nonblocking(true).unwrap();
    // Unread data make the close a reset.
    (&rig.server).write_all(b"unread").unwrap();
    while rig.client.peek(&mut [0]).is_err() {}
    drop(std::mem::replace(&mut rig.client, pair().1));
    let Err(Event::Reset(errno)) = rig.next() else { panic!("a reset") };
    assert_eq!(errno, 104);
    let mut blank = rig.log.buffers().blank().unwrap();
    blank.write_all(b"too late").unwrap();
    rig.port.tx().unwrap().send(conn, blank.packet()).unwrap();
    assert!(matches!(rig.next(), Err(Event::SendFailed(32))));
}

#[test]
fn registrations_are_those_of_the_sockets() {
    let mut rig = Rig::new();
    assert!(matches!(rig.port.register(rig.server.as_fd()), Err(Error::Refused { .. })));
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    assert!(matches!(rig.port.register(listener.as_fd()), Err(Error::Refused { .. })));
    rig.port.unregister(rig.server.as_fd()).unwrap();
    assert!(rig.port.unregister(rig.server.as_fd()).is_err());
    rig.client.write_all(b"ordinary").unwrap();
    let mut text = [0; 8];
    rig.server.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"ordinary");
    // A number that another socket has by now, without unregister in between.
    rig.port.register(rig.server.as_fd()).unwrap();
    drop(std::mem::replace(&mut rig.server, pair().0));
    let (server, mut client) = pair();
    rig.port.register(server.as_fd()).unwrap();
    client.write_all(b"new").unwrap();
    assert_eq!(rig.next(), Ok(b"new".to_vec()));
}

#[test]
fn poll_sees_others() {
    let mut rig = Rig::new();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let ready = rig.port.poll(&[listener.as_fd()], None).unwrap();
    assert!(ready.other(0) && !ready.port());
}
