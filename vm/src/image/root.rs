//! Root: the part of an image that does not depend on the agent.

use std::fs;
use std::io;
use std::path::Path;

use super::cache::{Cache, Content, Entry, Found, Writer};
use super::lock::Lock;
use super::manifest::Manifest;
use super::packages::Packages;
use super::{Progress, hash, kernel, tree, unpack};
use crate::error::{Error, Result};
use crate::host;
use crate::process::Program;

pub(super) const KERNEL: &str = "vmlinux";
pub(super) const ROOT: &str = "root.squashfs";
pub(super) const TREE: &str = "tree";

const KIND: &str = "roots";
/// Counts changes of this code that change what it makes of the same input.
const RECIPE: &str = "1";
/// Room that a build needs at most: packages, tree and squashfs together.
const NEED_MIB: u64 = 600;

/// The root of these packages with its key; built if the cache does not have it.
pub(super) fn find_or_build(
    packages: &Packages<'_>,
    manifest: &Manifest,
    cache: &Cache,
    progress: Progress<'_>,
) -> Result<(String, Entry)> {
    let tools = tools()?;
    let key = |lock: &Lock| key(manifest, lock, &tools);
    let known = |progress: Progress<'_>| {
        packages.candidates().into_iter().find_map(|lock| {
            let key = key(&lock);
            let Found::Whole(entry) = cache.find(KIND, &key) else { return None };
            packages.tell_changes(&lock, progress);
            Some((key, entry))
        })
    };
    if let Some(found) = known(progress) {
        return Ok(found);
    }
    let writer = cache.lock(progress)?;
    // Another process may have built it while we waited.
    if let Some(found) = known(progress) {
        return Ok(found);
    }
    check_room(packages.debs())?;
    let mut fetch_and_build = || {
        let lock = packages.fetch(progress)?;
        let key = key(&lock);
        match cache.find(KIND, &key) {
            Found::Whole(entry) => return Ok((key, entry)),
            Found::Absent => {}
            Found::Damaged(why) => {
                progress(&format!("damaged cache entry {KIND}/{key}: {why}; building it again"));
            }
        }
        let entry = build(&writer, &key, &lock, packages.debs(), manifest, progress)?;
        Ok((key, entry))
    };
    fetch_and_build().map_err(|error| explain(error, packages.debs()))
}

fn build(
    writer: &Writer<'_>,
    key: &str,
    lock: &Lock,
    debs: &Path,
    manifest: &Manifest,
    progress: Progress<'_>,
) -> Result<Entry> {
    writer.publish(KIND, key, |dir| {
        let tree = dir.join(TREE);
        let release = unpack::unpack(lock, manifest, debs, &tree, progress)?;
        progress("extracting the kernel");
        let packed = unpack::kernel(&tree, &release);
        let image = fs::read(&packed).map_err(|e| Error::io("read", &packed, e))?;
        let elf = kernel::vmlinux(&image)
            .map_err(|why| Error::invalid(format!("kernel {release}"), why))?;
        let path = dir.join(KERNEL);
        fs::write(&path, elf).map_err(|e| Error::io("write", &path, e))?;
        // Booted from outside: inside it is dead weight.
        let boot = tree.join("boot");
        fs::remove_dir_all(&boot).map_err(|e| Error::io("remove", &boot, e))?;
        fs::create_dir(&boot).map_err(|e| Error::io("create", &boot, e))?;
        progress("packing the root file system");
        squash(&tree, &dir.join(ROOT))?;
        Ok(Content { files: vec![KERNEL.into(), ROOT.into()], tree: Some(TREE), note: release })
    })
}

fn squash(tree: &Path, to: &Path) -> Result<()> {
    Program::new("mksquashfs")
        .arg(tree)
        .arg(to)
        .args(["-comp", "zstd", "-Xcompression-level", "3", "-all-root", "-mkfs-time", "0"])
        .args(["-noappend", "-no-progress", "-quiet"])
        .run_ok()
        .map(drop)
}

fn key(manifest: &Manifest, lock: &Lock, tools: &str) -> String {
    hash::key([
        ("recipe", RECIPE.as_bytes()),
        ("work", tree::WORK.as_bytes()),
        ("manifest", manifest.text.as_bytes()),
        ("lock", lock.to_string().as_bytes()),
        ("tools", tools.as_bytes()),
    ])
}

/// The first line of what each tool says about itself.
fn tools() -> Result<String> {
    let tools = [
        ("mksquashfs", "-version"),
        ("dpkg-deb", "--version"),
        ("tar", "--version"),
        (unpack::DEPMOD, "-V"),
    ];
    let mut all = String::new();
    for (tool, option) in tools {
        // Some mksquashfs end with status 1 after telling their version.
        let text = Program::new(tool).arg(option).run()?.text();
        all += text.lines().next().unwrap_or_default();
        all.push('\n');
    }
    Ok(all)
}

fn check_room(place: &Path) -> Result<()> {
    let free_mib = free_mib(place)?;
    if free_mib >= NEED_MIB {
        return Ok(());
    }
    let what = "building the image".to_owned();
    Err(Error::NoSpace { place: place.to_owned(), what, need_mib: NEED_MIB, free_mib })
}

/// Running out of room shows in many words; ours name the place.
fn explain(error: Error, place: &Path) -> Error {
    let full = match &error {
        Error::Program { stderr, .. } => stderr.contains("No space left on device"),
        Error::Io { source, .. } => source.kind() == io::ErrorKind::StorageFull,
        _ => false,
    };
    match free_mib(place) {
        Ok(free_mib) if full => {
            let what = "building the image (it ran full, what was half-made is gone)".to_owned();
            Error::NoSpace { place: place.to_owned(), what, need_mib: NEED_MIB, free_mib }
        }
        _ => error,
    }
}

fn free_mib(place: &Path) -> Result<u64> {
    host::free_space(place).map(|free| free.0.into())
}
