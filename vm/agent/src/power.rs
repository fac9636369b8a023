//! Power: the orderly way down.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, sync};

/// How long killed programs may take to go.
const PATIENCE: Duration = Duration::from_secs(5);

/// Ends all programs, syncs and unmounts file systems, switches the machine off.
pub(crate) fn off() -> ! {
    // Everybody but us. They are not asked: the host ended its own programs before.
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    await_end_of_programs();
    unmount_disks();
    sync();
    let error = reboot(RebootMode::RB_POWER_OFF);
    crate::fatal(&format!("switch off: {error:?}"))
}

/// Killed programs hold their file systems until they are really gone: moments.
fn await_end_of_programs() {
    let deadline = Instant::now() + PATIENCE;
    while any_program() && Instant::now() < deadline {
        thread::yield_now();
    }
}

/// Whether a program besides us is left. Kernel threads have no executable.
fn any_program() -> bool {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .any(|pid| pid != 1 && fs::read_link(format!("/proc/{pid}/exe")).is_ok())
}

/// Unmounts what lies on a block device, latest first, so that journals end clean.
fn unmount_disks() {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    for line in mounts.lines().rev().filter(|line| line.starts_with("/dev/")) {
        let Some(place) = line.split(' ').nth(1) else { continue };
        if let Err(error) = umount2(place, MntFlags::empty()) {
            eprintln!("paste-agent: unmount {place}: {error}");
        }
    }
}
