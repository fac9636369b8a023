//! Pending: what CPUs have flushed of lines, or stored to them past the caches, and not fenced.
//!
//! Kept by line, because a CPU may flush a million lines before it waits.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::event::{Context, Vcpu};
use crate::line::{Line, LineBytes, WORD, WORDS};

/// Above this many snapshots of one line the older ones are forgotten (M20).
const MANY: usize = 1024;

/// A line, or some of its words, as a CPU flushed or stored it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Snapshot {
    pub(crate) vcpu: Vcpu,
    /// Which words this is about, the lowest bit for the first.
    pub(crate) words: u8,
    pub(crate) bytes: LineBytes,
    pub(crate) context: Context,
    pub(crate) order: u64,
    pub(crate) nontemporal: bool,
}

/// All snapshots that wait for a fence.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// Oldest first.
    lines: BTreeMap<Line, Vec<Snapshot>>,
    /// The lines of which a CPU has something pending, by context; some of them may have nothing
    /// any more.
    open: BTreeMap<Vcpu, BTreeMap<Context, BTreeSet<Line>>>,
}

impl Pending {
    /// The lines of which something is pending, ascending.
    pub(crate) fn lines(&self) -> impl Iterator<Item = Line> {
        self.lines.keys().copied()
    }

    /// What is pending of a line, oldest first.
    pub(crate) fn of(&self, line: Line) -> &[Snapshot] {
        self.lines.get(&line).map_or(&[], Vec::as_slice)
    }

    /// Adds a snapshot, unless the same one is there.
    pub(crate) fn add(&mut self, line: Line, added: Snapshot) {
        let open = self.open.entry(added.vcpu).or_default();
        open.entry(added.context).or_default().insert(line);
        let here = self.lines.entry(line).or_default();
        if here.len() >= MANY {
            forget_older(here);
        }
        // One that is taken over into another context stands behind its model.
        let at = here.partition_point(|one| one.order <= added.order);
        let mut same = here[..at].iter().rev().take_while(|one| one.order == added.order);
        if !same.any(|one| (one.vcpu, one.context) == (added.vcpu, added.context)) {
            here.insert(at, added);
        }
    }

    /// Adds a store past the caches. If it goes on where the one before it stopped they are one
    /// snapshot, for they survive word by word.
    pub(crate) fn add_stored(&mut self, line: Line, stored: Snapshot) {
        let last = self.lines.get_mut(&line).and_then(|here| here.last_mut());
        let is_same = |last: &&mut Snapshot| {
            last.nontemporal && (last.vcpu, last.context) == (stored.vcpu, stored.context)
        };
        match last.filter(is_same) {
            Some(last) => {
                copy_words(&mut last.bytes, &stored.bytes, stored.words);
                last.words |= stored.words;
                last.order = stored.order;
            }
            None => self.add(line, stored),
        }
    }

    /// Takes out what is pending of a line and of this kind, oldest first.
    pub(crate) fn take(&mut self, line: Line, is: impl Fn(&Snapshot) -> bool) -> Vec<Snapshot> {
        let Some(here) = self.lines.remove(&line) else { return Vec::new() };
        let (taken, stays) = here.into_iter().partition::<Vec<_>, _>(is);
        if !stays.is_empty() {
            self.lines.insert(line, stays);
        }
        taken
    }

    /// Takes out what a fence of this CPU completes, oldest first by line: of this context, or of
    /// all.
    pub(crate) fn close(
        &mut self,
        vcpu: Vcpu,
        context: Option<Context>,
    ) -> Vec<(Line, Vec<Snapshot>)> {
        let Some(mine) = self.open.get_mut(&vcpu) else { return Vec::new() };
        let lines = match context {
            Some(context) => mine.remove(&context).unwrap_or_default(),
            None => std::mem::take(mine).into_values().flatten().collect(),
        };
        let is_done = |one: &Snapshot| {
            one.vcpu == vcpu && context.is_none_or(|context| one.context == context)
        };
        let done = lines.into_iter().map(|line| (line, self.take(line, is_done)));
        done.filter(|(_, done)| !done.is_empty()).collect()
    }

    /// A snapshot became durable: what is older than it cannot any more.
    pub(crate) fn supersede(&mut self, line: Line, done: &Snapshot) {
        let Some(here) = self.lines.get_mut(&line) else { return };
        for older in here.iter_mut().filter(|older| older.order < done.order) {
            older.words &= !done.words;
        }
        here.retain(|one| one.words != 0);
        if here.is_empty() {
            self.lines.remove(&line);
        }
    }
}

/// Copies the chosen words of a line.
pub(crate) fn copy_words(to: &mut LineBytes, from: &LineBytes, words: u8) {
    for word in (0..WORDS).filter(|word| words >> word & 1 == 1) {
        let span = word * WORD..(word + 1) * WORD;
        to[span.clone()].copy_from_slice(&from[span]);
    }
}

/// Of several snapshots of the same words by the same CPU for the same context the newest stays.
fn forget_older(pending: &mut Vec<Snapshot>) {
    let mut seen = HashSet::new();
    pending.reverse();
    pending.retain(|one| seen.insert((one.vcpu, one.words, one.context, one.nontemporal)));
    pending.reverse();
}
