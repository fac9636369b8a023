//! Initrd: the initial RAM disk of a guest, its agent and the modules that find its disks.

use std::fs;
use std::path::Path;

use super::cache::{Cache, Content, Entry};
use super::cpio::Archive;
use super::kernel::decompress;
use super::manifest::Manifest;
use super::modules::load_order;
use super::root::TREE;
use super::{Progress, hash};
use crate::error::{Error, Result};

/// Folders that the agent mounts something on.
const FOLDERS: [&str; 7] = ["dev", "proc", "sys", "run", "tmp", "newroot", "modules"];

/// The file's name in its cache entry.
pub(super) const INITRD: &str = "initrd.cpio";
/// Counts changes of this code that change what it makes of the same input.
const RECIPE: &str = "1";

/// The initrd for a root and an agent, with the key that stands for both.
pub(super) fn find_or_make(
    root_key: &str,
    root: &Entry,
    manifest: &Manifest,
    agent: &[u8],
    cache: &Cache,
    progress: Progress<'_>,
) -> Result<(String, Entry)> {
    let kind = "initrds";
    let parts = [("recipe", RECIPE.as_bytes()), ("root", root_key.as_bytes()), ("agent", agent)];
    let key = hash::key(parts);
    let entry = super::find_or_make(cache, kind, &key, progress, |writer| {
        writer.publish(kind, &key, |dir| {
            let bytes = initrd(&root.path(TREE), root.note(), &manifest.modules, agent)?;
            let path = dir.join(INITRD);
            fs::write(&path, bytes).map_err(|e| Error::io("write", &path, e))?;
            Ok(Content { files: vec![INITRD.to_owned()], ..Content::default() })
        })
    })?;
    Ok((key, entry))
}

/// The initrd's bytes: `/init` is the agent, `/modules.list` the modules in load order.
fn initrd(tree: &Path, release: &str, wanted: &[String], agent: &[u8]) -> Result<Vec<u8>> {
    let base = tree.join("lib/modules").join(release);
    let read = |name: &str| {
        let path = base.join(name);
        fs::read(&path).map_err(|e| Error::io("read", &path, e))
    };
    let text = |name| read(name).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let (dep, builtin) = (text("modules.dep")?, text("modules.builtin")?);
    let order = load_order(&dep, &builtin, wanted).map_err(|module| {
        Error::invalid(format!("kernel {release}"), format!("it has no module {module}"))
    })?;

    let mut archive = Archive::default();
    for name in FOLDERS {
        archive.directory(name, 0o755);
    }
    // The kernel opens it for /init before any devtmpfs is there.
    archive.device("dev/console", 0o600, (5, 1));
    archive.file("init", 0o755, agent);
    let mut list = String::new();
    for path in order {
        let (name, module) = plain_module(path, read(path)?)?;
        archive.file(&format!("modules/{name}"), 0o644, &module);
        list.extend(["/modules/", &name, "\n"]);
    }
    archive.file("modules.list", 0o644, list.as_bytes());
    Ok(archive.finish())
}

/// A module's file name and its content, both without compression.
fn plain_module(path: &str, content: Vec<u8>) -> Result<(String, Vec<u8>)> {
    let file = path.rsplit('/').next().unwrap_or(path);
    match file.split_once(".ko.") {
        None => Ok((file.to_owned(), content)),
        Some((name, _)) => {
            let plain = decompress(&content).map_err(|why| Error::invalid(path, why))?;
            Ok((format!("{name}.ko"), plain))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_initrd_lists_its_modules_in_load_order() {
        let tree = tempfile::tempdir().unwrap();
        let base = tree.path().join("lib/modules/6.1");
        fs::create_dir_all(&base).unwrap();
        fs::write(base.join("modules.dep"), "k/b.ko: k/a.ko\nk/a.ko:\n").unwrap();
        fs::write(base.join("modules.builtin"), "").unwrap();
        fs::create_dir(base.join("k")).unwrap();
        fs::write(base.join("k/a.ko"), "module a").unwrap();
        fs::write(base.join("k/b.ko"), "module b").unwrap();
        let initrd = |wanted: &str| initrd(tree.path(), "6.1", &[wanted.to_owned()], b"agent");
        let bytes = initrd("b").unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains("/modules/a.ko\n/modules/b.ko\n"));
        assert!(text.contains("module a") && text.contains("module b") && text.contains("agent"));
        assert!(initrd("c").unwrap_err().to_string().contains("no module c"));
    }
}
