//! Wire: the device under the TCP stack, two queues of frames.
//!
//! It also notes how far each connection has sent, which the stack does not tell.

use std::collections::{HashMap, VecDeque};
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;

use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::time::Instant;

use super::fault::{Fault, Way};
use crate::counters::Tally;
use crate::packet::{ETHERNET_LEN, Packet};

/// Largest IP packet, in bytes.
const MTU: usize = 1500;
/// IP and TCP header without options.
const HEADERS: usize = 40;
/// MSS of a peer that names none, RFC 9293 section 3.7.1.
const MSS_DEFAULT: u16 = 536;
/// Frames that may wait for the guest to take them.
const OUTBOX_LIMIT: usize = 256;
/// Frames that may wait for the TCP stack.
const INBOX_LIMIT: usize = 256;

/// Names a connection: the host's port and the guest's end.
pub(crate) type Key = (u16, SocketAddrV4);

/// How far a connection has sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Track {
    /// Sequence number of the first byte of data.
    first: u32,
    /// Sequence number behind the last byte that was sent at least once.
    next: u32,
    /// Sequence number behind the last byte that the peer has room for.
    edge: u32,
    peer_mss: Option<u16>,
    peer_scale: u8,
}

impl Track {
    /// Whether `fed` bytes, counted since the connection began, have all been sent.
    pub(crate) fn has_sent(&self, fed: u32) -> bool {
        self.next == self.first.wrapping_add(fed)
    }

    /// Whether the peer has room for all of the first `fed` bytes.
    pub(crate) fn has_room(&self, fed: u32) -> bool {
        !is_behind(self.edge, self.first.wrapping_add(fed))
    }

    /// Most payload bytes in a segment.
    pub(crate) fn mss(&self) -> usize {
        usize::from(self.peer_mss.unwrap_or(MSS_DEFAULT)).min(MTU - HEADERS)
    }
}

/// The two queues.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    inward: Way,
    outward: Way,
    inbox: VecDeque<Vec<u8>>,
    pub(crate) outbox: VecDeque<Vec<u8>>,
    /// Buffers of finished frames, to be used again.
    spare: Vec<Vec<u8>>,
    tracks: HashMap<Key, Track>,
}

impl Wire {
    /// A cable with this fault in both directions.
    pub(crate) fn new(fault: Option<Fault>, tally: &Arc<Tally>) -> Self {
        let way = |direction| Way::new(fault, direction, Arc::clone(tally));
        Self { inward: way(0), outward: way(1), ..Self::default() }
    }

    /// A buffer for the next frame.
    pub(crate) fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Gives a buffer back.
    pub(crate) fn recycle(&mut self, buffer: Vec<u8>) {
        if self.spare.len() < OUTBOX_LIMIT {
            self.spare.push(buffer);
        }
    }

    /// Whether the stack should be fed no more frames for now.
    pub(crate) fn is_full(&self) -> bool {
        self.inbox.len() >= INBOX_LIMIT
    }

    /// Whether the stack can send no more until the guest takes frames.
    pub(crate) fn is_jammed(&self) -> bool {
        self.outbox.len() >= OUTBOX_LIMIT
    }

    /// Takes a frame that the guest sent.
    pub(crate) fn put(&mut self, frame: Vec<u8>) {
        for frame in self.inward.pass(frame) {
            self.note_received(&Packet::parse(&frame));
            self.inbox.push_back(frame);
        }
    }

    /// How far a connection has sent.
    pub(crate) fn track(&self, key: Key) -> Track {
        self.tracks.get(&key).copied().unwrap_or_default()
    }

    /// Forgets a connection.
    pub(crate) fn forget(&mut self, key: Key) {
        self.tracks.remove(&key);
    }

    /// Forgets everything in flight: the link is gone.
    pub(crate) fn clear(&mut self) {
        self.inbox.clear();
        self.outbox.clear();
        self.tracks.clear();
    }

    fn note_received(&mut self, packet: &Packet) {
        let (Some(tcp), Some((local, peer))) = (packet.tcp, ends(packet)) else { return };
        let key = (local.port(), peer);
        if tcp.syn {
            let track = self.tracks.entry(key).or_default();
            track.peer_mss = tcp.mss;
            track.peer_scale = tcp.scale.unwrap_or(0);
            track.edge = tcp.ack.wrapping_add(tcp.window.into());
        } else if let Some(track) = self.tracks.get_mut(&key) {
            let edge = tcp.ack.wrapping_add(u32::from(tcp.window) << track.peer_scale);
            // An older segment that comes late knows less.
            if !is_behind(edge, track.edge) {
                track.edge = edge;
            }
        }
    }

    fn note_sent(&mut self, frame: &[u8]) {
        let packet = Packet::parse(frame);
        let (Some(tcp), Some((peer, local))) = (packet.tcp, ends(&packet)) else { return };
        let key = (local.port(), peer);
        if tcp.syn {
            let first = tcp.seq.wrapping_add(1);
            let track = self.tracks.entry(key).or_default();
            (track.first, track.next) = (first, first);
        } else if let Some(track) = self.tracks.get_mut(&key) {
            let len = u32::try_from(packet.payload.len()).expect("a frame is below 4 GiB");
            let end = tcp.seq.wrapping_add(len);
            if !is_behind(end, track.next) {
                track.next = end;
            }
        }
    }
}

/// Whether `a` comes before `b` in the circle of sequence numbers.
fn is_behind(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) >= 1 << 31
}

/// Destination and source of a packet.
fn ends(packet: &Packet) -> Option<(SocketAddrV4, SocketAddrV4)> {
    match packet.flow.map(|flow| (flow.dst, flow.src)) {
        Some((SocketAddr::V4(dst), SocketAddr::V4(src))) => Some((dst, src)),
        _ => None,
    }
}

impl phy::Device for Wire {
    type RxToken<'a> = Incoming;
    type TxToken<'a> = Outgoing<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Incoming, Outgoing<'_>)> {
        if self.outbox.len() >= OUTBOX_LIMIT {
            return None;
        }
        let frame = self.inbox.pop_front()?;
        Some((Incoming(frame), Outgoing(self)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Outgoing<'_>> {
        (self.outbox.len() < OUTBOX_LIMIT).then_some(Outgoing(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = ETHERNET_LEN + MTU;
        capabilities
    }
}

/// A frame on its way into the stack.
#[derive(Debug)]
pub(crate) struct Incoming(Vec<u8>);

impl phy::RxToken for Incoming {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

/// Room for a frame that the stack sends.
#[derive(Debug)]
pub(crate) struct Outgoing<'a>(&'a mut Wire);

impl phy::TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = self.0.buffer();
        frame.clear();
        frame.resize(len, 0);
        let result = f(&mut frame);
        self.0.note_sent(&frame);
        self.0.outbox.extend(self.0.outward.pass(frame));
        result
    }
}
