//! Protocols: correct ones raise no alarm, wrong ones are found with their class.

mod common;

use common::log::{self, Protocol};
use common::report;
use crash::explore::merge::{CannotMerge, Merged, Part, merge};
use crash::report::{Class, NoSymbols, Report, explain_all, redundant};
use crash::{Bounds, Explored, Plan, Rules, Shard, explore};

const CORRECT: [Protocol; 3] = [Protocol::Clwb, Protocol::Movnt, Protocol::Clflush];

fn explored(protocol: Protocol, records: u64, plan: &Plan) -> Explored {
    let program = log::program(protocol, records);
    explore(vec![0; log::BYTES], &program.events, plan, &mut log::check)
}

/// No alarm over at least that many states; how many there were.
fn without_alarm(protocol: Protocol, records: u64, exhaustive: u64, at_least: u64) -> u64 {
    let bounds = Bounds { exhaustive, ..Bounds::default() };
    let found = explored(protocol, records, &Plan { bounds, ..Plan::default() });
    assert!(found.is_good(), "{protocol:?}: {:?}", found.failures.first());
    assert!(found.states >= at_least, "{protocol:?}: {} states", found.states);
    found.states
}

#[test]
fn correct_protocols_raise_no_alarm() {
    for protocol in CORRECT {
        without_alarm(protocol, 40, 4096, 2000);
        without_alarm(protocol, 40, 0, 2000);
    }
}

#[test]
#[ignore = "takes seconds in release, minutes otherwise: cargo test --release -- --ignored"]
fn correct_protocols_raise_no_alarm_in_a_million_states() {
    for (protocol, records) in CORRECT.into_iter().zip([13_000, 400, 13_000]) {
        let start = std::time::Instant::now();
        let states = without_alarm(protocol, records, 4096, 1_000_000);
        let rate = u128::from(states) * 1000 / start.elapsed().as_millis().max(1);
        println!("{protocol:?}: {states} states, {rate} a second");
    }
}

fn first_report(protocol: Protocol) -> Report {
    report(&log::program(protocol, 8), &mut log::check)
}

#[test]
fn wrong_protocols_are_found_with_their_class() {
    let expected = [
        (Protocol::NoFlush, Class::NeverFlushed),
        (Protocol::HalfFlush, Class::NeverFlushed),
        (Protocol::FlushBeforeStore, Class::NeverFlushed),
        (Protocol::OneFence, Class::FlushedNotFenced),
        (Protocol::NtWithoutFence, Class::NontemporalNotFenced),
    ];
    for (protocol, class) in expected {
        let report = first_report(protocol);
        assert_eq!(report.class, class, "{protocol:?}: {report:#?}");
        assert_eq!(report.lost.len(), 1, "{protocol:?}: {report:#?}");
        let pc = report.lost[0].writer.as_ref().unwrap().pc.unwrap().0;
        assert!((log::FILL..log::FLUSH).contains(&pc), "{protocol:?}: {report:#?}");
    }
}

#[test]
fn a_report_survives_json() {
    let report = first_report(Protocol::OneFence);
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    assert!(text.contains("\"class\":\"flushed_not_fenced\""), "{text}");
}

#[test]
fn a_report_is_a_few_lines_of_text() {
    let text = first_report(Protocol::OneFence).to_string();
    let expected = "flushed, not fenced: record 0 of 1 is wrong\n  \
        power lost after 0x300 (event 19, CPU 0)\n  \
        one lost line is enough\n  \
        line 0x40: flushed, not fenced\n    \
        last written by 0x107 (event 8, CPU 0)\n    \
        last flushed by 0x200 (event 17, CPU 0)\n";
    assert_eq!(text, expected);
}

#[test]
fn work_for_nothing_is_counted_by_instruction() {
    let program = log::program(Protocol::FlushBeforeStore, 8);
    let image = vec![0; log::BYTES];
    let found = redundant(image, &program.events, Rules::default(), &NoSymbols);
    assert_eq!((found.flushes, found.fences), (24, 16));
    assert_eq!(found.redundant_flushes[0].0.pc.unwrap().0, log::FLUSH);
    assert_eq!(found.redundant_flushes[0].1, 8, "the slots that are used for the first time");
    let program = log::program(Protocol::Clwb, 8);
    let found = redundant(vec![0; log::BYTES], &program.events, Rules::default(), &NoSymbols);
    assert_eq!((found.redundant_flushes.len(), found.idle_fences.len()), (0, 0));
}

fn part(index: u64, count: u64, plan: Plan) -> Part {
    let plan = Plan { shard: Shard::new(index, count).expect("a shard"), ..plan };
    let explored = explored(Protocol::OneFence, 6, &plan);
    Part { trace: "one".into(), plan, explored }
}

#[test]
fn shards_together_find_what_one_run_finds() {
    let whole = explored(Protocol::OneFence, 6, &Plan::default());
    let parts: Vec<_> = (0..5).rev().map(|index| part(index, 5, Plan::default())).collect();
    assert_eq!(parts[3], part(1, 5, Plan::default()), "the same again, alone");
    let text = serde_json::to_string(&parts).unwrap();
    let parts: Vec<Part> = serde_json::from_str(&text).unwrap();
    let Merged { part: Part { plan, explored: merged, .. }, missing } = merge(parts).unwrap();
    assert!(missing.is_empty());
    assert_eq!(plan, Plan::default());
    assert_eq!(merged.points, whole.points);
    assert!(merged.states >= whole.states);
    assert!(merged.failing >= whole.failing && whole.failing > 0);
    let points = |found: &Explored| -> Vec<_> { found.failures.iter().map(|f| f.point).collect() };
    assert!(points(&whole).iter().all(|point| points(&merged).contains(point)));
}

#[test]
fn only_parts_of_one_exploration_are_merged() {
    let of = |index| part(index, 3, Plan::default());
    assert_eq!(merge([]), Err(CannotMerge::Nothing));
    assert_eq!(merge([of(2), of(0)]).unwrap().missing, [1]);
    let shard = of(1).plan.shard;
    assert_eq!(merge([of(1), of(1)]), Err(CannotMerge::Twice { shard }));
    let seed = part(1, 3, Plan { seed: 5, ..Plan::default() });
    assert_eq!(merge([of(0), seed]), Err(CannotMerge::Plan { shard }));
    let trace = Part { trace: "two".into(), ..of(1) };
    assert_eq!(merge([of(0), trace]), Err(CannotMerge::Trace { shard }));
    let other = part(1, 2, Plan::default());
    assert_eq!(merge([of(0), other.clone()]), Err(CannotMerge::Plan { shard: other.plan.shard }));
}

#[test]
fn each_mistake_is_reported_once() {
    let program = log::program(Protocol::HalfFlush, 8);
    let image = vec![0; log::BYTES];
    let plan = Plan::default();
    let found = explore(image.clone(), &program.events, &plan, &mut log::check);
    assert!(found.failures.len() > 10);
    let all = |most| {
        let (events, failures) = (&program.events, &found.failures);
        let check = &mut log::check;
        explain_all(&image, events, plan.rules, failures, check, &NoSymbols, most).unwrap()
    };
    let reports = all(usize::MAX);
    assert!((1..4).contains(&reports.len()), "{reports:#?}");
    assert!(reports.iter().any(|report| report.class == Class::NeverFlushed));
    assert_eq!(all(1).len(), 1);
    assert_eq!(all(0).len(), 0);
}

#[test]
fn another_seed_is_another_choice() {
    let bounds = Bounds { exhaustive: 4, ..Bounds::default() };
    let of = |seed| explored(Protocol::NoFlush, 6, &Plan { seed, bounds, ..Plan::default() });
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
}

#[test]
fn a_checker_that_fails_is_no_pass() {
    let program = log::program(Protocol::Clwb, 2);
    let mut calls = 0;
    let mut broken = |view: &crash::View<'_>| {
        calls += 1;
        if calls > 5 { Err(crash::Fault("no more".into())) } else { log::check(view) }
    };
    let image = vec![0; log::BYTES];
    let found = explore(image, &program.events, &Plan::default(), &mut broken);
    assert!(!found.is_good());
    let fault = found.fault.expect("the checker gave no verdict");
    assert_eq!((fault.why.as_str(), found.states), ("no more", 5));
}
