//! Frame log: every frame with the addresses at which it was read or written.
//!
//! A frame is recorded by the backend while it touches guest memory, before the guest can see the
//! result: who acts on a frame finds it in the log. The log is bounded; the oldest frames go first
//! and are counted.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use crate::error::Result;
use crate::memory::{FileOffset, GuestAddress, MemTable, Piece};
use crate::packet::{Flow, Packet};
use crate::sync::{lock, wait};

/// Which way a frame went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The backend wrote it into guest memory.
    ToGuest,
    /// The backend read it from guest memory.
    FromGuest,
}

/// A part of a payload in guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Guest address of its first byte.
    pub guest: GuestAddress,
    /// Length in bytes.
    pub len: usize,
    /// Place of its first byte in the file behind the guest's memory.
    pub file: Option<FileOffset>,
}

/// One frame as it passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Number of the frame since the start, over both directions; starts at 1.
    pub seq: u64,
    /// Which way it went.
    pub direction: Direction,
    /// Length of the Ethernet frame in bytes, without the virtio header.
    pub len: usize,
    /// Ends of the TCP or UDP conversation; None for other frames.
    pub flow: Option<Flow>,
    /// TCP sequence number of the first payload byte.
    pub tcp_seq: Option<u32>,
    /// Length of the TCP or UDP payload in bytes.
    pub payload_len: usize,
    /// Where the payload lies in guest memory, in order.
    pub payload: Vec<Range>,
    /// `xxh3_64` of the payload.
    pub payload_hash: u64,
}

/// Which frames are asked for. An empty filter takes all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    direction: Option<Direction>,
    src_port: Option<u16>,
    dst_port: Option<u16>,
    payload_hash: Option<u64>,
    payload_at_least: usize,
    len_at_least: usize,
    after: u64,
}

impl Filter {
    /// A filter that takes every frame.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only frames that went this way.
    #[must_use]
    pub fn direction(self, direction: Direction) -> Self {
        Self { direction: Some(direction), ..self }
    }

    /// Only TCP and UDP frames from this port.
    #[must_use]
    pub fn src_port(self, port: u16) -> Self {
        Self { src_port: Some(port), ..self }
    }

    /// Only TCP and UDP frames to this port.
    #[must_use]
    pub fn dst_port(self, port: u16) -> Self {
        Self { dst_port: Some(port), ..self }
    }

    /// Only frames with exactly this payload (`xxh3_64`, see [`hash`]).
    #[must_use]
    pub fn payload_hash(self, hash: u64) -> Self {
        Self { payload_hash: Some(hash), ..self }
    }

    /// Only frames with a TCP or UDP payload.
    #[must_use]
    pub fn payload_only(self) -> Self {
        self.payload_at_least(1)
    }

    /// Only frames with a TCP or UDP payload of so many bytes or more.
    #[must_use]
    pub fn payload_at_least(self, len: usize) -> Self {
        Self { payload_at_least: len, ..self }
    }

    /// Only Ethernet frames of so many bytes or more.
    #[must_use]
    pub fn len_at_least(self, len: usize) -> Self {
        Self { len_at_least: len, ..self }
    }

    /// Only frames after the one with this number.
    #[must_use]
    pub fn after(self, seq: u64) -> Self {
        Self { after: seq, ..self }
    }

    /// Whether the filter takes `frame`.
    pub fn matches(&self, frame: &Frame) -> bool {
        let port = |wanted: Option<u16>, end: fn(&Flow) -> u16| {
            wanted.is_none_or(|port| frame.flow.as_ref().map(end) == Some(port))
        };
        frame.seq > self.after
            && self.direction.is_none_or(|direction| frame.direction == direction)
            && port(self.src_port, |flow| flow.src.port())
            && port(self.dst_port, |flow| flow.dst.port())
            && self.payload_hash.is_none_or(|hash| frame.payload_hash == hash)
            && frame.payload_len >= self.payload_at_least
            && frame.len >= self.len_at_least
    }
}

/// The hash the frame log computes of a payload.
pub fn hash(payload: &[u8]) -> u64 {
    xxh3_64(payload)
}

#[derive(Debug)]
struct Log {
    frames: VecDeque<Frame>,
    capacity: usize,
    last: u64,
    dropped: u64,
    waiting: usize,
}

/// A handle to the log of one network.
#[derive(Clone, Debug)]
pub struct FrameLog {
    shared: Arc<(Mutex<Log>, Condvar)>,
}

impl FrameLog {
    pub(crate) fn new(capacity: usize) -> Self {
        let log = Log { frames: VecDeque::new(), capacity, last: 0, dropped: 0, waiting: 0 };
        Self { shared: Arc::new((Mutex::new(log), Condvar::new())) }
    }

    /// All frames in the log that `filter` takes, oldest first.
    pub fn frames(&self, filter: &Filter) -> Vec<Frame> {
        self.log().frames.iter().filter(|frame| filter.matches(frame)).cloned().collect()
    }

    /// The oldest frame that `filter` takes; waits for one to come.
    ///
    /// # Errors
    /// `Timeout` when none came `within` the time.
    pub fn wait(&self, filter: &Filter, within: Duration) -> Result<Frame> {
        let (mutex, changed) = &*self.shared;
        lock(mutex).waiting += 1;
        let mut seen = filter.after;
        let found = wait((mutex, changed), within, "wait for a frame", |log| {
            let unseen = log.frames.partition_point(|frame| frame.seq <= seen);
            seen = seen.max(log.last);
            let frame = log.frames.iter().skip(unseen).find(|frame| filter.matches(frame))?;
            Some(Ok(frame.clone()))
        });
        lock(mutex).waiting -= 1;
        found
    }

    /// Number of the last frame, for [`Filter::after`]; 0 before the first.
    pub fn last_seq(&self) -> u64 {
        self.log().last
    }

    /// How many frames the bounded log has lost.
    pub fn dropped(&self) -> u64 {
        self.log().dropped
    }

    /// Forgets all frames; numbers go on.
    pub fn clear(&self) {
        self.log().frames.clear();
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        lock(&self.shared.0)
    }

    /// The next frame of the log: `frame`, which has its place in guest memory at `pieces` behind
    /// `header_len` other bytes.
    pub(crate) fn describe(
        &self,
        direction: Direction,
        frame: &[u8],
        (mem, pieces, header_len): (&MemTable, &[Piece], usize),
    ) -> Frame {
        let packet = Packet::parse(frame);
        let payload = &frame[packet.payload.clone()];
        let place = header_len + packet.payload.start..header_len + packet.payload.end;
        Frame {
            seq: self.last_seq() + 1,
            direction,
            len: frame.len(),
            flow: packet.flow,
            tcp_seq: packet.tcp.map(|tcp| tcp.seq),
            payload_len: payload.len(),
            payload: ranges(mem, pieces, place),
            payload_hash: hash(payload),
        }
    }

    /// Records the next frame. One thread describes and records.
    pub(crate) fn record(&self, frame: Frame) {
        let mut log = self.log();
        log.last = frame.seq;
        if log.frames.len() >= log.capacity {
            log.frames.pop_front();
            log.dropped += 1;
        }
        log.frames.push_back(frame);
        if log.waiting > 0 {
            self.shared.1.notify_all();
        }
    }
}

/// The guest ranges of the bytes `[wanted)` of the stream that `pieces` make.
fn ranges(mem: &MemTable, pieces: &[Piece], wanted: std::ops::Range<usize>) -> Vec<Range> {
    let mut at = 0;
    let mut found = Vec::new();
    for piece in pieces {
        let (start, end) = (wanted.start.max(at), wanted.end.min(at + piece.len));
        if start < end {
            let offset = (start - at) as u64;
            let mut file = mem.file_offset(*piece);
            file.offset += offset;
            let guest = GuestAddress(mem.guest_address(*piece).0 + offset);
            found.push(Range { guest, len: end - start, file: Some(file) });
        }
        at += piece.len;
    }
    found
}
