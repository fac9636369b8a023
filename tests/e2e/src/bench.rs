//! Bench: a booted guest with what is plugged into it, and what a case does with it.

use std::fs::File;
use std::net::SocketAddrV4;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vm::crash::{CrashState, CutAt, Survivors};
use vm::vnet::{Counters, FileOffset, FrameLog, Host, Region, Tcp, Tear, Torn, Vnet};
use vm::watch::Stats;
use vm::{Command, Exit, ExitCode, Guest, PendingCut, PowerLost, Watch};

use crate::address;
use crate::medium::Medium;
use crate::outcome::TimedOut;
use crate::part::Part;
use crate::promises::Promises;

/// The TCP port that the guest halves listen on.
pub(crate) const PORT: u16 = 9000;

/// Where the guest half of the cases lies in a guest.
pub(crate) const PROGRAM: &str = "/run/e2e-guest";
/// Where a kernel module lies in a guest.
const MODULE: &str = "/run/paste.ko";

/// How long one step of a case may take before it counts as hanging.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Who watches a guest, if anybody does, and what is known of its promises.
pub(crate) type Watched = (Option<Watch>, Arc<Promises>);

/// A guest on the bench.
#[derive(Debug)]
pub struct Bench {
    guest: Guest,
    vnet: Vnet,
    nvdimm: Option<Medium>,
    /// The guest half of the cases; a guest that lost power needs it again.
    program: Vec<u8>,
    /// When the case counts as hanging.
    deadline: Instant,
    watched: Watched,
}

impl Bench {
    /// Puts the guest half of the cases into a guest that has just booted.
    pub(crate) fn equip(
        guest: Guest,
        vnet: Vnet,
        nvdimm: Option<Medium>,
        program: Vec<u8>,
        deadline: Instant,
        watched: Watched,
    ) -> anyhow::Result<Self> {
        guest.put(&program, PROGRAM, 0o755).with_context(|| format!("put {PROGRAM}"))?;
        Ok(Self { guest, vnet, nvdimm, program, deadline, watched })
    }

    /// What the observer was told at the guest's markers, in order.
    ///
    /// # Errors
    /// Nobody watches, or the observer's file is no good.
    pub fn stats(&self) -> anyhow::Result<Vec<Stats>> {
        self.watch()?.stats().context("read the counts")
    }

    /// Who watches the guest.
    ///
    /// # Errors
    /// Nobody does; the case is skipped if nobody can.
    pub fn watch(&self) -> anyhow::Result<&Watch> {
        self.watched.0.as_ref().ok_or_else(|| self.watched.1.unseen())
    }

    /// Whether somebody watches the guest.
    pub fn is_watched(&self) -> bool {
        self.watched.0.is_some()
    }

    /// The guest, for what the bench has no word for.
    pub fn guest(&self) -> &Guest {
        &self.guest
    }

    /// Kills QEMU as something outside would.
    ///
    /// # Errors
    /// It is not there.
    pub fn kill_qemu(&self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.guest.qemu_pid()).context("name the process")?;
        kill(Pid::from_raw(pid), Signal::SIGKILL).context("kill QEMU")
    }

    /// Runs a program in the guest; it must exit with 0.
    pub fn run(&self, command: &Command) -> anyhow::Result<Exit> {
        let exit = self.guest.run(command).with_context(|| format!("run {}", command.line()))?;
        if !exit.success() {
            let (code, said) = (exit.code, exit.error_text());
            if code == ExitCode::Timeout {
                let what = format!("run {}: {code}", command.line());
                return Err(TimedOut { limit: PATIENCE, what }.into());
            }
            bail!("run {}: {code}: {}", command.line(), said.trim_end());
        }
        Ok(exit)
    }

    /// What the loaded module counts under this name.
    ///
    /// # Errors
    /// The module has no such counter, or is not loaded.
    pub fn module_counter(&self, name: &str) -> anyhow::Result<u64> {
        let told = self.shell("cat /sys/module/paste/parameters/counters")?;
        let of = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        told.lines().find_map(of).with_context(|| format!("read the counter {name}"))
    }

    /// Runs a shell script in the guest; what it wrote to standard output.
    pub fn shell(&self, script: &str) -> anyhow::Result<String> {
        Ok(self.run(&Command::shell(script).timeout(PATIENCE))?.text())
    }

    /// Loads a kernel module that takes over the guest's NIC.
    pub fn load(&self, module: &Path) -> anyhow::Result<()> {
        self.put(module, MODULE)?;
        self.run(&Command::new("insmod").args([MODULE, "nics=eth0"]).timeout(PATIENCE))?;
        self.wait_link()
    }

    /// Gives the NIC back.
    pub fn unload(&self) -> anyhow::Result<()> {
        let command = Command::new("rmmod").arg("paste").timeout(PATIENCE);
        let deadline = Instant::now() + PATIENCE;
        // A socket that a port has captured holds the module until TCP is through with it, which
        // may be after its program's end.
        let exit = loop {
            let exit = self.guest.run(&command).context("run rmmod")?;
            if !exit.error_text().contains("in use") {
                break exit;
            }
            in_time(deadline, "the end of the sockets that hold the module")?;
        };
        ensure!(exit.success(), "unload the module: {}: {}", exit.code, exit.error_text());
        self.wait_link()
    }

    fn wait_link(&self) -> anyhow::Result<()> {
        self.vnet.wait_link(PATIENCE).context("wait for the guest's driver")
    }

    /// Gives the guest its address and waits until it answers.
    pub fn address(&self) -> anyhow::Result<()> {
        self.shell(&address::script())?;
        self.ping()
    }

    /// Waits until the guest answers a ping.
    pub fn ping(&self) -> anyhow::Result<()> {
        self.wait_link()?;
        self.host().ping(address::GUEST, PATIENCE).context("ping the guest").map(drop)
    }

    /// Copies a file of the host into the guest, executable.
    pub fn put(&self, from: &Path, to: &str) -> anyhow::Result<()> {
        let bytes = std::fs::read(from).with_context(|| format!("read {}", from.display()))?;
        self.guest.put(&bytes, to, 0o755).with_context(|| format!("put {to}"))
    }

    /// Starts the guest half of a case.
    pub fn part(&self, case: &str, args: &[&str]) -> anyhow::Result<Part> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let command = Command::new(PROGRAM).arg(case).args(args).timeout(left);
        let running = self.guest.spawn(&command).with_context(|| format!("start {case}"))?;
        Ok(Part::new(case, running))
    }

    /// The host's end of the network.
    pub fn host(&self) -> Host {
        self.vnet.host()
    }

    /// What the network has done so far.
    pub fn counters(&self) -> Counters {
        self.vnet.counters()
    }

    /// The log of all frames.
    pub fn frame_log(&self) -> FrameLog {
        self.vnet.frame_log()
    }

    /// Has the NIC stand still in the middle of a frame that it writes into guest memory.
    pub fn tear(&self, tear: Tear) -> Torn {
        self.vnet.tear(tear)
    }

    /// The guest memory that the NIC can write into.
    pub fn regions(&self) -> Vec<Region> {
        self.vnet.regions()
    }

    /// A TCP connection to the guest half.
    pub fn connect(&self) -> anyhow::Result<Tcp> {
        let to = SocketAddrV4::new(address::GUEST, PORT);
        self.host().connect(to, PATIENCE).with_context(|| format!("connect to {to}"))
    }

    /// What the host sees of the guest's NVDIMM.
    pub fn nvdimm(&self) -> anyhow::Result<&Medium> {
        self.nvdimm.as_ref().context("a bench with an NVDIMM")
    }

    /// Says that the guest's pool is this file on its NVDIMM, and where its bytes lie there.
    ///
    /// # Errors
    /// The guest cannot tell.
    pub fn map_file(&mut self, path: &str) -> anyhow::Result<()> {
        let told = self.shell(&format!("filefrag -b1 -e {path}"))?;
        self.nvdimm.as_mut().context("a bench with an NVDIMM")?.map_file(&told)
    }

    /// Reads the guest's memory at a place that a search of it has found.
    ///
    /// # Errors
    /// The place lies in no file, or cannot be read.
    pub fn read_ram(&self, place: Option<FileOffset>, len: usize) -> anyhow::Result<Vec<u8>> {
        let place = place.context("a place in a file")?;
        let ram = self.guest.ram_path().context("a guest whose memory is a file")?;
        let ram = File::open(ram).context("open the guest's memory")?;
        let mut bytes = vec![0; len];
        ram.read_exact_at(&mut bytes, place.offset).context("read the guest's memory")?;
        Ok(bytes)
    }

    /// Looks at all guest memory while the guest stands still.
    pub fn paused<T>(&self, look: impl FnOnce(&Vnet) -> anyhow::Result<T>) -> anyhow::Result<T> {
        self.guest.pause().context("pause the guest")?;
        let seen = look(&self.vnet)?;
        self.guest.resume().context("resume the guest")?;
        Ok(seen)
    }
}

/// A bench whose guest has lost power; it can only boot.
#[derive(Debug)]
pub struct DarkBench {
    guest: PowerLost,
    vnet: Vnet,
    nvdimm: Option<Medium>,
    program: Vec<u8>,
    deadline: Instant,
    watched: Watched,
}

impl Bench {
    /// Cuts the guest's power. What the NVDIMM holds is then every store that was made; see
    /// [`DarkBench::states`] for what else it may hold.
    pub fn power_fail(self) -> DarkBench {
        let Self { guest, vnet, nvdimm, program, deadline, watched } = self;
        DarkBench { guest: guest.power_fail(), vnet, nvdimm, program, deadline, watched }
    }

    /// Asks for a loss of power at a marker of the guest.
    ///
    /// # Errors
    /// No observer can do that.
    pub fn cut_at(&self, at: CutAt) -> anyhow::Result<PendingCut> {
        self.guest.cut_at(at).context("ask for a loss of power")
    }

    /// Waits until the guest has lost its power at a marker: the one that was asked for, or one of
    /// its own.
    ///
    /// # Errors
    /// The guest goes on, or ended otherwise.
    pub fn lost_power(self, asked: Option<PendingCut>) -> anyhow::Result<DarkBench> {
        let Self { guest, vnet, nvdimm, program, deadline, watched } = self;
        let lost = match asked {
            Some(cut) => cut.wait(guest, PATIENCE),
            None => guest.lost_power(PATIENCE),
        };
        let guest = lost.map_err(|not| not.why).context("lose power at a marker")?;
        Ok(DarkBench { guest, vnet, nvdimm, program, deadline, watched })
    }

    /// What a loss of power would leave of the NVDIMM now: what is durable, and the lines in
    /// flight.
    ///
    /// # Errors
    /// No observer knows; the case is skipped if none can.
    pub fn states(&self) -> anyhow::Result<(CrashState, Vec<u8>)> {
        let state = self.guest.crash_state().context("read what is durable")?;
        state.ok_or_else(|| self.watched.1.unseen())
    }

    /// Shuts the guest down in order.
    ///
    /// # Errors
    /// It does not get there.
    pub fn shut_down(self) -> anyhow::Result<DarkBench> {
        let Self { guest, vnet, nvdimm, program, deadline, watched } = self;
        let guest = guest.shut_down().context("shut down the guest")?;
        Ok(DarkBench { guest, vnet, nvdimm, program, deadline, watched })
    }
}

impl DarkBench {
    /// Boots the guest again.
    ///
    /// # Errors
    /// It does not come up.
    pub fn boot(self) -> anyhow::Result<Bench> {
        let Self { guest, vnet, nvdimm, program, deadline, watched } = self;
        watched.1.begin(watched.0.as_ref())?;
        let guest = guest.boot().context("boot the guest again")?;
        Bench::equip(guest, vnet, nvdimm, program, deadline, watched)
    }

    /// The marker at which power was lost, by name and id, and at which time.
    ///
    /// # Errors
    /// It was at none.
    pub fn cut(&self) -> anyhow::Result<String> {
        let cut = self.guest.cut().context("read where power was lost")?;
        cut.map(|cut| cut.to_string()).context("a loss of power at a marker")
    }

    /// What may be left of the NVDIMM: what was durable, and the lines in flight.
    ///
    /// # Errors
    /// No observer knows; the case is skipped if none can.
    pub fn states(&self) -> anyhow::Result<(CrashState, Vec<u8>)> {
        let state = self.guest.crash_state().context("read what was durable")?;
        state.ok_or_else(|| self.watched.1.unseen())
    }

    /// Whether somebody watched the guest.
    pub fn was_watched(&self) -> bool {
        self.watched.0.is_some()
    }

    /// Leaves the NVDIMM in one of these states.
    ///
    /// # Errors
    /// As [`DarkBench::states`].
    pub fn settle(&self, survivors: Survivors) -> anyhow::Result<()> {
        if !self.was_watched() {
            return Err(self.watched.1.unseen());
        }
        self.guest.settle(survivors).context("leave what survived")
    }

    /// What the host sees of the guest's NVDIMM.
    ///
    /// # Errors
    /// The bench has none.
    pub fn nvdimm(&self) -> anyhow::Result<&Medium> {
        self.nvdimm.as_ref().context("a bench with an NVDIMM")
    }
}

/// An error if the time is over.
pub(crate) fn in_time(deadline: Instant, what: &str) -> anyhow::Result<()> {
    if Instant::now() < deadline {
        return Ok(());
    }
    Err(TimedOut { limit: PATIENCE, what: what.to_owned() }.into())
}
