//! Main: reads the command line, runs one command, turns its end into an exit status.

#![forbid(unsafe_code)]

mod cli;
mod cmd;
mod control;
mod elf;
mod env;
mod exit;
mod forward;
mod report;
mod session;
mod signals;
mod transfer;
mod world;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::exit::Exit;

fn main() -> ExitCode {
    let cli = Cli::parse();
    signals::watch();
    let ended = match &cli.command {
        Command::Test(args) => cmd::test::run(args).map(Exit::status),
        Command::Run(args) => cmd::run::run(args),
        Command::Shell(args) => cmd::shell::run(args),
        Command::Crash(args) => cmd::crash::run(args),
        Command::Up(args) => cmd::up::run(args),
        Command::Power(args) => cmd::power::run(args),
        Command::Doctor(args) => cmd::doctor::run(args).map(Exit::status),
        Command::Setup(args) => cmd::setup::run(args).map(Exit::status),
        Command::Image(args) => cmd::image::run(args).map(Exit::status),
    };
    if signals::interrupted() {
        return Exit::Interrupted.into();
    }
    match ended {
        Ok(status) => status.into(),
        Err(error) => {
            eprintln!("error: {error:#}");
            Exit::of_error(&error).into()
        }
    }
}
