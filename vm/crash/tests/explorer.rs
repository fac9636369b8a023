//! Explorer, tests: it shows exactly the states that it should, each once.

mod common;

use std::collections::{BTreeSet, HashSet, VecDeque};

use common::Program;
use common::random::{BYTES, LINES, Random, program, rules};
use common::spec::possible;
use crash::{
    Bounds, DeviceWrites, Event, Explored, Fault, Judges, Line, LineBytes, Moment, Plan, Point,
    Rules, Verdict, View, explore, explore_by,
};

/// An image, and how many markers came before it.
type State = (usize, Vec<u8>);

/// All states that a checker is shown; each must be new.
fn shown(events: &[Event], plan: &Plan) -> (HashSet<State>, Explored) {
    let mut states = HashSet::new();
    let mut record = |view: &View<'_>| {
        assert!(states.insert((view.markers.len(), view.image.to_vec())), "shown twice");
        Ok(Verdict::Good)
    };
    let found = explore(vec![0; BYTES], events, plan, &mut record);
    assert_eq!(found.states, states.len() as u64);
    (states, found)
}

/// Every combination of the lines' values.
fn product(values: &[BTreeSet<LineBytes>]) -> Vec<Vec<u8>> {
    values.iter().fold(vec![Vec::new()], |images, values| {
        let with = |image: &Vec<u8>| {
            let image = image.clone();
            values.iter().map(move |value| [&image[..], value].concat()).collect::<Vec<_>>()
        };
        images.iter().flat_map(with).collect()
    })
}

/// Numbers of markers before each event's end.
fn markers(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::Marker(_))).count()
}

fn programs(count: u64) -> impl Iterator<Item = (u64, Rules, Program)> {
    (0..count).map(move |seed| {
        let mut random = Random(seed.wrapping_mul(0xd134_2543_de82_ef95));
        let rules = rules(&mut random);
        (seed, rules, program(&mut random, 2 + seed * 7 / count, true))
    })
}

#[test]
fn exhaustive_exploration_shows_what_the_specification_allows() {
    for (seed, rules, program) in programs(3000) {
        // A device write has points of its own inside.
        let events: Vec<_> =
            program.events.into_iter().filter(|event| !matches!(event, Event::Dma(_))).collect();
        let bounds = Bounds { exhaustive: 1 << 20, random: 0, most: 0 };
        let (states, found) = shown(&events, &Plan { rules, bounds, ..Plan::default() });
        assert_eq!(found.points, found.exhaustive_points);
        let expected = (1..=events.len()).flat_map(|end| {
            let before = &events[..end];
            let values = (0..LINES).map(|line| possible(&[0; BYTES], before, rules, Line(line)));
            let images = product(&values.collect::<Vec<_>>());
            images.into_iter().map(move |image| (markers(before), image))
        });
        assert!(states == expected.collect(), "seed {seed}: {rules:?} {events:#?}");
    }
}

/// None, all, and one line otherwise, by the rules' words (M19).
fn families(moment: &Moment) -> HashSet<Vec<u8>> {
    let durable = moment.model().durable().to_vec();
    let mut all = durable.clone();
    for line in moment.lines() {
        all[line.line.span()].copy_from_slice(&line.values[line.all]);
    }
    let mut images = HashSet::from([durable.clone(), all.clone()]);
    for line in moment.lines() {
        for value in &line.values {
            for base in [&durable, &all] {
                let mut image = base.clone();
                image[line.line.span()].copy_from_slice(value);
                images.insert(image);
            }
        }
    }
    images
}

#[test]
fn families_are_none_all_one_in_one_out_and_torn() {
    for (seed, rules, program) in programs(3000) {
        let events = program.events;
        let bounds = Bounds { exhaustive: 0, random: 0, most: 1 << 20 };
        let (states, found) = shown(&events, &Plan { rules, bounds, ..Plan::default() });
        assert_eq!(found.sampled_points, 0);
        let mut expected = HashSet::new();
        for (event, number) in events.iter().zip(1..) {
            for (_, step) in crash::model::stores::steps(event).iter().zip(0..) {
                let point = Point { event: number, step };
                let moment = Moment::at(vec![0; BYTES], &events, rules, point);
                let before = moment.markers().len();
                expected.extend(families(&moment).into_iter().map(|image| (before, image)));
            }
        }
        assert!(states == expected, "seed {seed}: {rules:?} {events:#?}");
    }
}

#[test]
fn a_device_write_is_torn_at_every_line() {
    let mut program = Program::new(BYTES);
    program.dma(32, &[7; 96]);
    let rules = Rules { dma: DeviceWrites::Persist, ..Rules::default() };
    let (states, found) = shown(&program.events, &Plan { rules, ..Plan::default() });
    assert_eq!(found.points, 2);
    let first: Vec<u8> = [[0; 32], [7; 32], [0; 32], [0; 32]].concat();
    let both: Vec<u8> = [[0; 32], [7; 32], [7; 32], [7; 32]].concat();
    assert_eq!(states, HashSet::from([(0, first), (0, both)]));
}

#[test]
fn random_products_mix_lines() {
    let mut program = Program::new(64 * 12);
    for line in 0..12 {
        program.store(line * 64, &[1; 8]);
    }
    let bounds = Bounds { exhaustive: 16, random: 64, most: 1 << 20 };
    let plan = Plan { bounds, ..Plan::default() };
    let mut mixed = 0;
    let mut count = |view: &View<'_>| {
        let lines = view.image.chunks(64).filter(|line| line[0] == 1).count();
        mixed += u32::from((2..10).contains(&lines));
        Ok(Verdict::Good)
    };
    explore(vec![0; 64 * 12], &program.events, &plan, &mut count);
    assert!(mixed > 100, "{mixed}");
}

#[test]
fn a_sample_keeps_to_its_bound() {
    let mut program = Program::new(64 * 200);
    for line in 0..200 {
        program.store(line * 64, &[1; 8]);
    }
    let bounds = Bounds { exhaustive: 1, random: 0, most: 20 };
    let mut judge = |_: &View<'_>| Ok(Verdict::Good);
    let plan = Plan { bounds, ..Plan::default() };
    let found = explore(vec![0; 64 * 200], &program.events, &plan, &mut judge);
    assert!(found.sampled_points > 180, "{found:?}");
    assert!(found.states < 200 * 40, "{found:?}");
}

#[test]
fn a_line_that_is_written_for_ever_is_bounded() {
    let mut program = Program::new(64);
    for number in 0..3000_u64 {
        program.store(number % 4 * 8, &number.to_le_bytes());
        program.nontemporal(32 + number % 4 * 8, &number.to_le_bytes());
    }
    let point = Point { event: 6000, step: 0 };
    let moment = Moment::at(vec![0; 64], &program.events, Rules::default(), point);
    let (line, is_bounded) = moment.model().in_flight(Line(0)).unwrap();
    assert!(is_bounded);
    assert!(line.values.len() < 1200, "{}", line.values.len());
    assert_eq!(line.values[0], [0; 64]);
    assert_eq!(line.values[line.all], program.live[..]);
}

#[test]
fn the_changed_lines_are_all_that_differs_from_one_view_to_the_next() {
    for (seed, rules, program) in programs(600) {
        for exhaustive in [0, 256] {
            let bounds = Bounds { exhaustive, random: 8, most: 4096 };
            let mut copy = Vec::new();
            let mut follow = |view: &View<'_>| {
                match view.changed {
                    None => copy = view.image.to_vec(),
                    Some(lines) => lines.iter().for_each(|line| {
                        copy[line.span()].copy_from_slice(&view.image[line.span()]);
                    }),
                }
                assert_eq!(copy, view.image, "seed {seed}: {:?}", view.point);
                Ok(Verdict::Good)
            };
            let plan = Plan { rules, bounds, ..Plan::default() };
            let found = explore(vec![0; BYTES], &program.events, &plan, &mut follow);
            assert!(found.is_good());
        }
    }
}

/// Judges that keep their verdicts to themselves as long as they may.
struct Slow(VecDeque<Result<Verdict, Fault>>);

fn sum(view: &View<'_>) -> Result<Verdict, Fault> {
    match view.image.iter().map(|byte| u32::from(*byte)).sum::<u32>() % 97 {
        0..30 => Ok(Verdict::Bad(format!("{} markers", view.markers.len()))),
        30 => Err(Fault("thirty".into())),
        _ => Ok(Verdict::Good),
    }
}

impl Judges for Slow {
    fn hand_in(&mut self, view: &View<'_>) {
        self.0.push_back(sum(view));
    }

    fn next(&mut self, wait: bool) -> Option<Result<Verdict, Fault>> {
        if wait || self.0.len() > 3 { self.0.pop_front() } else { None }
    }
}

#[test]
fn how_many_states_are_judged_at_a_time_changes_nothing() {
    let mut faults = 0;
    for (seed, rules, program) in programs(600) {
        let plan = Plan { rules, ..Plan::default() };
        let in_turn = explore(vec![0; BYTES], &program.events, &plan, &mut sum);
        let mut slow = Slow(VecDeque::new());
        let mut found = explore_by(vec![0; BYTES], &program.events, &plan, &mut slow);
        assert!(slow.0.is_empty(), "a verdict is left for the next exploration");
        if in_turn.fault.is_some() {
            // It is noticed later, at another point.
            faults += 1;
            let Explored { points, exhaustive_points, duplicates, .. } = in_turn;
            found = Explored { points, exhaustive_points, duplicates, ..found };
        }
        assert_eq!(found, in_turn, "seed {seed}");
    }
    assert!((20..500).contains(&faults), "{faults}");
}
