//! Images: what a guest boots from, made of locked packages and kept under a hash of all inputs.
//!
//! An image has two parts: the *root* (kernel, squashfs and the unpacked tree; a minute of work,
//! depends on manifest, lock and tools) and the *initrd* (depends on the agent, too; milliseconds).
//! Both are entries of one [`cache`], which makes them whole or absent.

mod apt;
pub(crate) mod cache;
pub(crate) mod cpio;
pub(crate) mod hash;
mod initrd;
mod kernel;
pub mod lock;
pub mod manifest;
mod modules;
mod packages;
mod root;
pub mod sources;
pub mod store;
pub(crate) mod tree;
mod unpack;

use std::fs;
use std::path::PathBuf;

use crate::error::{Error, Result};
use cache::{Cache, Entry, Found};
use manifest::Manifest;
use packages::Packages;

pub use lock::Lock;

/// Where a long action says what it is doing now, one line each time.
pub type Progress<'a> = &'a mut dyn FnMut(&str);

/// What to build an image from, and where to keep it.
#[derive(Debug, Clone)]
pub struct Request {
    /// The manifest; its lock lies beside it with the suffix `.lock`.
    pub manifest: PathBuf,
    /// The static program that becomes the guest's `/init`.
    pub agent: PathBuf,
    /// The cache folder.
    pub cache: PathBuf,
    /// A Debian mirror to use instead of what this machine's apt configuration names.
    pub mirror: Option<String>,
    /// Whether a locked version that the mirror dropped is an error (else it is resolved anew).
    pub locked: bool,
}

/// A built image; all its files lie in the cache and are never changed.
#[derive(Debug, Clone)]
pub struct Image {
    /// The manifest's name.
    pub name: String,
    /// Hash of everything that is in the image.
    pub key: String,
    /// The kernel's release as `uname -r` prints it.
    pub release: String,
    /// The kernel: an uncompressed ELF file with a PVH entry.
    pub kernel: PathBuf,
    /// The initial RAM disk.
    pub initrd: PathBuf,
    /// The root file system, a squashfs.
    pub root: PathBuf,
    /// The same root unpacked: compiler and kernel headers for module builds on the host.
    pub tree: PathBuf,
    /// Hash of everything but the agent and the initrd's modules.
    pub root_key: String,
    parts: [Entry; 2],
}

/// Builds an image, or finds it built.
///
/// # Errors
/// [`Error::Missing`] for a tool or a dropped package version, [`Error::NoSpace`], and whatever
/// reading the inputs, fetching and unpacking can meet. Nothing half-written is left in the cache.
pub fn build(request: &Request, progress: Progress<'_>) -> Result<Image> {
    let manifest = Manifest::read(&request.manifest)?;
    let cache = Cache::open(&request.cache)?;
    let agent = fs::read(&request.agent).map_err(|e| Error::io("read", &request.agent, e))?;
    let packages = Packages::new(request, &manifest, &cache)?;
    let (root_key, root) = root::find_or_build(&packages, &manifest, &cache, progress)?;
    let (key, initrd) =
        initrd::find_or_make(&root_key, &root, &manifest, &agent, &cache, progress)?;
    Ok(Image {
        name: manifest.name,
        kernel: root.path(root::KERNEL),
        initrd: initrd.path(initrd::INITRD),
        root: root.path(root::ROOT),
        tree: root.path(root::TREE),
        key,
        release: root.note().to_owned(),
        root_key,
        parts: [root, initrd],
    })
}

/// The lock that fits what the mirror offers today.
///
/// # Errors
/// As [`build`].
pub fn resolve(request: &Request, progress: Progress<'_>) -> Result<Lock> {
    let manifest = Manifest::read(&request.manifest)?;
    let cache = Cache::open(&request.cache)?;
    let _writer = cache.lock(progress)?;
    let dir = cache.folder("apt")?;
    let places = apt::places(&manifest, request.mirror.as_deref())?;
    apt::Apt::open(&dir, &manifest.architecture, &places, progress)?.resolve(&manifest)
}

impl Image {
    /// Compares every file of the image with its recorded hash, and the tree with its size.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names the entry and what has changed.
    pub fn verify(&self) -> Result<()> {
        self.parts.iter().try_for_each(Entry::verify)
    }
}

/// An entry from the cache; if it is absent or damaged, made under the lock.
pub(crate) fn find_or_make(
    cache: &Cache,
    kind: &str,
    key: &str,
    progress: Progress<'_>,
    make: impl FnOnce(&cache::Writer<'_>) -> Result<Entry>,
) -> Result<Entry> {
    if let Found::Whole(entry) = cache.find(kind, key) {
        return Ok(entry);
    }
    let writer = cache.lock(progress)?;
    // Another process may have made it while we waited.
    match cache.find(kind, key) {
        Found::Whole(entry) => return Ok(entry),
        Found::Absent => {}
        Found::Damaged(why) => progress(&format!("damaged cache entry {kind}/{key}: {why}")),
    }
    make(&writer)
}
