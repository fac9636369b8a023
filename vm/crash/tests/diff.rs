//! The diff model, tests: what it answers while a guest runs.

mod common;

use common::{KERNEL, PROGRAM, Program};
use crash::Live;
use crash::model::diff::{Missing, Work};
use crash::{DiffModel, FenceKind, FlushKind, Line, LineBytes, Offset, Range, Rules, Vcpu};

const BYTES: usize = 1 << 14;

/// Live bytes that can be read line by line only.
struct Slow(Vec<u8>);

impl Live for Slow {
    fn line(&self, line: Line) -> LineBytes {
        line.of(&self.0)
    }
}

/// A model that has seen a program.
fn watched(program: &Program) -> DiffModel {
    let mut model = DiffModel::new(vec![0; BYTES], Rules::default());
    let mut all = Program::new(BYTES);
    for event in &program.events {
        all.replay(event);
        model.apply(event, all.live.as_slice());
    }
    model
}

#[test]
fn a_range_is_missing_until_it_is_fenced() {
    let range = [Range { offset: Offset(100), len: 60 }];
    let mut program = Program::new(BYTES);
    let missing = |program: &Program| watched(program).missing(&range, program.live.as_slice());
    assert_eq!(missing(&program), []);
    program.store(64, &[1; 128]);
    let is = |line, is_pending| Missing { line: Line(line), is_pending };
    assert_eq!(missing(&program), [is(1, false), is(2, false)]);
    program.flush(FlushKind::Clwb, 64);
    assert_eq!(missing(&program), [is(1, true), is(2, false)]);
    program.fence(FenceKind::Sfence);
    program.flush(FlushKind::Clwb, 128);
    assert_eq!(missing(&program), [is(2, true)]);
    program.fence(FenceKind::Sfence);
    assert_eq!(missing(&program), []);
    // Other bytes of these lines are no matter of the range.
    program.store(64, &[2; 36]);
    program.store(160, &[2; 32]);
    assert_eq!(missing(&program), []);
}

#[test]
fn device_writes_are_seen_without_being_told() {
    let mut program = Program::new(BYTES);
    program.unseen(128, &[3; 64]);
    let model = watched(&program);
    let found = model.in_flight(program.live.as_slice());
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].line, found[0].values.len(), found[0].is_pending), (Line(2), 2, false));
    assert_eq!(model.in_flight(&Slow(program.live.clone())), found);
}

#[test]
fn snapshots_are_values_of_their_own() {
    let mut program = Program::new(BYTES);
    for byte in 1..4 {
        program.store(0, &[byte; 8]);
        program.flush(FlushKind::Clwb, 0);
    }
    program.store(0, &[9; 8]);
    let found = watched(&program).in_flight(program.live.as_slice());
    let first: Vec<_> = found[0].values.iter().map(|value| value[0]).collect();
    assert_eq!(first, [0, 1, 2, 3, 9]);
    assert_eq!(found[0].all, 4);
}

#[test]
fn work_for_nothing_is_counted() {
    let mut program = Program::new(BYTES);
    program.flush(FlushKind::Clwb, 0);
    program.store(0, &[1; 8]);
    program.flush(FlushKind::Clwb, 0);
    program.flush(FlushKind::Clwb, 0);
    program.fence(FenceKind::Sfence);
    program.fence(FenceKind::Sfence);
    program.flush(FlushKind::Clflush, 0);
    let expected = Work { flushes: 4, redundant_flushes: 3, fences: 2, idle_fences: 1 };
    assert_eq!(watched(&program).work(), expected);
}

#[test]
fn flushes_without_a_fence_do_not_pile_up() {
    let mut program = Program::new(BYTES);
    let mut model = DiffModel::new(vec![0; BYTES], Rules::default());
    for round in 0_u64..20_000 {
        program.events.clear();
        program.store(round % 4 * 64, &round.to_le_bytes());
        program.flush(FlushKind::Clwb, round % 4 * 64);
        for event in &program.events {
            model.apply(event, program.live.as_slice());
        }
    }
    let found = model.in_flight(program.live.as_slice());
    assert_eq!(found.len(), 4);
    assert!(found.iter().all(|line| line.is_pending && line.values.len() < 2000));
    program.events.clear();
    program.fence(FenceKind::Sfence);
    model.apply(&program.events[0], program.live.as_slice());
    assert!(model.persisted() == program.live);
}

#[test]
fn a_line_that_is_again_as_it_was_stays_so() {
    let mut program = Program::new(BYTES);
    for value in [1, 0] {
        program.store(0, &[value; 8]);
        program.flush(FlushKind::Clwb, 0);
    }
    let first: Vec<_> = watched(&program).in_flight(program.live.as_slice())[0]
        .values
        .iter()
        .map(|value| value[0])
        .collect();
    assert_eq!(first, [0, 1]);
    program.fence(FenceKind::Sfence);
    let model = watched(&program);
    assert!(model.persisted() == program.live);
    assert_eq!(model.in_flight(program.live.as_slice()), []);
}

/// Each of these would take days if its cost were a product, or a power, of what is pending.
#[test]
fn much_that_waits_costs_no_more_than_it_is() {
    let lines = 1 << 16;
    let mut program = Program::new(lines * 64);
    for line in 0..lines as u64 {
        program.store(line * 64, &[1; 8]);
        program.flush(FlushKind::Clwb, line * 64);
        program.nontemporal(line * 64 + 8, &[1; 16]);
    }
    // Another context, whose fences complete nothing.
    program.context = KERNEL;
    (0..lines).for_each(|_| program.fence(FenceKind::Sfence));
    program.context = PROGRAM;
    program.fence(FenceKind::Sfence);
    let mut model = DiffModel::new(vec![0; lines * 64], Rules::default());
    for event in &program.events {
        model.apply(event, program.live.as_slice());
    }
    assert!(model.persisted() == program.live);

    let mut program = Program::new(BYTES);
    for (vcpu, context) in [(0, PROGRAM), (1, PROGRAM), (0, KERNEL)] {
        (program.vcpu, program.context) = (Vcpu(vcpu), context);
        program.nontemporal(0, &[1; 8]);
    }
    program.context = PROGRAM;
    (0..100).for_each(|_| program.flush(FlushKind::Clwb, 0));
    assert_eq!(watched(&program).in_flight(program.live.as_slice()).len(), 1);
}

#[test]
fn what_lies_outside_is_ignored() {
    let mut program = Program::new(2 * BYTES);
    let outside = BYTES as u64 + 64;
    program.nontemporal(outside, &[1; 8]);
    program.flush(FlushKind::Clflush, outside);
    program.dma(outside, &[1; 100]);
    program.fence(FenceKind::Sfence);
    let mut model = DiffModel::new(vec![0; BYTES], Rules::default());
    for event in &program.events {
        model.apply(event, &program.live[..BYTES]);
    }
    assert!(model.in_flight(&program.live[..BYTES]).is_empty());
    let range = [Range { offset: Offset(outside), len: 8 }];
    assert_eq!(model.missing(&range, &program.live[..BYTES]), []);
    assert_eq!(model.work().flushes, 0);
}
