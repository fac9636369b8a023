//! Explore: loses power everywhere in a recording, and reports what must not be lost.

use std::time::Instant;

use vm::crash::assertion::assertions;
use vm::crash::image::copy;
use vm::crash::report::redundant;

use super::lab::{self, Lab};
use super::results;
use crate::cli::crash::judge::ExploreArgs;
use crate::exit::Exit;
use crate::report;
use crate::report::crash::judge::Judge;
use crate::report::progress::Progress;

/// Explores and reports.
pub(super) fn run(args: &ExploreArgs) -> anyhow::Result<Exit> {
    report::check_writable(args.files.json.iter().chain(&args.files.html))?;
    results::check_named(&args.recording, &args.files)?;
    let judge = Judge::new(&args.checker, &args.judge)?;
    let at_once = lab::at_once(&args.states);
    let mut lab = Lab::open(&args.recording, judge, at_once)?;
    let mut plan = lab.plan(&args.states);
    plan.rules = args.rules.over(plan.rules);
    plan.shard = args.shard;
    let mut progress = Progress::new(false);
    progress.step("exploring");
    let start = Instant::now();
    let explored = lab.explore(&plan, &mut progress);
    let took = start.elapsed().as_secs_f64();
    let (mistakes, unexplained) = lab.explain(&plan, &explored.failures, &mut progress);
    progress.close();
    let states = explored.states;
    let mut result = lab.result(&plan, explored);
    (result.mistakes, result.unexplained) = (mistakes, unexplained);
    let (image, events) = (&lab.recording.image, &lab.recording.events);
    result.assertions = assertions(copy(image), events, plan.rules, &lab.symbols);
    result.redundant = redundant(copy(image), events, plan.rules, &lab.symbols);
    // A u64 of states has no more digits than a f64 shows.
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = states as f64 / took.max(1e-9);
    eprintln!("vmctl: {states} states judged in {took:.1} s, {rate:.0} a second");
    results::show(&result, &args.files, Some(&lab))
}
