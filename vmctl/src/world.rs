//! World: what the command line and the environment say about places and tools.

use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use e2e::world::Options;

use crate::cli::HostArgs;
use crate::env;
use crate::exit::Usage;

/// How many runs leave their files.
const KEPT_RUNS: usize = 20;

/// How a world is set up by these arguments.
pub(crate) fn options(host: &HostArgs) -> anyhow::Result<Options> {
    let root = env::project_root()?;
    let runs = root.join("target/vmctl");
    prune(&runs);
    Ok(Options {
        run_dir: runs.join(run_name(since_epoch().as_secs(), std::process::id())),
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

/// Refuses a guest that no manifest describes.
pub(crate) fn check_guest(options: &Options, name: &str) -> anyhow::Result<()> {
    let manifest = options.root.join(format!("images/{name}.toml"));
    if manifest.is_file() {
        return Ok(());
    }
    Err(Usage(format!("no guest is called {name}: no images/ file")).into())
}

/// The folder of a run: no other run has its time and its process id.
fn run_name(seconds: u64, pid: u32) -> String {
    format!("run-{seconds}-{pid}")
}

/// Removes the folders of old runs but the newest, and never that of a run that goes on.
fn prune(runs: &Path) {
    let folders = std::fs::read_dir(runs).into_iter().flatten().flatten();
    let mut ended: Vec<_> = folders
        .filter_map(|folder| Some((began_if_ended(&folder.file_name())?, folder.path())))
        .collect();
    ended.sort();
    for (_, folder) in ended.iter().rev().skip(KEPT_RUNS) {
        // Another run may be faster at removing it.
        let _ = std::fs::remove_dir_all(folder);
    }
}

/// When a run began, from its folder's name, if its process is gone.
fn began_if_ended(name: &OsStr) -> Option<u64> {
    let (seconds, pid) = name.to_str()?.strip_prefix("run-")?.split_once('-')?;
    let goes_on = Path::new("/proc").join(pid).exists();
    seconds.parse().ok().filter(|_| !goes_on)
}

/// A seed that nobody has chosen; short enough to be typed.
pub(crate) fn fresh_seed() -> u64 {
    u64::from(since_epoch().subsec_nanos()) ^ u64::from(std::process::id())
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_runs_go_but_not_one_that_goes_on() {
        let runs = tempfile::tempdir().unwrap();
        let make = |seconds, pid| {
            let folder = runs.path().join(run_name(seconds, pid));
            std::fs::create_dir(&folder).unwrap();
            folder
        };
        let alive = make(0, std::process::id());
        // No process has a number above the kernel's limit of 2^22.
        let ended: Vec<_> = (1..=25).map(|seconds| make(seconds, u32::MAX)).collect();
        let other = runs.path().join("notes");
        std::fs::create_dir(&other).unwrap();
        prune(runs.path());
        assert!(alive.is_dir() && other.is_dir());
        let left: Vec<_> = ended.iter().map(|folder| folder.is_dir()).collect();
        assert_eq!(left, [[false; 5].as_slice(), &[true; 20]].concat());
    }
}
