//! Instruction: what one does that the crash model wants to know; pure.

use crash::{FenceKind, FlushKind, Op};
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

/// What an instruction does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Does {
    /// It says where the guest is.
    Mark(Op),
    /// It flushes the line that its operand names.
    Flush(FlushKind, Operand),
    /// It waits.
    Wait(FenceKind),
    /// It stores past the caches.
    StorePastCaches,
    /// Nothing of that; it may store.
    Else,
}

/// An operand in memory, whose address the registers give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Operand(Instruction);

impl Does {
    /// Looks at the bytes of an instruction of 64-bit code; `address` says where it is.
    pub(crate) fn decode(bytes: &[u8], address: impl FnOnce() -> u64) -> Self {
        if let Some(op) = Op::decode(bytes) {
            return Self::Mark(op);
        }
        if may_matter(bytes) { Self::classify(bytes, address()) } else { Self::Else }
    }

    fn classify(bytes: &[u8], address: u64) -> Self {
        let mut decoder = Decoder::with_ip(64, bytes, address, DecoderOptions::NONE);
        let instruction = decoder.decode();
        match instruction.mnemonic() {
            Mnemonic::Clwb => Self::Flush(FlushKind::Clwb, Operand(instruction)),
            Mnemonic::Clflushopt => Self::Flush(FlushKind::Clflushopt, Operand(instruction)),
            Mnemonic::Clflush => Self::Flush(FlushKind::Clflush, Operand(instruction)),
            Mnemonic::Sfence => Self::Wait(FenceKind::Sfence),
            Mnemonic::Mfence => Self::Wait(FenceKind::Mfence),
            Mnemonic::Wbinvd => Self::Wait(FenceKind::Wbinvd),
            mnemonic if is_past_caches(mnemonic) => Self::StorePastCaches,
            mnemonic if is_locked(mnemonic, &instruction) => Self::Wait(FenceKind::Locked),
            _ => Self::Else,
        }
    }
}

impl Operand {
    /// The address, from what the registers hold (of segments: their base).
    pub(crate) fn address(&self, mut register: impl FnMut(Register) -> Option<u64>) -> Option<u64> {
        self.0.virtual_address(0, 0, |which, _, _| register(which))
    }
}

/// Whether an instruction may be one that matters: a look at its bytes, because a guest that boots
/// has millions of others translated. What is below must be above in these words, whatever stands
/// before it: `lock`; `xchg` with memory; after 0f the opcodes of fences and flushes, `wbinvd` and
/// stores past the caches; anything with a VEX or EVEX prefix.
fn may_matter(bytes: &[u8]) -> bool {
    let after_0f = |byte| matches!(byte, 0x09 | 0x2b | 0x38 | 0xae | 0xc3 | 0xe7 | 0xf7);
    bytes.iter().zip(bytes.iter().skip(1).chain([&0])).any(|(byte, next)| match byte {
        0x0f => after_0f(*next),
        0x62 | 0x86 | 0x87 | 0xc4 | 0xc5 | 0xf0 => true,
        _ => false,
    })
}

/// Stores with a hint that the data is not used soon (Intel SDM 1, 10.4.6.2), and direct stores.
fn is_past_caches(mnemonic: Mnemonic) -> bool {
    matches!(
        mnemonic,
        Mnemonic::Movnti
            | Mnemonic::Movntq
            | Mnemonic::Movntdq
            | Mnemonic::Movntps
            | Mnemonic::Movntpd
            | Mnemonic::Maskmovq
            | Mnemonic::Maskmovdqu
            | Mnemonic::Vmovntdq
            | Mnemonic::Vmovntps
            | Mnemonic::Vmovntpd
            | Mnemonic::Vmaskmovdqu
            | Mnemonic::Movdiri
            | Mnemonic::Movdir64b
    )
}

/// `xchg` with memory is locked without a prefix (Intel SDM 3, 9.1.2.1).
fn is_locked(mnemonic: Mnemonic, instruction: &Instruction) -> bool {
    let in_memory = |operand| instruction.op_kind(operand) == OpKind::Memory;
    instruction.has_lock_prefix() || mnemonic == Mnemonic::Xchg && (in_memory(0) || in_memory(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_instruction_that_matters_is_overlooked() {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state >> 56
        };
        let mut found = 0;
        for _ in 0..2_000_000 {
            // Half of them begin as those do that matter.
            let mut bytes = [0; 15].map(|_| u8::try_from(next()).unwrap());
            if next() & 1 == 0 {
                bytes[usize::try_from(next() % 3).unwrap()] = 0x0f;
            }
            let mut decoder = Decoder::with_ip(64, &bytes, 0, DecoderOptions::NONE);
            let len = decoder.decode().len();
            let matters = Does::classify(&bytes[..len], 0) != Does::Else;
            found += u32::from(matters);
            assert!(!matters || may_matter(&bytes[..len]), "{:x?}", &bytes[..len]);
        }
        assert!(found > 1000, "{found}");
    }

    fn does(bytes: &[u8]) -> Does {
        Does::decode(bytes, || 0x1000)
    }

    fn flush(bytes: &[u8]) -> (FlushKind, Option<u64>) {
        let Does::Flush(kind, operand) = does(bytes) else { panic!("{bytes:x?} flushes nothing") };
        let registers = |register| match register {
            Register::RAX => Some(0x1_0000),
            Register::R9 => Some(0x20),
            Register::GS => Some(0x7_0000_0000),
            Register::DS | Register::SS => Some(0),
            _ => None,
        };
        (kind, operand.address(registers))
    }

    #[test]
    fn flushes_know_their_line() {
        // clwb [rax]; clflushopt [rax+r9*4+8]; clflush gs:[rax]; clwb [rip+0x10]
        assert_eq!(flush(b"\x66\x0f\xae\x30"), (FlushKind::Clwb, Some(0x1_0000)));
        let scaled = flush(b"\x66\x42\x0f\xae\x7c\x88\x08");
        assert_eq!(scaled, (FlushKind::Clflushopt, Some(0x1_0088)));
        assert_eq!(flush(b"\x65\x0f\xae\x38"), (FlushKind::Clflush, Some(0x7_0001_0000)));
        let relative = flush(b"\x66\x0f\xae\x35\x10\0\0\0");
        assert_eq!(relative, (FlushKind::Clwb, Some(0x1000 + 8 + 0x10)));
        // clwb [rbx], which nobody knows here.
        assert_eq!(flush(b"\x66\x0f\xae\x33").1, None);
    }

    #[test]
    fn fences_and_locks_wait() {
        assert_eq!(does(b"\x0f\xae\xf8"), Does::Wait(FenceKind::Sfence));
        assert_eq!(does(b"\x0f\xae\xf0"), Does::Wait(FenceKind::Mfence));
        assert_eq!(does(b"\x0f\x09"), Does::Wait(FenceKind::Wbinvd));
        // lock xadd [rdi],rax; xchg [rdi],rax; but not xchg rax,rbx nor lfence.
        assert_eq!(does(b"\xf0\x48\x0f\xc1\x07"), Does::Wait(FenceKind::Locked));
        assert_eq!(does(b"\x48\x87\x07"), Does::Wait(FenceKind::Locked));
        assert_eq!(does(b"\x48\x93"), Does::Else);
        assert_eq!(does(b"\x0f\xae\xe8"), Does::Else);
    }

    #[test]
    fn stores_past_the_caches_are_told_from_others() {
        // movnti [rdi],rax; movntdq [rdi],xmm0; vmovntdq [rdi],ymm0; maskmovdqu xmm0,xmm1
        for store in [
            &b"\x48\x0f\xc3\x07"[..],
            b"\x66\x0f\xe7\x07",
            b"\xc5\xfd\xe7\x07",
            b"\x66\x0f\xf7\xc1",
        ] {
            assert_eq!(does(store), Does::StorePastCaches);
        }
        // mov [rdi],rax; movdqa [rdi],xmm0; movntdqa xmm0,[rdi], which loads.
        for other in [&b"\x48\x89\x07"[..], b"\x66\x0f\x7f\x07", b"\x66\x0f\x38\x2a\x07"] {
            assert_eq!(does(other), Does::Else);
        }
    }

    #[test]
    fn markers_and_garbage() {
        assert_eq!(does(b"\x0f\x1f\x80PST\x01"), Does::Mark(Op::Arm));
        assert_eq!(does(b"\x0f\x1f\x80PSU\x01"), Does::Else);
        assert_eq!(does(b""), Does::Else);
        assert_eq!(does(b"\x06\xff"), Does::Else);
    }
}
