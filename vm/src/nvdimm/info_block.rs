//! Info block: `struct nd_pfn_sb` of Linux (drivers/nvdimm/pfn.h), version 1.4.
//!
//! It lies 4 KiB into the namespace and makes a raw one fsdax or devdax. The kernel's
//! `nd_pfn_validate` reads it; `nd_fletcher64` is its checksum.

use super::Mode;
use crate::units::Mib;

/// Where it lies in the namespace, in bytes.
pub(super) const OFFSET: u64 = 4096;

/// Its size in bytes.
pub(super) const SIZE: usize = 4096;

/// Device offsets are multiples of this: the guest maps with 2 MiB pages.
const ALIGN: u32 = 2 << 20;

const PAGE: u32 = 4096;

/// `MAX_STRUCT_PAGE_SIZE`: what the kernel itself writes.
const STRUCT_PAGE: u16 = 64;

/// `PFN_MODE_RAM`: the guest keeps its page structures in RAM, so that the NVDIMM holds nothing
/// but data.
const IN_RAM: u32 = 1;

/// What an info block says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InfoBlock {
    pub(super) mode: Mode,
    pub(super) uuid: [u8; 16],
    /// Where the data starts, in bytes from the start of the namespace.
    pub(super) data_offset: u64,
    /// How many pages of data there are.
    pub(super) pages: u64,
}

impl InfoBlock {
    /// The block of a namespace that fills an NVDIMM of this size.
    pub(super) fn new(mode: Mode, size: Mib, uuid: [u8; 16]) -> Self {
        // As nd_pfn_init: the first aligned address after 8 KiB of reserved space. The namespace
        // itself starts aligned.
        let data_offset = u64::from(ALIGN);
        let pages = (size.bytes() - data_offset) / u64::from(PAGE);
        Self { mode, uuid, data_offset, pages }
    }

    /// Its 4 KiB.
    pub(super) fn encode(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, signature(self.mode));
        put(16, &self.uuid);
        // 32: parent_uuid, zero because a namespace without labels has none. 48: flags.
        put(52, &1_u16.to_le_bytes());
        put(54, &4_u16.to_le_bytes());
        put(56, &self.data_offset.to_le_bytes());
        put(64, &self.pages.to_le_bytes());
        put(72, &IN_RAM.to_le_bytes());
        // 76: start_pad, 80: end_trunc.
        put(84, &ALIGN.to_le_bytes());
        put(88, &PAGE.to_le_bytes());
        put(92, &STRUCT_PAGE.to_le_bytes());
        let sum = fletcher64(&bytes).to_le_bytes();
        bytes[SIZE - 8..].copy_from_slice(&sum);
        bytes
    }

    /// What these 4 KiB say.
    pub(super) fn decode(bytes: &[u8; SIZE]) -> Result<Self, &'static str> {
        let u64_at = |at: usize| {
            u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes are eight bytes"))
        };
        let mode = [Mode::Fsdax, Mode::Devdax].into_iter().find(|m| bytes[..16] == *signature(*m));
        let mode = mode.ok_or("it has no info block")?;
        if u64_at(SIZE - 8) != fletcher64(bytes) {
            return Err("the checksum of its info block is wrong");
        }
        let uuid = bytes[16..32].try_into().expect("sixteen bytes are sixteen bytes");
        Ok(Self { mode, uuid, data_offset: u64_at(56), pages: u64_at(64) })
    }
}

fn signature(mode: Mode) -> &'static [u8; 16] {
    match mode {
        Mode::Fsdax => b"NVDIMM_PFN_INFO\0",
        Mode::Devdax => b"NVDIMM_DAX_INFO\0",
    }
}

/// `nd_fletcher64` over the block with its checksum field (the last 8 bytes) as zero.
fn fletcher64(bytes: &[u8; SIZE]) -> u64 {
    let words = bytes[..SIZE - 8].chunks_exact(4);
    let words = words.map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    let (mut low, mut high) = (0_u32, 0_u64);
    for word in words.chain([0, 0]) {
        low = low.wrapping_add(word);
        high = high.wrapping_add(low.into());
    }
    high << 32 | u64::from(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_says_what_was_written() {
        for mode in [Mode::Fsdax, Mode::Devdax] {
            let block = InfoBlock::new(mode, Mib(64), [7; 16]);
            assert_eq!(block.pages, 62 << 8);
            assert_eq!(InfoBlock::decode(&block.encode()), Ok(block));
        }
    }

    #[test]
    fn every_byte_is_covered_by_the_checksum() {
        let bytes = InfoBlock::new(Mode::Devdax, Mib(64), [7; 16]).encode();
        for at in 0..SIZE {
            let mut damaged = bytes;
            damaged[at] ^= 1;
            assert!(InfoBlock::decode(&damaged).is_err(), "byte {at}");
        }
    }

    #[test]
    fn the_checksum_is_the_kernels() {
        // Words 1 and 2: low = 3, and every later word adds 3 to high.
        let mut bytes = [0; SIZE];
        (bytes[0], bytes[4]) = (1, 2);
        let high = 1 + 3 * (SIZE as u64 / 4 - 1);
        assert_eq!(fletcher64(&bytes), high << 32 | 3);
    }
}
