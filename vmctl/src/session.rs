//! Session: a guest for a person: booted, with its address, its NVDIMM and the module loaded.

mod dark;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use e2e::{World, address};
use vm::accel::Accel;
use vm::crash::Rules;
use vm::nvdimm::Mode;
use vm::vnet::{Config, Vnet};
use vm::{Command, Guest, Mib, Nic, Nvdimm, Spec, Watch};

use crate::cli::HostArgs;
use crate::cli::guest::GuestArgs;
use crate::report::progress::Progress;
use crate::{forward, signals, transfer, world};

pub(crate) use dark::Dark;

/// Nobody looks at frames here; the log of them needs no memory.
const LOGGED_FRAMES: usize = 1;

/// How long one step of the preparation may take.
const PATIENCE: Duration = Duration::from_mins(1);

const MODULE: &str = "/run/paste.ko";

/// A program that executes markers; the guest half of the cases does.
const MARKER: &str = "/run/marker";

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
    place: Place,
}

/// What a guest hangs on, with power or without.
#[derive(Debug)]
struct Place {
    vnet: Option<Vnet>,
    _sockets: tempfile::TempDir,
    dir: PathBuf,
    tree: PathBuf,
    module: Option<PathBuf>,
    keeps_nvdimm: bool,
    watch: Option<Watch>,
}

/// What an observer sees of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    Nothing,
    /// What of its NVDIMM is durable.
    Durable,
    /// Every store to its NVDIMM, by these rules.
    Stores(Rules),
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
        Self::begin(args, host, Sight::Nothing, progress)
    }

    /// Likewise; where that can be, an observer knows what of the NVDIMM is durable.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub(crate) fn open_observed(
        args: &GuestArgs,
        host: &HostArgs,
        progress: &mut Progress,
    ) -> anyhow::Result<Self> {
        Self::begin(args, host, Sight::Durable, progress)
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
        Self::begin(args, host, Sight::Stores(rules), progress)
    }

    fn begin(
        args: &GuestArgs,
        host: &HostArgs,
        sight: Sight,
        progress: &mut Progress,
    ) -> anyhow::Result<Self> {
        let options = world::options(host)?;
        world::check_guest(&options, &args.guest)?;
        let world = World::new(options);
        progress.step("looking for the image");
        world.prepare(&args.guest, &mut |line| progress.step(line))?;
        let module = (!args.no_module)
            .then(|| {
                progress.step("building the kernel module");
                world.module(&[], &mut |line| progress.step(line))
            })
            .transpose()?;
        let (sight, library) = look(&world, args, sight, progress)?;
        progress.step("booting the guest");
        let this = Self::boot(args, &world, module, (sight, library.as_deref()))?;
        this.equip(args, progress)?;
        for ports in &args.forward {
            let vnet = this.place.vnet.as_ref().context("a NIC for forwarded ports")?;
            let port = forward::start(*ports, vnet.host(), address::GUEST)?;
            if ports.host == 0 {
                eprintln!("vmctl: 127.0.0.1:{port} leads to port {} of the guest", ports.guest);
            }
        }
        Ok(this)
    }

    fn boot(
        args: &GuestArgs,
        world: &World,
        module: Option<PathBuf>,
        (sight, library): (Sight, Option<&Path>),
    ) -> anyhow::Result<Self> {
        let base = world.base()?;
        let dir = world.case_dir(&args.guest);
        std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        let sockets = tempfile::tempdir().context("create a folder for sockets")?;
        // Only TCG shows a guest's stores, and only one CPU their order.
        let is_traced = matches!(sight, Sight::Stores(_));
        let accel = if is_traced { Accel::Tcg } else { base.accel };
        let mut spec = Spec::new(&args.guest, &base.image, &dir).accel(accel);
        spec = spec.qemu(&base.qemu.path).pvpanic().cpus(args.cpus).ram(Mib(args.memory));
        if let Some(nvdimm) = nvdimm(args, &dir)? {
            spec = spec.nvdimm(nvdimm);
        }
        let journal = is_traced.then(|| dir.join("dma.journal"));
        let vnet = (!args.no_nic).then(|| network(&spec, sockets.path(), journal.as_deref()));
        let vnet = vnet.transpose()?;
        if vnet.is_some() {
            let socket = sockets.path().join(SOCKET);
            spec = spec.nic(Nic::VhostUser { socket, mac: address::guest_mac() });
        }
        let journal = journal.filter(|_| vnet.is_some());
        let folder = dir.join("observed");
        let watch = library.and_then(|library| match sight {
            Sight::Nothing => None,
            Sight::Durable => Some(Watch::diff(library, &folder, Rules::default())),
            Sight::Stores(rules) => Some(Watch::trace(library, &folder, rules, journal.as_deref())),
        });
        if let Some(watch) = &watch {
            spec = spec.watch(watch.clone());
        }
        if is_traced {
            // The same addresses in every run; those of a program lead to its source.
            spec = spec.kernel_arg("norandmaps");
        }
        let guest = spec.boot().context("boot")?;
        if is_traced {
            let bytes = std::fs::read(&base.programs.cases).context("read the guest program")?;
            guest.put(&bytes, MARKER, 0o755).context("copy the program of markers in")?;
        }
        let (tree, keeps_nvdimm) = (base.image.tree.clone(), args.nvdimm_file.is_some());
        let place = Place { vnet, _sockets: sockets, dir, tree, module, keeps_nvdimm, watch };
        Ok(Self { guest, place })
    }

    /// Gives the guest what each boot takes away: address, module, copied files.
    fn equip(&self, args: &GuestArgs, progress: &mut Progress) -> anyhow::Result<()> {
        progress.step("preparing the guest");
        self.prepare(args)?;
        for copy in &args.put {
            progress.step(&format!("copying {} in", copy.host.display()));
            transfer::put(&self.guest, copy)?;
        }
        Ok(())
    }

    fn prepare(&self, args: &GuestArgs) -> anyhow::Result<()> {
        let run = |command: Command| self.guest.run_ok(&command.timeout(PATIENCE)).map(drop);
        if self.place.vnet.is_some() {
            run(Command::shell(address::script())).context("give the guest its address")?;
        }
        if let Some(module) = &self.place.module {
            let bytes = std::fs::read(module).context("read the kernel module")?;
            self.guest.put(&bytes, MODULE, 0o644).context("copy the kernel module in")?;
            let nics = (!args.no_nic).then_some("nics=eth0");
            run(Command::new("insmod").arg(MODULE).args(nics)).context("load the module")?;
        }
        if let Some(vnet) = &self.place.vnet {
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
        self.place.watch.as_ref()
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
        &self.place.tree
    }

    /// Its network, if it has a NIC.
    pub(crate) fn vnet(&self) -> Option<&Vnet> {
        self.place.vnet.as_ref()
    }

    /// Ends the guest. Its files stay for somebody to look at if something was wrong with it; an
    /// NVDIMM that the user keeps stays always.
    ///
    /// # Errors
    /// What was wrong before, or that the guest did not shut down in order where that matters.
    pub(crate) fn end<T>(self, played: anyhow::Result<T>) -> anyhow::Result<T> {
        let run_dir = self.place.run_dir();
        let guest_is_fine = match &played {
            Ok(_) => true,
            Err(error) => error.is::<NotStarted>(),
        };
        let closed = if guest_is_fine { self.close() } else { Ok(()) };
        leave(&run_dir, guest_is_fine && closed.is_ok());
        let result = played?;
        closed.map(|()| result)
    }

    fn close(self) -> anyhow::Result<()> {
        for line in self.guest.warnings() {
            eprintln!("vmctl: the guest's kernel said: {line}");
        }
        if self.place.keeps_nvdimm {
            // Only then does it matter whether file systems were unmounted.
            self.guest.shut_down().context("shut down the guest")?;
        } else {
            drop(self.guest.power_fail());
        }
        Ok(())
    }
}

/// What can be seen of a guest of which this is wanted, and the library that sees it. Less than
/// what is durable is told; a recording is nothing without its stores.
fn look(
    world: &World,
    args: &GuestArgs,
    wanted: Sight,
    progress: &mut Progress,
) -> anyhow::Result<(Sight, Option<PathBuf>)> {
    let accel = match wanted {
        Sight::Durable if args.nvdimm > 0 => world.base()?.accel,
        Sight::Stores(_) => Accel::Tcg,
        Sight::Durable | Sight::Nothing => return Ok((Sight::Nothing, None)),
    };
    progress.step("building the observer");
    match world.sight(accel)? {
        e2e::Sight::Clear(library) => Ok((wanted, Some(library))),
        e2e::Sight::Blind(why) if wanted == Sight::Durable => {
            eprintln!("vmctl: when power is cut every store will survive: {why}");
            Ok((Sight::Nothing, None))
        }
        e2e::Sight::Blind(why) => bail!("nobody would see the stores: {why}"),
    }
}

/// The name of the NIC's socket.
const SOCKET: &str = "nic";

fn network(spec: &Spec, sockets: &Path, journal: Option<&Path>) -> anyhow::Result<Vnet> {
    let config = Config::new(sockets.join(SOCKET), address::host_end());
    let mut config = Config { logged_frames: LOGGED_FRAMES, ..config };
    if let Some(path) = journal {
        config.journal = Some(spec.dma_journal(path).context("create the DMA journal")?);
    }
    Vnet::start(config).context("start the network")
}

impl Place {
    fn run_dir(&self) -> PathBuf {
        self.dir.parent().unwrap_or(&self.dir).to_owned()
    }
}

/// Removes the files of a guest that was fine, or says where they are.
fn leave(run_dir: &Path, was_fine: bool) {
    if was_fine || signals::interrupted() {
        // What stays costs room, nothing else.
        let _ = std::fs::remove_dir_all(run_dir);
    } else {
        eprintln!("vmctl: the guest's files: {}", run_dir.display());
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
