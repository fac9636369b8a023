//! Crash: what a program leaves on persistent memory when the power fails.

mod bias;
mod record;

use crate::cli::crash::{CrashArgs, CrashCommand};

/// Runs a command; the exit status.
pub(crate) fn run(args: &CrashArgs) -> anyhow::Result<u8> {
    match &args.command {
        CrashCommand::Record(args) => record::run(args),
    }
}
