//! Power: a guest without it.

use std::time::Duration;

use crate::error::Result;
use crate::guest::Guest;
use crate::nvdimm::Nvdimm;
use crate::spec::Spec;

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

    /// User and system time that QEMU took from boot to the loss of power, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        self.cpu_time.as_secs_f64()
    }

    /// The description, for changes before the next boot (another NIC, say).
    pub fn into_spec(self) -> Spec {
        self.spec
    }
}
