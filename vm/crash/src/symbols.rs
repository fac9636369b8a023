//! Symbols: the names of instructions, of a user program and of a guest's kernel.

mod elf;
mod kernel;

pub use elf::{ElfSymbols, NoElf};
pub use kernel::KernelSymbols;

use crate::event::Pc;
use crate::report::Symbols;

/// Where the kernel's half of the address space begins.
const KERNEL: u64 = 1 << 63;

/// The names of one guest: a program and the kernel below it, as far as they are known.
#[derive(Debug, Default)]
pub struct GuestSymbols {
    /// The user program, and its libraries.
    pub programs: Vec<ElfSymbols>,
    /// The kernel and its modules.
    pub kernel: Option<KernelSymbols>,
}

impl Symbols for GuestSymbols {
    fn name(&self, pc: Pc) -> Option<String> {
        if pc.0 >= KERNEL {
            self.kernel.as_ref()?.name(pc)
        } else {
            self.programs.iter().find_map(|program| program.name(pc))
        }
    }
}
