//! Power: a guest without it.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use crash::{CrashState, Survivors};

use crate::error::{Error, Result};
use crate::guest::Guest;
use crate::nvdimm::Nvdimm;
use crate::spec::Spec;
use crate::watch::{Cut, Watch};

/// A guest without power. Its memory is gone; its NVDIMMs are files to look at. It can only boot.
#[derive(Debug)]
pub struct PowerLost {
    spec: Spec,
    cpu_time: Duration,
}

impl PowerLost {
    pub(crate) fn new(spec: Spec, cpu_time: Duration) -> Self {
        Self { spec, cpu_time }
    }

    /// Switches it on again.
    ///
    /// # Errors
    /// As [`Spec::boot`].
    pub fn boot(self) -> Result<Guest> {
        self.spec.boot()
    }

    /// Its NVDIMMs in plug order.
    pub fn nvdimms(&self) -> &[Nvdimm] {
        &self.spec.nvdimms
    }

    /// The marker at which it lost its power, if it was at one.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Invalid`] about the observer's file.
    pub fn cut(&self) -> Result<Option<Cut>> {
        Ok(self.spec.watch.as_ref().map(Watch::cut).transpose()?.flatten())
    }

    /// The crash state in which its first NVDIMM is left, with what was durable; if an observer in
    /// diff mode watched it. Without one, the file holds every store, as with a durable cache.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Invalid`] about the observer's files.
    pub fn crash_state(&self) -> Result<Option<(CrashState, Vec<u8>)>> {
        self.spec.crash_state()
    }

    /// Leaves in the first NVDIMM what survived by `choice`, for the next boot to find.
    ///
    /// # Errors
    /// As [`PowerLost::crash_state`]; [`Error::Invalid`] if nothing is known of its state.
    pub fn settle(&self, survivors: Survivors) -> Result<()> {
        let unknown = || Error::invalid("NVDIMM", "no observer in diff mode watched it");
        let (state, durable) = self.crash_state()?.ok_or_else(unknown)?;
        let nvdimm = self.spec.nvdimms.first().ok_or_else(unknown)?;
        // In place: a NIC's backend may have the file mapped.
        let written = nvdimm.file().write_all_at(&state.image(durable, survivors), 0);
        written.map_err(|error| Error::io("write", nvdimm.path(), error))
    }

    /// User and system time that QEMU took from boot to the loss of power, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        self.cpu_time.as_secs_f64()
    }

    pub(crate) fn cpu_time(&self) -> Duration {
        self.cpu_time
    }

    /// The description, for changes before the next boot (another NIC, say).
    pub fn into_spec(self) -> Spec {
        self.spec
    }
}

impl Spec {
    /// What a loss of power leaves, or has left, of the first NVDIMM.
    pub(crate) fn crash_state(&self) -> Result<Option<(CrashState, Vec<u8>)>> {
        let Some(watch) = self.watch.as_ref().filter(|watch| watch.knows_durable()) else {
            return Ok(None);
        };
        let nvdimm = self.nvdimms.first().map(|nvdimm| watch.last_state(nvdimm.path()));
        nvdimm.transpose()
    }
}
