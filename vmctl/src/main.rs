//! Main: reads the command line, runs one command, turns its end into an exit status.

#![forbid(unsafe_code)]

mod cli;
mod cmd;
mod env;
mod exit;
mod report;
mod signals;
mod world;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::exit::Exit;

fn main() -> ExitCode {
    let cli = Cli::parse();
    signals::watch();
    let ended = match &cli.command {
        Command::Test(args) => cmd::test::run(args),
        Command::Setup(args) => cmd::setup::run(args),
        Command::Image(args) => cmd::image::run(args),
    };
    let exit = ended.unwrap_or_else(|error| {
        let exit = Exit::of_error(&error);
        eprintln!("error: {error:#}");
        exit
    });
    if signals::interrupted() { Exit::Interrupted.into() } else { exit.into() }
}
