//! Exploration: loses power at the crash points of a trace, and asks a checker about each state.

pub mod choices;
pub mod flight;
pub mod merge;
pub mod point;
mod shown;

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use serde::{Deserialize, Serialize};

use crate::checker::{Checker, Fault, InTurn, Judges, Verdict, View};
use crate::event::Event;
use crate::image;
use crate::line::Line;
use crate::marker::Marker;
use crate::model::stores::{TraceModel, steps};
use crate::rules::Rules;
use crate::state::InFlight;
use choices::{Bounds, Extent, News};
use flight::{Choice, Flight};
use point::{Point, Points, Shard};
use shown::Shown;

/// The most failures that are kept one by one; the others are counted.
pub const KEPT: usize = 64;

/// What to explore, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The rules of the machine.
    pub rules: Rules,
    /// After which events power is lost.
    pub points: Points,
    /// How many states of each point.
    pub bounds: Bounds,
    /// What fixes the choices.
    pub seed: u64,
    /// Which part of the points.
    pub shard: Shard,
}

impl Default for Plan {
    fn default() -> Self {
        let (points, shard) = (Points::EVERY, Shard::WHOLE);
        Self { rules: Rules::default(), points, bounds: Bounds::default(), seed: 0, shard }
    }
}

/// A state that the checker called bad, or gave no verdict on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Where power was lost.
    pub point: Point,
    /// What survived.
    pub choice: Choice,
    /// What the checker said.
    pub why: String,
}

impl Failure {
    /// A short name: the same for the same state of the same trace.
    pub fn id(&self) -> String {
        let text = format!("{} {}", self.point, self.choice);
        format!("{:08x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes()) >> 32)
    }
}

/// What an exploration found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explored {
    /// Crash points.
    pub points: u64,
    /// Points of which every state was judged.
    pub exhaustive_points: u64,
    /// Points whose states were sampled (M20).
    pub sampled_points: u64,
    /// How often a line had more values than a line contributes (M20).
    pub bounded_lines: u64,
    /// Different states that were judged.
    pub states: u64,
    /// States that were judged before (M21).
    pub duplicates: u64,
    /// Bad states.
    pub failing: u64,
    /// The first of them.
    pub failures: Vec<Failure>,
    /// The state that got no verdict, and why, if that ended it early; what was found before is
    /// above.
    pub fault: Option<Failure>,
}

impl Explored {
    /// Adds what another shard found. States that both judged count twice.
    pub fn merge(&mut self, other: Self) {
        self.points += other.points;
        self.exhaustive_points += other.exhaustive_points;
        self.sampled_points += other.sampled_points;
        self.bounded_lines += other.bounded_lines;
        self.states += other.states;
        self.duplicates += other.duplicates;
        self.failing += other.failing;
        self.failures.extend(other.failures);
        self.failures.sort_by_key(|failure| failure.point);
        self.failures.truncate(KEPT);
        self.fault = self.fault.take().or(other.fault);
    }

    /// Whether everything was judged, and good.
    pub fn is_good(&self) -> bool {
        self.failing == 0 && self.fault.is_none()
    }
}

/// Explores the events of a trace over the image from which it starts.
pub fn explore<'a>(
    image: Vec<u8>,
    events: impl IntoIterator<Item = &'a Event>,
    plan: &Plan,
    checker: &mut dyn Checker,
) -> Explored {
    explore_by(image, events, plan, &mut InTurn::new(checker))
}

/// As [`explore`], with several states judged at a time; what is found does not depend on how
/// many.
pub fn explore_by<'a>(
    image: Vec<u8>,
    events: impl IntoIterator<Item = &'a Event>,
    plan: &Plan,
    judges: &mut dyn Judges,
) -> Explored {
    let flight = Flight::new(image::copy(&image));
    let mut explorer = Explorer::new(flight, plan, judges);
    let mut model = TraceModel::new(image, plan.rules);
    for (event, number) in events.into_iter().zip(1..) {
        for (step, at) in steps(event).into_iter().zip(0..) {
            for line in model.apply(number, step) {
                explorer.update(&model, line);
            }
            if let Event::Marker(marker) = event {
                explorer.add_marker(marker);
            }
            let point = Point { event: number, step: at };
            if plan.points.have(event) && plan.shard.has(point) {
                explorer.explore_point(point);
            }
            if explorer.found.fault.is_some() {
                return explorer.end();
            }
        }
    }
    explorer.end()
}

/// Explores one moment: what is durable, and the lines in flight over it.
pub fn explore_state(
    durable: Vec<u8>,
    lines: Vec<InFlight>,
    markers: Vec<Marker>,
    plan: &Plan,
    checker: &mut dyn Checker,
) -> Explored {
    let mut flight = Flight::new(durable);
    for line in lines {
        flight.set(line);
    }
    let mut judges = InTurn::new(checker);
    let mut explorer = Explorer::new(flight, plan, &mut judges);
    explorer.markers = markers;
    explorer.explore_point(Point::default());
    explorer.end()
}

/// The sums of images are random enough as they are.
#[derive(Default)]
struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_le_bytes(word);
        }
    }
}

struct Explorer<'a> {
    flight: Flight,
    plan: Plan,
    judges: &'a mut dyn Judges,
    shown: Shown,
    /// States that were handed in and have no verdict yet.
    open: VecDeque<(Point, Choice)>,
    markers: Vec<Marker>,
    seen: HashSet<u128, BuildHasherDefault<Same>>,
    changed: Vec<Line>,
    all_is_new: bool,
    found: Explored,
}

impl<'a> Explorer<'a> {
    fn new(flight: Flight, plan: &Plan, judges: &'a mut dyn Judges) -> Self {
        Self {
            flight,
            plan: *plan,
            judges,
            shown: Shown::default(),
            open: VecDeque::new(),
            markers: Vec::new(),
            seen: HashSet::default(),
            changed: Vec::new(),
            all_is_new: true,
            found: Explored::default(),
        }
    }

    fn update(&mut self, model: &TraceModel, line: Line) {
        let is_new = match model.in_flight(line) {
            Some((in_flight, is_bounded)) => {
                self.found.bounded_lines += u64::from(is_bounded);
                self.flight.set(in_flight)
            }
            None => self.flight.settle(line, &line.of(model.durable())),
        };
        self.shown.update(line);
        self.all_is_new |= is_new;
        if !self.changed.contains(&line) {
            self.changed.push(line);
        }
    }

    fn add_marker(&mut self, marker: &Marker) {
        if marker.op.promises() {
            self.markers.push(marker.clone());
            self.all_is_new = true;
            // What was judged before was judged under fewer markers (M21).
            self.seen.clear();
        }
    }

    fn explore_point(&mut self, point: Point) {
        let Self { flight, seen, found, .. } = self;
        found.points += 1;
        let mut to_judge = Vec::new();
        let mut visit = |choice: &Choice| {
            if seen.insert(flight.sum(choice)) {
                to_judge.push(choice.clone());
            } else {
                found.duplicates += 1;
            }
        };
        let news = if self.all_is_new { News::Everything } else { News::Lines(&self.changed) };
        let seed = point.hash(self.plan.seed);
        match choices::each(flight, self.plan.bounds, seed, news, &mut visit) {
            Extent::Exhaustive => found.exhaustive_points += 1,
            Extent::Families => {}
            Extent::Sampled => found.sampled_points += 1,
        }
        self.changed.clear();
        self.all_is_new = false;
        for choice in to_judge {
            self.hand_in(point, choice);
            self.take_verdicts(false);
            if self.found.fault.is_some() {
                return;
            }
        }
    }

    fn hand_in(&mut self, point: Point, choice: Choice) {
        let Self { flight, judges, shown, markers, .. } = self;
        let changed = shown.next(flight, &choice);
        let changed = changed.as_deref();
        flight.show(&choice, |image| judges.hand_in(&View { image, changed, point, markers }));
        self.open.push_back((point, choice));
    }

    /// Takes the verdicts that are there, or all.
    fn take_verdicts(&mut self, all: bool) {
        while self.found.fault.is_none() && !self.open.is_empty() {
            match self.judges.next(all) {
                Some(verdict) => self.take(verdict),
                None if all => self.take(Err(Fault("a verdict is missing".to_owned()))),
                None => return,
            }
        }
    }

    fn take(&mut self, verdict: Result<Verdict, Fault>) {
        let Some((point, choice)) = self.open.pop_front() else { return };
        let found = &mut self.found;
        match verdict {
            Ok(Verdict::Good) => found.states += 1,
            Ok(Verdict::Bad(why)) => {
                found.states += 1;
                found.failing += 1;
                if found.failures.len() < KEPT {
                    found.failures.push(Failure { point, choice, why });
                }
            }
            Err(Fault(why)) => found.fault = Some(Failure { point, choice, why }),
        }
    }

    /// What was found. Verdicts that come after a fault are nobody's.
    fn end(mut self) -> Explored {
        self.take_verdicts(true);
        while self.judges.next(true).is_some() {}
        self.found
    }
}
