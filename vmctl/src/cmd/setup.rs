//! Command `setup`: brings the host what guests need, or takes it away again.

use crate::cli::SetupArgs;
use crate::exit::Exit;

use super::gate;

/// Installs what is missing.
pub(crate) fn run(args: &SetupArgs) -> anyhow::Result<Exit> {
    if args.undo {
        gate::undo(&args.host)?;
    } else {
        gate::pass(&args.host)?;
        println!("this machine has everything that guests need");
    }
    Ok(Exit::Pass)
}
