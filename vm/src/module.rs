//! Kernel modules: built from source for the kernel of an image, on the host or in the guest.
//!
//! Both ways use the same compiler, headers and paths, so both give the same bytes. The host needs
//! seconds; the guest, emulated, some twenty times as many. Only the listed source files take part:
//! what an earlier build left beside them has no influence.

mod source;

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::command::Command;
use crate::error::{Error, Result};
use crate::guest::Guest;
use crate::host;
use crate::image::cache::{Cache, Content, Entry};
use crate::image::{self, Image, Progress, hash, tree};
use source::SourceFile;

/// The cache's kind for built modules.
const KIND: &str = "modules";
/// What make said, kept beside the module.
const LOG: &str = "make.log";

/// The source of a kernel module and how to build it.
#[derive(Debug, Clone, Copy)]
pub struct Module<'a> {
    /// The module's name: the build makes `NAME.ko`.
    pub name: &'a str,
    /// The folder that holds all of the source.
    pub dir: &'a Path,
    /// Which folders in it take part.
    pub folders: &'a [&'a str],
    /// The folder with the `Kbuild` file.
    pub build_in: &'a str,
    /// Further arguments for make, for example `PASTE_FORCE_COPY=1`.
    pub flags: &'a [&'a str],
}

/// Builds a module on the host, in the image's unpacked tree; gives back the path of `NAME.ko`.
/// A module that was built before from the same source, flags and image comes from the cache.
///
/// # Errors
/// [`Error::Program`] with the compiler's words, [`Error::Missing`] if this user may not have
/// namespaces, [`Error::Io`] for the source or the cache.
pub fn build_on_host(
    module: &Module<'_>,
    image: &Image,
    cache: &Path,
    progress: Progress<'_>,
) -> Result<PathBuf> {
    let sources = source::read(module)?;
    let cache = Cache::open(cache)?;
    let key = key(module, image, &sources);
    let entry = image::find_or_make(&cache, KIND, &key, progress, |writer| {
        writer.publish(KIND, &key, |dir| fill(module, image, &sources, dir))
    })?;
    Ok(Entry::path(&entry, &format!("{}.ko", module.name)))
}

fn fill(module: &Module<'_>, image: &Image, sources: &[SourceFile], dir: &Path) -> Result<Content> {
    let work = dir.join("work");
    for file in sources {
        let path = work.join(&file.path);
        let parent = path.parent().expect("a joined path has a parent");
        fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
        fs::write(&path, &file.content).map_err(|e| Error::io("write", &path, e))?;
    }
    enter(&image.tree)?;
    let jobs = thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
    let argv = make(module, &image.release, jobs);
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    let output = tree::program(&image.tree, Some(&work), &argv).run()?;
    if !output.status.success() {
        return Err(Error::Program {
            doing: format!("build {}.ko for {}: {}", module.name, image.release, argv.join(" ")),
            status: output.status.to_string(),
            stderr: output.stderr_tail(),
        });
    }
    let log = dir.join(LOG);
    let text = [output.stdout, output.stderr].concat();
    fs::write(&log, text).map_err(|e| Error::io("write", &log, e))?;
    let name = format!("{}.ko", module.name);
    let built = work.join(module.build_in).join(&name);
    fs::rename(&built, dir.join(&name)).map_err(|e| Error::io("keep", &built, e))?;
    fs::remove_dir_all(&work).map_err(|e| Error::io("remove", &work, e))?;
    Ok(Content { files: vec![name, LOG.to_owned()], ..Content::default() })
}

/// Builds a module in a running guest, by the guest's own compiler; gives back the bytes of
/// `NAME.ko`, which also stays in the guest, at [`path_in_guest`].
///
/// # Errors
/// [`Error::Guest`] with the compiler's words, or if the guest does not survive it.
pub fn build_in_guest(module: &Module<'_>, guest: &Guest, timeout: Duration) -> Result<Vec<u8>> {
    let sources = source::read(module)?;
    guest.run_ok(&Command::shell(format!("rm -rf /{0}/* /{0}/.[!.]*", tree::WORK)))?;
    for file in &sources {
        guest.put(&file.content, Path::new("/").join(tree::WORK).join(&file.path), 0o644)?;
    }
    let cpus = guest.run_ok(&Command::new("nproc"))?.text().trim().parse();
    let argv = make(module, guest.kernel(), cpus.unwrap_or(NonZero::<usize>::MIN));
    let command = Command::new(&argv[0]).args(&argv[1..]).env("LC_ALL", "C").env("HOME", "/root");
    guest.run_ok(&command.timeout(timeout))?;
    guest.get(path_in_guest(module))
}

/// Where [`build_in_guest`] leaves the module.
pub fn path_in_guest(module: &Module<'_>) -> PathBuf {
    let folder = Path::new("/").join(tree::WORK).join(module.build_in);
    folder.join(format!("{}.ko", module.name))
}

/// Checks that we may run programs of the tree at all, so that a refusal is not taken for a
/// compiler's error.
fn enter(tree: &Path) -> Result<()> {
    let output = tree::program(tree, None, &["true"]).run()?;
    if output.status.success() {
        return Ok(());
    }
    let what = format!("permission to enter {} ({})", tree.display(), output.stderr_tail());
    let rights = "run as root, allow user namespaces, or build in the guest";
    let hint = if host::root_is_mounted() { rights } else { host::MOUNT_ROOT };
    Err(Error::missing(what, hint))
}

/// The make command; the same on host and guest.
fn make(module: &Module<'_>, release: &str, jobs: NonZero<usize>) -> Vec<String> {
    let mut argv = vec![
        "make".to_owned(),
        format!("-j{jobs}"),
        "-C".to_owned(),
        format!("/lib/modules/{release}/build"),
        format!("M=/{}/{}", tree::WORK, module.build_in),
    ];
    // 36 times smaller without; a stack trace needs the symbols only.
    argv.push("CONFIG_DEBUG_INFO=".to_owned());
    // Made from that; headers that bring a vmlinux (6.12) would want pahole for it.
    argv.push("CONFIG_DEBUG_INFO_BTF_MODULES=".to_owned());
    argv.extend(module.flags.iter().map(|flag| (*flag).to_owned()));
    argv.push("modules".to_owned());
    argv
}

fn key(module: &Module<'_>, image: &Image, sources: &[SourceFile]) -> String {
    let command = make(module, &image.release, NonZero::<usize>::MIN).join(" ");
    let facts = [module.name, &command, &image.root_key];
    let facts = facts.iter().map(|fact| ("fact", fact.as_bytes()));
    let files = sources.iter().flat_map(|file| {
        [("path", file.path.as_os_str().as_encoded_bytes()), ("content", file.content.as_slice())]
    });
    hash::key(facts.chain(files))
}

#[cfg(test)]
mod tests;
