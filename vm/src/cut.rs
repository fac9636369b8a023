//! Cut: a guest that loses its power at a marker, because it asked for that (CUT) or because
//! somebody else does while it runs.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crash::CutAt;
use crash::cut::{Asked, BYTES, Page, WORDS};
use vm_memory::mmap::MmapRegion;
use vm_memory::{FileOffset, VolatileMemory};

use crate::error::{Error, Result};
use crate::guest::Guest;
use crate::machine::{Machine, QEMU_TIME};
use crate::power::PowerLost;

/// A loss of power that was asked for. Dropped, it is withdrawn, if it has not come yet.
#[derive(Debug)]
pub struct PendingCut {
    machine: Arc<Machine>,
    map: Map,
    asked: Asked,
    at: CutAt,
}

/// A guest that has not lost its power at a marker.
#[derive(Debug)]
pub struct NotCut {
    /// The guest, as it was.
    pub guest: Guest,
    /// That the time is over ([`crate::Failure::Timeout`]), or what else happened to the guest.
    pub why: Error,
}

impl Guest {
    /// Asks for a loss of power at a marker, while the guest runs.
    ///
    /// # Errors
    /// [`Error::Invalid`] if no observer in diff mode watches the guest, or one is asked for
    /// already. [`Error::Io`].
    pub fn cut_at(&self, at: CutAt) -> Result<PendingCut> {
        let machine = self.machine.0.clone();
        let invalid = |why: &str| Error::invalid(format!("a cut at marker {at}"), why);
        let watch = machine.watch.as_ref().filter(|watch| watch.knows_durable());
        let watch = watch.ok_or_else(|| {
            invalid("no observer in diff mode watches the guest; that needs TCG and an NVDIMM")
        })?;
        let map = Map::open(&watch.cuts())?;
        let asked = map.page().ask(&at);
        let asked = asked.ok_or_else(|| invalid("another one is asked for, or has come"))?;
        Ok(PendingCut { machine, map, asked, at })
    }

    /// What is left of a guest that has lost its power at a marker, or does so within this time.
    ///
    /// # Errors
    /// The guest goes on, or ended in another way.
    pub fn lost_power(self, time: Duration) -> std::result::Result<PowerLost, Box<NotCut>> {
        match self.machine.0.wait_cut(time) {
            Ok(()) => Ok(self.power_fail()),
            Err(why) => Err(Box::new(NotCut { guest: self, why })),
        }
    }
}

impl PendingCut {
    /// The marker.
    pub fn at(&self) -> CutAt {
        self.at
    }

    /// Waits for it; what is left of the guest. If the time is over, it is withdrawn.
    ///
    /// # Errors
    /// As [`Guest::lost_power`].
    ///
    /// # Panics
    /// This is another guest's.
    pub fn wait(self, guest: Guest, time: Duration) -> std::result::Result<PowerLost, Box<NotCut>> {
        assert!(Arc::ptr_eq(&self.machine, &guest.machine.0), "a cut of the same guest");
        match guest.lost_power(time) {
            // The marker has come in the last moment.
            Err(not) if !self.withdraw() => not.guest.lost_power(QEMU_TIME),
            result => result,
        }
    }

    /// Withdraws it; false if it is too late: the guest loses its power.
    pub fn withdraw(&self) -> bool {
        self.map.page().withdraw(self.asked)
    }
}

impl Drop for PendingCut {
    fn drop(&mut self) {
        self.withdraw();
    }
}

/// The page that the observer has mapped, too.
#[derive(Debug)]
struct Map(MmapRegion<()>);

impl Map {
    fn open(path: &Path) -> Result<Self> {
        let io = |error| Error::io("map", path, error);
        let file = File::options().read(true).write(true).open(path).map_err(io)?;
        let map = MmapRegion::from_file(FileOffset::new(file, 0), BYTES);
        map.map(Self).map_err(|error| io(std::io::Error::other(error)))
    }

    fn page(&self) -> Page<'_> {
        let word = |n| self.0.get_atomic_ref::<AtomicU64>(n * size_of::<u64>()).ok();
        Page::map(word).unwrap_or_else(|| unreachable!("{WORDS} words are mapped"))
    }
}
