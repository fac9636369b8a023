//! Court: plays programs in a guest, and judges what power losses leave of their pools.
//!
//! A guest runs program after program; an observer records what each does to the NVDIMM. The power
//! is lost on the host only, everywhere and in every way, and each image is recovered by the
//! library as it is.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use vm::crash::Bounds;
use vm::crash::report::Class;
use vm::{Command, ExitCode};

use crate::bench::{Bench, PATIENCE, PORT, PROGRAM};
use crate::losses::{Extent, Found, Trace};
use crate::mutants::{Life, lives};
use crate::oracle::Verdict;
use crate::oracle::records::{Held, recover};
use crate::oracle::steps::Steps;
use crate::part::Part;
use crate::recovery::Recovery;
use crate::rig::Rig;
use crate::seed::Seed;

/// Where programs that differ from the library lie in the guest.
const WOVEN: &str = "/run/woven";

/// The guest's pool.
const POOL: &str = "/dev/dax0.0";

/// The signal of a program that kills itself.
const SIGABRT: i32 = 6;

/// States of a point of what is right: more than anybody else gets.
const MANY: Bounds = Bounds { exhaustive: 1 << 14, random: 200, most: 1 << 14 };

/// A program in the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Player {
    /// The guest half of the cases.
    Built,
    /// The one with this number among those that differ.
    Woven(usize),
}

/// Plays programs, and judges them.
#[derive(Debug)]
pub(crate) struct Court<'a> {
    bench: &'a Bench,
    seed: Seed,
    /// Where in the NVDIMM the pool begins.
    start: u64,
    /// What a power loss left of a torn batch.
    torn: Option<(Vec<u8>, Held)>,
    /// The programs that differ, on the host.
    woven: Option<PathBuf>,
    /// States that were judged, and those of them that are of programs that are right.
    states: u64,
    correct_states: u64,
    seconds: f64,
    false_alarms: u64,
}

impl<'a> Court<'a> {
    /// A court in this guest.
    pub(crate) fn open(rig: &Rig, bench: &'a Bench) -> anyhow::Result<Self> {
        let start = bench.nvdimm()?.of_pool(0, 0)?.start;
        Ok(Self {
            bench,
            seed: rig.seed(),
            start,
            torn: None,
            woven: None,
            states: 0,
            correct_states: 0,
            seconds: 0.0,
            false_alarms: 0,
        })
    }

    /// Brings the programs that differ into the guest.
    pub(crate) fn summon(&mut self, woven: &Path) -> anyhow::Result<()> {
        self.woven = Some(woven.to_owned());
        self.bench.put(woven, WOVEN)
    }

    /// One life of a program that is right; it fails if that raises an alarm.
    pub(crate) fn acquit(&mut self, life: Life, player: Player) -> anyhow::Result<Trace> {
        let (steps, trace) = self.live(life, player)?;
        let recovery = self.recovery(life, player, &trace)?;
        self.acquit_trace(&trace, &steps, recovery)?;
        Ok(trace)
    }

    /// One life of a program with a mistake: whether the first state that fails shows this kind.
    /// It is found within the bounds that everybody gets.
    pub(crate) fn convict(
        &mut self,
        life: Life,
        player: Player,
        class: Class,
    ) -> anyhow::Result<Verdict> {
        let (steps, trace) = self.live(life, player)?;
        let mut recovery = self.recovery(life, player, &trace)?;
        let (bounds, extent) = (Bounds::default(), Extent::FirstFailure);
        let Found { explored, report, seconds } =
            trace.explore(&steps, bounds, extent, recovery.as_mut())?;
        self.states += explored.states;
        self.seconds += seconds;
        Ok(match report {
            None => Err(format!("none of {} states fails", explored.states)),
            Some(report) if report.class == class => Ok(()),
            Some(report) => Err(format!("expected \"{class}\", found: {report}")),
        })
    }

    /// A recovery from this pool by the program as it is, which is right.
    pub(crate) fn go_on(&mut self, pool: &[u8]) -> anyhow::Result<Trace> {
        let held = recover(pool).map_err(anyhow::Error::msg)?;
        ensure!(held.is_some(), "the pool is lost");
        let steps = lives::go_on(self.seed, &held);
        let trace = self.record(&[Player::Built], &steps, Some(pool))?;
        self.acquit_trace(&trace, &steps, None)?;
        Ok(trace)
    }

    /// What a program did in one life, and was to do.
    fn live(&mut self, life: Life, player: Player) -> anyhow::Result<(Steps, Trace)> {
        let (steps, trace) = match life {
            Life::Whole | Life::Own => {
                let steps = lives::whole(self.seed);
                let trace = self.record(&[player], &steps, None)?;
                (steps, trace)
            }
            Life::Wired => {
                let steps = lives::wired(self.seed);
                let trace = self.record_wired(player, &steps)?;
                (steps, trace)
            }
            Life::Torn => {
                let (pool, held) = self.torn()?.clone();
                let steps = lives::go_on(self.seed, &held);
                let trace = self.record(&[player], &steps, Some(&pool))?;
                (steps, trace)
            }
            Life::After(victim) => {
                let steps = lives::after(self.seed, victim);
                let victim = Player::Woven(victim.variant().number());
                let trace = self.record(&[victim, player], &steps, None)?;
                (steps, trace)
            }
        };
        Ok((steps, trace))
    }

    /// The pool that a power loss left in the middle of a batch.
    fn torn(&mut self) -> anyhow::Result<&(Vec<u8>, Held)> {
        if self.torn.is_none() {
            let steps = lives::torn(self.seed);
            let trace = self.record(&[Player::Built], &steps, None)?;
            self.acquit_trace(&trace, &steps, None)?;
            let pool = trace.torn(lives::TORN)?;
            let held = recover(&pool).map_err(anyhow::Error::msg)?;
            self.torn = Some((pool, held));
        }
        self.torn.as_ref().context("a torn batch")
    }

    /// Plays the steps on an empty device or on this pool, and records them.
    fn record(
        &self,
        players: &[Player],
        steps: &Steps,
        pool: Option<&[u8]>,
    ) -> anyhow::Result<Trace> {
        let parts = steps.programs();
        ensure!(parts.len() == players.len(), "a program for each part");
        self.traced(pool.unwrap_or_default(), || {
            for (number, (player, (text, first))) in players.iter().zip(&parts).enumerate() {
                let command = player.command(*first).stdin(text.as_bytes());
                if number + 1 == parts.len() {
                    self.bench.run(&command)?;
                    continue;
                }
                let exit = self.bench.guest().run(&command).context("run the victim")?;
                let (code, said) = (exit.code, exit.error_text());
                ensure!(code == ExitCode::Signal(SIGABRT), "the victim: {code}: {said}");
            }
            Ok(())
        })
    }

    /// As [`Court::record`], with payload that the NIC writes into the pool.
    fn record_wired(&self, player: Player, steps: &Steps) -> anyhow::Result<Trace> {
        self.traced(&[], || {
            for (text, first) in steps.programs() {
                let command = player.command(first).arg(PORT.to_string());
                let running = self.bench.guest().spawn(&command).context("start the program")?;
                running.write(text.as_bytes()).context("tell the steps")?;
                running.close_stdin().context("tell the steps")?;
                let mut part = Part::new("power_loss::play", running);
                part.hear_of("listening")?;
                let client = self.bench.connect()?;
                for record in steps.records() {
                    part.hear_of("wants")?;
                    client.send_all(&record, PATIENCE).context("send a record")?;
                }
                part.end()?;
            }
            Ok(())
        })
    }

    /// What the observer records of a device that holds this pool at first.
    fn traced(
        &self,
        pool: &[u8],
        play: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<Trace> {
        self.bench.nvdimm()?.write_pool(pool)?;
        let before = self.bench.watch()?.recorded()?.len();
        play()?;
        let recorded = self.bench.watch()?.recorded()?;
        let [folder] = &recorded[before..] else { bail!("{} traces", recorded.len() - before) };
        let trace = Trace::read(folder, self.start)?;
        // A recording is large, and the next one comes soon.
        std::fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))?;
        Ok(trace)
    }

    fn acquit_trace(
        &mut self,
        trace: &Trace,
        steps: &Steps,
        mut recovery: Option<Recovery>,
    ) -> anyhow::Result<()> {
        let recovery = recovery.as_mut();
        let Found { explored, report, seconds } =
            trace.explore(steps, MANY, Extent::All, recovery)?;
        self.states += explored.states;
        self.correct_states += explored.states;
        self.seconds += seconds;
        self.false_alarms += explored.failing;
        let Some(report) = report else { return Ok(()) };
        bail!("{} states of what is right fail: {report}", explored.failing)
    }

    /// The program's own recovery, where that counts.
    fn recovery(
        &self,
        life: Life,
        player: Player,
        trace: &Trace,
    ) -> anyhow::Result<Option<Recovery>> {
        let (Life::Own, Player::Woven(number)) = (life, player) else { return Ok(None) };
        let path = self.woven.as_ref().context("a program that differs")?;
        Recovery::start(path, number, trace.pool_bytes()).map(Some)
    }

    /// How many states of programs that are right were judged.
    pub(crate) fn correct_states(&self) -> u64 {
        self.correct_states
    }

    pub(crate) fn report(&self, rig: &mut Rig) -> anyhow::Result<()> {
        rig.count("false_alarms", self.false_alarms)?;
        rig.count("states", self.states)?;
        rig.count("correct_states", self.correct_states)?;
        let states = u32::try_from(self.states).context("count the states")?;
        rig.figure("states_per_second", f64::from(states) / self.seconds.max(0.001));
        Ok(())
    }
}

impl Player {
    fn command(self, first: usize) -> Command {
        let (path, number) = match self {
            Self::Built => (PROGRAM, 0),
            Self::Woven(number) => (WOVEN, number),
        };
        let command = Command::new(path).args(["power_loss::play", POOL, &first.to_string()]);
        command.env("MUTANT", number.to_string()).timeout(PATIENCE)
    }
}
