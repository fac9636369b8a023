//! Litmus tests, their language: programs and outcomes as short text.
//!
//! A program is operations with `;` between: `x=1` stores, `nt x=1` past the caches, `wide x=1` 16
//! bytes, `dma x=1` by a device; `clwb x`, `opt x`, `clflush x`; `sfence mfence lock wbinvd`. `1:`
//! before an operation is the second CPU, `k:` the kernel. x and x2 share a line; y and z have
//! lines of their own. An outcome is what some of them hold after a power loss at some moment.

use std::collections::BTreeSet;

use crash::{
    DeviceWrites, Domain, Event, FenceKind, Fences, FlushKind, Line, LineBytes, Rules, Vcpu,
};

use super::{KERNEL, PROGRAM, Program};

pub const BYTES: usize = 192;

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Where the outcomes are from.
    pub source: &'static str,
    /// What is not as by default: `hw`, `eadr`, `persist`.
    pub rules: &'static str,
    pub program: &'static str,
    pub allowed: &'static [&'static str],
    pub forbidden: &'static [&'static str],
}

impl Row {
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

    pub fn events(&self) -> Vec<Event> {
        let mut program = Program::new(BYTES);
        for operation in self.program.split(';') {
            add(&mut program, operation.trim());
        }
        program.events
    }

    /// Whether an outcome is reached at some moment, by what a model says of a line.
    pub fn reaches(
        &self,
        outcome: &str,
        mut values: impl FnMut(&[Event], Line) -> BTreeSet<LineBytes>,
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

fn add(program: &mut Program, operation: &str) {
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
