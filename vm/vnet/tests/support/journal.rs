//! Journal: a reader of the journal's file that owes nothing to its writer.

use std::path::Path;

/// One write.
pub struct Written {
    /// Where in the window.
    pub offset: u64,
    pub bytes: Vec<u8>,
}

/// Reads the file: base and length of the window, whether it is full, and all writes.
pub fn read(path: &Path) -> ((u64, u64), bool, Vec<Written>) {
    let file = std::fs::read(path).unwrap();
    let word = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap());
    let size = |at: usize| usize::try_from(word(at)).unwrap();
    assert_eq!(&file[..8], b"PSTDMAJ1");
    assert!(file[40..64].iter().all(|byte| *byte == 0));
    let (mut at, mut all) = (64, Vec::new());
    while at < size(8) {
        let len = size(at + 8);
        assert!(len > 0 && word(at) + len as u64 <= word(32), "a write lies in the window");
        let bytes = file[at + 16..at + 16 + len].to_vec();
        all.push(Written { offset: word(at), bytes });
        at += 16 + len.next_multiple_of(8);
    }
    assert_eq!(at, size(8), "the last write is whole");
    ((word(24), word(32)), word(16) == 1, all)
}

/// What lies in the first `len` bytes of a window of zeros after these writes.
pub fn replay(written: &[Written], len: usize) -> Vec<u8> {
    let mut memory = vec![0; len];
    for write in written {
        let at = usize::try_from(write.offset).unwrap();
        memory[at..at + write.bytes.len()].copy_from_slice(&write.bytes);
    }
    memory
}
