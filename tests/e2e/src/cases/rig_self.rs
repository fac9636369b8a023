//! Rig cases: cases that end badly on purpose must be reported as exactly that.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use vm::{Command, Mib};

use super::observed;
use crate::case::Case;
use crate::needs::Needs;
use crate::outcome::{CaseResult, Cause};
use crate::rig::Rig;

/// A failed check in the guest is a failure with its reason.
pub(super) fn reports_failure(rig: &mut Rig) -> anyhow::Result<()> {
    let inner = Case::new("rig::inner_fails", |rig| {
        let bench = rig.boot(Needs::default())?;
        bench.run(&Command::shell("echo the check says no >&2; exit 3")).map(drop)
    });
    let result = rig.play(&inner);
    expect(&result, "fail", Cause::Verdict, &["exit code 3", "the check says no"])
}

/// A program that never ends is a failure by its deadline.
pub(super) fn reports_hang(rig: &mut Rig) -> anyhow::Result<()> {
    let inner = Case::new("rig::inner_hangs", |rig| {
        let bench = rig.boot(Needs::default())?;
        let hang = Command::new(crate::bench::PROGRAM).arg("rig::hangs");
        bench.run(&hang.timeout(Duration::from_secs(2))).map(drop)
    });
    let result = rig.play(&inner);
    expect(&result, "fail", Cause::Timeout, &["rig::hangs", "its time was over"])
}

/// A panic of the guest's kernel is told as such, with the console's words.
pub(super) fn reports_panic(rig: &mut Rig) -> anyhow::Result<()> {
    let inner = Case::new("rig::inner_panics", |rig| {
        let bench = rig.boot(Needs::default())?;
        bench.part("rig::panics", &[])?.end()
    });
    let result = rig.play(&inner);
    expect(&result, "fail", Cause::GuestDied, &["guest panicked"])?;
    let console = result.console.join("\n");
    ensure!(console.contains("sysrq"), "the console's last lines are missing: {console}");
    Ok(())
}

/// A guest that resets itself is an unexpected reboot.
pub(super) fn reports_reboot(rig: &mut Rig) -> anyhow::Result<()> {
    let inner = Case::new("rig::inner_reboots", |rig| {
        let bench = rig.boot(Needs::default())?;
        bench.part("rig::reboots", &[])?.end()
    });
    expect(&rig.play(&inner), "fail", Cause::GuestDied, &["unexpected reboot"])
}

/// A QEMU that vanishes leaves no verdict.
pub(super) fn reports_lost_vm(rig: &mut Rig) -> anyhow::Result<()> {
    let inner = Case::new("rig::inner_vanishes", |rig| {
        let bench = rig.boot(Needs::default())?;
        let part = bench.part("rig::hangs", &[])?;
        bench.kill_qemu()?;
        part.end()
    });
    expect(&rig.play(&inner), "lost_vm", Cause::GuestDied, &["lost VM"])
}

/// A program that promises what is not durable fails a case that asked for nothing.
pub(super) fn reports_broken_promise(rig: &mut Rig) -> anyhow::Result<()> {
    rig.needs_sight()?;
    let inner = Case::new("rig::inner_promises", |rig| {
        let bench = observed::boot(rig, Needs::devdax(Mib(16)))?;
        ["good", "no_flush"].into_iter().try_for_each(|way| observed::write(&bench, way))
    });
    let words = ["debian-12", "6 of 12 promises", "promise 1 at pc 0x", "line ", "not flushed"];
    expect(&rig.play(&inner.emulated()), "fail", Cause::Verdict, &words)
}

/// Whether an inner case was reported as `outcome` by `cause` in these words.
fn expect(result: &CaseResult, outcome: &str, cause: Cause, words: &[&str]) -> anyhow::Result<()> {
    let (got, why) = (result.outcome.name(), result.outcome.reason());
    if got != outcome || result.cause != cause {
        bail!("{} was reported as {got} by {:?}: {why}", result.name, result.cause);
    }
    for word in words {
        ensure!(why.contains(word), "{} was reported without {word:?}: {why}", result.name);
    }
    let folder = result.artefacts.is_dir().then_some(()).context("find the inner case's files");
    folder.with_context(|| format!("look at {}", result.name))
}
