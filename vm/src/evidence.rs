//! Evidence: what console and QMP have said about a guest's end, and the verdict it adds up to.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Failure;

/// What a fatal console line means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fatal {
    /// The kernel is dead or about to say so.
    Panic,
    /// The kernel makes no progress; QEMU will not end by itself.
    Hang,
}

/// Console lines after which a guest will not answer any more. The words are those of Linux 6.1
/// (the files panic, fault, dumpstack, traps, bug, watchdog, hung task, RCU stall, IO-APIC); one
/// is our own agent's. An oops is a panic because guests boot with `oops=panic`.
pub const FATAL_LINES: [(&str, Fatal); 14] = [
    ("Kernel panic - not syncing", Fatal::Panic),
    ("Oops: ", Fatal::Panic),
    ("BUG: unable to handle page fault", Fatal::Panic),
    ("BUG: kernel NULL pointer dereference", Fatal::Panic),
    ("kernel BUG at ", Fatal::Panic),
    ("general protection fault, ", Fatal::Panic),
    ("invalid opcode: ", Fatal::Panic),
    ("paste-agent: fatal: ", Fatal::Panic),
    ("BUG: soft lockup", Fatal::Hang),
    ("hard LOCKUP", Fatal::Hang),
    ("blocked for more than ", Fatal::Hang),
    ("self-detected stall on CPU", Fatal::Hang),
    ("detected stalls on CPUs", Fatal::Hang),
    ("MP-BIOS bug", Fatal::Hang),
];

/// What a console line means, if it is fatal.
pub fn fatal(line: &str) -> Option<Fatal> {
    FATAL_LINES.iter().find(|(words, _)| line.contains(words)).map(|(_, fatal)| *fatal)
}

/// What was seen, in the order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Evidence(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    panic: Option<String>,
    hang: Option<String>,
    reboot: Option<String>,
    stopped: bool,
    stop_expected: bool,
    ran: bool,
}

impl Evidence {
    /// Takes a console line; says what it means if it is fatal.
    pub(crate) fn line(&self, line: &str) -> Option<Fatal> {
        let mut seen = self.lock();
        seen.ran = true;
        let fatal = fatal(line)?;
        let place = match fatal {
            Fatal::Panic => &mut seen.panic,
            Fatal::Hang => &mut seen.hang,
        };
        // The first one is the cause, later ones follow from it; but "not syncing" says most.
        if place.is_none() || line.contains(FATAL_LINES[0].0) {
            *place = Some(line.trim().to_owned());
        }
        Some(fatal)
    }

    /// Takes a QMP event.
    pub(crate) fn event(&self, name: &str, reason: &str) {
        let mut seen = self.lock();
        let text = format!("QMP event {name} {reason}");
        match (name, reason) {
            ("GUEST_PANICKED", _) | ("SHUTDOWN", "guest-panic") => {
                seen.panic.get_or_insert(text);
            }
            ("SHUTDOWN", "guest-reset" | "guest-shutdown") => {
                seen.reboot.get_or_insert(text);
            }
            // The reason has to be asked for: `query-status`.
            ("STOP", _) if seen.stop_expected => seen.stop_expected = false,
            ("STOP", _) => seen.stopped = true,
            _ => {}
        }
    }

    /// The agent has said hello.
    pub(crate) fn greeted(&self) {
        self.lock().ran = true;
    }

    /// Whether the guest has ever run: its console or its agent spoke.
    pub(crate) fn guest_ran(&self) -> bool {
        self.lock().ran
    }

    /// We are about to stop the guest ourselves.
    pub(crate) fn expect_stop(&self) {
        self.lock().stop_expected = true;
    }

    /// Whether QEMU stopped the guest unasked.
    pub(crate) fn stopped(&self) -> bool {
        self.lock().stopped
    }

    /// The hang, if the console told of one and of no panic.
    pub(crate) fn hang(&self) -> Option<Failure> {
        self.failure().filter(|failure| matches!(failure, Failure::Hung(_)))
    }

    /// Whether the guest switched itself off or reset itself.
    pub(crate) fn ended_by_itself(&self) -> bool {
        let seen = self.lock();
        seen.reboot.is_some() && seen.panic.is_none()
    }

    /// What all of it adds up to. A panic ends in a reset, so it is looked for first.
    pub(crate) fn failure(&self) -> Option<Failure> {
        let seen = self.lock();
        let panic = seen.panic.clone().map(Failure::Panicked);
        let hang = || seen.hang.clone().map(Failure::Hung);
        let reboot = || seen.reboot.clone().map(Failure::Rebooted);
        panic.or_else(hang).or_else(reboot)
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_lines_are_told_apart() {
        let panic = "[    2.1] Kernel panic - not syncing: sysrq triggered crash";
        assert_eq!(fatal(panic), Some(Fatal::Panic));
        let lockup = "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [cc1:99]";
        assert_eq!(fatal(lockup), Some(Fatal::Hang));
        let hung = "INFO: task mount:77 blocked for more than 120 seconds.";
        assert_eq!(fatal(hung), Some(Fatal::Hang));
        let timer = "..MP-BIOS bug: 8254 timer not connected to IO-APIC";
        assert_eq!(fatal(timer), Some(Fatal::Hang));
        assert_eq!(fatal("EXT4-fs (pmem0): mounted filesystem"), None);
    }

    #[test]
    fn a_panic_outweighs_the_reset_that_follows_it() {
        let evidence = Evidence::default();
        evidence.event("SHUTDOWN", "guest-reset");
        assert!(evidence.ended_by_itself());
        evidence.line("Oops: 0002 [#1]");
        evidence.line("Kernel panic - not syncing: Fatal exception");
        let failure = evidence.failure().unwrap();
        let expected = "Kernel panic - not syncing: Fatal exception";
        assert_eq!(failure, Failure::Panicked(expected.into()));
        assert!(!evidence.ended_by_itself());
    }

    #[test]
    fn a_reset_alone_is_a_reboot() {
        let evidence = Evidence::default();
        evidence.event("RESUME", "");
        assert_eq!(evidence.failure(), None);
        evidence.event("SHUTDOWN", "guest-reset");
        assert!(matches!(evidence.failure(), Some(Failure::Rebooted(_))));
    }
}
