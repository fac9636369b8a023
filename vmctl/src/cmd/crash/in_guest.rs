//! In guest: a checker that is a program of a guest, which is brought back for each state.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use e2e::World;
use vm::accel::Accel;
use vm::check::{GuestChecker, InGuest};
use vm::recording::Recording;
use vm::{Guest, Mib, Spec, Template};

use crate::cli::guest::{Copy, HOME};
use crate::cli::{self, HostArgs};
use crate::cmd::gate;
use crate::report::crash::result::Judge;
use crate::report::progress::Progress;
use crate::{transfer, world};

/// The guest that judges.
const GUEST: &str = "debian-12";

/// Boots the guest, and saves it for as many states as come.
pub(super) fn checker(
    recording: &Recording,
    judge: &Judge,
    copies: &[Copy],
    at_once: usize,
) -> anyhow::Result<GuestChecker> {
    let host = HostArgs { yes: false, qemu: None, debian_mirror: None, accel: cli::Accel::Auto };
    gate::pass(&host)?;
    let world = World::new(world::options(&host)?);
    let dir = world.case_dir("judges");
    let mut progress = Progress::new(false);
    let template = template(&world, &dir, recording, copies, &mut progress);
    progress.close();
    let options = InGuest {
        command: format!("cd {HOME} && {}", judge.checker),
        limit: Duration::from_secs(judge.timeout_seconds),
        dir: dir.join("copies"),
        at_once,
    };
    Ok(GuestChecker::new(&Arc::new(template?), options))
}

fn template(
    world: &World,
    dir: &Path,
    recording: &Recording,
    copies: &[Copy],
    progress: &mut Progress,
) -> anyhow::Result<Template> {
    progress.step("looking for the image");
    world.prepare(GUEST, &mut |line| progress.step(line))?;
    progress.step("booting a guest that judges");
    let base = world.base()?;
    let folder: PathBuf = dir.join("template");
    let spec = Spec::new(GUEST, &base.image, &folder).accel(Accel::Tcg).qemu(&base.qemu.path);
    let mut put = Ok(());
    let prepare = |guest: &Guest| {
        put = copies.iter().try_for_each(|copy| transfer::put(guest, copy));
        Ok(())
    };
    let size = Mib::covering(recording.header.nvdimm_bytes);
    let template = spec.template(size, prepare).context("save a guest that judges")?;
    put.map(|()| template)
}
