//! Replay: judges one state again.

use anyhow::Context;
use vm::crash::image::copy;
use vm::crash::{Failure, Moment, Plan, Rules, Verdict, View};

use super::lab::{self, Lab};
use super::results;
use crate::cli::crash::judge::ReplayArgs;
use crate::exit::{Exit, Usage};
use crate::report;
use crate::report::crash::judge::Judge;
use crate::report::progress::Progress;

/// What is replayed.
struct Wish {
    folder: std::path::PathBuf,
    judge: Judge,
    /// Those of a result, and the trace for which it holds.
    result: Option<(Rules, String)>,
    failure: Failure,
}

/// Judges a state again.
pub(super) fn run(args: &ReplayArgs) -> anyhow::Result<Exit> {
    report::check_writable(args.image.iter())?;
    let Wish { folder, judge, result, failure } = wish(args)?;
    let mut lab = Lab::open(&folder, judge, 1)?;
    let (recorded, trace) = (lab.recording.header.rules, &lab.recording.trace_hash);
    let (rules, of) = result.unwrap_or_else(|| (recorded, trace.clone()));
    if of != *trace {
        let why = "another recording is there now than the one that was judged";
        return Err(Usage(format!("{}: {why}", folder.display())).into());
    }
    let rules = args.rules.over(rules);
    let plan = Plan { rules, ..Plan::default() };
    let (image, events) = (copy(&lab.recording.image), &lab.recording.events);
    if failure.point.event > events.len() as u64 {
        let why = format!("point {}: the trace has {} events", failure.point, events.len());
        return Err(Usage(why).into());
    }
    let mut moment = Moment::at(image, events, rules, failure.point);
    known(&moment, &failure)?;
    if let Some(path) = &args.image {
        let state = moment.image(&failure.choice);
        let window = if lab.judge.whole { None } else { Some(lab.recording.record.window) };
        let bytes = window.map_or(Some(&state[..]), |window| window.of(&state));
        lab::write_image(path, bytes.unwrap_or_default())?;
        let path = std::path::absolute(path).context("find the working folder")?;
        println!("{}: {} bytes", path.display(), bytes.map_or(0, <[u8]>::len));
    }
    let mut ask = |view: &View<'_>| lab.checker.check(view);
    let verdict = moment.judge(&failure.choice, &mut ask);
    let lost = lost(&moment, &failure);
    let (point, in_flight) = (failure.point, moment.lines().count());
    // Not the program: a second run of it would be another one.
    let head = format!("the recorded trace again, at point {point}: {in_flight} lines in flight");
    println!("{head}; not as the CPUs saw them: {lost}");
    match verdict {
        Ok(Verdict::Good) => {
            println!("good");
            Ok(Exit::Pass)
        }
        Ok(Verdict::Bad(why)) => {
            let failure = Failure { why, ..failure };
            println!("bad: {}", failure.why);
            bad(&mut lab, &plan, &failure);
            Ok(Exit::Failed)
        }
        Err(fault) => anyhow::bail!("no verdict: {fault}"),
    }
}

/// Explains the failure.
fn bad(lab: &mut Lab, plan: &Plan, failure: &Failure) {
    let mut progress = Progress::new(false);
    let explained = lab.explain(plan, std::slice::from_ref(failure), &mut progress);
    progress.close();
    for mistake in explained.0 {
        print!("{}", mistake.report);
    }
    if let Some(why) = explained.1 {
        println!("it is not explained: {why}");
    }
}

fn wish(args: &ReplayArgs) -> anyhow::Result<Wish> {
    let usage = |why: String| anyhow::Error::from(Usage(why));
    let from = args.from.display();
    if args.from.is_dir() {
        let (Some(point), Some(choice), Some(checker)) =
            (args.point, args.choice.clone(), args.checker.clone())
        else {
            let why = "a recording is replayed with --point, --choice and --checker";
            return Err(usage(format!("{from}: {why}; a result with --id")));
        };
        if args.moved.recording.is_some() {
            return Err(usage(format!("{from}: this is a recording; --recording is for results")));
        }
        let judge = Judge::new(&checker, &args.judge)?;
        let failure = Failure { point, choice, why: String::new() };
        return Ok(Wish { folder: args.from.clone(), judge, result: None, failure });
    }
    let Some(id) = &args.id else {
        return Err(usage(format!("{from}: a result is replayed with --id")));
    };
    let result = results::read(&args.from, &args.moved)?;
    let failure = result.find(id);
    let failure = failure.ok_or_else(|| usage(format!("{from}: no failure is called {id}")))?;
    let mut judge = result.judge;
    if let Some(checker) = &args.checker {
        let folder = std::env::current_dir().context("find the working folder")?;
        (judge.checker, judge.folder) = (checker.clone(), folder);
    }
    let (folder, judge) = (result.recording, judge.told(&args.judge)?);
    let result = Some((result.part.plan.rules, result.part.trace));
    Ok(Wish { folder, judge, result, failure })
}

/// Refuses lines and values that are not there: they would change nothing.
fn known(moment: &Moment, failure: &Failure) -> anyhow::Result<()> {
    for (line, value) in &failure.choice.except {
        let in_flight = moment.lines().find(|in_flight| in_flight.line == *line);
        if in_flight.is_none_or(|in_flight| *value >= in_flight.values.len()) {
            let what = format!("line {}={value} at point {}", line.0, failure.point);
            return Err(Usage(format!("{what}: no such line in flight, or no such value")).into());
        }
    }
    Ok(())
}

/// The lines that are lost, as text.
fn lost(moment: &Moment, failure: &Failure) -> String {
    let choice = &failure.choice;
    let lines = moment.lines().filter_map(|line| {
        let named = choice.except.iter().find(|(other, _)| *other == line.line);
        let value = named.map_or(if choice.all { line.all } else { 0 }, |(_, value)| *value);
        let (offset, count) = (line.line.start().0, line.values.len());
        (value != line.all).then(|| format!("{offset:#x} (value {value} of {count})"))
    });
    let lines: Vec<_> = lines.collect();
    if lines.is_empty() { "none".to_owned() } else { lines.join(", ") }
}
