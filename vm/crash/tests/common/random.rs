//! Random programs: short, with few words, so that writes meet.

use crash::{DeviceWrites, Domain, FenceKind, Fences, FlushKind, Op, Rules, Vcpu};

use super::{KERNEL, PROGRAM, Program};

pub const LINES: u64 = 2;
pub const BYTES: usize = 128;

/// Random rules.
pub fn rules(random: &mut Random) -> Rules {
    let eadr = random.below(5) == 0;
    Rules {
        domain: if eadr { Domain::Eadr } else { Domain::Adr },
        fences: if random.below(2) == 0 { Fences::Strict } else { Fences::Hw },
        dma: if random.below(3) == 0 { DeviceWrites::Persist } else { DeviceWrites::Cache },
    }
}

/// A short random program. In one half of them every write has bytes of its own; in the other
/// half writes bring back what was there before.
pub fn program(random: &mut Random, len: u64, mixed: bool) -> Program {
    let mut program = Program::new(BYTES);
    let is_varied = random.below(2) == 0;
    for number in 0..len {
        match random.below(30) {
            0..3 => program.checkpoint(number),
            3 => program.marker(Op::Arm, [0; 3], Vec::new()),
            _ => {}
        }
        program.vcpu = if random.below(2) == 0 { Vcpu(0) } else { Vcpu(1) };
        program.context = if random.below(4) == 0 { KERNEL } else { PROGRAM };
        let fill = if is_varied { number + 1 } else { random.below(3) };
        let fill = u8::try_from(fill).expect("a short program");
        let line = random.below(LINES) * 64;
        // Few words, so that writes meet; without `mixed` each word is written in one way only.
        let word = random.below(3) * 8;
        match random.below(11) {
            0 | 1 => program.store(line + word, &[fill; 8]),
            2 => program.store(line + word + random.below(5), &[fill; 3]),
            3 if mixed => program.store(line + 56, &[fill; 16][..8]),
            3 => program.store(line, &[fill; 16]),
            4 | 5 if mixed => program.nontemporal(line + word, &[fill; 8]),
            4 | 5 => program.nontemporal(line + 32 + word, &[fill; 8]),
            6 => program.flush(FlushKind::Clwb, line),
            7 => program.flush(FlushKind::Clflushopt, line),
            8 if random.below(3) == 0 => program.flush(FlushKind::Clflush, line),
            8 | 9 => program.fence(fence(random.below(12))),
            _ if random.below(4) == 0 => program.unseen(line + word, &[fill; 8]),
            _ => program.dma(random.below(10) * 8, &[fill; 24]),
        }
    }
    program
}

fn fence(number: u64) -> FenceKind {
    match number {
        0 => FenceKind::Wbinvd,
        1 | 2 => FenceKind::Locked,
        3 => FenceKind::Mfence,
        _ => FenceKind::Sfence,
    }
}

/// Random numbers by seed.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888);
        (self.0 >> 33) % end
    }
}
