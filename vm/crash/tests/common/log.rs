//! A log, as a program: appends records in three correct ways and five wrong ones, and its checker.

use crash::{Fault, FenceKind, FlushKind, Op, Verdict, View};

use super::Program;

/// How the log appends; the first three are correct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Clwb,
    Movnt,
    Clflush,
    NoFlush,
    HalfFlush,
    FlushBeforeStore,
    OneFence,
    NtWithoutFence,
}

pub const FILL: u64 = 0x100;
pub const FLUSH: u64 = 0x200;
pub const COMMIT: u64 = 0x300;
pub const FENCE: u64 = 0x400;

/// Records that the log has room for; older ones are overwritten.
const SLOTS: u64 = 4;
/// Lines of a record.
const LINES: u64 = 2;
const WORDS: u64 = LINES * 8;
/// Bytes of the NVDIMM: the line with the number of records, and the records.
pub const BYTES: usize = (1 + 4 * 2) * 64;

fn place(record: u64) -> u64 {
    (1 + record % SLOTS * LINES) * 64
}

fn word(record: u64, number: u64) -> [u8; 8] {
    (record * WORDS + number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()
}

/// A program that appends records.
pub fn program(protocol: Protocol, records: u64) -> Program {
    let mut program = Program::new(BYTES);
    for record in 0..records {
        append(&mut program, protocol, record);
        program.checkpoint(record + 1);
    }
    program
}

fn append(program: &mut Program, protocol: Protocol, record: u64) {
    use Protocol::{
        Clflush, FlushBeforeStore, HalfFlush, Movnt, NoFlush, NtWithoutFence, OneFence,
    };
    let nontemporal = matches!(protocol, Movnt | NtWithoutFence);
    let kind = if protocol == Clflush { FlushKind::Clflush } else { FlushKind::Clwb };
    let lines = match protocol {
        NoFlush | Movnt | NtWithoutFence => 0,
        HalfFlush => 1,
        _ => LINES,
    };
    if protocol == FlushBeforeStore {
        flush(program, kind, record, lines);
    }
    for number in 0..WORDS {
        let (offset, bytes) = (place(record) + number * 8, word(record, number));
        program.at(FILL + number);
        if nontemporal {
            program.nontemporal(offset, &bytes);
        } else {
            program.store(offset, &bytes);
        }
    }
    if protocol != FlushBeforeStore {
        flush(program, kind, record, lines);
    }
    if !matches!(protocol, OneFence | NtWithoutFence | Clflush) {
        program.at(FENCE).fence(FenceKind::Sfence);
    }
    let count = (record + 1).to_le_bytes();
    program.at(COMMIT);
    if protocol == Movnt {
        program.nontemporal(0, &count);
    } else {
        program.store(0, &count);
        program.at(FLUSH).flush(kind, 0);
    }
    if protocol != Clflush {
        program.at(FENCE).fence(FenceKind::Sfence);
    }
}

fn flush(program: &mut Program, kind: FlushKind, record: u64, lines: u64) {
    for line in 0..lines {
        program.at(FLUSH).flush(kind, place(record) + line * 64);
    }
}

/// Whether every record that was promised, and every one that is counted, is there.
#[expect(clippy::unnecessary_wraps, reason = "checkers may fail")]
pub fn check(view: &View<'_>) -> Result<Verdict, Fault> {
    let number = |at: u64| {
        let at = usize::try_from(at).expect("a small offset");
        u64::from_le_bytes(view.image[at..at + 8].try_into().expect("8 bytes"))
    };
    let checkpoints = view.markers.iter().rev().find(|marker| marker.op == Op::Checkpoint);
    let promised = checkpoints.map_or(0, |marker| marker.args[0]);
    let count = number(0);
    if count < promised || count > promised + 1 {
        return Ok(Verdict::Bad(format!("{promised} records promised, {count} there")));
    }
    // The oldest slot may be on its way to the next record.
    for record in (count + 1).saturating_sub(SLOTS)..count {
        for at in 0..WORDS {
            if number(place(record) + at * 8) != u64::from_le_bytes(word(record, at)) {
                return Ok(Verdict::Bad(format!("record {record} of {count} is wrong")));
            }
        }
    }
    Ok(Verdict::Good)
}
