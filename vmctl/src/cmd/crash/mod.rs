//! Crash: what a program leaves on persistent memory when the power fails.

mod bias;
mod explore;
mod in_guest;
mod lab;
mod matrix;
mod record;
mod replay;
mod results;

use crate::cli::crash::{CrashArgs, CrashCommand};
use crate::exit::Exit;

/// Runs a command; the exit status.
pub(crate) fn run(args: &CrashArgs) -> anyhow::Result<u8> {
    match &args.command {
        CrashCommand::Record(args) => record::run(args),
        CrashCommand::Explore(args) => explore::run(args).map(Exit::status),
        CrashCommand::Replay(args) => replay::run(args).map(Exit::status),
        CrashCommand::Matrix(args) => matrix::run(args).map(Exit::status),
        CrashCommand::Report(args) => results::report(args).map(Exit::status),
        CrashCommand::Merge(args) => results::merge(args).map(Exit::status),
    }
}
