//! Cpu: the instructions that write cache lines back, chosen by what the CPU has.

use std::ops::Range;

use super::line::LINE;
use crate::map::Mapping;

/// How this CPU writes a line back, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteBack {
    /// Writes back and may keep the line cached.
    Clwb,
    /// Writes back and evicts, unordered.
    Clflushopt,
    /// Writes back and evicts, one after the other.
    Clflush,
}

#[cfg(target_arch = "x86_64")]
mod imp {
    use std::arch::{asm, x86_64};

    use super::WriteBack;

    const CLFLUSH: u32 = 1 << 19;
    const CLFLUSHOPT: u32 = 1 << 23;
    const CLWB: u32 = 1 << 24;

    pub(super) fn detect() -> Option<WriteBack> {
        let basic = x86_64::__cpuid(1).edx;
        let extended =
            if x86_64::__cpuid(0).eax >= 7 { x86_64::__cpuid_count(7, 0).ebx } else { 0 };
        match (extended & CLWB, extended & CLFLUSHOPT, basic & CLFLUSH) {
            (CLWB, _, _) => Some(WriteBack::Clwb),
            (_, CLFLUSHOPT, _) => Some(WriteBack::Clflushopt),
            (_, _, CLFLUSH) => Some(WriteBack::Clflush),
            _ => None,
        }
    }

    /// # Safety
    /// `line` is the address of mapped memory and `how` was detected on this CPU.
    pub(super) unsafe fn write_back(how: WriteBack, line: *const u8) {
        match how {
            // SAFETY: the instruction reads no register but the address and changes no data;
            // the caller vouches for the address and the CPU.
            WriteBack::Clwb => unsafe { asm!("clwb [{}]", in(reg) line, options(nostack)) },
            // SAFETY: as above.
            WriteBack::Clflushopt => unsafe {
                asm!("clflushopt [{}]", in(reg) line, options(nostack));
            },
            // SAFETY: as above.
            WriteBack::Clflush => unsafe { asm!("clflush [{}]", in(reg) line, options(nostack)) },
        }
    }

    pub(super) fn fence() {
        // SAFETY: `sfence` is part of every x86-64 CPU and changes no data.
        unsafe { asm!("sfence", options(nostack)) };
    }

    pub(super) fn mark<const OP: u8>(arguments: [u64; 3]) {
        let [first, second, third] = arguments;
        // SAFETY: a NOP of 7 bytes; it reads no memory and changes nothing.
        unsafe {
            asm!(
                ".byte 0x0f, 0x1f, 0x80, 0x50, 0x53, 0x54, {op}",
                op = const OP,
                in("rdi") first,
                in("rsi") second,
                in("rdx") third,
                options(nostack, preserves_flags),
            );
        };
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod imp {
    use super::WriteBack;

    pub(super) fn detect() -> Option<WriteBack> {
        None
    }

    /// # Safety
    /// Never called: nothing is detected.
    pub(super) unsafe fn write_back(_: WriteBack, _: *const u8) {}

    pub(super) fn fence() {}

    pub(super) fn mark<const OP: u8>(_: [u64; 3]) {}
}

impl WriteBack {
    /// The best that this CPU has; `None` if it has none that we know.
    pub(crate) fn detect() -> Option<Self> {
        imp::detect()
    }

    /// Starts to write line number `line` of `mapping` back.
    pub(crate) fn flush(self, mapping: &Mapping, line: usize) {
        let address = mapping.address(line * LINE);
        // SAFETY: `address` asserts that the line starts inside the mapping, whose end is a
        // page's; `self` comes from `detect`.
        unsafe { imp::write_back(self, address) };
    }
}

/// Executes the marker of this operation: a NOP that an emulator may look for.
pub(crate) fn mark<const OP: u8>(arguments: [u64; 3]) {
    imp::mark::<OP>(arguments);
}

/// Says that this range of `mapping` is durable now.
pub(crate) fn assert_persisted(mapping: &Mapping, range: Range<usize>, id: u64) {
    mark::<4>([mapping.address(range.start).addr() as u64, range.len() as u64, id]);
}

/// Waits until the lines flushed before have reached the persistence domain (ADR).
pub(crate) fn fence() {
    imp::fence();
}

#[cfg(all(test, target_arch = "x86_64", not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn flushing_changes_nothing_that_can_be_read() {
        let mapping = Mapping::heap(4096).unwrap();
        let best = WriteBack::detect().expect("every x86-64 CPU has clflush");
        for how in [best, WriteBack::Clflush] {
            (0..64).for_each(|line| how.flush(&mapping, line));
            fence();
        }
        assert_eq!(mapping.snapshot(), [0; 4096]);
    }

    #[test]
    fn markers_do_nothing() {
        mark::<7>([u64::MAX, 2, 3]);
    }
}
