//! Recorded: a persistence domain that notes what happens, and the crash images that follow.
//!
//! The model, on which tests rely (a line is 64 bytes, a word eight):
//!
//! 1. A store changes one word of a line in the cache. Stores to a line reach memory in program
//!    order, so memory may hold any state that the line had, not a mixture.
//! 2. A line may reach memory at any time after a store, flushed or not.
//! 3. A drain makes the state that a line had at its last flush, or a later one, durable.
//! 4. Lines are independent of each other.

use std::{
    collections::BTreeMap,
    io,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    line::{LINE, cover},
    promise::Promise,
    region::{Granularity, Persist},
};
use crate::map::Mapping;

type Line = [u8; LINE];

/// What happened, in program order.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A line got new content.
    Stored(usize, Line),
    /// The write-back of a line began.
    Flushed(usize),
    /// Everything flushed before is durable.
    Drained,
    /// These bytes were promised to be durable.
    Promised(Promise, Range<usize>),
    /// The workload says so, e.g. that it acknowledged a record.
    Mark(u64),
}

/// Notes every event of a region. Clones are the same recorder.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    notes: Arc<Mutex<Notes>>,
}

#[derive(Debug)]
struct Notes {
    seen: Vec<u8>,
    events: Vec<Event>,
}

impl Recorder {
    /// A recorder of memory that holds `image` durably.
    pub(crate) fn new(image: &[u8]) -> Self {
        let notes = Notes { seen: image.to_vec(), events: Vec::new() };
        Self { notes: Arc::new(Mutex::new(notes)) }
    }

    /// Notes a mark.
    pub(crate) fn mark(&self, mark: u64) {
        self.notes().events.push(Event::Mark(mark));
    }

    /// All events so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.notes().events.clone()
    }

    /// Notes what was stored behind our back (by a NIC), anywhere.
    fn look(&self, mapping: &Mapping) {
        let memory = mapping.snapshot();
        let mut notes = self.notes();
        let Notes { seen, events } = &mut *notes;
        let lines = memory.chunks_exact(LINE).zip(seen.chunks_exact(LINE));
        let changed = lines.enumerate().filter(|(_, (now, before))| now != before);
        events
            .extend(changed.map(|(line, (now, _))| {
                Event::Stored(line, now.try_into().expect("a whole line"))
            }));
        *seen = memory;
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Persist for Recorder {
    fn granularity(&self) -> Granularity {
        Granularity::CacheLine
    }

    fn stored(&self, mapping: &Mapping, offset: usize) {
        let line = offset / LINE;
        let now = mapping.line(line * LINE);
        let mut notes = self.notes();
        notes.seen[line * LINE..][..LINE].copy_from_slice(&now);
        notes.events.push(Event::Stored(line, now));
    }

    fn flush(&self, mapping: &Mapping, lines: Range<usize>) {
        self.look(mapping);
        self.notes().events.extend(lines.map(Event::Flushed));
    }

    fn drain(&self, mapping: &Mapping) -> io::Result<()> {
        self.look(mapping);
        self.notes().events.push(Event::Drained);
        Ok(())
    }

    fn promised(&self, mapping: &Mapping, promise: Promise, range: Range<usize>) {
        self.look(mapping);
        self.notes().events.push(Event::Promised(promise, range));
    }
}

/// A point of a recording at which the power may be cut.
#[derive(Debug, Clone)]
pub(crate) struct CrashPoint {
    durable: Vec<u8>,
    /// The states that a line took since its durable one, and at which it was last flushed.
    in_flight: BTreeMap<usize, InFlight>,
}

#[derive(Debug, Clone, Default)]
struct InFlight {
    states: Vec<Line>,
    flushed: usize,
}

impl CrashPoint {
    /// The beginning: memory holds `image`.
    pub(crate) fn new(image: &[u8]) -> Self {
        Self { durable: image.to_vec(), in_flight: BTreeMap::new() }
    }

    /// Moves past `event`.
    pub(crate) fn pass(&mut self, event: &Event) {
        match event {
            Event::Stored(line, state) => {
                self.in_flight.entry(*line).or_default().states.push(*state);
            }
            Event::Flushed(line) => {
                if let Some(line) = self.in_flight.get_mut(line) {
                    line.flushed = line.states.len();
                }
            }
            Event::Drained => self.drain(),
            Event::Promised(..) | Event::Mark(_) => {}
        }
    }

    fn drain(&mut self) {
        for (line, in_flight) in &mut self.in_flight {
            if let Some(state) = in_flight.flushed.checked_sub(1) {
                self.durable[line * LINE..][..LINE].copy_from_slice(&in_flight.states[state]);
                in_flight.states.drain(..in_flight.flushed);
                in_flight.flushed = 0;
            }
        }
        self.in_flight.retain(|_, line| !line.states.is_empty());
    }

    /// Whether every byte of `range` is durable as it was last stored.
    pub(crate) fn is_durable(&self, range: &Range<usize>) -> bool {
        cover(range).all(|line| !self.in_flight.contains_key(&line))
    }

    /// How many images are possible, at most `u64::MAX`.
    pub(crate) fn images(&self) -> u64 {
        let states = self.in_flight.values().map(|line| line.states.len() as u64 + 1);
        states.fold(1, u64::saturating_mul)
    }

    /// The bytes that survive if line by line `choose(n)` (below `n`) picks one of its `n` states.
    pub(crate) fn image(&self, mut choose: impl FnMut(usize) -> usize) -> Vec<u8> {
        let mut image = self.durable.clone();
        for (line, in_flight) in &self.in_flight {
            if let Some(state) = choose(in_flight.states.len() + 1).checked_sub(1) {
                image[line * LINE..][..LINE].copy_from_slice(&in_flight.states[state]);
            }
        }
        image
    }
}
