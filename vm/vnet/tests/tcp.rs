//! TCP: connections between the host's handles and a guest's stack on the rings.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::frames::needle;
use support::nic::{Nic, echo};
use support::served::{ECHO, FEATURES, with_echo, with_guest, with_server};
use support::{GUEST_IP, HOST_IP, MRG_RXBUF, Net, SOON};
use vnet::{Direction, Error, Filter, hash};

const LONG: Duration = Duration::from_mins(1);

fn server(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(GUEST_IP, port)
}

#[test]
fn the_guest_answers_pings() {
    let round_trip = with_echo(FEATURES, 0, |host| host.ping(GUEST_IP, SOON)).unwrap();
    assert!(round_trip < SOON);
}

#[test]
fn megabytes_come_back_as_they_were_sent() {
    for features in [FEATURES, FEATURES | MRG_RXBUF] {
        with_echo(features, 1, |host| {
            let tcp = host.connect(server(ECHO), SOON).unwrap();
            let sent = needle(42, 4 << 20);
            let mut got = vec![0; sent.len()];
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    tcp.send_all(&sent, LONG).unwrap();
                    tcp.shut_write();
                });
                tcp.recv_exact(&mut got, LONG).unwrap();
            });
            assert!(got == sent);
            assert_eq!(tcp.recv(&mut [0], SOON).unwrap(), 0, "the guest ended its stream");
            assert!(matches!(tcp.send_all(b"x", SOON), Err(Error::Closed)));
        });
    }
}

#[test]
fn what_is_sent_in_one_go_may_be_more_than_a_queue_holds() {
    with_echo(FEATURES, 1, |host| {
        let tcp = host.connect(server(ECHO), SOON).unwrap();
        let sent = needle(42, 4 << 20);
        let mut got = vec![0; sent.len()];
        std::thread::scope(|scope| {
            let messages = sent.chunks(100_000).map(|message| (&tcp, message));
            scope.spawn(|| host.send_each(messages, LONG).unwrap());
            tcp.recv_exact(&mut got, LONG).unwrap();
        });
        assert!(got == sent);
    });
}

#[test]
fn sixty_four_connections_work_at_once() {
    with_echo(FEATURES, 64, |host| {
        let open = |index: u64| (index, host.connect(server(ECHO), SOON).unwrap());
        let all: Vec<_> = (0..64).map(open).collect();
        std::thread::scope(|scope| {
            for (index, tcp) in &all {
                scope.spawn(move || {
                    for len in [64, 1000, 4096] {
                        let message = needle(index * 10_000 + len, len.try_into().unwrap());
                        tcp.send_all(&message, SOON).unwrap();
                        let mut reply = vec![0; message.len()];
                        tcp.recv_exact(&mut reply, Duration::from_secs(20)).unwrap();
                        assert_eq!(reply, message);
                    }
                });
            }
        });
        let mut ports: Vec<_> = all.iter().map(|(_, tcp)| tcp.local().port()).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 64);
    });
}

#[test]
fn each_message_is_a_segment_of_its_own() {
    let net = Net::start();
    with_server(
        &net,
        9,
        |socket| {
            let _ = socket.recv(|bytes| (bytes.len(), ()));
        },
        |host| {
            let tcp = host.connect(server(9), SOON).unwrap();
            let (local, mss) = (tcp.local(), tcp.mss());
            assert_eq!((*local.ip(), mss), (HOST_IP, 1460));
            // Enough to go around the send buffer several times, faster than the guest acks.
            let messages: Vec<_> =
                (0..3000).map(|i| needle(i, 1 + usize::try_from(i).unwrap() * 7 % mss)).collect();
            for message in &messages {
                tcp.send_all(message, SOON).unwrap();
            }
            tcp.wait_acked(SOON).unwrap();
            let filter = Filter::new().direction(Direction::ToGuest).dst_port(9).payload_only();
            let frames = net.vnet.frame_log().frames(&filter);
            let seen: Vec<_> = frames.iter().map(|frame| frame.payload_hash).collect();
            let sent: Vec<_> = messages.iter().map(|message| hash(message)).collect();
            assert!(seen == sent, "{} segments for {} messages", seen.len(), sent.len());
            let total: usize = messages.iter().map(Vec::len).sum();
            let first = frames[0].tcp_seq.unwrap();
            let last = frames.last().unwrap();
            let end = last.tcp_seq.unwrap().wrapping_add(last.payload_len.try_into().unwrap());
            assert_eq!(end.wrapping_sub(first), u32::try_from(total).unwrap());
        },
    );
}

#[test]
fn a_message_leaves_without_delay() {
    with_echo(FEATURES, 1, |host| {
        let tcp = host.connect(server(ECHO), SOON).unwrap();
        let start = Instant::now();
        for _ in 0..100 {
            tcp.send_all(b"ping", SOON).unwrap();
            tcp.recv_exact(&mut [0; 4], SOON).unwrap();
        }
        // Generous for a loaded machine, yet a stall for a retransmission (1 s) shows.
        let elapsed = start.elapsed();
        assert!(elapsed < SOON, "100 round trips took {elapsed:?}");
    });
}

#[test]
fn refused_reset_and_timed_out_are_told_apart() {
    with_server(
        &Net::start(),
        9,
        |socket| {
            if socket.can_recv() {
                socket.abort();
            }
        },
        |host| {
            let closed = server(8);
            assert!(matches!(host.connect(closed, SOON), Err(Error::Refused(to)) if to == closed));
            let nobody = SocketAddrV4::new([10, 0, 7, 99].into(), 9);
            let briefly = Duration::from_millis(30);
            assert!(matches!(host.connect(nobody, briefly), Err(Error::Timeout("connect"))));
            assert!(matches!(host.ping(*nobody.ip(), briefly), Err(Error::Timeout("ping"))));
            let tcp = host.connect(server(9), SOON).unwrap();
            assert!(matches!(tcp.recv(&mut [0], briefly), Err(Error::Timeout("receive"))));
            tcp.send_all(b"go away", SOON).unwrap();
            assert!(matches!(tcp.recv(&mut [0], SOON), Err(Error::Reset)));
            assert!(matches!(tcp.send_all(b"hello?", SOON), Err(Error::Reset)));
        },
    );
}

#[test]
fn the_host_takes_connections_of_the_guest() {
    let net = Net::start();
    let listener = net.vnet.host().listen(5000).unwrap();
    assert!(matches!(net.vnet.host().listen(5000), Err(Error::Port(5000))));
    with_guest(
        &net,
        FEATURES,
        |nic| {
            for port in 0..8 {
                let handle = nic.socket();
                let Nic { stack, sockets, .. } = nic;
                let socket = sockets.get_mut::<smoltcp::socket::tcp::Socket<'_>>(handle);
                let host = (smoltcp::wire::IpAddress::Ipv4(HOST_IP), 5000);
                socket.connect(stack.context(), host, 6000 + port).unwrap();
            }
        },
        echo,
        |_| {
            for _ in 0..8 {
                let tcp = listener.accept(SOON).unwrap();
                assert_eq!((*tcp.peer().ip(), *tcp.local().ip()), (GUEST_IP, HOST_IP));
                assert!((6000..6008).contains(&tcp.peer().port()));
                assert_eq!(tcp.local().port(), 5000);
            }
        },
    );
}

#[test]
fn a_dropped_connection_delivers_what_was_sent_and_ends() {
    let got = std::sync::Mutex::new(Vec::new());
    let ended = AtomicBool::new(false);
    with_server(
        &Net::start(),
        9,
        |socket| {
            let mut got = got.lock().unwrap();
            let _ = socket.recv(|bytes| {
                got.extend_from_slice(bytes);
                (bytes.len(), ())
            });
            if socket.state() == smoltcp::socket::tcp::State::CloseWait {
                ended.store(socket.recv_queue() == 0, Ordering::Relaxed);
            }
        },
        |host| {
            let sent = needle(5, 300_000);
            host.connect(server(9), SOON).unwrap().send_all(&sent, SOON).unwrap();
            let deadline = Instant::now() + SOON;
            while !ended.load(Ordering::Relaxed) && Instant::now() < deadline {
                std::thread::yield_now();
            }
            assert!(*got.lock().unwrap() == sent);
        },
    );
}
