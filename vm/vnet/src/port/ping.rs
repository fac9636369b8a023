//! Ping: echo requests on their way, repeated once a second until answered.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::icmp::{Endpoint, PacketBuffer, PacketMetadata, Socket};
use smoltcp::wire::{Icmpv4Packet, Icmpv4Repr, IpAddress};

use crate::connection::Echo;
use crate::sync::lock;

/// Identifier of our echo requests; any value does, there is one sender.
const IDENT: u16 = 0x7061;
/// Time between two requests for the same answer.
const REPEAT: Duration = Duration::from_secs(1);
/// Echo packets that may wait in the stack.
const PACKETS: usize = 64;
const DATA: [u8; 32] = *b"abcdefghijklmnopqrstuvwabcdefghi";

#[derive(Debug)]
struct Request {
    to: Ipv4Addr,
    echo: Arc<Echo>,
    /// Sequence number and time of every request sent.
    sent: Vec<(u16, Instant)>,
    next: Instant,
}

/// All echo requests that wait for an answer.
#[derive(Debug)]
pub(crate) struct Pings {
    handle: SocketHandle,
    requests: Vec<Request>,
    last_seq: u16,
}

impl Pings {
    pub(crate) fn new(sockets: &mut SocketSet<'_>) -> Self {
        let buffer =
            || PacketBuffer::new(vec![PacketMetadata::EMPTY; PACKETS], vec![0; PACKETS * 64]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.bind(Endpoint::Ident(IDENT)).expect("a fresh socket and a valid identifier");
        Self { handle: sockets.add(socket), requests: Vec::new(), last_seq: 0 }
    }

    pub(crate) fn add(&mut self, to: Ipv4Addr, echo: Arc<Echo>, now: Instant) {
        self.requests.push(Request { to, echo, sent: Vec::new(), next: now });
    }

    /// When the next request is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.requests.iter().map(|request| request.next).min()
    }

    /// Takes answers and sends what is due; true when the stack has to look again.
    pub(crate) fn pump(&mut self, sockets: &mut SocketSet<'_>, now: Instant) -> bool {
        let socket = sockets.get_mut::<Socket<'_>>(self.handle);
        while let Ok((packet, from)) = socket.recv() {
            if let Some(seq) = reply(packet) {
                self.answer(seq, from, now);
            }
        }
        self.requests.retain(|request| !lock(&request.echo.state).released);
        let mut sent = false;
        for request in self.requests.iter_mut().filter(|request| request.next <= now) {
            self.last_seq = self.last_seq.wrapping_add(1);
            request.sent.push((self.last_seq, now));
            request.next = now + REPEAT;
            sent |= send(socket, request.to, self.last_seq);
        }
        sent
    }

    fn answer(&mut self, seq: u16, from: IpAddress, now: Instant) {
        self.requests.retain(|request| {
            let sent = request.sent.iter().find(|(sent, _)| *sent == seq);
            let Some((_, at)) = sent.filter(|_| from == request.to.into()) else { return true };
            let mut state = lock(&request.echo.state);
            state.round_trip = Some(now.duration_since(*at));
            request.echo.changed.notify_all();
            false
        });
    }

    /// Tells all waiting that no answer will come.
    pub(crate) fn fail(&mut self) {
        for request in self.requests.drain(..) {
            lock(&request.echo.state).gone = true;
            request.echo.changed.notify_all();
        }
    }
}

fn reply(packet: &[u8]) -> Option<u16> {
    let packet = Icmpv4Packet::new_checked(packet).ok()?;
    match Icmpv4Repr::parse(&packet, &ChecksumCapabilities::ignored()).ok()? {
        Icmpv4Repr::EchoReply { ident: IDENT, seq_no, .. } => Some(seq_no),
        _ => None,
    }
}

fn send(socket: &mut Socket<'_>, to: Ipv4Addr, seq_no: u16) -> bool {
    let request = Icmpv4Repr::EchoRequest { ident: IDENT, seq_no, data: &DATA };
    // A full queue loses the request, as a wire would; it is repeated.
    let Ok(buffer) = socket.send(request.buffer_len(), to.into()) else { return false };
    let mut packet = Icmpv4Packet::new_unchecked(buffer);
    request.emit(&mut packet, &ChecksumCapabilities::default());
    true
}
