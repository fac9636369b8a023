//! Observer: what a QEMU has of it; the callbacks' common ground.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use crash::{Event, Fence, Flush, Live, Marker, Op, Pc, Store, StoreBytes, Vcpu};

use crate::diff::{Cuts, Diff};
use crate::instruction::Does;
use crate::journal::Journal;
use crate::lines::{Line, Out};
use crate::options::{Mode, Options};
use crate::qemu_api::{self as qemu, Field};
use crate::registers::Registers;
use crate::trace::Trace;
use crate::walk::PAGE;
use crate::window::{Place, Window};

/// An instruction that calls us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Site {
    pub(crate) pc: Pc,
    pub(crate) does: Does,
}

/// The observer of this QEMU.
#[derive(Debug)]
pub(crate) struct Observer {
    /// Whether a CPU's conditional callbacks can be trusted: QEMU 10.0 confuses CPUs after one
    /// where a single thread executes several.
    pub(crate) is_single: bool,
    /// Whether instructions are counted, which costs a little in every block.
    pub(crate) counts: bool,
    pub(crate) instructions: Field,
    /// Not 0 if a fence of this CPU could change anything.
    pub(crate) waits: Field,
    pub(crate) watch: Option<Watch>,
    registers: OnceLock<Registers>,
    /// The same as `waits`, a bit for each CPU: what plain callbacks look at.
    waiting: AtomicU64,
    out: Out,
    sites: Mutex<HashMap<Site, &'static Site>>,
    /// Flushes that named pages which were not there.
    unmapped: Mutex<HashSet<u64>>,
}

/// A watched NVDIMM.
#[derive(Debug)]
pub(crate) struct Watch {
    window: Window,
    model: Mutex<Model>,
    /// Whether every store is seen, between ARM and DISARM only.
    pub(crate) is_trace: bool,
    is_armed: AtomicBool,
}

#[derive(Debug)]
enum Model {
    Diff(Diff),
    Trace(Trace),
}

impl Model {
    fn take(&mut self, event: &Event, window: &Window) -> io::Result<Vec<Line>> {
        match self {
            Self::Diff(diff) => diff.take(event, window),
            Self::Trace(trace) => trace.take(event, window),
        }
    }

    fn waits(&self, vcpu: Vcpu) -> bool {
        match self {
            Self::Diff(diff) => diff.waits(vcpu),
            Self::Trace(trace) => trace.waits(vcpu),
        }
    }
}

impl Observer {
    /// Makes its files.
    pub(crate) fn begin(cpus: usize, options: &Options) -> Result<Self, String> {
        let out = Out::create(&options.out);
        let out = out.map_err(|error| format!("create {}: {error}", options.out.display()))?;
        let watch = Watch::begin(options)?;
        if cpus > 1 && matches!(options.mode, Mode::Trace { .. }) {
            return Err("trace mode needs a guest with one CPU: with more, the order of their \
                        stores is not seen"
                .to_owned());
        }
        Ok(Self {
            is_single: cpus == 1,
            counts: options.mode == Mode::Count,
            instructions: qemu::field(),
            waits: qemu::field(),
            watch,
            registers: OnceLock::new(),
            waiting: AtomicU64::new(0),
            out,
            sites: Mutex::default(),
            unmapped: Mutex::default(),
        })
    }

    /// Learns how to read registers. On a CPU's thread.
    pub(crate) fn find_registers(&self) {
        if self.registers.get().is_some() {
            return;
        }
        match Registers::find() {
            // Another CPU may have been faster; the handles are the same.
            Ok(found) => drop(self.registers.set(found)),
            Err(name) => {
                self.fail(format!("this QEMU shows no register {}", name.to_string_lossy()));
            }
        }
    }

    /// The one site of an instruction, good for ever; retranslation finds it again.
    pub(crate) fn site(&self, pc: u64, does: Does) -> &'static Site {
        let site = Site { pc: Pc(pc), does };
        let mut sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        sites.entry(site).or_insert_with(|| Box::leak(Box::new(site)))
    }

    pub(crate) fn tell(&self, line: &Line) {
        self.out.tell(line);
    }

    /// Says that something did not work.
    pub(crate) fn fail(&self, failed: String) {
        self.out.tell(&Line::Failed { failed });
    }

    /// A CPU executes a marker of the watched NVDIMM; what there is to tell.
    pub(crate) fn mark(&self, vcpu: u32, site: &Site, op: Op) -> Vec<Line> {
        match (&self.watch, self.marker(vcpu, site, op)) {
            (Some(watch), Some(marker)) => self.take(watch, vcpu, || Event::Marker(marker)),
            _ => Vec::new(),
        }
    }

    fn marker(&self, vcpu: u32, site: &Site, op: Op) -> Option<Marker> {
        let (watch, registers) = (self.watch.as_ref()?, self.registers.get()?);
        let args = registers.arguments()?;
        let ranges = match op {
            Op::AssertPersisted => watch.window.cover(registers.tables()?, args[0], args[1]).ranges,
            _ => Vec::new(),
        };
        Some(Marker { vcpu: Vcpu(vcpu), pc: site.pc, op, args, ranges })
    }

    /// A marker's first argument.
    pub(crate) fn argument(&self) -> Option<u64> {
        Some(self.registers.get()?.arguments()?[0])
    }

    /// A CPU flushes or waits.
    pub(crate) fn order(&self, vcpu: u32, site: &Site) -> Option<Line> {
        let (watch, registers) = (self.watch.as_ref()?, self.registers.get()?);
        let (vcpu, pc) = (Vcpu(vcpu), site.pc);
        match site.does {
            Does::Flush(kind, operand) => {
                let address = operand.address(|register| registers.value(register))?;
                let flushed = match watch.window.line(registers.tables()?, address) {
                    Place::Line(line) => line,
                    Place::Elsewhere => return None,
                    Place::Unmapped => return self.unmapped(pc.0),
                };
                let context = registers.context()?;
                let mut told = self.take(watch, vcpu.0, || {
                    let live = watch.window.live.line(flushed);
                    Event::Flush(Flush { vcpu, pc, context, line: flushed, kind, live })
                });
                told.pop()
            }
            Does::Wait(kind) => {
                let is_idle = self.waiting.load(Ordering::Relaxed) >> (vcpu.0 & 63) & 1 == 0;
                if is_idle && kind == crash::FenceKind::Locked {
                    return None;
                }
                let fence = Fence { vcpu, pc, context: registers.context()?, kind };
                self.take(watch, vcpu.0, || Event::Fence(fence)).pop()
            }
            Does::Mark(_) | Does::StorePastCaches | Does::Else => None,
        }
    }

    fn unmapped(&self, unmapped: u64) -> Option<Line> {
        let mut known = self.unmapped.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(unmapped).then_some(Line::Unmapped { unmapped })
    }

    /// A CPU has stored; `physical` gives where the first byte went.
    pub(crate) fn store(
        &self,
        vcpu: u32,
        at: Stored,
        physical: impl Fn() -> Option<u64>,
        value: impl Fn() -> ([u8; 16], usize),
    ) -> Option<Line> {
        let (watch, registers) = (self.watch.as_ref()?, self.registers.get()?);
        let offset = watch.window.offset(physical()?)?;
        let (bytes, len) = value();
        let context = registers.context()?;
        let here = usize::try_from((PAGE - at.address % PAGE).min(len as u64)).ok()?;
        let mut told = None;
        for (offset, bytes) in [(Some(offset), &bytes[..here]), (None, &bytes[here..len])] {
            let next = || {
                let next = at.address.wrapping_add(here as u64);
                watch.window.translate(registers.tables()?, next)
            };
            let Some(bytes) = StoreBytes::new(bytes) else { break };
            let Some(offset) = offset.or_else(next) else { break };
            let (vcpu, nontemporal) = (Vcpu(vcpu), at.nontemporal);
            let store = Store { vcpu, pc: at.pc, context, offset, bytes, nontemporal };
            told = self.take(watch, vcpu.0, || Event::Store(store)).pop().or(told);
        }
        told
    }

    /// Takes an event in. It is made while no other CPU's can be: of two flushes of a line the one
    /// that comes second must not have looked at the line first.
    fn take(&self, watch: &Watch, vcpu: u32, event: impl FnOnce() -> Event) -> Vec<Line> {
        let mut model = watch.model.lock().unwrap_or_else(PoisonError::into_inner);
        let told = model.take(&event(), &watch.window);
        let waits = model.waits(Vcpu(vcpu));
        if let Model::Trace(trace) = &*model {
            watch.is_armed.store(trace.is_armed(), Ordering::Relaxed);
        }
        let told = told.unwrap_or_else(|error| {
            vec![Line::Failed { failed: format!("keep what was observed: {error}") }]
        });
        if told.iter().any(|line| matches!(line, Line::Cut { .. })) {
            // Without power nothing becomes durable: until QEMU has ended, other CPUs wait here.
            std::mem::forget(model);
        } else {
            drop(model);
        }
        self.note_waits(vcpu, waits);
        told
    }

    fn note_waits(&self, vcpu: u32, waits: bool) {
        let bit = 1 << (vcpu & 63);
        let before = if waits {
            self.waiting.fetch_or(bit, Ordering::Relaxed)
        } else {
            self.waiting.fetch_and(!bit, Ordering::Relaxed)
        };
        if (before & bit != 0) != waits {
            qemu::set(self.waits, vcpu, u64::from(waits));
        }
    }
}

/// Where and how a CPU has stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stored {
    pub(crate) pc: Pc,
    /// The virtual address.
    pub(crate) address: u64,
    pub(crate) nontemporal: bool,
}

impl Watch {
    fn begin(options: &Options) -> Result<Option<Self>, String> {
        let rules = options.rules;
        let (window, model) = match &options.mode {
            Mode::Count => return Ok(None),
            Mode::Diff { place, durable, cuts } => {
                let window = Window::map(place)?;
                let cuts = cuts.as_deref().map(Cuts::map).transpose()?;
                let diff = Diff::begin(&window, durable, cuts, rules);
                let diff = diff.map_err(|error| format!("write {}: {error}", durable.display()))?;
                (window, Model::Diff(diff))
            }
            Mode::Trace { place, traces, journal } => {
                let journal = journal.as_deref().map(Journal::open).transpose()?;
                let trace = Trace::begin(traces, rules, options.seed, journal);
                let trace = trace.map_err(|error| format!("make {}: {error}", traces.display()))?;
                (Window::map(place)?, Model::Trace(trace))
            }
        };
        let (is_trace, is_armed) = (matches!(model, Model::Trace(_)), AtomicBool::new(false));
        Ok(Some(Self { window, model: Mutex::new(model), is_trace, is_armed }))
    }

    /// Whether events count now: what is durable has to be known from the start, a trace begins
    /// at ARM.
    pub(crate) fn is_on(&self) -> bool {
        !self.is_trace || self.is_armed.load(Ordering::Relaxed)
    }
}
