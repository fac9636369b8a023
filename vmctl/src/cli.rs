//! Command line: what a user can ask for, parsed into types that cannot be wrong.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::exit::TABLE;

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
    /// Install what guests need on this machine.
    Setup(SetupArgs),
    /// Build the image of a guest.
    Image(ImageArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SetupArgs {
    /// Print the commands that take away what set-up has added.
    #[arg(long)]
    pub(crate) undo: bool,
    #[command(flatten)]
    pub(crate) host: HostArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    #[command(subcommand)]
    pub(crate) action: ImageAction,
    /// The image: a manifest in `images/`.
    #[arg(long, global = true, value_name = "NAME", default_value = "debian-12")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) host: HostArgs,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum ImageAction {
    /// Build the image, or find it built, and check every file of it.
    Build {
        /// A locked version that the mirror has dropped is an error; else it is resolved anew.
        #[arg(long)]
        locked: bool,
    },
    /// Lock the versions that the mirror offers today.
    Lock,
}

#[derive(Debug, Args)]
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
    /// The number that fixes every choice; a new one is drawn without it.
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Keep the NVDIMM of a failed case beside its other files.
    #[arg(long)]
    pub(crate) keep_on_fail: bool,
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
