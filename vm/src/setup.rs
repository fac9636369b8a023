//! Set-up: which programs the host needs, which of them are missing, and how they get here.
//!
//! Nothing is installed without [`install`]; [`check`] only looks. What was installed is written
//! down, so that it can be taken away again.

mod added;
mod plan;
pub(crate) mod system;
mod undo;

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::host::{self, Qemu};
use crate::image::{Progress, sources};
use crate::process::Program;
use plan::{Gaps, Plan};
use system::System;

pub use added::Added;
pub use undo::Undo;

/// What the user chose.
#[derive(Debug, Clone)]
pub struct Options {
    /// This QEMU instead of the one in `PATH`.
    pub qemu: Option<PathBuf>,
    /// A Debian mirror for the guest's packages.
    pub mirror: Option<String>,
    /// The folder where set-up writes down what it added.
    pub state: PathBuf,
}

/// A program that the host needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// How it is called.
    pub program: &'static str,
    /// What it is needed for.
    pub why: &'static str,
    /// The Debian package that has it.
    pub package: &'static str,
    /// The option that makes it tell its version and end.
    ask: &'static str,
}

/// What is there and what is not.
#[derive(Debug)]
pub struct Report {
    /// The QEMU that will be used, if there is one.
    pub qemu: Option<Qemu>,
    /// The programs that are there.
    pub found: Vec<Need>,
    /// What is missing and why it is needed, a line each.
    pub missing: Vec<String>,
    plan: Plan,
    state: PathBuf,
}

const fn need(
    program: &'static str,
    ask: &'static str,
    package: &'static str,
    why: &'static str,
) -> Need {
    Need { program, why, package, ask }
}

const NEEDS: [Need; 9] = [
    need("apt-get", "--version", "apt", "fetch the guest's packages"),
    need("dpkg-deb", "--version", "dpkg", "unpack the guest's packages"),
    need("tar", "--version", "tar", "unpack the guest's packages"),
    need("/sbin/depmod", "-V", "kmod", "list the guest's kernel modules"),
    need("lz4", "--version", "lz4", "unpack the guest's kernel"),
    need("mksquashfs", "-version", "squashfs-tools", "pack the guest's root"),
    need("unshare", "--version", "util-linux", "run the guest's compiler"),
    need("cc", "--version", "gcc libc6-dev", "build the guest's programs"),
    need("make", "--version", "make", "build the kernel code as a program"),
];

/// Looks at the machine.
///
/// # Errors
/// [`Error::Missing`] or [`Error::Invalid`] if the QEMU that the user named cannot be used.
pub fn check(options: &Options) -> Result<Report> {
    let system = System::parse(&fs::read_to_string("/etc/os-release").unwrap_or_default());
    let host_sources = sources::read(Path::new("/etc/apt"));
    let mut missing = Vec::new();
    let path = options.qemu.as_deref().unwrap_or(Path::new(host::QEMU));
    let qemu = match host::qemu(path) {
        Ok(qemu) => Some(qemu),
        // Nothing can be installed in place of what the user named.
        Err(error) if options.qemu.is_some() => return Err(error),
        Err(_) => {
            missing.push(format!("{} {} or newer (to run guests)", host::QEMU, host::OLDEST_QEMU));
            None
        }
    };
    let (found, absent): (Vec<Need>, Vec<Need>) = NEEDS.iter().partition(|need| need.is_there());
    missing.extend(absent.iter().map(|need| format!("{} (to {})", need.program, need.why)));
    let mirror = options.mirror.is_none() && system.debian.is_none();
    if mirror {
        missing.push("a Debian mirror (to fetch the guest's packages)".to_owned());
    }
    let packages = absent.iter().map(|need| need.package).collect();
    let gaps = Gaps { qemu: qemu.is_none(), packages, mirror };
    let plan = gaps.plan(&system, &host_sources, sudo());
    Ok(Report { qemu, found, missing, plan, state: options.state.clone() })
}

impl Need {
    fn is_there(&self) -> bool {
        // Some tools end with another status than 0 after telling their version.
        Program::new(self.program).arg(self.ask).run().is_ok()
    }
}

impl Report {
    /// Whether nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.plan == Plan::Nothing
    }

    /// The exact shell lines that install what is missing; empty if nothing is or if only the user
    /// can do something, see [`Report::advice`].
    pub fn commands(&self) -> &[String] {
        match &self.plan {
            Plan::Commands(lines) => lines,
            _ => &[],
        }
    }

    /// What only the user can do, if that is the case.
    pub fn advice(&self) -> Option<&str> {
        match &self.plan {
            Plan::Advice(text) => Some(text),
            _ => None,
        }
    }
}

/// Runs the commands of a report and writes down what they added.
///
/// # Errors
/// [`Error::Missing`] if only the user can install something or root's rights are missing,
/// [`Error::Program`] for a command that failed.
pub fn install(report: &Report, progress: Progress<'_>) -> Result<()> {
    if let Some(advice) = report.advice() {
        return Err(Error::missing(report.missing.join(", "), advice));
    }
    let lines = report.commands();
    if lines.is_empty() {
        return Ok(());
    }
    need_rights(lines)?;
    let before = added::installed()?;
    let result = lines.iter().try_for_each(|line| {
        progress(line);
        Program::new("sh").args(["-e", "-c", line]).run_ok().map(drop)
    });
    // Also after a failure: a part may be there.
    added::note(&report.state, &before, &[plan::BACKPORTS, plan::PIN])?;
    result
}

/// What stands before a command that needs root's rights.
fn sudo() -> &'static str {
    if nix::unistd::geteuid().is_root() { "" } else { "sudo " }
}

/// A password cannot be asked for: our children are not in the terminal's foreground.
fn need_rights(lines: &[String]) -> Result<()> {
    if lines[0].contains("sudo ") && !may_sudo() {
        let hint = format!("run these commands yourself:\n{}", lines.join("\n"));
        return Err(Error::missing("permission to install and remove packages", hint));
    }
    Ok(())
}

fn may_sudo() -> bool {
    let output = Program::new("sudo").args(["-n", "true"]).run();
    output.is_ok_and(|output| output.status.success())
}
