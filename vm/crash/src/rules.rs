//! Rules: what may be chosen about the machine whose power fails.

use serde::{Deserialize, Serialize};

/// The choices, as one value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rules {
    /// What survives of the caches (M13).
    pub domain: Domain,
    /// Whose flushes a fence completes (M10).
    pub fences: Fences,
    /// Where device writes land (M6).
    pub dma: DeviceWrites,
}

/// The persistence domain (M13).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Domain {
    /// Durable from the memory controller on.
    #[default]
    Adr,
    /// The CPUs' caches are durable, too.
    Eadr,
}

impl Domain {
    /// Its name, as an option.
    pub fn name(self) -> &'static str {
        match self {
            Self::Adr => "adr",
            Self::Eadr => "eadr",
        }
    }

    /// The value of QEMU's machine option `nvdimm-persistence` that tells the guest the same.
    pub fn qemu_persistence(self) -> &'static str {
        match self {
            Self::Adr => "mem-ctrl",
            Self::Eadr => "cpu",
        }
    }
}

/// Whose flushes a fence completes (M10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fences {
    /// Those of the same context.
    #[default]
    Strict,
    /// All of the CPU's.
    Hw,
}

impl Fences {
    /// Its name, as an option.
    pub fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Hw => "hw",
        }
    }
}

/// Where device writes land (M6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceWrites {
    /// In the cache, volatile until flushed.
    #[default]
    Cache,
    /// In durable memory.
    Persist,
}

impl DeviceWrites {
    /// Its name, as an option.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Persist => "persist",
        }
    }
}
