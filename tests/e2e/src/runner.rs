//! Runner: plays cases one after the other and tells what happens.
//!
//! A worker thread plays the cases. The caller's thread watches: it hands events on, and ends the
//! run with its guests at an interrupt or when a case does not come back. Nothing here waits
//! without a deadline.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use anyhow::anyhow;

use crate::case::Case;
use crate::console;
use crate::cpu::cpu_time;
use crate::outcome::{CaseResult, Cause, Outcome, judge};
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
    /// The running case begins a step.
    Step(String),
    /// A case ended.
    Finished(Box<CaseResult>),
    /// No case is left.
    Done,
    /// The user wants the run to end.
    Interrupt,
}

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The cases in order.
    pub cases: Vec<Case>,
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
    std::thread::spawn(move || {
        for case in &ahead.cases {
            let _ = sender.send(Message::Started(*case));
            let result = play(case, &shared, ahead.seed, &sender);
            let _ = sender.send(Message::Finished(Box::new(result)));
        }
        let _ = sender.send(Message::Done);
    });
    let mut watch = Watch::new(plan);
    let cut_short = loop {
        let message = receiver.recv_timeout(watch.patience());
        if let Ok(message) = &message {
            hear(message);
        }
        match message {
            Ok(Message::Started(case)) => watch.started(case),
            Ok(Message::Finished(result)) => watch.finished(*result),
            Ok(Message::Step(_)) => {}
            Ok(Message::Done) => break None,
            Ok(Message::Interrupt) => break Some(CutShort::Interrupted),
            Err(_) => break Some(CutShort::TimedOut),
        }
    };
    if cut_short.is_some() {
        // Whoever waits for a guest sees it die; the running case unwinds and removes its files.
        world.cut_short();
        let unwound = |message: &Message| matches!(message, Message::Finished(_) | Message::Done);
        let until = Instant::now() + UNWIND;
        let left = || until.saturating_duration_since(Instant::now());
        while receiver.recv_timeout(left()).is_ok_and(|message| !unwound(&message)) {}
    }
    watch.close(plan, world, cut_short)
}

/// Plays one case to its result; a panic of the case is a failure like any other.
pub fn play(case: &Case, world: &Arc<World>, seed: Seed, events: &Sender<Message>) -> CaseResult {
    let (began, cpu_before) = (Instant::now(), cpu_time());
    let mut rig = match Rig::new(case, Arc::clone(world), seed, events.clone()) {
        Ok(rig) => rig,
        Err(error) => return blank(case, judge(Err(error))),
    };
    let played = catch_unwind(AssertUnwindSafe(|| (case.run)(&mut rig)));
    let mut judged = judge(played.unwrap_or_else(|panic| Err(anyhow!(said_by(&*panic)))));
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
    (result.figures, result.ways) = rig.close(!result.outcome.is_failure());
    result.wall = began.elapsed();
    result.cpu = cpu_time().saturating_sub(cpu_before);
    result
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
    results: Vec<CaseResult>,
    running: Option<(Case, Instant)>,
    /// When the run as a whole counts as hanging.
    run_ends: Instant,
}

impl Watch {
    fn new(plan: &Plan) -> Self {
        Self { results: Vec::new(), running: None, run_ends: Instant::now() + plan.limit }
    }

    /// How long the next message may take. A case ends its own waits at its limit; one that is
    /// still silent after the grace will never come back.
    fn patience(&self) -> Duration {
        let case_ends = self.running.map(|(case, began)| began + case.limit + GRACE);
        let wake = case_ends.unwrap_or(self.run_ends).min(self.run_ends);
        wake.saturating_duration_since(Instant::now())
    }

    fn started(&mut self, case: Case) {
        self.running = Some((case, Instant::now()));
    }

    fn finished(&mut self, result: CaseResult) {
        self.results.push(result);
        self.running = None;
    }

    /// Completes the results: the case that was running, and those that never began.
    fn close(mut self, plan: &Plan, world: &World, cut_short: Option<CutShort>) -> Summary {
        if let (Some((case, began)), Some(cut)) = (self.running, cut_short) {
            let (why, by) = match cut {
                CutShort::Interrupted => ("interrupted".to_owned(), Cause::Nothing),
                CutShort::TimedOut => (too_late(began.elapsed()), Cause::Timeout),
            };
            let mut result = blank(&case, (Outcome::Fail(why), by));
            result.wall = began.elapsed();
            result.artefacts = world.case_dir(case.name);
            result.console = console::tail(&result.artefacts);
            self.results.push(result);
        }
        for case in &plan.cases[self.results.len()..] {
            let why = "the run ended before this case began".to_owned();
            self.results.push(blank(case, (Outcome::Skip(why), Cause::Nothing)));
        }
        Summary { results: self.results, cut_short }
    }
}

fn too_late(after: Duration) -> String {
    format!("timed out after {} s and did not come back", after.as_secs())
}
