//! Runner: plays cases, several at a time, and tells what happens.
//!
//! Lanes are threads that each play one case after the other; cases that measure are played alone,
//! when the lanes are through. The caller's thread watches: it hands events on, and ends the run
//! with its guests at an interrupt or when a case does not come back. Nothing here waits without a
//! deadline.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::anyhow;

use crate::case::Case;
use crate::console;
use crate::cpu;
use crate::outcome::{CaseResult, Cause, Outcome, judge};
use crate::promises::Broken;
use crate::rig::Rig;
use crate::seed::Seed;
use crate::world::World;

/// How long after its limit a case may take to end its guests and come back.
const GRACE: Duration = Duration::from_secs(15);

/// How long a case may take to remove its files once its guests were killed.
const UNWIND: Duration = Duration::from_secs(5);

/// What the watching thread hears.
#[derive(Debug)]
pub enum Message {
    /// A case begins.
    Started(Case),
    /// A running case of this name begins a step.
    Step(&'static str, String),
    /// A case ended.
    Finished(Box<CaseResult>),
    /// The user wants the run to end.
    Interrupt,
}

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The cases, in the order of their results.
    pub cases: Vec<Case>,
    /// How many of them are played at a time.
    pub lanes: NonZero<usize>,
    /// The number that fixes every choice.
    pub seed: Seed,
    /// When the whole run counts as hanging.
    pub limit: Duration,
}

/// What came of a run.
#[derive(Debug)]
pub struct Summary {
    /// One result for each case of the plan, in its order.
    pub results: Vec<CaseResult>,
    /// Why the run ended before its last case.
    pub cut_short: Option<CutShort>,
}

/// Why a run ended before its last case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutShort {
    /// The user ended it.
    Interrupted,
    /// The run's own deadline passed, or a case did not come back.
    TimedOut,
}

/// Plays the plan's cases; `hear` is told of everything that happens.
///
/// `sender` and `receiver` are the two ends of one channel; others may send
/// [`Message::Interrupt`] into it.
pub fn run(
    plan: &Plan,
    world: &Arc<World>,
    (sender, receiver): (Sender<Message>, &Receiver<Message>),
    hear: &mut dyn FnMut(&Message),
) -> Summary {
    let (ahead, shared) = (plan.clone(), Arc::clone(world));
    std::thread::spawn(move || play_all(&ahead, &shared, &sender));
    let mut watch = Watch::new(plan);
    let mut cut_short = None;
    while cut_short.is_none() && !watch.is_done() {
        let message = receiver.recv_timeout(watch.patience());
        if let Ok(message) = &message {
            hear(message);
        }
        match message {
            Ok(Message::Started(case)) => watch.started(case),
            Ok(Message::Finished(result)) => watch.finished(*result),
            Ok(Message::Step(..)) => {}
            Ok(Message::Interrupt) => cut_short = Some(CutShort::Interrupted),
            Err(_) => cut_short = Some(CutShort::TimedOut),
        }
    }
    if cut_short.is_some() {
        // Whoever waits for a guest sees it die; running cases unwind and remove their files.
        world.cut_short();
        let mut running = watch.running.len();
        let until = Instant::now() + UNWIND;
        let left = || until.saturating_duration_since(Instant::now());
        while running > 0
            && let Ok(message) = receiver.recv_timeout(left())
        {
            running -= usize::from(matches!(message, Message::Finished(_)));
        }
    }
    watch.close(plan, world, cut_short)
}

/// Plays all cases of a plan: those that may take longest first, so that no lane ends long after
/// the others.
fn play_all(plan: &Plan, world: &Arc<World>, events: &Sender<Message>) {
    let play_one = |case: Case, events: &Sender<Message>| {
        let _ = events.send(Message::Started(case));
        let result = play(&case, world, plan.seed, events);
        let _ = events.send(Message::Finished(Box::new(result)));
    };
    let (alone, mut together): (Vec<Case>, Vec<Case>) =
        plan.cases.iter().partition(|case| case.alone);
    together.sort_by_key(|case| std::cmp::Reverse(case.limit));
    let queue = Mutex::new(together.into_iter());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let goes_on = || !world.wait_for_cut(Duration::ZERO);
    let lane = |events: Sender<Message>| {
        while goes_on()
            && let Some(case) = next()
        {
            play_one(case, &events);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..plan.lanes.get() {
            let events = events.clone();
            scope.spawn(move || lane(events));
        }
    });
    alone.into_iter().take_while(|_| goes_on()).for_each(|case| play_one(case, events));
}

/// Plays one case to its result; a panic of the case is a failure like any other.
pub fn play(case: &Case, world: &Arc<World>, seed: Seed, events: &Sender<Message>) -> CaseResult {
    let (began, cpu_before) = (Instant::now(), cpu::of_this_thread());
    let mut rig = match Rig::new(case, Arc::clone(world), seed, events.clone()) {
        Ok(rig) => rig,
        Err(error) => return blank(case, judge(Err(error))),
    };
    let played = catch_unwind(AssertUnwindSafe(|| (case.run)(&mut rig)));
    let mut judged = judge(played.unwrap_or_else(|panic| Err(anyhow!(said_by(&*panic)))));
    judged = with_promises(judged, rig.judge_promises());
    if judged.0 == Outcome::Pass
        && let Some(line) = console::warning(rig.dir())
    {
        let why = format!("all held, but the guest's kernel complains: {line}");
        judged = (Outcome::Fail(why), Cause::Verdict);
    }
    let mut result = blank(case, judged);
    if result.outcome.is_failure() {
        result.console = console::tail(rig.dir());
    }
    rig.dir().clone_into(&mut result.artefacts);
    result.remark = rig.remark();
    (result.figures, result.ways) = rig.close(!result.outcome.is_failure());
    result.wall = began.elapsed();
    result.cpu = cpu::of_this_thread().saturating_sub(cpu_before);
    result
}

/// A verdict with that on promises: a case that passed needs both, one that failed may have done
/// so because of a broken promise.
fn with_promises(
    (outcome, cause): (Outcome, Cause),
    promises: anyhow::Result<()>,
) -> (Outcome, Cause) {
    match (outcome, promises) {
        (Outcome::Pass, promises) => judge(promises),
        (Outcome::Fail(why), Err(error)) if error.is::<Broken>() => {
            (Outcome::Fail(format!("{why}; and {error}")), cause)
        }
        (outcome, _) => (outcome, cause),
    }
}

fn blank(case: &Case, (outcome, by): (Outcome, Cause)) -> CaseResult {
    CaseResult {
        name: case.name.to_owned(),
        guest: case.guest.to_owned(),
        outcome,
        cause: by,
        remark: case.remark.to_owned(),
        wall: Duration::ZERO,
        cpu: Duration::ZERO,
        figures: crate::outcome::Figures::new(),
        ways: Vec::new(),
        console: Vec::new(),
        artefacts: std::path::PathBuf::new(),
    }
}

fn said_by(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("the case panicked: {}", text.unwrap_or("without a message"))
}

/// The watching thread's knowledge: what runs, until when, and what has ended.
struct Watch {
    /// How many cases there are.
    cases: usize,
    results: BTreeMap<String, CaseResult>,
    running: BTreeMap<&'static str, (Case, Instant)>,
    /// When the run as a whole counts as hanging.
    run_ends: Instant,
}

impl Watch {
    fn new(plan: &Plan) -> Self {
        let (results, running) = (BTreeMap::new(), BTreeMap::new());
        Self { cases: plan.cases.len(), results, running, run_ends: Instant::now() + plan.limit }
    }

    fn is_done(&self) -> bool {
        self.results.len() == self.cases
    }

    /// How long the next message may take. A case ends its own waits at its limit; one that is
    /// still silent after the grace will never come back.
    fn patience(&self) -> Duration {
        let case_ends = self.running.values().map(|(case, began)| *began + case.limit + GRACE);
        let wake = case_ends.fold(self.run_ends, Instant::min);
        wake.saturating_duration_since(Instant::now())
    }

    fn started(&mut self, case: Case) {
        self.running.insert(case.name, (case, Instant::now()));
    }

    fn finished(&mut self, result: CaseResult) {
        self.running.remove(result.name.as_str());
        self.results.insert(result.name.clone(), result);
    }

    /// Completes the results: the cases that were running, and those that never began.
    fn close(mut self, plan: &Plan, world: &World, cut_short: Option<CutShort>) -> Summary {
        let running = std::mem::take(&mut self.running);
        let result = |case: &Case| {
            if let Some(result) = self.results.remove(case.name) {
                return result;
            }
            if let Some(((case, began), cut)) = running.get(case.name).zip(cut_short) {
                return cut_off(case, began.elapsed(), cut, world);
            }
            let why = "the run ended before this case began".to_owned();
            blank(case, (Outcome::Skip(why), Cause::Nothing))
        };
        Summary { results: plan.cases.iter().map(result).collect(), cut_short }
    }
}

/// The result of a case that was running for so long when the run was cut short.
fn cut_off(case: &Case, after: Duration, cut: CutShort, world: &World) -> CaseResult {
    let (why, by) = match cut {
        CutShort::Interrupted => ("interrupted".to_owned(), Cause::Nothing),
        CutShort::TimedOut if after > case.limit => (too_late(after), Cause::Timeout),
        CutShort::TimedOut => ("the run was ended by a deadline".to_owned(), Cause::Timeout),
    };
    let artefacts = world.case_dir(case.name);
    let console = console::tail(&artefacts);
    CaseResult { wall: after, artefacts, console, ..blank(case, (Outcome::Fail(why), by)) }
}

fn too_late(after: Duration) -> String {
    format!("timed out after {} s and did not come back", after.as_secs())
}
