//! Module cases: the module that the other cases load is the one that a guest would build.

use std::time::Duration;

use anyhow::{Context, ensure};

use crate::needs::Needs;
use crate::rig::Rig;
use crate::world::module;

/// An emulated compiler needs a minute, or a few on a busy machine.
const BUILD_TIME: Duration = Duration::from_mins(10);

/// The module built inside the guest is the host-built one byte for byte, and loads.
pub(super) fn in_guest(rig: &mut Rig) -> anyhow::Result<()> {
    let from_host = std::fs::read(rig.module(&[])?).context("read the host's module")?;
    let bench = rig.boot(Needs::default().cpus(2))?;
    rig.step("build the module in the guest");
    let sources = rig.world().kernel_sources();
    let built = vm::module::build_in_guest(&module(&sources, &[]), bench.guest(), BUILD_TIME)
        .context("build in the guest")?;
    ensure!(built == from_host, "the guest's module differs from the host's");
    let path = rig.dir().join("from-guest.ko");
    std::fs::write(&path, built).context("keep the guest's module")?;
    bench.address()?;
    bench.load(&path)?;
    bench.ping().context("after load")
}
