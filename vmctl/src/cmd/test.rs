//! Command `test`: chooses cases, prepares the world, runs them, reports.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::mpsc::channel;

use e2e::case::select;
use e2e::runner::{self, Message, Plan};
use e2e::{CASES, Case, HIDDEN, Seed, World};

use crate::cli::{Accel, TestArgs};
use crate::exit::{Exit, Usage};
use crate::report::{self, Head, terminal::Terminal};
use crate::{signals, world};

use super::gate;

/// How many cases are played at a time unless told otherwise, if there are CPUs for them.
const MOST_LANES: NonZero<usize> = NonZero::new(4).expect("4 is not 0");

/// Runs or lists cases.
pub(crate) fn run(args: &TestArgs) -> anyhow::Result<Exit> {
    if args.filters == ["list"] {
        list();
        return Ok(Exit::Pass);
    }
    let cases = select(&args.filters, CASES, HIDDEN).map_err(Usage)?;
    report::check_writable(args.junit.iter().chain(&args.json).chain(&args.html))?;
    let seed = args.seed.unwrap_or_else(world::fresh_seed);
    let mut options = world::options(&args.host)?;
    options.keep_on_fail = args.keep_on_fail;
    let world = Arc::new(World::new(options));
    let mut head = Head { seed, accel: "none".into(), qemu: "none".into() };
    if let Some(case) = cases.iter().find(|case| case.needs_guest()) {
        gate::pass(&args.host)?;
        world.prepare(case.guest, &mut |line| println!("{line}"))?;
        let base = world.base()?;
        head.accel = base.accel.to_string();
        head.qemu = qemu_version(&base.qemu.line);
    }
    play(args, &world, cases, &head)
}

fn play(
    args: &TestArgs,
    world: &Arc<World>,
    cases: Vec<Case>,
    head: &Head,
) -> anyhow::Result<Exit> {
    let lanes = args.jobs.unwrap_or_else(lanes);
    let plan = Plan { cases, lanes, seed: Seed(head.seed), limit: args.timeout };
    let (sender, receiver) = channel();
    let run = sender.clone();
    signals::on_interrupt(move || run.send(Message::Interrupt).is_ok());
    let mut terminal = Terminal::new(plan.cases.len(), rerun_options(args, head));
    let summary = runner::run(&plan, world, (sender, &receiver), &mut |message| {
        terminal.hear(message);
    });
    terminal.close(&summary);
    if let Some(path) = &args.json {
        report::write(path, &report::json::text(head, &summary.results))?;
    }
    if let Some(path) = &args.junit {
        report::write(path, &report::junit::text(head, &summary.results)?)?;
    }
    if let Some(path) = &args.html {
        report::write(path, &report::html::text(head, &summary.results))?;
    }
    Ok(Exit::of_run(&summary))
}

/// A guest keeps one CPU busy, and some of the host's memory.
fn lanes() -> NonZero<usize> {
    let cpus = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
    cpus.min(MOST_LANES)
}

/// "10.0.2" of "QEMU emulator version 10.0.2 (Debian ...)".
fn qemu_version(line: &str) -> String {
    let after = line.split("version ").nth(1).unwrap_or(line);
    after.split(' ').next().unwrap_or(after).to_owned()
}

fn list() {
    for case in CASES {
        println!("{:<32} {}", case.name, case.guest);
    }
}

/// The options that make a run of one case the same as in this run.
fn rerun_options(args: &TestArgs, head: &Head) -> String {
    let mut options = vec!["--seed".to_owned(), head.seed.to_string()];
    if let Some(qemu) = &args.host.qemu {
        options.extend(["--qemu".to_owned(), vm::process::quoted(qemu)]);
    }
    if args.host.accel != Accel::Auto {
        options.extend(["--accel".to_owned(), args.host.accel.to_string()]);
    }
    options.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_qemu_is_cut_from_its_line() {
        assert_eq!(qemu_version("QEMU emulator version 10.0.2 (Debian 1:10.0.2)"), "10.0.2");
        assert_eq!(qemu_version("QEMU emulator version 11.0.0"), "11.0.0");
        assert_eq!(qemu_version("other"), "other");
    }
}
