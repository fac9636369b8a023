//! Recordings: a run's events, written by whoever carries them out: a test, or a recorded region.

use crate::event::{
    Context, Dma, Event, Fence, FenceKind, Flush, FlushKind, Pc, Store, StoreBytes, Vcpu,
};
use crate::line::{LINE, LineBytes, Offset, Range};
use crate::marker::{Marker, Op};

/// A program's context, where one is as good as another.
pub const PROGRAM: Context = Context { cr3: 0x1000, privilege: 3 };
/// The kernel's context in the same address space.
pub const KERNEL: Context = Context { cr3: 0x1000, privilege: 0 };

/// Events in order, with the live bytes that flushes carry.
#[derive(Clone, Debug)]
pub struct Recording {
    /// What happened so far.
    pub events: Vec<Event>,
    /// What the CPUs see now.
    pub live: Vec<u8>,
    /// Who acts.
    pub vcpu: Vcpu,
    /// On whose behalf.
    pub context: Context,
    /// The address of its instruction.
    pub pc: Pc,
}

impl Recording {
    /// Starts from an image, which is whole lines.
    pub fn over(image: Vec<u8>) -> Self {
        let (vcpu, context, pc) = (Vcpu(0), PROGRAM, Pc(0));
        Self { events: Vec::new(), live: image, vcpu, context, pc }
    }

    /// Starts from an NVDIMM of zeros.
    pub fn new(bytes: usize) -> Self {
        Self::over(vec![0; bytes])
    }

    /// What comes next is at this address.
    pub fn at(&mut self, pc: u64) -> &mut Self {
        self.pc = Pc(pc);
        self
    }

    /// Stores, 64 bytes at a time.
    pub fn store(&mut self, offset: u64, bytes: &[u8]) {
        self.write(offset, bytes, false);
    }

    /// Stores past the caches.
    pub fn nontemporal(&mut self, offset: u64, bytes: &[u8]) {
        self.write(offset, bytes, true);
    }

    fn write(&mut self, offset: u64, bytes: &[u8], nontemporal: bool) {
        self.unseen(offset, bytes);
        let Self { vcpu, context, pc, .. } = *self;
        for (part, at) in bytes.chunks(LINE).zip((offset..).step_by(LINE)) {
            let bytes = StoreBytes::new(part).expect("a chunk has 1 to 64 bytes");
            let offset = Offset(at);
            self.events.push(Event::Store(Store { vcpu, pc, context, offset, bytes, nontemporal }));
        }
    }

    /// A write that no event tells of (M16).
    ///
    /// # Panics
    /// If it lies outside the NVDIMM.
    pub fn unseen(&mut self, offset: u64, bytes: &[u8]) {
        let start = usize::try_from(offset).expect("an image is addressable");
        self.live[start..start + bytes.len()].copy_from_slice(bytes);
    }

    /// Flushes the line that holds this byte.
    pub fn flush(&mut self, kind: FlushKind, offset: u64) {
        let line = Offset(offset).line();
        let bytes: LineBytes = line.of(&self.live);
        let Self { vcpu, context, pc, .. } = *self;
        self.events.push(Event::Flush(Flush { vcpu, pc, context, line, kind, live: bytes }));
    }

    /// Waits.
    pub fn fence(&mut self, kind: FenceKind) {
        let Self { vcpu, context, pc, .. } = *self;
        self.events.push(Event::Fence(Fence { vcpu, pc, context, kind }));
    }

    /// A device writes.
    pub fn dma(&mut self, offset: u64, bytes: &[u8]) {
        self.unseen(offset, bytes);
        let (offset, bytes) = (Offset(offset), bytes.to_vec());
        self.events.push(Event::Dma(Dma { offset, bytes, begin: 0, end: 0 }));
    }

    /// Says where it is.
    pub fn marker(&mut self, op: Op, args: [u64; 3], ranges: Vec<Range>) {
        let Self { vcpu, pc, .. } = *self;
        self.events.push(Event::Marker(Marker { vcpu, pc, op, args, ranges }));
    }

    /// From here on something may be claimed to be durable.
    pub fn checkpoint(&mut self, id: u64) {
        self.marker(Op::Checkpoint, [id, 0, 0], Vec::new());
    }

    /// Adds an event that happened elsewhere; what it wrote becomes live.
    pub fn replay(&mut self, event: &Event) {
        match event {
            Event::Store(store) => self.unseen(store.offset.0, store.bytes.as_slice()),
            Event::Dma(dma) => self.unseen(dma.offset.0, &dma.bytes),
            Event::Flush(flush) => self.unseen(flush.line.start().0, &flush.live),
            Event::Fence(_) | Event::Marker(_) => {}
        }
        self.events.push(event.clone());
    }
}
