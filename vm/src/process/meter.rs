//! Meter: the CPU time of the children that were started for one piece of work.
//!
//! Work begins in a thread; a thread that takes part in another's work shares its meter.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

thread_local! {
    static METER: RefCell<Meter> = RefCell::default();
}

/// The CPU time of children, those that these waited for included, as far as they have ended.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<AtomicU64>);

impl Meter {
    /// The meter of the children that this thread starts.
    pub fn of_this_thread() -> Self {
        METER.with_borrow(Self::clone)
    }

    /// From now on the children that this thread starts count here.
    pub fn share(self) {
        METER.set(self);
    }

    /// What has been used so far.
    pub fn read(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }

    pub(super) fn add(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.0.fetch_add(micros, Ordering::Relaxed);
    }
}
