//! Connection: what the handle of a TCP connection and the event loop share.
//!
//! Bytes to send are queued here as messages, bytes received wait here to be read. The loop moves
//! them to and from the TCP stack; the handle waits on a condition with a deadline.

use std::collections::VecDeque;
use std::net::SocketAddrV4;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::sync::{lock, wait};

/// Bytes that may wait to be sent, per connection.
pub(crate) const TX_LIMIT: usize = 1 << 20;
/// Bytes that may wait to be read, per connection; beyond it the peer's window closes.
pub(crate) const RX_LIMIT: usize = 1 << 20;

/// Bytes of the TCP stack's buffers, each way: the window of a bulk transfer.
pub(crate) const BUFFER: usize = 512 << 10;

/// Bytes that a guest can send on a connection before its window is closed, if nobody reads.
pub const UNREAD_LIMIT: usize = RX_LIMIT + BUFFER;

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Connecting,
    Open,
    Ended(End),
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Both ends closed it.
    Closed,
    Refused,
    Reset,
    LinkLost,
    Gone,
    NoPort,
}

/// Part of a message that waits to be sent.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) bytes: Vec<u8>,
    /// How many of them the TCP stack has taken.
    pub(crate) taken: usize,
    /// The chunk begins a message; its first byte begins a segment.
    pub(crate) starts: bool,
}

/// The shared half of a connection.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    pub(crate) local: Option<SocketAddrV4>,
    pub(crate) mss: usize,
    pub(crate) tx: VecDeque<Chunk>,
    pub(crate) tx_len: usize,
    /// No more will be sent.
    pub(crate) shut: bool,
    /// Bytes the TCP stack holds because the peer has not acknowledged them.
    pub(crate) unacked: usize,
    pub(crate) rx: VecDeque<u8>,
    /// The peer will send no more than what is in `rx`.
    pub(crate) rx_end: bool,
    /// The handle is gone.
    pub(crate) released: bool,
}

/// A connection, seen from both threads.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) peer: SocketAddrV4,
    state: Mutex<State>,
    changed: Condvar,
}

impl Connection {
    pub(crate) fn new(peer: SocketAddrV4) -> Self {
        let state = State {
            phase: Phase::Connecting,
            local: None,
            mss: 0,
            tx: VecDeque::new(),
            tx_len: 0,
            shut: false,
            unacked: 0,
            rx: VecDeque::new(),
            rx_end: false,
            released: false,
        };
        Self { peer, state: Mutex::new(state), changed: Condvar::new() }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Tells waiting handles to look again.
    pub(crate) fn notify(&self) {
        self.changed.notify_all();
    }

    /// Ends the connection and wakes whoever waits for it.
    pub(crate) fn end(&self, end: End) {
        let mut state = self.state();
        if !matches!(state.phase, Phase::Ended(_)) {
            state.phase = Phase::Ended(end);
        }
        drop(state);
        self.notify();
    }

    /// Waits until `look` has an answer.
    pub(crate) fn wait<T>(
        &self,
        within: Duration,
        doing: &'static str,
        look: impl FnMut(&mut State) -> Option<Result<T>>,
    ) -> Result<T> {
        wait((&self.state, &self.changed), within, doing, look)
    }

    /// The error of a connection that ended like this; None for an orderly end.
    pub(crate) fn error(&self, end: End) -> Option<Error> {
        match end {
            End::Closed => None,
            End::Refused => Some(Error::Refused(self.peer)),
            End::Reset => Some(Error::Reset),
            End::LinkLost => Some(Error::LinkLost),
            End::Gone => Some(Error::Gone),
            End::NoPort => Some(Error::Port(0)),
        }
    }
}

/// Connections that guests made and nobody took yet.
#[derive(Debug, Default)]
pub(crate) struct Accepting {
    pub(crate) waiting: Mutex<Backlog>,
    pub(crate) changed: Condvar,
}

/// See [`Accepting`].
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    pub(crate) connections: VecDeque<Arc<Connection>>,
    /// The listener is gone.
    pub(crate) released: bool,
    /// Nothing will come any more: the port is taken, or the network is gone.
    pub(crate) failed: Option<End>,
    /// The loop listens.
    pub(crate) ready: bool,
}

/// An echo request that waits for its reply.
#[derive(Debug, Default)]
pub(crate) struct Echo {
    pub(crate) state: Mutex<EchoState>,
    pub(crate) changed: Condvar,
}

/// See [`Echo`].
#[derive(Debug, Default)]
pub(crate) struct EchoState {
    pub(crate) round_trip: Option<Duration>,
    pub(crate) gone: bool,
    /// Nobody waits any more.
    pub(crate) released: bool,
}
