//! Session: a guest for a person: booted, with its address, its NVDIMM and the module loaded.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use e2e::{World, address};
use vm::accel::Accel;
use vm::crash::Rules;
use vm::nvdimm::Mode;
use vm::vnet::{Config, Journal, Vnet};
use vm::{Command, Guest, Mib, Nic, Nvdimm, Spec, Watch};

use crate::cli::HostArgs;
use crate::cli::guest::GuestArgs;
use crate::exit::Usage;
use crate::report::progress::Progress;
use crate::{forward, signals, transfer, world};

/// Nobody looks at frames here; the observer needs no memory.
const OBSERVED_FRAMES: usize = 1;

/// How long one step of the preparation may take.
const PATIENCE: Duration = Duration::from_mins(1);

const MODULE: &str = "/run/paste.ko";

/// A program that executes markers; the guest half of the cases does.
const MARKER: &str = "/run/marker";

/// Room for what the NIC writes to a traced NVDIMM; only what is used costs.
const JOURNAL_BYTES: u64 = 1 << 30;

/// The guest is fine, but could not start the program.
#[derive(Debug)]
pub(crate) struct NotStarted(pub(crate) String);

impl std::fmt::Display for NotStarted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotStarted {}

/// A guest and what it hangs on. Dropped: the guest is killed.
#[derive(Debug)]
pub(crate) struct Session {
    // First, because a guest goes before its network.
    guest: Guest,
    vnet: Option<Vnet>,
    _sockets: tempfile::TempDir,
    dir: PathBuf,
    tree: PathBuf,
    keeps_nvdimm: bool,
    watch: Option<Watch>,
}

impl Session {
    /// Boots a guest and prepares it.
    ///
    /// # Errors
    /// What the host lacks, or why the guest did not come up.
    pub(crate) fn open(
        args: &GuestArgs,
        host: &HostArgs,
        progress: &mut Progress,
    ) -> anyhow::Result<Self> {
        Self::prepare(args, host, None, progress)
    }

    /// Likewise, under an observer that records every store to the NVDIMM by these rules.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub(crate) fn open_traced(
        args: &GuestArgs,
        host: &HostArgs,
        rules: Rules,
        progress: &mut Progress,
    ) -> anyhow::Result<Self> {
        Self::prepare(args, host, Some(rules), progress)
    }

    fn prepare(
        args: &GuestArgs,
        host: &HostArgs,
        traced: Option<Rules>,
        progress: &mut Progress,
    ) -> anyhow::Result<Self> {
        let options = world::options(host)?;
        let manifest = options.root.join(format!("images/{}.toml", args.guest));
        if !manifest.is_file() {
            return Err(Usage(format!("no guest is called {}: no images/ file", args.guest)).into());
        }
        let world = World::new(options);
        progress.step("looking for the image");
        world.prepare(&args.guest, &mut |line| progress.step(line))?;
        let module = (!args.no_module)
            .then(|| {
                progress.step("building the kernel module");
                world.module(&[], &mut |line| progress.step(line))
            })
            .transpose()?;
        let library = traced
            .map(|rules| {
                progress.step("building the observer");
                Ok::<_, anyhow::Error>((world.observer()?, rules))
            })
            .transpose()?;
        progress.step("booting the guest");
        let this = Self::boot(args, &world, library)?;
        progress.step("preparing the guest");
        this.equip(args, module.as_deref())?;
        for ports in &args.forward {
            let vnet = this.vnet.as_ref().context("a NIC for forwarded ports")?;
            let port = forward::start(*ports, vnet.host(), address::GUEST)?;
            if ports.host == 0 {
                eprintln!("vmctl: 127.0.0.1:{port} leads to port {} of the guest", ports.guest);
            }
        }
        for copy in &args.put {
            progress.step(&format!("copying {} in", copy.host.display()));
            transfer::put(&this.guest, copy)?;
        }
        Ok(this)
    }

    fn boot(
        args: &GuestArgs,
        world: &World,
        traced: Option<(PathBuf, Rules)>,
    ) -> anyhow::Result<Self> {
        let base = world.base()?;
        let dir = world.case_dir(&args.guest);
        std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        let sockets = tempfile::tempdir().context("create a folder for sockets")?;
        // Only TCG shows a guest's stores, and only one CPU their order.
        let accel = if traced.is_some() { Accel::Tcg } else { base.accel };
        let mut spec = Spec::new(&args.guest, &base.image, &dir).accel(accel);
        spec = spec.qemu(&base.qemu.path).pvpanic().cpus(args.cpus).ram(Mib(args.memory));
        if let Some(nvdimm) = nvdimm(args, &dir)? {
            spec = spec.nvdimm(nvdimm);
        }
        let journal = traced.is_some().then(|| dir.join("dma.journal"));
        let vnet = (!args.no_nic).then(|| network(&spec, sockets.path(), journal.as_deref()));
        let vnet = vnet.transpose()?;
        if vnet.is_some() {
            let socket = sockets.path().join(SOCKET);
            spec = spec.nic(Nic::VhostUser { socket, mac: address::guest_mac() });
        }
        let journal = journal.filter(|_| vnet.is_some());
        let watch = traced.map(|(library, rules)| {
            Watch::trace(&library, &dir.join("observed"), rules, journal.as_deref())
        });
        if let Some(watch) = &watch {
            // The same addresses in every run; those of a program lead to its source.
            spec = spec.watch(watch.clone()).kernel_arg("norandmaps");
        }
        let guest = spec.boot().context("boot")?;
        if watch.is_some() {
            let bytes = std::fs::read(&base.programs.cases).context("read the guest program")?;
            guest.put(&bytes, MARKER, 0o755).context("copy the program of markers in")?;
        }
        let (tree, keeps_nvdimm) = (base.image.tree.clone(), args.nvdimm_file.is_some());
        Ok(Self { guest, vnet, _sockets: sockets, dir, tree, keeps_nvdimm, watch })
    }

    fn equip(&self, args: &GuestArgs, module: Option<&Path>) -> anyhow::Result<()> {
        let run = |command: Command| self.guest.run_ok(&command.timeout(PATIENCE)).map(drop);
        if self.vnet.is_some() {
            run(Command::shell(address::script())).context("give the guest its address")?;
        }
        if let Some(module) = module {
            let bytes = std::fs::read(module).context("read the kernel module")?;
            self.guest.put(&bytes, MODULE, 0o644).context("copy the kernel module in")?;
            let nics = (!args.no_nic).then_some("nics=eth0");
            run(Command::new("insmod").arg(MODULE).args(nics)).context("load the module")?;
        }
        if let Some(vnet) = &self.vnet {
            vnet.wait_link(PATIENCE).context("wait for the guest's driver")?;
            vnet.host().ping(address::GUEST, PATIENCE).context("ping the guest")?;
        }
        Ok(())
    }

    /// The guest.
    pub(crate) fn guest(&self) -> &Guest {
        &self.guest
    }

    /// Who watches the guest.
    pub(crate) fn watch(&self) -> Option<&Watch> {
        self.watch.as_ref()
    }

    /// Has the guest execute a marker: `arm` or `disarm`.
    ///
    /// # Errors
    /// The guest is gone.
    pub(crate) fn mark(&self, which: &str) -> anyhow::Result<()> {
        let command = Command::new(MARKER).arg(format!("marker::{which}")).timeout(PATIENCE);
        self.guest.run_ok(&command).map(drop).with_context(|| format!("execute marker {which}"))
    }

    /// Runs a shell script that prepares something in the guest.
    ///
    /// # Errors
    /// It fails, or the guest is gone.
    pub(crate) fn script(&self, script: &str) -> anyhow::Result<String> {
        Ok(self.guest.run_ok(&Command::shell(script).timeout(PATIENCE))?.text())
    }

    /// The guest's root, unpacked on this machine.
    pub(crate) fn tree(&self) -> &Path {
        &self.tree
    }

    /// Ends the guest. Its files stay for somebody to look at if something was wrong with it; an
    /// NVDIMM that the user keeps stays always.
    ///
    /// # Errors
    /// What was wrong before, or that the guest did not shut down in order where that matters.
    pub(crate) fn end<T>(self, played: anyhow::Result<T>) -> anyhow::Result<T> {
        let run_dir = self.dir.parent().unwrap_or(&self.dir).to_owned();
        let guest_is_fine = match &played {
            Ok(_) => true,
            Err(error) => error.is::<NotStarted>(),
        };
        let closed = if guest_is_fine { self.close() } else { Ok(()) };
        if guest_is_fine && closed.is_ok() || signals::interrupted() {
            // What stays costs room, nothing else.
            let _ = std::fs::remove_dir_all(run_dir);
        } else {
            eprintln!("vmctl: the guest's files: {}", run_dir.display());
        }
        let result = played?;
        closed.map(|()| result)
    }

    fn close(self) -> anyhow::Result<()> {
        for line in self.guest.warnings() {
            eprintln!("vmctl: the guest's kernel said: {line}");
        }
        if self.keeps_nvdimm {
            // Only then does it matter whether file systems were unmounted.
            self.guest.shut_down().context("shut down the guest")?;
        } else {
            drop(self.guest.power_fail());
        }
        Ok(())
    }
}

/// The name of the NIC's socket.
const SOCKET: &str = "nic";

fn network(spec: &Spec, sockets: &Path, journal: Option<&Path>) -> anyhow::Result<Vnet> {
    let config = Config::new(sockets.join(SOCKET), address::host_end());
    let mut config = Config { observed_frames: OBSERVED_FRAMES, ..config };
    if let Some(path) = journal {
        let window = spec.nvdimm_windows().into_iter().next().context("an NVDIMM to trace")?;
        let journal = Journal::create(path, window, JOURNAL_BYTES);
        config.journal = Some(journal.context("create the DMA journal")?);
    }
    Vnet::start(config).context("start the network")
}

fn nvdimm(args: &GuestArgs, dir: &Path) -> anyhow::Result<Option<Nvdimm>> {
    let mode = if args.fsdax { Mode::Fsdax } else { Mode::Devdax };
    let create = |path: &Path| Nvdimm::create(path, Mib(args.nvdimm), mode);
    match &args.nvdimm_file {
        _ if args.nvdimm == 0 => Ok(None),
        Some(file) if file.exists() => {
            Nvdimm::open(file).map(Some).with_context(|| format!("open {}", file.display()))
        }
        Some(file) => create(file).map(Some).context("create the NVDIMM"),
        None => create(&dir.join("nvdimm")).map(Some).context("create the NVDIMM"),
    }
}
