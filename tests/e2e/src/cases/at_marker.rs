//! Marker cases: power goes at the very instruction that was asked for, and the crash states are
//! those of this instruction.

use anyhow::{Context, ensure};
use vm::crash::{InFlight, LINE, Line, LineBytes, Survivors};
use vm::{Command, Failure, Mib};

use crate::bench::{Bench, DarkBench, PATIENCE};
use crate::needs::Needs;
use crate::rig::Rig;

/// Where the program of `tests/e2e/protocols` lies in the guest.
const PROGRAM: &str = "/run/protocols";
/// Where in the NVDIMM `/dev/dax0.0` begins, and the record's two lines of text with it.
const START: usize = 2 << 20;
const TEXT: std::ops::Range<usize> = START..START + 2 * LINE;

/// Before a record's text is written, and behind.
const BEFORE: LineBytes = [0; LINE];
const BEHIND: LineBytes = [b'b'; LINE];

/// Between its flush and its fence a record is on its way, and may survive in every combination of
/// its lines; one instruction later it is durable. Power goes there by a request to the observer
/// that runs, and here by a marker CUT of the program itself.
pub(super) fn at_marker(rig: &mut Rig) -> anyhow::Result<()> {
    let program = rig.world().protocols("protocols")?;
    let bench = rig.boot(Needs::devdax(Mib(16)))?;
    bench.put(&program, PROGRAM)?;
    rig.step("ask for a marker that does not come");
    let never = bench.cut_at("checkpoint:1#2".parse()?)?;
    bench.run(&write("good"))?;
    ensure!(never.withdraw(), "power was lost at a marker that did not come");
    drop(never);

    rig.step("lose power between flush and fence");
    let asked = bench.cut_at("checkpoint:1".parse()?)?;
    let running = bench.guest().spawn(&write("cut")).context("start the program")?;
    let dark = bench.lost_power(Some(asked))?;
    drop(running);
    let way = |line| InFlight::new(line, vec![BEFORE], BEHIND, true);
    judge(&dark, "checkpoint:1#1", BEFORE, &lines().map(way))?;

    rig.step("lose power behind the fence");
    dark.settle(Survivors::None)?;
    let bench = dark.boot()?;
    bench.put(&program, PROGRAM)?;
    judge_lost(&bench)?;
    let dark = bench.lost_power(None)?;
    judge(&dark, "cut:2#1", BEHIND, &[])
}

fn write(way: &str) -> Command {
    Command::new(PROGRAM).args(["/dev/dax0.0", way]).timeout(PATIENCE)
}

/// The lines of the text.
fn lines() -> [Line; 2] {
    [TEXT.start, TEXT.start + LINE].map(|at| Line((at / LINE) as u64))
}

/// Runs the program that cuts its own power: whoever waits for it is told so.
fn judge_lost(bench: &Bench) -> anyhow::Result<()> {
    let ended = bench.guest().run(&write("cut"));
    let error = ended.err().context("the program has survived its loss of power")?;
    let told = matches!(error.failure(), Some(Failure::PowerLost(_)));
    ensure!(told, "a loss of power is told as: {error}");
    Ok(())
}

/// Power was lost here, with this text durable and these lines in flight, no other.
fn judge(dark: &DarkBench, at: &str, text: LineBytes, lines: &[InFlight]) -> anyhow::Result<()> {
    ensure!(dark.cut()? == at, "power was lost at {}, not at {at}", dark.cut()?);
    let (state, durable) = dark.states()?;
    let numbers = |lines: &[InFlight]| lines.iter().map(|one| one.line.0).collect::<Vec<_>>();
    let (found, wanted) = (numbers(&state.lines), numbers(lines));
    ensure!(found == wanted, "lines in flight at {at}: {found:?}, not {wanted:?}");
    ensure!(state.lines == lines, "lines {found:?} at {at} have other values");
    let found = &durable[TEXT];
    ensure!(found == [text, text].as_flattened(), "durable at {at}: {found:?}");
    Ok(())
}
