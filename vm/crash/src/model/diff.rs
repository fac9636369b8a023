//! The diff model: what may survive, from flushes, fences and non-temporal stores alone (M15).
//!
//! It keeps the durable image. Ordinary stores are not told to it: a line is dirty if the live
//! bytes differ from the durable ones, whoever wrote them, a device included.

use std::collections::BTreeSet;
use std::ops::DerefMut;

use crate::event::{Dma, Event, Fence, FenceKind, Flush, FlushKind, Store, Vcpu};
use crate::line::{LINE, Line, LineBytes, Range, WORD, WORDS, WordWrite, split};
use crate::marker::Op;
use crate::model::live::Live;
use crate::model::pending::{Pending, Snapshot, copy_words};
use crate::rules::{DeviceWrites, Domain, Fences, Rules};
use crate::state::InFlight;

/// How much flushing there was, and how much of it for nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Work {
    /// Flushes.
    pub flushes: u64,
    /// Flushes of lines that were durable already, or flushed since they changed (M17).
    pub redundant_flushes: u64,
    /// Fences.
    pub fences: u64,
    /// Fences that completed nothing.
    pub idle_fences: u64,
}

/// A line that should be durable and is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Missing {
    /// Which line.
    pub line: Line,
    /// Whether it is flushed, and waits for a fence.
    pub is_pending: bool,
}

/// The model; `I` holds the durable image.
#[derive(Debug)]
pub struct DiffModel<I = Vec<u8>> {
    rules: Rules,
    persisted: I,
    pending: Pending,
    order: u64,
    work: Work,
}

impl<I: DerefMut<Target = [u8]>> DiffModel<I> {
    /// Starts from an image that is durable as it stands; it is whole lines.
    pub fn new(persisted: I, rules: Rules) -> Self {
        let (pending, work) = (Pending::default(), Work::default());
        Self { rules, persisted, pending, order: 0, work }
    }

    /// What is durable.
    pub fn persisted(&self) -> &[u8] {
        &self.persisted
    }

    /// How much flushing there was.
    pub fn work(&self) -> Work {
        self.work
    }

    /// Takes an event in; ordinary stores and other markers than ARM are none of its business.
    pub fn apply<L: Live + ?Sized>(&mut self, event: &Event, live: &L) {
        match event {
            Event::Store(store) if store.nontemporal => self.nontemporal(store),
            Event::Flush(flush) => self.flush(flush),
            Event::Fence(fence) => {
                self.fence(fence);
                if fence.kind == FenceKind::Wbinvd {
                    self.write_back(live);
                }
            }
            Event::Dma(dma) => self.dma(dma, live),
            Event::Marker(marker) if marker.op == Op::Arm => self.write_back(live),
            Event::Store(_) | Event::Marker(_) => {}
        }
    }

    /// A CPU flushes a line (M8, M11). A line outside the NVDIMM is ignored.
    pub fn flush(&mut self, flush: &Flush) {
        if !self.holds(flush.line) {
            return;
        }
        self.work.flushes += 1;
        let others = self.words_of_others(flush);
        let pending = Snapshot {
            vcpu: flush.vcpu,
            words: !others,
            bytes: flush.live,
            context: flush.context,
            order: self.next(),
            nontemporal: false,
        };
        self.work.redundant_flushes += u64::from(self.is_redundant(flush, &pending));
        if flush.kind == FlushKind::Clflush {
            self.commit_stores(flush);
            self.commit(flush.line, &pending);
        } else if flush.live != self.persisted[flush.line.span()]
            // A line that is again as it is durable: what was flushed in between is superseded.
            || !self.pending.of(flush.line).is_empty()
        {
            self.take_stores(flush, others);
            self.pending.add(flush.line, pending);
        }
    }

    /// A CPU stores past the caches (M5).
    pub fn nontemporal(&mut self, store: &Store) {
        if self.rules.domain == Domain::Eadr {
            return;
        }
        for (line, write) in split(store.offset, store.bytes.as_slice()) {
            if self.holds(line) {
                let order = self.next();
                let bytes = self.newest(store.vcpu, line, &write);
                let (vcpu, words, context) = (store.vcpu, 1 << write.word, store.context);
                let stored = Snapshot { vcpu, words, bytes, context, order, nontemporal: true };
                self.pending.add_stored(line, stored);
            }
        }
    }

    /// A CPU waits (M9, M10). For `wbinvd` call [`Self::write_back`] as well.
    pub fn fence(&mut self, fence: &Fence) {
        self.work.fences += 1;
        let strict = self.rules.fences == Fences::Strict;
        let done = self.pending.close(fence.vcpu, strict.then_some(fence.context));
        self.work.idle_fences += u64::from(done.is_empty());
        for (line, snapshots) in done {
            for one in snapshots {
                self.commit(line, &one);
            }
        }
    }

    /// Everything becomes durable (M12; when the watch begins).
    pub fn write_back<L: Live + ?Sized>(&mut self, live: &L) {
        let mut from = Line(0);
        while let Some(line) = live.next_difference(&self.persisted, from) {
            let bytes = live.line(line);
            self.persisted[line.span()].copy_from_slice(&bytes);
            from = Line(line.0 + 1);
        }
        self.pending = Pending::default();
    }

    /// A device wrote: under `dma=persist` its lines are durable (M6).
    pub fn dma<L: Live + ?Sized>(&mut self, dma: &Dma, live: &L) {
        if self.rules.dma == DeviceWrites::Cache {
            return;
        }
        let range = Range { offset: dma.offset, len: dma.bytes.len() as u64 };
        for (line, _) in range.parts() {
            if self.holds(line) {
                self.persisted[line.span()].copy_from_slice(&live.line(line));
                self.pending.take(line, |_| true);
            }
        }
    }

    /// The lines in flight, ascending, with their possible values.
    pub fn in_flight<L: Live + ?Sized>(&self, live: &L) -> Vec<InFlight> {
        let mut found = Vec::new();
        if self.rules.domain == Domain::Eadr {
            return found;
        }
        let mut pending: BTreeSet<Line> = self.pending.lines().collect();
        let mut from = Line(0);
        while let Some(line) = live.next_difference(&self.persisted, from) {
            pending.remove(&line);
            found.push(self.line_in_flight(line, live.line(line)));
            from = Line(line.0 + 1);
        }
        // Live as durable, yet a snapshot in between may be what survives.
        for line in pending {
            let in_flight = self.line_in_flight(line, live.line(line));
            if in_flight.values.len() > 1 {
                found.push(in_flight);
            }
        }
        found.sort_by_key(|in_flight| in_flight.line);
        found
    }

    /// What of these ranges is not durable; nothing if all is.
    pub fn missing<L: Live + ?Sized>(&self, ranges: &[Range], live: &L) -> Vec<Missing> {
        if self.rules.domain == Domain::Eadr {
            return Vec::new();
        }
        let parts = ranges.iter().flat_map(|range| range.parts());
        let parts = parts.filter(|(line, _)| self.holds(*line));
        let mut missing: Vec<_> = parts
            .filter_map(|(line, part)| {
                let now = live.line(line);
                let differs = now[part.clone()] != self.persisted[line.span()][part];
                differs.then(|| Missing { line, is_pending: self.covers(line, &now) })
            })
            .collect();
        missing.dedup_by_key(|missing| missing.line);
        missing
    }

    fn line_in_flight(&self, line: Line, now: LineBytes) -> InFlight {
        let pending = self.pending.of(line);
        let durable = line.of(&self.persisted);
        let mut values = vec![durable];
        for one in pending.iter().filter(|one| !one.nontemporal) {
            let mut value = durable;
            copy_words(&mut value, &one.bytes, one.words);
            values.push(value);
        }
        let words = pending.iter().filter(|one| one.nontemporal);
        let (words, stored) = words.fold((0, durable), |(words, mut bytes), one| {
            copy_words(&mut bytes, &one.bytes, one.words);
            (words | one.words, bytes)
        });
        for subset in 1..=u8::MAX {
            if words != 0 && subset & !words == 0 {
                let mut value = durable;
                copy_words(&mut value, &stored, subset);
                values.push(value);
            }
        }
        InFlight::new(line, values, now, self.covers(line, &now))
    }

    /// Whether what is pending of a line is all together what the line holds.
    fn covers(&self, line: Line, now: &LineBytes) -> bool {
        let mut value = line.of(&self.persisted);
        for one in self.pending.of(line) {
            copy_words(&mut value, &one.bytes, one.words);
        }
        value == *now
    }

    /// Makes a snapshot durable, unless something newer is (M14), and with it what is older.
    fn commit(&mut self, line: Line, done: &Snapshot) {
        let durable = &mut self.persisted[line.span()];
        copy_words(durable.try_into().expect("a span is a line"), &done.bytes, done.words);
        self.pending.supersede(line, done);
    }

    /// Makes durable what this CPU has flushed of the line or stored to it past the caches (M8).
    fn commit_stores(&mut self, flush: &Flush) {
        for one in self.pending.take(flush.line, |one| one.vcpu == flush.vcpu) {
            self.commit(flush.line, &one);
        }
    }

    /// Flushes what this CPU stored past the caches to words that another CPU stored to after it.
    fn take_stores(&mut self, flush: &Flush, words: u8) {
        // A fence of its own context takes a store anyway.
        let is_taken = |one: &&Snapshot| {
            let is_mine = one.nontemporal && one.vcpu == flush.vcpu;
            is_mine && one.words & words != 0 && one.context != flush.context
        };
        let here = self.pending.of(flush.line);
        let taken: Vec<_> = here.iter().filter(is_taken).copied().collect();
        for one in taken {
            let taken = Snapshot { context: flush.context, words: one.words & words, ..one };
            self.pending.add(flush.line, taken);
        }
    }

    /// The words of a line that other CPUs stored past the caches and that still hold that (M8).
    fn words_of_others(&self, flush: &Flush) -> u8 {
        let others = self.pending.of(flush.line).iter();
        let others = others.filter(|one| one.nontemporal && one.vcpu != flush.vcpu);
        let mut words = 0;
        for one in others {
            for word in (0..WORDS).filter(|word| one.words >> word & 1 == 1) {
                let span = word * WORD..(word + 1) * WORD;
                words |= u8::from(flush.live[span.clone()] == one.bytes[span]) << word;
            }
        }
        words
    }

    /// The line with a write to one of its words, over what this CPU last stored there.
    fn newest(&self, vcpu: Vcpu, line: Line, write: &WordWrite) -> LineBytes {
        let mut here = self.pending.of(line).iter();
        let newest = here.rfind(|one| one.vcpu == vcpu && one.words >> write.word & 1 == 1);
        let mut bytes = newest.map_or_else(|| line.of(&self.persisted), |one| one.bytes);
        write.apply(&mut bytes);
        bytes
    }

    fn is_redundant(&self, flush: &Flush, pending: &Snapshot) -> bool {
        let mut here = self.pending.of(flush.line).iter();
        let last = here.rfind(|one| one.vcpu == flush.vcpu && one.words == pending.words);
        match last.filter(|one| one.context == flush.context) {
            Some(last) => last.bytes == flush.live && flush.kind != FlushKind::Clflush,
            None => flush.live == self.persisted[flush.line.span()],
        }
    }

    fn holds(&self, line: Line) -> bool {
        line.0 < (self.persisted.len() / LINE) as u64
    }

    fn next(&mut self) -> u64 {
        self.order += 1;
        self.order
    }
}
