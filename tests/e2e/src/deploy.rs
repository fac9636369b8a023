//! Deploy: the programs that run inside guests, built for them.
//!
//! They are static, so that a guest needs no library of the host, and lie in a target folder of
//! their own, so that building them never invalidates what the host's programs were built from.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use vm::process::Program;

use crate::toolchain;

/// What guests run on: the host's own target, hence no second standard library.
pub(crate) const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What makes them static: compiler flags.
pub(crate) const STATIC: &str = "-C target-feature=+crt-static";

/// How long a first build may take on a slow host.
pub(crate) const BUILD_TIME: Duration = Duration::from_mins(15);

/// Static programs for guests, on the host.
#[derive(Clone, Debug)]
pub struct Programs {
    /// PID 1 and agent.
    pub agent: PathBuf,
    /// The guest half of the cases.
    pub cases: PathBuf,
    /// The library's example of a whole program.
    pub http: PathBuf,
}

/// The target folder of guest programs.
pub(crate) fn guest_target(root: &Path) -> PathBuf {
    root.join("target/guest")
}

/// Builds the guest programs of the project at `root`, or finds them built.
///
/// # Errors
/// There is no cargo that works, or its own, with the end of what it said.
pub(crate) fn build(cargo: &Path, root: &Path) -> anyhow::Result<Programs> {
    let folder = guest_target(root);
    Program::new(cargo)
        .args(["build", "--quiet", "--release", "--locked", "--target", TARGET])
        .args(["-p", "agent", "-p", "e2e-guest", "-p", "paste-net", "--bins", "--example", "http"])
        .arg("--target-dir")
        .arg(&folder)
        .env("RUSTFLAGS", STATIC)
        .cwd(root)
        .timeout(BUILD_TIME)
        .run_ok()
        // Without a toolchain cargo's own words lead nowhere.
        .or_else(|error| toolchain::cargo_version(cargo, root, BUILD_TIME).and(Err(error)))
        .context("build the guest programs")?;
    let built = folder.join(TARGET).join("release");
    let (agent, cases) = (built.join("agent"), built.join("e2e-guest"));
    Ok(Programs { agent, cases, http: built.join("examples/http") })
}

/// Builds the observer, a library that QEMU loads, or finds it built.
///
/// # Errors
/// Cargo's own, with the end of what it said.
pub(crate) fn build_observer(cargo: &Path, root: &Path) -> anyhow::Result<PathBuf> {
    let folder = root.join("target/observer");
    Program::new(cargo)
        .args(["build", "--quiet", "--release", "--locked", "-p", "observer", "--target-dir"])
        .arg(&folder)
        .cwd(root)
        .timeout(BUILD_TIME)
        .run_ok()
        .context("build the observer")?;
    Ok(folder.join("release/libobserver.so"))
}

/// Builds the programs that try the kernel module's device; the folder that they are in.
///
/// # Errors
/// The C compiler's, with the end of what it said.
pub(crate) fn build_device(root: &Path) -> anyhow::Result<PathBuf> {
    make(&root.join("kernel/user/device"), root.join("target/kernel-device"))
        .context("build the programs that try the device")
}

/// Builds the programs that the observer is tried with; the folder that they are in.
///
/// # Errors
/// The C compiler's, with the end of what it said.
pub(crate) fn build_protocols(root: &Path) -> anyhow::Result<PathBuf> {
    make(&root.join("tests/e2e/protocols"), root.join("target/protocols"))
        .context("build the programs that the observer is tried with")
}

fn make(sources: &Path, folder: PathBuf) -> anyhow::Result<PathBuf> {
    let out = format!("OUT={}", folder.display());
    Program::new("make").arg("-C").arg(sources).arg(out).timeout(BUILD_TIME).run_ok()?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_cargo_the_way_out_is_told() {
        let error = build(Path::new("/no/such/cargo"), Path::new("/")).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.starts_with("build the guest programs: no Rust toolchain"), "{text}");
        assert!(text.ends_with(toolchain::WAY_OUT), "{text}");
    }
}
