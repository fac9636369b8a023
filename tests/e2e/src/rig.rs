//! Rig: what a case is given: a folder, a seed, guests, and a way to report.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use anyhow::Context;
use vm::accel::Accel;
use vm::crash::Rules;
use vm::vnet::{Config, Vnet};
use vm::{Guest, Mib, Nic, Nvdimm, Spec, Template, Watch};

use crate::address;
use crate::bench::{Bench, PROGRAM};
use crate::case::Case;
use crate::console::guest_dir;
use crate::medium::Medium;
use crate::needs::{Needs, Watched};
use crate::outcome::{CaseResult, Figures, Skipped, TimedOut};
use crate::promises::Promises;
use crate::runner::Message;
use crate::seed::Seed;
use crate::sight::Sight;
use crate::way::Way;
use crate::world::World;

/// Kernel arguments of a guest whose instructions count: no defence that costs some, and a plain
/// security module (without one Debian's kernel falls back to the most expensive).
const TUNED: [&str; 4] = ["lsm=yama", "init_on_alloc=0", "nokaslr", "norandmaps"];

/// How long the client of such a guest may wait for data to acknowledge with: Linux's shortest.
const ACK_DELAY: Duration = Duration::from_millis(40);

/// What a case is given.
#[derive(Debug)]
pub struct Rig {
    case: Case,
    world: Arc<World>,
    dir: PathBuf,
    sockets: tempfile::TempDir,
    seed: Seed,
    events: Sender<Message>,
    deadline: Instant,
    figures: Figures,
    ways: Vec<Way>,
    promises: Arc<Promises>,
}

impl Rig {
    /// The rig of one case; its folder is made when something is put there.
    ///
    /// # Errors
    /// The host has no place for sockets.
    pub fn new(
        case: &Case,
        world: Arc<World>,
        seed: Seed,
        events: Sender<Message>,
    ) -> anyhow::Result<Self> {
        let dir = world.case_dir(case.name);
        let deadline = Instant::now() + case.limit;
        let figures = Figures::new();
        let sockets = tempfile::tempdir().context("create a folder for sockets")?;
        let (ways, promises) = (Vec::new(), Arc::default());
        let case = *case;
        Ok(Self { case, world, dir, sockets, seed, events, deadline, figures, ways, promises })
    }

    /// Where the case leaves its files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The number that fixes the case's choices.
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// When the case counts as hanging.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// What is left of the case's time.
    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Tells whoever watches what the case does next.
    pub fn step(&self, what: impl Into<String>) {
        // Nobody watches an inner case, and a run that was cut short has stopped listening.
        let _ = self.events.send(Message::Step(self.case.name, what.into()));
    }

    /// Boots a guest with a NIC whose other end is the host's, and what else the case needs.
    ///
    /// # Errors
    /// The host lacks something, or the guest does not come up.
    pub fn boot(&self, needs: Needs) -> anyhow::Result<Bench> {
        self.step("boot the guest");
        let base = self.world.base()?;
        let dir = guest_dir(&self.dir);
        std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        let accel = self.world.accel_of(self.case.emulated)?;
        let mut spec = Spec::new(self.case.guest, &base.image, &dir).accel(accel);
        spec = spec.qemu(&base.qemu.path).pvpanic().cpus(1 + needs.more_cpus);
        spec = spec.nic(Nic::VhostUser { socket: self.socket(), mac: address::guest_mac() });
        if needs.watched == Watched::Count {
            spec = TUNED.iter().fold(spec, |spec, arg| spec.kernel_arg(*arg));
            spec = spec.cpu_flag("-erms").cpu_flag("-fsrm");
        }
        let mut medium = None;
        if let Some((size, mode)) = needs.nvdimm {
            let nvdimm = Nvdimm::create(self.nvdimm(), size, mode).context("create the NVDIMM")?;
            medium = Some(Medium::open(nvdimm.path(), nvdimm.data_offset())?);
            spec = spec.nvdimm(nvdimm);
        }
        let vnet = self.network(needs, &spec)?;
        let watch = self.watch(needs, accel)?;
        self.promises.begin(watch.as_ref())?;
        if let Some(watch) = &watch {
            spec = spec.watch(watch.clone());
        }
        let program = std::fs::read(&base.programs.cases).context("read the guest half")?;
        let guest = spec.boot().context("boot")?;
        let watched = (watch, Arc::clone(&self.promises));
        Bench::equip(guest, vnet, medium, program, self.deadline, watched)
    }

    /// A saved guest that will have an NVDIMM of this size, with the guest half in it and nothing
    /// else plugged in.
    ///
    /// # Errors
    /// As [`Rig::boot`].
    pub fn template(&self, nvdimm: Mib) -> anyhow::Result<Template> {
        let base = self.world.base()?;
        let accel = self.world.accel_of(self.case.emulated)?;
        let spec = Spec::new(self.case.guest, &base.image, &guest_dir(&self.dir)).accel(accel);
        let program = std::fs::read(&base.programs.cases).context("read the guest half")?;
        let put = |guest: &Guest| guest.put(&program, PROGRAM, 0o755);
        spec.qemu(&base.qemu.path).template(nvdimm, put).context("save a guest")
    }

    /// Boots such a guest, gives it its address, and loads the module, built with these flags.
    ///
    /// # Errors
    /// As [`Rig::boot`], and the compiler's.
    pub fn boot_with_module(&self, needs: Needs, flags: &[&str]) -> anyhow::Result<Bench> {
        let module = self.module(flags)?;
        let bench = self.boot(needs)?;
        bench.address()?;
        bench.load(&module)?;
        Ok(bench)
    }

    /// Who watches the guest: nobody if there is nothing to see, or if what is durable cannot be
    /// known; a case that needs more than that is skipped.
    fn watch(&self, needs: Needs, accel: Accel) -> anyhow::Result<Option<Watch>> {
        let is_wanted = match needs.watched {
            Watched::Nothing => false,
            Watched::Durable => needs.nvdimm.is_some(),
            Watched::Count | Watched::Trace => true,
        };
        if !is_wanted {
            return Ok(None);
        }
        let library = match self.world.sight(accel)? {
            Sight::Clear(library) => library,
            Sight::Blind(why) if needs.watched == Watched::Durable => {
                self.promises.nobody_sees(why);
                return Ok(None);
            }
            Sight::Blind(why) => return Err(Skipped(why).into()),
        };
        let (folder, rules, journal) =
            (self.dir.join("observed"), Rules::default(), self.journal());
        Ok(match needs.watched {
            Watched::Durable => Some(Watch::diff(&library, &folder, rules)),
            Watched::Count => Some(Watch::count(&library, &folder)),
            Watched::Trace => Some(Watch::trace(&library, &folder, rules, Some(&journal))),
            Watched::Nothing => None,
        })
    }

    /// Skips a case that says nothing unless somebody sees what is durable.
    ///
    /// # Errors
    /// Nobody can.
    pub(crate) fn needs_sight(&self) -> anyhow::Result<()> {
        match self.world.sight(self.world.accel_of(self.case.emulated)?)? {
            Sight::Clear(_) => Ok(()),
            Sight::Blind(why) => Err(Skipped(why).into()),
        }
    }

    /// What the case's verdict does not cover.
    pub(crate) fn remark(&self) -> String {
        match self.promises.why_nobody_sees() {
            Some(why) if self.case.emulated => {
                format!("only abrupt losses of power were judged, which keep every store: {why}")
            }
            _ => self.case.remark.to_owned(),
        }
    }

    /// Says that promises of durability will be broken on purpose; then it is wrong if none is.
    pub(crate) fn some_promises_break(&self) {
        self.promises.some_break();
    }

    /// The verdict on what programs promised to be durable, in all lives of all guests.
    ///
    /// # Errors
    /// A promise did not hold, or the observer did not work.
    pub(crate) fn judge_promises(&mut self) -> anyhow::Result<()> {
        let count = self.promises.verdict(self.case.guest)?;
        if count > 0 { self.count("promises", count) } else { Ok(()) }
    }

    fn network(&self, needs: Needs, spec: &Spec) -> anyhow::Result<Vnet> {
        let ack_delay = (needs.watched == Watched::Count).then_some(ACK_DELAY);
        let fault = needs.fault;
        let mut config =
            Config { ack_delay, fault, ..Config::new(self.socket(), address::host_end()) };
        if needs.journalled {
            let journal = spec.dma_journal(&self.journal());
            config.journal = Some(journal.context("create the DMA journal")?);
        }
        Vnet::start(config).context("start the network")
    }

    /// Where the NIC's backend tells what it wrote to the NVDIMM.
    pub(crate) fn journal(&self) -> PathBuf {
        self.dir.join("dma.journal")
    }

    /// In a folder with a short name: the path of a socket has at most 107 bytes.
    fn socket(&self) -> PathBuf {
        self.sockets.path().join("nic")
    }

    /// The kernel module, built on the host with these flags, or found built.
    ///
    /// # Errors
    /// The compiler's.
    pub fn module(&self, flags: &[&str]) -> anyhow::Result<PathBuf> {
        self.step("build the kernel module");
        self.world.module(flags, &mut |line| self.step(line))
    }

    /// Plays a case inside this one; its files lie beside this one's.
    pub fn play(&self, inner: &Case) -> CaseResult {
        self.step(format!("play {}", inner.name));
        let (nobody, _) = channel();
        crate::runner::play(inner, &self.world, self.seed, &nobody)
    }

    /// Reports a figure under one of the names that the README lists.
    pub fn figure(&mut self, name: &'static str, value: f64) {
        self.figures.insert(name, value);
    }

    /// Reports a count as a figure.
    ///
    /// # Errors
    /// It is too large to be exact.
    pub fn count(&mut self, name: &'static str, count: u64) -> anyhow::Result<()> {
        let exact = u32::try_from(count).with_context(|| format!("report {name}={count}"))?;
        self.figure(name, exact.into());
        Ok(())
    }

    /// Reports an example of how payload went.
    pub(crate) fn way(&mut self, way: Way) {
        self.ways.push(way);
    }

    /// Waits for something that never comes; ends with the case's time.
    ///
    /// # Errors
    /// Always; [`TimedOut`] unless the run is cut short before.
    pub fn wait_in_vain(&self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.world.wait_for_cut(self.time_left()), "the run was cut short");
        let what = "something that never comes".to_owned();
        Err(TimedOut { limit: self.case.limit, what }.into())
    }

    /// Ends the case: large files go, unless it failed and they are to be kept.
    pub fn close(self, passed: bool) -> (Figures, Vec<Way>) {
        if passed || !self.world.options().keep_on_fail {
            for file in [self.nvdimm(), self.journal()] {
                // A file that is gone already, or never was, is as good as removed.
                let _ = std::fs::remove_file(file);
            }
        }
        (self.figures, self.ways)
    }

    /// The file of the case's NVDIMM.
    pub fn nvdimm(&self) -> PathBuf {
        self.dir.join("nvdimm")
    }

    /// The world that the case lives in.
    pub fn world(&self) -> &Arc<World> {
        &self.world
    }
}
