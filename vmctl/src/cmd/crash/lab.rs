//! Lab: a recording, who judges its states, and what its instructions are called.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use vm::check::{ExecChecker, Options};
use vm::crash::explore::merge::Part;
use vm::crash::image::{self, copy};
use vm::crash::report::explain;
use vm::crash::symbols::GuestSymbols;
use vm::crash::{Checker, Explored, Failure, Fault, Judges, Plan, Verdict, View, explore_by};
use vm::nvdimm::Window;
use vm::recording::Recording;

use super::in_guest;
use crate::cli::crash::judge::StatesArgs;
use crate::exit::Usage;
use crate::report::crash::judge::Judge;
use crate::report::crash::result::{CrashResult, Mistake};
use crate::report::progress::Progress;
use crate::{env, signals};

/// The most mistakes that are explained.
const MISTAKES: usize = 16;

/// How often progress is told.
const TELL: Duration = Duration::from_millis(250);

/// All that it takes to judge states.
pub(super) struct Lab {
    /// Where it is, from every folder.
    pub(super) folder: PathBuf,
    pub(super) recording: Recording,
    pub(super) judge: Judge,
    pub(super) checker: Box<dyn StateChecker>,
    pub(super) symbols: GuestSymbols,
}

impl Lab {
    /// Reads the recording; what is missing of its symbols is told.
    pub(super) fn open(folder: &Path, judge: Judge, at_once: usize) -> anyhow::Result<Self> {
        let folder = std::path::absolute(folder).context("find the working folder")?;
        let recording = Recording::open(&folder).map_err(usage)?;
        let checker: Box<dyn StateChecker> = match &judge.in_guest {
            None => Box::new(on_host(&recording, &judge, at_once)?),
            Some(inside) => Box::new(in_guest::checker(&recording, &judge, inside, at_once)?),
        };
        let (symbols, missing) = recording.symbols(&judge.elf);
        for what in missing {
            eprintln!("vmctl: no names from {what}; give the file with --elf FILE");
        }
        let outside = recording.writes_outside();
        if outside > 0 && !judge.whole && judge.in_guest.is_none() {
            eprintln!(
                "vmctl: {outside} writes lie outside the program's device, where its checker does \
                 not see them; it sees the whole NVDIMM with --whole"
            );
        }
        if let Some(cut) = &recording.cut {
            eprintln!("vmctl: {cut}");
        }
        Ok(Self { folder, recording, judge, checker, symbols })
    }

    /// The exploration that these arguments ask for.
    pub(super) fn plan(&self, states: &StatesArgs) -> Plan {
        let (rules, points) = (self.recording.header.rules, states.points.into());
        let seed = states.seed.unwrap_or(self.recording.header.seed);
        Plan { rules, points, bounds: states.bounds(), seed, ..Plan::default() }
    }

    /// Explores.
    pub(super) fn explore(&mut self, plan: &Plan, progress: &mut Progress) -> Explored {
        let Recording { image, events, .. } = &self.recording;
        let (total, last) = (events.len(), Instant::now());
        let mut told =
            Told { judges: &mut *self.checker, progress, total, states: 0, bad: 0, last };
        let mut found = explore_by(copy(image), events, plan, &mut told);
        if let Some(fault) = found.fault.as_mut().filter(|_| signals::interrupted()) {
            "interrupted".clone_into(&mut fault.why);
        }
        found
    }

    /// Each mistake behind failures once, and why there may be more.
    pub(super) fn explain(
        &mut self,
        plan: &Plan,
        failures: &[Failure],
        progress: &mut Progress,
    ) -> (Vec<Mistake>, Option<String>) {
        let (mut mistakes, mut kinds) = (Vec::new(), BTreeSet::new());
        for (failure, number) in failures.iter().zip(1..) {
            if mistakes.len() == MISTAKES {
                return (mistakes, Some(format!("{MISTAKES} mistakes are")));
            }
            progress.step(&format!("explaining failure {number} of {}", failures.len()));
            let Recording { image, events, .. } = &self.recording;
            let (checker, symbols) = (&mut *self.checker, &self.symbols);
            match explain(copy(image), events, plan.rules, failure, checker, symbols) {
                Ok(report) => {
                    let mistake = report.map(Mistake::new);
                    mistakes.extend(mistake.filter(|mistake| kinds.insert(mistake.kind())));
                }
                Err(_) if signals::interrupted() => {
                    return (mistakes, Some("interrupted".to_owned()));
                }
                Err(Fault(why)) => return (mistakes, Some(why)),
            }
        }
        (mistakes, None)
    }

    /// An empty result of a plan.
    pub(super) fn result(&self, plan: &Plan, explored: Explored) -> CrashResult {
        let trace = self.recording.trace_hash.clone();
        let part = Part { trace, plan: *plan, explored };
        let mut result = CrashResult::new(self.folder.clone(), self.judge.clone(), part);
        result.device = self.recording.record.window.offset();
        result.events = self.recording.events.len() as u64;
        result.cut = self.recording.cut.as_ref().map(ToString::to_string);
        result
    }
}

/// Who judges many states at a time, or one.
pub(super) trait StateChecker: Judges + Checker {}

impl<T: Judges + Checker> StateChecker for T {}

fn on_host(recording: &Recording, judge: &Judge, at_once: usize) -> anyhow::Result<ExecChecker> {
    let mut window = recording.record.window;
    if judge.whole {
        window = Window::whole(recording.header.nvdimm_bytes).map_err(usage)?;
    }
    let places = vec![PathBuf::from(vm::host::SHARED_MEMORY), env::temp_dir()];
    let limit = Duration::from_secs(judge.timeout_seconds);
    let (command, folder) = (judge.checker.clone(), judge.folder.clone());
    ExecChecker::new(Options { command, folder, window, limit, places, at_once }).map_err(usage)
}

/// As many checkers at a time as there are CPUs, unless told otherwise.
pub(super) fn at_once(states: &StatesArgs) -> usize {
    let cpus = || std::thread::available_parallelism().map_or(1, usize::from);
    states.jobs.map_or_else(cpus, usize::from)
}

/// Input that cannot be used is wrong usage; anything else is the host's.
pub(super) fn usage(error: vm::Error) -> anyhow::Error {
    match error {
        vm::Error::Invalid { .. } => Usage(error.to_string()).into(),
        error => error.into(),
    }
}

/// Writes a state as a checker sees it.
pub(super) fn write_image(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    image::write(path, bytes).with_context(|| format!("write {}", path.display()))
}

/// Judges, and somebody who is told how far they are.
struct Told<'a> {
    judges: &'a mut dyn Judges,
    progress: &'a mut Progress,
    total: usize,
    states: u64,
    bad: u64,
    last: Instant,
}

impl Judges for Told<'_> {
    fn hand_in(&mut self, view: &View<'_>) {
        self.states += 1;
        if self.last.elapsed() >= TELL {
            self.last = Instant::now();
            let (event, total) = (view.point.event, self.total);
            let (states, bad) = (self.states, self.bad);
            let line = format!("event {event} of {total}: {states} states, {bad} failing");
            self.progress.step(&line);
        }
        self.judges.hand_in(view);
    }

    fn next(&mut self, wait: bool) -> Option<Result<Verdict, Fault>> {
        let verdict = self.judges.next(wait);
        self.bad += u64::from(matches!(verdict, Some(Ok(Verdict::Bad(_)))));
        verdict
    }
}
