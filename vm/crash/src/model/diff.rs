//! The diff model: what may survive, from flushes, fences and non-temporal stores alone (M15).
//!
//! It keeps the durable image. Ordinary stores are not told to it: a line is dirty if the live
//! bytes differ from the durable ones, whoever wrote them, a device included.

use std::collections::BTreeMap;
use std::ops::DerefMut;

use crate::event::{Context, Dma, Event, Fence, FenceKind, Flush, FlushKind, Store, Vcpu};
use crate::line::{LINE, Line, LineBytes, Range, WORD, WORDS, WordWrite, split};
use crate::marker::Op;
use crate::model::live::Live;
use crate::rules::{DeviceWrites, Domain, Fences, Rules};
use crate::state::InFlight;

/// Above this many pending flushes of one CPU, older ones of the same line are forgotten.
const MANY: usize = 4096;

/// What a CPU has flushed, or stored past the caches, and not fenced.
#[derive(Clone, Copy, Debug)]
struct Pending {
    line: Line,
    /// Which words this is about, the lowest bit for the first.
    words: u8,
    bytes: LineBytes,
    context: Context,
    order: u64,
    nontemporal: bool,
}

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
    pending: BTreeMap<Vcpu, Vec<Pending>>,
    order: u64,
    work: Work,
}

impl<I: DerefMut<Target = [u8]>> DiffModel<I> {
    /// Starts from an image that is durable as it stands; it is whole lines.
    pub fn new(persisted: I, rules: Rules) -> Self {
        let (pending, work) = (BTreeMap::new(), Work::default());
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
        let pending = Pending {
            line: flush.line,
            words: !others,
            bytes: flush.live,
            context: flush.context,
            order: self.next(),
            nontemporal: false,
        };
        self.work.redundant_flushes += u64::from(self.is_redundant(flush, &pending));
        if flush.kind == FlushKind::Clflush {
            self.commit_stores(flush);
            self.commit(&pending);
        } else if flush.live != self.persisted[flush.line.span()] {
            self.take_stores(flush, others);
            self.add(flush.vcpu, pending);
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
                let (words, context) = (1 << write.word, store.context);
                let pending = Pending { line, words, bytes, context, order, nontemporal: true };
                self.add(store.vcpu, pending);
            }
        }
    }

    /// A CPU waits (M9, M10). For `wbinvd` call [`Self::write_back`] as well.
    pub fn fence(&mut self, fence: &Fence) {
        self.work.fences += 1;
        let Some(mine) = self.pending.get_mut(&fence.vcpu) else {
            self.work.idle_fences += 1;
            return;
        };
        let strict = self.rules.fences == Fences::Strict;
        let counts = |pending: &Pending| !strict || pending.context == fence.context;
        let (done, open) = std::mem::take(mine).into_iter().partition::<Vec<_>, _>(counts);
        *mine = open;
        self.work.idle_fences += u64::from(done.is_empty());
        for pending in &done {
            self.commit(pending);
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
        self.pending.values_mut().for_each(Vec::clear);
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
                self.pending.values_mut().for_each(|all| all.retain(|one| one.line != line));
            }
        }
    }

    /// The lines in flight, ascending, with their possible values.
    pub fn in_flight<L: Live + ?Sized>(&self, live: &L) -> Vec<InFlight> {
        let mut found = Vec::new();
        if self.rules.domain == Domain::Eadr {
            return found;
        }
        let mut pending: BTreeMap<Line, Vec<&Pending>> = BTreeMap::new();
        for one in self.pending.values().flatten() {
            pending.entry(one.line).or_default().push(one);
        }
        let mut from = Line(0);
        while let Some(line) = live.next_difference(&self.persisted, from) {
            let here = pending.remove(&line).unwrap_or_default();
            found.push(self.line_in_flight(line, here, live.line(line)));
            from = Line(line.0 + 1);
        }
        // Live as durable, yet a snapshot in between may be what survives.
        for (line, here) in pending {
            let in_flight = self.line_in_flight(line, here, live.line(line));
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
                let is_pending = || self.covers(line, &now, &self.pending_of(line));
                differs.then(|| Missing { line, is_pending: is_pending() })
            })
            .collect();
        missing.dedup_by_key(|missing| missing.line);
        missing
    }

    fn line_in_flight(&self, line: Line, mut pending: Vec<&Pending>, now: LineBytes) -> InFlight {
        pending.sort_by_key(|one| one.order);
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
        InFlight::new(line, values, now, self.covers(line, &now, &pending))
    }

    /// Whether what is pending of a line, oldest first, is all together what the line holds.
    fn covers(&self, line: Line, now: &LineBytes, pending: &[&Pending]) -> bool {
        let mut value = line.of(&self.persisted);
        for one in pending {
            copy_words(&mut value, &one.bytes, one.words);
        }
        value == *now
    }

    /// What is pending of a line, oldest first.
    fn pending_of(&self, line: Line) -> Vec<&Pending> {
        let all = self.pending.values().flatten().filter(|one| one.line == line);
        let mut all: Vec<_> = all.collect();
        all.sort_by_key(|one| one.order);
        all
    }

    /// Makes a snapshot durable, unless something newer is (M14), and with it what is older.
    fn commit(&mut self, done: &Pending) {
        let line = &mut self.persisted[done.line.span()];
        copy_words(line.try_into().expect("a span is a line"), &done.bytes, done.words);
        for others in self.pending.values_mut().filter(|others| !others.is_empty()) {
            for older in others.iter_mut() {
                if older.line == done.line && older.order < done.order {
                    older.words &= !done.words;
                }
            }
            others.retain(|one| one.words != 0);
        }
    }

    /// Makes durable what this CPU stored to the line past the caches (M8).
    fn commit_stores(&mut self, flush: &Flush) {
        let Some(mine) = self.pending.get_mut(&flush.vcpu) else { return };
        let is_here = |one: &Pending| one.line == flush.line;
        let (here, open) = std::mem::take(mine).into_iter().partition::<Vec<_>, _>(is_here);
        *mine = open;
        for one in here.iter().filter(|one| one.nontemporal) {
            self.commit(one);
        }
    }

    /// Flushes what this CPU stored past the caches to words that another CPU stored to after it.
    fn take_stores(&mut self, flush: &Flush, words: u8) {
        let Some(mine) = self.pending.get_mut(&flush.vcpu).filter(|_| words != 0) else { return };
        let is_here = |one: &&Pending| one.line == flush.line && one.words & words != 0;
        let taken: Vec<_> = mine.iter().filter(is_here).filter(|one| one.nontemporal).collect();
        let taken: Vec<_> =
            taken.into_iter().map(|one| Pending { context: flush.context, ..*one }).collect();
        mine.extend(taken);
    }

    fn add(&mut self, vcpu: Vcpu, pending: Pending) {
        let mine = self.pending.entry(vcpu).or_default();
        if mine.len() >= MANY {
            forget_older(mine);
        }
        mine.push(pending);
    }

    /// The words of a line that other CPUs stored past the caches and that still hold that (M8).
    fn words_of_others(&self, flush: &Flush) -> u8 {
        let others = self.pending.iter().filter(|(vcpu, _)| **vcpu != flush.vcpu);
        let stores = others.flat_map(|(_, all)| all);
        let stores = stores.filter(|one| one.nontemporal && one.line == flush.line);
        let words = stores.map(|one| {
            let word = one.words.trailing_zeros() as usize * WORD;
            if flush.live[word..][..WORD] == one.bytes[word..][..WORD] { one.words } else { 0 }
        });
        words.fold(0, |all, words| all | words)
    }

    /// The line with a write to one of its words, over what this CPU last stored there.
    fn newest(&self, vcpu: Vcpu, line: Line, write: &WordWrite) -> LineBytes {
        let mine = self.pending.get(&vcpu).into_iter().flatten();
        let mut mine = mine.filter(|one| one.line == line && one.words >> write.word & 1 == 1);
        let mut bytes = mine.next_back().map_or_else(|| line.of(&self.persisted), |one| one.bytes);
        write.apply(&mut bytes);
        bytes
    }

    fn is_redundant(&self, flush: &Flush, pending: &Pending) -> bool {
        let mine = self.pending.get(&flush.vcpu).into_iter().flatten();
        let same = |one: &&Pending| one.line == flush.line && one.words == pending.words;
        let last = mine.rev().find(same).filter(|one| one.context == flush.context);
        match last {
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

fn copy_words(to: &mut LineBytes, from: &LineBytes, words: u8) {
    for word in (0..WORDS).filter(|word| words >> word & 1 == 1) {
        let span = word * WORD..(word + 1) * WORD;
        to[span.clone()].copy_from_slice(&from[span]);
    }
}

/// Of several snapshots of the same words of a line for the same context the newest stays.
fn forget_older(pending: &mut Vec<Pending>) {
    let mut seen = std::collections::HashSet::new();
    pending.reverse();
    pending.retain(|one| seen.insert((one.line, one.words, one.context, one.nontemporal)));
    pending.reverse();
}
