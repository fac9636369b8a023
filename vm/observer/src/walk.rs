//! Walk: from a virtual to a guest-physical address through the guest's page tables; pure.
//!
//! Flush instructions make no memory access in TCG, so nobody else translates their operand.
//! Layout of the tables: Intel SDM 3, chapter 5 (4-level and 5-level paging). Permissions are not
//! looked at: a flush that a real CPU would refuse is not our concern.

/// Bytes of the smallest page.
pub(crate) const PAGE: u64 = 4096;

/// Bits of an entry, or of CR3, that are an address.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const PRESENT: u64 = 1;
/// In an entry that is not of the last level: it maps a page, not a table.
const LARGE: u64 = 1 << 7;
/// CR4.LA57: five levels.
const FIVE_LEVELS: u64 = 1 << 12;

/// Where the tables are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tables {
    pub(crate) cr3: u64,
    pub(crate) cr4: u64,
}

impl Tables {
    /// Where `address` lies; `read` gives the 8 bytes at a guest-physical address, if that is
    /// memory. None if nothing is mapped there.
    pub(crate) fn physical(self, address: u64, read: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        let levels = if self.cr4 & FIVE_LEVELS == 0 { 4 } else { 5 };
        let mut table = self.cr3 & ADDRESS;
        for level in (0..levels).rev() {
            let shift = 12 + 9 * level;
            let entry = read(table + (address >> shift & 511) * 8)?;
            if entry & PRESENT == 0 {
                return None;
            }
            let is_page = level == 0 || level <= 2 && entry & LARGE != 0;
            if is_page {
                let inside = (1 << shift) - 1;
                return Some(entry & ADDRESS & !inside | address & inside);
            }
            table = entry & ADDRESS;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Tables at 4 KiB, 8 KiB ...: they map a page of each size.
    fn guest(levels: u64) -> (Tables, HashMap<u64, u64>) {
        let mut memory = HashMap::new();
        let mut root = 0x1000;
        if levels == 5 {
            root = 0x8000;
            memory.insert(root, 0x1000 | PRESENT);
        }
        memory.insert(0x1000, 0x2000 | PRESENT);
        memory.insert(0x2000, 0x3000 | PRESENT);
        memory.insert(0x2000 + 8, 0x4000_0000 | PRESENT | LARGE);
        memory.insert(0x3000, 0x4000 | PRESENT);
        memory.insert(0x3000 + 8, 0x1_0020_0000 | PRESENT | LARGE | 1 << 63);
        memory.insert(0x4000 + 0x70 * 8, 0x9_0000 | PRESENT | 0xe00);
        let cr4 = if levels == 5 { FIVE_LEVELS } else { 0x20 };
        // A process-context id in CR3's low bits.
        (Tables { cr3: root | 0x123, cr4 }, memory)
    }

    #[test]
    fn pages_of_each_size_are_found() {
        for levels in [4, 5] {
            let (tables, memory) = guest(levels);
            let at = |address| tables.physical(address, |at| memory.get(&at).copied());
            assert_eq!(at(0x7_0abc), Some(0x9_0abc));
            assert_eq!(at(0x20_1234), Some(0x1_0020_1234));
            assert_eq!(at(0x4123_4567), Some(0x4123_4567));
            assert_eq!(at(0x7_1000), None);
            assert_eq!(at(0x8000_0000), None);
        }
    }

    #[test]
    fn tables_outside_memory_lead_nowhere() {
        let tables = Tables { cr3: u64::MAX, cr4: u64::MAX };
        assert_eq!(tables.physical(u64::MAX, |_| None), None);
        // Every entry points to the table itself, at every level.
        assert!(tables.physical(0, |_| Some(0x1000 | PRESENT)).is_some());
    }

    #[test]
    fn whatever_stands_in_the_tables_the_walk_ends_soon() {
        let (mut state, mut found) = (1_u64, 0);
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state ^ state >> 29
        };
        for _ in 0..100_000 {
            let (cr3, cr4, address, noise) = (next(), next(), next(), next());
            let reads = std::cell::Cell::new(0);
            let entry = |at: u64| {
                reads.set(reads.get() + 1);
                let entry = (at ^ noise).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                // Two of three are present; one of 64 lies outside of memory.
                (entry >> 58 != 0).then_some(entry | u64::from(entry >> 20 & 3 != 0))
            };
            let physical = Tables { cr3, cr4 }.physical(address, entry);
            assert!(reads.get() <= 5, "{} reads", reads.get());
            assert!(physical.is_none_or(|at| at < 1 << 52), "{physical:x?}");
            found += u32::from(physical.is_some());
        }
        assert!((10_000..90_000).contains(&found), "{found}");
    }
}
