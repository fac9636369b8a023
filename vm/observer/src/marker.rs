//! Marker: an instruction by which a guest says where it is.
//!
//! It is a 7-byte NOP (`0f 1f 80` and a 32-bit displacement): no privilege, no effect, on any
//! x86-64 CPU. The displacement's bytes are `P S T` and the operation; arguments are in rdi, rsi
//! and rdx. The operations are those of docs/crash-model.md.

/// Length of a marker in bytes.
pub(crate) const LEN: usize = 7;

const NOP: [u8; 6] = [0x0f, 0x1f, 0x80, b'P', b'S', b'T'];

/// What a marker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Tell how far the counters are, under the number in rdi.
    Stats,
}

/// What the instruction's bytes say, if it is a marker that this observer knows.
pub(crate) fn decode(instruction: &[u8]) -> Option<Op> {
    let (op, nop) = instruction.split_last()?;
    match op {
        7 if nop == NOP => Some(Op::Stats),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_marker_is_one() {
        assert_eq!(decode(b"\x0f\x1f\x80PST\x07"), Some(Op::Stats));
        assert_eq!(decode(b"\x0f\x1f\x80PST"), None);
        assert_eq!(decode(b"\x0f\x1f\x80PST\x07\x90"), None);
        assert_eq!(decode(b"\x0f\x1f\x80PSX\x07"), None);
        assert_eq!(decode(b"\x0f\x1f\x80\x00\x00\x00\x00"), None);
        assert_eq!(decode(b""), None);
    }

    #[test]
    fn unknown_operations_are_no_markers() {
        assert_eq!(decode(b"\x0f\x1f\x80PST\x00"), None);
        assert_eq!(decode(b"\x0f\x1f\x80PST\xff"), None);
    }
}
