//! Host: the handles of the network's host end, for any thread.
//!
//! Every call that waits takes its budget as a duration and fails with `Timeout` when that is over.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::connection::{Accepting, Backlog, Chunk, Connection, Echo, End, Phase, State, TX_LIMIT};
use crate::error::{Error, Result};
use crate::mailbox::{Mailbox, Order};
use crate::sync::{lock, wait};

/// Bytes of a long message that are queued at once.
const CHUNK: usize = 256 << 10;

/// The host on the network: makes and takes connections. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Host {
    mailbox: Arc<Mailbox>,
    address: Ipv4Addr,
}

impl Host {
    pub(crate) fn new(mailbox: Arc<Mailbox>, address: Ipv4Addr) -> Self {
        Self { mailbox, address }
    }

    /// The host's own address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Sends ICMP echo requests, one a second, until one is answered; returns its round trip.
    ///
    /// # Errors
    /// `Timeout`, `Gone`.
    pub fn ping(&self, to: Ipv4Addr, within: Duration) -> Result<Duration> {
        let echo = Arc::new(Echo::default());
        self.mailbox.post(Order::Ping(to, Arc::clone(&echo)))?;
        let answered = wait((&echo.state, &echo.changed), within, "ping", |state| {
            let gone = state.gone.then_some(Err(Error::Gone));
            state.round_trip.map(Ok).or(gone)
        });
        lock(&echo.state).released = true;
        self.mailbox.wake();
        answered
    }

    /// Connects to a server in the guest. Waits for a link if there is none yet.
    ///
    /// # Errors
    /// `Refused`, `LinkLost`, `Timeout`, `Port`, `Gone`.
    pub fn connect(&self, to: SocketAddrV4, within: Duration) -> Result<Tcp> {
        let connection = Arc::new(Connection::new(to));
        let tcp = Tcp::new(Arc::clone(&connection), Arc::clone(&self.mailbox));
        self.mailbox.post(Order::Connect(connection))?;
        tcp.connection.wait(within, "connect", |state| match state.phase {
            Phase::Connecting => None,
            Phase::Open | Phase::Ended(End::Closed) => Some(Ok(())),
            Phase::Ended(end) => tcp.connection.error(end).map(Err),
        })?;
        Ok(tcp)
    }

    /// Sends a message on each of these connections, all in one go: the guest finds them in its
    /// queue at once, unless it happens to send something itself just then.
    ///
    /// # Errors
    /// As [`Tcp::send_all`]; messages before the one that failed are on their way.
    pub fn send_each<'a>(
        &self,
        messages: impl IntoIterator<Item = (&'a Tcp, &'a [u8])>,
        within: Duration,
    ) -> Result<()> {
        let deadline = Instant::now() + within;
        let left = || deadline.saturating_duration_since(Instant::now());
        let mut all = messages.into_iter();
        let queued = all.try_for_each(|(tcp, message)| tcp.queue(message, left(), || ()));
        self.mailbox.wake();
        queued
    }

    /// Listens for connections that the guest makes.
    ///
    /// # Errors
    /// `Port` when somebody listens there already, `Gone`, `Timeout` if the loop is stuck.
    pub fn listen(&self, port: u16) -> Result<Listener> {
        let accepting = Arc::new(Accepting::default());
        self.mailbox.post(Order::Listen(port, Arc::clone(&accepting)))?;
        let listener = Listener { accepting, mailbox: Arc::clone(&self.mailbox), port };
        let within = Duration::from_secs(10);
        listener.wait(within, "listen", |backlog| backlog.ready.then_some(Ok(())))?;
        Ok(listener)
    }
}

/// A port on which the host takes connections; closed on drop.
#[derive(Debug)]
pub struct Listener {
    accepting: Arc<Accepting>,
    mailbox: Arc<Mailbox>,
    port: u16,
}

impl Listener {
    /// The next connection a guest made.
    ///
    /// # Errors
    /// `Timeout`, `Gone`.
    pub fn accept(&self, within: Duration) -> Result<Tcp> {
        self.wait(within, "accept", |backlog| {
            let connection = backlog.connections.pop_front()?;
            Some(Ok(Tcp::new(connection, Arc::clone(&self.mailbox))))
        })
    }

    fn wait<T>(
        &self,
        within: Duration,
        doing: &'static str,
        mut look: impl FnMut(&mut Backlog) -> Option<Result<T>>,
    ) -> Result<T> {
        let Accepting { waiting, changed } = &*self.accepting;
        wait((waiting, changed), within, doing, |backlog| {
            let failed = |end| match end {
                End::NoPort => Err(Error::Port(self.port)),
                _ => Err(Error::Gone),
            };
            look(backlog).or_else(|| backlog.failed.map(failed))
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut backlog = lock(&self.accepting.waiting);
        backlog.released = true;
        for connection in backlog.connections.drain(..) {
            connection.state().released = true;
        }
        drop(backlog);
        self.mailbox.wake();
    }
}

/// A TCP connection with the guest; closed in an orderly way on drop.
///
/// All methods take `&self`, so that one thread may send while another one receives.
#[derive(Debug)]
pub struct Tcp {
    connection: Arc<Connection>,
    mailbox: Arc<Mailbox>,
}

impl Tcp {
    fn new(connection: Arc<Connection>, mailbox: Arc<Mailbox>) -> Self {
        Self { connection, mailbox }
    }

    /// The host's end.
    ///
    /// # Panics
    /// Never: a handle is given out once the connection is open.
    pub fn local(&self) -> SocketAddrV4 {
        self.connection.state().local.expect("a handle is given out once the connection is open")
    }

    /// The guest's end.
    pub fn peer(&self) -> SocketAddrV4 {
        self.connection.peer
    }

    /// Longest message that fits into one segment, in bytes.
    pub fn mss(&self) -> usize {
        self.connection.state().mss
    }

    /// Queues `message` for sending; waits while the queue is full.
    ///
    /// A message begins a segment of its own, and one of at most [`mss`](Self::mss) bytes is one
    /// segment, as long as the guest's window has room for it. A retransmission may join messages.
    ///
    /// # Errors
    /// `Closed` after `shut_write`, `Reset`, `LinkLost`, `Timeout` (a part may have been queued).
    pub fn send_all(&self, message: &[u8], within: Duration) -> Result<()> {
        self.queue(message, within, || self.mailbox.wake())
    }

    /// Puts a message into the queue, and calls `queued` after each part of it. The network looks
    /// at the queue when it is woken, at the latest when there is no room.
    fn queue(&self, message: &[u8], within: Duration, queued: impl Fn()) -> Result<()> {
        let deadline = Instant::now() + within;
        for (index, chunk) in message.chunks(CHUNK).enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut bytes = chunk.to_vec();
            self.connection.wait(left, "send", |state| {
                if let Err(error) = self.sendable(state) {
                    return Some(Err(error));
                }
                if !state.tx.is_empty() && state.tx_len + bytes.len() > TX_LIMIT {
                    self.mailbox.wake();
                    return None;
                }
                let bytes = std::mem::take(&mut bytes);
                state.tx_len += bytes.len();
                state.tx.push_back(Chunk { bytes, taken: 0, starts: index == 0 });
                Some(Ok(()))
            })?;
            queued();
        }
        Ok(())
    }

    fn sendable(&self, state: &State) -> Result<()> {
        match state.phase {
            Phase::Ended(end) => Err(self.connection.error(end).unwrap_or(Error::Closed)),
            _ if state.shut => Err(Error::Closed),
            _ => Ok(()),
        }
    }

    /// Waits until the guest's TCP has acknowledged everything sent.
    ///
    /// # Errors
    /// `Reset`, `LinkLost`, `Timeout`.
    pub fn wait_acked(&self, within: Duration) -> Result<()> {
        self.connection.wait(within, "wait for acknowledgement", |state| {
            if state.tx.is_empty() && state.unacked == 0 {
                return Some(Ok(()));
            }
            match state.phase {
                Phase::Ended(end) => self.connection.error(end).map(Err),
                _ => None,
            }
        })
    }

    /// Receives what there is, at least one byte; 0 means that the guest ended its stream.
    ///
    /// # Errors
    /// `Reset`, `LinkLost`, `Timeout`.
    pub fn recv(&self, buf: &mut [u8], within: Duration) -> Result<usize> {
        let (len, was_full) = self.connection.wait(within, "receive", |state| {
            if !state.rx.is_empty() && !buf.is_empty() {
                let was_full = state.rx.len() >= crate::connection::RX_LIMIT;
                return Some(Ok((take(state, buf), was_full)));
            }
            match state.phase {
                _ if state.rx_end || buf.is_empty() => Some(Ok((0, false))),
                Phase::Ended(end) => Some(self.connection.error(end).map_or(Ok((0, false)), Err)),
                _ => None,
            }
        })?;
        if was_full {
            self.mailbox.wake();
        }
        Ok(len)
    }

    /// Receives exactly `buf.len()` bytes.
    ///
    /// # Errors
    /// As [`recv`](Self::recv); `Closed` when the guest ended its stream before.
    pub fn recv_exact(&self, mut buf: &mut [u8], within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        while !buf.is_empty() {
            let len = self.recv(buf, deadline.saturating_duration_since(Instant::now()))?;
            if len == 0 {
                return Err(Error::Closed);
            }
            buf = &mut buf[len..];
        }
        Ok(())
    }

    /// Ends the stream to the guest; receiving goes on.
    pub fn shut_write(&self) {
        self.connection.state().shut = true;
        self.mailbox.wake();
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        self.connection.state().released = true;
        self.mailbox.wake();
    }
}

fn take(state: &mut State, buf: &mut [u8]) -> usize {
    let len = state.rx.len().min(buf.len());
    let (front, back) = state.rx.as_slices();
    let in_front = front.len().min(len);
    buf[..in_front].copy_from_slice(&front[..in_front]);
    buf[in_front..len].copy_from_slice(&back[..len - in_front]);
    state.rx.drain(..len);
    len
}
