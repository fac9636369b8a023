//! Power loss cases: the log's machine code at every store, flush and fence.
//!
//! One guest runs program after program; an observer records what each does to the NVDIMM. The
//! power is lost on the host only, everywhere and in every way, and each image is recovered by the
//! library as it is. What is right must never fail; each mistake that was made on purpose must.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use vm::crash::Bounds;
use vm::{Command, ExitCode, Mib};

use crate::bench::{Bench, PATIENCE, PROGRAM};
use crate::losses::{Found, Trace};
use crate::mutants::{Life, MUTANTS, Mutant, Victim};
use crate::needs::Needs;
use crate::oracle::Verdict;
use crate::oracle::steps::{Held, Step, Steps, recover};
use crate::rig::Rig;
use crate::seed::Seed;
use crate::workshop::Workshop;

/// Where programs lie in the guest.
const EDITED: &str = "/run/edited";
const VICTIM: &str = "/run/victim";

/// The guest's pool.
const POOL: &str = "/dev/dax0.0";

/// The signal of a program that kills itself.
const SIGABRT: i32 = 6;

/// States of a point of a mutant: one that fails is enough, and what is never flushed makes many.
const FEW: Bounds = Bounds { exhaustive: 64, random: 8, most: 256 };

/// The step in which the batch of [`torn`] is appended.
const TORN: u64 = 4;

/// Every mistake is found and its class named; what is right raises no alarm.
pub(super) fn mutants(rig: &mut Rig) -> anyhow::Result<()> {
    let workshop = rig.world().workshop()?;
    let bench = rig.boot(Needs::devdax(Mib(16)).traced())?;
    let mut court = Court::open(rig, &bench)?;
    rig.step("build the library as it is");
    bench.put(&workshop.build(&[])?, EDITED)?;
    let torn = court.of_good(rig, &workshop)?;
    let mut missed = Vec::new();
    for mutant in MUTANTS {
        rig.step(format!("mutant: {}", mutant.name));
        let verdict = court.of_mutant(&workshop, mutant, &torn).with_context(|| mutant.name)?;
        missed.extend(verdict.err().map(|why| format!("{}: {why}", mutant.name)));
    }
    court.report(rig)?;
    rig.count("mutants", MUTANTS.len() as u64)?;
    rig.count("mutants_killed", (MUTANTS.len() - missed.len()) as u64)?;
    ensure!(missed.is_empty(), "{} mutants were missed: {}", missed.len(), missed.join("\n"));
    Ok(())
}

/// Power losses during recovery from power losses, twice over, leave what can be recovered.
pub(super) fn nested(rig: &mut Rig) -> anyhow::Result<()> {
    let bench = rig.boot(Needs::devdax(Mib(16)).traced())?;
    let mut court = Court::open(rig, &bench)?;
    rig.step("the first life");
    let steps = whole(rig.seed());
    let first = court.record(&[PROGRAM], &steps, None)?;
    court.acquit(&first, &steps)?;
    let mut lives = 0;
    for step in [6, 7, 8] {
        for pool in first.left_in(step)? {
            lives += court.recover_twice(rig, &pool)?;
        }
    }
    rig.step(format!("{lives} lives"));
    court.report(rig)
}

/// Plays programs, and judges what power losses leave of them.
struct Court<'a> {
    bench: &'a Bench,
    seed: Seed,
    /// Where in the NVDIMM the pool begins.
    start: u64,
    states: u64,
    seconds: f64,
    false_alarms: u64,
}

/// What a program begins with: a pool, and what its log holds.
type Left = (Vec<u8>, Held);

impl<'a> Court<'a> {
    fn open(rig: &Rig, bench: &'a Bench) -> anyhow::Result<Self> {
        let start = bench.nvdimm()?.of_pool(0, 0)?.start;
        let seed = rig.seed();
        Ok(Self { bench, seed, start, states: 0, seconds: 0.0, false_alarms: 0 })
    }

    /// The library as it is, whatever happens to it; what a torn batch leaves of it.
    fn of_good(&mut self, rig: &Rig, workshop: &Workshop) -> anyhow::Result<Left> {
        let steps = whole(self.seed);
        for program in [PROGRAM, EDITED] {
            rig.step(format!("no mistake: {program}"));
            let trace = self.record(&[program], &steps, None)?;
            self.acquit(&trace, &steps)?;
        }
        let steps = torn(self.seed);
        let trace = self.record(&[EDITED], &steps, None)?;
        self.acquit(&trace, &steps)?;
        let pool = trace.torn(TORN)?;
        let held = recover(&pool).map_err(anyhow::Error::msg)?;
        let left = (pool, held);
        let steps = go_on(self.seed, &left.1);
        let trace = self.record(&[EDITED], &steps, Some(&left.0))?;
        self.acquit(&trace, &steps)?;
        for victim in Victim::ALL {
            rig.step(format!("no mistake, after the death of another: {victim:?}"));
            self.bench.put(&workshop.build(victim.edits())?, VICTIM)?;
            let steps = after(self.seed, victim);
            let trace = self.record(&[VICTIM, EDITED], &steps, None)?;
            self.acquit(&trace, &steps)?;
        }
        Ok(left)
    }

    /// Whether power losses bring a mutant's mistake to light, as the mistake that it is.
    fn of_mutant(
        &mut self,
        workshop: &Workshop,
        mutant: &Mutant,
        torn: &Left,
    ) -> anyhow::Result<Verdict> {
        self.bench.put(&workshop.build(mutant.edits)?, EDITED)?;
        let (steps, trace) = match mutant.life {
            Life::Whole => {
                let steps = whole(self.seed);
                let trace = self.record(&[EDITED], &steps, None)?;
                (steps, trace)
            }
            Life::Torn => {
                let steps = go_on(self.seed, &torn.1);
                let trace = self.record(&[EDITED], &steps, Some(&torn.0))?;
                (steps, trace)
            }
            Life::After(victim) => {
                self.bench.put(&workshop.build(victim.edits())?, VICTIM)?;
                let steps = after(self.seed, victim);
                let trace = self.record(&[VICTIM, EDITED], &steps, None)?;
                (steps, trace)
            }
        };
        let Found { explored, reports, .. } = self.judge(&trace, &steps, FEW)?;
        let Some(first) = reports.first() else {
            return Ok(Err(format!("none of {} states fails", explored.states)));
        };
        if reports.iter().any(|report| report.class == mutant.class) {
            return Ok(Ok(()));
        }
        Ok(Err(format!("expected \"{}\", found: {first}", mutant.class)))
    }

    /// Two recoveries one after the other, each begun after a power loss in the one before; how
    /// many programs ran.
    fn recover_twice(&mut self, rig: &Rig, pool: &[u8]) -> anyhow::Result<u64> {
        let second = self.recovery(pool)?;
        let left = second.left_in(1)?;
        rig.step(format!("{} power losses during a recovery", left.len()));
        for pool in &left {
            self.recovery(pool)?;
        }
        Ok(1 + left.len() as u64)
    }

    fn recovery(&mut self, pool: &[u8]) -> anyhow::Result<Trace> {
        let held = recover(pool).map_err(anyhow::Error::msg)?;
        ensure!(held.is_some(), "the pool is lost");
        let steps = go_on(self.seed, &held);
        let trace = self.record(&[PROGRAM], &steps, Some(pool))?;
        self.acquit(&trace, &steps)?;
        Ok(trace)
    }

    /// Plays the steps on an empty device or on this pool, and records them.
    fn record(
        &self,
        programs: &[&str],
        steps: &Steps,
        pool: Option<&[u8]>,
    ) -> anyhow::Result<Trace> {
        let nvdimm = self.bench.nvdimm()?;
        nvdimm.write_pool(pool.unwrap_or_default())?;
        let before = self.bench.watch()?.recorded()?.len();
        let parts = steps.programs();
        ensure!(parts.len() == programs.len(), "a program for each part");
        for (number, (program, (text, first))) in programs.iter().zip(&parts).enumerate() {
            let command =
                Command::new(program).args(["power_loss::play", POOL, &first.to_string()]);
            let command = command.stdin(text.as_bytes()).timeout(PATIENCE);
            if number + 1 == parts.len() {
                self.bench.run(&command)?;
                continue;
            }
            let exit = self.bench.guest().run(&command).context("run the victim")?;
            let said = exit.error_text();
            ensure!(exit.code == ExitCode::Signal(SIGABRT), "the victim: {}: {said}", exit.code);
        }
        let recorded = self.bench.watch()?.recorded()?;
        let [folder] = &recorded[before..] else { bail!("{} traces", recorded.len() - before) };
        let trace = Trace::read(folder, self.start)?;
        remove(folder)?;
        Ok(trace)
    }

    /// Judges what is right; a failure is a false alarm, and a failure of the case.
    fn acquit(&mut self, trace: &Trace, steps: &Steps) -> anyhow::Result<()> {
        let found = self.judge(trace, steps, Bounds::default())?;
        self.false_alarms += found.explored.failing;
        let Some(report) = found.reports.first() else { return Ok(()) };
        bail!("{} states of what is right fail: {report}", found.explored.failing)
    }

    fn judge(&mut self, trace: &Trace, steps: &Steps, bounds: Bounds) -> anyhow::Result<Found> {
        let found = trace.explore(steps, bounds)?;
        self.states += found.explored.states;
        self.seconds += found.seconds;
        Ok(found)
    }

    fn report(&self, rig: &mut Rig) -> anyhow::Result<()> {
        rig.count("false_alarms", self.false_alarms)?;
        rig.count("states", self.states)?;
        let states = u32::try_from(self.states).context("count the states")?;
        rig.figure("states_per_second", f64::from(states) / self.seconds.max(0.001));
        Ok(())
    }
}

/// A recording is large, and the next one comes soon.
fn remove(folder: &Path) -> anyhow::Result<()> {
    std::fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))
}

/// Everything that a program does with a pool.
fn whole(seed: Seed) -> Steps {
    let append = |label, lengths: &[&[usize]]| Step::append(seed.part(label), lengths);
    Steps::from_nothing(vec![
        Step::Make(7),
        Step::Open,
        append(0, &[&[100], &[40, 90]]),
        append(1, &[&[150]]),
        Step::Close,
        Step::Open,
        append(2, &[&[60], &[8]]),
        Step::Reset,
        append(3, &[&[120], &[30]]),
        Step::Close,
        Step::Remake(8),
        Step::Open,
        append(4, &[&[80]]),
    ])
}

/// A batch whose entries lie on several lines, to be torn.
fn torn(seed: Seed) -> Steps {
    let append = |label, lengths: &[&[usize]]| Step::append(seed.part(label), lengths);
    let batch: [&[usize]; 6] = [&[20]; 6];
    let steps = vec![Step::Make(7), Step::Open, append(5, &[&[50]]), append(6, &batch)];
    Steps::from_nothing(steps)
}

/// Recovery, and one more record.
fn go_on(seed: Seed, held: &Held) -> Steps {
    let record = Step::append(seed.part(7), &[&[30]]);
    Steps::go_on(held.clone(), vec![Step::Open, record])
}

/// What a victim begins, and what another program makes of it.
fn after(seed: Seed, victim: Victim) -> Steps {
    let append = |label, lengths: &[&[usize]]| Step::append(seed.part(label), lengths);
    let (mut steps, killed) = match victim {
        Victim::Superblock => (vec![Step::Make(7)], 1),
        Victim::Header => {
            let first = append(8, &[&[50]]);
            (vec![Step::Make(7), Step::Open, first, Step::Close, Step::Open], 5)
        }
        Victim::Entries => {
            let (first, second) = (append(8, &[&[50]]), append(9, &[&[70], &[20]]));
            (vec![Step::Make(7), Step::Open, first, second], 4)
        }
    };
    steps.extend([Step::Open, append(10, &[&[90]]), append(11, &[&[10]])]);
    Steps::from_nothing(steps).killed_in(killed)
}
