//! Rig: programs that end badly on purpose, so that the host half sees how that is reported.

use anyhow::Context;
use serde_json::json;

use crate::tell::tell;

/// Never ends.
pub(crate) fn hangs() -> anyhow::Result<()> {
    tell(&json!({ "hangs": true }))?;
    loop {
        std::thread::park();
    }
}

/// Makes the kernel panic.
pub(crate) fn panics() -> anyhow::Result<()> {
    std::fs::write("/proc/sysrq-trigger", "c").context("ask the kernel to panic")
}

/// Resets the machine without telling anyone.
pub(crate) fn reboots() -> anyhow::Result<()> {
    std::fs::write("/proc/sysrq-trigger", "b").context("ask the kernel to reset")
}
