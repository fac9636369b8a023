//! Environment: every variable that the project reads, read here and nowhere else.

use std::path::{Path, PathBuf};

use anyhow::Context;

/// Whether `CI=true` asks for an unattended run.
pub(crate) fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true")
}

/// The root of the project: where cargo says that this program comes from, or where it was
/// built, if that is still there, or the working folder.
///
/// # Errors
/// None of these is a checkout of the project.
pub(crate) fn project_root() -> anyhow::Result<PathBuf> {
    let by_cargo = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let built_at = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let here = std::env::current_dir().context("find the working folder")?;
    let mut places = by_cargo.into_iter().chain([built_at]).filter_map(|dir| parent(&dir));
    places
        .find(|dir| is_root(dir))
        .or_else(|| here.ancestors().find(|dir| is_root(dir)).map(Path::to_owned))
        .context("find the project: run this inside a checkout")
}

/// The folder for what may be fetched or built again: images, packages, modules.
///
/// # Errors
/// Neither `XDG_CACHE_HOME` nor `HOME` says where it is.
pub(crate) fn cache_dir() -> anyhow::Result<PathBuf> {
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    Ok(base.context("find the cache folder: set HOME or XDG_CACHE_HOME")?.join("vmctl"))
}

/// The folder for what must be remembered: what set-up has added to this machine.
///
/// # Errors
/// Neither `XDG_STATE_HOME` nor `HOME` says where it is.
pub(crate) fn state_dir() -> anyhow::Result<PathBuf> {
    let base = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    Ok(base.context("find the state folder: set HOME or XDG_STATE_HOME")?.join("vmctl"))
}

/// The folder for files that are gone with this process.
pub(crate) fn temp_dir() -> PathBuf {
    std::env::temp_dir()
}

/// The folder of this user for what lives as long as a process: sockets.
pub(crate) fn runtime_dir() -> PathBuf {
    let own = || temp_dir().join(format!("vmctl-{}", nix::unistd::getuid()));
    absolute("XDG_RUNTIME_DIR").map_or_else(own, |dir| dir.join("vmctl"))
}

fn absolute(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute())
}

/// This program, as it can be started from any folder.
pub(crate) fn program() -> PathBuf {
    let itself = std::env::current_exe().ok().filter(|path| path.is_file());
    itself.unwrap_or_else(|| PathBuf::from("vmctl"))
}

/// The kind of terminal that the user sits at.
pub(crate) fn terminal() -> Option<String> {
    std::env::var("TERM").ok().filter(|name| !name.is_empty())
}

/// The cargo that runs us, or the one in `PATH`.
pub(crate) fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

fn parent(dir: &Path) -> Option<PathBuf> {
    dir.parent().map(Path::to_owned)
}

fn is_root(dir: &Path) -> bool {
    dir.join("images").is_dir() && dir.join("tests/e2e/guest/Cargo.toml").is_file()
}
