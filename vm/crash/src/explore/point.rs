//! Crash points: where power may be lost (M18), who judges which (M22).

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3;

use crate::event::Event;

/// A crash point: after a step of an event.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Point {
    /// The event's number; the first is 1, and 0 is before it.
    pub event: u64,
    /// Which step of it, from 0 on: a device write has one for each line.
    pub step: u32,
}

impl Point {
    /// A number that depends on the point and `seed` only.
    pub(crate) fn hash(self, seed: u64) -> u64 {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&self.event.to_le_bytes());
        bytes[8..].copy_from_slice(&self.step.to_le_bytes());
        xxh3::xxh3_64_with_seed(&bytes, seed)
    }
}

/// A crash point that is spelled wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a crash point is EVENT.STEP, or EVENT for its first step: 12.0")]
pub struct NoPoint;

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.event, self.step)
    }
}

impl std::str::FromStr for Point {
    type Err = NoPoint;

    fn from_str(text: &str) -> Result<Self, NoPoint> {
        let (event, step) = text.split_once('.').unwrap_or((text, "0"));
        let event = event.parse().map_err(|_| NoPoint)?;
        Ok(Self { event, step: step.parse().map_err(|_| NoPoint)? })
    }
}

/// After which events there are crash points.
#[expect(clippy::struct_excessive_bools, reason = "each kind of event is asked for alone")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Points {
    /// After fences (and `clflush`, which is one for its line).
    pub fences: bool,
    /// After stores.
    pub stores: bool,
    /// After markers.
    pub markers: bool,
    /// After each line of a device write.
    pub device_lines: bool,
}

impl Points {
    /// After everything.
    pub const EVERY: Self = Self { fences: true, stores: true, markers: true, device_lines: true };
    /// After stores, fences and markers.
    pub const STORES: Self = Self { device_lines: false, ..Self::EVERY };
    /// After fences and markers only.
    pub const FENCES: Self = Self { stores: false, ..Self::STORES };
    /// After markers only.
    pub const MARKERS: Self = Self { fences: false, ..Self::FENCES };

    pub(crate) fn have(self, event: &Event) -> bool {
        match event {
            Event::Store(_) => self.stores,
            Event::Flush(_) | Event::Fence(_) => self.fences,
            Event::Dma(_) => self.device_lines,
            Event::Marker(_) => self.markers,
        }
    }
}

/// One of several parts of an exploration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(u64, u64)", into = "(u64, u64)")]
pub struct Shard {
    index: u64,
    count: u64,
}

/// A shard that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a shard is INDEX/COUNT with INDEX from 0 to COUNT-1")]
pub struct NoShard;

impl Shard {
    /// All of it.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// Part `index` (from 0 on) of `count`.
    ///
    /// # Errors
    /// If there is no such part.
    pub fn new(index: u64, count: u64) -> Result<Self, NoShard> {
        if index < count { Ok(Self { index, count }) } else { Err(NoShard) }
    }

    /// Which part, and of how many.
    pub fn parts(self) -> (u64, u64) {
        (self.index, self.count)
    }

    pub(crate) fn has(self, point: Point) -> bool {
        point.hash(0) % self.count == self.index
    }
}

impl TryFrom<(u64, u64)> for Shard {
    type Error = NoShard;

    fn try_from((index, count): (u64, u64)) -> Result<Self, NoShard> {
        Self::new(index, count)
    }
}

impl From<Shard> for (u64, u64) {
    fn from(shard: Shard) -> Self {
        shard.parts()
    }
}

impl std::str::FromStr for Shard {
    type Err = NoShard;

    fn from_str(text: &str) -> Result<Self, NoShard> {
        let (index, count) = text.split_once('/').ok_or(NoShard)?;
        Self::new(index.parse().map_err(|_| NoShard)?, count.parse().map_err(|_| NoShard)?)
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_has_one_shard() {
        let shards: Vec<_> = (0..7).map(|index| Shard::new(index, 7).unwrap()).collect();
        let mut sizes = [0; 7];
        for event in 0..7000 {
            let point = Point { event, step: 3 };
            let owners: Vec<_> = (0..7).filter(|at| shards[*at].has(point)).collect();
            assert_eq!(owners.len(), 1);
            sizes[owners[0]] += 1;
        }
        assert!(sizes.iter().all(|size| (800..1200).contains(size)), "{sizes:?}");
    }

    #[test]
    fn a_point_is_event_and_step() {
        assert_eq!("12".parse(), Ok(Point { event: 12, step: 0 }));
        assert_eq!("12.3".parse::<Point>().unwrap().to_string(), "12.3");
        for bad in ["", ".", "1.", ".1", "-1", "1.2.3", "x"] {
            assert_eq!(bad.parse::<Point>(), Err(NoPoint), "{bad}");
        }
    }

    #[test]
    fn a_shard_is_index_and_count() {
        assert_eq!("2/5".parse::<Shard>().unwrap().to_string(), "2/5");
        for bad in ["", "2", "5/5", "-1/2", "0/0", "1/x"] {
            assert_eq!(bad.parse::<Shard>(), Err(NoShard), "{bad}");
        }
        assert!(serde_json::from_str::<Shard>("[1,1]").is_err());
    }
}
