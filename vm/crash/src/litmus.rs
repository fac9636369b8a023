//! Litmus tests, their language: programs and outcomes as short text.
//!
//! A program is operations with `;` between: `x=1` stores, `nt x=1` past the caches, `wide x=1` 16
//! bytes, `dma x=1` by a device; `clwb x`, `opt x`, `clflush x`; `sfence mfence lock wbinvd`. `1:`
//! before an operation is the second CPU, `k:` the kernel. x and x2 share a line; y and z have
//! lines of their own. An outcome is what some of them hold after a power loss at some moment.

mod table;

use std::collections::BTreeSet;

use crate::event::{Event, FenceKind, FlushKind, Vcpu};
use crate::line::{Line, LineBytes};
use crate::model::diff::DiffModel;
use crate::model::stores::TraceModel;
use crate::recording::{KERNEL, PROGRAM, Recording};
use crate::rules::{DeviceWrites, Domain, Fences, Rules};

pub use table::TABLE;

/// Bytes of the NVDIMM of these programs.
pub const BYTES: usize = 192;

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Where the outcomes are from.
    pub source: &'static str,
    /// What is not as by default: `hw`, `eadr`, `persist`.
    pub rules: &'static str,
    /// What runs.
    pub program: &'static str,
    /// Outcomes that must be reached.
    pub allowed: &'static [&'static str],
    /// Outcomes that must not be.
    pub forbidden: &'static [&'static str],
}

impl Row {
    /// The rules under which it runs.
    ///
    /// # Panics
    /// If the row names rules that are not there.
    pub fn rules(&self) -> Rules {
        let mut rules = Rules::default();
        match self.rules {
            "" => {}
            "hw" => rules.fences = Fences::Hw,
            "eadr" => rules.domain = Domain::Eadr,
            "persist" => rules.dma = DeviceWrites::Persist,
            other => panic!("rules {other}"),
        }
        rules
    }

    /// What happens.
    ///
    /// # Panics
    /// If the row makes no sense.
    pub fn events(&self) -> Vec<Event> {
        let mut program = Recording::new(BYTES);
        for operation in self.program.split(';') {
            add(&mut program, operation.trim());
        }
        program.events
    }

    /// Whether flushes alone show all its outcomes: not how a store tears, nor what of caches that
    /// survive has not passed through them (M15).
    pub fn is_shown_by_flushes(&self) -> bool {
        self.rules().domain == Domain::Adr && !self.program.contains("wide")
    }

    /// What an implementation has otherwise than the row, in words; forbidden outcomes only, if it
    /// is not to know `all`.
    ///
    /// # Panics
    /// If the row makes no sense.
    pub fn wrong(
        &self,
        all: bool,
        values: impl Fn(&[Event], Line) -> BTreeSet<LineBytes>,
    ) -> Vec<String> {
        let allowed = self.allowed.iter().filter(|_| all).map(|outcome| (outcome, true));
        let forbidden = self.forbidden.iter().map(|outcome| (outcome, false));
        let wrong = allowed.chain(forbidden);
        let wrong = wrong.filter(|(outcome, is_so)| self.reaches(outcome, &values) != *is_so);
        let verb = |is_so| if is_so { "never reaches" } else { "reaches" };
        wrong.map(|(outcome, is_so)| format!("{} {outcome} in {self:?}", verb(is_so))).collect()
    }

    /// Whether an outcome is reached at some moment.
    fn reaches(
        &self,
        outcome: &str,
        values: impl Fn(&[Event], Line) -> BTreeSet<LineBytes>,
    ) -> bool {
        let events = self.events();
        (0..=events.len()).any(|end| {
            (0..3).map(Line).all(|line| {
                values(&events[..end], line).iter().any(|value| holds(outcome, line, value))
            })
        })
    }
}

fn place(name: &str) -> u64 {
    match name {
        "x" => 0,
        "x2" => 8,
        "y" => 64,
        "z" => 128,
        other => panic!("location {other}"),
    }
}

/// Where, and which value.
fn assignment(text: &str) -> (u64, u64) {
    let (name, value) = text.split_once('=').expect("an assignment has =");
    (place(name), value.parse().expect("a value is a number"))
}

/// Whether the part of an outcome that is about this line is what the line holds.
fn holds(outcome: &str, line: Line, value: &LineBytes) -> bool {
    outcome.split_whitespace().map(assignment).all(|(offset, expected)| {
        let at = usize::try_from(offset % 64).expect("small");
        offset / 64 != line.0 || value[at..at + 8] == expected.to_le_bytes()
    })
}

fn add(program: &mut Recording, operation: &str) {
    let (who, operation) = operation.split_once(':').unwrap_or(("", operation));
    program.vcpu = Vcpu(u32::from(who == "1"));
    program.context = if who == "k" { KERNEL } else { PROGRAM };
    let (verb, what) = operation.split_once(' ').unwrap_or((operation, ""));
    let value = || assignment(what);
    match verb {
        "nt" => program.nontemporal(value().0, &value().1.to_le_bytes()),
        "dma" => program.dma(value().0, &value().1.to_le_bytes()),
        "wide" => program.store(value().0, &[value().1.to_le_bytes(); 2].concat()),
        "clwb" => program.flush(FlushKind::Clwb, place(what)),
        "opt" => program.flush(FlushKind::Clflushopt, place(what)),
        "clflush" => program.flush(FlushKind::Clflush, place(what)),
        "sfence" => program.fence(FenceKind::Sfence),
        "mfence" => program.fence(FenceKind::Mfence),
        "lock" => program.fence(FenceKind::Locked),
        "wbinvd" => program.fence(FenceKind::Wbinvd),
        store => {
            let (offset, value) = assignment(store);
            program.store(offset, &value.to_le_bytes());
        }
    }
}

/// What the trace model says that a line may hold after these events.
pub fn modelled(events: &[Event], rules: Rules, line: Line) -> BTreeSet<LineBytes> {
    let mut model = TraceModel::new(vec![0; BYTES], rules);
    for (event, number) in events.iter().zip(1..) {
        model.play(number, event);
    }
    let values = model.in_flight(line).map(|(line, _)| line.values);
    values.unwrap_or_else(|| vec![line.of(model.durable())]).into_iter().collect()
}

/// What the diff model says that a line may hold after these events; it is told the live bytes,
/// and not the stores.
pub fn watched(events: &[Event], rules: Rules, line: Line) -> BTreeSet<LineBytes> {
    let mut model = DiffModel::new(vec![0; BYTES], rules);
    let mut all = Recording::new(BYTES);
    for event in events {
        all.replay(event);
        model.apply(event, all.live.as_slice());
    }
    let in_flight = model.in_flight(all.live.as_slice());
    let values = in_flight.into_iter().find(|found| found.line == line);
    values.map_or_else(|| vec![line.of(&all.live)], |found| found.values).into_iter().collect()
}

/// What an implementation has otherwise than the table; of rows that it does not see, forbidden
/// outcomes only.
pub fn wrong(
    values: impl Fn(&[Event], Rules, Line) -> BTreeSet<LineBytes>,
    sees: impl Fn(&Row) -> bool,
) -> Vec<String> {
    let wrong = |row: &Row| {
        let rules = row.rules();
        row.wrong(sees(row), |events, line| values(events, rules, line))
    };
    TABLE.iter().flat_map(wrong).collect()
}
