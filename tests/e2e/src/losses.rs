//! Losses: a trace of what a program did to its pool, and every power loss during it, judged.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use vm::crash::report::{NoSymbols, Report, explain};
use vm::crash::{
    Bounds, Checker, Choice, Event, Explored, Fault, Marker, Moment, Op, Plan, Point, Rules,
    Verdict, View, explore,
};
use vm::recording::Traced;

use crate::oracle::{self, steps::Steps};
use crate::recovery::Recovery;

/// What ends an exploration that has found what it looked for.
const ENOUGH: &str = "enough was found";

/// What was seen of one run.
#[derive(Debug)]
pub(crate) struct Trace {
    image: Vec<u8>,
    events: Vec<Event>,
    rules: Rules,
    /// Where in the image the pool begins.
    start: usize,
}

/// What power losses left.
#[derive(Debug)]
pub(crate) struct Found {
    /// What was judged.
    pub(crate) explored: Explored,
    /// The first failure.
    pub(crate) report: Option<Report>,
    /// How long exploring took, in seconds.
    pub(crate) seconds: f64,
}

/// When an exploration ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// When all is explored.
    All,
    /// With the first state that fails.
    FirstFailure,
}

/// Judges states of a pool by the steps that its program was to play.
struct Judge<'a> {
    steps: &'a Steps,
    start: usize,
    extent: Extent,
    has_failed: bool,
    /// Whose recovery counts, if not the library's.
    recovery: Option<&'a mut Recovery>,
}

impl Judge<'_> {
    fn judge(&mut self, done: usize, view: &View<'_>) -> Result<oracle::Verdict, Fault> {
        let start = self.start;
        let pool = view.image.get(start..).ok_or_else(|| Fault("a short image".into()))?;
        let Some(recovery) = &mut self.recovery else { return Ok(self.steps.judge(done, pool)) };
        let changed = view.changed.map(|lines| {
            lines.iter().filter_map(|line| line.span().start.checked_sub(start)).collect()
        });
        let found = recovery.recover(pool, changed);
        let found = found.map_err(|error| Fault(format!("{error:#}")))?;
        Ok(self.steps.judge_recovered(done, found))
    }
}

impl Checker for Judge<'_> {
    fn check(&mut self, view: &View<'_>) -> Result<Verdict, Fault> {
        if self.has_failed && self.extent == Extent::FirstFailure {
            return Err(Fault(ENOUGH.into()));
        }
        let done = done(view.markers)?;
        Ok(match self.judge(done, view)? {
            Ok(()) => Verdict::Good,
            Err(why) => {
                self.has_failed = true;
                Verdict::Bad(format!("after step {done}: {why}"))
            }
        })
    }
}

/// How many steps were acknowledged.
fn done(markers: &[Marker]) -> Result<usize, Fault> {
    let last = markers.iter().rev().find(|marker| marker.op == Op::Checkpoint);
    let id = last.map_or(0, |marker| marker.args[0]);
    usize::try_from(id).map_err(|_| Fault(format!("a checkpoint has the id {id}")))
}

impl Trace {
    /// How many bytes the pool has.
    pub(crate) fn pool_bytes(&self) -> usize {
        self.image.len() - self.start
    }

    /// Reads a recorded trace of a pool that begins at `start` in the NVDIMM.
    ///
    /// # Errors
    /// It cannot be read, or is not whole.
    pub(crate) fn read(folder: &Path, start: u64) -> anyhow::Result<Self> {
        let Traced { header, image, events } = Traced::read(folder).context("read the trace")?;
        let start = usize::try_from(start).context("address the pool")?;
        Ok(Self { image, events, rules: header.rules, start })
    }

    /// Loses power everywhere, within these bounds; recovery is the library's, or the given one.
    ///
    /// # Errors
    /// There is no verdict, or the run did not get to its end.
    pub(crate) fn explore(
        &self,
        steps: &Steps,
        bounds: Bounds,
        extent: Extent,
        recovery: Option<&mut Recovery>,
    ) -> anyhow::Result<Found> {
        let plan = Plan { rules: self.rules, bounds, ..Plan::default() };
        let mut judge = Judge { steps, start: self.start, extent, has_failed: false, recovery };
        ensure!(self.checkpoints() == steps.acknowledged(), "{} steps", self.checkpoints());
        let began = Instant::now();
        let explored = explore(self.image.clone(), &self.events, &plan, &mut judge);
        let seconds = began.elapsed().as_secs_f64();
        if let Some(fault) = explored.fault.as_ref().filter(|fault| fault.why != ENOUGH) {
            bail!("no verdict: {}", fault.why);
        }
        judge.extent = Extent::All;
        let report = explored.failures.first().map(|failure| {
            let (image, events) = (self.image.clone(), &self.events);
            explain(image, events, self.rules, failure, &mut judge, &NoSymbols)
        });
        Ok(Found { report: report.transpose()?.flatten(), explored, seconds })
    }

    fn checkpoints(&self) -> usize {
        let is_one = |event: &&Event| matches!(event, Event::Marker(at) if at.op == Op::Checkpoint);
        self.events.iter().filter(is_one).count()
    }

    /// The number of the event that acknowledges this step.
    fn acknowledges(&self, step: u64) -> Option<usize> {
        self.events.iter().position(|event| match event {
            Event::Marker(marker) => marker.op == Op::Checkpoint && marker.args[0] == step,
            _ => false,
        })
    }
}

/// Where in a pool superblock, headers and the first entries lie, in bytes.
const LOG: std::ops::Range<usize> = 0..12288;
/// Where the entries begin.
const ENTRIES: usize = 8192;

/// Pools that power losses leave for the next program.
impl Trace {
    /// The pool after a power loss at the end of a step that appends, just before its last fence:
    /// all is there but the first line of entries that were in flight.
    ///
    /// # Errors
    /// There is no such step, or no such line.
    pub(crate) fn torn(&self, step: u64) -> anyhow::Result<Vec<u8>> {
        let end = self.acknowledges(step).context("find the step's end")?;
        let is_fence = |event: &Event| matches!(event, Event::Fence(_));
        let fence = self.events[..end].iter().rposition(is_fence).context("find a fence")?;
        // Events are numbered from 1 on: this is the moment before the fence.
        let mut moment = self.moment(fence);
        let entries = self.start + ENTRIES..self.start + LOG.end;
        let lines = moment.lines().map(|line| line.line);
        let lines: Vec<_> = lines.filter(|line| entries.contains(&line.span().start)).collect();
        ensure!(lines.len() > 1, "{} lines of entries are in flight", lines.len());
        let torn = Choice { all: true, except: vec![(lines[0], 0)] };
        Ok(self.pool(moment.image(&torn)))
    }

    /// What power losses during a step may leave of the pool, each log area once.
    ///
    /// # Errors
    /// There is no such step.
    pub(crate) fn left_in(&self, step: u64) -> anyhow::Result<Vec<Vec<u8>>> {
        let end = self.acknowledges(step).context("find the step's end")?;
        let begin = if step == 1 { 0 } else { self.acknowledges(step - 1).unwrap_or(0) };
        let log = self.start..self.start + LOG.end;
        let mut found: Vec<Vec<u8>> = Vec::new();
        for event in begin..=end {
            let mut moment = self.moment(event);
            let lines = moment.lines().filter(|line| log.contains(&line.line.span().start));
            let values = lines.flat_map(|line| (1..line.values.len()).map(|at| (line.line, at)));
            let few = values.map(|value| Choice { all: false, except: vec![value] });
            let few: Vec<_> = few.collect();
            let whole = [false, true].map(|all| Choice { all, except: Vec::new() });
            for choice in whole.into_iter().chain(few) {
                let pool = self.pool(moment.image(&choice));
                if found.iter().all(|other| other[LOG] != pool[LOG]) {
                    found.push(pool);
                }
            }
        }
        Ok(found)
    }

    /// After this many events.
    fn moment(&self, events: usize) -> Moment {
        let point = Point { event: events as u64, step: u32::MAX };
        Moment::at(self.image.clone(), &self.events, self.rules, point)
    }

    fn pool(&self, mut image: Vec<u8>) -> Vec<u8> {
        image.split_off(self.start)
    }
}
