//! Litmus cases: the table of the crash model, against the models and in a guest with two CPUs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, ensure};
use vm::crash::event::Event;
use vm::crash::line::{Line, LineBytes, Offset};
use vm::crash::litmus::{Row, TABLE, modelled, watched, wrong};
use vm::watch::Kept;
use vm::{Command, Mib, Watch};

use crate::bench::Bench;
use crate::needs::Needs;
use crate::rig::Rig;

/// Where the program lies in the guest, and the device that it works on.
const PROGRAM: &str = "/run/litmus";
const DEVICE: &str = "/dev/dax0.0";

/// How long all rows may take: the CPUs wait for each other, and the host may have but one.
const LIMIT: Duration = Duration::from_mins(2);

/// Bytes of the device that a row has for itself.
const PAGE: u64 = 4096;

/// Times that each CPU makes its words durable while the other does so, too.
const ROUNDS: u32 = 2000;

/// Each model reaches what the table says; the diff model, as far as flushes show it.
pub(super) fn models(rig: &mut Rig) -> anyhow::Result<()> {
    let wrong = [wrong(modelled, |_| true), wrong(watched, Row::is_shown_by_flushes)].concat();
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    rig.count("litmus_rows", TABLE.len() as u64)
}

/// Two CPUs that run at the same time are told apart: what they leave is what the diff model says
/// and the table allows, whichever of them plays which part, and also if one thread plays both.
/// What both make durable at the same time stays durable.
pub(super) fn two_cpus(rig: &mut Rig) -> anyhow::Result<()> {
    let program = rig.world().protocols("litmus")?;
    let bench = rig.boot(Needs::devdax(Mib(16)).cpus(2))?;
    bench.put(&program, PROGRAM)?;
    let all: Vec<_> = TABLE.iter().filter(|row| is_of_program(row)).collect();
    let both: Vec<_> = all.iter().copied().filter(|row| row.program.contains("1:")).collect();
    ensure!(both.len() >= 8, "only {} rows have two CPUs", both.len());
    let mut judged = 0;
    for (how, rows, first) in
        [("threads", &all, 64), ("swapped", &both, 128), ("migrates", &both, 192)]
    {
        rig.step(format!("{} litmus tests: {how}", rows.len()));
        let programs = rows.iter().map(|row| row.program);
        run(&bench, [how, &first.to_string()].into_iter().chain(programs))?;
        for (row, id) in rows.iter().zip(first..) {
            judge(&bench, row, id).with_context(|| format!("{how}: {row:?}"))?;
        }
        judged += rows.len();
    }
    rig.count("litmus_rows_in_guest", judged as u64)?;
    rig.step("both CPUs at once");
    run(&bench, ["race", &ROUNDS.to_string()])?;
    let promised = bench.watch()?.assertions().context("read what was promised")?.len();
    ensure!(promised == 4 * ROUNDS as usize, "{promised} promises");
    Ok(())
}

/// Whether a program can carry the row out: all but what the kernel and devices do, under the
/// rules of every guest.
fn is_of_program(row: &Row) -> bool {
    let of_others = ["k:", "dma", "wbinvd"];
    row.rules.is_empty() && !of_others.iter().any(|other| row.program.contains(other))
}

fn run<'a>(bench: &Bench, args: impl IntoIterator<Item = &'a str>) -> anyhow::Result<()> {
    let command = Command::new(PROGRAM).arg(DEVICE).args(args).timeout(LIMIT);
    bench.run(&command).map(drop)
}

/// Holds the states that a row has left before its first operation and after each against the
/// model and the table.
fn judge(bench: &Bench, row: &Row, id: u64) -> anyhow::Result<()> {
    let start = bench.nvdimm()?.of_pool(id * PAGE, PAGE)?.start;
    let watch = bench.watch()?;
    let kept: Vec<_> = watch.kept()?.into_iter().filter(|kept| kept.id == id).collect();
    let states = kept.iter().map(|kept| left(watch, kept, start));
    let states = states.collect::<anyhow::Result<Vec<_>>>()?;
    let (events, rules) = (row.events(), row.rules());
    ensure!(states.len() == events.len() + 1, "{} states were kept", states.len());
    for (after, state) in states.iter().enumerate() {
        for (line, values) in state {
            let expected = watched(&events[..after], rules, *line);
            let (line, same) = (line.0, *values == expected);
            ensure!(same, "after {after} operations line {line}: {values:?}, not {expected:?}");
        }
    }
    let seen = |events: &[Event], line: Line| states[events.len()][&line].clone();
    let wrong = row.wrong(row.is_shown_by_flushes(), seen);
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    Ok(())
}

/// What each of three lines from `start` on may hold in a state.
fn left(
    watch: &Watch,
    kept: &Kept,
    start: u64,
) -> anyhow::Result<BTreeMap<Line, BTreeSet<LineBytes>>> {
    let (state, durable) = watch.state(kept).context("read a state")?;
    let first = Offset(start).line().0;
    let values = |line: u64| {
        let place = Line(first + line);
        let in_flight = state.lines.iter().find(|in_flight| in_flight.line == place);
        let values = in_flight.map(|in_flight| in_flight.values.clone());
        let values = values.unwrap_or_else(|| vec![place.of(&durable)]);
        (Line(line), values.into_iter().collect())
    };
    Ok((0..3).map(values).collect())
}
