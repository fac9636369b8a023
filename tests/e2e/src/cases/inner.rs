//! Inner cases: those that nobody wants in a suite; most end badly on purpose.

use std::time::Duration;

use crate::bench::Bench;
use crate::cpu;
use crate::needs::Needs;
use crate::outcome::{Lost, Skipped};
use crate::rig::Rig;

/// Over which the cost of doing nothing is measured.
const IDLE_TIME: Duration = Duration::from_secs(10);

/// Passes at once.
#[expect(clippy::unnecessary_wraps, reason = "the type of every case")]
pub(super) fn passes(_: &mut Rig) -> anyhow::Result<()> {
    Ok(())
}

/// Fails at once.
pub(super) fn says_no(_: &mut Rig) -> anyhow::Result<()> {
    anyhow::bail!("the verdict is no")
}

/// Skips itself.
pub(super) fn does_not_apply(_: &mut Rig) -> anyhow::Result<()> {
    Err(Skipped("nothing to look at".into()).into())
}

/// Ends as if the guest had vanished.
pub(super) fn loses_its_guest(_: &mut Rig) -> anyhow::Result<()> {
    Err(Lost("the guest vanished".into()).into())
}

/// Waits for something that never comes.
pub(super) fn waits_in_vain(rig: &mut Rig) -> anyhow::Result<()> {
    rig.wait_in_vain()
}

/// Measures what a guest with a network costs while nothing happens.
pub(super) fn idles(rig: &mut Rig) -> anyhow::Result<()> {
    let bench = rig.boot(Needs::default())?;
    bench.address()?;
    let used = |bench: &Bench| bench.guest().cpu_seconds() + cpu::of_this_process().as_secs_f64();
    let before = used(&bench);
    anyhow::ensure!(!rig.world().wait_for_cut(IDLE_TIME), "the run was cut short");
    let percent = (used(&bench) - before) / IDLE_TIME.as_secs_f64() * 100.0;
    rig.figure("idle_cpu_percent", percent);
    Ok(())
}

/// Asks for a guest and is content when it is there.
pub(super) fn needs_a_guest(rig: &mut Rig) -> anyhow::Result<()> {
    rig.boot(Needs::default()).map(drop)
}
