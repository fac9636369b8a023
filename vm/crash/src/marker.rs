//! Markers: instructions that do nothing, by which a guest says where it is.

use serde::{Deserialize, Serialize};

use crate::event::{Pc, Vcpu};
use crate::line::Range;

/// Length of a marker in bytes.
pub const LEN: usize = 7;

const NOP: [u8; 6] = [0x0f, 0x1f, 0x80, b'P', b'S', b'T'];

/// What a marker says; its number is the last byte of the instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Op {
    /// Start to watch.
    Arm = 1,
    /// Keep the crash state of this moment.
    Snap = 2,
    /// Lose power here.
    Cut = 3,
    /// A range must be durable now.
    AssertPersisted = 4,
    /// From here on something may be claimed to be durable.
    Checkpoint = 5,
    /// Stop to watch.
    Disarm = 6,
    /// Tell the counters of this moment.
    Stats = 7,
}

/// All operations, with their names for people.
const NAMES: [(Op, &str); 7] = [
    (Op::Arm, "arm"),
    (Op::Snap, "snap"),
    (Op::Cut, "cut"),
    (Op::AssertPersisted, "assert"),
    (Op::Checkpoint, "checkpoint"),
    (Op::Disarm, "disarm"),
    (Op::Stats, "stats"),
];

impl Op {
    /// The operation with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        NAMES.iter().find(|(op, _)| *op as u8 == number).map(|(op, _)| *op)
    }

    /// The operation with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, known)| *known == name).map(|(op, _)| *op)
    }

    /// Its name for people.
    pub fn name(self) -> &'static str {
        NAMES[usize::from(self as u8 - 1)].1
    }

    /// Whether one of its arguments is an id.
    pub fn has_id(self) -> bool {
        !matches!(self, Self::Arm | Self::Disarm)
    }

    /// What an instruction's bytes say, if they are a known marker.
    pub fn decode(instruction: &[u8]) -> Option<Self> {
        let (op, nop) = instruction.split_last()?;
        if nop == NOP { Self::from_number(*op) } else { None }
    }

    /// Whether what counts as a correct image may be another after this marker (M21).
    pub fn promises(self) -> bool {
        self != Self::Stats
    }
}

/// A marker that a guest executed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Marker {
    /// Which CPU.
    pub vcpu: Vcpu,
    /// Its instruction.
    pub pc: Pc,
    /// What it says.
    pub op: Op,
    /// The registers rdi, rsi and rdx.
    pub args: [u64; 3],
    /// Where in the NVDIMM the virtual range of `ASSERT_PERSISTED` lies, page by page; else empty.
    pub ranges: Vec<Range>,
}

impl Marker {
    /// Which of its kind it is.
    pub fn id(&self) -> Option<u64> {
        let [first, _, third] = self.args;
        let id = if self.op == Op::AssertPersisted { third } else { first };
        self.op.has_id().then_some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_known_marker_is_one() {
        for number in 0..=u8::MAX {
            let instruction = [&NOP[..], &[number]].concat();
            assert_eq!(Op::decode(&instruction).is_some(), (1..=7).contains(&number));
            let op = Op::from_number(number);
            assert!(op.is_none_or(|op| op as u8 == number && Op::from_name(op.name()) == Some(op)));
        }
        assert_eq!(Op::decode(b"\x0f\x1f\x80PST\x04"), Some(Op::AssertPersisted));
        assert_eq!(Op::decode(b"\x0f\x1f\x80PST"), None);
        assert_eq!(Op::decode(b"\x0f\x1f\x80PST\x01\x90"), None);
        assert_eq!(Op::decode(b"\x0f\x1f\x80PSX\x01"), None);
        assert_eq!(Op::decode(b""), None);
    }
}
