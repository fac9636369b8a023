//! World: what all cases of a run share: where things lie, the image, the programs, the modules.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use vm::BootFiles;
use vm::accel::{self, Accel};
use vm::host::Qemu;
use vm::image::{Image, Request};
use vm::module::Module;

use crate::deploy::{self, Programs};
use crate::sight::Sight;
use crate::workshop::Workshop;

/// What all cases of a run share.
#[derive(Debug)]
pub struct World {
    options: Options,
    base: OnceLock<Base>,
    sight: OnceLock<Sight>,
    /// What cases have asked for, by name: built once, one at a time.
    workpieces: Mutex<BTreeMap<&'static str, PathBuf>>,
    /// Whether the run was cut short, and a way to wait for that.
    cut_short: (Mutex<bool>, Condvar),
}

/// How a run is set up; everything comes from the command line or the environment.
#[derive(Clone, Debug)]
pub struct Options {
    /// The root of the project.
    pub root: PathBuf,
    /// Where this run, and no other, leaves its files.
    pub run_dir: PathBuf,
    /// Where images, packages and modules are kept between runs.
    pub cache: PathBuf,
    /// The cargo that builds the guest programs.
    pub cargo: PathBuf,
    /// The QEMU to use.
    pub qemu: PathBuf,
    /// What is to execute the guests; None: whatever works.
    pub accel: Option<Accel>,
    /// A Debian mirror, if the system's own sources are not to be used.
    pub debian_mirror: Option<String>,
    /// Whether a locked version that the mirror has dropped is an error.
    pub locked: bool,
    /// Whether a failed case keeps its large files.
    pub keep_on_fail: bool,
}

/// What every guest is made of.
#[derive(Debug)]
pub struct Base {
    /// What guests boot.
    pub image: Image,
    /// What runs in them.
    pub programs: Programs,
    /// What runs them.
    pub qemu: Qemu,
    /// How.
    pub accel: Accel,
}

impl World {
    /// A world in which nothing is built yet.
    pub fn new(options: Options) -> Self {
        let (base, sight, workpieces) = (OnceLock::new(), OnceLock::new(), Mutex::default());
        let cut_short = (Mutex::new(false), Condvar::new());
        Self { options, base, sight, workpieces, cut_short }
    }

    /// Builds what every guest is made of, or finds it built.
    ///
    /// # Errors
    /// What the host lacks, or why a build failed.
    pub fn prepare(&self, image: &str, tell: &mut dyn FnMut(&str)) -> anyhow::Result<()> {
        let Options { root, cargo, qemu, .. } = &self.options;
        let qemu = vm::host::qemu(qemu).context("look at QEMU")?;
        tell("building the guest programs");
        let programs = deploy::build(cargo, root)?;
        let request = self.request(image, &programs);
        let image = vm::image::build(&request, tell).with_context(|| format!("build {image}"))?;
        let accel = self.accel(&image, &qemu, tell)?;
        let base = Base { image, programs, qemu, accel };
        self.base.set(base).map_err(|_| anyhow!("the world is prepared once"))
    }

    /// What is to execute the guests: KVM only if it has really booted one.
    fn accel(
        &self,
        image: &Image,
        qemu: &Qemu,
        tell: &mut dyn FnMut(&str),
    ) -> anyhow::Result<Accel> {
        if self.options.accel == Some(Accel::Tcg) {
            return Ok(Accel::Tcg);
        }
        let boot = BootFiles {
            kernel: image.kernel.clone(),
            initrd: image.initrd.clone(),
            root: Some(image.root.clone()),
        };
        let found = accel::probe(&boot, &qemu.path, &self.options.cache).context("look at KVM")?;
        if self.options.accel == Some(Accel::Kvm) && found.accel != Accel::Kvm {
            let because = found.because;
            bail!("KVM does not work here: {because}; without --accel kvm guests run under TCG");
        }
        tell(&format!("guests run under {}", found.accel.name().to_uppercase()));
        Ok(found.accel)
    }

    /// What executes the guests of a case: of one that is `emulated`, TCG even where KVM works,
    /// unless KVM was asked for.
    ///
    /// # Errors
    /// As [`World::base`].
    pub(crate) fn accel_of(&self, emulated: bool) -> anyhow::Result<Accel> {
        let is_kvm_asked_for = self.options.accel == Some(Accel::Kvm);
        if emulated && !is_kvm_asked_for { Ok(Accel::Tcg) } else { Ok(self.base()?.accel) }
    }

    /// What can be known of the flushes of guests that this executes.
    ///
    /// # Errors
    /// The compiler's.
    pub fn sight(&self, accel: Accel) -> anyhow::Result<Sight> {
        let find = || Sight::find(accel, &self.base()?.qemu.path, || self.observer());
        match accel {
            Accel::Kvm => find(),
            Accel::Tcg => match self.sight.get() {
                Some(known) => Ok(known.clone()),
                None => find().map(|found| self.sight.get_or_init(|| found).clone()),
            },
        }
    }

    /// What an image of this name is built from; builds the agent that goes into it.
    ///
    /// # Errors
    /// Cargo's.
    pub fn image_request(&self, name: &str) -> anyhow::Result<Request> {
        let programs = deploy::build(&self.options.cargo, &self.options.root)?;
        Ok(self.request(name, &programs))
    }

    fn request(&self, image: &str, programs: &Programs) -> Request {
        Request {
            manifest: self.options.root.join(format!("images/{image}.toml")),
            agent: programs.agent.clone(),
            cache: self.options.cache.clone(),
            mirror: self.options.debian_mirror.clone(),
            locked: self.options.locked,
        }
    }

    /// What every guest is made of.
    ///
    /// # Errors
    /// The world was not prepared.
    pub fn base(&self) -> anyhow::Result<&Base> {
        self.base.get().context("prepare the world before a guest")
    }

    /// The kernel module, built on the host with these flags, or found built.
    ///
    /// # Errors
    /// The compiler's.
    pub fn module(&self, flags: &[&str], tell: &mut dyn FnMut(&str)) -> anyhow::Result<PathBuf> {
        let sources = self.kernel_sources();
        let module = module(&sources, flags);
        vm::module::build_on_host(&module, &self.base()?.image, &self.options.cache, tell)
            .context("build the kernel module")
    }

    /// A program that tries the module's device, built or found built.
    ///
    /// # Errors
    /// The compiler's.
    pub(crate) fn device_program(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.once("device", || deploy::build_device(&self.options.root))?;
        Ok(folder.join(name))
    }

    /// A program that the observer is tried with, built or found built.
    ///
    /// # Errors
    /// The compiler's.
    pub(crate) fn protocols(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.once("protocols", || deploy::build_protocols(&self.options.root))?;
        Ok(folder.join(name))
    }

    /// Where edited copies of the guest half are built.
    ///
    /// # Errors
    /// The sources cannot be copied.
    pub(crate) fn workshop(&self) -> anyhow::Result<Workshop> {
        Workshop::open(&self.options.cargo, &self.options.root)
    }

    /// The observer that QEMU loads to watch a guest, built or found built.
    ///
    /// # Errors
    /// The compiler's.
    pub fn observer(&self) -> anyhow::Result<PathBuf> {
        let Options { cargo, root, .. } = &self.options;
        self.once("observer", || deploy::build_observer(cargo, root))
    }

    /// The file or folder of this name, built by the first case that asks for it.
    fn once(
        &self,
        name: &'static str,
        build: impl FnOnce() -> anyhow::Result<PathBuf>,
    ) -> anyhow::Result<PathBuf> {
        let mut all = self.workpieces.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = all.get(name) {
            return Ok(path.clone());
        }
        let path = build()?;
        all.insert(name, path.clone());
        Ok(path)
    }

    /// The sources of the kernel extension.
    pub fn kernel_sources(&self) -> PathBuf {
        self.options.root.join("kernel")
    }

    /// How the run is set up.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Ends every guest and every wait: the run is cut short.
    pub fn cut_short(&self) {
        *self.cut_short.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.cut_short.1.notify_all();
        vm::process::kill_all();
    }

    /// Waits until the run is cut short; false if the time passes first.
    pub fn wait_for_cut(&self, within: Duration) -> bool {
        let (lock, bell) = &self.cut_short;
        let cut = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = bell.wait_timeout_while(cut, within, |cut| !*cut);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Where a case leaves its files.
    pub fn case_dir(&self, case: &str) -> PathBuf {
        self.options.run_dir.join(case.replace("::", "-"))
    }
}

/// The kernel extension as a module that is built from `sources` with these flags.
pub(crate) fn module<'a>(sources: &'a Path, flags: &'a [&'a str]) -> Module<'a> {
    Module {
        name: "paste",
        dir: sources,
        folders: &["include", "core", "linux"],
        build_in: "linux",
        flags,
    }
}
