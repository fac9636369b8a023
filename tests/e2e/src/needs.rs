//! Needs: what a case wants plugged into its guest.

use vm::Mib;
use vm::nvdimm::Mode;
use vm::vnet::Fault;

/// What a case wants plugged into its guest, beside a NIC.
#[derive(Clone, Copy, Debug, Default)]
pub struct Needs {
    pub(crate) nvdimm: Option<(Mib, Mode)>,
    pub(crate) more_cpus: u32,
    pub(crate) watched: Watched,
    pub(crate) fault: Option<Fault>,
    pub(crate) journalled: bool,
}

/// What an observer sees of the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Watched {
    /// What of its NVDIMM is durable, if it has one and runs under TCG.
    #[default]
    Durable,
    /// The number of its instructions.
    Count,
    /// Every store to its NVDIMM, and every device write.
    Trace,
    /// Nothing: there is no observer.
    Nothing,
}

impl Needs {
    /// An NVDIMM of this size, as `/dev/dax0.0`.
    #[must_use]
    pub fn devdax(size: Mib) -> Self {
        Self { nvdimm: Some((size, Mode::Devdax)), ..Self::default() }
    }

    /// An NVDIMM of this size, as `/dev/pmem0`.
    #[must_use]
    pub fn fsdax(size: Mib) -> Self {
        Self { nvdimm: Some((size, Mode::Fsdax)), ..Self::default() }
    }

    /// An observer that counts instructions, and a kernel as the makers of servers tune it.
    #[must_use]
    pub fn counted(self) -> Self {
        Self { watched: Watched::Count, ..self }
    }

    /// No observer, to compare with.
    #[must_use]
    pub fn unobserved(self) -> Self {
        Self { watched: Watched::Nothing, ..self }
    }

    /// An observer that records every store to the NVDIMM while the guest asks for it.
    #[must_use]
    pub fn traced(self) -> Self {
        Self { watched: Watched::Trace, journalled: true, ..self }
    }

    /// A cable with this fault.
    #[must_use]
    pub fn faulty(self, fault: Fault) -> Self {
        Self { fault: Some(fault), ..self }
    }

    /// A NIC that keeps a journal of what it writes into the NVDIMM.
    #[must_use]
    pub fn journalled(self) -> Self {
        Self { journalled: true, ..self }
    }

    /// More than one CPU.
    #[must_use]
    pub fn cpus(self, cpus: u32) -> Self {
        Self { more_cpus: cpus.saturating_sub(1), ..self }
    }
}
