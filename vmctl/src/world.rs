//! World: what the command line and the environment say about places and tools.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use e2e::world::Options;

use crate::cli::HostArgs;
use crate::env;

/// How a world is set up by these arguments.
pub(crate) fn options(host: &HostArgs) -> anyhow::Result<Options> {
    let root = env::project_root()?;
    Ok(Options {
        run_dir: run_dir(&root),
        root,
        cache: env::cache_dir()?,
        cargo: env::cargo(),
        qemu: host.qemu.clone().unwrap_or_else(|| vm::host::QEMU.into()),
        accel: host.accel.into(),
        debian_mirror: host.debian_mirror.clone(),
        locked: false,
        keep_on_fail: false,
    })
}

/// A folder that no other run uses: time and process id name it.
fn run_dir(root: &Path) -> PathBuf {
    let name = format!("run-{}-{}", since_epoch().as_secs(), std::process::id());
    root.join("target/vmctl").join(name)
}

/// A seed that nobody has chosen; short enough to be typed.
pub(crate) fn fresh_seed() -> u64 {
    u64::from(since_epoch().subsec_nanos()) ^ u64::from(std::process::id())
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
