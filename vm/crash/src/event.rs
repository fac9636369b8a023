//! Events: what the model is told of a run, in the order in which it happened.

use serde::{Deserialize, Serialize};

use crate::line::{LINE, Line, LineBytes, Offset};
use crate::marker::Marker;

/// The number of a CPU of the guest.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Vcpu(pub u32);

/// The address of an instruction.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Pc(pub u64);

/// On whose behalf a CPU acts (M10).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Context {
    /// The address space: CR3 without its low 12 bits.
    pub cr3: u64,
    /// The privilege level: 0 for a kernel, 3 for a program.
    pub privilege: u8,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A CPU wrote.
    Store(Store),
    /// A CPU asked for a line to be written back.
    Flush(Flush),
    /// A CPU waited.
    Fence(Fence),
    /// A device wrote.
    Dma(Dma),
    /// A program said where it is.
    Marker(Marker),
}

/// Some bytes, at most a line's length; they need not lie in one line.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreBytes {
    len: u8,
    bytes: LineBytes,
}

impl StoreBytes {
    /// Takes bytes; none, or more than 64, are no store.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() || bytes.len() > LINE {
            return None;
        }
        let mut all = [0; LINE];
        all[..bytes.len()].copy_from_slice(bytes);
        // At most 64.
        Some(Self { len: u8::try_from(bytes.len()).ok()?, bytes: all })
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl std::fmt::Debug for StoreBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_slice().fmt(f)
    }
}

/// A CPU's write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Store {
    /// Which CPU.
    pub vcpu: Vcpu,
    /// Its instruction.
    pub pc: Pc,
    /// On whose behalf.
    pub context: Context,
    /// Where the first byte went.
    pub offset: Offset,
    /// What was written.
    pub bytes: StoreBytes,
    /// Whether it passed the caches (M5).
    pub nontemporal: bool,
}

/// How a line is flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlushKind {
    /// The line stays in the cache; complete at the next fence (M8).
    Clwb,
    /// The line leaves the cache; complete at the next fence (M8).
    Clflushopt,
    /// Complete at once (M11).
    Clflush,
}

/// A flush of one line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Flush {
    /// Which CPU.
    pub vcpu: Vcpu,
    /// Its instruction.
    pub pc: Pc,
    /// On whose behalf.
    pub context: Context,
    /// Which line.
    pub line: Line,
    /// How.
    pub kind: FlushKind,
    /// What the line held at this moment (M16).
    pub live: LineBytes,
}

/// What made a CPU wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FenceKind {
    /// `sfence`.
    Sfence,
    /// `mfence`.
    Mfence,
    /// An instruction with `lock`, or `xchg` with memory.
    Locked,
    /// `wbinvd`: also flushes every line (M12).
    Wbinvd,
}

/// A fence.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fence {
    /// Which CPU.
    pub vcpu: Vcpu,
    /// Its instruction.
    pub pc: Pc,
    /// On whose behalf.
    pub context: Context,
    /// Which.
    pub kind: FenceKind,
}

/// A device's write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Dma {
    /// Where the first byte went.
    pub offset: Offset,
    /// What was written.
    pub bytes: Vec<u8>,
    /// The device's sequence number before it wrote the first byte.
    pub begin: u64,
    /// The device's sequence number after it wrote the last byte.
    pub end: u64,
}
