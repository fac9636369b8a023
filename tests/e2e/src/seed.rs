//! Seed: the number that fixes every choice of a run.

use std::fmt;

/// The number that fixes every choice of a run; printed with each failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// The seed of one part of a run, e.g. one record; the same for the same label.
    #[must_use]
    pub fn part(self, label: u64) -> Self {
        Self(mix(self.0 ^ mix(label.wrapping_add(0x51ed_2701))))
    }

    /// A number below `bound`.
    ///
    /// # Panics
    /// There is no number below 0.
    pub fn below(self, bound: u64) -> u64 {
        assert!(bound > 0, "a bound is positive");
        mix(self.0) % bound
    }

    /// `len` bytes that look random and are the same for the same seed.
    pub fn bytes(self, len: usize) -> Vec<u8> {
        let words = (0..len.div_ceil(8) as u64).map(|i| mix(self.0.wrapping_add(mix(i))));
        let mut bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        bytes.truncate(len);
        bytes
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The mixing step of the splitmix64 generator.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_gives_others() {
        assert_eq!(Seed(7).bytes(13), Seed(7).bytes(13));
        assert_ne!(Seed(7).bytes(64), Seed(8).bytes(64));
        assert_ne!(Seed(7).part(1).bytes(64), Seed(7).part(2).bytes(64));
        assert_eq!(Seed(7).bytes(64)[..13], Seed(7).bytes(13));
    }

    #[test]
    fn parts_below_a_bound_spread() {
        let hits: std::collections::BTreeSet<_> =
            (0..100).map(|label| Seed(1).part(label).below(10)).collect();
        assert_eq!(hits.len(), 10);
    }
}
