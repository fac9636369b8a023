//! Specification, tests: both models against it, on seeded random programs.

mod common;

use std::collections::BTreeSet;

use common::Program;
use common::random::{BYTES, LINES, Random, program, rules};
use common::spec::possible;
use crash::{
    DeviceWrites, DiffModel, Domain, Event, FenceKind, Line, LineBytes, Rules, TraceModel,
};

fn traced(events: &[Event], rules: Rules) -> TraceModel {
    let mut model = TraceModel::new(vec![0; BYTES], rules);
    for (event, number) in events.iter().zip(1..) {
        model.play(number, event);
    }
    model
}

fn values(model: &TraceModel, line: Line) -> BTreeSet<LineBytes> {
    let values = model.in_flight(line).map(|(line, _)| line.values);
    values.unwrap_or_else(|| vec![line.of(model.durable())]).into_iter().collect()
}

/// Programs from short to long, so that what fails first is short.
fn programs(count: u64, mixed: bool) -> impl Iterator<Item = (u64, Rules, Program)> {
    (0..count).map(move |seed| {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let rules = rules(&mut random);
        (seed, rules, program(&mut random, 2 + seed * 9 / count, mixed))
    })
}

#[test]
fn the_trace_model_allows_what_the_specification_allows_and_nothing_else() {
    let base = [0; BYTES];
    for (seed, rules, program) in programs(60_000, true) {
        let model = traced(&program.events, rules);
        for line in (0..LINES).map(Line) {
            let expected = possible(&base, &program.events, rules, line);
            let found = values(&model, line);
            assert!(found == expected, "seed {seed}, {line:?}, {rules:?}: {}", brief(&program));
        }
    }
}

/// A program in one line.
fn brief(program: &Program) -> String {
    let one = |event: &Event| match event {
        Event::Store(store) => {
            let how = if store.nontemporal { "nt" } else { "st" };
            let bytes = store.bytes.as_slice();
            let (vcpu, at) = (store.vcpu.0, store.offset.0);
            format!("{vcpu}{how} {at}+{}={}", bytes.len(), bytes[0])
        }
        Event::Flush(flush) => format!("{}{:?} {}", flush.vcpu.0, flush.kind, flush.line.0),
        Event::Fence(fence) => {
            format!("{}{:?}:{}", fence.vcpu.0, fence.kind, fence.context.privilege)
        }
        Event::Dma(dma) => format!("dma {}+{}={}", dma.offset.0, dma.bytes.len(), dma.bytes[0]),
        Event::Marker(_) => "marker".into(),
    };
    program.events.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn watched(program: &Program, rules: Rules) -> DiffModel {
    let mut all = Program::new(BYTES);
    let mut model = DiffModel::new(all.live.clone(), rules);
    for event in &program.events {
        all.replay(event);
        model.apply(event, all.live.as_slice());
    }
    model
}

#[test]
fn the_diff_model_allows_nothing_more_and_misses_no_line() {
    let base = [0; BYTES];
    for (seed, rules, program) in programs(60_000, false) {
        let rules = Rules { domain: Domain::Adr, dma: DeviceWrites::Cache, ..rules };
        if is_beyond(&program.events) {
            continue;
        }
        let model = watched(&program, rules);
        let in_flight = model.in_flight(program.live.as_slice());
        for line in (0..LINES).map(Line) {
            let mut expected = possible(&base, &program.events, rules, line);
            // What no event told of is dirty for the diff model only.
            expected.insert(line.of(&program.live));
            let found = in_flight.iter().find(|found| found.line == line);
            let said = format!("seed {seed}, {line:?}, {rules:?}: {}", brief(&program));
            let durable = line.of(model.persisted());
            assert!(found.is_some() || durable == line.of(&program.live), "misses: {said}");
            let values = found.map_or_else(|| vec![durable], |found| found.values.clone());
            let more: Vec<_> = values.iter().filter(|value| !expected.contains(*value)).collect();
            assert!(more.is_empty(), "{more:?} {said}");
        }
    }
}

/// M15: other CPUs' non-temporal stores under `wbinvd`, and words that are written in both ways,
/// which device writes do here.
fn is_beyond(events: &[Event]) -> bool {
    let has = |is: fn(&Event) -> bool| events.iter().any(is);
    let past = has(|event| matches!(event, Event::Store(store) if store.nontemporal));
    let device = has(|event| matches!(event, Event::Dma(_)));
    let wbinvd =
        has(|event| matches!(event, Event::Fence(fence) if fence.kind == FenceKind::Wbinvd));
    past && (device || wbinvd)
}
