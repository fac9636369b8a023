//! Host port: the host's end of the network, a TCP/IP stack with handles for other threads.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smoltcp::iface::{Config as StackConfig, Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{self, State as TcpState};
use smoltcp::time::Instant as StackInstant;
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr, IpEndpoint, Ipv4Cidr};

use super::ping::Pings;
use super::tcp_end::{self, TcpEnd};
use super::wire::Wire;
use crate::HostAddress;
use crate::connection::{Accepting, Connection, End};
use crate::mailbox::Order;
use crate::sync::lock;

/// First of the ports that outgoing connections use (RFC 6335).
const EPHEMERAL: u16 = 49152;
/// Sockets that listen on one port: how many connections may arrive at the same moment.
const LISTENING: usize = 16;

#[derive(Debug)]
struct ListenPort {
    port: u16,
    shared: Arc<Accepting>,
    sockets: Vec<SocketHandle>,
}

/// The stack with everything that uses it.
pub(crate) struct HostPort {
    pub(crate) wire: Wire,
    stack: Interface,
    sockets: SocketSet<'static>,
    start: Instant,
    ends: Vec<TcpEnd>,
    listeners: Vec<ListenPort>,
    pings: Pings,
    /// Orders that wait for the link.
    held: Vec<Order>,
    link_up: bool,
    last_port: u16,
    /// How long an acknowledgement may wait for data to ride on.
    ack_delay: Option<Duration>,
}

impl std::fmt::Debug for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostPort").field("ends", &self.ends).finish_non_exhaustive()
    }
}

impl HostPort {
    pub(crate) fn new(address: &HostAddress, ack_delay: Option<Duration>, mut wire: Wire) -> Self {
        let mut config = StackConfig::new(EthernetAddress(address.mac).into());
        config.random_seed = RandomState::new().build_hasher().finish();
        let seed = config.random_seed;
        let mut stack = Interface::new(config, &mut wire, StackInstant::ZERO);
        let cidr = IpCidr::Ipv4(Ipv4Cidr::new(address.ip, address.prefix_len));
        stack.update_ip_addrs(|addresses| addresses.push(cidr).expect("room for one address"));
        let mut sockets = SocketSet::new(Vec::new());
        let pings = Pings::new(&mut sockets);
        let span = u64::from(u16::MAX - EPHEMERAL);
        Self {
            wire,
            stack,
            sockets,
            start: Instant::now(),
            ends: Vec::new(),
            listeners: Vec::new(),
            pings,
            held: Vec::new(),
            link_up: false,
            ack_delay,
            // Not the port a run before used: a guest may still remember its connections.
            last_port: EPHEMERAL + u16::try_from(seed % span).expect("below the span"),
        }
    }

    /// Takes an order; one that needs the guest waits for the link.
    pub(crate) fn order(&mut self, order: Order) {
        match order {
            Order::Listen(port, shared) => self.listen(port, &shared),
            order if !self.link_up => self.held.push(order),
            Order::Connect(connection) => self.connect(connection),
            Order::Ping(to, echo) => self.pings.add(to, echo, Instant::now()),
        }
    }

    /// The driver set up the link, or took it down.
    pub(crate) fn set_link(&mut self, up: bool) {
        self.link_up = up;
        if up {
            for order in std::mem::take(&mut self.held) {
                self.order(order);
            }
        }
    }

    /// The guest is gone with everything it knew: ends all connections and forgets its address.
    pub(crate) fn lose_link(&mut self) {
        self.link_up = false;
        self.wire.clear();
        for end in self.ends.drain(..) {
            end.end(End::LinkLost);
            self.sockets.remove(end.handle);
        }
        for listener in &mut self.listeners {
            // A half-open connection would keep its socket.
            for handle in &listener.sockets {
                let socket = self.sockets.get_mut::<tcp::Socket<'_>>(*handle);
                *socket = tcp_end::socket(self.ack_delay);
                socket.listen(listener.port).expect("a fresh socket and a port that is not 0");
            }
        }
        // Changing addresses, even to the same ones, empties the neighbour cache.
        self.stack.update_ip_addrs(|_| ());
    }

    /// The network ends: tells everybody who waits, also those whose orders it never saw.
    pub(crate) fn shut_down(&mut self, leftovers: Vec<Order>) {
        for end in self.ends.drain(..) {
            end.end(End::Gone);
        }
        for order in self.held.drain(..).chain(leftovers) {
            match order {
                Order::Connect(connection) => connection.end(End::Gone),
                Order::Listen(_, shared) => fail(&shared, End::Gone),
                Order::Ping(to, echo) => self.pings.add(to, echo, self.start),
            }
        }
        self.listeners.drain(..).for_each(|listener| fail(&listener.shared, End::Gone));
        self.pings.fail();
    }

    fn connect(&mut self, connection: Arc<Connection>) {
        if connection.state().released {
            // Given up while it waited for the link.
            return;
        }
        let Some(port) = self.free_port() else { return connection.end(End::NoPort) };
        let mut socket = tcp_end::socket(self.ack_delay);
        let peer = connection.peer;
        let remote = IpEndpoint::new(IpAddress::Ipv4(*peer.ip()), peer.port());
        if socket.connect(self.stack.context(), remote, port).is_err() {
            // Only an address or port of 0 is refused.
            return connection.end(End::Refused);
        }
        let Some(IpAddress::Ipv4(local)) = socket.local_endpoint().map(|local| local.addr) else {
            return connection.end(End::Refused);
        };
        connection.state().local = Some(SocketAddrV4::new(local, port));
        let handle = self.sockets.add(socket);
        self.ends.push(TcpEnd::new(handle, (port, peer), connection));
    }

    fn free_port(&mut self) -> Option<u16> {
        for _ in EPHEMERAL..=u16::MAX {
            self.last_port = self.last_port.checked_add(1).unwrap_or(EPHEMERAL);
            let port = self.last_port;
            let taken = self.ends.iter().any(|end| end.key.0 == port)
                || self.listeners.iter().any(|listener| listener.port == port);
            if !taken {
                return Some(port);
            }
        }
        None
    }

    fn listen(&mut self, port: u16, shared: &Arc<Accepting>) {
        if port == 0 || self.listeners.iter().any(|listener| listener.port == port) {
            return fail(shared, End::NoPort);
        }
        self.listeners.push(ListenPort { port, shared: Arc::clone(shared), sockets: Vec::new() });
        self.accept();
        lock(&shared.waiting).ready = true;
        shared.changed.notify_all();
    }

    /// Lets the stack work until it has nothing to do, and moves bytes to and from the handles.
    pub(crate) fn poll(&mut self) {
        loop {
            let now = Instant::now();
            let time = self.stack_time(now);
            self.stack.poll(time, &mut self.wire, &mut self.sockets);
            let accepted = self.accept();
            let pinged = self.pings.pump(&mut self.sockets, now);
            let pumped = self.pump(now);
            if !(accepted || pinged || pumped) || self.wire.is_jammed() {
                break;
            }
        }
    }

    fn pump(&mut self, now: Instant) -> bool {
        let Self { ends, sockets, wire, .. } = self;
        let mut again = false;
        ends.retain_mut(|end| {
            let socket = sockets.get_mut::<tcp::Socket<'_>>(end.handle);
            again |= end.pump(socket, wire.track(end.key), now);
            let over = end.is_over(socket);
            if over {
                sockets.remove(end.handle);
                wire.forget(end.key);
            }
            !over
        });
        again
    }

    /// Hands out connections that guests made and keeps enough sockets listening.
    fn accept(&mut self) -> bool {
        let Self { listeners, sockets, ends, ack_delay, .. } = self;
        let mut again = false;
        listeners.retain_mut(|listener| {
            let mut backlog = lock(&listener.shared.waiting);
            if backlog.released {
                listener.sockets.drain(..).for_each(|handle| drop(sockets.remove(handle)));
                return false;
            }
            listener.sockets.retain(|handle| {
                let socket = sockets.get_mut::<tcp::Socket<'_>>(*handle);
                if matches!(socket.state(), TcpState::Listen | TcpState::SynReceived) {
                    return true;
                }
                again = true;
                let Some(end) = accepted(*handle, socket) else {
                    sockets.remove(*handle);
                    return false;
                };
                backlog.connections.push_back(end.shared());
                listener.shared.changed.notify_all();
                ends.push(end);
                false
            });
            while listener.sockets.len() < LISTENING {
                let mut socket = tcp_end::socket(*ack_delay);
                socket.listen(listener.port).expect("a fresh socket and a port that is not 0");
                listener.sockets.push(sockets.add(socket));
            }
            true
        });
        again
    }

    /// How long the stack needs no poll; None when only an event can give it work.
    pub(crate) fn delay(&mut self) -> Option<Duration> {
        let now = Instant::now();
        let time = self.stack_time(now);
        let stack = self.stack.poll_delay(time, &self.sockets).map(Duration::from);
        let ours = self.ends.iter().filter_map(TcpEnd::linger).chain(self.pings.next()).min();
        let ours = ours.map(|at| at.saturating_duration_since(now));
        stack.into_iter().chain(ours).min()
    }

    fn stack_time(&self, now: Instant) -> StackInstant {
        let micros = now.duration_since(self.start).as_micros();
        StackInstant::from_micros(i64::try_from(micros).expect("292 000 years fit"))
    }
}

fn fail(shared: &Accepting, end: End) {
    lock(&shared.waiting).failed = Some(end);
    shared.changed.notify_all();
}

/// The connection a listening socket has become; None if it ended meanwhile.
fn accepted(handle: SocketHandle, socket: &tcp::Socket<'_>) -> Option<TcpEnd> {
    let (local, remote) = (socket.local_endpoint()?, socket.remote_endpoint()?);
    let (IpAddress::Ipv4(local_ip), IpAddress::Ipv4(peer_ip)) = (local.addr, remote.addr);
    let peer = SocketAddrV4::new(peer_ip, remote.port);
    let connection = Connection::new(peer);
    connection.state().local = Some(SocketAddrV4::new(local_ip, local.port));
    Some(TcpEnd::new(handle, (local.port, peer), Arc::new(connection)))
}
