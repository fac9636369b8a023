//! CPU time: what a thread and the children that it started have used, and what this process has.

use std::time::Duration;

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use vm::process::Meter;

/// User and system time of this thread and of its children (guests, builds) that have ended.
///
/// A guest's QEMU counts once it has ended, so a case must end its guests before it is measured.
/// What other threads of this process do for them, the NIC's above all, does not count.
pub(crate) fn of_this_thread() -> Duration {
    of(UsageWho::RUSAGE_THREAD) + Meter::of_this_thread().read()
}

/// User and system time of this process without its children.
pub(crate) fn of_this_process() -> Duration {
    of(UsageWho::RUSAGE_SELF)
}

fn of(who: UsageWho) -> Duration {
    getrusage(who).map(|usage| used(&usage)).unwrap_or_default()
}

fn used(usage: &Usage) -> Duration {
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}
