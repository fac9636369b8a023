//! Registers: what a virtual CPU holds when it calls us.

use std::ffi::CStr;

use crash::Context;
use iced_x86::Register;

use crate::qemu_api::{self as qemu, RegisterHandle};
use crate::walk::{PAGE, Tables};

/// The general registers by QEMU's names, with those that an address may be made of.
const GENERAL: [(&CStr, Register, Register); 16] = [
    (c"rax", Register::RAX, Register::EAX),
    (c"rbx", Register::RBX, Register::EBX),
    (c"rcx", Register::RCX, Register::ECX),
    (c"rdx", Register::RDX, Register::EDX),
    (c"rsi", Register::RSI, Register::ESI),
    (c"rdi", Register::RDI, Register::EDI),
    (c"rbp", Register::RBP, Register::EBP),
    (c"rsp", Register::RSP, Register::ESP),
    (c"r8", Register::R8, Register::R8D),
    (c"r9", Register::R9, Register::R9D),
    (c"r10", Register::R10, Register::R10D),
    (c"r11", Register::R11, Register::R11D),
    (c"r12", Register::R12, Register::R12D),
    (c"r13", Register::R13, Register::R13D),
    (c"r14", Register::R14, Register::R14D),
    (c"r15", Register::R15, Register::R15D),
];

/// The handles of what is read; the same on every CPU.
#[derive(Debug)]
pub(crate) struct Registers {
    general: [RegisterHandle; 16],
    fs_base: RegisterHandle,
    gs_base: RegisterHandle,
    cs: RegisterHandle,
    cr3: RegisterHandle,
    cr4: RegisterHandle,
}

impl Registers {
    /// Finds them; the name of one that this QEMU does not show. Only on a virtual CPU's thread.
    pub(crate) fn find() -> Result<Self, &'static CStr> {
        let find = |name| qemu::register(name).ok_or(name);
        let mut general = [find(GENERAL[0].0)?; 16];
        for (handle, (name, ..)) in general.iter_mut().zip(GENERAL) {
            *handle = find(name)?;
        }
        Ok(Self {
            general,
            fs_base: find(c"fs_base")?,
            gs_base: find(c"gs_base")?,
            cs: find(c"cs")?,
            cr3: find(c"cr3")?,
            cr4: find(c"cr4")?,
        })
    }

    /// A marker's arguments: rdi, rsi, rdx.
    pub(crate) fn arguments(&self) -> Option<[u64; 3]> {
        let [_, _, _, rdx, rsi, rdi, ..] = self.general;
        Some([qemu::read(rdi)?, qemu::read(rsi)?, qemu::read(rdx)?])
    }

    /// What a register adds to an address; of a segment that is its base.
    pub(crate) fn value(&self, register: Register) -> Option<u64> {
        match register {
            // In 64-bit code these have no base.
            Register::CS | Register::DS | Register::ES | Register::SS => Some(0),
            Register::FS => qemu::read(self.fs_base),
            Register::GS => qemu::read(self.gs_base),
            _ => {
                let is = |(_, wide, narrow): &(_, Register, Register)| {
                    *wide == register || *narrow == register
                };
                let n = GENERAL.iter().position(is)?;
                let value = qemu::read(self.general[n])?;
                let is_wide = GENERAL[n].1 == register;
                Some(if is_wide { value } else { value & u64::from(u32::MAX) })
            }
        }
    }

    /// On whose behalf the CPU acts.
    pub(crate) fn context(&self) -> Option<Context> {
        let privilege = u8::try_from(qemu::read(self.cs)? & 3).ok()?;
        Some(Context { cr3: qemu::read(self.cr3)? & !(PAGE - 1), privilege })
    }

    /// Where its page tables are.
    pub(crate) fn tables(&self) -> Option<Tables> {
        Some(Tables { cr3: qemu::read(self.cr3)?, cr4: qemu::read(self.cr4)? })
    }
}
