//! The trace model: what may survive, from every store (M15).

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Context, Dma, Event, Fence, FenceKind, Flush, FlushKind, Pc, Store, Vcpu};
use crate::line::{LINE, Line, LineBytes, Offset, Range, split};
use crate::marker::Op;
use crate::model::history::{History, Write, WriteKind};
use crate::rules::{DeviceWrites, Domain, Fences, Rules};
use crate::state::InFlight;

/// What of an event happens between two crash points (M6, M18).
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// The whole event.
    Whole(&'a Event),
    /// What a device wrote to one line.
    DeviceLine(Offset, &'a [u8]),
}

/// The steps of an event: one, or for a device write one for each line.
pub fn steps(event: &Event) -> Vec<Step<'_>> {
    let Event::Dma(Dma { offset, bytes, .. }) = event else { return vec![Step::Whole(event)] };
    let mut rest = bytes.as_slice();
    let parts = Range { offset: *offset, len: bytes.len() as u64 }.parts();
    let step = |(line, part): (Line, std::ops::Range<usize>)| {
        let (here, after) = rest.split_at(part.len());
        rest = after;
        Step::DeviceLine(Offset(line.start().0 + part.start as u64), here)
    };
    parts.map(step).collect()
}

/// A flush that waits for its fence.
#[derive(Clone, Copy, Debug)]
struct Pending {
    line: Line,
    event: u64,
    context: Context,
}

/// Flushing for nothing, by instruction (M17).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// All flushes.
    pub flushes: u64,
    /// All fences.
    pub fences: u64,
    /// Flushes of lines without anything new.
    pub redundant_flushes: BTreeMap<Pc, u64>,
    /// Fences that completed nothing.
    pub idle_fences: BTreeMap<Pc, u64>,
}

/// The model.
#[derive(Debug)]
pub struct TraceModel {
    rules: Rules,
    durable: Vec<u8>,
    lines: BTreeMap<Line, History>,
    pending: BTreeMap<Vcpu, Vec<Pending>>,
    /// The lines to which a CPU stored past the caches since its last fence.
    nontemporal: BTreeMap<Vcpu, BTreeSet<Line>>,
    event: u64,
    work: Work,
}

impl TraceModel {
    /// Starts from an image that is durable as it stands; it is whole lines.
    pub fn new(image: Vec<u8>, rules: Rules) -> Self {
        Self {
            rules,
            durable: image,
            lines: BTreeMap::new(),
            pending: BTreeMap::new(),
            nontemporal: BTreeMap::new(),
            event: 0,
            work: Work::default(),
        }
    }

    /// What is durable.
    pub fn durable(&self) -> &[u8] {
        &self.durable
    }

    /// How much flushing there was.
    pub fn work(&self) -> &Work {
        &self.work
    }

    /// The writes in flight of a line.
    pub fn history(&self, line: Line) -> Option<&History> {
        self.lines.get(&line)
    }

    /// The lines with writes in flight, ascending.
    pub fn lines(&self) -> impl Iterator<Item = (Line, &History)> {
        self.lines.iter().map(|(line, history)| (*line, history))
    }

    /// A line with its possible values; nothing if it is durable. The second is whether M20
    /// bounded them.
    pub fn in_flight(&self, line: Line) -> Option<(InFlight, bool)> {
        let history = self.lines.get(&line)?;
        let values = history.values();
        let all = *history.live();
        let in_flight = InFlight::new(line, values.values, all, history.is_pending());
        Some((in_flight, values.is_bounded))
    }

    /// Carries out all steps of the event with this number.
    pub fn play(&mut self, number: u64, event: &Event) {
        for step in steps(event) {
            self.apply(number, step);
        }
    }

    /// Carries out a step of the event with this number (they ascend); which lines may be other
    /// than before. What lies outside the NVDIMM is ignored.
    pub fn apply(&mut self, number: u64, step: Step<'_>) -> Vec<Line> {
        self.event = number;
        match step {
            Step::Whole(Event::Store(store)) => self.store(store),
            Step::Whole(Event::Flush(flush)) => self.flush(flush),
            Step::Whole(Event::Fence(fence)) => self.fence(fence),
            Step::Whole(Event::Marker(marker)) if marker.op == Op::Arm => self.settle(),
            Step::Whole(Event::Marker(_)) => Vec::new(),
            Step::Whole(event @ Event::Dma(_)) => {
                let apply = |step| self.apply(number, step);
                steps(event).into_iter().flat_map(apply).collect()
            }
            Step::DeviceLine(offset, bytes) => {
                let written = self.device_write(offset, bytes);
                let persisted = self.arrive(offset.line());
                if written || persisted { vec![offset.line()] } else { Vec::new() }
            }
        }
    }

    /// Whether the bytes of these ranges are durable whatever survives; the lines that are not.
    pub fn missing(&self, ranges: &[Range]) -> Vec<Line> {
        let parts = ranges.iter().flat_map(|range| range.parts());
        let differs = |(line, part): (Line, std::ops::Range<usize>)| {
            let (in_flight, _) = self.in_flight(line)?;
            let first = &in_flight.values[0][part.clone()];
            in_flight.values.iter().any(|value| value[part.clone()] != *first).then_some(line)
        };
        let mut missing: Vec<_> = parts.filter_map(differs).collect();
        missing.dedup();
        missing
    }

    fn store(&mut self, store: &Store) -> Vec<Line> {
        let kind = if store.nontemporal { WriteKind::Nontemporal } else { WriteKind::Cached };
        let mut changed = Vec::new();
        for (line, what) in split(store.offset, store.bytes.as_slice()) {
            if !self.holds(line) {
                continue;
            }
            let (vcpu, context, event) = (store.vcpu, store.context, self.event);
            self.push(line, Write { what, kind, vcpu, context, event, flushed: false });
            if store.nontemporal {
                self.nontemporal.entry(vcpu).or_default().insert(line);
            }
            if changed.last() != Some(&line) {
                changed.push(line);
            }
        }
        changed
    }

    /// Adds a write; under `eadr` what the caches hold is durable (M13).
    fn push(&mut self, line: Line, write: Write) {
        let durable = &self.durable;
        let history = self.lines.entry(line).or_insert_with(|| History::new(line.of(durable)));
        history.push(write);
        if self.rules.domain == Domain::Eadr && write.kind != WriteKind::Nontemporal {
            self.commit(line, |history| {
                history.commit(|write| write.kind != WriteKind::Nontemporal)
            });
        }
    }

    /// What a device wrote to one line (M6); bytes that are there already are no write (M17).
    fn device_write(&mut self, offset: Offset, bytes: &[u8]) -> bool {
        let line = offset.line();
        if !self.holds(line) {
            return false;
        }
        let mut now = self.live(line);
        let mut changed = false;
        for (_, what) in split(offset, bytes) {
            let before = now;
            what.apply(&mut now);
            if before != now {
                let (vcpu, context) = (Vcpu(0), Context::default());
                let (kind, event) = (WriteKind::Device, self.event);
                self.push(line, Write { what, kind, vcpu, context, event, flushed: false });
                changed = true;
            }
        }
        changed
    }

    /// A device write has arrived: under `dma=persist` its line is durable (M6).
    fn arrive(&mut self, line: Line) -> bool {
        let is_durable = self.rules.dma == DeviceWrites::Persist;
        is_durable && self.commit(line, |history| history.commit(|_| true))
    }

    fn flush(&mut self, flush: &Flush) -> Vec<Line> {
        let line = flush.line;
        if !self.holds(line) {
            return Vec::new();
        }
        self.work.flushes += 1;
        // M16; one event earlier than the flush, which is to take it.
        let event = self.event;
        self.event = event.saturating_sub(1);
        let mut changed = self.device_write(line.start(), &flush.live);
        if changed {
            self.arrive(line);
        }
        self.event = event;
        let news = self.lines.get_mut(&line).is_some_and(|history| history.flush(flush.vcpu));
        if !news {
            *self.work.redundant_flushes.entry(flush.pc).or_default() += 1;
        }
        if flush.kind == FlushKind::Clflush {
            let vcpu = flush.vcpu;
            changed |= self.commit(line, |history| history.commit_flush(event, vcpu));
        } else if self.lines.contains_key(&line) {
            let pending = Pending { line, event, context: flush.context };
            self.pending.entry(flush.vcpu).or_default().push(pending);
        }
        if changed { vec![line] } else { Vec::new() }
    }

    fn fence(&mut self, fence: &Fence) -> Vec<Line> {
        self.work.fences += 1;
        let (vcpu, context) = (fence.vcpu, fence.context);
        let strict = self.rules.fences == Fences::Strict;
        let counts = |of: Context| !strict || of == context;
        let mut changed = BTreeSet::new();
        if let Some(mine) = self.pending.get_mut(&vcpu) {
            let (done, open) =
                std::mem::take(mine).into_iter().partition(|flush| counts(flush.context));
            *mine = open;
            let done: Vec<Pending> = done;
            for Pending { line, event, .. } in done {
                if self.commit(line, |history| history.commit_flush(event, vcpu)) {
                    changed.insert(line);
                }
            }
        }
        let is_mine = |write: &Write| {
            write.kind == WriteKind::Nontemporal && write.vcpu == vcpu && counts(write.context)
        };
        for line in self.nontemporal.remove(&vcpu).unwrap_or_default() {
            if self.commit(line, |history| history.commit(is_mine)) {
                changed.insert(line);
            }
            let stays = |write: &Write| write.kind == WriteKind::Nontemporal && write.vcpu == vcpu;
            if self.lines.get(&line).is_some_and(|history| history.writes().iter().any(stays)) {
                self.nontemporal.entry(vcpu).or_default().insert(line);
            }
        }
        if fence.kind == FenceKind::Wbinvd {
            changed.extend(self.write_back(vcpu));
        }
        if changed.is_empty() {
            *self.work.idle_fences.entry(fence.pc).or_default() += 1;
        }
        changed.into_iter().collect()
    }

    /// Every line becomes durable, except other CPUs' non-temporal stores (M12).
    fn write_back(&mut self, vcpu: Vcpu) -> Vec<Line> {
        let lines: Vec<_> = self.lines.keys().copied().collect();
        for line in &lines {
            self.commit(*line, |history| history.commit_flush(u64::MAX, vcpu));
        }
        lines
    }

    /// What was written before the watch begins is durable.
    fn settle(&mut self) -> Vec<Line> {
        self.pending.clear();
        self.nontemporal.clear();
        let lines: Vec<_> = self.lines.keys().copied().collect();
        for line in &lines {
            self.commit(*line, |history| history.commit(|_| true));
        }
        lines
    }

    /// Makes part of a line durable; whether there was such a part.
    fn commit(&mut self, line: Line, commit: impl FnOnce(&mut History) -> bool) -> bool {
        let Some(history) = self.lines.get_mut(&line) else { return false };
        let changed = commit(history);
        if changed {
            self.durable[line.span()].copy_from_slice(history.durable());
        }
        if history.writes().is_empty() {
            self.lines.remove(&line);
        }
        changed
    }

    /// What the CPUs see of a line.
    pub fn live(&self, line: Line) -> LineBytes {
        self.lines.get(&line).map_or_else(|| line.of(&self.durable), |history| *history.live())
    }

    fn holds(&self, line: Line) -> bool {
        line.0 < (self.durable.len() / LINE) as u64
    }
}
