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
            Mnemonic::Wbinvd | Mnemonic::Wbnoinvd => Self::Wait(FenceKind::Wbinvd),
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

/// Stores with a hint that the data is not used soon (Intel SDM 1, 10.4.6.2; AMD APM 1, 4.6.1.2),
/// and direct stores. Not among them: `movntdqa`, a load; `enqcmd`, which goes to devices.
fn is_past_caches(mnemonic: Mnemonic) -> bool {
    matches!(
        mnemonic,
        Mnemonic::Movnti
            | Mnemonic::Movntq
            | Mnemonic::Movntdq
            | Mnemonic::Movntps
            | Mnemonic::Movntpd
            | Mnemonic::Movntss
            | Mnemonic::Movntsd
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
            Register::RAX | Register::EAX => Some(0x1_0000),
            Register::R9 | Register::R9D => Some(0x20),
            Register::FS => Some(0x6_0000_0000),
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
        // 32-bit addresses wrap; fs counts, and ds does not: clflushopt [eax+r9d-0x10021],
        // clwb fs:[rax], clwb ds:[rax]
        let narrow = flush(b"\x67\x66\x42\x0f\xae\xbc\x08\xdf\xff\xfe\xff");
        assert_eq!(narrow, (FlushKind::Clflushopt, Some(0xffff_ffff)));
        assert_eq!(flush(b"\x64\x66\x0f\xae\x30"), (FlushKind::Clwb, Some(0x6_0001_0000)));
        assert_eq!(flush(b"\x3e\x66\x0f\xae\x30"), (FlushKind::Clwb, Some(0x1_0000)));
        // An absolute address: clwb [0x20000]
        let absolute = flush(b"\x66\x0f\xae\x34\x25\0\0\x02\0");
        assert_eq!(absolute, (FlushKind::Clwb, Some(0x2_0000)));
        // clwb [rbx], which nobody knows here.
        assert_eq!(flush(b"\x66\x0f\xae\x33").1, None);
    }

    /// What each does, and the decoder's name of it, so that the bytes are what they seem.
    fn are(expected: Does, rows: &[(&str, &[u8])]) {
        for (name, bytes) in rows {
            let mut decoder = Decoder::with_ip(64, bytes, 0, DecoderOptions::NONE);
            let instruction = decoder.decode();
            let found = format!("{:?}", instruction.mnemonic()).to_lowercase();
            assert_eq!((found.as_str(), instruction.len()), (*name, bytes.len()), "{bytes:x?}");
            assert_eq!(does(bytes), expected, "{name} {bytes:x?}");
        }
    }

    #[test]
    fn fences_and_locked_operations_wait() {
        are(Does::Wait(FenceKind::Sfence), &[("sfence", b"\x0f\xae\xf8")]);
        are(Does::Wait(FenceKind::Mfence), &[("mfence", b"\x0f\xae\xf0")]);
        let wbinvd = Does::Wait(FenceKind::Wbinvd);
        are(wbinvd, &[("wbinvd", b"\x0f\x09"), ("wbnoinvd", b"\xf3\x0f\x09")]);
        are(
            Does::Wait(FenceKind::Locked),
            &[
                ("xadd", b"\xf0\x48\x0f\xc1\x07"),
                ("inc", b"\xf0\xff\x07"),
                ("bts", b"\xf0\x48\x0f\xba\x2f\x01"),
                ("cmpxchg", b"\x66\xf0\x0f\xb1\x0f"),
                ("cmpxchg16b", b"\xf0\x48\x0f\xc7\x0f"),
                // `xchg` with memory needs no prefix.
                ("xchg", b"\x48\x87\x07"),
                ("xchg", b"\x86\x07"),
            ],
        );
    }

    #[test]
    fn what_serialises_or_only_looks_like_a_fence_is_none() {
        are(
            Does::Else,
            &[
                ("lfence", b"\x0f\xae\xe8"),
                ("cpuid", b"\x0f\xa2"),
                ("serialize", b"\x0f\x01\xe8"),
                ("iretq", b"\x48\xcf"),
                ("mov", b"\x0f\x22\xd8"),
                ("wrmsr", b"\x0f\x30"),
                ("out", b"\xee"),
                ("invd", b"\x0f\x08"),
                ("cldemote", b"\x0f\x1c\x00"),
                ("prefetchw", b"\x0f\x0d\x08"),
                // One prefix away from clwb, mfence, clflush.
                ("xsaveopt", b"\x0f\xae\x30"),
                ("tpause", b"\x66\x0f\xae\xf0"),
                ("umonitor", b"\xf3\x0f\xae\xf0"),
                ("xsave64", b"\x48\x0f\xae\x27"),
                ("fxsave64", b"\x48\x0f\xae\x07"),
                // Not locked.
                ("cmpxchg16b", b"\x48\x0f\xc7\x0f"),
                ("xadd", b"\x48\x0f\xc1\x07"),
                ("xchg", b"\x48\x93"),
                ("xchg", b"\x86\xc3"),
            ],
        );
    }

    #[test]
    fn stores_past_the_caches_are_told_from_others() {
        are(
            Does::StorePastCaches,
            &[
                ("movnti", b"\x48\x0f\xc3\x07"),
                ("movnti", b"\x0f\xc3\x07"),
                ("movntq", b"\x0f\xe7\x07"),
                ("movntdq", b"\x66\x0f\xe7\x07"),
                ("movntps", b"\x0f\x2b\x07"),
                ("movntpd", b"\x66\x0f\x2b\x07"),
                ("movntss", b"\xf3\x0f\x2b\x07"),
                ("movntsd", b"\xf2\x0f\x2b\x07"),
                ("maskmovq", b"\x0f\xf7\xc1"),
                ("maskmovdqu", b"\x66\x0f\xf7\xc1"),
                ("vmovntdq", b"\xc5\xfd\xe7\x07"),
                ("vmovntdq", b"\x62\xf1\x7d\x48\xe7\x07"),
                ("vmovntps", b"\xc5\xf8\x2b\x07"),
                ("vmovntps", b"\x62\xf1\x7c\x48\x2b\x07"),
                ("vmovntpd", b"\xc5\xf9\x2b\x07"),
                ("vmaskmovdqu", b"\xc5\xf9\xf7\xc1"),
                ("movdiri", b"\x48\x0f\x38\xf9\x07"),
                ("movdir64b", b"\x66\x0f\x38\xf8\x3e"),
            ],
        );
        are(
            Does::Else,
            &[
                ("mov", b"\x48\x89\x07"),
                ("movdqa", b"\x66\x0f\x7f\x07"),
                // Loads.
                ("movntdqa", b"\x66\x0f\x38\x2a\x07"),
                ("vmovntdqa", b"\xc4\xe2\x79\x2a\x07"),
                // Through the caches, whatever the names are like.
                ("vmaskmovps", b"\xc4\xe2\x7d\x2e\x0f"),
                ("vpmaskmovd", b"\xc4\xe2\x7d\x8e\x0f"),
                ("vscatterdps", b"\x62\xf2\x7d\x49\xa2\x04\x07"),
                ("stosb", b"\xf3\xaa"),
                ("movsq", b"\xf3\x48\xa5"),
                ("push", b"\x50"),
                ("call", b"\xe8\0\0\0\0"),
                // To a device.
                ("enqcmd", b"\xf2\x0f\x38\xf8\x3e"),
            ],
        );
    }

    #[test]
    fn markers_and_garbage() {
        assert_eq!(does(b"\x0f\x1f\x80PST\x01"), Does::Mark(Op::Arm));
        assert_eq!(does(b"\x0f\x1f\x80PSU\x01"), Does::Else);
        assert_eq!(does(b""), Does::Else);
        assert_eq!(does(b"\x06\xff"), Does::Else);
    }
}
