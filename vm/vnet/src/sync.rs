//! Sync: locks and conditions with deadlines.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// Locks. Code that holds one of our locks does not panic; if it does, every user of it shall.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of a lock panics")
}

/// Waits until `look` has an answer about what `mutex` guards; it looks at once, and again after
/// each notification of `changed`.
pub(crate) fn wait<S, T>(
    (mutex, changed): (&Mutex<S>, &Condvar),
    within: Duration,
    doing: &'static str,
    mut look: impl FnMut(&mut S) -> Option<Result<T>>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    let mut state = lock(mutex);
    loop {
        if let Some(answer) = look(&mut state) {
            return answer;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::Timeout(doing));
        }
        state = changed.wait_timeout(state, left).expect("no holder of a lock panics").0;
    }
}
