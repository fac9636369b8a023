//! Command `power`: takes a guest's power that another `vmctl` keeps up.

use crate::cli::power::{PowerAction, PowerArgs};
use crate::control::{self, Request, When};
use crate::exit::Exit;
use crate::{env, world};

/// Asks the guest's keeper; the exit status.
pub(crate) fn run(args: &PowerArgs) -> anyhow::Result<u8> {
    let (cycle, cut) = match &args.action {
        PowerAction::Cut(cut) => (false, cut),
        PowerAction::Cycle(cut) => (true, cut),
    };
    let seed = cut.seed.unwrap_or_else(world::fresh_seed);
    let when = match (cut.dma, cut.at) {
        (Some(bytes), _) => When::InFrame(bytes),
        (None, Some(at)) => When::At(at),
        (None, None) => When::Now,
    };
    let request = Request { cycle, when, within: cut.within, seed };
    let reply = control::ask(&env::runtime_dir(), &cut.guest, request)?;
    if reply.status == Exit::Pass as u8 {
        println!("{}", reply.said);
    } else {
        eprintln!("error: {}", reply.said);
    }
    Ok(reply.status)
}
