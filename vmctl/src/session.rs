//! Session: a guest for a person: booted, with its address, its NVDIMM and the module loaded.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use e2e::{World, address};
use vm::nvdimm::Mode;
use vm::vnet::{Config, Vnet};
use vm::{Command, Guest, Mib, Nic, Nvdimm, Spec};

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
        let options = world::options(host)?;
        let manifest = options.root.join("images").join(&args.guest).with_extension("toml");
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
        progress.step("booting the guest");
        let this = Self::boot(args, &world)?;
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

    fn boot(args: &GuestArgs, world: &World) -> anyhow::Result<Self> {
        let base = world.base()?;
        let dir = world.case_dir(&args.guest);
        std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        let sockets = tempfile::tempdir().context("create a folder for sockets")?;
        let mut spec = Spec::new(&args.guest, &base.image, &dir).accel(base.accel);
        spec = spec.qemu(&base.qemu.path).pvpanic().cpus(args.cpus).ram(Mib(args.memory));
        let mut vnet = None;
        if !args.no_nic {
            let socket = sockets.path().join("nic");
            let config = Config::new(&socket, address::host_end());
            let config = Config { observed_frames: OBSERVED_FRAMES, ..config };
            vnet = Some(Vnet::start(config).context("start the network")?);
            spec = spec.nic(Nic::VhostUser { socket, mac: address::guest_mac() });
        }
        if let Some(nvdimm) = nvdimm(args, &dir)? {
            spec = spec.nvdimm(nvdimm);
        }
        let guest = spec.boot().context("boot")?;
        let (tree, keeps_nvdimm) = (base.image.tree.clone(), args.nvdimm_file.is_some());
        Ok(Self { guest, vnet, _sockets: sockets, dir, tree, keeps_nvdimm })
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
