//! Spec: a guest before it exists.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vnet::{GuestAddress, Journal, Window};

use crate::accel::Accel;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::nvdimm::Nvdimm;
use crate::units::Mib;
use crate::watch::{Mode, Watch};

/// How long a guest may take to its agent's hello. A loaded two-core host under TCG needs 15 s.
const BOOT_TIMEOUT: Duration = Duration::from_mins(2);

/// Room for what NICs write to an NVDIMM; reserved on the disk while the journal's file is there.
const JOURNAL_BYTES: u64 = 256 << 20;

/// How much memory a guest may have whose NVDIMM is watched: its file is its address space.
const MOST_WATCHED: Mib = Mib(2048);

/// The observer has a bit for each CPU.
const MOST_WATCHED_CPUS: u32 = 64;

/// Description of a guest before it exists.
#[derive(Debug)]
pub struct Spec {
    pub(crate) name: String,
    pub(crate) boot: BootFiles,
    pub(crate) dir: PathBuf,
    pub(crate) ram: Mib,
    pub(crate) cpus: u32,
    pub(crate) accel: Accel,
    pub(crate) nvdimms: Vec<Nvdimm>,
    pub(crate) nics: Vec<Nic>,
    pub(crate) kernel_args: Vec<String>,
    pub(crate) cpu_flags: Vec<String>,
    pub(crate) watch: Option<Watch>,
    pub(crate) pvpanic: bool,
    pub(crate) qemu: PathBuf,
    pub(crate) ram_places: Vec<PathBuf>,
    pub(crate) boot_timeout: Duration,
    /// Whether the guest boots without the driver that finds NVDIMMs.
    pub(crate) nvdimm_later: bool,
    /// The seed of a closed guest.
    pub(crate) closed: Option<u64>,
}

/// What a guest boots from.
#[derive(Debug, Clone)]
pub struct BootFiles {
    /// An uncompressed kernel with a PVH entry.
    pub kernel: PathBuf,
    /// The initial RAM disk; its `/init` is the agent.
    pub initrd: PathBuf,
    /// The squashfs that becomes the root; without it the initrd stays the root.
    pub root: Option<PathBuf>,
}

/// A network card of a guest. All are virtio-net; they differ in the backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nic {
    /// Another process (or thread of ours) is the backend and listens on this socket.
    VhostUser {
        /// Its path, at most 107 bytes.
        socket: PathBuf,
        /// The card's address.
        mac: Mac,
    },
    /// QEMU's user-mode network, for a look around by hand.
    User {
        /// The card's address.
        mac: Mac,
    },
    /// The host kernel's vhost-net on a tap device.
    VhostKernel {
        /// The tap device's name; it exists already.
        tap: String,
        /// The card's address.
        mac: Mac,
    },
    /// A hub inside QEMU: all cards of a guest that have one hear each other, and nobody else.
    Hub {
        /// The card's address.
        mac: Mac,
    },
}

/// A unicast Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mac([u8; 6]);

impl Mac {
    /// An address; refuses group addresses, which no card can have.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a group address.
    pub fn new(bytes: [u8; 6]) -> Result<Self> {
        if bytes[0] & 1 == 1 {
            return Err(Error::invalid(format!("MAC {}", Self(bytes)), "is a group address"));
        }
        Ok(Self(bytes))
    }

    /// The `n`th of a row of locally administered addresses.
    pub fn local(n: u16) -> Self {
        let [high, low] = n.to_be_bytes();
        Self([0x52, 0x54, 0, 0x70, high, low])
    }

    /// Its six bytes.
    pub fn bytes(self) -> [u8; 6] {
        self.0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = self.0.map(|byte| format!("{byte:02x}"));
        f.write_str(&hex.join(":"))
    }
}

impl Spec {
    /// A guest of this image: 512 MiB, one CPU, TCG, nothing plugged in. `dir` becomes its private
    /// folder (console.log, qmp.log, qemu.log, cmdline.sh).
    pub fn new(name: &str, image: &Image, dir: &Path) -> Self {
        let boot = BootFiles {
            kernel: image.kernel.clone(),
            initrd: image.initrd.clone(),
            root: Some(image.root.clone()),
        };
        Self::from_files(name, boot, dir)
    }

    /// A guest of these files, otherwise as [`Spec::new`].
    pub fn from_files(name: &str, boot: BootFiles, dir: &Path) -> Self {
        Self {
            name: name.to_owned(),
            boot,
            dir: dir.to_owned(),
            ram: Mib(512),
            cpus: 1,
            accel: Accel::Tcg,
            nvdimms: Vec::new(),
            nics: Vec::new(),
            kernel_args: Vec::new(),
            cpu_flags: Vec::new(),
            watch: None,
            pvpanic: false,
            qemu: PathBuf::from(crate::host::QEMU),
            ram_places: vec![PathBuf::from(crate::host::SHARED_MEMORY), dir.to_owned()],
            boot_timeout: BOOT_TIMEOUT,
            nvdimm_later: false,
            closed: None,
        }
    }

    /// Sets the size of its memory.
    #[must_use]
    pub fn ram(mut self, ram: Mib) -> Self {
        self.ram = ram;
        self
    }

    /// Sets the number of its CPUs.
    #[must_use]
    pub fn cpus(mut self, cpus: u32) -> Self {
        self.cpus = cpus;
        self
    }

    /// Sets what executes its instructions.
    #[must_use]
    pub fn accel(mut self, accel: Accel) -> Self {
        self.accel = accel;
        self
    }

    /// Plugs in an NVDIMM. The guest owns it from now on: no second guest can have it.
    #[must_use]
    pub fn nvdimm(mut self, nvdimm: Nvdimm) -> Self {
        self.nvdimms.push(nvdimm);
        self
    }

    /// Plugs in a network card.
    #[must_use]
    pub fn nic(mut self, nic: Nic) -> Self {
        self.nics.push(nic);
        self
    }

    /// Adds a word to the kernel's command line.
    #[must_use]
    pub fn kernel_arg(mut self, arg: impl Into<String>) -> Self {
        self.kernel_args.push(arg.into());
        self
    }

    /// Adds a feature to its CPU (`+name`) or takes one away (`-name`), by QEMU's names.
    #[must_use]
    pub fn cpu_flag(mut self, flag: impl Into<String>) -> Self {
        self.cpu_flags.push(flag.into());
        self
    }

    /// Has the guest watched by the observer, which needs TCG.
    #[must_use]
    pub fn watch(mut self, watch: Watch) -> Self {
        self.watch = Some(watch);
        self
    }

    /// Plugs in a pvpanic device: the guest (with its module loaded) reports panics to QEMU.
    #[must_use]
    pub fn pvpanic(mut self) -> Self {
        self.pvpanic = true;
        self
    }

    /// Uses another QEMU than the one in `PATH`.
    #[must_use]
    pub fn qemu(mut self, path: impl Into<PathBuf>) -> Self {
        self.qemu = path.into();
        self
    }

    /// Replaces the folders that are tried, in order, for the file that is the guest's memory
    /// (default: `/dev/shm`, then the private folder).
    #[must_use]
    pub fn ram_places(mut self, places: Vec<PathBuf>) -> Self {
        self.ram_places = places;
        self
    }

    /// Sets how long the guest may take from QEMU's start to the agent's hello.
    #[must_use]
    pub fn boot_timeout(mut self, timeout: Duration) -> Self {
        self.boot_timeout = timeout;
        self
    }

    /// Where in guest memory its NVDIMMs lie, in plug order.
    ///
    /// The machine q35 of QEMU 10 keeps memory of 2816 MiB and more to 2 GiB below 4 GiB; the rest
    /// goes above. The next GiB begins the space of NVDIMMs, which follow each other.
    pub fn nvdimm_windows(&self) -> Vec<Window> {
        const GIB: u64 = 1 << 30;
        let ram = self.ram.bytes();
        let above = if self.ram < Mib(2816) { 0 } else { ram - 2 * GIB };
        let mut next = 4 * GIB + above.next_multiple_of(GIB);
        let window = |nvdimm: &Nvdimm| {
            let (base, len) = (GuestAddress(next), nvdimm.size().bytes());
            next += len;
            Window { base, len }
        };
        self.nvdimms.iter().map(window).collect()
    }

    /// Makes the journal in which a NIC's backend tells what it writes to the first NVDIMM.
    ///
    /// # Errors
    /// [`Error::Invalid`] without an NVDIMM, or if the file cannot be made.
    pub fn dma_journal(&self, path: &Path) -> Result<Journal> {
        let invalid = |why: String| Error::invalid(format!("DMA journal {}", path.display()), why);
        let window = self.nvdimm_windows().into_iter().next();
        let window = window.ok_or_else(|| invalid("the guest has no NVDIMM".to_owned()))?;
        Journal::create(path, window, JOURNAL_BYTES).map_err(|error| {
            let cause = std::error::Error::source(&error);
            invalid(cause.map_or_else(|| error.to_string(), ToString::to_string))
        })
    }

    fn check_watch(&self, watch: &Watch) -> Result<()> {
        let invalid = |reason: &str| Err(Error::invalid("observer", reason));
        if self.accel != Accel::Tcg {
            return invalid("it sees a guest's instructions under TCG only");
        }
        if watch.needs_nvdimm() && self.nvdimms.is_empty() {
            return invalid("it is to watch an NVDIMM, and the guest has none");
        }
        if watch.needs_nvdimm() && self.ram > MOST_WATCHED {
            return invalid("it finds page tables in the first 2 GiB of memory only");
        }
        if self.cpus > MOST_WATCHED_CPUS {
            return invalid("it watches at most 64 CPUs");
        }
        if matches!(watch.mode, Mode::Trace { .. }) && self.cpus > 1 {
            return invalid("a trace needs one CPU: with more, the order of stores is not seen");
        }
        Ok(())
    }

    /// The same guest with nothing plugged in.
    pub(crate) fn bare(&self) -> Self {
        let boot = Self::from_files(&self.name, self.boot.clone(), &self.dir);
        Self {
            ram: self.ram,
            cpus: self.cpus,
            accel: self.accel,
            kernel_args: self.kernel_args.clone(),
            cpu_flags: self.cpu_flags.clone(),
            pvpanic: self.pvpanic,
            qemu: self.qemu.clone(),
            ram_places: self.ram_places.clone(),
            boot_timeout: self.boot_timeout,
            ..boot
        }
    }

    /// Refuses what QEMU would refuse later or, worse, understand differently.
    pub(crate) fn check(&self) -> Result<()> {
        let invalid = |what: &str, reason: &str| Err(Error::invalid(what, reason));
        if self.cpus == 0 {
            return invalid("cpus", "a guest needs at least one");
        }
        if self.ram < Mib(64) {
            return invalid("ram", "the kernel needs at least 64 MiB");
        }
        if self.nvdimms.len() > crate::argv::SLOTS {
            return invalid("nvdimms", "a guest has 4 slots");
        }
        if let Some(watch) = &self.watch {
            self.check_watch(watch)?;
        }
        for nic in &self.nics {
            if let Nic::VhostUser { socket, .. } = nic
                && socket.as_os_str().len() > 107
            {
                let what = format!("socket {}", socket.display());
                return invalid(&what, "a socket's path has at most 107 bytes");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nvdimm::Mode;

    #[test]
    fn nvdimms_lie_where_qemu_puts_them() {
        let dir = tempfile::tempdir().unwrap();
        let boot = BootFiles { kernel: PathBuf::new(), initrd: PathBuf::new(), root: None };
        let mut spec = Spec::from_files("g", boot, dir.path());
        for (name, size) in [("a", 16), ("b", 48)] {
            let nvdimm = Nvdimm::create(dir.path().join(name), Mib(size), Mode::Devdax);
            spec = spec.nvdimm(nvdimm.unwrap());
        }
        // What `query-memory-devices` of QEMU 10.0.2 says.
        let starts = [
            (512, 0x1_0000_0000),
            (2048, 0x1_0000_0000),
            (2815, 0x1_0000_0000),
            (2816, 0x1_4000_0000),
            (3000, 0x1_4000_0000),
            (4096, 0x1_8000_0000),
            (5000, 0x1_c000_0000),
        ];
        for (ram, start) in starts {
            spec = spec.ram(Mib(ram));
            let window = |base, len: Mib| Window { base: GuestAddress(base), len: len.bytes() };
            let expected = [window(start, Mib(16)), window(start + (16 << 20), Mib(48))];
            assert_eq!(spec.nvdimm_windows(), expected, "{ram} MiB");
        }
    }
}
