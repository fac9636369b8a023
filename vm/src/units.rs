//! Units: sizes that cannot be mistaken for one another.

use std::fmt;

/// A size in mebibytes (2^20 bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mib(pub u32);

impl Mib {
    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        (self.0 as u64) << 20
    }

    /// The smallest size that holds so many bytes.
    pub fn covering(bytes: u64) -> Self {
        Self(u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX))
    }
}

impl fmt::Display for Mib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covering_rounds_up() {
        assert_eq!(Mib::covering(0), Mib(0));
        assert_eq!(Mib::covering(1), Mib(1));
        assert_eq!(Mib::covering(Mib(7).bytes()), Mib(7));
        assert_eq!(Mib(4096).bytes(), 1 << 32);
    }
}
