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

use crate::cli::guest::{Copy, GUEST, HOME};
use crate::cli::{self, HostArgs};
use crate::cmd::gate;
use crate::report::crash::judge::{Inside, Judge};
use crate::report::progress::Progress;
use crate::{transfer, world};

/// Boots the guest, and saves it for as many states as come.
pub(super) fn checker(
    recording: &Recording,
    judge: &Judge,
    inside: &Inside,
    at_once: usize,
) -> anyhow::Result<GuestChecker> {
    let (qemu, accel) = (inside.qemu.clone(), cli::Accel::Auto);
    let host = HostArgs { yes: false, qemu, debian_mirror: None, accel };
    gate::pass(&host)?;
    let options = world::options(&host)?;
    let guest = inside.guest.as_ref().or(recording.record.guest.as_ref());
    let guest = guest.map_or(GUEST, String::as_str);
    world::check_guest(&options, guest)?;
    let world = World::new(options);
    let dir = world.case_dir("judges");
    let mut progress = Progress::new(false);
    let template = template(&world, (guest, &dir), recording, &inside.put, &mut progress);
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
    (name, dir): (&str, &Path),
    recording: &Recording,
    copies: &[Copy],
    progress: &mut Progress,
) -> anyhow::Result<Template> {
    progress.step("looking for the image");
    world.prepare(name, &mut |line| progress.step(line))?;
    progress.step("booting a guest that judges");
    let base = world.base()?;
    let folder: PathBuf = dir.join("template");
    let spec = Spec::new(name, &base.image, &folder).accel(Accel::Tcg).qemu(&base.qemu.path);
    let mut put = Ok(());
    let prepare = |guest: &Guest| {
        put = copies.iter().try_for_each(|copy| transfer::put(guest, copy));
        Ok(())
    };
    let size = Mib::covering(recording.header.nvdimm_bytes);
    let template = spec.template(size, prepare).context("save a guest that judges")?;
    put.map(|()| template)
}
