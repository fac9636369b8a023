//! NIC: the stand-in guest's TCP/IP stack on its two rings.

use std::time::{Duration, Instant};

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant as StackInstant;
use smoltcp::wire::{EthernetAddress, IpCidr, Ipv4Cidr};

use super::{GUEST_IP, GUEST_MAC, Guest};

/// A guest whose network is served by `run`.
pub struct Nic {
    pub guest: Guest,
    pub stack: Interface,
    pub sockets: SocketSet<'static>,
    start: Instant,
}

struct Rings<'a>(&'a mut Guest);
pub struct Received(Vec<u8>);
pub struct Room<'a>(&'a mut Guest);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Room<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.tx.send(&frame);
        result
    }
}

impl Device for Rings<'_> {
    type RxToken<'a>
        = Received
    where
        Self: 'a;
    type TxToken<'a>
        = Room<'a>
    where
        Self: 'a;

    fn receive(&mut self, _: StackInstant) -> Option<(Received, Room<'_>)> {
        if !self.0.tx.can_send() {
            return None;
        }
        let frame = self.0.rx.receive(Duration::ZERO)?;
        Some((Received(frame), Room(self.0)))
    }

    fn transmit(&mut self, _: StackInstant) -> Option<Room<'_>> {
        self.0.tx.can_send().then_some(Room(self.0))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

impl Nic {
    pub fn new(mut guest: Guest) -> Self {
        let config = Config::new(EthernetAddress(GUEST_MAC).into());
        let mut stack = Interface::new(config, &mut Rings(&mut guest), StackInstant::ZERO);
        let cidr = IpCidr::Ipv4(Ipv4Cidr::new(GUEST_IP, 24));
        stack.update_ip_addrs(|addresses| addresses.push(cidr).unwrap());
        Self { guest, stack, sockets: SocketSet::new(Vec::new()), start: Instant::now() }
    }

    pub fn socket(&mut self) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; 256 << 10]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);
        self.sockets.add(socket)
    }

    pub fn listen(&mut self, port: u16, count: usize) {
        for _ in 0..count {
            let handle = self.socket();
            self.tcp(handle).listen(port).unwrap();
        }
    }

    pub fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// Serves the network until `done` says so.
    pub fn run(&mut self, mut done: impl FnMut(&mut SocketSet<'static>) -> bool) {
        loop {
            let elapsed = i64::try_from(self.start.elapsed().as_micros()).unwrap();
            let now = StackInstant::from_micros(elapsed);
            self.stack.poll(now, &mut Rings(&mut self.guest), &mut self.sockets);
            if done(&mut self.sockets) {
                return;
            }
            if self.stack.poll_delay(now, &self.sockets) != Some(smoltcp::time::Duration::ZERO) {
                self.guest.rx.wait_call(Duration::from_millis(1));
            }
        }
    }
}

/// Echoes on every socket; ends a stream that its peer has ended.
pub fn echo(sockets: &mut SocketSet<'static>) {
    for (_, socket) in sockets.iter_mut() {
        let smoltcp::socket::Socket::Tcp(socket) = socket else { continue };
        while socket.can_recv() && socket.can_send() {
            let room = socket.send_capacity() - socket.send_queue();
            let mut bytes = vec![0; room.min(socket.recv_queue())];
            let len = socket.recv_slice(&mut bytes).unwrap();
            assert_eq!(socket.send_slice(&bytes[..len]).unwrap(), len);
        }
        if socket.state() == tcp::State::CloseWait && socket.recv_queue() == 0 {
            socket.close();
        }
    }
}
