//! Packages: the exact package files of an image, from the lock or, where that is gone, resolved.

use std::fs;
use std::path::{Path, PathBuf};

use super::apt::{self, Apt, deb_path};
use super::cache::{self, Cache};
use super::lock::{Lock, Package};
use super::manifest::Manifest;
use super::sources::Source;
use super::{Progress, Request, hash};
use crate::error::{Error, Result};

/// Which packages an image is made of.
#[derive(Debug)]
pub(super) struct Packages<'a> {
    request: &'a Request,
    manifest: &'a Manifest,
    /// What the project's lock says.
    locked: Lock,
    /// Where a lock is remembered that had to be resolved anew for this manifest and lock.
    memory: PathBuf,
    apt_dir: PathBuf,
    debs: PathBuf,
}

impl<'a> Packages<'a> {
    pub(super) fn new(request: &'a Request, manifest: &'a Manifest, cache: &Cache) -> Result<Self> {
        let locked = Lock::read(&request.manifest.with_extension("lock"))?;
        let text = locked.to_string();
        let key = hash::key([("manifest", manifest.text.as_bytes()), ("lock", text.as_bytes())]);
        Ok(Self {
            request,
            manifest,
            locked,
            memory: cache.folder("locks")?.join(format!("{key}.lock")),
            apt_dir: cache.folder("apt")?,
            debs: cache.folder("debs")?,
        })
    }

    /// The folder with the package files.
    pub(super) fn debs(&self) -> &Path {
        &self.debs
    }

    /// The locks to look for: the project's, and what an earlier build had to resolve instead.
    pub(super) fn candidates(&self) -> Vec<Lock> {
        let remembered = Lock::read(&self.memory).ok().filter(|_| !self.request.locked);
        [self.locked.clone()].into_iter().chain(remembered).collect()
    }

    /// Reminds of where a lock differs from the project's: all was said when it was resolved.
    pub(super) fn tell_changes(&self, lock: &Lock, progress: Progress<'_>) {
        let changes = changes(&self.locked, lock);
        if !changes.is_empty() {
            progress(&format!("packages that are not as locked: {}", few(&changes)));
        }
    }

    /// Fetches what is missing and gives back the lock that was used: the project's, or one
    /// resolved anew if the mirror dropped some of it (which is said, and remembered).
    pub(super) fn fetch(&self, progress: Progress<'_>) -> Result<Lock> {
        cache::remove_unused(&self.debs, Path::to_owned);
        let complete = |lock: &Lock| self.missing(lock).is_empty();
        if let Some(lock) = self.candidates().into_iter().find(complete) {
            return Ok(lock);
        }
        let places = apt::places(self.manifest, self.request.mirror.as_deref())?;
        self.fetch_from(&places, progress)
    }

    fn fetch_from(&self, places: &[Vec<Source>], progress: Progress<'_>) -> Result<Lock> {
        let apt = Apt::open(&self.apt_dir, &self.manifest.architecture, places, progress)?;
        let missing = self.missing(&self.locked);
        let dropped = apt.dropped(&missing)?;
        if dropped.is_empty() {
            apt.download(&missing, &self.debs, progress)?;
            return Ok(self.locked.clone());
        }
        let lock = self.resolve_anew(&apt, &dropped, progress)?;
        apt.download(&self.missing(&lock), &self.debs, progress)?;
        fs::write(&self.memory, lock.to_string())
            .map_err(|e| Error::io("write", &self.memory, e))?;
        Ok(lock)
    }

    fn resolve_anew(
        &self,
        apt: &Apt,
        dropped: &[&Package],
        progress: Progress<'_>,
    ) -> Result<Lock> {
        let name = |package: &&Package| format!("{} {}", package.name, package.version);
        let names = dropped.iter().map(name).collect::<Vec<_>>().join(", ");
        if self.request.locked {
            let what = format!("locked packages that the mirror dropped: {names}");
            return Err(Error::missing(what, "build without --locked, or make a new lock"));
        }
        progress(&format!("the mirror dropped {names}; resolving anew"));
        let lock = apt.resolve(self.manifest)?;
        let changes = changes(&self.locked, &lock).join(", ");
        progress(&format!("packages that are not as locked: {changes}"));
        Ok(lock)
    }

    fn missing<'b>(&self, lock: &'b Lock) -> Vec<&'b Package> {
        lock.packages.iter().filter(|package| !deb_path(&self.debs, package).exists()).collect()
    }
}

/// What is different in `new`.
fn changes(old: &Lock, new: &Lock) -> Vec<String> {
    let find = |lock: &Lock, name: &str| lock.packages.iter().find(|p| p.name == name).cloned();
    let gone = old.packages.iter().filter(|p| find(new, &p.name).is_none());
    let gone = gone.map(|p| format!("{} {} is left out", p.name, p.version));
    let changed = new.packages.iter().filter_map(|p| match find(old, &p.name) {
        Some(was) if was.version == p.version => None,
        Some(was) => Some(format!("{} {} -> {}", p.name, was.version, p.version)),
        None => Some(format!("{} {} is added", p.name, p.version)),
    });
    gone.chain(changed).collect()
}

/// The first of many, and how many more there are.
fn few(words: &[String]) -> String {
    const SHOWN: usize = 2;
    let shown = words.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match words.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}, and {more} more"),
    }
}

#[cfg(test)]
#[path = "packages_tests.rs"]
mod tests;
