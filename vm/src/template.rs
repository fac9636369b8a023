//! Template: a booted guest, saved; brought back any number of times, each with an NVDIMM of its
//! own.
//!
//! The guest was saved before it looked for NVDIMMs, so it finds what is plugged in when it comes
//! back. Its memory stays in one file, of which every copy changes its own pages only; the state of
//! its devices is another file, of half a MiB. Both are without a name: they go with the template.
//! Absent on purpose: network cards, whose other ends cannot be saved.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::command::Command;
use crate::error::{Error, Failure, Result};
use crate::guest::{Guest, Owner};
use crate::host::memory_file;
use crate::machine::{Machine, Origin, Ram};
use crate::nvdimm::{Mode, Nvdimm};
use crate::spec::Spec;
use crate::units::Mib;

/// Room for the state of the devices; the rest is room to spare.
const STATE: Mib = Mib(16);

/// Finds NVDIMMs, and waits until all of them have their devices.
const FIND_NVDIMMS: &str =
    "/sbin/modprobe nfit && read -r _ < /sys/bus/nd/devices/ndbus0/wait_probe";

/// Does nothing, with the programs that copies need.
const WARM: &str = "/sbin/modprobe -n nfit; mount --version >/dev/null";

/// A saved guest.
#[derive(Debug)]
pub struct Template {
    /// What every copy is; nothing is plugged in.
    spec: Spec,
    nvdimm: Mib,
    ram: File,
    devices: File,
    last_id: u32,
    kernel: String,
    boot_id: String,
}

impl Spec {
    /// Boots a guest that will have one NVDIMM of this size, has it prepared (programs put into
    /// it, say), and saves it.
    ///
    /// # Errors
    /// As [`Spec::boot`]; [`Error::Invalid`] for what a template cannot have: a network card, an
    /// NVDIMM already, an observer; whatever `prepare` meets.
    pub fn template(
        mut self,
        nvdimm: Mib,
        prepare: impl FnOnce(&Guest) -> Result<()>,
    ) -> Result<Template> {
        self.check_template()?;
        fs::create_dir_all(&self.dir).map_err(|e| Error::io("create", &self.dir, e))?;
        let spec = self.bare();
        self.nvdimm_later = true;
        let blank = Nvdimm::blank(nvdimm, Mode::Devdax, &self.ram_places)?;
        let guest = self.nvdimm(blank).boot()?;
        // What each copy needs first is in memory then.
        guest.run_ok(&Command::shell(WARM))?;
        prepare(&guest)?;
        Template::save(guest, spec, nvdimm)
    }

    fn check_template(&self) -> Result<()> {
        let invalid = |reason| Err(Error::invalid(format!("template {}", self.name), reason));
        if !self.nvdimms.is_empty() {
            return invalid("its copies bring their NVDIMM along");
        }
        if !self.nics.is_empty() {
            return invalid("a network card cannot be saved");
        }
        if self.watch.is_some() {
            return invalid("an observer cannot be saved");
        }
        Ok(())
    }
}

impl Template {
    fn save(guest: Guest, spec: Spec, nvdimm: Mib) -> Result<Self> {
        let machine = &guest.machine.0;
        let time = spec.boot_timeout;
        machine.ping("save", time)?;
        let Some(last_id) = machine.channel.last_if_quiet() else {
            return Err(Error::invalid(format!("template {}", spec.name), "a program runs in it"));
        };
        machine.pause()?;
        let devices = memory_file(STATE, &spec.ram_places)?;
        machine.save_to(&devices, time)?;
        let Ram::Shared(ram) = &machine.ram else {
            return Err(Error::invalid(format!("template {}", spec.name), "it is a copy"));
        };
        let ram = ram.try_clone().map_err(|e| Error::io("keep memory of", &spec.dir, e))?;
        let (kernel, boot_id) = (guest.kernel.clone(), guest.boot_id.clone());
        drop(guest.power_fail());
        Ok(Self { spec, nvdimm, ram, devices, last_id, kernel, boot_id })
    }

    /// Where files in memory may lie.
    pub(crate) fn places(&self) -> &[PathBuf] {
        &self.spec.ram_places
    }

    /// Brings the guest back with this NVDIMM plugged in, and its device made (`/dev/dax0.0` or
    /// `/dev/pmem0`). `dir` becomes its private folder. Any number of copies may live at a time.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an NVDIMM of another size, otherwise as [`Spec::boot`].
    pub fn restore(&self, nvdimm: Nvdimm, dir: &Path) -> Result<Guest> {
        if nvdimm.size() != self.nvdimm {
            let what = format!("NVDIMM of {}", nvdimm.size());
            return Err(Error::invalid(what, format!("the template has room for {}", self.nvdimm)));
        }
        let mode = nvdimm.mode();
        let spec = Spec { dir: dir.to_owned(), ..self.spec.bare() }.nvdimm(nvdimm);
        let origin = Origin::Template { ram: &self.ram, last_id: self.last_id };
        // From here on an error ends QEMU.
        let machine = Owner(Machine::start(&spec, origin)?);
        machine.0.negotiate()?;
        machine.0.restore_from(&self.devices, spec.boot_timeout)?;
        machine.0.execute("cont")?;
        machine.0.ping("restore", spec.boot_timeout)?;
        machine.0.greeted();
        let (kernel, boot_id) = (self.kernel.clone(), self.boot_id.clone());
        let guest = Guest { machine, spec, kernel, boot_id };
        find_nvdimm(&guest, mode)?;
        Ok(guest)
    }
}

fn find_nvdimm(guest: &Guest, mode: Mode) -> Result<()> {
    let device = mode.device();
    let script = format!("{FIND_NVDIMMS} && test -e {device}");
    let exit = guest.run(&Command::shell(script).timeout(guest.spec.boot_timeout))?;
    if exit.success() {
        return Ok(());
    }
    let why = format!("no {device}: {}: {}", exit.code, exit.error_text().trim());
    Err(guest.machine.0.guest_error("find the NVDIMM", Failure::Agent(why)))
}
