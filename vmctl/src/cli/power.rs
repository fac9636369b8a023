//! Power arguments: a guest that stays up, and how it loses its power.

use std::ffi::OsString;

use std::time::Duration;

use clap::{Args, Subcommand};
use vm::crash::CutAt;

use super::guest::{GuestArgs, name};
use super::{HostArgs, seconds};

const UP_HELP: &str = "\
The guest ends with this command (Ctrl-C). While it is up, `vmctl power` cuts its power from another
terminal. A program is started after each boot, in /root. Under TCG an observer knows what of the
NVDIMM is durable; of the rest each line survives a cut or not, by a seed.

Examples:
  vmctl up --forward 8080:80 --put ./my-server:. -- ./my-server
  vmctl up --nvdimm-file nvdimm
  vmctl up --accel tcg           # an observer, whatever the host can do";

const POWER_HELP: &str = "\
A MARKER is an instruction of the guest's program that says where it is (docs/crash-model.md, and
paste_net::marker for Rust): arm, snap:ID, cut:ID, assert:ID, checkpoint:ID, disarm or stats:ID.
Without :ID it is any of its kind; with #N behind it the N-th from now on. What survives is what the
crash model says at this very instruction. A marker CUT needs no request.

Examples:
  vmctl power cycle debian-12              # cut, and boot again from what the NVDIMM holds
  vmctl power cut debian-12 --seed 7       # the same lines survive as in the cut with seed 7
  vmctl power cycle debian-12 --dma 700    # in the next longer frame that it gets
  vmctl power cut debian-12 --at checkpoint:3
  vmctl power cycle debian-12 --at assert:4#10 --within 600";

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
    /// the next one that is longer.
    #[arg(long, value_name = "BYTES", conflicts_with = "at")]
    pub(crate) dma: Option<usize>,
    /// When the guest's program executes a marker, as OP[:ID][#N]; needs TCG and an NVDIMM.
    #[arg(long, value_name = "MARKER")]
    pub(crate) at: Option<CutAt>,
    /// How long to wait for the frame or the marker; then the guest goes on.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(crate) within: Duration,
    /// Fixes which lines of the NVDIMM survive that were not durable; a new one is drawn without.
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
}
