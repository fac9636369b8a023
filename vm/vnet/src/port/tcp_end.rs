//! TCP end: the loop's half of one connection, between the TCP stack and the shared half.

use std::sync::Arc;
use std::time::{Duration, Instant};

use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{Socket, SocketBuffer, State as TcpState};

use super::wire::{Key, Track};
use crate::connection::{BUFFER, Connection, End, Phase, RX_LIMIT, State};

/// How long a connection whose handle is gone may take to end in an orderly way.
const LINGER: Duration = Duration::from_secs(10);

/// A TCP socket as all connections use it. `ack_delay`: how long an acknowledgement may wait for
/// data to ride on.
pub(crate) fn socket(ack_delay: Option<Duration>) -> Socket<'static> {
    let buffer = || SocketBuffer::new(vec![0; BUFFER]);
    let mut socket = Socket::new(buffer(), buffer());
    // A message leaves at once.
    socket.set_nagle_enabled(false);
    socket.set_ack_delay(ack_delay.map(Into::into));
    socket
}

/// The loop's half of a connection.
#[derive(Debug)]
pub(crate) struct TcpEnd {
    pub(crate) handle: SocketHandle,
    pub(crate) key: Key,
    shared: Arc<Connection>,
    /// Bytes given to the stack, modulo 2^32.
    fed: u32,
    /// Where the stack's send buffer continues; it is a ring, and a segment does not wrap.
    write_at: usize,
    opened: bool,
    closing: bool,
    peer_ended: bool,
    linger: Option<Instant>,
}

impl TcpEnd {
    pub(crate) fn new(handle: SocketHandle, key: Key, shared: Arc<Connection>) -> Self {
        Self {
            handle,
            key,
            shared,
            fed: 0,
            write_at: 0,
            opened: false,
            closing: false,
            peer_ended: false,
            linger: None,
        }
    }

    /// The half that the handle sees.
    pub(crate) fn shared(&self) -> Arc<Connection> {
        Arc::clone(&self.shared)
    }

    /// When the orderly end is given up.
    pub(crate) fn linger(&self) -> Option<Instant> {
        self.linger
    }

    /// Moves bytes both ways and notes what changed; true when the stack has to look again.
    pub(crate) fn pump(&mut self, socket: &mut Socket<'_>, track: Track, now: Instant) -> bool {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        let before = Mark::of(&state);
        self.open(socket, &mut state, track);
        let received = receive(socket, &mut state);
        let fed = self.feed(socket, &mut state, track);
        self.note_end(socket, &mut state);
        let closed = self.close(socket, &mut state, now, received);
        state.unacked = socket.send_queue();
        let changed = Mark::of(&state) != before;
        drop(state);
        if changed {
            shared.notify();
        }
        received || fed || closed
    }

    fn open(&mut self, socket: &Socket<'_>, state: &mut State, track: Track) {
        let established =
            !matches!(socket.state(), TcpState::SynSent | TcpState::SynReceived | TcpState::Closed);
        if established && !self.opened {
            self.opened = true;
            state.phase = Phase::Open;
            state.mss = track.mss();
        }
    }

    /// Gives messages to the stack. A message begins only when everything before it was sent, and
    /// a message of one segment only where it fits in one piece: this keeps segments and messages
    /// together.
    fn feed(&mut self, socket: &mut Socket<'_>, state: &mut State, track: Track) -> bool {
        let mut fed_any = false;
        while let Some(chunk) = state.tx.front_mut().filter(|_| socket.may_send()) {
            let (queued, capacity) = (socket.send_queue(), socket.send_capacity());
            if queued == 0 {
                self.write_at = 0;
            }
            let len = chunk.bytes.len();
            if chunk.starts && chunk.taken == 0 {
                let fits = queued.max(self.write_at) + len <= capacity
                    && track.has_room(after(self.fed, len));
                // With nothing on its way there is no more room to wait for.
                let splits = len <= state.mss && !fits && queued > 0;
                if splits || !track.has_sent(self.fed) {
                    break;
                }
            }
            let Ok(taken @ 1..) = socket.send_slice(&chunk.bytes[chunk.taken..]) else { break };
            fed_any = true;
            self.fed = after(self.fed, taken);
            self.write_at = (self.write_at + taken) % capacity;
            chunk.taken += taken;
            state.tx_len -= taken;
            if chunk.taken == len {
                state.tx.pop_front();
            }
        }
        fed_any
    }

    fn note_end(&mut self, socket: &Socket<'_>, state: &mut State) {
        let tcp = socket.state();
        if self.opened && !socket.may_recv() && tcp != TcpState::Closed {
            self.peer_ended = true;
            state.rx_end = true;
        }
        let end = match tcp {
            TcpState::TimeWait => End::Closed,
            TcpState::Closed if self.peer_ended && self.closing => End::Closed,
            TcpState::Closed if self.opened => End::Reset,
            TcpState::Closed => End::Refused,
            _ => return,
        };
        if !matches!(state.phase, Phase::Ended(_)) {
            state.phase = Phase::Ended(end);
        }
    }

    /// Ends the stream, or the whole connection, when the handle wants it.
    fn close(
        &mut self,
        socket: &mut Socket<'_>,
        state: &mut State,
        now: Instant,
        received: bool,
    ) -> bool {
        if state.released && self.linger.is_none() {
            self.linger = Some(now + LINGER);
        }
        // Nobody will read what the peer goes on sending, so it is told to stop, as a kernel does.
        let unwanted = received && socket.may_recv() && all_sent(socket, state);
        let expired = self.linger.is_some_and(|linger| linger <= now);
        if state.released && (!self.opened || expired || unwanted) && socket.is_open() {
            socket.abort();
            return true;
        }
        let done = (state.shut || state.released) && state.tx.is_empty();
        if done && self.opened && !self.closing {
            self.closing = true;
            socket.close();
            return true;
        }
        false
    }

    /// Whether nothing is left to do for this connection.
    pub(crate) fn is_over(&self, socket: &Socket<'_>) -> bool {
        // With an end still known, a reset is waiting to be sent.
        socket.state() == TcpState::Closed
            && socket.remote_endpoint().is_none()
            && (!socket.can_recv() || self.shared.state().released)
    }

    /// Ends the connection from outside.
    pub(crate) fn end(&self, end: End) {
        self.shared.end(end);
    }
}

/// The sequence number `len` bytes, at most a buffer's length, behind `seq`.
fn after(seq: u32, len: usize) -> u32 {
    seq.wrapping_add(u32::try_from(len).expect("a buffer is below 4 GiB"))
}

fn all_sent(socket: &Socket<'_>, state: &State) -> bool {
    state.tx.is_empty() && socket.send_queue() == 0
}

/// Takes received bytes from the stack, as far as there is room for them.
fn receive(socket: &mut Socket<'_>, state: &mut State) -> bool {
    let mut received = false;
    while socket.can_recv() {
        let room = if state.released { usize::MAX } else { RX_LIMIT - state.rx.len() };
        if room == 0 {
            break;
        }
        let taken = socket.recv(|bytes| {
            let len = bytes.len().min(room);
            if !state.released {
                state.rx.extend(&bytes[..len]);
            }
            (len, len)
        });
        received |= taken.is_ok_and(|len| len > 0);
        if taken.is_err() {
            break;
        }
    }
    received
}

/// What a waiting handle may be interested in.
#[derive(PartialEq)]
struct Mark {
    phase: Phase,
    tx: usize,
    rx: usize,
    rx_end: bool,
    unacked: usize,
}

impl Mark {
    fn of(state: &State) -> Self {
        Self {
            phase: state.phase,
            tx: state.tx_len,
            rx: state.rx.len(),
            rx_end: state.rx_end,
            unacked: state.unacked,
        }
    }
}
