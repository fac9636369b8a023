//! Matrix: one exploration for each combination of rules.

use std::collections::BTreeSet;

use vm::crash::{DeviceWrites, Domain, Explored, Fences, Plan, Rules};

use super::lab::{self, Lab};
use crate::cli::crash::judge::MatrixArgs;
use crate::exit::Exit;
use crate::report::crash::judge::Judge;
use crate::report::progress::Progress;
use crate::signals;

/// Explores under all rules; a row for each.
pub(super) fn run(args: &MatrixArgs) -> anyhow::Result<Exit> {
    let judge = Judge::new(&args.checker, &args.judge)?;
    let mut lab = Lab::open(&args.recording, judge, lab::at_once(&args.states))?;
    let base = lab.plan(&args.states);
    let recorded = base.rules;
    println!(
        "  domain  fences  dma      {:>8} {:>8} {:>8}  classes",
        "points", "states", "failing"
    );
    let (mut exit, mut failing) = (Exit::Pass, None);
    for rules in all() {
        let mut progress = Progress::new(false);
        progress.step(&name(rules));
        let plan = Plan { rules, ..base };
        let found = lab.explore(&plan, &mut progress);
        let (mistakes, _) = lab.explain(&plan, &found.failures, &mut progress);
        progress.close();
        let classes: BTreeSet<_> = mistakes.iter().map(|mistake| mistake.report.class).collect();
        let classes: Vec<_> = classes.iter().map(ToString::to_string).collect();
        let mark = if rules == recorded { '*' } else { ' ' };
        println!("{mark} {}", row(rules, &found, &classes.join("; ")));
        let result = lab.result(&plan, found);
        match result.exit() {
            Exit::Failed => {
                exit = Exit::Failed;
                failing = failing.or(Some(rules));
            }
            other if exit == Exit::Pass => exit = other,
            _ => {}
        }
        if result.explored().fault.is_some() || signals::interrupted() {
            println!("no verdict: {}", result.no_verdict().unwrap_or_default());
            break;
        }
    }
    println!("* as recorded; a guest flushes as its domain asks, so that the rows of the other");
    println!("  domain are about a machine that it was not told of");
    if let Some(rules) = failing {
        let explore = lab.judge.command("explore", &lab.folder, &[], rules);
        println!("the first failing row, with all that is known: {explore}");
    }
    if let Some(cut) = &lab.recording.cut {
        println!("no verdict: {cut}");
    }
    Ok(exit)
}

/// All rules, the harshest first.
fn all() -> Vec<Rules> {
    let mut all = Vec::new();
    for domain in [Domain::Adr, Domain::Eadr] {
        for fences in [Fences::Strict, Fences::Hw] {
            for dma in [DeviceWrites::Cache, DeviceWrites::Persist] {
                all.push(Rules { domain, fences, dma });
            }
        }
    }
    all
}

fn name(rules: Rules) -> String {
    let Rules { domain, fences, dma } = rules;
    format!("{:<7} {:<7} {:<8}", domain.name(), fences.name(), dma.name())
}

fn row(rules: Rules, found: &Explored, classes: &str) -> String {
    let counts = format!("{:>8} {:>8} {:>8}", found.points, found.states, found.failing);
    format!("{} {counts}  {classes}", name(rules)).trim_end().to_owned()
}
