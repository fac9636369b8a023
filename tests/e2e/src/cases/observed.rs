//! Observer cases: a log on persistent memory in ten ways, of which seven are wrong by one step,
//! is written in a guest; the observer alone must tell right from wrong.
//!
//! What the files hold after a killed QEMU shows none of the seven: the NVDIMM is shared memory.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use vm::crash::report::{NoSymbols, Report};
use vm::crash::{Explored, Plan, View, explore};
use vm::recording::Traced;
use vm::{Command, Mib};

use crate::bench::{Bench, PATIENCE};
use crate::needs::Needs;
use crate::oracle::protocols::{WAYS, check};
use crate::promises::is_broken;
use crate::rig::Rig;

/// Where the program lies in the guest.
const PROGRAM: &str = "/run/protocols";
/// Where in the NVDIMM `/dev/dax0.0` begins.
const START: usize = 2 << 20;

/// Every store is recorded; the explorer finds each mistake and names its class.
pub(super) fn traced(rig: &mut Rig) -> anyhow::Result<()> {
    let bench = boot(rig, Needs::devdax(Mib(16)).traced())?;
    for way in &WAYS {
        write(&bench, way.name)?;
    }
    let recorded = bench.watch()?.recorded()?;
    ensure!(recorded.len() == WAYS.len(), "{} of {} traces", recorded.len(), WAYS.len());
    for (way, folder) in WAYS.iter().zip(&recorded) {
        rig.step(format!("explore {}", way.name));
        let (explored, report) = judge(folder).with_context(|| format!("judge {}", way.name))?;
        ensure!(explored.states > 100, "{}: only {} states", way.name, explored.states);
        let found = report.as_ref().map(|report| report.class);
        if found != way.wrong {
            bail!("{}: {:?} expected, found {report:#?} in {explored:?}", way.name, way.wrong);
        }
    }
    Ok(())
}

/// Only what is durable is known; assertions tell what is not durable in time, and the guest that
/// loses its power has lost what was not flushed.
pub(super) fn asserted(rig: &mut Rig) -> anyhow::Result<()> {
    rig.some_promises_break();
    let bench = boot(rig, Needs::devdax(Mib(16)))?;
    for way in &WAYS {
        let before = bench.watch()?.assertions()?.len();
        write(&bench, way.name)?;
        let all = bench.watch()?.assertions()?;
        let broken = all[before..].iter().filter(|one| is_broken(one)).count();
        let (count, outside) = (all.len() - before, all.iter().any(|one| one.outside > 0));
        ensure!(count > 0 && !outside, "{}: {count} assertions, outside: {outside}", way.name);
        let expected = if way.asserts_too_much { count } else { 0 };
        ensure!(broken == expected, "{}: {broken} of {count} assertions are broken", way.name);
    }
    Ok(())
}

/// How often an observed guest is compared with one that is not.
const PAIRS: usize = 3;

/// Measures what it costs to know what is durable: CPU time of pairs of guests that boot and load
/// the module. A figure, and no more: a busy host makes it vary by some percent.
pub(super) fn cost(rig: &mut Rig) -> anyhow::Result<()> {
    rig.needs_sight()?;
    let mut ratios = Vec::new();
    for pair in 1..=PAIRS {
        rig.step(format!("pair {pair} of {PAIRS}"));
        let seconds = |needs: Needs| {
            let bench = rig.boot_with_module(needs, &[])?;
            anyhow::Ok((bench.guest().cpu_seconds(), bench.watch().is_ok()))
        };
        let needs = Needs::devdax(Mib(64));
        let ((plain, unseen), (observed, seen)) = if pair % 2 == 0 {
            let observed = seconds(needs)?;
            (seconds(needs.unobserved())?, observed)
        } else {
            (seconds(needs.unobserved())?, seconds(needs)?)
        };
        ensure!(seen && !unseen, "observed: {seen}, and without: {unseen}");
        ratios.push(observed / plain);
    }
    ratios.sort_by(f64::total_cmp);
    rig.figure("observer_cpu_ratio", ratios[PAIRS / 2]);
    Ok(())
}

/// A guest with the program.
pub(super) fn boot(rig: &mut Rig, needs: Needs) -> anyhow::Result<Bench> {
    let program = rig.world().protocols("protocols")?;
    let bench = rig.boot(needs)?;
    bench.put(&program, PROGRAM)?;
    Ok(bench)
}

/// Writes the log in the way of this name.
pub(super) fn write(bench: &Bench, way: &str) -> anyhow::Result<()> {
    let command = Command::new(PROGRAM).args(["/dev/dax0.0", way]).timeout(PATIENCE);
    bench.run(&command).map(drop)
}

/// Explores a trace; what was found, and the first failure's explanation.
fn judge(folder: &Path) -> anyhow::Result<(Explored, Option<Report>)> {
    let Traced { header, image, events } = Traced::read(folder).context("read the trace")?;
    let mut checker = |view: &View<'_>| check(START, view);
    let explored = explore(image.clone(), &events, &Plan::default(), &mut checker);
    if let Some(fault) = &explored.fault {
        bail!("no verdict: {}", fault.why);
    }
    let Some(failure) = explored.failures.first() else { return Ok((explored, None)) };
    let (rules, symbols) = (header.rules, &NoSymbols);
    let report = vm::crash::report::explain(image, &events, rules, failure, &mut checker, symbols)?;
    Ok((explored, report))
}
