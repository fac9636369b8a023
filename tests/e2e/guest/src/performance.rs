//! Performance: two echo servers at their best, one through slots and one through epoll.
//!
//! Each ends a round with a marker that carries the number of messages echoed so far, so that an
//! observer can tell what a message cost.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use anyhow::{Context, ensure};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use paste_net::{Event, KernelDevice, Log, Pool, PoolSpec, Port, PortSpec, marker};
use serde_json::json;

use crate::tell::tell;
use crate::zero_copy::accept;

/// Spares for the packets that are sent back.
const SPARES: u32 = 2048;

/// What the servers are to bear.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Connections; each has one message in flight.
    connections: usize,
    /// Length of a message in bytes.
    len: usize,
}

impl Load {
    /// So many connections, messages of that length in bytes.
    pub(crate) fn new(connections: usize, len: usize) -> Self {
        Self { connections, len }
    }
}

/// Messages echoed, and the wake-ups that they took.
#[derive(Debug, Default)]
struct Progress {
    echoed: u64,
    bytes: usize,
    batches: u64,
}

impl Progress {
    /// Ends a batch; marks the end of a round.
    fn batch(&mut self, load: Load) {
        self.batches += 1;
        self.echoed += (self.bytes / load.len) as u64;
        self.bytes %= load.len;
        if self.bytes == 0 && self.echoed.is_multiple_of(load.connections as u64) {
            marker::stats(self.echoed);
        }
    }

    fn report(&self) -> anyhow::Result<()> {
        tell(&json!({ "echoed": self.echoed, "batches": self.batches }))
    }
}

/// Echoes through slots: each message goes back in the buffer that it came in.
pub(crate) fn slots(path: &str, port_number: u16, load: Load) -> anyhow::Result<()> {
    let pool = Pool::create(&PoolSpec::new(path).overwrite(true)).context("create the pool")?;
    let log = Log::open(&pool).context("open the log")?;
    let spec = PortSpec::new("pst:0", log.buffers()).extra(SPARES).events();
    let mut port = Port::open(KernelDevice::open()?, &spec).context("open the port")?;
    port.attach("eth0").context("attach the NIC")?;
    let sockets = accept(&mut port, port_number, load.connections)?;
    let (mut progress, mut open) = (Progress::default(), sockets.len());
    while open > 0 {
        port.poll(&[], None).context("wait")?;
        let (mut rx, mut tx) = port.both().context("look at the rings")?;
        while tx.room() > 0 {
            let Some(slot) = rx.next().context("look at a slot")? else { break };
            match slot.event() {
                None => {
                    progress.bytes += slot.payload().len();
                    let (conn, spare) = (slot.fd(), log.buffers().spare().context("take a spare")?);
                    tx.send(conn, slot.keep(spare)).context("fill a slot")?;
                }
                Some(Event::End) => open -= 1,
                Some(event) => anyhow::bail!("a connection ended with {event:?}"),
            }
        }
        drop((rx, tx));
        port.txsync().context("send")?;
        progress.batch(load);
    }
    progress.report()
}

/// Echoes through epoll: one call to wait for all, one to read and one to write for each.
pub(crate) fn epoll(port_number: u16, load: Load) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port_number)).context("listen")?;
    tell(&json!({ "listening": true }))?;
    let epoll = Epoll::new(EpollCreateFlags::empty()).context("create an epoll descriptor")?;
    let mut sockets: Vec<TcpStream> = Vec::new();
    for number in 0..load.connections {
        let (socket, _) = listener.accept().context("accept")?;
        socket.set_nonblocking(true).context("prepare a socket")?;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, number as u64);
        epoll.add(&socket, event).context("add a socket")?;
        sockets.push(socket);
    }
    tell(&json!({ "ready": sockets.len() }))?;
    let mut events = vec![EpollEvent::empty(); load.connections];
    let mut message = vec![0; 1 << 16];
    let (mut progress, mut open) = (Progress::default(), sockets.len());
    while open > 0 {
        let found = epoll.wait(&mut events, EpollTimeout::NONE).context("wait")?;
        for event in &events[..found] {
            let socket = &mut sockets[usize::try_from(event.data()).context("read a number")?];
            let len = socket.read(&mut message).context("receive")?;
            if len == 0 {
                epoll.delete(&*socket).context("forget a socket")?;
                open -= 1;
                continue;
            }
            let sent = socket.write(&message[..len]).context("send")?;
            ensure!(sent == len, "a socket took {sent} of {len} bytes");
            progress.bytes += len;
        }
        progress.batch(load);
    }
    progress.report()
}
