//! Counters: what the backend did and what it refused.

use std::sync::atomic::{AtomicU64, Ordering};

/// The event loop's counters; it adds, everybody may read.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) to_guest: AtomicU64,
    pub(crate) from_guest: AtomicU64,
    pub(crate) bad_chains: AtomicU64,
    pub(crate) broken_vrings: AtomicU64,
    pub(crate) bad_frames: AtomicU64,
    pub(crate) too_small: AtomicU64,
    pub(crate) no_link: AtomicU64,
    pub(crate) sessions: AtomicU64,
    pub(crate) wakeups: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) late: AtomicU64,
}

/// Counts one more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A reading of all counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames written into guest memory.
    pub to_guest: u64,
    /// Frames read from guest memory.
    pub from_guest: u64,
    /// Descriptor chains given back unused because they broke a rule.
    pub bad_chains: u64,
    /// Times a vring became unusable (impossible index or head).
    pub broken_vrings: u64,
    /// Transmitted frames dropped for their length, checksum field or segmentation request.
    pub bad_frames: u64,
    /// Frames dropped because the guest's next buffer could not hold them.
    pub too_small: u64,
    /// Frames for the guest dropped while there was none.
    pub no_link: u64,
    /// Frontends that connected.
    pub sessions: u64,
    /// Times the event loop woke up.
    pub wakeups: u64,
    /// Segments that the cable lost because it was asked to.
    pub lost: u64,
    /// Segments that it let others overtake.
    pub late: u64,
}

impl Tally {
    pub(crate) fn read(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            to_guest: read(&self.to_guest),
            from_guest: read(&self.from_guest),
            bad_chains: read(&self.bad_chains),
            broken_vrings: read(&self.broken_vrings),
            bad_frames: read(&self.bad_frames),
            too_small: read(&self.too_small),
            no_link: read(&self.no_link),
            sessions: read(&self.sessions),
            wakeups: read(&self.wakeups),
            lost: read(&self.lost),
            late: read(&self.late),
        }
    }
}
