//! Command line: what a user can ask for, parsed into types that cannot be wrong.

pub(crate) mod crash;
pub(crate) mod guest;
pub(crate) mod power;

use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::exit::TABLE;
use crash::CrashArgs;
use guest::{RunArgs, ShellArgs};
use power::{PowerArgs, UpArgs};

const TEST_HELP: &str = "\
Examples:
  vmctl test all --yes
  vmctl test zero_copy --html report.html
  vmctl test persistence::log --seed 7 --keep-on-fail";

const DOCTOR_HELP: &str = "\
Exit status: 0 if everything that `vmctl test all` needs is there, else 125.

Example:
  vmctl doctor";

const SETUP_HELP: &str = "\
Examples:
  vmctl setup            # shows the commands and asks
  vmctl setup --yes      # installs without asking
  vmctl setup --undo     # shows what takes it away again, and asks";

const IMAGE_HELP: &str = "\
Examples:
  vmctl image build --name debian-12-linux6
  vmctl image ls
  vmctl image rm c143
  vmctl image verify";

/// Boots guests, breaks them, and tests PASTE inside them.
#[derive(Debug, Parser)]
#[command(name = "vmctl", version, after_help = TABLE, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run end-to-end cases: `list`, `all`, or parts of their names.
    Test(TestArgs),
    /// Run a program in a guest of its own.
    Run(RunArgs),
    /// Look around in a guest of your own.
    Shell(ShellArgs),
    /// Find out what a program leaves on persistent memory when the power fails.
    Crash(CrashArgs),
    /// Keep a guest up as long as this command runs.
    Up(UpArgs),
    /// Cut the power of a guest that is up.
    Power(PowerArgs),
    /// Say what this machine has, what it lacks, and what to do about it.
    Doctor(DoctorArgs),
    /// Install what guests need on this machine.
    Setup(SetupArgs),
    /// Build, list, check and remove the images of guests.
    Image(ImageArgs),
}

#[derive(Debug, Args)]
#[command(after_help = DOCTOR_HELP)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) host: HostArgs,
}

#[derive(Debug, Args)]
#[command(after_help = SETUP_HELP)]
pub(crate) struct SetupArgs {
    /// Take away what set-up has added and is still there.
    #[arg(long)]
    pub(crate) undo: bool,
    #[command(flatten)]
    pub(crate) host: HostArgs,
}

#[derive(Debug, Args)]
#[command(after_help = IMAGE_HELP)]
pub(crate) struct ImageArgs {
    #[command(subcommand)]
    pub(crate) action: ImageAction,
    #[command(flatten)]
    pub(crate) host: HostArgs,
}

/// Which image.
#[derive(Clone, Debug, Args)]
pub(crate) struct OfImage {
    /// The image: a manifest in `images/`.
    #[arg(long, value_name = "NAME", default_value = "debian-12", value_parser = guest::name)]
    pub(crate) name: String,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ImageAction {
    /// Build the image, or find it built, and check every file of it.
    Build {
        #[command(flatten)]
        image: OfImage,
        /// A locked version that the mirror has dropped is an error; else it is resolved anew.
        #[arg(long)]
        locked: bool,
    },
    /// Lock the versions that the mirror offers today.
    Lock(OfImage),
    /// List what the cache holds, with size and last use.
    Ls,
    /// Remove entries of the cache by (the beginning of) their keys.
    Rm {
        /// Keys as `ls` shows them.
        #[arg(value_name = "KEY", required_unless_present = "all")]
        keys: Vec<String>,
        /// All entries; downloaded packages stay.
        #[arg(long, conflicts_with = "keys")]
        all: bool,
    },
    /// Compare every file in the cache with its recorded hash.
    Verify,
}

#[derive(Debug, Args)]
#[command(after_help = TEST_HELP)]
pub(crate) struct TestArgs {
    /// `list` shows the cases, `all` runs them, anything else is part of a case's name.
    #[arg(required = true, value_name = "list|all|FILTER")]
    pub(crate) filters: Vec<String>,
    /// Write the results as `JUnit` XML.
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Write the results as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the results as one HTML page.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// The number that fixes every choice; a new one is drawn without it.
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Keep the NVDIMM of a failed case beside its other files.
    #[arg(long)]
    pub(crate) keep_on_fail: bool,
    /// Play so many cases at a time; as many as there are CPUs without it, and at most 4.
    #[arg(short, long, value_name = "N")]
    pub(crate) jobs: Option<NonZero<usize>>,
    /// End the whole run after so many seconds.
    #[arg(long, value_name = "SECONDS", default_value = "3600", value_parser = seconds)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) host: HostArgs,
}

/// What every command that needs the host's tools takes.
#[derive(Debug, Args)]
pub(crate) struct HostArgs {
    /// Install missing tools without asking (also with CI=true).
    #[arg(long)]
    pub(crate) yes: bool,
    /// The QEMU to use instead of the one in PATH.
    #[arg(long, value_name = "PATH")]
    pub(crate) qemu: Option<PathBuf>,
    /// The Debian mirror to fetch guest packages from, if the system's own sources name none.
    #[arg(long, value_name = "URL")]
    pub(crate) debian_mirror: Option<String>,
    /// How guests run; auto takes KVM only after it has really booted a guest.
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) accel: Accel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Accel {
    Auto,
    Kvm,
    Tcg,
}

impl From<Accel> for Option<vm::accel::Accel> {
    fn from(accel: Accel) -> Self {
        match accel {
            Accel::Auto => None,
            Accel::Kvm => Some(vm::accel::Accel::Kvm),
            Accel::Tcg => Some(vm::accel::Accel::Tcg),
        }
    }
}

impl std::fmt::Display for Accel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        })
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a whole number of seconds, at least 1".to_owned()),
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_deadline_of_nothing_is_refused() {
        assert!(seconds("0").is_err());
        assert!(seconds("soon").is_err());
        assert_eq!(seconds("90"), Ok(Duration::from_secs(90)));
    }
}
