//! Histories: the writes to one line that are not durable yet, and what of them may survive.

use crate::event::{Context, Vcpu};
use crate::line::{LineBytes, WORDS, WordWrite};

/// The most values of one line (M20).
pub const MOST_VALUES: usize = 1024;
/// Of a line's cached prefixes, how many of the first and of the last are kept (M20).
const ENDS: usize = 256;

/// How a write reached the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WriteKind {
    /// Through a CPU's cache (M4).
    Cached,
    /// Past the caches (M5).
    Nontemporal,
    /// From a device, into the cache (M6).
    Device,
}

/// A write to one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    /// What it wrote.
    pub what: WordWrite,
    /// How.
    pub kind: WriteKind,
    /// By which CPU; 0 for a device.
    pub vcpu: Vcpu,
    /// On whose behalf.
    pub context: Context,
    /// The number of the event that wrote.
    pub event: u64,
    /// Whether a flush took it (M8).
    pub flushed: bool,
}

/// The writes to a line since it was durable, in order.
#[derive(Clone, Debug)]
pub struct History {
    durable: LineBytes,
    live: LineBytes,
    writes: Vec<Write>,
}

/// The values that a line may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    /// The values, the durable one first; some may be equal.
    pub values: Vec<LineBytes>,
    /// Whether there are more than M20 allows.
    pub is_bounded: bool,
}

impl History {
    /// A line that is durable.
    pub fn new(durable: LineBytes) -> Self {
        Self { durable, live: durable, writes: Vec::new() }
    }

    /// What is durable of the line.
    pub fn durable(&self) -> &LineBytes {
        &self.durable
    }

    /// What the CPUs see.
    pub fn live(&self) -> &LineBytes {
        &self.live
    }

    /// The writes that are not durable.
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// Adds a write.
    pub fn push(&mut self, write: Write) {
        write.what.apply(&mut self.live);
        self.writes.push(write);
    }

    /// Marks what a flush by this CPU takes (M8); whether there was anything new.
    pub fn flush(&mut self, vcpu: Vcpu) -> bool {
        let mut news = false;
        for write in &mut self.writes {
            if is_taken(write, vcpu) {
                news |= !write.flushed;
                write.flushed = true;
            }
        }
        news
    }

    /// Makes durable what this CPU's flush took of the first `count` writes (M8, M11).
    pub fn commit_flush(&mut self, event: u64, vcpu: Vcpu) -> bool {
        self.commit(|write| write.event < event && is_taken(write, vcpu))
    }

    /// Makes durable the chosen writes, and what M3 and M4 tie to them (M14); whether there
    /// were any.
    pub fn commit(&mut self, chosen: impl Fn(&Write) -> bool) -> bool {
        let mut words = 0_u8;
        let mut cached = false;
        let mut stays = vec![true; self.writes.len()];
        for (at, write) in self.writes.iter().enumerate().rev() {
            let is_cached = write.kind != WriteKind::Nontemporal;
            let tied = words >> write.what.word & 1 == 1 || (cached && is_cached);
            if tied || chosen(write) {
                words |= 1 << write.what.word;
                cached |= is_cached;
                stays[at] = false;
            }
        }
        for (write, _) in self.writes.iter().zip(&stays).filter(|(_, stays)| !**stays) {
            write.what.apply(&mut self.durable);
        }
        let mut stays = stays.into_iter();
        let before = self.writes.len();
        self.writes.retain(|_| stays.next().unwrap_or(true));
        self.writes.len() != before
    }

    /// Whether all that is in flight waits for a fence only.
    pub fn is_pending(&self) -> bool {
        self.writes.iter().all(|write| write.flushed || write.kind == WriteKind::Nontemporal)
    }

    /// Everything that the line may hold after a loss of power (M3, M4, M5, M20).
    pub fn values(&self) -> Values {
        if self.writes.iter().all(|write| write.kind != WriteKind::Nontemporal) {
            return self.prefixes();
        }
        let mut values = Values { values: vec![self.durable], is_bounded: false };
        let cached =
            |(at, write): (usize, &Write)| (write.kind != WriteKind::Nontemporal).then_some(at);
        let cuts: Vec<_> = self.writes.iter().enumerate().filter_map(cached).collect();
        for survivors in 0..=cuts.len() {
            if values.values.len() >= MOST_VALUES {
                values.is_bounded = true;
                break;
            }
            self.subsets(&cuts, survivors, &mut values);
        }
        values
    }

    fn prefixes(&self) -> Values {
        let count = self.writes.len();
        let is_bounded = count > 2 * ENDS;
        let mut value = self.durable;
        let mut values = vec![value];
        for (at, write) in self.writes.iter().enumerate() {
            write.what.apply(&mut value);
            if at < ENDS || at + ENDS >= count {
                values.push(value);
            }
        }
        Values { values, is_bounded }
    }

    /// The values where of the cached writes (which stand at `cuts`) this many survive: each word
    /// holds a prefix of its own writes, no less and no more than these bring with them.
    fn subsets(&self, cuts: &[usize], survivors: usize, out: &mut Values) {
        let mut base = self.durable;
        let mut steps: [Vec<usize>; WORDS] = Default::default();
        // For each word, up to where its writes survive with the cached ones (M3).
        let mut tied = [0; WORDS];
        for cut in &cuts[..survivors] {
            tied[usize::from(self.writes[*cut].what.word)] = *cut + 1;
        }
        let mut closed = [false; WORDS];
        let end = cuts.get(survivors).copied().unwrap_or(usize::MAX);
        for (at, write) in self.writes.iter().enumerate() {
            let word = usize::from(write.what.word);
            if at < tied[word] {
                write.what.apply(&mut base);
            } else if write.kind != WriteKind::Nontemporal && at >= end {
                closed[word] = true;
            } else if !closed[word] {
                steps[word].push(at);
            }
        }
        let product = steps.iter().try_fold(1_usize, |product, steps| {
            product.checked_mul(steps.len() + 1).filter(|product| *product <= MOST_VALUES)
        });
        let room = MOST_VALUES.saturating_sub(out.values.len());
        match product {
            Some(product) if product <= room => {
                out.values.extend((0..product).map(|number| self.pick(base, &steps, number)));
            }
            _ => {
                out.is_bounded = true;
                self.few(base, &steps, &mut out.values);
            }
        }
    }

    /// The value with this number among all products of words' prefixes.
    fn pick(&self, mut value: LineBytes, steps: &[Vec<usize>], mut number: usize) -> LineBytes {
        for steps in steps {
            let taken = number % (steps.len() + 1);
            number /= steps.len() + 1;
            for at in &steps[..taken] {
                self.writes[*at].what.apply(&mut value);
            }
        }
        value
    }

    /// None, all, one word in, one word out (M20).
    fn few(&self, base: LineBytes, steps: &[Vec<usize>], out: &mut Vec<LineBytes>) {
        let with = |is_in: &dyn Fn(usize) -> bool| {
            let mut value = base;
            for (_, steps) in steps.iter().enumerate().filter(|(word, _)| is_in(*word)) {
                for at in steps {
                    self.writes[*at].what.apply(&mut value);
                }
            }
            value
        };
        out.extend([with(&|_| false), with(&|_| true)]);
        for word in (0..WORDS).filter(|word| !steps[*word].is_empty()) {
            out.extend([with(&|other| other == word), with(&|other| other != word)]);
        }
    }
}

/// Whether a flush by this CPU takes the write: all but other CPUs' non-temporal stores (M8).
fn is_taken(write: &Write, vcpu: Vcpu) -> bool {
    write.kind != WriteKind::Nontemporal || write.vcpu == vcpu
}
