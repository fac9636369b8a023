//! Transfer: files and folders of this machine into a guest, and the guest's out of it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use vm::{Command, Guest};

use crate::cli::guest::{Copy, HOME};

/// The longest path, counted in folders: a link that leads back would never end.
const DEEPEST: usize = 64;

/// Copies a file, or a folder with all that is in it, to the guest; permissions come along.
/// A file goes into a folder that is there, as with `cp`.
///
/// # Errors
/// A file that cannot be read or has no room in the guest.
pub(crate) fn put(guest: &Guest, copy: &Copy) -> anyhow::Result<()> {
    let mut to = copy.guest.clone();
    if copy.host.is_dir() {
        return put_tree(guest, &copy.host, &to, DEEPEST);
    }
    if to == Path::new(HOME) || is_folder(guest, &to)? {
        to.push(copy.host.file_name().unwrap_or_default());
    }
    put_file(guest, &copy.host, &to)
}

fn put_tree(guest: &Guest, from: &Path, to: &Path, deeper: usize) -> anyhow::Result<()> {
    let deeper = deeper.checked_sub(1).with_context(|| format!("{}: too deep", from.display()))?;
    make_folder(guest, to)?;
    for entry in fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let entry = entry.with_context(|| format!("read {}", from.display()))?;
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            put_tree(guest, &path, &to, deeper)?;
        } else {
            put_file(guest, &path, &to)?;
        }
    }
    Ok(())
}

fn put_file(guest: &Guest, from: &Path, to: &Path) -> anyhow::Result<()> {
    let reading = || format!("read {}", from.display());
    let metadata = fs::metadata(from).with_context(reading)?;
    // A device or pipe may have no end.
    anyhow::ensure!(metadata.is_file(), "{}: no file", from.display());
    let bytes = fs::read(from).with_context(reading)?;
    guest.put(&bytes, to, metadata.permissions().mode() & 0o777).context("copy in")
}

fn make_folder(guest: &Guest, path: &Path) -> anyhow::Result<()> {
    let command = Command::new("mkdir").args(["-p", "--"]).arg(path);
    guest.run_ok(&command).context("copy in").map(drop)
}

fn is_folder(guest: &Guest, path: &Path) -> anyhow::Result<bool> {
    let exit = guest.run(&Command::new("test").arg("-d").arg(path)).context("look at a folder")?;
    Ok(exit.success())
}

/// Copies a file or folder of the guest here. Files are whole or not there.
///
/// # Errors
/// It is not there, or this machine has no room.
pub(crate) fn get(guest: &Guest, copy: &Copy) -> anyhow::Result<()> {
    if !is_folder(guest, &copy.guest)? {
        let mut to = copy.host.clone();
        if to.is_dir() {
            to.push(copy.guest.file_name().unwrap_or_default());
        }
        return get_file(guest, &copy.guest, &to);
    }
    let find = Command::new("find").arg(&copy.guest).args(["-type", "f", "-printf", "%P\\0"]);
    let listed = guest.run_ok(&find).context("list a folder")?.stdout;
    fs::create_dir_all(&copy.host).with_context(|| format!("create {}", copy.host.display()))?;
    for name in listed.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let name = Path::new(OsStr::from_bytes(name));
        get_file(guest, &copy.guest.join(name), &copy.host.join(name))?;
    }
    Ok(())
}

fn get_file(guest: &Guest, from: &Path, to: &Path) -> anyhow::Result<()> {
    let bytes = guest.get(from).context("copy out")?;
    let writing = || format!("write {}", to.display());
    let folder = match to.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    fs::create_dir_all(&folder).with_context(writing)?;
    let half = tempfile::NamedTempFile::new_in(&folder).with_context(writing)?;
    fs::write(half.path(), bytes).with_context(writing)?;
    // The guest's mode is not known here; the file is the user's like any other.
    fs::set_permissions(half.path(), fs::Permissions::from_mode(0o644)).with_context(writing)?;
    half.persist(to).with_context(writing)?;
    Ok(())
}
