//! Programs, as the tests write them: events in order, with the live bytes that flushes carry.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

pub mod litmus;
pub mod log;
pub mod random;
pub mod spec;

use crash::event::StoreBytes;
use crash::report::{NoSymbols, explain};
use crash::{
    Checker, Context, Dma, Event, Failure, Fence, FenceKind, Flush, FlushKind, LineBytes, Marker,
    Offset, Op, Pc, Plan, Report, Rules, Store, Vcpu, explore,
};

pub const PROGRAM: Context = Context { cr3: 0x1000, privilege: 3 };
pub const KERNEL: Context = Context { cr3: 0x1000, privilege: 0 };

/// A program under construction.
#[derive(Clone, Debug)]
pub struct Program {
    pub events: Vec<Event>,
    pub live: Vec<u8>,
    pub vcpu: Vcpu,
    pub context: Context,
    pub pc: Pc,
}

impl Program {
    /// Over an NVDIMM of zeros.
    pub fn new(bytes: usize) -> Self {
        let (vcpu, context, pc) = (Vcpu(0), PROGRAM, Pc(0));
        Self { events: Vec::new(), live: vec![0; bytes], vcpu, context, pc }
    }

    /// What comes next is at this address.
    pub fn at(&mut self, pc: u64) -> &mut Self {
        self.pc = Pc(pc);
        self
    }

    pub fn store(&mut self, offset: u64, bytes: &[u8]) {
        self.write(offset, bytes, false);
    }

    pub fn nontemporal(&mut self, offset: u64, bytes: &[u8]) {
        self.write(offset, bytes, true);
    }

    fn write(&mut self, offset: u64, bytes: &[u8], nontemporal: bool) {
        self.hidden(offset, bytes);
        let Self { vcpu, context, pc, .. } = *self;
        let (offset, bytes) = (Offset(offset), StoreBytes::new(bytes).expect("1 to 64 bytes"));
        self.events.push(Event::Store(Store { vcpu, pc, context, offset, bytes, nontemporal }));
    }

    /// A write that no event tells of.
    pub fn hidden(&mut self, offset: u64, bytes: &[u8]) {
        let start = usize::try_from(offset).expect("a small offset");
        self.live[start..start + bytes.len()].copy_from_slice(bytes);
    }

    pub fn flush(&mut self, kind: FlushKind, offset: u64) {
        let line = Offset(offset).line();
        let bytes: LineBytes = line.of(&self.live);
        let Self { vcpu, context, pc, .. } = *self;
        self.events.push(Event::Flush(Flush { vcpu, pc, context, line, kind, live: bytes }));
    }

    pub fn fence(&mut self, kind: FenceKind) {
        let Self { vcpu, context, pc, .. } = *self;
        self.events.push(Event::Fence(Fence { vcpu, pc, context, kind }));
    }

    pub fn dma(&mut self, offset: u64, bytes: &[u8]) {
        self.hidden(offset, bytes);
        let (offset, bytes) = (Offset(offset), bytes.to_vec());
        self.events.push(Event::Dma(Dma { offset, bytes, begin: 0, end: 0 }));
    }

    pub fn checkpoint(&mut self, id: u64) {
        let Self { vcpu, pc, .. } = *self;
        let (op, args, ranges) = (Op::Checkpoint, [id, 0, 0], Vec::new());
        self.events.push(Event::Marker(Marker { vcpu, pc, op, args, ranges }));
    }
}

/// Bytes of the NVDIMM of small programs.
pub const BYTES: usize = 192;

/// The first failure of a program.
pub fn failure(program: &Program, checker: &mut dyn Checker) -> Failure {
    let image = vec![0; program.live.len()];
    let found = explore(image, &program.events, &Plan::default(), checker);
    found.failures.into_iter().next().expect("a failure is found")
}

/// The first failure of a program, explained.
pub fn report(program: &Program, checker: &mut dyn Checker) -> Report {
    let failure = failure(program, checker);
    let (image, rules) = (vec![0; program.live.len()], Rules::default());
    let explained = explain(image, &program.events, rules, &failure, checker, &NoSymbols);
    explained.expect("the checker answers").expect("a failure stays one")
}
