//! Vhost port: moves frames between the guest's virtqueues and this process, and logs at which
//! addresses.

use std::sync::{Arc, Mutex, MutexGuard};

use crate::chain::{Access, Rules};
use crate::counters::{Tally, count};
use crate::frame_log::{Direction, Frame, FrameLog};
use crate::memory::{MemTable, Piece};
use crate::net_header::{self, LEN_MODERN};
use crate::packet::ETHERNET_LEN;
use crate::partial::{Partial, behind};
use crate::port::tear::{Sprung, Trap};
use crate::protocol::{Device, RX, TX};
use crate::sync::lock;
use crate::vring::{Popped, Vring};

/// Longest Ethernet frame: the largest IP packet behind its header.
const FRAME_MAX: usize = ETHERNET_LEN + 65535;

/// What became of a look at the transmit queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A frame is in the buffer.
    Frame,
    /// Something was taken from the queue and dropped.
    Nothing,
    /// The queue is empty.
    Empty,
}

/// What became of a frame for the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It was written, or dropped for good.
    Done,
    /// The guest has no buffers; try again after its next kick.
    NoBuffers,
    /// The guest is paused, or between two drivers; try again after a change of its queues.
    NotUp,
    /// Power is lost in the middle of it: the device stands still.
    Torn,
}

/// The guest's end of the network.
#[derive(Debug)]
pub(crate) struct VhostPort {
    device: Arc<Mutex<Device>>,
    frame_log: FrameLog,
    tally: Arc<Tally>,
    trap: Trap,
    /// Pieces of the chains in hand; kept to save allocations.
    pieces: Vec<Piece>,
    /// Head of each chain in hand, and where its pieces end.
    chains: Vec<(u16, usize)>,
}

impl VhostPort {
    pub(crate) fn new(
        device: Arc<Mutex<Device>>,
        frame_log: FrameLog,
        tally: Arc<Tally>,
        trap: Trap,
    ) -> Self {
        Self { device, frame_log, tally, trap, pieces: Vec::new(), chains: Vec::new() }
    }

    /// The device as its frontend set it up.
    pub(crate) fn device(&self) -> MutexGuard<'_, Device> {
        lock(&self.device)
    }

    /// Takes the next transmitted frame into `frame`.
    pub(crate) fn receive(&mut self, frame: &mut Vec<u8>) -> Received {
        let mut device = lock(&self.device);
        let header_len = device.header_len();
        let rules = Rules { access: Access::Read, indirect: device.indirect() };
        let Device { mem, vrings, .. } = &mut *device;
        self.pieces.clear();
        let head = match vrings[TX].pop(mem, rules, &mut self.pieces) {
            Popped::Chain(head) => head,
            Popped::Empty => return Received::Empty,
            Popped::Bad(_) => {
                count(&self.tally.bad_chains);
                return Received::Nothing;
            }
            Popped::Broken => {
                count(&self.tally.broken_vrings);
                return Received::Empty;
            }
        };
        let taken = read_frame(mem, &self.pieces, header_len, frame);
        if taken {
            count(&self.tally.from_guest);
            let place = (&*mem, &*self.pieces, header_len);
            self.frame_log.record(self.frame_log.describe(Direction::FromGuest, frame, place));
        } else {
            count(&self.tally.bad_frames);
        }
        vrings[TX].push(head, 0);
        if taken { Received::Frame } else { Received::Nothing }
    }

    /// Writes `frame` into the guest's next buffers.
    pub(crate) fn send(&mut self, frame: &[u8]) -> Sent {
        let device = Arc::clone(&self.device);
        let mut device = lock(&device);
        if device.is_fresh() {
            count(&self.tally.no_link);
            return Sent::Done;
        }
        if !device.is_up() {
            return Sent::NotUp;
        }
        let header_len = device.header_len();
        match self.take_buffers(&mut device, header_len + frame.len()) {
            Taken::Enough => {}
            Taken::TooSmall => {
                count(&self.tally.too_small);
                return Sent::Done;
            }
            Taken::Empty => return Sent::NoBuffers,
        }
        let buffers = u16::try_from(self.chains.len()).expect("no more chains than entries");
        let header = net_header::to_guest(buffers, device.guest_csum());
        let header = &header[..header_len];
        let place = (&device.mem, &*self.pieces, header_len);
        let record = self.frame_log.describe(Direction::ToGuest, frame, place);
        if let Some(sprung) = self.trap.meets(&record) {
            self.tear(&mut device, (header, frame), sprung, record);
            return Sent::Torn;
        }
        let Device { mem, vrings, .. } = &mut *device;
        mem.scatter(&self.pieces, header, frame);
        self.frame_log.record(record);
        count(&self.tally.to_guest);
        let (mut from, mut left) = (0, header_len + frame.len());
        for (head, to) in self.chains.drain(..) {
            let room: usize = self.pieces[from..to].iter().map(|piece| piece.len).sum();
            let written = room.min(left);
            vrings[RX].push(head, u32::try_from(written).expect("a frame is below 4 GiB"));
            left -= written;
            from = to;
        }
        Sent::Done
    }

    /// Writes a part of a frame into the buffers in hand and stands still. The frames before it
    /// are the guest's first: whatever it does about them, it can do.
    fn tear(
        &self,
        device: &mut Device,
        (header, frame): (&[u8], &[u8]),
        sprung: Sprung,
        record: Frame,
    ) {
        device.vrings.iter_mut().for_each(Vring::publish);
        device.mem.scatter(&self.pieces, header, &[]);
        let pieces = behind(&self.pieces, header.len());
        let mut partial = Partial::new(record.seq, frame, &device.mem, pieces);
        partial.write_on(sprung.bytes);
        device.partial = Some(partial);
        self.frame_log.record(record.clone());
        sprung.tell(record, Arc::clone(&self.device));
    }

    /// Takes chains until they hold `need` bytes; on any other outcome none is held.
    fn take_buffers(&mut self, device: &mut Device, need: usize) -> Taken {
        let rules = Rules { access: Access::Write, indirect: device.indirect() };
        let mergeable = device.mergeable();
        let Device { mem, vrings, .. } = device;
        let vring = &mut vrings[RX];
        self.pieces.clear();
        self.chains.clear();
        let mut room = 0;
        loop {
            let before = self.pieces.len();
            match vring.pop(mem, rules, &mut self.pieces) {
                Popped::Chain(head) => self.chains.push((head, self.pieces.len())),
                Popped::Bad(_) => {
                    count(&self.tally.bad_chains);
                    // The bad chain went back already; those before it cannot be put back behind
                    // it, so they are given back unused.
                    self.chains.drain(..).for_each(|(head, _)| vring.push(head, 0));
                    self.pieces.clear();
                    room = 0;
                    continue;
                }
                Popped::Broken => {
                    count(&self.tally.broken_vrings);
                    return Taken::Empty;
                }
                Popped::Empty => {
                    vring.unpop(u16::try_from(self.chains.len()).expect("within the ring"));
                    return Taken::Empty;
                }
            }
            room += self.pieces[before..].iter().map(|piece| piece.len).sum::<usize>();
            if room >= need {
                return Taken::Enough;
            }
            if !mergeable {
                vring.unpop(1);
                return Taken::TooSmall;
            }
        }
    }

    /// Publishes what was used and signals the guest.
    pub(crate) fn publish(&mut self) {
        for vring in &mut self.device().vrings {
            vring.publish();
        }
    }

    /// Asks for kicks of a queue; true when chains came in meanwhile.
    pub(crate) fn want_kicks(&mut self, index: usize) -> bool {
        self.device().vrings[index].want_kicks()
    }

    /// Asks for no kicks of a queue.
    pub(crate) fn refuse_kicks(&mut self, index: usize) {
        self.device().vrings[index].refuse_kicks();
    }
}

enum Taken {
    Enough,
    TooSmall,
    Empty,
}

/// Copies header and frame out of guest memory and does what the header asks for.
fn read_frame(mem: &MemTable, pieces: &[Piece], header_len: usize, frame: &mut Vec<u8>) -> bool {
    let total: usize = pieces.iter().map(|piece| piece.len).sum();
    let Some(len) = total.checked_sub(header_len).filter(|len| *len <= FRAME_MAX) else {
        return false;
    };
    let mut header = [0; LEN_MODERN];
    let header = &mut header[..header_len];
    frame.resize(len, 0);
    gather(mem, pieces, header, frame);
    net_header::finish(header, frame).is_ok()
}

/// Fills `header` and then `frame` from the pieces, which hold as many bytes.
fn gather(mem: &MemTable, pieces: &[Piece], header: &mut [u8], frame: &mut [u8]) {
    let (mut header, mut frame) = (header, frame);
    for piece in pieces {
        let slice = mem.slice(*piece);
        let in_header = slice.copy_to(header);
        header = &mut header[in_header..];
        let rest = slice.offset(in_header).expect("copied no more than the slice holds");
        let in_frame = rest.copy_to(frame);
        frame = &mut frame[in_frame..];
    }
}
