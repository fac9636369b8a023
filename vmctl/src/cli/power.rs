//! Power arguments: a guest that stays up, and how it loses its power.

use std::ffi::OsString;

use clap::{Args, Subcommand};

use super::HostArgs;
use super::guest::{GuestArgs, name};

const UP_HELP: &str = "\
The guest ends with this command (Ctrl-C). While it is up, `vmctl power` cuts its power from another
terminal. A program is started after each boot, in /root. Under TCG an observer knows what of the
NVDIMM is durable; of the rest each line survives a cut or not, by a seed.

Examples:
  vmctl up --forward 8080:80 --put ./my-server:. -- ./my-server
  vmctl up --nvdimm-file nvdimm
  vmctl up --accel tcg           # an observer, whatever the host can do";

const POWER_HELP: &str = "\
Examples:
  vmctl power cycle debian-12              # cut, and boot again from what the NVDIMM holds
  vmctl power cut debian-12 --seed 7       # the same lines survive as in the cut with seed 7
  vmctl power cycle debian-12 --dma 700    # in the next longer frame that it gets";

#[derive(Debug, Args)]
#[command(after_help = UP_HELP)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    pub(crate) guest: GuestArgs,
    #[command(flatten)]
    pub(crate) host: HostArgs,
    /// What to start in the guest after each boot, with its arguments.
    #[arg(last = true, value_name = "PROGRAM")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
#[command(after_help = POWER_HELP)]
pub(crate) struct PowerArgs {
    #[command(subcommand)]
    pub(crate) action: PowerAction,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum PowerAction {
    /// Cut the power; the guest stays dark until `cycle`.
    #[command(after_help = POWER_HELP)]
    Cut(CutArgs),
    /// Cut the power, if there is any, and boot again.
    #[command(after_help = POWER_HELP)]
    Cycle(CutArgs),
}

/// How power is cut.
#[derive(Clone, Debug, Args)]
pub(crate) struct CutArgs {
    /// The guest, by the name that `vmctl up` was told.
    #[arg(value_name = "GUEST", value_parser = name)]
    pub(crate) guest: String,
    /// In the middle of a frame that the NIC writes into guest memory, behind so many bytes: in
    /// the next one that is longer. There has to be one within a minute.
    #[arg(long, value_name = "BYTES")]
    pub(crate) dma: Option<usize>,
    /// Fixes which lines of the NVDIMM survive that were not durable; a new one is drawn without.
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
}
