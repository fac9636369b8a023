//! Unpack: package files become the tree of a guest, without running anything from them.

use std::fs::{self, File, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Progress;
use super::apt::deb_path;
use super::lock::Lock;
use super::manifest::Manifest;
use super::{cache, tree};
use crate::error::{Error, Result};
use crate::process::{Program, Stdin};

/// Not in the search path of ordinary users; `/sbin` leads there on every system that merged it.
pub(super) const DEPMOD: &str = "/sbin/depmod";
/// Folders that Debian merged into /usr; packages of Debian 12 still name the old ones.
const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];
/// Folders that a guest mounts something on.
const MOUNT_POINTS: [&str; 8] = ["dev", "mnt", "proc", "run", "sys", "tmp", "var/tmp", tree::WORK];

/// Unpacks the lock's packages into the new folder `root`; gives back the kernel's release.
pub(super) fn unpack(
    lock: &Lock,
    manifest: &Manifest,
    debs: &Path,
    root: &Path,
    progress: Progress<'_>,
) -> Result<String> {
    for name in MERGED {
        make_dir(&root.join("usr").join(name))?;
        link(&root.join(name), &Path::new("usr").join(name))?;
    }
    for (done, package) in lock.packages.iter().enumerate() {
        if done % 16 == 0 {
            progress(&format!("unpacking packages: {done} of {}", lock.packages.len()));
        }
        let deb = deb_path(debs, package);
        unpack_one(&deb, manifest, root)?;
        cache::touch(&deb);
    }
    tame(root)?;
    MOUNT_POINTS.iter().try_for_each(|name| make_dir(&root.join(name)))?;
    for (path, target) in &manifest.links {
        link(&root.join(path), target)?;
    }
    for (path, text) in &manifest.files {
        let path = root.join(path);
        fs::write(&path, text).map_err(|e| Error::io("write", &path, e))?;
    }
    let release = release(root)?;
    Program::new(DEPMOD).arg("-b").arg(root).arg(&release).run_ok()?;
    // Only a cache for the loader: without namespaces the guest starts programs a little slower.
    let _ = tree::program(root, None, &["ldconfig"]).run();
    Ok(release)
}

fn unpack_one(deb: &Path, manifest: &Manifest, root: &Path) -> Result<()> {
    let mut packed = Program::new("dpkg-deb").arg("--fsys-tarfile").arg(deb).start()?;
    let stdout = packed.take_stdout().expect("a new child's output is a pipe");
    let unpacked = Program::new("tar")
        // The merged folders are links and have to stay links.
        .args(["-x", "--keep-directory-symlink", "--preserve-permissions", "--no-same-owner"])
        .args(manifest.exclude.iter().map(|pattern| format!("--exclude={pattern}")))
        .arg("-C")
        .arg(root)
        .stdin(Stdin::File(File::from(OwnedFd::from(stdout))))
        .run_ok();
    // tar reads to the end, so the other one is at its end as well.
    let status = packed.wait(Instant::now() + Duration::from_mins(1))?;
    unpacked?;
    match status {
        Some(status) if status.success() => Ok(()),
        _ => Err(Error::invalid(deb.display().to_string(), "dpkg-deb cannot read it")),
    }
}

/// Takes set-uid bits away (nobody wants them in a user's cache) and lets us write every folder.
fn tame(root: &Path) -> Result<()> {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|e| Error::io("read", &folder, e))? {
            let entry = entry.map_err(|e| Error::io("read", &folder, e))?;
            let metadata = entry.metadata().map_err(|e| Error::io("read", &entry.path(), e))?;
            let mode = metadata.permissions().mode() & 0o7777;
            let least = if metadata.is_dir() { 0o700 } else { 0o400 };
            let tamed = (mode & !0o6000) | least;
            if !metadata.is_symlink() && mode != tamed {
                fs::set_permissions(entry.path(), Permissions::from_mode(tamed))
                    .map_err(|e| Error::io("change mode of", &entry.path(), e))?;
            }
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(())
}

/// The one kernel of the tree, `boot/vmlinuz-RELEASE`.
pub(super) fn kernel(root: &Path, release: &str) -> PathBuf {
    root.join(format!("boot/vmlinuz-{release}"))
}

fn release(root: &Path) -> Result<String> {
    let boot = root.join("boot");
    let names = fs::read_dir(&boot).map_err(|e| Error::io("read", &boot, e))?.flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let releases: Vec<String> =
        names.filter_map(|name| name.strip_prefix("vmlinuz-").map(str::to_owned)).collect();
    let [release] = <[String; 1]>::try_from(releases)
        .map_err(|all| Error::invalid("packages of the image", format!("kernels: {all:?}")))?;
    Ok(release)
}

fn make_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|e| Error::io("create", path, e))
}

fn link(path: &Path, target: &Path) -> Result<()> {
    // A package may have brought the file; the manifest knows better.
    let _ = fs::remove_file(path);
    symlink(target, path).map_err(|e| Error::io("link", path, e))
}
